//! `known_hosts` in OpenSSH's format (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"), as values.
//!
//! A host with any recorded key must show one of them: a key of another type is a change too,
//! for whoever sits in between can choose which type to offer. Reading and writing of the file is
//! in [`super::host_keys`].

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{HashAlg, PublicKey};
use sha1::Sha1;

/// One line of the file that names a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// One-based.
    line: usize,
    /// `ssh-ed25519`, `ssh-rsa`, `ecdsa-sha2-nistp256`...
    algorithm: String,
    /// The key as the file has it.
    base64: String,
    marker: Marker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

/// A parsed file.
#[derive(Clone, Debug, Default)]
pub struct KnownHosts {
    /// Lines that name hosts plainly, by that name.
    plain: HashMap<String, Vec<usize>>,
    /// Lines with a hashed name, a wildcard or a negation: each is tried.
    patterns: Vec<(String, usize)>,
    entries: Vec<Entry>,
}

/// What the file says of a key that a host shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Known,
    /// Nothing is recorded; `authority` when an (unsupported) `@cert-authority` line covers the host.
    Unknown {
        authority: bool,
    },
    /// Other keys are recorded: their fingerprints, and the first one's line.
    Changed {
        old: Vec<String>,
        line: usize,
    },
    Revoked {
        line: usize,
    },
}

impl KnownHosts {
    /// Lines that cannot be understood are skipped, as ssh does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut hosts = KnownHosts::default();
        for (index, line) in text.lines().enumerate() {
            hosts.add(index + 1, line);
        }
        hosts
    }

    /// Takes in one more line; `number` is one-based.
    pub fn add(&mut self, number: usize, line: &str) {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = match words.peek() {
            None => return,
            Some(word) if word.starts_with('#') => return,
            Some(&"@revoked") => Marker::Revoked,
            Some(&"@cert-authority") => Marker::Authority,
            // A marker of the future: not ours to judge, so the line says nothing.
            Some(word) if word.starts_with('@') => return,
            Some(_) => Marker::None,
        };
        if marker != Marker::None {
            words.next();
        }
        let (Some(names), Some(algorithm), Some(base64)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let index = self.entries.len();
        self.entries.push(Entry {
            line: number,
            algorithm: algorithm.to_owned(),
            base64: base64.to_owned(),
            marker,
        });
        if names.starts_with("|1|") || names.contains(['*', '?', '!']) {
            self.patterns.push((names.to_owned(), index));
        } else {
            for name in names.split(',') {
                self.plain.entry(name.to_ascii_lowercase()).or_default().push(index);
            }
        }
    }

    /// Judges the key that `host` showed.
    #[must_use]
    pub fn judge(&self, host: &str, port: u16, key: &PublicKey) -> Verdict {
        let shown = encoded(key);
        let entries = self.of(host, port);
        if let Some(entry) = entries.iter().find(|e| e.marker == Marker::Revoked && e.base64 == shown) {
            return Verdict::Revoked { line: entry.line };
        }
        let keys: Vec<&&Entry> = entries.iter().filter(|e| e.marker == Marker::None).collect();
        if keys.iter().any(|entry| entry.base64 == shown) {
            return Verdict::Known;
        }
        match keys.first() {
            Some(first) => Verdict::Changed {
                old: keys.iter().map(|entry| entry.fingerprint()).collect(),
                line: first.line,
            },
            None => Verdict::Unknown { authority: entries.iter().any(|e| e.marker == Marker::Authority) },
        }
    }

    /// Key types recorded for a host, to be asked for first: a host with several keys then shows
    /// the one that is known.
    #[must_use]
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<String> {
        let mut algorithms: Vec<String> = Vec::new();
        for entry in self.of(host, port) {
            if entry.marker == Marker::None && !algorithms.contains(&entry.algorithm) {
                algorithms.push(entry.algorithm.clone());
            }
        }
        algorithms
    }

    /// All lines that name a host, in file order.
    fn of(&self, host: &str, port: u16) -> Vec<&Entry> {
        let name = name_of(host, port);
        let mut found: Vec<usize> = self.plain.get(&name).cloned().unwrap_or_default();
        found
            .extend(self.patterns.iter().filter(|(names, _)| matches(names, &name)).map(|(_, index)| *index));
        found.sort_unstable();
        found.into_iter().map(|index| &self.entries[index]).collect()
    }
}

impl Entry {
    fn fingerprint(&self) -> String {
        match STANDARD.decode(&self.base64).ok().and_then(|blob| PublicKey::from_bytes(&blob).ok()) {
            Some(key) => fingerprint(&key),
            None => format!("an unreadable {} key", super::clean::line(&self.algorithm)),
        }
    }
}

/// The name under which a host is recorded: `host`, or `[host]:port` off port 22.
#[must_use]
pub fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

/// The line that records a key.
#[must_use]
pub fn line_for(host: &str, port: u16, key: &PublicKey) -> String {
    format!("{} {} {}", name_of(host, port), key.algorithm().as_str(), encoded(key))
}

/// `SHA256:...`, as `ssh-keygen -l` prints it.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn encoded(key: &PublicKey) -> String {
    // Encoding into memory has no way to fail for a key that was decoded; an empty text matches nothing.
    STANDARD.encode(key.to_bytes().unwrap_or_default())
}

/// Whether a comma-separated list of patterns, or one hashed name, covers `name`. A negated
/// pattern that matches excludes the whole line.
fn matches(names: &str, name: &str) -> bool {
    if let Some(hashed) = names.strip_prefix("|1|") {
        return hash_matches(hashed, name);
    }
    let mut found = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if wild(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()) => return false,
            Some(_) => {}
            None => found |= wild(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()),
        }
    }
    found
}

/// `salt|hash`, both base64; the hash is HMAC-SHA1 of the name keyed with the salt.
fn hash_matches(hashed: &str, name: &str) -> bool {
    let Some((salt, hash)) = hashed.split_once('|') else { return false };
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&salt) else { return false };
    mac.update(name.as_bytes());
    mac.verify_slice(&hash).is_ok()
}

/// `*` and `?` as ssh_config(5), PATTERNS, has them; linear in practice, never exponential.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            retry = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star, from)) = retry {
            retry = Some((star, from + 1));
            p = star + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests;
