//! As much of Sentry's own API as is asked of it. That it has Sentry's shape is proved by `sentry-cli`, Sentry's own
//! client, which reads it too.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::http::{self, Answer, Request};

pub const TOKEN: &str = "sntrys_Poison5tub7Q2xK9";

/// What it answers instead, to whoever asks for a path that holds a word.
#[derive(Clone)]
pub struct Odd {
    pub path: &'static str,
    pub status: u16,
    pub headers: &'static str,
    pub body: String,
    /// Answers that are like this.
    pub times: usize,
}

#[derive(Default)]
struct State {
    teams: Vec<String>,
    /// Short name, number, keys.
    projects: Vec<(String, u64, Vec<Value>)>,
    events: Vec<Value>,
    odd: Vec<Odd>,
    asked: Vec<String>,
}

#[derive(Clone)]
pub struct Stub {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Stub {
    /// An organisation `geoclic` with these teams.
    pub fn start(teams: &[&str]) -> Stub {
        let teams = teams.iter().map(|team| (*team).to_owned()).collect();
        let state = Arc::new(Mutex::new(State { teams, ..State::default() }));
        let served = Arc::clone(&state);
        let port = http::serve(move |request| Some(served.lock().unwrap().answer(&request)));
        Stub { port, state }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn odd(&self, path: &'static str, status: u16, headers: &'static str, body: &str, times: usize) {
        let odd = Odd { path, status, headers, body: body.to_owned(), times };
        self.state.lock().unwrap().odd = vec![odd];
    }

    /// Method and path of every request so far; forgotten with this.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// Switches the keys of all projects on or off.
    pub fn keys_active(&self, active: bool) {
        for (_, _, keys) in &mut self.state.lock().unwrap().projects {
            keys.iter_mut().for_each(|key| key["isActive"] = active.into());
        }
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        let path = request.path();
        self.asked.push(format!("{} {path}", request.method()));
        let content = "content-type: application/json\r\n";
        if let Some(odd) = self.odd.iter_mut().find(|odd| path.contains(odd.path) && odd.times > 0) {
            odd.times -= 1;
            let headers = format!("{content}{}", odd.headers);
            return Answer { status: odd.status, headers, body: odd.body.clone() };
        }
        let (status, answer) = self.of(request);
        Answer { status, headers: content.to_owned(), body: answer.to_string() }
    }

    fn of(&mut self, request: &Request) -> (u16, Value) {
        let header = |name: &str| request.header(name).unwrap_or_default();
        let path = request.path();
        let steps: Vec<&str> = path.trim_matches('/').split('/').collect();
        let unknown = (404, json!({ "detail": "The requested resource does not exist" }));
        if let ["api", number, "envelope"] = steps.as_slice() {
            return self.take(number, &request.body, header("x-sentry-auth"));
        }
        if let ["api", "0"] = steps.as_slice() {
            return (200, json!({ "version": "0", "auth": null, "user": null }));
        }
        if header("authorization") != format!("Bearer {TOKEN}") {
            return (401, json!({ "detail": "Invalid token" }));
        }
        let json: Value = serde_json::from_str(&request.body).unwrap_or_default();
        match (request.method(), steps.as_slice()) {
            ("GET", ["api", "0", "organizations", "geoclic", "teams"]) => {
                let team = |slug: &String| json!({ "id": "1", "slug": slug, "name": slug });
                (200, self.teams.iter().map(team).collect())
            }
            ("GET", ["api", "0", "organizations", "geoclic", "projects"]) => {
                (200, self.projects.iter().map(|(slug, number, _)| project(slug, *number)).collect())
            }
            ("POST", ["api", "0", "teams", "geoclic", team, "projects"])
                if self.teams.iter().any(|one| one == team) =>
            {
                let (slug, number) =
                    (json["slug"].as_str().unwrap().to_owned(), 40 + self.projects.len() as u64);
                // Sentry makes a first key by itself.
                let keys = vec![key(header("host"), "5717c0de", "Default", number)];
                self.projects.push((slug.clone(), number, keys));
                (201, project(&slug, number))
            }
            (_, ["api", "0", "projects", "geoclic", slug, rest @ ..]) => {
                let Some(at) = self
                    .projects
                    .iter()
                    .position(|(known, number, _)| known == slug || number.to_string() == *slug)
                else {
                    return unknown;
                };
                let (slug, number, keys) = self.projects[at].clone();
                match (request.method(), rest) {
                    ("GET", []) => (200, project(&slug, number)),
                    ("GET", ["keys"]) => (200, keys.into()),
                    ("POST", ["keys"]) => {
                        let key = key(header("host"), "feedc0de", json["name"].as_str().unwrap(), number);
                        self.projects[at].2.push(key.clone());
                        (201, key)
                    }
                    ("GET", ["events"]) => {
                        let list = self
                            .events
                            .iter()
                            .rev()
                            .filter(|event| event["projectID"] == number.to_string().as_str());
                        (200, list.cloned().collect())
                    }
                    ("GET", ["events", id]) => self
                        .events
                        .iter()
                        .find(|event| event["id"] == *id)
                        .map_or(unknown, |event| (200, event.clone())),
                    _ => unknown,
                }
            }
            _ => unknown,
        }
    }

    /// An envelope, as the real one takes it: a known project, an active key of it, items with their lengths.
    fn take(&mut self, number: &str, text: &str, auth: &str) -> (u16, Value) {
        let Some((_, number, keys)) = self.projects.iter().find(|(_, known, _)| known.to_string() == number)
        else {
            return (404, json!({ "detail": "no such project" }));
        };
        let fits = |key: &Value| {
            key["isActive"] == true
                && auth.contains(&format!("sentry_key={}", key["public"].as_str().unwrap()))
        };
        if !auth.starts_with("Sentry ") || !auth.contains("sentry_version=7") || !keys.iter().any(fits) {
            return (403, json!({ "detail": "bad key" }));
        }
        let mut lines = text.lines();
        let head: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let item: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let line = lines.next().unwrap();
        assert_eq!(item["length"], line.len(), "the length of an item is that of its line");
        let event: Value = serde_json::from_str(line).unwrap();
        let id = head["event_id"].as_str().unwrap().replace('-', "");
        assert_eq!((json!(id), &item["type"]), (event["event_id"].clone(), &json!("event")));
        let at = Timestamp::from_millisecond((event["timestamp"].as_f64().unwrap() * 1000.0) as i64).unwrap();
        let title = event["exception"]["values"][0]["value"].clone();
        self.events.push(json!({
            "id": event["event_id"], "eventID": event["event_id"], "groupID": "1", "projectID": number.to_string(),
            "event.type": "error", "title": title, "message": title, "location": null, "culprit": "", "platform": "other",
            "user": null, "dateCreated": at.to_string(), "crashFile": null, "metadata": { "title": "x" },
            "tags": [{ "key": "level", "value": "error" }, { "key": "environment", "value": event["environment"] }],
        }));
        (200, json!({ "id": event["event_id"] }))
    }
}

fn key(host: &str, public: &str, name: &str, project: u64) -> Value {
    json!({ "id": public, "name": name, "label": name, "public": public, "secret": "x", "projectId": project,
        "isActive": true, "dsn": { "public": format!("http://{public}@{host}/{project}") } })
}

fn project(slug: &str, number: u64) -> Value {
    json!({ "id": number.to_string(), "slug": slug, "name": slug, "platform": null, "status": "active",
        "dateCreated": "2026-11-20T10:00:00Z", "isBookmarked": false, "isMember": true, "features": [],
        "firstEvent": null, "team": { "id": "1", "slug": "ops", "name": "ops" }, "hasAccess": true })
}
