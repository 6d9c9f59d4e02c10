//! What is wrong in a file that a person wrote: where, what was expected, and what to do.
//!
//! All findings of a file are collected and shown together, never only the first.

use std::fmt;

/// One finding. The message is a lowercase fragment without a final stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the operator named it.
    pub file: String,
    /// One-based line and column, counted in characters; `None` where the file as a whole is meant.
    pub position: Option<(usize, usize)>,
    /// Length of the marked text in characters; at least 1.
    pub width: usize,
    /// The line of the file that holds the fault, masked where it may hold a secret.
    pub source_line: Option<String>,
    /// Path of the key, such as `clients.ville-lyon.domain`; empty for a syntax error.
    pub key: String,
    pub message: String,
    /// What was expected, as a fragment: "a domain name such as ville-lyon.example.fr".
    pub expected: Option<String>,
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        if let (Some(text), Some((line, column))) = (&self.source_line, self.position) {
            let gutter = " ".repeat(line.to_string().len());
            let marks = "^".repeat(self.width.max(1));
            write!(f, "\n{gutter} |\n{line} | {text}\n{gutter} | {}{marks}", " ".repeat(column - 1))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All findings of one reading; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
