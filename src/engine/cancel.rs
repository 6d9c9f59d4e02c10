//! Cooperative cancellation: first signal starts no new step, second abandons what runs.

use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Run,
    /// The running step is finished, no other is started.
    Drain,
    /// The running step is left as it is.
    Abandon,
}

#[derive(Clone)]
pub struct Cancel {
    sender: watch::Sender<Level>,
}

impl Default for Cancel {
    fn default() -> Self {
        Cancel { sender: watch::Sender::new(Level::Run) }
    }
}

impl Cancel {
    /// One step further; the third asks for an immediate end and is the caller's to carry out.
    pub fn raise(&self) -> Level {
        self.sender.send_modify(|level| {
            *level = match level {
                Level::Run => Level::Drain,
                Level::Drain | Level::Abandon => Level::Abandon,
            };
        });
        self.level()
    }

    #[must_use]
    pub fn level(&self) -> Level {
        *self.sender.borrow()
    }

    #[must_use]
    pub fn requested(&self) -> bool {
        self.level() > Level::Run
    }

    /// Ends when the running step is to be abandoned.
    pub async fn abandoned(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in self, so this cannot end early.
        let _ = receiver.wait_for(|level| *level == Level::Abandon).await;
    }
}
