//! One small client of the API: a token, a time to be done by, and errors that say what to do.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use super::limits;
use crate::http::{Answer, Http, HttpError};
use crate::secret::{Secret, clean};

/// Longest answer that is read: a page of events, or one event whole.
const MOST: u64 = 8 << 20;
/// Longest time of one request.
const ONE: Duration = Duration::from_secs(10);
/// Characters that are repeated of what a server says.
const SAID: usize = 160;
/// Requests that are made again after a pause that the server asked for.
const AGAIN: usize = 3;

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sentry's own, hosted or self-hosted.
    Sentry,
    /// Bugsink's: its own API, and Sentry's door for events.
    Bugsink,
}

/// What a request is for, so that its failure can be told.
#[derive(Clone, Copy, Debug)]
pub struct Purpose<'a> {
    /// "list the keys of geoclic/geoclic-api"
    pub what: &'a str,
    /// The scope that Sentry wants for it.
    pub scope: &'a str,
}

pub struct Api {
    http: Http,
    root: String,
    token: Secret<String>,
    until: Instant,
    told: Box<dyn Fn(&str) + Send + Sync>,
    kind: OnceLock<Kind>,
}

/// Why the API has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("{at}: {why}")]
    Silent { at: String, why: HttpError },
    #[error("{at} does not accept the token")]
    Token { at: String },
    #[error("the token may not {what}{}", behind(.said))]
    Scope { at: String, what: String, scope: String, said: String },
    #[error("{at} cannot {what}: it is not known there, or not to this token")]
    Unknown { at: String, what: String },
    #[error("{at} wants to be left alone for {seconds} s, and this command would take too long")]
    Limited { at: String, seconds: u64 },
    #[error("{at} answers {status} when asked to {what}{}", behind(.said))]
    Odd { at: String, status: u16, what: String, said: String },
    #[error("what {at} answers when asked to {what} is not what Sentry answers")]
    Shape { at: String, what: String },
    #[error("the organisation of project {project} is not known")]
    NoOrganisation { project: String },
}

fn behind(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

impl ApiError {
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            ApiError::Silent { .. } => "is `url` of [fleet.sentry] the address of the server?".to_owned(),
            ApiError::Token { .. } => {
                "make a new one on the server, and set it: `token` of [fleet.sentry] names the secret"
                    .to_owned()
            }
            ApiError::Scope { scope, .. } => {
                format!(
                    "it needs the scope {scope}: a token of an internal integration (Settings > Developer Settings) has scopes of your choice"
                )
            }
            ApiError::Unknown { .. } => {
                "check `org` and `project` of the client or its [sentry.NAME], and `url` of [fleet.sentry]"
                    .to_owned()
            }
            ApiError::Limited { seconds, .. } => format!("run it again in {seconds} s"),
            ApiError::Odd { status: 300..400, .. } => {
                "`url` of [fleet.sentry] leads to another address: write that one".to_owned()
            }
            ApiError::Odd { status: 500.., .. } => {
                "the server has a fault of its own; try again later".to_owned()
            }
            ApiError::Odd { .. } | ApiError::Shape { .. } => {
                "is `url` of [fleet.sentry] that of Sentry or Bugsink, without a path behind it?".to_owned()
            }
            ApiError::NoOrganisation { .. } => {
                "write org = \"...\" beside its dsn: the short name in the address of its page".to_owned()
            }
        }
    }

    /// The server knows nothing of what was asked for.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self, ApiError::Unknown { .. })
    }

    /// It is there already.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, ApiError::Odd { status: 409, .. })
    }
}

impl Api {
    /// `limit` is for everything that is asked through it together; `told` hears of pauses.
    #[must_use]
    pub fn new(
        root: &str,
        token: Secret<String>,
        limit: Duration,
        told: impl Fn(&str) + Send + Sync + 'static,
    ) -> Api {
        Api {
            http: Http::new(ONE.min(limit)),
            root: root.trim_end_matches('/').to_owned(),
            token,
            until: Instant::now() + limit,
            told: Box::new(told),
            kind: OnceLock::new(),
        }
    }

    /// How the server is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        self.root.split_once("://").map_or(&self.root, |(_, rest)| rest)
    }

    /// Whether there is time for more.
    #[must_use]
    pub fn has_time(&self, needed: Duration) -> bool {
        Instant::now() + needed < self.until
    }

    /// # Errors
    /// As [`ApiError`] says.
    pub fn get(&self, path: &str, purpose: Purpose<'_>) -> Result<Json, ApiError> {
        self.ask("GET", path, None, purpose)
    }

    /// All of a list, page by page, as far as `most` pages go. Of the link to the next one only its cursor is taken.
    ///
    /// # Errors
    /// As [`ApiError`] says.
    pub(super) fn list(&self, path: &str, purpose: Purpose<'_>, most: usize) -> Result<Vec<Json>, ApiError> {
        let (mut all, mut query) = (Vec::new(), String::new());
        for _ in 0..most {
            let answer = self.request("GET", &format!("{path}{query}"), None, purpose)?;
            if !answer.ok() {
                return Err(self.refusal(&answer, purpose));
            }
            let page: Vec<Json> =
                serde_json::from_slice(&answer.body).map_err(|_| self.shape(purpose.what))?;
            all.extend(page);
            match answer.header("link").and_then(next_cursor) {
                Some(cursor) => query = format!("?cursor={cursor}"),
                None => break,
            }
        }
        Ok(all)
    }

    /// # Errors
    /// As [`ApiError`] says.
    pub fn post(&self, path: &str, body: &Json, purpose: Purpose<'_>) -> Result<Json, ApiError> {
        self.ask("POST", path, Some(body), purpose)
    }

    /// # Errors
    /// As [`ApiError`] says.
    pub fn put(&self, path: &str, body: &Json, purpose: Purpose<'_>) -> Result<Json, ApiError> {
        self.ask("PUT", path, Some(body), purpose)
    }

    /// Sentry or Bugsink: asked once.
    ///
    /// # Errors
    /// A server that does not answer, or neither of them.
    pub fn kind(&self) -> Result<Kind, ApiError> {
        if let Some(kind) = self.kind.get() {
            return Ok(*kind);
        }
        let purpose = Purpose { what: "list its projects", scope: "project:read" };
        let answer = self.request("GET", "/api/canonical/0/projects/", None, purpose)?;
        let json: Option<Json> = serde_json::from_slice(&answer.body).ok();
        let bugsink = match (answer.status, &json) {
            (200, Some(page)) => page["results"].is_array(),
            (401 | 403, Some(refusal)) => {
                // Sentry may refuse before it looks for the page; its own root tells.
                let root = self.request("GET", "/api/0/", None, purpose)?;
                let root: Option<Json> = serde_json::from_slice(&root.body).ok();
                refusal["detail"].is_string() && root.is_none_or(|root| root["version"].is_null())
            }
            _ => false,
        };
        if bugsink && answer.status != 200 {
            return Err(self.refusal(&answer, purpose));
        }
        let kind = if bugsink { Kind::Bugsink } else { Kind::Sentry };
        Ok(*self.kind.get_or_init(|| kind))
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Json>,
        purpose: Purpose<'_>,
    ) -> Result<Json, ApiError> {
        let answer = self.request(method, path, body, purpose)?;
        if !answer.ok() {
            return Err(self.refusal(&answer, purpose));
        }
        serde_json::from_slice(&answer.body).map_err(|_| self.shape(purpose.what))
    }

    pub(super) fn shape(&self, what: &str) -> ApiError {
        ApiError::Shape { at: self.name().to_owned(), what: what.to_owned() }
    }

    /// One answer of any status but 429, which is waited for as long as there is time.
    fn request(
        &self,
        method: &str,
        path: &str,
        body: Option<&Json>,
        purpose: Purpose<'_>,
    ) -> Result<Answer, ApiError> {
        let at = || self.name().to_owned();
        let url = format!("{}{path}", self.root);
        let bearer = format!("Bearer {}", self.token.reveal());
        let mut headers = vec![("authorization", bearer.as_str()), ("accept", "application/json")];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let bytes = body.map(|body| body.to_string().into_bytes());
        let mut left = AGAIN;
        loop {
            if !self.has_time(Duration::ZERO) {
                return Err(ApiError::Limited { at: at(), seconds: 60 });
            }
            let answer = self.http.send(method, &url, &headers, bytes.as_deref(), MOST);
            let answer = answer.map_err(|why| ApiError::Silent { at: at(), why })?;
            if answer.status != 429 {
                return Ok(answer);
            }
            let pause = limits::pause(&answer, "").unwrap_or_default().max(Duration::from_secs(1));
            if left == 0 || !self.has_time(pause) {
                return Err(ApiError::Limited { at: at(), seconds: pause.as_secs() });
            }
            left -= 1;
            (self.told)(&format!(
                "{} wants to be left alone for {} s before it may {}",
                self.name(),
                pause.as_secs(),
                purpose.what
            ));
            std::thread::sleep(pause);
        }
    }

    fn refusal(&self, answer: &Answer, purpose: Purpose<'_>) -> ApiError {
        let (at, what) = (self.name().to_owned(), purpose.what.to_owned());
        match answer.status {
            401 => ApiError::Token { at },
            403 => ApiError::Scope { at, what, scope: purpose.scope.to_owned(), said: self.said(answer) },
            404 => ApiError::Unknown { at, what },
            status => ApiError::Odd { at, status, what, said: self.said(answer) },
        }
    }

    /// What a server says is wrong, in one short line without anything secret.
    fn said(&self, answer: &Answer) -> String {
        let json: Option<Json> = serde_json::from_slice(&answer.body).ok();
        let detail = json.and_then(|json| match &json["detail"] {
            Json::String(text) => Some(text.clone()),
            Json::Object(detail) => Some(detail.get("message")?.as_str()?.to_owned()),
            _ => Some(json.to_string()),
        });
        let text = detail.unwrap_or_default().replace(self.token.reveal().as_str(), "***");
        clean(text.lines().next().unwrap_or_default()).chars().take(SAID).collect()
    }
}

/// The cursor of the next page, where there is one:
/// `<...>; rel="next"; results="true"; cursor="100:1:0"`.
fn next_cursor(link: &str) -> Option<String> {
    let next =
        link.split(", ").find(|part| part.contains("rel=\"next\"") && part.contains("results=\"true\""))?;
    let cursor = next.split("cursor=\"").nth(1)?.split('"').next()?;
    let plain = !cursor.is_empty() && cursor.bytes().all(|b| b.is_ascii_digit() || b == b':');
    plain.then(|| cursor.to_owned())
}
