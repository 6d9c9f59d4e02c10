//! As much of Sentry's own API as is asked of it. That it has Sentry's shape is proved by `sentry-cli`, Sentry's own
//! client, which reads it too.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let teams = teams.iter().map(|team| (*team).to_owned()).collect();
        let stub = Stub { port, state: Arc::new(Mutex::new(State { teams, ..State::default() })) };
        let served = stub.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let stub = served.clone();
                std::thread::spawn(move || drop(stub.serve(stream)));
            }
        });
        stub
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn dsn(&self, key: &str, project: u64) -> String {
        format!("http://{key}@127.0.0.1:{}/{project}", self.port)
    }

    pub fn odd(&self, path: &'static str, status: u16, headers: &'static str, body: &str, times: usize) {
        let odd = Odd { path, status, headers, body: body.to_owned(), times };
        self.state.lock().unwrap().odd = vec![odd];
    }

    /// Method and path of every request so far; forgotten with this.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let (mut line, mut head) = (String::new(), String::new());
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut field = String::new();
            while reader.read_line(&mut field)? > 2 {
                head.push_str(&field);
                field.clear();
            }
            let header = |name: &str| {
                let found = head.lines().filter_map(|line| line.split_once(':'));
                found
                    .filter(|(key, _)| key.eq_ignore_ascii_case(name))
                    .map(|(_, value)| value.trim().to_owned())
                    .next()
            };
            let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let (status, headers, text) =
                self.answer(&line, &body, header("authorization"), header("x-sentry-auth"));
            write!(
                stream,
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{text}",
                text.len()
            )?;
        }
    }

    fn answer(
        &self,
        line: &str,
        body: &[u8],
        token: Option<String>,
        auth: Option<String>,
    ) -> (u16, String, String) {
        let mut words = line.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        let mut state = self.state.lock().unwrap();
        state.asked.push(format!("{method} {path}"));
        if let Some(odd) = state.odd.iter_mut().find(|odd| path.contains(odd.path) && odd.times > 0) {
            odd.times -= 1;
            return (odd.status, odd.headers.to_owned(), odd.body.clone());
        }
        let (status, answer) = self.of(&mut state, method, path, body, token, auth);
        (status, String::new(), answer.to_string())
    }

    fn of(
        &self,
        state: &mut State,
        method: &str,
        path: &str,
        body: &[u8],
        token: Option<String>,
        auth: Option<String>,
    ) -> (u16, Value) {
        let steps: Vec<&str> = path.trim_matches('/').split('/').collect();
        let unknown = (404, json!({ "detail": "The requested resource does not exist" }));
        if let ["api", number, "envelope"] = steps.as_slice() {
            return state.take(number, body, &auth.unwrap_or_default());
        }
        if let ["api", "0"] = steps.as_slice() {
            return (200, json!({ "version": "0", "auth": null, "user": null }));
        }
        if token.as_deref() != Some(&format!("Bearer {TOKEN}")) {
            return (401, json!({ "detail": "Invalid token" }));
        }
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        match (method, steps.as_slice()) {
            ("GET", ["api", "0", "organizations", "geoclic", "teams"]) => {
                let team = |slug: &String| json!({ "id": "1", "slug": slug, "name": slug });
                (200, state.teams.iter().map(team).collect())
            }
            ("GET", ["api", "0", "organizations", "geoclic", "projects"]) => {
                (200, state.projects.iter().map(|(slug, number, _)| project(slug, *number)).collect())
            }
            ("POST", ["api", "0", "teams", "geoclic", team, "projects"])
                if state.teams.iter().any(|one| one == team) =>
            {
                let (slug, number) =
                    (json["slug"].as_str().unwrap().to_owned(), 40 + state.projects.len() as u64);
                // Sentry makes a first key by itself.
                let keys = vec![self.key("5717c0de", "Default", number)];
                state.projects.push((slug.clone(), number, keys));
                (201, project(&slug, number))
            }
            (_, ["api", "0", "projects", "geoclic", slug, rest @ ..]) => {
                let Some(at) = state
                    .projects
                    .iter()
                    .position(|(known, number, _)| known == slug || number.to_string() == *slug)
                else {
                    return unknown;
                };
                let (slug, number, keys) = state.projects[at].clone();
                match (method, rest) {
                    ("GET", []) => (200, project(&slug, number)),
                    ("GET", ["keys"]) => (200, keys.into()),
                    ("POST", ["keys"]) => {
                        let key = self.key("feedc0de", json["name"].as_str().unwrap(), number);
                        state.projects[at].2.push(key.clone());
                        (201, key)
                    }
                    ("GET", ["events"]) => {
                        let list = state
                            .events
                            .iter()
                            .rev()
                            .filter(|event| event["projectID"] == number.to_string().as_str());
                        (200, list.cloned().collect())
                    }
                    ("GET", ["events", id]) => state
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

    fn key(&self, public: &str, name: &str, project: u64) -> Value {
        json!({ "id": public, "name": name, "label": name, "public": public, "secret": "x", "projectId": project,
            "isActive": true, "dsn": { "public": self.dsn(public, project) } })
    }

    /// Switches the keys of all projects on or off.
    pub fn keys_active(&self, active: bool) {
        for (_, _, keys) in &mut self.state.lock().unwrap().projects {
            keys.iter_mut().for_each(|key| key["isActive"] = active.into());
        }
    }
}

impl State {
    /// An envelope, as the real one takes it: a known project, an active key of it, items with their lengths.
    fn take(&mut self, number: &str, body: &[u8], auth: &str) -> (u16, Value) {
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
        let text = String::from_utf8(body.to_vec()).unwrap();
        let mut lines = text.lines();
        let head: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let item: Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        let line = lines.next().unwrap();
        assert_eq!(item["length"], line.len(), "the length of an item is that of its line");
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&head["event_id"], &item["type"]), (&event["event_id"], &json!("event")));
        let title = event["exception"]["values"][0]["value"].clone();
        self.events.push(json!({
            "id": event["event_id"], "eventID": event["event_id"], "groupID": "1", "projectID": number.to_string(),
            "event.type": "error", "title": title, "message": title, "location": null, "culprit": "", "platform": "other",
            "user": null, "dateCreated": event["timestamp"], "crashFile": null, "metadata": { "title": "x" },
            "tags": [{ "key": "level", "value": "error" }, { "key": "environment", "value": event["environment"] }],
        }));
        (200, json!({ "id": event["event_id"] }))
    }
}

fn project(slug: &str, number: u64) -> Value {
    json!({ "id": number.to_string(), "slug": slug, "name": slug, "platform": null, "status": "active",
        "dateCreated": "2026-11-20T10:00:00Z", "isBookmarked": false, "isMember": true, "features": [],
        "firstEvent": null, "team": { "id": "1", "slug": "ops", "name": "ops" }, "hasAccess": true })
}
