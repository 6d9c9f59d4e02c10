//! A host that carries out plans on paper: what each step would leave is written into its facts.
//!
//! Files and the state are read from what the commands send, so a plan that writes something else
//! than the next plan looks for does not come to an end here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::STAGES;
use super::wish::{DOMAIN, SERVER};
use crate::facts::Facts;
use crate::plan::{Action, Desired, Step, plan, system};
use crate::shell::{Cmd, hex};

/// Facts as lines; a later line replaces an earlier one of the same subject.
pub struct Host {
    lines: Vec<String>,
}

impl Host {
    pub fn new(text: &str) -> Host {
        Host { lines: text.lines().filter(|line| !line.starts_with("end\t")).map(str::to_owned).collect() }
    }

    pub fn facts(&self) -> Facts {
        Facts::parse(format!("{}\nend\tok\n", self.lines.join("\n")).as_bytes()).unwrap()
    }

    /// Plans and does up to `most` steps, each stage from a look of its own as the engine does, and
    /// says how many there were.
    pub fn carry_out(&mut self, desired: &Desired, most: usize) -> usize {
        let mut done = 0;
        for stage in STAGES {
            for step in plan(stage, desired, &self.facts()).unwrap().steps {
                if done == most {
                    return done;
                }
                self.take(desired, &step);
                done += 1;
            }
        }
        done
    }

    /// Replaces what begins so with these lines.
    fn set(&mut self, begins: &str, line: &str) {
        self.lines.retain(|known| !known.starts_with(begins));
        self.lines.push(line.to_owned());
    }

    fn value(&mut self, key: &str, value: &str) {
        self.set(&format!("{key}\t"), &format!("{key}\t{value}"));
    }

    fn take(&mut self, desired: &Desired, step: &Step) {
        let details: Vec<&str> = step.details.iter().flat_map(|text| text.split(' ')).collect();
        if let Action::Run(cmd) = &step.action {
            self.files(cmd);
        }
        match step.title.as_str() {
            "wait for cloud-init" => self.value("cloud_init", "done"),
            "install packages" => self.packages(&details),
            "install Docker and Compose" => {
                self.packages(&details);
                self.value("engine", "29.0.0");
                self.value("compose", "2.40.0");
            }
            "restart Docker" | "start Docker" => self.unit("docker.service"),
            "add swap" => self.value("SwapTotal", "2097148"),
            "load the firewall" => {
                self.value("firewall", "loaded");
                self.unit("fleet-firewall.service");
            }
            "make folders" => {
                for (path, mode) in system::dirs(desired) {
                    self.lines.push(format!("dir\t{} {path}", mode.trim_start_matches('0')));
                }
            }
            "enable start at boot, cron and renewal" => details.iter().for_each(|name| self.unit(name)),
            "make a placeholder certificate" => self.value("disk_serial", "00"),
            "start database" => self.lines.push("database\tready".into()),
            "start services" | "start what else changed" => self.containers(desired),
            "commit" => self.commit(step),
            "obtain and serve the certificate" => {
                for (key, value) in [
                    ("clock", "1794000000"),
                    ("live_server", SERVER),
                    ("live_names", &format!("DNS:{DOMAIN}")),
                    ("live_not_after", "Feb 18 10:00:00 2027 GMT"),
                    ("live_serial", "05"),
                    ("disk_serial", "05"),
                    ("served_serial", "05"),
                ] {
                    self.value(key, value);
                }
            }
            title => {
                if let Some(name) = title.strip_prefix("migrate ") {
                    let list = &desired.release.migrations;
                    let hash = &list.iter().find(|migration| migration.name == name).unwrap().sha256;
                    self.lines.push(format!("migration\t{name} {hash}"));
                } else if let Some(user) = title.strip_prefix("create deploy user ") {
                    self.value("deploy_user", user);
                    self.value("deploy_key", "yes");
                } else if let Some(service) = title.strip_prefix("replace ") {
                    self.lines.retain(|line| {
                        !line.starts_with("container\t") || !line.contains(&format!(" {service} "))
                    });
                    self.container(service);
                } else if title.starts_with("build ") {
                    self.lines.push(format!("image\t{} sha256:new", details[0]));
                }
            }
        }
    }

    fn packages(&mut self, names: &[&str]) {
        for name in names {
            self.set(&format!("package\t{name} "), &format!("package\t{name} ii  1.0"));
        }
    }

    fn unit(&mut self, name: &str) {
        self.set(&format!("unit\t{name} "), &format!("unit\t{name} enabled active"));
    }

    /// What `files::put` would write, from its own input.
    fn files(&mut self, cmd: &Cmd) {
        let mut rest = cmd.input().bytes();
        if cmd.words().first().is_none_or(|word| word != "sh") || cmd.words()[1] != "-c" {
            return;
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let header = String::from_utf8_lossy(&rest[..end]).into_owned();
            let mut words = header.splitn(3, ' ');
            let (size, mode, path) = (words.next(), words.next(), words.next());
            let (Some(Ok(size)), Some(mode), Some(path)) = (size.map(str::parse::<usize>), mode, path) else {
                return;
            };
            let content = &rest[end + 1..end + 1 + size];
            rest = &rest[end + 1 + size..];
            self.lines.retain(|line| !(line.starts_with("file\t") && line.ends_with(&format!(" {path}"))));
            let digest = hex(&Sha256::digest(content));
            self.lines.push(format!("file\t{digest} {} {path}", mode.trim_start_matches('0')));
            if let Some(release) = path.strip_suffix("/.complete") {
                let id = release.rsplit('/').next().unwrap();
                self.set(&format!("release\t{id} "), &format!("release\t{id} complete"));
            }
        }
    }

    fn containers(&mut self, desired: &Desired) {
        self.lines.retain(|line| !line.starts_with("container\t"));
        for (service, _) in &desired.release.health {
            self.container(service);
        }
    }

    fn container(&mut self, service: &str) {
        self.lines.push(format!("container\tnew-{service} {service} running healthy 0 t image h-{service}"));
    }

    fn commit(&mut self, step: &Step) {
        let Action::Run(cmd) = &step.action else { panic!("{step:?}") };
        let state: crate::facts::State = serde_json::from_slice(cmd.input().bytes()).unwrap();
        self.value("state", &STANDARD.encode(cmd.input().bytes()));
        self.value("current", &state.release);
        let (id, text) = (&state.release, STANDARD.encode(cmd.input().bytes()));
        self.set(&format!("release\t{id} "), &format!("release\t{id} complete {text}"));
    }
}
