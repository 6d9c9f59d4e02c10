//! A fleet directory of a scenario's own, and the binary that is run in it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Host, lab};

pub struct Fleet {
    pub dir: PathBuf,
}

/// One run of the binary that has ended.
#[derive(Debug)]
pub struct Ran {
    pub line: String,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    #[track_caller]
    pub fn expect(self, code: i32) -> Ran {
        assert_eq!(
            self.code,
            Some(code),
            "`fleet {}` ended with another exit code than {code} after {:?}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.took,
            self.stdout,
            self.stderr
        );
        self
    }

    /// The JSON objects on stdout.
    pub fn records(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
            })
            .collect()
    }

    /// How one client ended; needs `--json`.
    #[track_caller]
    pub fn ended(&self, client: &str) -> Value {
        self.records()
            .into_iter()
            .find(|event| event["type"] == "host-finished" && event["client"] == client)
            .unwrap_or_else(|| panic!("{client} did not end in `fleet {}`:\n{}", self.line, self.stdout))
    }

    #[track_caller]
    pub fn outcome(&self, client: &str, word: &str) -> Value {
        let ended = self.ended(client);
        assert_eq!(ended["outcome"], word, "{client} in `fleet {}`: {ended:#}\n{}", self.line, self.stderr);
        ended
    }

    /// Titles of the steps that were taken.
    pub fn steps(&self) -> Vec<String> {
        let list = self.records();
        let started = list.iter().filter(|event| event["type"] == "step-started");
        started.map(|event| event["step"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Fleet {
    /// A new fleet directory below the build's folder: key and services of the lab, `fleet` settings
    /// and client tables as given, secrets readable by an identity of its own.
    pub fn new(name: &str, stack: &str, settings: &str, clients: &str) -> Fleet {
        let lab = lab();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab").join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("keys")).expect("a fleet directory");
        for file in ["keys/fleet_ed25519", "keys/fleet_ed25519.pub", "acme-ca.pem", "docker-repo.asc"] {
            std::fs::copy(lab.fleet_dir.join(file), dir.join(file))
                .unwrap_or_else(|error| panic!("{file}: {error}"));
        }
        let service = |key: &str| format!("{key} = {}\n", inline(&lab.settings[key]));
        let text = format!(
            "[fleet]\nname = \"{name}\"\nstack = \"{stack}\"\nconnect_timeout = \"15s\"\n{}{}{settings}\n\n[defaults]\nuser = \"debian\"\nchecks = {{ disk_percent = 98, off = [\"load\", \"memory\"] }}\n\n{clients}",
            service("acme"),
            service("docker"),
        );
        std::fs::write(dir.join("clients.toml"), text).expect("clients.toml");
        let fleet = Fleet { dir };
        fleet.run(&["init"]).expect(0);
        fleet
    }

    /// The directory that an earlier run left, if there is one.
    pub fn left(name: &str) -> Option<Fleet> {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lab").join(name);
        dir.join("clients.toml").exists().then_some(Fleet { dir })
    }

    /// A client's table: name, domain and address are the host's.
    pub fn client(host: &Host, more: &str) -> String {
        let Host { name, address } = host;
        format!("[clients.{name}]\ndomain = \"{}\"\nip = \"{address}\"\n{more}\n", host.domain())
    }

    /// The same directory under another name, to try a broken variant of.
    pub fn copy(&self, name: &str) -> Fleet {
        let own = self.dir.file_name().and_then(|own| own.to_str()).expect("a name");
        let dir = self.dir.with_file_name(format!("{own}-{name}"));
        let _ = std::fs::remove_dir_all(&dir);
        copy_tree(&self.dir, &dir);
        Fleet { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Replaces one text that must be there.
    #[track_caller]
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}");
        self.write(name, &text.replace(from, to));
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("FLEET_") || name == "SSH_AUTH_SOCK" {
                command.env_remove(name.as_ref());
            }
        }
        command.arg("-C").arg(&self.dir).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        self.run_command(self.command(words), words, b"")
    }

    /// With something on standard input.
    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Ran {
        self.run_command(self.command(words), words, input)
    }

    pub fn run_command(&self, mut command: Command, words: &[&str], input: &[u8]) -> Ran {
        let started = Instant::now();
        let mut child = command.stdin(Stdio::piped()).spawn().expect("fleet runs");
        child.stdin.take().expect("a pipe").write_all(input).expect("fleet reads");
        let output = child.wait_with_output().expect("fleet ends");
        Ran {
            line: words.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: started.elapsed(),
        }
    }

    /// Starts a run and gives it back as soon as it begins a step whose title starts so; the run goes on.
    /// `--json` must be among the words. Panics when the run ends before.
    #[expect(clippy::zombie_processes, reason = "the caller gets the child, and the panic ends the test")]
    pub fn until_step(&self, words: &[&str], title: &str) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut child = self.command(words).stderr(Stdio::null()).spawn().expect("fleet runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let (mut line, mut seen) = (String::new(), String::new());
        loop {
            line.clear();
            let count = lines.read_line(&mut line).expect("stdout is text");
            assert!(count > 0, "`fleet {}` ended before {title:?}:\n{seen}", words.join(" "));
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["type"] == "step-started"
                && event["step"].as_str().unwrap_or_default().starts_with(title)
            {
                return (child, lines);
            }
            seen.push_str(&line);
        }
    }

    /// Bare value of a secret.
    pub fn secret(&self, client: &str, name: &str) -> String {
        self.run(&["secrets", "show", client, name, "--reveal"]).expect(0).stdout.trim_end().to_owned()
    }
}

/// A TOML value on one line.
fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::Table(table) => {
            let list: Vec<String> =
                table.iter().map(|(key, value)| format!("{key} = {}", inline(value))).collect();
            format!("{{ {} }}", list.join(", "))
        }
        other => other.to_string(),
    }
}

pub fn copy_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.expect("a readable folder");
        let path = to.join(entry.path().strip_prefix(from).expect("below it"));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&path).expect("a folder");
        } else {
            std::fs::copy(entry.path(), &path).expect("a copy");
        }
    }
}
