//! Kent: a server that takes every envelope and tells what was in it. From PyPI; `scripts/test.sh` installs it below
//! target/.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet::http::Http;
use serde_json::Value as Json;

use super::sshd::{free_port, own_address};

pub const KEY: &str = "poisonkentkey7Q2x";

pub struct Kent {
    child: Child,
    place: String,
}

impl Kent {
    pub fn start() -> Kent {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/kent/bin/kent-server");
        assert!(program.exists(), "{} is missing: `scripts/test.sh --fast` installs it", program.display());
        let host = own_address();
        let port = free_port(&host);
        let child = Command::new(program)
            .args(["run", "--host", &host, "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let kent = Kent { child, place: format!("{host}:{port}") };
        let started = Instant::now();
        while kent.ask("GET", "/api/eventlist/").is_none() {
            assert!(started.elapsed() < Duration::from_secs(60), "Kent does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        kent
    }

    pub fn dsn(&self) -> String {
        format!("http://{KEY}@{}/42", self.place)
    }

    /// What it was sent so far, oldest first: the items of the envelopes, whole.
    pub fn items(&self) -> Vec<Json> {
        let list = self.ask("GET", "/api/eventlist/").expect("Kent answers");
        let ids = list["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["event_id"].as_str().unwrap().to_owned());
        ids.map(|id| self.ask("GET", &format!("/api/event/{id}")).expect("Kent answers")).collect()
    }

    /// The bodies of those of a kind.
    pub fn bodies(&self, kind: &str) -> Vec<Json> {
        let of_kind = |item: &Json| item["payload"]["header"]["type"] == kind;
        self.items().iter().filter(|item| of_kind(item)).map(|item| item["payload"]["body"].clone()).collect()
    }

    pub fn forget(&self) {
        self.ask("POST", "/api/flush/").expect("Kent answers");
    }

    fn ask(&self, method: &str, path: &str) -> Option<Json> {
        let url = format!("http://{}{path}", self.place);
        let body = (method == "POST").then_some(&b""[..]);
        let answer = Http::new(Duration::from_secs(10)).send(method, &url, &[], body, 16 << 20).ok()?;
        answer.ok().then(|| serde_json::from_slice(&answer.body).unwrap())
    }
}

impl Drop for Kent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
