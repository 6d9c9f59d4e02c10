//! Things outside the registry that it points to: files, web addresses, keys that may read secrets.

use super::checked_text;
use crate::diagnostic::{Fault, shown};

checked_text! {
    /// A file or folder of the operator's machine; a relative one starts at the fleet directory.
    FilePath
}

impl FilePath {
    /// # Errors
    /// What a program could take for an option, and `~`, which only a shell expands.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let refuse = |why: &str| {
            Fault::new(format!("{} {why}", shown(text)))
                .expected("a path, relative to the fleet directory or in full")
        };
        match text {
            "" => Err(Fault::new("is empty").expected("a path, relative to the fleet directory or in full")),
            _ if text.starts_with('-') => {
                Err(refuse("would be taken for an option").hint(format!("write \"./{text}\"")))
            }
            _ if text.starts_with('~') => Err(refuse("starts with ~, which only a shell expands")),
            _ if text.trim() != text => Err(refuse("starts or ends with a blank")),
            _ => Ok(FilePath(text.to_owned())),
        }
    }
}

checked_text! {
    /// A folder of a client's host, in full.
    HostFolder
}

impl HostFolder {
    /// # Errors
    /// A relative path, the root, or one with `.`, `..` or empty parts.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let expected = "a folder of the host in full, such as /srv/photos";
        let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|c: char| c.is_control());
        match text.strip_prefix('/') {
            Some(rest) if rest.split('/').all(plain) => Ok(HostFolder(text.to_owned())),
            Some(_) => Err(Fault::new(format!("{} is no plain path", shown(text))).expected(expected)),
            None => Err(Fault::new(format!("{} is relative", shown(text))).expected(expected)),
        }
    }
}

checked_text! {
    /// A web address, as it was written.
    WebUrl
}

impl WebUrl {
    /// An address that must be encrypted.
    ///
    /// # Errors
    /// Another scheme than https, and what [`WebUrl::parse`] refuses.
    pub fn parse_https(text: &str) -> Result<Self, Fault> {
        let url = WebUrl::parse(text)?;
        if url.starts_with("https://") {
            return Ok(url);
        }
        Err(Fault::new(format!("{} is not encrypted", shown(text)))
            .expected("an address that starts with https://"))
    }

    /// # Errors
    /// Another scheme than http or https, no host, or an `@`.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let expected = "an address such as https://example.net/path";
        if text.contains('@') {
            // It may hold a password, so it is not quoted.
            return Err(Fault::new("the address names a user or password").expected(expected).secret());
        }
        let good_scheme = text.starts_with("https://") || text.starts_with("http://");
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\`$<>{}|^".contains(&b));
        if !good_scheme || !plain || !url::Url::parse(text).is_ok_and(|url| url.has_host()) {
            return Err(Fault::new(format!("{} is no web address", shown(text))).expected(expected));
        }
        Ok(WebUrl(text.to_owned()))
    }
}

checked_text! {
    /// A public key that secrets are encrypted to: age's own (x25519) or an OpenSSH one (ed25519).
    Recipient
}

impl Recipient {
    /// Checks the form; whether the key is one, `vault` finds out with the real reader.
    ///
    /// # Errors
    /// Other kinds of keys; a private key is named as such and never quoted.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let expected = "age1... or ssh-ed25519 AAAA...";
        if text.contains("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY") {
            return Err(Fault::new("this is a private key")
                .expected(format!("a public one: {expected}"))
                .hint("take it out of this file now, and make a new one if the file was ever shared")
                .secret());
        }
        let mut words = text.split(' ');
        let good = match (words.next(), words.next()) {
            (Some(age), None) => {
                let tail = age.strip_prefix("age1").unwrap_or_default();
                tail.len() == 58 && tail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            }
            (Some("ssh-ed25519"), Some(key)) => {
                key.len() == 68
                    && key.starts_with("AAAAC3NzaC1lZDI1NTE5AAAAI")
                    && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
            }
            _ => false,
        };
        if good {
            return Ok(Recipient(text.to_owned()));
        }
        Err(Fault::new(format!("{} is no key that secrets can be encrypted to", shown(text)))
            .expected(expected))
    }
}
