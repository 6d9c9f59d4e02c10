//! The door that events go in by: an envelope with the key of a DSN, as an application's SDK posts it
//! (<https://develop.sentry.dev/sdk/data-model/envelopes/>).

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::limits;
use crate::http::{Http, HttpError};
use crate::registry::values::Dsn;

/// How this program calls itself there.
const CLIENT: &str = concat!("fleet/", env!("CARGO_PKG_VERSION"));

/// One part of an envelope.
pub struct Item<'a> {
    /// `event`, `check_in`.
    pub kind: &'a str,
    /// The word that limits are told for: `error`, `monitor`.
    pub category: &'a str,
    pub body: Json,
}

/// What a server took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Posted {
    pub status: u16,
    /// It took this one, and wants no more for so long.
    pub limited: Option<Duration>,
}

/// Why it took nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    #[error("{at}: {why}")]
    Silent { at: String, why: HttpError },
    #[error("{at} does not accept the key of the DSN (HTTP {status})")]
    Key { at: String, status: u16 },
    #[error("{at} has no project {project}")]
    Project { at: String, project: u64 },
    #[error("{at} takes nothing for {seconds} s: a rate limit or the quota is reached")]
    Limited { at: String, seconds: u64 },
    #[error("{at} answers {status} to an event")]
    Odd { at: String, status: u16 },
}

impl PostError {
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            PostError::Silent { .. } => {
                "the DSN names this server; `fleet doctor` tries it from the hosts too".to_owned()
            }
            PostError::Key { .. } => {
                "the key was revoked, or is another project's: take the DSN anew from the project's settings"
                    .to_owned()
            }
            PostError::Project { .. } => {
                "the project was deleted, or the DSN is of another server".to_owned()
            }
            PostError::Limited { .. } => {
                "errors of applications are lost meanwhile; the server's page on usage tells the quota"
                    .to_owned()
            }
            PostError::Odd { .. } => "is the DSN that of Sentry, or of what speaks like it?".to_owned(),
        }
    }
}

/// Posts one envelope. `id` is that of the event in it, where there is one.
///
/// # Errors
/// When nothing was taken.
pub fn post(
    http: &Http,
    dsn: &Dsn,
    id: Option<&str>,
    items: &[Item<'_>],
    now: Timestamp,
) -> Result<Posted, PostError> {
    let at = || dsn.host().to_owned();
    let mut head = json!({ "sent_at": now.to_string() });
    if let Some(id) = id {
        head["event_id"] = id.into();
    }
    let mut body = format!("{head}\n").into_bytes();
    for item in items {
        let text = item.body.to_string();
        let head = json!({ "type": item.kind, "length": text.len(), "content_type": "application/json" });
        body.extend_from_slice(format!("{head}\n{text}\n").as_bytes());
    }
    let auth = format!("Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key={}", dsn.key());
    let headers = [("x-sentry-auth", auth.as_str()), ("content-type", "application/x-sentry-envelope")];
    let answer =
        http.post(&dsn.envelope_url(), &headers, &body).map_err(|why| PostError::Silent { at: at(), why })?;
    let pause = || items.iter().filter_map(|item| limits::pause(&answer, item.category)).max();
    match answer.status {
        200..300 => Ok(Posted { status: answer.status, limited: pause() }),
        429 => Err(PostError::Limited { at: at(), seconds: pause().map_or(60, |pause| pause.as_secs()) }),
        status @ (401 | 403) => Err(PostError::Key { at: at(), status }),
        404 => Err(PostError::Project { at: at(), project: dsn.project() }),
        status => Err(PostError::Odd { at: at(), status }),
    }
}

/// An event that says that it is none.
pub struct TestEvent<'a> {
    /// 32 hexadecimal digits.
    pub id: &'a str,
    pub client: &'a str,
    pub environment: &'a str,
    pub release: Option<&'a str>,
    pub by: &'a str,
}

impl TestEvent<'_> {
    /// Every test of a fleet is one issue there, however many there are.
    #[must_use]
    pub fn item(&self, now: Timestamp) -> Item<'static> {
        let text = format!("`fleet sentry test {}` by {}: not an error", self.client, self.by);
        let mut body = json!({
            "event_id": self.id,
            "timestamp": now.to_string(),
            "platform": "other",
            "level": "error",
            "logger": "fleet",
            "environment": self.environment,
            "exception": { "values": [{ "type": "FleetTest", "value": text }] },
            "fingerprint": ["fleet-sentry-test"],
            "tags": { "fleet.client": self.client, "fleet.test": "yes" },
        });
        if let Some(release) = self.release {
            body["release"] = release.into();
        }
        Item { kind: "event", category: "error", body }
    }
}
