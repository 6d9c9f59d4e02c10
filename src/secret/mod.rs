//! Secret values: a wrapper that cannot be printed by accident, generators, and the masking of text.
//!
//! Rule of this room: pure. Randomness comes in as a parameter, and a value leaves its wrapper only
//! through [`Secret::reveal`], so that a search for `reveal` lists every place that sees one.

use std::fmt;

use zeroize::Zeroize;

pub mod clean;
mod forms;
pub mod generator;
pub mod redactor;

pub use clean::{clean, clean_bytes};
pub use generator::{Generator, GeneratorError, generate};
pub use redactor::{ChunkRedactor, Redactor};

/// What stands where a value would.
const MASK: &str = "[secret]";

/// A value that shows as `[secret]` and whose memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    pub const fn new(value: T) -> Self {
        Secret(value)
    }

    /// The value itself. What is done with it is the caller's responsibility from here on.
    #[must_use]
    pub const fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Secret(value)
    }
}

impl From<&str> for Secret<String> {
    fn from(value: &str) -> Self {
        Secret(value.to_owned())
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<T: Zeroize> fmt::Display for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(MASK)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_as_a_mask_in_every_format() {
        #[derive(Debug)]
        #[expect(dead_code, reason = "read by its Debug form only")]
        struct Holder {
            password: Secret<String>,
        }
        let secret = Secret::from("hunter2-hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {secret:#?} {secret:>10}"),
            "[secret] [secret] [secret]   [secret]"
        );
        let shown = format!("{:#?}", Holder { password: secret.clone() });
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.reveal(), "hunter2-hunter2");
    }

    #[test]
    fn dropping_clears_the_memory() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};
        struct Probe(Arc<AtomicBool>);
        impl Zeroize for Probe {
            fn zeroize(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let cleared = Arc::new(AtomicBool::new(false));
        drop(Secret::new(Probe(Arc::clone(&cleared))));
        assert!(cleared.load(Ordering::SeqCst));
    }
}
