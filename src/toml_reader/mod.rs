//! Reads TOML that a person wrote and says everything that is wrong with it, each with its place.
//!
//! A [`Document`] is the parsed text. [`Document::read`] hands its root [`Table`] to a function
//! that asks for every key with a *kind*: a function from a [`Value`] to `Option<T>`, which has
//! reported the reason where it gives `None`. Kinds compose (`list(parsed(Tag::parse))`), and a
//! table reports the keys that nobody asked for. Nothing stops at the first fault.
//!
//! ```
//! use fleet::toml_reader::{Document, integer, list, one_of, string, table};
//!
//! let text = "name = 'a'\n[web]\nport = 80\ntags = ['x']\nmode = 'fast'\n";
//! let read = Document::parse(text, "app.toml")?.read(|root| {
//!     let name = root.required("name", string);
//!     let web = root.required("web", table(|web| {
//!         let port = web.optional("port", integer(1..=65535)).unwrap_or(80_u16);
//!         let tags = web.optional("tags", list(string)).unwrap_or_default();
//!         let fast = web.optional("mode", one_of(&[("fast", true), ("safe", false)]));
//!         Some((port, tags, fast))
//!     }));
//!     Some((name?, web?))
//! })?;
//! assert_eq!(read.1.0, 80);
//! # Ok::<(), fleet::diagnostic::Diagnostics>(())
//! ```

mod kinds;
mod source;
mod syntax;
mod table;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::Range;

use toml::de::DeTable;

use crate::diagnostic::{Diagnostic, Diagnostics, Fault};
pub(crate) use source::Source;

pub use kinds::{
    boolean, duration, entries, integer, list, number, one_of, parsed, placed, secret, string, table, text,
};
pub use table::{Path, Place, Placed, Table, Value};

/// A parsed TOML text and what was found wrong in it so far.
pub struct Document<'i> {
    file: String,
    source: Source<'i>,
    root: DeTable<'i>,
    findings: RefCell<Vec<Finding>>,
    secrets: RefCell<Vec<Range<usize>>>,
}

/// A fault with its place; it becomes a [`Diagnostic`] at the end, when all secrets are known.
#[derive(PartialEq)]
struct Finding {
    span: Option<Range<usize>>,
    key: String,
    fault: Fault,
}

impl<'i> Document<'i> {
    /// Parses a text; `file` is its name as the operator knows it.
    ///
    /// # Errors
    /// Everything that is no TOML, or a key that is written twice.
    pub fn parse(text: &'i str, file: &str) -> Result<Self, Diagnostics> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Document {
            file: file.to_owned(),
            source: Source::new(text),
            root: root.into_inner(),
            findings: RefCell::default(),
            secrets: RefCell::default(),
        };
        if errors.is_empty() {
            return Ok(document);
        }
        syntax::explain(&document, &errors);
        Err(document.into_diagnostics())
    }

    /// Reads the whole document with one function, then reports what nobody asked for.
    ///
    /// # Errors
    /// All findings, in the order of the file.
    pub fn read<T>(self, reader: impl for<'d> FnOnce(&mut Table<'d>) -> Option<T>) -> Result<T, Diagnostics> {
        let mut root = Table::root(&self);
        let value = reader(&mut root);
        root.finish();
        let clean = self.findings.borrow().is_empty();
        match value {
            Some(value) if clean => Ok(value),
            // A reader that gives up without a reason is a defect, but not one to panic for.
            None if clean => {
                self.report(None, String::new(), Fault::new("it cannot be read"));
                Err(self.into_diagnostics())
            }
            _ => Err(self.into_diagnostics()),
        }
    }

    fn report(&self, span: Option<Range<usize>>, key: String, fault: Fault) {
        self.findings.borrow_mut().push(Finding { span, key, fault });
    }

    fn conceal(&self, span: Range<usize>) {
        self.secrets.borrow_mut().push(span);
    }

    fn into_diagnostics(self) -> Diagnostics {
        let secrets = self.secrets.into_inner();
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|finding| finding.span.as_ref().map(|span| (span.start, span.end)));
        // A value that many tables inherit is at fault once.
        findings.dedup();
        let diagnostic = |Finding { span, key, fault }| Diagnostic {
            file: self.file.clone(),
            position: span.as_ref().map(|span: &Range<usize>| self.source.position(span.start)),
            snippet: span.map(|span| self.source.snippet(&span, &secrets)),
            key,
            fault,
        };
        Diagnostics(findings.into_iter().map(diagnostic).collect())
    }
}
