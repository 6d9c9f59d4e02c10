//! Releases and deploys, as Sentry's API takes them. A release is made once however often it is asked for; a deploy is
//! made as often as it is told.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::commits::Commits;
use super::ledger::Deploy;
use super::{Api, ApiError, Purpose};

/// The scope that all of it needs.
const SCOPE: &str = "project:releases";
/// Pages of a list of deploys that are looked through.
const PAGES: usize = 50;
/// Longest name of a release.
const VERSION: usize = 200;
/// Longest name of a deploy.
const NAME: usize = 64;

/// Whether Sentry takes it as the name of a release.
#[must_use]
pub fn is_version(text: &str) -> bool {
    let odd = |c: char| matches!(c, '\r' | '\n' | '\u{c}' | '\t' | '/' | '\\');
    !text.is_empty()
        && text.chars().count() <= VERSION
        && !text.contains(odd)
        && !matches!(text, "." | ".." | "latest")
        && text.trim() == text
}

/// The name of a client's deploy in one run; what is too long keeps the run, which is unlike any other.
#[must_use]
pub fn deploy_name(run: &str, client: &str) -> String {
    format!("{run} {client}").chars().take(NAME).collect()
}

impl Api {
    /// Makes a release for these projects, or adds them to it; true when it is finalised already.
    ///
    /// # Errors
    /// As [`ApiError`] says.
    pub fn make_release(
        &self,
        org: &str,
        version: &str,
        projects: &BTreeSet<String>,
        at: &str,
        commits: Option<&Commits>,
    ) -> Result<bool, ApiError> {
        let what = format!("make release {version}");
        let purpose = Purpose { what: &what, scope: SCOPE };
        let mut body = json!({ "version": version, "projects": projects, "dateStarted": at });
        if let Some(commits) = commits {
            body["commits"] = commits.list.clone().into();
        }
        let made = self.post(&format!("/api/0/organizations/{org}/releases/"), &body, purpose)?;
        Ok(made["dateReleased"].is_string())
    }

    /// Whether somebody finalised it before.
    ///
    /// # Errors
    /// As [`ApiError`] says.
    pub fn is_finalised(&self, org: &str, version: &str) -> Result<bool, ApiError> {
        let what = format!("show release {version}");
        let found = self.get(&place(org, version), Purpose { what: &what, scope: SCOPE })?;
        Ok(found["dateReleased"].is_string())
    }

    /// # Errors
    /// As [`ApiError`] says.
    pub fn finalise(&self, org: &str, version: &str, at: &str) -> Result<(), ApiError> {
        let what = format!("finalise release {version}");
        let body = json!({ "dateReleased": at });
        self.put(&place(org, version), &body, Purpose { what: &what, scope: SCOPE }).map(drop)
    }

    /// # Errors
    /// As [`ApiError`] says.
    pub fn deploy(&self, deploy: &Deploy) -> Result<(), ApiError> {
        let what = format!("tell a deploy of {}", deploy.version);
        let body = json!({
            "environment": deploy.environment,
            "name": deploy.name,
            "url": deploy.url,
            "dateStarted": deploy.started,
            "dateFinished": deploy.finished,
        });
        let path = format!("{}deploys/", place(&deploy.org, &deploy.version));
        self.post(&path, &body, Purpose { what: &what, scope: SCOPE }).map(drop)
    }

    /// Environment and name of each deploy of a release.
    ///
    /// # Errors
    /// As [`ApiError`] says; that the release is not there is none.
    pub fn deploys(&self, org: &str, version: &str) -> Result<BTreeSet<(String, String)>, ApiError> {
        let what = format!("list the deploys of {version}");
        let path = format!("{}deploys/", place(org, version));
        let list = match self.list(&path, Purpose { what: &what, scope: SCOPE }, PAGES) {
            Err(error) if error.is_unknown() => Vec::new(),
            list => list?,
        };
        let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
        Ok(list.iter().map(|deploy| (text(&deploy["environment"]), text(&deploy["name"]))).collect())
    }
}

fn place(org: &str, version: &str) -> String {
    let keep = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    let version: String = version
        .bytes()
        .map(|b| if keep(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect();
    format!("/api/0/organizations/{org}/releases/{version}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_that_sentry_takes_and_stays_one_part_of_a_path() {
        for good in ["geoclic@1a2b3c", "geoclic@1.2.3", "a b"] {
            assert!(is_version(good), "{good}");
        }
        let long = "x".repeat(201);
        for bad in ["", ".", "..", "latest", "a/b", "a\\b", "a\nb", " a", long.as_str()] {
            assert!(!is_version(bad), "{bad:?}");
        }
        assert_eq!(place("acme", "geoclic@1?é"), "/api/0/organizations/acme/releases/geoclic%401%3F%C3%A9/");
        assert_eq!(deploy_name("20261120-141048-1ebfff", "lyon"), "20261120-141048-1ebfff lyon");
        assert_eq!(deploy_name("20261120-141048-1ebfff", &"x".repeat(63)).len(), 64);
    }
}
