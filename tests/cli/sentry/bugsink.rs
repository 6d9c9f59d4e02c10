//! A real server that speaks as Sentry does: Bugsink, from PyPI (`scripts/test.sh` installs it below target/).

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet::http::Http;
use serde_json::Value;

pub struct Bugsink {
    server: Child,
    port: u16,
    pub token: String,
    /// Goes away with it.
    _dir: tempfile::TempDir,
}

impl Bugsink {
    /// Ready, with a token, a team and no project. Its DSNs name this address of this machine; its API also answers
    /// on the loopback.
    pub fn start_at(host: &str) -> Bugsink {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let manage = |words: &[&str]| run(dir.path(), "bugsink-manage", words);
        let address = port.to_string();
        run(
            dir.path(),
            "bugsink-create-conf",
            &["--template=local", "--host", host, "--port", &address, "-o", "bugsink_conf.py"],
        );
        let conf = dir.path().join("bugsink_conf.py");
        let text = std::fs::read_to_string(&conf).unwrap();
        let store = dir.path().join("store").display().to_string();
        let quiet =
            format!("BUGSINK = {{\n    \"PHONEHOME\": False,\n    \"INGEST_STORE_BASE_DIR\": \"{store}\",\n");
        assert!(text.contains("BUGSINK = {\n"), "the configuration has the form that is known:\n{text}");
        std::fs::write(&conf, text.replacen("BUGSINK = {\n", &quiet, 1)).unwrap();
        manage(&["migrate", "--verbosity=0"]);
        manage(&["migrate", "snappea", "--database=snappea", "--verbosity=0"]);
        let token = manage(&["create_auth_token"]).trim().lines().last().unwrap().to_owned();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut server = program(dir.path(), "gunicorn");
        for address in std::collections::BTreeSet::from(["127.0.0.1", host]) {
            server.args(["--bind", &format!("{address}:{port}")]);
        }
        let server = server.arg("bugsink.wsgi").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let bugsink = Bugsink { server, port, token, _dir: dir };
        let started = Instant::now();
        let http = Http::new(Duration::from_secs(2));
        while !http.get(&format!("{}/health/ready", bugsink.url())).is_ok_and(|answer| answer.ok()) {
            assert!(started.elapsed() < Duration::from_secs(60), "Bugsink does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        bugsink.ask("POST", "/api/canonical/0/teams/", Some(r#"{"name":"town halls"}"#));
        bugsink
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its own API, by another way than the one that is tested.
    pub fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let url = format!("{}{path}", self.url());
        let answer = Http::new(Duration::from_secs(10))
            .send(method, &url, &headers, body.map(str::as_bytes), 1 << 20)
            .unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.ok(), "{method} {path}: {} {text}", answer.status);
        serde_json::from_str(&text).unwrap()
    }

    /// The data of every event of a project.
    pub fn events(&self, project: u64) -> Vec<Value> {
        let mut events = Vec::new();
        let issues = self.ask("GET", &format!("/api/canonical/0/issues/?project={project}"), None);
        for issue in issues["results"].as_array().unwrap() {
            let issue = issue["id"].as_str().unwrap();
            let list = self.ask("GET", &format!("/api/canonical/0/events/?issue={issue}"), None);
            for event in list["results"].as_array().unwrap() {
                let id = event["id"].as_str().unwrap();
                events.push(self.ask("GET", &format!("/api/canonical/0/events/{id}/"), None)["data"].clone());
            }
        }
        events
    }
}

impl Drop for Bugsink {
    fn drop(&mut self) {
        // Its workers end when it is asked to, and are orphans when it is not.
        let _ = Command::new("kill").args(["-TERM", &self.server.id().to_string()]).status();
        let _ = self.server.wait();
    }
}

fn program(dir: &Path, name: &str) -> Command {
    let path: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bugsink/bin").join(name);
    assert!(path.exists(), "{} is missing: scripts/test.sh installs it", path.display());
    let mut command = Command::new(path);
    command
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", dir)
        .env("PYTHONPATH", dir)
        .env("DJANGO_SETTINGS_MODULE", "bugsink_conf")
        .stdin(Stdio::null());
    command
}

fn run(dir: &Path, name: &str, words: &[&str]) -> String {
    let output = program(dir, name).args(words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{name} {words:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
