//! People who use a client while it is updated: HTTPS through its nginx, without a pause.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{Host, lab};

pub struct Load {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

/// What they met.
#[derive(Debug)]
pub struct Met {
    pub requests: u64,
    pub failed: u64,
    /// The first failures, in words.
    pub failures: Value,
    /// Seconds.
    pub p99: f64,
    pub worst: f64,
    /// Answers by the release that gave them.
    pub releases: Value,
}

impl Load {
    /// So many clients of a shop, which keep their connections; half of their requests are POSTs.
    pub fn start(host: &Host, clients: u32) -> Load {
        Load::begin(host, clients, &["/", "/orders"])
    }

    /// The same where only GETs of one address are asked.
    pub fn getting(host: &Host, clients: u32, path: &str) -> Load {
        Load::begin(host, clients, &[path])
    }

    fn begin(host: &Host, clients: u32, paths: &[&str]) -> Load {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/kit/load.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args([&host.address, &host.domain()])
            .arg(&lab().root)
            .arg(clients.to_string())
            .args(paths)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says that it began");
        assert_eq!(line, "started\n");
        Load { child, stdout }
    }

    pub fn stop(mut self) -> Met {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).expect("its findings");
        self.child.wait().expect("it ends");
        let found: Value = serde_json::from_str(&text).expect("its findings are JSON");
        let number = |key: &str| found[key].as_f64().expect("a number");
        Met {
            requests: found["requests"].as_u64().expect("a number"),
            failed: found["failed"].as_u64().expect("a number"),
            failures: found["failures"].clone(),
            p99: number("p99"),
            worst: number("worst"),
            releases: found["releases"].clone(),
        }
    }
}

impl Met {
    /// Not one request failed, and hardly anybody waited for long.
    #[track_caller]
    pub fn well(&self, least: u64) {
        assert_eq!(self.failed, 0, "{:#}\n{self:#?}", self.failures);
        assert!(self.requests >= least, "that was no load: {self:#?}");
        // No measure of speed: on a machine that is short of time all is slow. Longer than 20 s is a failure.
        assert!(self.p99 < 10.0, "{self:#?}");
    }
}

/// A scenario that fails leaves no load behind.
impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
