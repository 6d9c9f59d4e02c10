//! Few handshakes at once: what every connection of a run waits for.
//!
//! A handshake is mostly computing. A thousand begun at the same moment would each take as long as
//! all together and run into their time limits; a few per processor keep it just as busy. TCP
//! connections are made before, so hosts that do not answer at all hold nobody up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::sleep;

/// A host that is slower than this gives its turn away and goes on without.
const HELD: Duration = Duration::from_secs(2);

/// Shared by the connections of a run.
#[derive(Clone)]
pub struct Turns(Arc<Semaphore>);

impl Turns {
    pub fn of(count: usize) -> Self {
        Turns(Arc::new(Semaphore::new(count.max(1))))
    }

    /// Runs the work when its turn has come.
    pub async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.0.acquire().await;
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => return result,
            () = sleep(HELD) => drop(turn),
        }
        work.await
    }
}

/// Processors of this machine.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn few_at_once_and_a_slow_one_delays_nobody_for_long() {
        let (turns, now, most) = (Turns::of(3), AtomicUsize::new(0), AtomicUsize::new(0));
        let start = tokio::time::Instant::now();
        let quick = (0..30).map(|_| {
            turns.take(async {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::SeqCst);
            })
        });
        futures::future::join_all(quick).await;
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert!(start.elapsed() >= Duration::from_secs(1));

        let silent = (0..3).map(|_| turns.take(sleep(Duration::from_secs(6))));
        let start = tokio::time::Instant::now();
        let silent = futures::future::join_all(silent);
        let last = async {
            sleep(Duration::from_millis(1)).await;
            turns.take(async {}).await;
            start.elapsed()
        };
        let (_, waited) = tokio::join!(silent, last);
        assert!(waited >= HELD && waited < 2 * HELD, "{waited:?}");
    }
}
