//! Repositories on a server that speaks restic's protocol: `rclone serve restic` (package `rclone`), with the stock restic as
//! the judge.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fleet::backup::{BackupError, Depth, Place, Repository, Rest, Store, Written, retention, verify};
use fleet::http::Http;
use fleet::registry::Keep;

use crate::rig::{Rig, pull};
use crate::sshd::{free_port, own_address};
use crate::town::Town;

const PASSWORD: &str = "Poison-rest-7Q2xK9";

/// The server, as long as it lives.
struct Remote {
    child: Child,
    address: String,
}

impl Remote {
    fn start(folder: &Path, more: &[&str]) -> Remote {
        let host = own_address();
        let address = format!("{host}:{}", free_port(&host));
        let child = Command::new("rclone")
            .args(["serve", "restic", "--addr", &address, "--user", "fleet", "--pass", PASSWORD])
            .args(more)
            .arg(folder)
            .env("RCLONE_CONFIG", "")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rclone is missing: apt-get install rclone");
        let remote = Remote { child, address };
        let http = Http::new(Duration::from_secs(5));
        let started = Instant::now();
        while http.get(&format!("http://{}/", remote.address)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "rclone does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        remote
    }

    fn place(&self, rig: &Rig, password: &str) -> Place {
        let url = format!("http://{}/town-halls/ville-lyon/", self.address);
        let rest = Rest { url, login: Some(("fleet".into(), password.into())) };
        rig.place_in(Store::Server(rest))
    }

    /// The stock restic on a client's repository.
    fn restic(&self, key: &str, words: &[&str]) -> Vec<u8> {
        let repository = format!("rest:http://fleet:{PASSWORD}@{}/town-halls/ville-lyon/", self.address);
        let output = Command::new("restic")
            .args(["--no-cache", "--no-lock", "-r", &repository])
            .args(words)
            .env("RESTIC_PASSWORD", key)
            .output()
            .expect("restic is missing: apt-get install restic");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn backup(rig: &Rig, place: &Place) -> Result<Written, BackupError> {
    let source = |source| std::sync::Arc::new(source) as _;
    pull(rig.sshd.target(), place.clone(), rig.what(), 1 << 40, |_| {}, source).map(|(written, _)| written)
}

fn two_are_forgotten(place: &Place) -> Result<(), BackupError> {
    let keep = Keep { last: Some(1), ..Keep::default() };
    let repository = Repository::open(place)?;
    let plan = retention::plan(&repository, &keep, None, jiff::Timestamp::now())?;
    assert_eq!(plan.forgotten.len(), 2);
    for _ in 0..2 {
        retention::carry_out_after(&Repository::open(place)?, &plan, Duration::ZERO)?;
    }
    Ok(())
}

#[test]
fn a_server_that_only_adds_keeps_what_there_is() {
    let (rig, folder) = (Rig::new(20_000), tempfile::tempdir().unwrap());
    let adding = Remote::start(folder.path(), &["--append-only"]);
    let place = adding.place(&rig, PASSWORD);
    assert!(!place.store().exists().unwrap());
    let wrong = adding.place(&rig, "Wrong-rest-1Zk4");
    let error = backup(&rig, &wrong).unwrap_err();
    assert!(error.to_string().contains("answers 401: it does not know the user"), "{error}");
    assert!(!format!("{error:?}").contains("1Zk4"), "{error:?}");
    for _ in 0..3 {
        backup(&rig, &place).unwrap();
    }
    adding.restic("correct horse battery", &["check", "--read-data"]);
    let error = two_are_forgotten(&place).unwrap_err();
    assert!(error.to_string().contains("answers 403: it does not allow that"), "{error}");
    assert_eq!(Repository::open(&place).unwrap().snapshots().unwrap().len(), 3);
    assert_eq!(verify(Repository::open(&place).unwrap(), Depth::All).unwrap().damage, Vec::<String>::new());
    drop(adding);
    // Started without it for once, the same server lets go.
    let other = Remote::start(folder.path(), &[]);
    let place = other.place(&rig, PASSWORD);
    two_are_forgotten(&place).unwrap();
    assert_eq!(Repository::open(&place).unwrap().snapshots().unwrap().len(), 1);
    assert_eq!(verify(Repository::open(&place).unwrap(), Depth::All).unwrap().damage, Vec::<String>::new());
    other.restic("correct horse battery", &["check", "--read-data"]);
    let (port, address) = (other.address.clone(), place.store().name());
    drop(other);
    let error = Repository::open(&place).map(drop).unwrap_err();
    assert!(error.to_string().contains("the connection is refused"), "{port} {address}: {error}");
}

/// As an operator has it: the server in `clients.toml`, its password among the fleet's secrets.
#[test]
fn the_program_keeps_its_repositories_on_the_server_of_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::start(folder.path(), &["--append-only"]);
    let settings = format!(
        "[fleet.backup]\nrepository = \"rest:http://{}/town-halls\"\nprove_with = \"local\"\nrest = {{ user = \"fleet\", password = {{ secret = \"REST_PASSWORD\" }} }}\n\n[defaults]\nbackup = {{ keep = {{ last = 1 }} }}\n",
        remote.address
    );
    let town = Town::new(&["ville-lyon"], &settings);
    let fleet = &town.fleet;
    let without = fleet.say("backup ville-lyon");
    assert!(without.all().contains("fleet secrets set --fleet REST_PASSWORD"), "{}", without.all());
    fleet.with_input(["secrets", "set", "--fleet", "REST_PASSWORD"], PASSWORD.as_bytes()).ok();
    fleet.say("backup ville-lyon").ok();
    let second = fleet.say("backup ville-lyon").ok();
    assert!(second.err.contains("old snapshots were not forgotten"), "{}", second.all());
    assert_eq!(town.snapshots("ville-lyon").len(), 2);
    let proved = fleet.say("backups prove ville-lyon --json").ok().json().remove(0);
    assert_eq!(proved["ok"].as_bool(), Some(true), "{proved}");
    let key = fleet.say("secrets show ville-lyon FLEET_BACKUP_KEY --reveal").ok().out;
    let file = remote.restic(key.trim(), &["dump", "latest", "/files/folders/uploads/a.txt"]);
    assert_eq!(file, "of ville-lyon\n".repeat(100).into_bytes());
    assert!(!fleet.path("backups").exists(), "nothing of it is kept here");
    let files = walkdir::WalkDir::new(fleet.dir()).into_iter().flatten();
    for entry in files.filter(|entry| entry.file_type().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{}", entry.path().display());
    }
}
