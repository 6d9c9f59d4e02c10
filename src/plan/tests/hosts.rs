//! Hosts as probe answers. A file below `tests/facts/` is such an answer; lines that begin with `@`
//! stand for what only the wish knows (digests, encoded state), so that the files stay readable:
//!
//! - `@include NAME without KEY; KEY VALUE`: the lines of another host but those that begin so
//! - `@managed [without PATH]`: every managed file, folder and mount, just as wished
//! - `@state current|older|hostile`: the state file, encoded
//! - `@kept ID`: a release that was committed once and is whole
//! - `@migrations N`: the first N migrations as applied
//! - `@json KEY {..}`: a value that travels in base64
//! - `@long KEY N`: a value of so many bytes
//! - `@old PATH ESCAPED`: another content of a file that the current release has
//! - `@written PATH`: it is of the current release, and as wanted unless it is also old
//! - `@bytes KEY ESCAPED`: a value with Rust's `\u{..}` escapes

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::wish;
use crate::facts::{Facts, State};
use crate::plan::{Desired, system};
use crate::shell::hex;

macro_rules! hosts {
    ($($name:literal),* $(,)?) => {
        /// Every host, in order.
        pub const NAMES: &[&str] = &[$($name),*];
        const TEXTS: &[&str] = &[$(include_str!(concat!("../../../tests/facts/", $name, ".txt"))),*];
    };
}

hosts![
    "bare-debian-12",
    "bare-debian-13",
    "bare-ubuntu-22.04",
    "bare-ubuntu-24.04-cloud-init",
    "certificate-expired",
    "certificate-missing",
    "certificate-not-served",
    "certificate-other-server",
    "certificate-placeholder",
    "containers-exited",
    "current",
    "cut-in-commit",
    "cut-in-prepare",
    "cut-in-rollout",
    "cut-in-system",
    "database-down",
    "edited-file",
    "firewall-unloaded",
    "hostile",
    "migration-edited",
    "older-files",
    "older-hostile",
    "older-release",
    "other-docker",
    "restart-loop",
    "unsupported-os",
];

/// The hosts that a plan can bring to what is wanted.
pub const CURABLE: &[&str] = &[
    "bare-debian-12",
    "bare-debian-13",
    "bare-ubuntu-22.04",
    "bare-ubuntu-24.04-cloud-init",
    "certificate-expired",
    "certificate-missing",
    "certificate-not-served",
    "certificate-other-server",
    "certificate-placeholder",
    "containers-exited",
    "current",
    "cut-in-commit",
    "cut-in-prepare",
    "cut-in-rollout",
    "cut-in-system",
    "database-down",
    "edited-file",
    "firewall-unloaded",
    "older-files",
    "older-hostile",
    "older-release",
    "other-docker",
    "restart-loop",
];

pub fn facts(name: &str, desired: &Desired) -> Facts {
    Facts::parse(text(name, desired).as_bytes()).unwrap()
}

/// The probe's answer with everything spelled out.
pub fn text(name: &str, desired: &Desired) -> String {
    let mut out = String::new();
    expand(name, desired, &[], &mut out);
    out.push_str("end\tok\n");
    out
}

fn expand(name: &str, desired: &Desired, without: &[&str], out: &mut String) {
    let at = NAMES.iter().position(|known| *known == name).unwrap_or_else(|| panic!("no host {name}"));
    for line in TEXTS[at].lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut more = String::new();
        match line.strip_prefix('@') {
            None => more = format!("{line}\n"),
            Some(rest) => {
                let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                directive(word, rest, desired, &mut more);
            }
        }
        let dropped =
            |line: &&str| without.iter().any(|begin| line.replacen('\t', " ", 1).starts_with(begin));
        for line in more.lines().filter(|line| !dropped(line)) {
            out.push_str(line);
            out.push('\n');
        }
    }
}

fn directive(word: &str, rest: &str, desired: &Desired, out: &mut String) {
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    match word {
        "include" => {
            let without: Vec<&str> =
                second.strip_prefix("without ").map_or(vec![], |list| list.split("; ").collect());
            expand(first, desired, &without, out);
        }
        "managed" => managed(desired, second, out),
        "state" => encode("state", &serde_json::to_string(&state(first, desired)).unwrap(), out),
        "kept" => {
            let state = State { release: first.into(), ..state("older", desired) };
            let text = STANDARD.encode(serde_json::to_string(&state).unwrap());
            out.push_str(&format!("release\t{first} complete {text}\n"));
        }
        "migrations" => {
            out.push_str("database\tready\n");
            for migration in desired.release.migrations.iter().take(first.parse().unwrap()) {
                out.push_str(&format!("migration\t{} {}\n", migration.name, migration.sha256));
            }
        }
        "json" => encode(first, second, out),
        "long" => out.push_str(&format!("{first}\t{}\n", "x".repeat(second.parse().unwrap()))),
        "old" => {
            let text: String = serde_json::from_str(&format!("\"{second}\"")).unwrap();
            out.push_str(&format!("old\t{} {} {first}\n", text.len(), STANDARD.encode(text)));
            out.push_str(&format!("written\t{first}\n"));
        }
        "written" => out.push_str(&format!("written\t{first}\n")),
        "bytes" => {
            let text: String = serde_json::from_str(&format!("\"{second}\"")).unwrap();
            out.push_str(&format!("{first}\t{text}\n"));
        }
        other => panic!("no directive {other}"),
    }
}

fn encode(key: &str, json: &str, out: &mut String) {
    out.push_str(&format!("{key}\t{}\n", STANDARD.encode(json)));
}

fn managed(desired: &Desired, without: &str, out: &mut String) {
    let files = desired.managed_files().into_iter().chain(desired.release.mounts.iter().cloned());
    for file in files.filter(|file| without.is_empty() || !file.path.starts_with(without)) {
        let digest = hex(&Sha256::digest(&file.content));
        out.push_str(&format!("file\t{digest} {} {}\n", file.mode.trim_start_matches('0'), file.path));
    }
    for (path, mode) in system::dirs(desired) {
        out.push_str(&format!("dir\t{} {path}\n", mode.trim_start_matches('0')));
    }
}

pub fn state(which: &str, desired: &Desired) -> State {
    let wanted = &desired.release;
    let state = State {
        schema: "fleet.state/1".into(),
        release: wanted.id.clone(),
        digest: wanted.digest.clone(),
        version: wanted.version.clone(),
        client: desired.client.clone(),
        domain: desired.domain.clone(),
        images: wanted.images.clone(),
        env_digest: wanted.env_digest.clone(),
        password_digest: wanted.password_digest(),
        gate: None,
        who: "marie@atelier".into(),
        run: "20261101-090000-0001".into(),
        at: "2026-11-01T09:00:00.000Z".into(),
        previous: Some("33cc44dd55ee".into()),
    };
    match which {
        "current" => state,
        "older" => State {
            release: "5e6f7a8b9c0d".into(),
            digest: "5e6f".repeat(16),
            version: "v2.4.0".into(),
            env_digest: "e0".repeat(32),
            password_digest: Some(crate::stack::sha256(wish::FORMER.as_bytes())),
            ..state
        },
        "hostile" => State {
            release: "../../etc\u{1b}[2J$(reboot)".into(),
            previous: Some("-rf /\n".into()),
            version: format!("v1\u{202e}{}", wish::RELEASE),
            digest: "0".into(),
            ..state
        },
        other => panic!("no state {other}"),
    }
}
