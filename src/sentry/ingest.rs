//! The door that events go in by: an envelope with the key of a DSN, as an application's SDK posts it
//! (<https://develop.sentry.dev/sdk/data-model/envelopes/>).

use std::time::{Duration, SystemTime};

use sentry::protocol::{Envelope, EnvelopeHeaders, EnvelopeItem, Event, Exception, Map};
use uuid::Uuid;

use super::limits;
use crate::http::{Http, HttpError};
use crate::registry::values::Dsn;

/// How this program calls itself there.
const CLIENT: &str = concat!("fleet/", env!("CARGO_PKG_VERSION"));

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
    #[error("{at}: an event has no form that can be sent: {why}")]
    Unwritable { at: String, why: String },
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
            PostError::Unwritable { .. } => "this is a fault of fleet: please report it".to_owned(),
        }
    }
}

/// Posts one item in an envelope of its own.
///
/// # Errors
/// When nothing was taken.
pub fn post(http: &Http, dsn: &Dsn, item: EnvelopeItem) -> Result<Posted, PostError> {
    let at = || dsn.host().to_owned();
    // The word that limits are told for.
    let category = if matches!(item, EnvelopeItem::MonitorCheckIn(_)) { "monitor" } else { "error" };
    let head = EnvelopeHeaders::new().with_sent_at(SystemTime::now());
    let mut envelope = Envelope::new().with_headers(head);
    envelope.add_item(item);
    let mut body = Vec::new();
    envelope
        .to_writer(&mut body)
        .map_err(|error| PostError::Unwritable { at: at(), why: error.to_string() })?;
    let auth = format!("Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key={}", dsn.key());
    let headers = [("x-sentry-auth", auth.as_str()), ("content-type", "application/x-sentry-envelope")];
    let answer =
        http.post(&dsn.envelope_url(), &headers, &body).map_err(|why| PostError::Silent { at: at(), why })?;
    let pause = || limits::pause(&answer, category);
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
    pub id: Uuid,
    pub client: &'a str,
    pub environment: &'a str,
    pub by: &'a str,
}

impl TestEvent<'_> {
    /// Every test of a fleet is one issue there, however many there are.
    #[must_use]
    pub fn event(&self) -> Event<'static> {
        let text = format!("`fleet sentry test {}` by {}: not an error", self.client, self.by);
        let tags = [("fleet.client", self.client), ("fleet.test", "yes")];
        Event {
            event_id: self.id,
            logger: Some("fleet".to_owned()),
            environment: Some(self.environment.to_owned().into()),
            exception: vec![Exception {
                ty: "FleetTest".to_owned(),
                value: Some(text),
                ..Exception::default()
            }]
            .into(),
            fingerprint: vec!["fleet-sentry-test".into()].into(),
            tags: tags
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect::<Map<_, _>>(),
            ..Event::default()
        }
    }
}
