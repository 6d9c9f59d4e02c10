//! Finds known secrets in any text and puts their names in their place.
//!
//! Every form of every value is kept sorted; a filter over the first six bytes decides in a few
//! instructions whether a form may begin at a place, so that thousands of secrets cost little more
//! than one. Values shorter than six bytes are not searched for: ordinary text would vanish.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use zeroize::Zeroizing;

use super::Secret;
use super::forms::{MIN_LEN, forms};

/// Masks the secrets that it was built from.
#[derive(Default)]
pub struct Redactor {
    names: Vec<String>,
    /// Form and index of its name; sorted by form, each form once.
    forms: Vec<(Zeroizing<Vec<u8>>, u32)>,
    /// Bits set at the hash of each form's first bytes; a power of two of words, or none.
    filter: Vec<u64>,
    longest: usize,
}

/// A found form: where it is and whose.
struct Found {
    range: Range<usize>,
    name: u32,
}

impl Redactor {
    /// From names and values. Of two names with one value the first is shown.
    pub fn new<'a, I>(secrets: I) -> Self
    where
        I: IntoIterator<Item = (&'a str, &'a Secret<String>)>,
    {
        let mut redactor = Redactor::default();
        for (name, value) in secrets {
            let found = forms(value.reveal());
            if found.is_empty() {
                continue;
            }
            let index = redactor.names.len() as u32;
            redactor.names.push(name.to_owned());
            redactor.forms.extend(found.into_iter().map(|form| (form, index)));
        }
        // Forms first, then names in the order given: what stays of equal forms is the first name.
        redactor.forms.sort_unstable_by(|a, b| a.0.as_slice().cmp(b.0.as_slice()).then(a.1.cmp(&b.1)));
        redactor.forms.dedup_by(|a, b| a.0 == b.0);
        redactor.longest = redactor.forms.iter().map(|(form, _)| form.len()).max().unwrap_or(0);
        if !redactor.forms.is_empty() {
            let words = (redactor.forms.len() / 4).next_power_of_two().max(16);
            redactor.filter = vec![0; words];
            for index in 0..redactor.forms.len() {
                let (word, bit) = redactor.slot(&redactor.forms[index].0);
                redactor.filter[word] |= bit;
            }
        }
        redactor
    }

    /// The text with `[secret NAME]` for each secret in it.
    #[must_use]
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match self.redact_bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // Forms are whole UTF-8 texts, so cutting them out leaves UTF-8.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The same for bytes in any encoding that keeps ASCII.
    #[must_use]
    pub fn redact_bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        let found = self.find(bytes);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len());
        let mut at = 0;
        for Found { range, name } in found {
            out.extend_from_slice(&bytes[at..range.start]);
            self.label(name, &mut out);
            at = range.end;
        }
        out.extend_from_slice(&bytes[at..]);
        Cow::Owned(out)
    }

    /// For output that comes in chunks: a secret cut in two is still found.
    #[must_use]
    pub fn chunks(&self) -> ChunkRedactor<'_> {
        ChunkRedactor { redactor: self, held: Zeroizing::new(Vec::new()), masked: 0 }
    }

    /// Whether any known secret is in there.
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        !self.find(bytes).is_empty()
    }

    fn label(&self, name: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(b"[secret ");
        out.extend_from_slice(self.names[name as usize].as_bytes());
        out.push(b']');
    }

    /// Where the filter keeps its bit for a text of at least [`MIN_LEN`] bytes.
    fn slot(&self, text: &[u8]) -> (usize, u64) {
        let key = text[..MIN_LEN].iter().fold(0u64, |key, byte| key << 8 | u64::from(*byte));
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        (hash as usize >> 6 & (self.filter.len() - 1), 1 << (hash & 63))
    }

    fn may_begin(&self, text: &[u8]) -> bool {
        let (word, bit) = self.slot(text);
        self.filter[word] & bit != 0
    }

    /// The longest form that `text` begins with.
    fn begins(&self, text: &[u8]) -> Option<(usize, u32)> {
        if text.len() < MIN_LEN || !self.may_begin(text) {
            return None;
        }
        let from = self.forms.partition_point(|(form, _)| form[..MIN_LEN] < text[..MIN_LEN]);
        self.forms[from..]
            .iter()
            .take_while(|(form, _)| form[..MIN_LEN] == text[..MIN_LEN])
            .filter(|(form, _)| text.starts_with(form))
            .map(|(form, name)| (form.len(), *name))
            .last()
    }

    /// Whether `text` is the beginning of a longer form.
    fn is_beginning(&self, text: &[u8]) -> bool {
        if text.len() >= MIN_LEN && !self.may_begin(text) {
            return false;
        }
        let after = self.forms.partition_point(|(form, _)| form.as_slice() <= text);
        self.forms.get(after).is_some_and(|(form, _)| form.starts_with(text))
    }

    /// All forms in order; those that overlap are one, under the name of the first.
    fn find(&self, bytes: &[u8]) -> Vec<Found> {
        let mut all: Vec<Found> = Vec::new();
        if self.forms.is_empty() {
            return all;
        }
        for at in 0..bytes.len() {
            let Some((len, name)) = self.begins(&bytes[at..]) else { continue };
            match all.last_mut() {
                Some(last) if at < last.range.end => last.range.end = last.range.end.max(at + len),
                _ => all.push(Found { range: at..at + len, name }),
            }
        }
        all
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactor({} secrets)", self.names.len())
    }
}

/// Masks a stream. Holds back only what may be the beginning of a secret, so a prompt without a line
/// end still shows at once.
#[derive(Debug)]
pub struct ChunkRedactor<'r> {
    redactor: &'r Redactor,
    held: Zeroizing<Vec<u8>>,
    /// How many of the held bytes already stand behind a label that was given out.
    masked: usize,
}

impl ChunkRedactor<'_> {
    /// What can be shown now.
    #[must_use]
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let len = self.held.len();
        let from = (len + 1).saturating_sub(self.redactor.longest).min(len);
        let keep = (from..len).find(|at| self.redactor.is_beginning(&self.held[*at..])).unwrap_or(len);
        self.give(keep)
    }

    /// The rest, at the end of the stream.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.give(self.held.len())
    }

    /// Gives out what lies before `until`; a secret that reaches beyond it is labelled now, and the
    /// part beyond stays held, since another may begin in it.
    fn give(&mut self, until: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(until);
        let (mut at, mut covered) = (0, self.masked);
        for Found { range, name } in self.redactor.find(&self.held) {
            if range.start >= until {
                break;
            }
            if range.start >= covered {
                out.extend_from_slice(&self.held[at.max(covered)..range.start]);
                self.redactor.label(name, &mut out);
            }
            covered = covered.max(range.end);
            at = covered;
        }
        let at = at.max(covered);
        if at < until {
            out.extend_from_slice(&self.held[at..until]);
        }
        self.masked = covered.saturating_sub(until);
        self.held.drain(..until);
        out
    }
}

#[cfg(test)]
#[path = "redactor_tests.rs"]
mod tests;
