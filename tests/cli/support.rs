//! The real program in a fleet directory of its own, with nothing of the environment around it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub const SMTP: &str = "Poison-smtp-7Q2xK9";

/// Two services, ready images, every kind of variable.
const STACK: &str = r#"name = "tiny"
description = "two services for tests"

[[files]]
template = "docker-compose.yml.tera"
destination = "docker-compose.yml"

[[files]]
template = "env.tera"
destination = ".env"
mode = "0600"

[env.DB_PASSWORD]
generate = "alnum:32"
help = "password of the database"

[env.JWT_KEY]
generate = "hex:64"

[env.SMTP_PASSWORD]
secret = true
pattern = "[A-Za-z0-9-]{8,64}"
help = "password at the mail server"
example = "aB3-xY9-kL2"

[env.PUBLIC_NAME]
default = "Tiny"

[services.web]
health = { http = { port = 80, path = "/" } }

[services.worker]
"#;

const COMPOSE: &str = "services:
  web:
    image: nginx:1.28
    environment:
      PUBLIC_NAME: {{ env.PUBLIC_NAME | compose }}
  worker:
    image: busybox:1.37
";

const ENV: &str = "{% for name, value in env -%}\n{{ name }}={{ value | dotenv }}\n{% endfor -%}\n";

pub const REGISTRY: &str = r#"# The fleet of the tests.
[fleet]
name = "tests"
stack = "tiny"

[defaults]
user = "ubuntu"
sentry = { dsn = "https://poisonkey7Q2x@o1.ingest.sentry.io/42" }

# The first.
[clients.ville-lyon]
domain = "ville-lyon.example.fr"
ip = "192.0.2.1"
tags = ["prod", "canary"]

[clients.brest]
domain = "brest.example.fr"
ip = "192.0.2.2"
tags = ["prod"]
"#;

/// A fleet directory that goes away with it.
pub struct Fleet {
    home: tempfile::TempDir,
}

/// What a command came to.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn ok(self) -> Done {
        assert_eq!(self.code, 0, "{}\n{}", self.out, self.err);
        self
    }

    /// Everything, for a snapshot.
    pub fn all(&self) -> String {
        let mut all = format!("exit {}\n", self.code);
        for (name, text) in [("stdout", &self.out), ("stderr", &self.err)] {
            if !text.is_empty() {
                all.push_str(&format!("--- {name}\n{text}"));
            }
        }
        all
    }

    /// Standard output as one JSON value a line.
    pub fn json(&self) -> Vec<serde_json::Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(read).collect()
    }
}

impl Fleet {
    /// An empty folder.
    pub fn empty() -> Fleet {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("fleet")).unwrap();
        Fleet { home }
    }

    /// Two clients of the stack `tiny`, with keys.
    pub fn with_clients() -> Fleet {
        let fleet = Fleet::empty();
        fleet.write("clients.toml", REGISTRY);
        fleet.write("stacks/tiny/stack.toml", STACK);
        fleet.write("stacks/tiny/docker-compose.yml.tera", COMPOSE);
        fleet.write("stacks/tiny/env.tera", ENV);
        fleet.run(["init"]).ok();
        fleet
    }

    /// The same once more, to be spoiled.
    pub fn copy(&self) -> Fleet {
        let copy = Fleet::empty();
        let status = Command::new("cp").arg("-a").arg(self.dir().join(".")).arg(copy.dir()).status().unwrap();
        assert!(status.success());
        copy
    }

    pub fn dir(&self) -> PathBuf {
        self.home.path().join("fleet")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// A line of the registry replaced.
    pub fn edit(&self, from: &str, to: &str) {
        let text = self.read("clients.toml");
        assert!(text.contains(from), "{from}");
        self.write("clients.toml", text.replace(from, to));
    }

    pub fn command<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
        command
            .args(words)
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("USER", "alice")
            .env("COLUMNS", "100")
            .stdin(Stdio::null());
        command
    }

    pub fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Done {
        self.done(&self.command(words).output().unwrap())
    }

    /// The words of a command line without quotes.
    pub fn say(&self, line: &str) -> Done {
        self.run(line.split_whitespace())
    }

    pub fn with_input<'a>(&self, words: impl IntoIterator<Item = &'a str>, input: &[u8]) -> Done {
        let file = self.home.path().join("input");
        fs::write(&file, input).unwrap();
        let output = self.command(words).stdin(fs::File::open(file).unwrap()).output().unwrap();
        self.done(&output)
    }

    /// What changes from run to run has a name in its place.
    fn done(&self, output: &Output) -> Done {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            let home = self.home.path().canonicalize().unwrap();
            text.replace(&home.display().to_string(), "HOME")
                .replace(&self.home.path().display().to_string(), "HOME")
        };
        Done { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Every file below the fleet directory whose content holds the text.
    pub fn files_with(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.dir()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if holds(&fs::read(&path).unwrap(), text.as_bytes()) {
                    found.push(path.strip_prefix(self.dir()).unwrap().display().to_string());
                }
            }
        }
        found
    }
}

pub fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
