//! The lab as it is up: where its hosts and services are. Read once from what `lab.sh up` wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::Host;

pub struct Lab {
    pub dir: PathBuf,
    pub name: String,
    /// `[fleet]`'s tables that lead to the lab's services, as the lab wrote them.
    pub settings: toml::Table,
    /// Host name and address.
    pub hosts: BTreeMap<String, String>,
    pub gateway: String,
    /// Root of the certificates that clients serve.
    pub root: PathBuf,
    pub fleet_dir: PathBuf,
}

/// The lab that the environment names. Without one, every test says how to get it.
pub fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| {
        let dir = std::env::var_os("FLEET_LAB_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab-test"), PathBuf::from);
        Lab::read(&dir).unwrap_or_else(|error| {
            panic!(
                "no lab is up in {}: {error}\nrun scripts/test.sh, or: FLEET_LAB_NAME=fleet-test \
                 FLEET_LAB_DIR={0} scripts/lab.sh up 12 --fresh",
                dir.display()
            )
        })
    })
}

impl Lab {
    fn read(dir: &Path) -> Result<Lab, String> {
        let text = std::fs::read_to_string(dir.join("lab.env")).map_err(|error| error.to_string())?;
        let values: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key, value.trim_matches('"')))
            .collect();
        let value = |key: &str| {
            values.get(key).map(|value| (*value).to_owned()).ok_or(format!("lab.env has no {key}"))
        };
        let fleet_dir = PathBuf::from(value("LAB_FLEET_DIR")?);
        let registry =
            std::fs::read_to_string(fleet_dir.join("clients.toml")).map_err(|error| error.to_string())?;
        let registry: toml::Table = registry.parse().map_err(|error| format!("clients.toml: {error}"))?;
        let table =
            |name: &str| registry.get(name).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let hosts = table("clients")
            .iter()
            .filter_map(|(name, client)| Some((name.clone(), client.get("ip")?.as_str()?.to_owned())))
            .collect();
        Ok(Lab {
            dir: dir.to_owned(),
            name: value("FLEET_LAB_NAME")?,
            settings: table("fleet"),
            hosts,
            gateway: value("LAB_GATEWAY")?,
            root: PathBuf::from(value("LAB_ACME_ROOT")?),
            fleet_dir,
        })
    }

    pub fn host(&self, name: &str) -> Host {
        let address = self.hosts.get(name).unwrap_or_else(|| panic!("the lab has no host {name}")).clone();
        Host { name: name.to_owned(), address }
    }

    /// `scripts/lab.sh WORDS`, which must succeed.
    pub fn script(&self, words: &[&str]) {
        let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lab.sh"))
            .args(words)
            .env("FLEET_LAB_DIR", &self.dir)
            .env("FLEET_LAB_NAME", &self.name)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("scripts/lab.sh runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/lab.sh {words:?} failed:\n{said}");
    }
}

/// `docker WORDS` on this machine, whose engine holds the lab.
pub fn docker(words: &[&str]) -> Output {
    Command::new("docker").args(words).output().expect("docker runs")
}
