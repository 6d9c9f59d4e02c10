//! From schema, client and vault to the environment of one client.
//!
//! A value comes from the first of these that has one: the client's `env`, the client's `sentry`, the
//! vault, `from`, `default`. All that is missing or malformed is named at once, with its help, before
//! any host is contacted. No message quotes a secret.

use std::collections::{BTreeMap, BTreeSet};

use super::context;
use super::schema::{EnvSchema, SentryNames, Variable};
use crate::diagnostic::{Diagnostic, Diagnostics, Fault, shown};
use crate::registry::Client;
use crate::secret::{Generator, Secret};

/// Beginnings of names that Compose obeys when it finds them in an environment file.
pub(super) const RESERVED: [&str; 2] = ["COMPOSE_", "DOCKER_"];

/// What the environment of a client is made from.
#[derive(Clone, Copy, Debug)]
pub struct EnvInput<'a> {
    pub client: &'a Client,
    /// The fleet's name.
    pub fleet: &'a str,
    /// The registry's file, as the operator knows it, for messages.
    pub registry: &'a str,
    /// What the vault holds for this client, by variable.
    pub secrets: &'a BTreeMap<String, Secret<String>>,
}

/// The environment of one client, complete and checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedEnv {
    pub values: BTreeMap<String, EnvValue>,
    /// Known to the schema, without a value for this client.
    pub absent: BTreeSet<String>,
}

impl ResolvedEnv {
    /// The secret values by name, for a redactor.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &Secret<String>)> {
        self.values
            .iter()
            .filter(|(_, value)| value.secret)
            .map(|(name, value)| (name.as_str(), &value.value))
    }
}

/// One variable of one client. Every value is kept wrapped, so that none is printed by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvValue {
    pub value: Secret<String>,
    pub secret: bool,
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `env` of the client or of `[defaults]`.
    Client,
    /// `sentry` of the client or of `[defaults]`.
    Sentry,
    /// Generated once, or set with `fleet secrets set`.
    Vault,
    /// Another value of the client, named by `from`.
    From,
    /// The stack's own default.
    Default,
}

impl EnvSchema {
    /// The environment of one client.
    ///
    /// # Errors
    /// Every variable that is missing, malformed, unknown or in the wrong place.
    pub fn resolve(&self, input: EnvInput<'_>) -> Result<ResolvedEnv, Diagnostics> {
        let mut resolved = ResolvedEnv::default();
        let mut findings = Vec::new();
        let mut find = |name: &str, (place, fault)| findings.push(finding(input, place, name, fault));
        for (name, value) in &input.client.env {
            if self.variables.contains_key(name) {
                continue;
            }
            let reserved = RESERVED.iter().any(|prefix| name.starts_with(prefix));
            if self.extra && !reserved {
                let value = EnvValue { value: value.clone().into(), secret: false, origin: Origin::Client };
                resolved.values.insert(name.clone(), value);
            } else {
                find(name, (Place::Registry, self.unknown(name)));
            }
        }
        for (name, variable) in &self.variables {
            match self.value(name, variable, input) {
                Ok(Some(value)) => drop(resolved.values.insert(name.clone(), value)),
                Ok(None) => drop(resolved.absent.insert(name.clone())),
                Err(refused) => find(name, refused),
            }
        }
        findings.sort_by(|a, b| (&a.file, &a.key).cmp(&(&b.file, &b.key)));
        if findings.is_empty() { Ok(resolved) } else { Err(Diagnostics(findings)) }
    }

    /// What must be generated for a client whose vault holds what `exists` says.
    pub fn to_generate(&self, exists: impl Fn(&str) -> bool) -> Vec<(String, Generator)> {
        let missing = self.variables.iter().filter(|(name, _)| !exists(name));
        missing.filter_map(|(name, variable)| Some((name.clone(), variable.generate?))).collect()
    }

    /// The variables whose values belong in the vault.
    pub fn vault_names(&self) -> impl Iterator<Item = &str> {
        let kept =
            self.variables.iter().filter(|(_, variable)| variable.secret || variable.generate.is_some());
        kept.map(|(name, _)| name.as_str())
    }

    fn unknown(&self, name: &str) -> Fault {
        if self.extra {
            return Fault::new("is a word to Docker itself").hint("choose another name");
        }
        let fault = Fault::new("the stack knows no such variable");
        let suggested = fault.clone().suggest(name, self.variables.keys().map(String::as_str));
        match suggested.hint {
            Some(_) => suggested,
            None if self.variables.is_empty() => fault.hint("this stack takes no variables"),
            None => {
                let known: Vec<_> = self.variables.keys().map(String::as_str).collect();
                fault.hint(format!("known here: {}", known.join(", ")))
            }
        }
    }

    fn value(
        &self,
        name: &str,
        variable: &Variable,
        input: EnvInput<'_>,
    ) -> Result<Option<EnvValue>, (Place, Fault)> {
        let Some((value, origin)) = self.source(name, variable, input) else {
            return match missing(name, variable, input.client) {
                Some((place, fault)) => Err((place, explain(fault, variable))),
                None => Ok(None),
            };
        };
        let set = format!("run `fleet secrets set {} {name}`", input.client.name);
        if origin == Origin::Client && variable.secret {
            let hint = match self.sentry.dsn.as_deref() == Some(name) {
                true => "write it as sentry = { dsn = \"...\" }".to_owned(),
                false => format!("remove it here and {set}; whoever could read this file knows it"),
            };
            let fault = Fault::new("is a secret and has no place in this file").hint(hint);
            return Err((Place::Registry, fault));
        }
        match refusal(&value, variable) {
            Some(fault) if origin == Origin::Vault => Err((Place::Vault, explain(fault, variable).hint(set))),
            Some(fault) => Err((Place::Registry, explain(fault, variable))),
            None => Ok(Some(EnvValue { value, secret: variable.secret, origin })),
        }
    }

    /// The first source that has a value.
    fn source(
        &self,
        name: &str,
        variable: &Variable,
        input: EnvInput<'_>,
    ) -> Option<(Secret<String>, Origin)> {
        if let Some(value) = input.client.env.get(name) {
            return Some((value.clone().into(), Origin::Client));
        }
        if let Some(value) = sentry(&self.sentry, name, input.client) {
            return Some((value, Origin::Sentry));
        }
        if let Some(value) = input.secrets.get(name) {
            return Some((value.clone(), Origin::Vault));
        }
        let from = variable.from.as_deref().and_then(|path| context::lookup(path, input.client, input.fleet));
        if let Some(value) = from {
            return Some((value.into(), Origin::From));
        }
        variable.default.clone().map(|value| (value.into(), Origin::Default))
    }
}

/// Where a value is to be mended.
#[derive(Clone, Copy)]
enum Place {
    Registry,
    Vault,
}

fn finding(input: EnvInput<'_>, place: Place, name: &str, fault: Fault) -> Diagnostic {
    let client = &input.client.name;
    let (file, key) = match place {
        Place::Registry => (input.registry.to_owned(), format!("clients.{client}.env.{name}")),
        Place::Vault => (format!("secrets/{client}.age"), name.to_owned()),
    };
    Diagnostic { file, position: None, key, fault, snippet: None }
}

/// What the client's `sentry` gives this variable.
fn sentry(names: &SentryNames, name: &str, client: &Client) -> Option<Secret<String>> {
    let is = |mapped: &Option<String>| mapped.as_deref() == Some(name);
    if is(&names.dsn) {
        return client.sentry.dsn.as_ref().map(|dsn| Secret::from(dsn.reveal()));
    }
    if is(&names.environment) {
        return Some(Secret::from(client.sentry.environment.as_str()));
    }
    is(&names.traces_rate).then(|| client.sentry.traces_rate.to_string().into())
}

fn missing(name: &str, variable: &Variable, client: &Client) -> Option<(Place, Fault)> {
    if variable.generate.is_some() {
        let hint = "`fleet provision` generates what a new client lacks; for one that is provisioned, restore \
                    this file from version control";
        return Some((Place::Vault, Fault::new("has not been generated").hint(hint)));
    }
    if !variable.required {
        return None;
    }
    let fault = Fault::new("has no value");
    Some(match variable.secret {
        true => (Place::Vault, fault.hint(format!("run `fleet secrets set {} {name}`", client.name))),
        false => {
            let hint = format!("add it to the client: env = {{ {name} = \"...\" }}, or to [defaults]");
            (Place::Registry, fault.hint(hint))
        }
    })
}

/// Why a value cannot be used. A secret is not quoted.
fn refusal(value: &Secret<String>, variable: &Variable) -> Option<Fault> {
    let text = value.reveal();
    let quoted = || if variable.secret { "its value".to_owned() } else { shown(text) };
    if text.contains(['\n', '\r', '\0']) {
        return Some(Fault::new("its value holds a line end, which no environment file can carry"));
    }
    if text.is_empty() && variable.required {
        return Some(Fault::new("its value is empty"));
    }
    let pattern = variable.pattern.as_ref().filter(|pattern| !pattern.regex.is_match(text))?;
    Some(Fault::new(format!("{} does not match {}", quoted(), shown(&pattern.text))))
}

/// Adds what the stack says of the variable.
fn explain(fault: Fault, variable: &Variable) -> Fault {
    let example = variable.example.as_ref().map(|example| format!("such as {}", shown(example)));
    let words: Vec<_> = variable.help.iter().cloned().chain(example).collect();
    if words.is_empty() { fault } else { fault.expected(words.join(", ")) }
}

#[cfg(test)]
#[path = "env_tests.rs"]
mod tests;
