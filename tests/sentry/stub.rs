//! The part of Sentry's API that knows releases, deploys and monitors, in this process. The official client
//! (`sentry-cli`) speaks to it in the tests too, so that its shape is not of our own making.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value as Json, json};

use super::http::{self, Answer, Request};

pub const TOKEN: &str = "sntryu_poison7Q2xK9poison7Q2xK9poison7Q2xK9poison7Q2xK9poison7Q2";
pub const ORG: &str = "acme";
/// Page size of a list of deploys, small so that there is more than one.
const PAGE: usize = 3;

#[derive(Clone, Debug, Default)]
pub struct Release {
    pub projects: Vec<String>,
    pub released: Option<String>,
    pub finalised: usize,
    pub commits: Vec<Json>,
    pub deploys: Vec<Json>,
}

/// What the server does instead of answering well.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Fault {
    #[default]
    None,
    /// This status to every request.
    Status(u16),
    /// Does what a POST of a deploy asks, and closes the connection without a word.
    LostAnswer,
    /// Takes requests, and never answers.
    Silent,
}

#[derive(Default)]
pub struct State {
    pub fault: Fault,
    pub releases: BTreeMap<String, Release>,
    /// Status of each monitor.
    pub monitors: BTreeMap<String, String>,
    /// Method and path of each request, and its body.
    pub requests: Vec<(String, String)>,
}

#[derive(Clone)]
pub struct Stub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Stub {
    pub fn start() -> Stub {
        let state = Arc::default();
        let served = Arc::clone(&state);
        let port = http::serve(move |request| answer(&served, &request));
        Stub { url: format!("http://127.0.0.1:{port}"), state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Requests whose method and path begin so.
    pub fn count(&self, beginning: &str) -> usize {
        self.state().requests.iter().filter(|(line, _)| line.starts_with(beginning)).count()
    }
}

/// With what is wrong with it.
fn answer(state: &Mutex<State>, request: &Request) -> Option<Answer> {
    let line = format!("{} {}", request.method(), request.path());
    let mut state = state.lock().unwrap();
    state.requests.push((line.clone(), request.body.clone()));
    let (status, body, link) = match state.fault {
        Fault::Silent => {
            drop(state);
            std::thread::park();
            return None;
        }
        Fault::Status(status) => (status, json!({ "detail": "not now" }), String::new()),
        Fault::None | Fault::LostAnswer => state.answer(request),
    };
    if state.fault == Fault::LostAnswer && line.starts_with("POST") && line.ends_with("/deploys/") {
        return None;
    }
    let headers = format!("content-type: application/json\r\n{link}");
    Some(Answer { status, headers, body: body.to_string() })
}

impl State {
    fn answer(&mut self, request: &Request) -> (u16, Json, String) {
        let none = String::new;
        if request.header("authorization") != Some(format!("Bearer {TOKEN}").as_str()) {
            return (401, json!({ "detail": "Invalid token" }), none());
        }
        let body: Json = serde_json::from_str(&request.body).unwrap_or_default();
        let path = request.path().replace("%40", "@");
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (request.method(), parts.as_slice()) {
            ("GET", ["api", "0"]) => {
                (200, json!({ "version": "0", "auth": { "scopes": ["project:releases"] } }), none())
            }
            ("POST", ["api", "0", "organizations", ORG, "releases"]) => {
                let version = body["version"].as_str().unwrap().to_owned();
                let is_new = !self.releases.contains_key(&version);
                let release = self.releases.entry(version.clone()).or_default();
                for project in body["projects"].as_array().unwrap() {
                    let project = project.as_str().unwrap().to_owned();
                    if !release.projects.contains(&project) {
                        release.projects.push(project);
                    }
                }
                take(release, &body);
                (if is_new { 201 } else { 208 }, shown(&version, release), none())
            }
            (method, ["api", "0", "organizations", ORG, "releases", version]) => {
                let Some(release) = self.releases.get_mut(*version) else { return unknown() };
                if method == "PUT" {
                    take(release, &body);
                }
                (200, shown(version, release), none())
            }
            ("GET", ["api", "0", "organizations", ORG, "releases", _, "previous-with-commits"]) => {
                (200, json!({}), none())
            }
            ("POST", ["api", "0", "organizations", ORG, "releases", version, "deploys"]) => {
                let Some(release) = self.releases.get_mut(*version) else { return unknown() };
                // As Sentry: each is another one, whatever was told before.
                let mut deploy = body.clone();
                deploy["id"] = (release.deploys.len() + 1).to_string().into();
                release.deploys.push(deploy.clone());
                (201, deploy, none())
            }
            ("GET", ["api", "0", "organizations", ORG, "releases", version, "deploys"]) => {
                let Some(release) = self.releases.get(*version) else { return unknown() };
                let page: usize = request
                    .query()
                    .split("cursor=")
                    .nth(1)
                    .and_then(|cursor| cursor.split(':').nth(1)?.parse().ok())
                    .unwrap_or(0);
                let list: Vec<Json> =
                    release.deploys.iter().rev().skip(page * PAGE).take(PAGE).cloned().collect();
                let more = release.deploys.len() > (page + 1) * PAGE;
                let origin = format!("http://{}", request.header("host").unwrap_or_default());
                let link = |rel: &str, results: bool, page: usize| {
                    let cursor = format!("{PAGE}:{page}:0");
                    format!(
                        "<{origin}{}?cursor={cursor}>; rel=\"{rel}\"; results=\"{results}\"; cursor=\"{cursor}\"",
                        request.path()
                    )
                };
                let header = format!(
                    "link: {}, {}\r\n",
                    link("previous", page > 0, page.saturating_sub(1)),
                    link("next", more, page + 1)
                );
                (200, list.into(), header)
            }
            ("GET", ["api", "0", "organizations", ORG, "monitors"]) => {
                let list: Vec<Json> =
                    self.monitors.iter().map(|(slug, status)| monitor(slug, status)).collect();
                (200, list.into(), none())
            }
            ("PUT", ["api", "0", "organizations", ORG, "monitors", slug]) => {
                let Some(known) = self.monitors.get_mut(*slug) else { return unknown() };
                if let Some(status) = body["status"].as_str() {
                    status.clone_into(known);
                }
                (200, monitor(slug, known), none())
            }
            _ => unknown(),
        }
    }
}

fn unknown() -> (u16, Json, String) {
    (404, json!({ "detail": "The requested resource does not exist" }), String::new())
}

fn take(release: &mut Release, body: &Json) {
    if let Some(commits) = body["commits"].as_array() {
        release.commits.clone_from(commits);
    }
    if let Some(at) = body["dateReleased"].as_str() {
        release.released = Some(at.to_owned());
        release.finalised += 1;
    }
}

fn shown(version: &str, release: &Release) -> Json {
    let projects: Vec<Json> =
        release.projects.iter().map(|slug| json!({ "slug": slug, "name": slug })).collect();
    json!({ "version": version, "dateCreated": "2026-11-20T10:00:00Z", "dateReleased": release.released,
        "projects": projects, "newGroups": 0, "deployCount": release.deploys.len() })
}

fn monitor(slug: &str, status: &str) -> Json {
    json!({ "id": "1", "name": slug, "slug": slug, "status": status, "isMuted": false, "type": "cron_job",
        "config": { "schedule_type": "crontab", "schedule": "0 2 * * *" }, "dateCreated": "2026-11-20T10:00:00Z" })
}
