//! What a host is now, as one probe found it.
//!
//! The text comes from a machine that may be hostile: it is parsed as data, an unknown key is
//! passed over, and a value that does not parse is as good as absent.

mod derived;
mod parts;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

pub use derived::{Dump, Reporter};
use parts::plain_id;
pub use parts::{Container, FileFact, GateSpec, Lease, OldFile, ReleaseFact, ReleaseMark, State, Unit};

/// Most bytes of old files that are kept of one answer.
const MAX_OLD: usize = 1024 * 1024;
/// Most rendered files that one release may have.
const MAX_WRITTEN: usize = 500;
/// Longest value kept, in bytes: a hostile host fills no memory.
const MAX_VALUE: usize = 256 * 1024;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// First value of each single-valued key.
    values: BTreeMap<String, String>,
    pub ssh_ports: BTreeSet<u16>,
    /// Installed packages and their versions.
    pub packages: BTreeMap<String, String>,
    pub units: BTreeMap<String, Unit>,
    pub files: BTreeMap<String, FileFact>,
    /// Folders and their modes.
    pub dirs: BTreeMap<String, String>,
    pub releases: BTreeMap<String, ReleaseFact>,
    /// Compose's own hash of each service of the wanted release, once that is on the host.
    pub services: BTreeMap<String, String>,
    pub containers: Vec<Container>,
    /// Image references and their ids.
    pub images: BTreeMap<String, String>,
    pub volumes: BTreeSet<String>,
    /// Applied migrations and the hash of each; `None` while the database does not answer.
    pub migrations: Option<BTreeMap<String, String>>,
    pub state: Option<State>,
    pub lease: Option<Lease>,
    /// Files of the current release that are not as they were written.
    pub drift: BTreeSet<String>,
    /// The stack's own checks: name, and the HTTP status or exit code; `none` where the service does not run.
    pub own_checks: BTreeMap<String, String>,
    /// Ports of the web that something holds, and what: `docker PROJECT NAME` or `program NAME`.
    pub held_ports: BTreeMap<u16, String>,
    /// Files of the current release that the wanted one has with another content, by their path.
    pub old: BTreeMap<String, OldFile>,
    /// Paths of everything that was rendered for the current release.
    pub written: BTreeSet<String>,
    /// Databases that a restore which was cut left beside the one in service.
    pub leftovers: BTreeSet<String>,
    /// Image references and the digests that they were pulled by.
    pub digests: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FactsError {
    #[error("the host's answer was cut short")]
    Cut,
}

impl Facts {
    /// Parses the probe's answer.
    ///
    /// # Errors
    /// [`FactsError::Cut`] without the closing line.
    pub fn parse(answer: &[u8]) -> Result<Facts, FactsError> {
        // Values end up on terminals and in messages: nothing in them may move a cursor.
        let text = crate::secret::clean_bytes(answer);
        let mut facts = Facts::default();
        let mut complete = false;
        for line in text.lines() {
            let Some((key, value)) = line.split_once('\t') else { continue };
            if value.len() > MAX_VALUE {
                continue;
            }
            // The last line says so: one in the middle is a value that looks like it.
            complete = key == "end";
            facts.take(key, value);
        }
        if facts.value("database").is_some() && facts.migrations.is_none() {
            facts.migrations = Some(BTreeMap::new());
        }
        if complete { Ok(facts) } else { Err(FactsError::Cut) }
    }

    fn take(&mut self, key: &str, value: &str) {
        let mut words = value.split(' ');
        let mut next = || words.next().unwrap_or_default().to_owned();
        match key {
            "ssh_port" => self.ssh_ports.extend(value.parse::<u16>()),
            "package" => {
                let (name, status, version) = (next(), next(), next());
                if status.starts_with("ii") {
                    self.packages.insert(name, version);
                }
            }
            "unit" => {
                let name = next();
                self.units.insert(name, Unit { enabled: next(), active: next() });
            }
            "file" => {
                let (sha256, mode) = (next(), next());
                self.files.insert(words.collect::<Vec<_>>().join(" "), FileFact { sha256, mode });
            }
            "dir" => {
                let mode = next();
                self.dirs.insert(words.collect::<Vec<_>>().join(" "), mode);
            }
            "release" => {
                let name = next();
                let mark = match next().as_str() {
                    "complete" => ReleaseMark::Complete,
                    "failed" => ReleaseMark::Failed,
                    _ => ReleaseMark::Partial,
                };
                let state = decode(&next()).filter(State::plain);
                if plain_id(&name) {
                    self.releases.insert(name, ReleaseFact { mark, state });
                }
            }
            "current" if !plain_id(value) => {}
            "container" => self.containers.push(Container {
                id: next(),
                service: next(),
                status: next(),
                health: next(),
                restarts: next().parse().unwrap_or(0),
                started_at: next(),
                image: next(),
                config_hash: next(),
            }),
            "service" => {
                let name = next();
                self.services.insert(name, next());
            }
            "image" => {
                let (name, id, digest) = (next(), next(), next());
                if digest.starts_with("sha256:") {
                    self.digests.insert(name.clone(), digest);
                }
                self.images.insert(name, id);
            }
            "old" => {
                let (size, content) = (next().parse().unwrap_or(0), next());
                let path = words.collect::<Vec<_>>().join(" ");
                let content = base64::engine::general_purpose::STANDARD.decode(content);
                let kept: usize = self.old.values().map(|file| file.content.len()).sum();
                if let Ok(content) = content
                    && kept + content.len() <= MAX_OLD
                {
                    self.old.insert(path, OldFile { content: content.into(), size });
                }
            }
            "written" if self.written.len() >= MAX_WRITTEN => {}
            "written" => {
                self.written.insert(value.to_owned());
            }
            "volume" => {
                self.volumes.insert(value.to_owned());
            }
            "migration" => {
                let name = next();
                self.migrations.get_or_insert_default().insert(name, next());
            }
            "port" => {
                if let Ok(port) = next().parse() {
                    self.held_ports.insert(port, words.collect::<Vec<_>>().join(" "));
                }
            }
            "own_check" => {
                let name = next();
                self.own_checks.insert(name, next());
            }
            "leftover" => {
                self.leftovers.insert(value.to_owned());
            }
            "drift" => {
                self.drift.insert(value.to_owned());
            }
            "state" => self.state = decode(value).filter(State::plain),
            "lease" => self.lease = decode(value),
            _ => {
                self.values.entry(key.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
    }

    /// A single value of the probe; `None` when absent or empty.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.trim().parse().ok()
    }

    #[must_use]
    pub fn os(&self) -> (&str, &str) {
        (self.value("os").unwrap_or("unknown"), self.value("os_version").unwrap_or(""))
    }

    #[must_use]
    pub fn current(&self) -> Option<&str> {
        self.value("current")
    }

    /// Status and seconds of the client's own health address, asked on the host.
    #[must_use]
    pub fn http(&self) -> Option<(u16, f64)> {
        let (code, seconds) = self.value("http")?.split_once(' ')?;
        let seconds = seconds.parse::<f64>().ok().filter(|seconds| seconds.is_finite())?;
        Some((code.parse().ok()?, seconds))
    }

    /// Body of the health answer when it is JSON.
    #[must_use]
    pub fn http_json(&self) -> Option<serde_json::Value> {
        decode(self.value("http_body")?)
    }

    /// A digest of all that a plan is made from: it changes when somebody else changed the host,
    /// and not because time passed.
    #[must_use]
    pub fn basis(&self) -> String {
        let mut hasher = Sha256::new();
        let mut add = |text: &str| {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        for key in [
            "os",
            "os_version",
            "codename",
            "cloud_init",
            "current",
            "engine",
            "compose",
            "firewall",
            "deploy_user",
            "deploy_key",
            "SwapTotal",
            "live_serial",
            "live_server",
            "live_names",
            "disk_serial",
            "served_serial",
            "sealed",
        ] {
            add(self.value(key).unwrap_or(""));
        }
        add(if self.expired("live") { "expired" } else { "valid" });
        for port in &self.ssh_ports {
            add(&port.to_string());
        }
        for (name, text) in self.packages.iter().chain(&self.dirs).chain(&self.services) {
            add(name);
            add(text);
        }
        for (name, unit) in &self.units {
            add(name);
            add(&unit.enabled);
            add(&unit.active);
        }
        for (path, file) in &self.files {
            add(path);
            add(&file.sha256);
            add(&file.mode);
        }
        add(self.state.as_ref().map_or("", |state| &state.digest));
        for (id, release) in &self.releases {
            add(id);
            add(release.mark.word());
            add(release.state.as_ref().map_or("", |state| &state.digest));
        }
        add(if self.migrations.is_some() { "database" } else { "none" });
        for (name, hash) in self.migrations.iter().flatten() {
            add(name);
            add(hash);
        }
        for path in self.drift.iter().chain(&self.leftovers) {
            add(path);
        }
        for (path, file) in &self.old {
            add(path);
            add(&crate::shell::hex(&Sha256::digest(&file.content)));
        }
        for container in &self.containers {
            add(&container.id);
            add(if container.well() { "well" } else { "not well" });
        }
        crate::shell::hex(&hasher.finalize())
    }
}

fn decode<T: for<'de> Deserialize<'de>>(value: &str) -> Option<T> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_its_end_is_refused() {
        assert_eq!(Facts::parse(b"os\tdebian\n"), Err(FactsError::Cut));
    }

    #[test]
    fn an_answer_becomes_facts() {
        let facts = Facts::parse(
            b"os\tdebian\nos_version\t13\nssh_port\t22\nssh_port\tx\npackage\tcurl ii  8.1\n\
              package\tgone rc  1.0\nunit\tcron.service enabled active\nfile\tabc 644 /etc/a b\n\
              container\tid1 api running healthy 2 2026-01-01T00:00:00Z geoclic/api:1\n\
              database\tready\nhttp\t200 0.012\nhttp_body\teyJzdGF0dXMiOiJvayJ9\nend\tok\n",
        )
        .unwrap();
        assert_eq!(facts.os(), ("debian", "13"));
        assert_eq!(facts.ssh_ports.iter().copied().collect::<Vec<_>>(), [22]);
        assert!(facts.packages.contains_key("curl") && !facts.packages.contains_key("gone"));
        assert_eq!(facts.files["/etc/a b"].mode, "644");
        assert!(facts.containers[0].well());
        assert_eq!(facts.migrations, Some(BTreeMap::new()));
        assert_eq!(facts.http(), Some((200, 0.012)));
        assert_eq!(facts.http_json().unwrap()["status"], "ok");
    }

    #[test]
    fn the_basis_ignores_time_and_load_but_nothing_that_a_plan_is_made_from() {
        let parse = |text: &str| Facts::parse(format!("{text}end\tok\n").as_bytes()).unwrap().basis();
        assert_eq!(parse("clock\t1\nload\t0.1\n"), parse("clock\t2\nload\t9\n"));
        assert_ne!(parse("file\ta 644 /x\n"), parse("file\tb 644 /x\n"));
        for (one, other) in [
            ("unit\ta.service enabled active\n", "unit\ta.service enabled failed\n"),
            ("dir\t755 /opt\n", "dir\t700 /opt\n"),
            ("ssh_port\t22\n", "ssh_port\t2222\n"),
            ("release\tr1 complete\n", "release\tr1 failed\n"),
            ("live_server\thttps://a\n", "live_server\thttps://b\n"),
            ("database\tready\n", ""),
            ("container\tid api running healthy 0 t i h\n", "container\tid api exited none 0 t i h\n"),
            ("old\t1 YQ== .env\n", "old\t1 Yg== .env\n"),
        ] {
            assert_ne!(parse(one), parse(other), "{one}");
        }
    }
}
