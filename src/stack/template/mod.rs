//! Templates under a stricter rule than Tera's: a name that is not defined is an error everywhere.
//!
//! [`Templates::read`] takes those that are named and what they include. [`Templates::check`] looks
//! up every name with one client's values; then Tera renders, whose own strictness is the second line.

mod check;
mod engine;
mod language;
mod lexer;
mod scope;
mod syntax;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tera::{Context, Tera};
use zeroize::Zeroizing;

use crate::diagnostic::{Diagnostic, Diagnostics, Fault};
use crate::toml_reader::Source;

pub use language::suggest;
pub use value::Known;

/// Templates by name, read and free of syntax errors.
pub struct Templates<'s> {
    /// The stack's folder as the operator knows it, for messages.
    folder: String,
    sources: BTreeMap<&'s str, &'s str>,
}

/// One `mount(file="...")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub file: String,
    /// Template that calls it, and where in bytes.
    pub template: String,
    pub span: (usize, usize),
}

impl<'s> Templates<'s> {
    /// Those named, and all that they include, from the stack's folder.
    ///
    /// # Errors
    /// Every template that is missing, no text, or not understood.
    pub fn read(
        folder: &str,
        contents: &'s BTreeMap<String, Vec<u8>>,
        names: impl IntoIterator<Item = &'s str>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut templates = Templates { folder: folder.to_owned(), sources: BTreeMap::new() };
        let mut faults = Vec::new();
        let mut waiting: Vec<&'s str> = names.into_iter().collect();
        while let Some(name) = waiting.pop() {
            if templates.sources.contains_key(name) {
                continue;
            }
            // A template that is not there is reported where it is named.
            let Some((name, bytes)) = contents.get_key_value(name) else { continue };
            let Ok(source) = std::str::from_utf8(bytes) else {
                faults.push(templates.diagnostic(name, None, Fault::new("is no UTF-8 text")));
                continue;
            };
            templates.sources.insert(name, source);
            match understand(name, source) {
                Ok(includes) => {
                    let known =
                        |include: &str| contents.get_key_value(include).map(|(name, _)| name.as_str());
                    waiting.extend(includes.iter().filter_map(|include| known(include)));
                }
                Err((span, message)) => {
                    faults.push(templates.diagnostic(name, span, Fault::new(message)));
                }
            }
        }
        if faults.is_empty() { Ok(templates) } else { Err(faults) }
    }

    /// Every name in these templates, looked up in the context; `public` of each says whether a secret
    /// must not be in it. All faults, in order, each once.
    #[must_use]
    pub fn check(&self, roots: &[(&str, bool)], context: &BTreeMap<String, Known>) -> Vec<Diagnostic> {
        let tokens = self.tokens();
        let trees = self.trees(&tokens);
        let mut found = BTreeSet::new();
        for (name, public) in roots {
            found.extend(check::Checker::check(&trees, name, context, *public));
        }
        let diagnostic = |fault: check::Fault| {
            let (message, hint) = (Fault::new(fault.message), fault.hint);
            let message = hint.into_iter().fold(message, Fault::hint);
            self.diagnostic(&fault.template, Some((fault.start, fault.end)), message)
        };
        found.into_iter().map(diagnostic).collect()
    }

    /// The files that a template and what it includes mount.
    #[must_use]
    pub fn mounts(&self, name: &str) -> Vec<Mount> {
        let tokens = self.tokens();
        let trees = self.trees(&tokens);
        let (mut found, mut seen, mut waiting) = (Vec::new(), BTreeSet::new(), vec![name]);
        while let Some(name) = waiting.pop() {
            if !seen.insert(name) {
                continue;
            }
            let Some(nodes) = trees.get(name) else { continue };
            let mut walk = walk::Walk::default();
            walk.nodes(nodes);
            found.extend(walk.mounts.into_iter().map(|(file, span)| Mount {
                file: file.to_owned(),
                template: name.to_owned(),
                span,
            }));
            waiting.extend(walk.includes);
        }
        found
    }

    /// Tera with these templates.
    ///
    /// # Errors
    /// What Tera refuses.
    pub fn engine(&self) -> Result<Engine<'_, 's>, Diagnostics> {
        let sources = self.sources.iter().map(|(name, source)| (*name, *source));
        let mounts = engine::Mounts::default();
        let tera = engine::engine(sources, Arc::clone(&mounts)).map_err(|failure| self.failed(failure))?;
        Ok(Engine { templates: self, tera, mounts })
    }

    fn failed(&self, failure: engine::Failure) -> Diagnostics {
        Diagnostics(vec![self.diagnostic(&failure.template, failure.span, Fault::new(failure.message))])
    }

    /// A finding in a template, with its line.
    #[must_use]
    pub fn diagnostic(&self, name: &str, span: Option<(usize, usize)>, fault: Fault) -> Diagnostic {
        let source = self.sources.get(name).map(|text| Source::new(text));
        let place = span.zip(source.as_ref());
        Diagnostic {
            file: format!("{}/{name}", self.folder),
            position: place.map(|((start, _), source)| source.position(start)),
            key: String::new(),
            fault,
            snippet: place.map(|((start, end), source)| source.snippet(&(start..end), &[])),
        }
    }

    fn tokens(&self) -> BTreeMap<&str, Vec<lexer::Token<'_>>> {
        // What `read` has understood is understood again.
        self.sources.iter().map(|(name, source)| (*name, lexer::tokens(source).unwrap_or_default())).collect()
    }

    fn trees<'t>(
        &self,
        tokens: &'t BTreeMap<&'t str, Vec<lexer::Token<'t>>>,
    ) -> BTreeMap<&'t str, Vec<tree::Node<'t>>> {
        tokens.iter().map(|(name, tokens)| (*name, syntax::parse(tokens).unwrap_or_default())).collect()
    }
}

/// Renders checked templates.
pub struct Engine<'t, 's> {
    templates: &'t Templates<'s>,
    tera: Tera,
    mounts: engine::Mounts,
}

impl Engine<'_, '_> {
    /// One template, rendered. No error holds a value.
    ///
    /// # Errors
    /// What went wrong, with its place.
    pub fn render(&self, name: &str, context: &Context) -> Result<Zeroizing<Vec<u8>>, Diagnostics> {
        let mut out = Zeroizing::new(Vec::with_capacity(4096));
        let rendered = self.tera.render_to(name, context, &mut *out);
        rendered.map_err(|error| self.templates.failed(engine::failure(&error, name)))?;
        Ok(out)
    }

    /// Tells `mount` where a rendered file lies on the host.
    pub fn mount(&self, destination: &str, path: &str) {
        if let Ok(mut mounts) = self.mounts.write() {
            mounts.insert(destination.to_owned(), path.to_owned());
        }
    }

    pub fn forget_mounts(&self) {
        if let Ok(mut mounts) = self.mounts.write() {
            mounts.clear();
        }
    }
}

type Misunderstood = (Option<(usize, usize)>, String);

/// What a template includes, or why it is refused: by Tera first, whose words fit its own syntax.
fn understand(name: &str, source: &str) -> Result<Vec<String>, Misunderstood> {
    let refused = |refused: lexer::NotUnderstood| {
        let alone = Tera::new().add_raw_template(name, source).map_err(|error| engine::failure(&error, name));
        match alone {
            Err(failure) if failure.span.is_some() => (failure.span, failure.message),
            _ => (
                Some((refused.start, refused.end)),
                format!("{} is not supported in the templates of a stack", refused.what),
            ),
        }
    };
    let tokens = lexer::tokens(source).map_err(refused)?;
    let nodes = syntax::parse(&tokens).map_err(refused)?;
    let mut walk = walk::Walk::default();
    walk.nodes(&nodes);
    Ok(walk.includes.into_iter().map(str::to_owned).collect())
}
