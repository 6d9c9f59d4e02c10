//! What a proof may take: its time, its disk, and the word of whoever waits for it. A thread of its own
//! watches, and kills everything that was started when one of them says so.

use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ProofError;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// Looks between two measurements of the disk.
const MEASURE: u32 = 20;

/// A program that was started.
pub type Shared = Arc<Mutex<Child>>;

pub struct Reins {
    stop: Arc<dyn Fn() -> bool + Send + Sync>,
    started: Instant,
    time: Duration,
    why: Mutex<Option<Why>>,
    children: Mutex<Vec<Shared>>,
    over: AtomicBool,
}

#[derive(Clone, Debug)]
enum Why {
    Stopped,
    Time,
    /// What is wrong with the snapshot.
    Size(String),
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reins {
    #[must_use]
    pub fn new(stop: Arc<dyn Fn() -> bool + Send + Sync>, time: Duration) -> Arc<Reins> {
        Arc::new(Reins {
            stop,
            started: Instant::now(),
            time,
            why: Mutex::default(),
            children: Mutex::default(),
            over: AtomicBool::new(false),
        })
    }

    /// Whether all is to end.
    #[must_use]
    pub fn pulled(&self) -> bool {
        if held(&self.why).is_some() {
            return true;
        }
        let why = if (self.stop)() {
            Why::Stopped
        } else if self.started.elapsed() > self.time {
            Why::Time
        } else {
            return false;
        };
        self.pull(why);
        true
    }

    fn pull(&self, why: Why) {
        held(&self.why).get_or_insert(why);
        for child in held(&self.children).iter() {
            let _ = held(child).kill();
        }
    }

    /// Why nothing can be said of the snapshot.
    ///
    /// # Errors
    /// When the proof was given up.
    pub fn verdict(&self) -> Result<(), ProofError> {
        match &*held(&self.why) {
            Some(Why::Stopped) => Err(ProofError::Stopped),
            Some(Why::Time) => Err(ProofError::Time(self.time)),
            Some(Why::Size(_)) | None => Ok(()),
        }
    }

    /// What the snapshot itself did that ended the proof.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        match &*held(&self.why) {
            Some(Why::Size(text)) => Some(text.clone()),
            _ => None,
        }
    }

    /// From now on the program ends with the proof.
    #[must_use]
    pub fn hold(&self, child: Child) -> Shared {
        let child = Arc::new(Mutex::new(child));
        held(&self.children).push(Arc::clone(&child));
        if held(&self.why).is_some() {
            let _ = held(&child).kill();
        }
        child
    }

    /// Waits for a program, so that it can be killed meanwhile.
    ///
    /// # Errors
    /// As the system has it.
    pub fn wait(&self, child: &Shared) -> std::io::Result<ExitStatus> {
        loop {
            let ended = held(child).try_wait()?;
            if let Some(status) = ended {
                held(&self.children).retain(|other| !Arc::ptr_eq(other, child));
                return Ok(status);
            }
            let _ = self.pulled();
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Watches until the answer is dropped; `used` measures what must not be more than `most` bytes.
    #[must_use]
    pub fn watch(self: &Arc<Self>, most: u64, used: impl Fn() -> Option<u64> + Send + 'static) -> Watch {
        let reins = Arc::clone(self);
        let thread = std::thread::spawn(move || {
            let mut looks = 0;
            while !reins.over.load(Ordering::SeqCst) && !reins.pulled() {
                looks += 1;
                if looks % MEASURE == 0
                    && let Some(bytes) = used().filter(|bytes| *bytes > most)
                {
                    let shown = crate::words::bytes;
                    reins.pull(Why::Size(format!(
                        "restored, the database takes {}, more than {}: that is no honest dump of its size",
                        shown(bytes),
                        shown(most)
                    )));
                }
                std::thread::sleep(PAUSE);
            }
        });
        Watch { reins: Arc::clone(self), thread: Some(thread) }
    }
}

/// Ends with what it watches.
pub struct Watch {
    reins: Arc<Reins>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reins.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
