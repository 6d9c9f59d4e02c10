//! The part of Sentry's API that knows releases, deploys and monitors, in this process. The official client
//! (`sentry-cli`) speaks to it in the tests too, so that its shape is not of our own making.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value as Json, json};

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

struct Request {
    method: String,
    path: String,
    query: String,
    head: String,
    body: String,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Stub {
    pub fn start() -> Stub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stub = Stub { url, state: Arc::default() };
        let serving = stub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        stub
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Requests whose method and path begin so.
    pub fn count(&self, beginning: &str) -> usize {
        self.state().requests.iter().filter(|(line, _)| line.starts_with(beginning)).count()
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split_whitespace();
            let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let (path, query, method) = (path.to_owned(), query.to_owned(), method.to_owned());
            let mut request = Request { method, path, query, head: String::new(), body: String::new() };
            let mut line = String::new();
            while reader.read_line(&mut line)? > 2 {
                request.head.push_str(&line);
                line.clear();
            }
            if request.header("expect").is_some() {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let length = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            request.body = String::from_utf8(body).unwrap();
            let fault = self.state().fault;
            let line = format!("{} {}", request.method, request.path);
            self.state().requests.push((line.clone(), request.body.clone()));
            if fault == Fault::Silent {
                std::thread::park();
            }
            let (status, answer, link) = match fault {
                Fault::Status(status) => (status, json!({ "detail": "not now" }), String::new()),
                _ => self.answer(&request),
            };
            if fault == Fault::LostAnswer && line.starts_with("POST") && line.ends_with("/deploys/") {
                return Ok(());
            }
            let text = answer.to_string();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{link}content-length: {}\r\n\r\n{text}",
                text.len()
            )?;
        }
    }

    fn answer(&self, request: &Request) -> (u16, Json, String) {
        let none = String::new;
        if request.header("authorization") != Some(format!("Bearer {TOKEN}").as_str()) {
            return (401, json!({ "detail": "Invalid token" }), none());
        }
        let body: Json = serde_json::from_str(&request.body).unwrap_or_default();
        let path = request.path.replace("%40", "@");
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let mut state = self.state();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["api", "0"]) => {
                (200, json!({ "version": "0", "auth": { "scopes": ["project:releases"] } }), none())
            }
            ("POST", ["api", "0", "organizations", ORG, "releases"]) => {
                let version = body["version"].as_str().unwrap().to_owned();
                let is_new = !state.releases.contains_key(&version);
                let release = state.releases.entry(version.clone()).or_default();
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
                let Some(release) = state.releases.get_mut(*version) else { return unknown() };
                if method == "PUT" {
                    take(release, &body);
                }
                (200, shown(version, release), none())
            }
            ("GET", ["api", "0", "organizations", ORG, "releases", _, "previous-with-commits"]) => {
                (200, json!({}), none())
            }
            ("POST", ["api", "0", "organizations", ORG, "releases", version, "deploys"]) => {
                let Some(release) = state.releases.get_mut(*version) else { return unknown() };
                // As Sentry: each is another one, whatever was told before.
                let mut deploy = body.clone();
                deploy["id"] = (release.deploys.len() + 1).to_string().into();
                release.deploys.push(deploy.clone());
                (201, deploy, none())
            }
            ("GET", ["api", "0", "organizations", ORG, "releases", version, "deploys"]) => {
                let Some(release) = state.releases.get(*version) else { return unknown() };
                let page: usize = request
                    .query
                    .split("cursor=")
                    .nth(1)
                    .and_then(|cursor| cursor.split(':').nth(1)?.parse().ok())
                    .unwrap_or(0);
                let list: Vec<Json> =
                    release.deploys.iter().rev().skip(page * PAGE).take(PAGE).cloned().collect();
                let more = release.deploys.len() > (page + 1) * PAGE;
                let link = |rel: &str, results: bool, page: usize| {
                    let cursor = format!("{PAGE}:{page}:0");
                    format!(
                        "<{}{}?cursor={cursor}>; rel=\"{rel}\"; results=\"{results}\"; cursor=\"{cursor}\"",
                        self.url, request.path
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
                    state.monitors.iter().map(|(slug, status)| monitor(slug, status)).collect();
                (200, list.into(), none())
            }
            ("PUT", ["api", "0", "organizations", ORG, "monitors", slug]) => {
                let Some(known) = state.monitors.get_mut(*slug) else { return unknown() };
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
