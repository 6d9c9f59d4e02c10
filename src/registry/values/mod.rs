//! The values of a registry: each type can only hold what was checked.
//!
//! Every type has `parse(&str) -> Result<Self, Fault>`, used for the file and for flags alike, so
//! that a value is refused with the same words wherever it comes from.

mod cron;
mod dsn;
mod host;
mod path;
mod window;

pub use cron::CronLine;
pub use dsn::Dsn;
pub use host::{Address, Domain, Jump};
pub use path::{FilePath, HostFolder, Recipient, WebUrl};
pub use window::{Swap, UpdateWindow, byte_count};

use crate::diagnostic::{Fault, shown};

/// A text of this program's own, which needs no check.
pub(crate) struct Ours(pub(crate) &'static str);

/// A text that was checked once: it reads like a `str` and is made by `parse` alone.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<$crate::registry::values::Ours> for $name {
            fn from(ours: $crate::registry::values::Ours) -> Self {
                debug_assert_eq!($name::parse(ours.0).map(|value| value.0).as_deref(), Ok(ours.0));
                $name(ours.0.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::diagnostic::Fault;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $name::parse(text)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}
pub(crate) use checked_text;

checked_text! {
    /// Name of a client or a fleet: one DNS label (RFC 1123), in lower case.
    Name
}

impl Name {
    /// # Errors
    /// Anything but 1 to 63 of `a-z`, `0-9` and inner `-`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let letters = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if letters && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Name(text.to_owned()));
        }
        let fault = Fault::new(format!("{} is no name", shown(text)))
            .expected("1 to 63 of a-z, 0-9 and -, with - neither first nor last");
        match plain_name(text) {
            Some(plain) => Err(fault.hint(format!("`{plain}` would do"))),
            None => Err(fault),
        }
    }
}

/// What a name may have been meant to be: lower case, one `-` for each run of anything else.
fn plain_name(text: &str) -> Option<String> {
    let lower = text.to_lowercase();
    let words: Vec<_> =
        lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let plain = words.join("-");
    (text.is_ascii() && (1..=63).contains(&plain.len())).then_some(plain)
}

checked_text! {
    /// A word that marks clients, to be chosen with `--tag`.
    Tag
}

impl Tag {
    /// # Errors
    /// Anything but a letter or digit, then letters, digits, `-` and `_`, in lower case.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if text.bytes().all(inner) && !text.starts_with(['-', '_']) && (1..=63).contains(&text.len()) {
            return Ok(Tag(text.to_owned()));
        }
        Err(Fault::new(format!("{} is no tag", shown(text)))
            .expected("up to 63 of a-z, 0-9, - and _, starting with a letter or digit"))
    }
}

checked_text! {
    /// A login name on a host (POSIX portable user name).
    User
}

impl User {
    /// # Errors
    /// Anything that a shell or `ssh` could take for more than a name.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if first && text.bytes().all(inner) && text.len() <= 32 {
            return Ok(User(text.to_owned()));
        }
        Err(Fault::new(format!("{} is no user name", shown(text)))
            .expected("up to 32 letters, digits, -, _ and ., such as ubuntu"))
    }
}

checked_text! {
    /// Where a certificate authority may write to.
    Email
}

impl Email {
    /// # Errors
    /// What has no local part, no domain of two labels, or a character that mail systems refuse.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refuse = || {
            Fault::new(format!("{} is no e-mail address", shown(text)))
                .expected("one such as admin@example.fr")
        };
        let (local, domain) = text.rsplit_once('@').ok_or_else(refuse)?;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&b);
        let good = (1..=64).contains(&local.len())
            && local.bytes().all(allowed)
            && !local.starts_with(['.', '-'])
            && !local.ends_with('.')
            && !local.contains("..");
        match Domain::parse(domain) {
            Ok(_) if good => Ok(Email(text.to_owned())),
            _ => Err(refuse()),
        }
    }
}

checked_text! {
    /// What Sentry calls an environment: here, one client.
    Environment
}

impl Environment {
    /// # Errors
    /// What Sentry itself refuses: more than 64 characters, a `/`, the word `None`; and blank ends.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let expected = "1 to 64 characters without /";
        let refuse = |why: &str| Err(Fault::new(format!("{} {why}", shown(text))).expected(expected));
        match text {
            "" => Err(Fault::new("is empty").expected(expected)),
            _ if text.chars().count() > 64 => refuse("is too long"),
            _ if text.contains('/') => refuse("holds a /"),
            _ if text.trim() != text => refuse("starts or ends with a blank"),
            "None" => refuse("is a word that Sentry keeps for itself"),
            _ => Ok(Environment(text.to_owned())),
        }
    }
}

impl From<&Name> for Environment {
    /// Every name is an environment too.
    fn from(name: &Name) -> Self {
        Environment(name.0.clone())
    }
}

checked_text! {
    /// Short name of a Sentry organisation or project.
    Slug
}

impl Slug {
    /// # Errors
    /// Anything that would change the meaning of a path of Sentry's API.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if text.bytes().all(inner) && (1..=100).contains(&text.len()) && !text.starts_with('-') {
            return Ok(Slug(text.to_owned()));
        }
        Err(Fault::new(format!("{} is no short name of Sentry", shown(text)))
            .expected("letters, digits, - and _, as the address of its page shows it"))
    }
}

/// Checks the name of an environment variable (POSIX.1, 8.1: letters, digits, `_`).
///
/// # Errors
/// Anything that a shell or Compose would not take for a name.
pub fn variable(text: &str) -> Result<String, Fault> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if !text.is_empty() && text.bytes().all(inner) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("{} is no variable name", shown(text)))
        .expected("letters, digits and _, not starting with a digit"))
}

#[cfg(test)]
mod tests;
