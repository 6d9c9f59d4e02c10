//! Secrets that this process has had in its hands, so that what it reports of itself holds none of them.
//!
//! Rule of this file: nothing is remembered until [`keep`] is called, which only the reporting of errors
//! does. What is remembered leaves as a [`Redactor`] and in no other way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::secret::{Redactor, Secret};

/// Names and values, in the order in which they came.
type Kept = Option<Vec<(String, Secret<String>)>>;

static KEPT: Mutex<Kept> = Mutex::new(None);

/// Words in the name of a variable whose value is taken for a secret.
const TELLING: [&str; 13] = [
    "AUTH",
    "COOKIE",
    "CREDENTIAL",
    "DSN",
    "KEY",
    "PASS",
    "PING",
    "PWD",
    "SECRET",
    "TOKEN",
    "URI",
    "URL",
    "WEBHOOK",
];
/// The same words in names of what is none.
const HARMLESS: [&str; 4] = ["PWD", "OLDPWD", "SSH_AUTH_SOCK", "XAUTHORITY"];

/// Remembers from now on.
pub fn keep() {
    kept().get_or_insert_default();
}

/// Takes these into account; without [`keep`] they are forgotten at once.
pub fn note<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a Secret<String>)>) {
    if let Some(kept) = kept().as_mut() {
        kept.extend(secrets.into_iter().map(|(name, value)| (name.to_owned(), value.clone())));
    }
}

/// Masks what was noted, and every variable of the environment whose name says that it is a secret.
#[must_use]
pub fn redactor() -> Redactor {
    let mut all = kept().clone().unwrap_or_default();
    all.extend(of_environment());
    Redactor::new(all.iter().map(|(name, value)| (name.as_str(), value)))
}

fn of_environment() -> impl Iterator<Item = (String, Secret<String>)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let upper = name.to_ascii_uppercase();
        let tells = !HARMLESS.contains(&upper.as_str()) && TELLING.iter().any(|word| upper.contains(word));
        tells.then(|| (name, Secret::new(value)))
    })
}

fn kept() -> MutexGuard<'static, Kept> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}
