//! How many commands run at once on one connection, whatever the transport.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{SessionError, clean};

/// sshd's own default of MaxSessions: more at once would be refused.
const SESSIONS: usize = 10;

/// Channels that may be open at once. A host that allows fewer teaches us so by refusing.
pub struct Slots {
    free: Semaphore,
    used: AtomicUsize,
}

impl Default for Slots {
    fn default() -> Self {
        Slots { free: Semaphore::new(SESSIONS), used: AtomicUsize::new(0) }
    }
}

impl Slots {
    pub async fn take(&self) -> Slot<'_> {
        let permit = self.free.acquire().await.ok();
        self.used.fetch_add(1, Ordering::SeqCst);
        // The semaphore is never closed, so the permit is there.
        Slot { used: &self.used, counted: true, permit }
    }
}

/// Holds a slot, from before the channel is asked for until it is closed.
pub struct Slot<'a> {
    used: &'a AtomicUsize,
    counted: bool,
    permit: Option<SemaphorePermit<'a>>,
}

impl Slot<'_> {
    /// The host refused a channel: from now on one slot less, unless this was the only one.
    pub fn fewer(mut self) -> bool {
        // Counted by whoever leaves: of several that are refused at once the last one sees no other.
        let others = self.used.fetch_sub(1, Ordering::SeqCst) > 1;
        if let (true, Some(permit)) = (others, self.permit.take()) {
            permit.forget();
        }
        self.counted = false;
        others
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.counted {
            self.used.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// The host refuses even a single channel.
pub fn exhausted(reason: &str) -> SessionError {
    SessionError::Refused(format!(
        "the host opens no channel for a command ({}): see MaxSessions in its /etc/ssh/sshd_config",
        clean::line(reason).to_lowercase()
    ))
}
