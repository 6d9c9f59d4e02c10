//! What to do next, attached to an error as data.
//!
//! Rule of this room: a hint is never part of a message. Whoever knows the way out attaches it
//! here; the one renderer at the edge finds it, whatever was wrapped around it since.

use std::error::Error as StdError;
use std::fmt;

/// An error with a hint beside it. Its message is that of the error that it wraps.
#[derive(Debug)]
pub struct Hinted {
    hint: String,
    inner: anyhow::Error,
}

impl Hinted {
    /// The wrapped error itself, which the chain of causes does not show a second time.
    fn inner(&self) -> &(dyn StdError + 'static) {
        self.inner.as_ref()
    }
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl StdError for Hinted {
    /// The wrapped error speaks through this one, so that the chain holds each message once.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner().source()
    }
}

/// Attaches a hint: a fragment that says what to do next, such as "run `fleet init` first".
pub trait HintExt {
    type Output;

    #[must_use]
    fn hint(self, text: impl Into<String>) -> Self::Output;
}

impl HintExt for anyhow::Error {
    type Output = anyhow::Error;

    fn hint(self, text: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Hinted { hint: text.into(), inner: self })
    }
}

impl<T, E: Into<anyhow::Error>> HintExt for Result<T, E> {
    type Output = anyhow::Result<T>;

    fn hint(self, text: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| error.into().hint(text))
    }
}

/// Every hint of an error, the one nearest to the cause first, each once.
#[must_use]
pub fn hints(error: &anyhow::Error) -> Vec<&str> {
    let mut found = Vec::new();
    for cause in error.chain() {
        let mut layer = cause.downcast_ref::<Hinted>();
        while let Some(hinted) = layer {
            found.push(hinted.hint.as_str());
            layer = hinted.inner().downcast_ref::<Hinted>();
        }
    }
    found.reverse();
    let mut seen = Vec::with_capacity(found.len());
    for hint in found {
        if !seen.contains(&hint) {
            seen.push(hint);
        }
    }
    seen
}

/// The first error of type `T` among the causes, hints and contexts around it or not. A plain
/// `downcast_ref` does not see through a hint.
#[must_use]
pub fn find<T: StdError + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&T> {
    if let Some(found) = error.downcast_ref::<T>() {
        return Some(found);
    }
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<T>()
            .or_else(|| cause.downcast_ref::<Hinted>().and_then(|hinted| find(&hinted.inner)))
    })
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;
    use crate::diagnostic::Diagnostics;

    fn messages(error: &anyhow::Error) -> Vec<String> {
        error.chain().map(ToString::to_string).collect()
    }

    #[test]
    fn hints_are_found_through_contexts_and_other_hints() {
        let error = anyhow!("permission denied")
            .hint("chmod 600 the file")
            .hint("or name another with --identity")
            .context("cannot read the identity")
            .hint("run `fleet init` first")
            .context("cannot open the secrets");
        assert_eq!(
            hints(&error),
            ["chmod 600 the file", "or name another with --identity", "run `fleet init` first"]
        );
        assert_eq!(
            messages(&error),
            ["cannot open the secrets", "cannot read the identity", "permission denied"]
        );
    }

    #[test]
    fn a_hint_given_twice_is_shown_once() {
        let error = anyhow!("x").hint("same").context("y").hint("same");
        assert_eq!(hints(&error), ["same"]);
    }

    #[test]
    fn a_typed_error_is_found_below_hints() {
        let bare = || anyhow::Error::new(Diagnostics(vec![]));
        for error in [
            bare(),
            bare().hint("a"),
            bare().hint("a").hint("b").context("c"),
            bare().context("c").hint("a"),
            bare().context("c").hint("a").context("d").hint("e"),
        ] {
            assert_eq!(find(&error), Some(&Diagnostics(vec![])), "{error:?}");
        }
        assert_eq!(find::<Diagnostics>(&anyhow!("other").hint("a")), None);
    }

    #[test]
    fn a_result_takes_a_hint_of_any_error() {
        let result: Result<(), std::io::Error> = Err(std::io::Error::other("broken"));
        let error = result.hint("mend it").context("outer").unwrap_err();
        assert_eq!(hints(&error), ["mend it"]);
        assert_eq!(messages(&error), ["outer", "broken"]);
    }
}
