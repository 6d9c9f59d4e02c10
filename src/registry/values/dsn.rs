//! A Sentry DSN, kept as it was written: the SDKs read that text, not ours.

use std::fmt;

use crate::diagnostic::Fault;

/// Where a client's errors are sent, with the public key that allows it. `Debug` hides the key;
/// only [`Dsn::reveal`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Dsn {
    written: String,
    /// Scheme, host and port.
    origin: String,
    /// The path in front of the project: empty, or it starts with `/`.
    prefix: String,
    project: u64,
}

impl Dsn {
    /// Stricter than the SDKs where they differ: Python refuses what Rust accepts.
    ///
    /// # Errors
    /// Never quote the value: the text that is no DSN may still hold a key.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| {
            Fault::new(why).expected("https://KEY@HOST/NUMBER, as Sentry's project settings show it")
        };
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\`$<>{}|^#?".contains(&b));
        if !plain {
            return Err(refuse("the DSN holds a character that none has"));
        }
        let url = url::Url::parse(text).map_err(|_| refuse("this is no DSN"))?;
        if !matches!(url.scheme(), "http" | "https") || !text.starts_with("http") {
            return Err(refuse("the DSN has no scheme http or https"));
        }
        let key = url.username();
        if key.is_empty() {
            return Err(refuse("the DSN has no public key in front of an @"));
        }
        if !key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err(refuse("the DSN has a public key with odd characters"));
        }
        if url.password().is_some() {
            return Err(refuse("the DSN has a secret key, which Sentry no longer uses")
                .hint("leave out the : and what follows, up to the @; then revoke that key"));
        }
        let host = url.host_str().unwrap_or_default();
        let (prefix, project) = url.path().rsplit_once('/').unwrap_or_default();
        let number = project.bytes().all(|b| b.is_ascii_digit()).then(|| project.parse().ok()).flatten();
        let Some(project) = number else {
            return Err(refuse("the DSN does not end in a project number"));
        };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let origin = format!("{}://{host}{port}", url.scheme());
        Ok(Dsn { written: text.to_owned(), origin, prefix: prefix.to_owned(), project })
    }

    /// The text as the operator wrote it, key included.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.written
    }

    /// The public key, which is what a log must not show.
    #[must_use]
    pub fn key(&self) -> &str {
        let start = self.written.find("://").map_or(0, |at| at + 3);
        let end = self.written.find('@').unwrap_or(start);
        &self.written[start..end]
    }

    /// Number of the project.
    #[must_use]
    pub fn project(&self) -> u64 {
        self.project
    }

    /// Where envelopes are posted.
    #[must_use]
    pub fn envelope_url(&self) -> String {
        format!("{}{}/api/{}/envelope/", self.origin, self.prefix, self.project)
    }

    /// As it may be shown: its key masked, unless somebody asks for it.
    #[must_use]
    pub fn shown(&self, reveal: bool) -> String {
        if reveal { self.written.clone() } else { self.masked() }
    }

    /// Name and port of the server, as the DSN has them.
    #[must_use]
    pub fn host(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, host)| host)
    }

    /// The DSN with its key masked.
    #[must_use]
    pub fn masked(&self) -> String {
        let masked = self.origin.replacen("://", "://***@", 1);
        format!("{masked}{}/{}", self.prefix, self.project)
    }
}

impl fmt::Debug for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dsn({})", self.masked())
    }
}
