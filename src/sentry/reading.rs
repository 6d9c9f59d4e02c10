//! What a server knows: a project, its keys, its newest events. Sentry and Bugsink differ here and nowhere else.

use serde_json::Value as Json;

use super::api::{Api, ApiError, Kind, Purpose};
use crate::registry::Sentry;
use crate::registry::values::Dsn;
use crate::secret::clean;

/// Newest events of a project that Sentry tells on one page.
const PAGE: usize = 100;
/// Issues of a project that Bugsink is asked the events of, newest first.
const ISSUES: usize = 8;
/// Events that Bugsink is asked the environment of: each takes a request.
const EVENTS: usize = 24;
/// Characters of a word of the server's.
const WORD: usize = 200;

/// Which project of which organisation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Whereabouts {
    /// Short name or number.
    pub org: Option<String>,
    /// Short name, or the number that the DSN ends in.
    pub project: String,
    pub number: u64,
}

/// A project as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    pub slug: String,
    pub number: u64,
    pub keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The key's own DSN; none where the server tells none that is one.
    pub dsn: Option<Dsn>,
    /// Its public part.
    pub public: String,
    pub active: bool,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// 32 hexadecimal digits.
    pub id: String,
    /// RFC 3339.
    pub at: String,
    pub environment: Option<String>,
    pub release: Option<String>,
    /// Everything that the server tells of it, to look for a mark in; nothing of it is shown.
    text: Option<String>,
}

impl Whereabouts {
    /// From what a client has; hosted Sentry names the organisation in the DSN itself (`o123.ingest...`).
    #[must_use]
    pub fn of(sentry: &Sentry, dsn: &Dsn) -> Whereabouts {
        let label = dsn.host().split('.').next().unwrap_or_default();
        let number =
            label.strip_prefix('o').filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        Whereabouts {
            org: sentry.org.as_ref().map(ToString::to_string).or_else(|| number.map(str::to_owned)),
            project: sentry.project.as_ref().map_or_else(|| dsn.project().to_string(), ToString::to_string),
            number: dsn.project(),
        }
    }

    fn name(&self) -> String {
        match &self.org {
            Some(org) => format!("{org}/{}", self.project),
            None => self.project.clone(),
        }
    }

    /// The project's place in Sentry's own API.
    fn path(&self) -> Result<String, ApiError> {
        match &self.org {
            Some(org) => Ok(format!("/api/0/projects/{org}/{}", self.project)),
            None => Err(ApiError::NoOrganisation { project: self.project.clone() }),
        }
    }
}

impl Seen {
    /// Whether this word is anywhere in it.
    #[must_use]
    pub fn has(&self, mark: &str) -> bool {
        self.text.as_ref().is_some_and(|text| text.contains(mark))
    }
}

impl Api {
    /// # Errors
    /// As [`ApiError`] says.
    pub fn project(&self, at: &Whereabouts) -> Result<Project, ApiError> {
        let what = format!("show project {}", at.name());
        let purpose = Purpose { what: &what, scope: "project:read" };
        if self.kind()? == Kind::Bugsink {
            let found = self.get(&format!("/api/canonical/0/projects/{}/", at.number), purpose)?;
            let dsn = found["dsn"].as_str().and_then(|text| Dsn::parse(text).ok());
            let key = dsn.as_ref().map(|dsn| Key {
                public: dsn.key().to_owned(),
                dsn: Some(dsn.clone()),
                active: true,
            });
            return Ok(Project {
                slug: word(&found["slug"]),
                number: at.number,
                keys: key.into_iter().collect(),
            });
        }
        let path = at.path()?;
        let found = self.get(&format!("{path}/"), purpose)?;
        let number = number(&found["id"]).ok_or_else(|| self.shape(&what))?;
        Ok(Project { slug: word(&found["slug"]), number, keys: self.keys(&path, &at.name())? })
    }

    pub(super) fn keys(&self, path: &str, name: &str) -> Result<Vec<Key>, ApiError> {
        let what = format!("list the keys of {name}");
        let purpose = Purpose { what: &what, scope: "project:read" };
        let keys = self.get(&format!("{path}/keys/"), purpose)?;
        let keys = keys.as_array().ok_or_else(|| self.shape(&what))?;
        Ok(keys.iter().map(key).collect())
    }

    /// The newest events of a project, the newest first, as far as one look tells.
    ///
    /// # Errors
    /// As [`ApiError`] says.
    pub fn newest(&self, at: &Whereabouts) -> Result<Vec<Seen>, ApiError> {
        let what = format!("list the events of {}", at.name());
        let purpose = Purpose { what: &what, scope: "project:read" };
        if self.kind()? == Kind::Bugsink {
            return self.newest_of_bugsink(at.number, purpose);
        }
        let found = self.get(&format!("{}/events/", at.path()?), purpose)?;
        let list = found.as_array().ok_or_else(|| self.shape(&what))?;
        Ok(list.iter().take(PAGE).map(|event| seen(event, None)).collect())
    }

    /// One event by its number, where the server has it already.
    ///
    /// # Errors
    /// As [`ApiError`] says; that it is not there (yet) is none.
    pub fn event(&self, at: &Whereabouts, id: &str) -> Result<Option<Seen>, ApiError> {
        if self.kind()? == Kind::Bugsink {
            return Ok(self.newest(at)?.into_iter().find(|seen| seen.id == id));
        }
        let what = format!("show an event of {}", at.name());
        let purpose = Purpose { what: &what, scope: "project:read" };
        match self.get(&format!("{}/events/{id}/", at.path()?), purpose) {
            Ok(event) => Ok(Some(seen(&event, Some(event.to_string())))),
            Err(error) if error.is_unknown() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bugsink lists events by issue, and tells the environment of one at a time.
    fn newest_of_bugsink(&self, project: u64, purpose: Purpose<'_>) -> Result<Vec<Seen>, ApiError> {
        let page = |path: &str| -> Result<Vec<Json>, ApiError> {
            let found = self.get(path, purpose)?;
            found["results"].as_array().cloned().ok_or_else(|| self.shape(purpose.what))
        };
        let issues = page(&format!("/api/canonical/0/issues/?project={project}&sort=last_seen&order=desc"))?;
        let mut events: Vec<(String, String)> = Vec::new();
        for issue in issues.iter().take(ISSUES) {
            let issue = identifier(&issue["id"]).ok_or_else(|| self.shape(purpose.what))?;
            let list = page(&format!("/api/canonical/0/events/?issue={issue}"))?;
            events.extend(
                list.iter()
                    .take(EVENTS)
                    .filter_map(|event| Some((word(&event["ingested_at"]), identifier(&event["id"])?))),
            );
        }
        events.sort();
        let newest = events.into_iter().rev().take(EVENTS);
        newest
            .map(|(_, id)| {
                let event = self.get(&format!("/api/canonical/0/events/{id}/"), purpose)?;
                Ok(seen_of_bugsink(&event))
            })
            .collect()
    }
}

fn key(key: &Json) -> Key {
    let dsn = key["dsn"]["public"].as_str().and_then(|text| Dsn::parse(text).ok());
    Key { public: word(&key["public"]), dsn, active: key["isActive"].as_bool().unwrap_or(true) }
}

fn seen(event: &Json, text: Option<String>) -> Seen {
    let tag = |name: &str| {
        let found = event["tags"].as_array()?.iter().find(|tag| tag["key"] == name)?;
        Some(word(&found["value"]))
    };
    let id = if event["eventID"].is_string() { &event["eventID"] } else { &event["id"] };
    Seen {
        id: plain_id(&word(id)),
        at: word(&event["dateCreated"]),
        environment: tag("environment"),
        release: tag("release"),
        text,
    }
}

fn seen_of_bugsink(event: &Json) -> Seen {
    let data = &event["data"];
    let optional = |value: &Json| value.is_string().then(|| word(value)).filter(|text| !text.is_empty());
    Seen {
        id: plain_id(&word(&event["event_id"])),
        at: word(&event["ingested_at"]),
        environment: optional(&data["environment"]),
        release: optional(&data["release"]),
        text: Some(event.to_string()),
    }
}

/// A number, written as one or as text.
fn number(value: &Json) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// What may stand in a path of the API.
fn identifier(value: &Json) -> Option<String> {
    let text = value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()))?;
    let plain =
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then_some(text)
}

fn plain_id(text: &str) -> String {
    text.replace('-', "").to_ascii_lowercase()
}

/// A word of the server's, fit to be shown.
pub(super) fn word(value: &Json) -> String {
    clean(value.as_str().unwrap_or_default()).chars().take(WORD).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_whatever_a_server_makes_of_them() {
        let event = json!({ "id": "1", "eventID": "AB12", "dateCreated": "2026-11-20T10:00:00Z",
            "tags": [{ "key": "level", "value": "error" }, { "key": "environment", "value": "ly\u{1b}[31mon" }] });
        let seen = super::seen(&event, None);
        assert_eq!((seen.id.as_str(), seen.release.clone(), seen.has("lyon")), ("ab12", None, false));
        assert!(!seen.environment.unwrap().contains('\u{1b}'));
        for odd in [json!(null), json!([]), json!({ "tags": 7 }), json!({ "tags": [1, null] })] {
            assert_eq!(super::seen(&odd, None).environment, None, "{odd}");
        }
        let event = json!({ "event_id": "0123abcd-0000-4000-8000-000000000000", "ingested_at": "2026-11-20T10:00:00Z",
            "data": { "environment": "lyon", "release": "", "request": { "query_string": "fleet=mark7" } } });
        let seen = seen_of_bugsink(&event);
        assert_eq!(seen.id, "0123abcd000040008000000000000000");
        assert_eq!((seen.environment.as_deref(), seen.release.as_deref()), (Some("lyon"), None));
        assert!(seen.has("mark7") && !seen.has("mark8"));
    }

    #[test]
    fn nothing_of_a_server_changes_the_meaning_of_a_path() {
        assert_eq!(identifier(&json!(7)).as_deref(), Some("7"));
        for odd in [json!("../../7"), json!("7?x"), json!(""), json!(null), json!("a".repeat(65))] {
            assert_eq!(identifier(&odd), None, "{odd}");
        }
    }

    #[test]
    fn the_hosted_sentry_names_the_organisation_in_its_dsn() {
        let sentry = |org: Option<&str>| Sentry {
            uses: None,
            enabled: true,
            dsn: None,
            environment: crate::registry::values::Environment::parse("lyon").unwrap(),
            traces_rate: 0.1,
            project: None,
            org: org.map(|org| crate::registry::values::Slug::parse(org).unwrap()),
        };
        let of = |org, dsn| Whereabouts::of(&sentry(org), &Dsn::parse(dsn).unwrap());
        let hosted = "https://key@o123.ingest.de.sentry.io/42";
        assert_eq!(of(None, hosted).path().unwrap(), "/api/0/projects/123/42");
        assert_eq!(of(Some("geoclic"), hosted).path().unwrap(), "/api/0/projects/geoclic/42");
        assert!(of(None, "https://key@office.example.fr/42").path().is_err());
    }
}
