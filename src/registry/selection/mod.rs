//! Which clients a command means. A command that changes hosts never guesses.
//!
//! Names (or globs) narrow to those clients, tags narrow further to clients that have any of them,
//! `--exclude` removes last. A disabled client is left alone unless its exact name is given.

use globset::{Glob, GlobMatcher};

use super::{Client, Registry};
use crate::diagnostic::nearest;

/// What the operator asked for, as the flags say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Exact names or globs (`ville-*`).
    pub names: Vec<String>,
    pub tags: Vec<String>,
    /// Exact names or globs.
    pub exclude: Vec<String>,
    pub all: bool,
}

/// Why nobody is chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    #[error("no client was named")]
    NoTarget,
    #[error("--all and client names were both given")]
    AllAndNames,
    #[error("no client is called `{name}`")]
    UnknownName { name: String, near: Option<String>, known: Vec<String> },
    #[error("no client matches `{pattern}`")]
    NoMatch { pattern: String, known: Vec<String> },
    #[error("`{pattern}` matches only clients that are disabled: {}", shorten(.disabled))]
    OnlyDisabled { pattern: String, disabled: Vec<String> },
    #[error("`{pattern}` is no pattern: {why}")]
    BadPattern { pattern: String, why: String },
    #[error("no client has the tag `{tag}`")]
    UnknownTag { tag: String, near: Option<String>, known: Vec<String> },
    #[error("the registry has no client yet")]
    NoClients,
    #[error("no client is left after all the conditions")]
    Nobody,
}

impl SelectError {
    /// What to do next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let list = |what: &str, known: &[String]| match known {
            [] => None,
            known => Some(format!("{what}: {}", shorten(known))),
        };
        let meant = |near: &Option<String>| near.as_ref().map(|near| format!("did you mean `{near}`?"));
        match self {
            SelectError::NoTarget => Some("name clients, or choose with --tag or --all".to_owned()),
            SelectError::AllAndNames => {
                Some("leave one of them out; --tag and --exclude narrow --all".to_owned())
            }
            SelectError::UnknownName { near, known, .. } => meant(near).or_else(|| list("clients", known)),
            SelectError::NoMatch { known, .. } => list("clients", known),
            SelectError::OnlyDisabled { .. } => {
                Some("name a disabled client exactly to work on it".to_owned())
            }
            SelectError::BadPattern { .. } => {
                Some("quote patterns such as 'ville-*' and 'ville-[ab]'".to_owned())
            }
            SelectError::UnknownTag { near, known, .. } => meant(near).or_else(|| list("tags", known)),
            SelectError::NoClients => Some("add one with `fleet add`".to_owned()),
            SelectError::Nobody => Some("see who has what with `fleet list`".to_owned()),
        }
    }
}

/// Up to ten names, and how many more.
fn shorten(names: &[String]) -> String {
    const MOST: usize = 10;
    match names.len().checked_sub(MOST) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..MOST].join(", ")),
    }
}

/// One word of the operator: a name, or a glob over names.
enum Pattern {
    Exact(String),
    Glob(GlobMatcher),
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, SelectError> {
        if !text.contains(['*', '?', '[', '{']) {
            return Ok(Pattern::Exact(text.to_owned()));
        }
        match Glob::new(text) {
            Ok(glob) => Ok(Pattern::Glob(glob.compile_matcher())),
            Err(error) => {
                Err(SelectError::BadPattern { pattern: text.to_owned(), why: error.kind().to_string() })
            }
        }
    }

    fn matches(&self, client: &Client) -> bool {
        match self {
            Pattern::Exact(name) => client.name == name.as_str(),
            Pattern::Glob(glob) => glob.is_match(client.name.as_str()),
        }
    }

    /// Whether the operator means this client by it: a glob passes over disabled ones.
    fn means(&self, client: &Client) -> bool {
        self.matches(client) && (matches!(self, Pattern::Exact(_)) || !client.disabled)
    }
}

impl Registry {
    /// The clients that a selection means, in the order of the file, each once.
    ///
    /// # Errors
    /// No target at all, a word that means nobody, or nobody left in the end.
    pub fn select(&self, selection: &Selection) -> Result<Vec<&Client>, SelectError> {
        let Selection { names, tags, exclude, all } = selection;
        if names.is_empty() && tags.is_empty() && !all {
            return Err(SelectError::NoTarget);
        }
        if *all && !names.is_empty() {
            return Err(SelectError::AllAndNames);
        }
        if self.clients.is_empty() {
            return Err(SelectError::NoClients);
        }
        let names = names.iter().map(|name| self.pattern(name)).collect::<Result<Vec<_>, _>>()?;
        let exclude = exclude.iter().map(|name| self.excluded(name)).collect::<Result<Vec<_>, _>>()?;
        tags.iter().try_for_each(|tag| self.known_tag(tag))?;

        let named = |client: &Client| match names.as_slice() {
            [] => !client.disabled,
            names => names.iter().any(|name| name.means(client)),
        };
        let tagged =
            |client: &Client| tags.is_empty() || tags.iter().any(|tag| client.tags.contains(tag.as_str()));
        let kept = |client: &Client| !exclude.iter().any(|name| name.matches(client));
        let chosen: Vec<_> = self.clients.iter().filter(|c| named(c) && tagged(c) && kept(c)).collect();
        if chosen.is_empty() { Err(SelectError::Nobody) } else { Ok(chosen) }
    }

    /// A word that chooses: it must mean someone.
    fn pattern(&self, text: &str) -> Result<Pattern, SelectError> {
        let pattern = self.excluded(text)?;
        if self.clients.iter().any(|client| pattern.means(client)) {
            return Ok(pattern);
        }
        let disabled =
            self.clients.iter().filter(|c| pattern.matches(c)).map(|c| c.name.to_string()).collect();
        Err(SelectError::OnlyDisabled { pattern: text.to_owned(), disabled })
    }

    /// A word that excludes: a slip in it would touch the very client that was to be spared, so it
    /// must match someone too.
    fn excluded(&self, text: &str) -> Result<Pattern, SelectError> {
        let pattern = Pattern::parse(text)?;
        if self.clients.iter().any(|client| pattern.matches(client)) {
            return Ok(pattern);
        }
        let names = || self.clients.iter().map(|client| client.name.as_str());
        let known = names().map(str::to_owned).collect();
        Err(match pattern {
            Pattern::Exact(name) => {
                let near = nearest(&name, names()).map(str::to_owned);
                SelectError::UnknownName { name, near, known }
            }
            Pattern::Glob(_) => SelectError::NoMatch { pattern: text.to_owned(), known },
        })
    }

    fn known_tag(&self, tag: &str) -> Result<(), SelectError> {
        if self.clients.iter().any(|client| client.tags.contains(tag)) {
            return Ok(());
        }
        let known: std::collections::BTreeSet<_> =
            self.clients.iter().flat_map(|client| &client.tags).map(|tag| tag.as_str()).collect();
        let near = nearest(tag, known.iter().copied()).map(str::to_owned);
        Err(SelectError::UnknownTag {
            tag: tag.to_owned(),
            near,
            known: known.into_iter().map(str::to_owned).collect(),
        })
    }
}

#[cfg(test)]
mod tests;
