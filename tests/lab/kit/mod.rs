//! What every scenario is told with.

mod figure;
pub mod fleet;
mod host;
mod https;
mod lab;
mod load;
mod street;
mod town;

pub use figure::figure;
pub use fleet::{Fleet, Ran};
pub use host::Host;
pub use https::{get, post, serial, tcp_open};
pub use lab::{docker, lab};
pub use load::{Load, Met};
pub use street::{mirror, street};
pub use town::{Town, TownGuard, town};

use std::time::{Duration, Instant};

/// Asks every half second until it is so, or fails with what was waited for.
pub fn eventually(what: &str, limit: Duration, mut ask: impl FnMut() -> Result<(), String>) {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(()) => return,
            Err(last) if started.elapsed() > limit => {
                panic!("not within {} s: {what}\nlast: {last}", limit.as_secs())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
        }
    }
}
