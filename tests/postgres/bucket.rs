//! Repositories in object storage: moto's S3 server, from PyPI (`scripts/test.sh` installs it below target/), with the
//! stock restic as the judge.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleet::backup::prove::{Wish, prove};
use fleet::backup::{BackupError, Bucket, Depth, Place, Repository, Store, retention, verify};
use fleet::http::Http;
use fleet::registry::{Keep, ProveWith};

use crate::rig::{Rig, pull};
use crate::sshd::{free_port, own_address};
use crate::town::Town;

const KEY: &str = "Poison-s3-7Q2xK9";

/// The storage, as long as it lives.
struct Storage {
    child: Child,
    endpoint: String,
}

impl Storage {
    fn start() -> Storage {
        let program: PathBuf =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/moto/bin/moto_server");
        assert!(program.exists(), "{} is missing: `scripts/test.sh --fast` installs it", program.display());
        let host = own_address();
        let port = free_port(&host);
        let child = Command::new(program)
            .args(["-H", &host, "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let storage = Storage { child, endpoint: format!("http://{host}:{port}") };
        let started = Instant::now();
        while storage.http("PUT", "/town-halls") != Some(200) {
            assert!(started.elapsed() < Duration::from_secs(60), "moto does not answer");
            std::thread::sleep(Duration::from_millis(200));
        }
        storage
    }

    /// The status of a request of the test's own, which needs no signature there.
    fn http(&self, method: &str, path: &str) -> Option<u16> {
        let url = format!("{}{path}", self.endpoint);
        let answer = Http::new(Duration::from_secs(5)).send(method, &url, &[], Some(b""), 1 << 20);
        answer.ok().map(|answer| answer.status)
    }

    fn bucket(&self, name: &str) -> Bucket {
        Bucket {
            endpoint: self.endpoint.clone(),
            region: "us-east-1".into(),
            name: name.into(),
            prefix: "backups/ville-lyon".into(),
            key_id: "AKIATEST".into(),
            key: KEY.into(),
        }
    }

    fn place(&self, rig: &Rig) -> Place {
        rig.place_in(Store::Bucket(self.bucket("town-halls")))
    }

    fn restic(&self, words: &[&str]) -> Vec<u8> {
        let bucket = self.bucket("town-halls");
        let output = Command::new("restic")
            .args(["--no-cache", "-r", &bucket.address()])
            .args(words)
            .env("RESTIC_PASSWORD", "correct horse battery")
            .env("AWS_ACCESS_KEY_ID", "AKIATEST")
            .env("AWS_SECRET_ACCESS_KEY", KEY)
            .output()
            .expect("restic is missing: apt-get install restic");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn backup(rig: &Rig, place: &Place) -> Result<fleet::backup::Written, BackupError> {
    let done = pull(rig.sshd.target(), place.clone(), rig.what(), 1 << 40, |_| {}, |source| Arc::new(source));
    done.map(|(written, _)| written)
}

#[test]
fn a_repository_in_a_bucket_is_one_like_any_other() {
    let (storage, rig) = (Storage::start(), Rig::new(60_000));
    let place = storage.place(&rig);
    assert!(!place.store().exists().unwrap());
    let first = backup(&rig, &place).unwrap();
    // What is there already is not stored again. Each dump begins with its time, so its first piece is new, and
    // how long that is differs from repository to repository.
    let second = backup(&rig, &place).unwrap();
    assert!(place.store().exists().unwrap());
    assert!(second.added * 2 < first.added, "{} then {}", first.added, second.added);
    // Stock restic reads it all, and so does a proof.
    storage.restic(&["check", "--read-data"]);
    let path = &second.manifest.database.as_ref().unwrap().path;
    let dump = storage.restic(&["dump", "latest", &format!("/{path}")]);
    assert_eq!(dump.len() as u64, second.manifest.part(path).unwrap().bytes);
    let wish = Wish {
        with: ProveWith::Local,
        image: "postgres",
        share: 100.0,
        time: Duration::from_secs(120),
        state: rig.home.path(),
        own: &|_, _| Ok(()),
        stop: Arc::new(|| false),
        tell: &|_| {},
    };
    let proved = prove(&place, "latest", &wish).unwrap();
    assert_eq!((proved.faults.as_slice(), proved.snapshot.as_str()), ([].as_slice(), second.id.as_str()));
    // What is forgotten goes from the bucket.
    let keep = Keep { last: Some(1), ..Keep::default() };
    let repository = Repository::open(&place).unwrap();
    let plan = retention::plan(&repository, &keep, None, jiff::Timestamp::now()).unwrap();
    assert_eq!(plan.forgotten, [first.id]);
    for _ in 0..2 {
        retention::carry_out_after(&Repository::open(&place).unwrap(), &plan, Duration::ZERO).unwrap();
    }
    assert_eq!(Repository::open(&place).unwrap().snapshots().unwrap().len(), 1);
    assert_eq!(verify(Repository::open(&place).unwrap(), Depth::All).unwrap().damage, Vec::<String>::new());
    storage.restic(&["check", "--read-data"]);
}

#[test]
fn a_storage_that_goes_away_in_the_middle_keeps_what_there_was() {
    let (mut storage, rig) = (Storage::start(), Rig::new(100_000));
    let place = storage.place(&rig);
    let pid = storage.child.id();
    let came = AtomicU64::new(0);
    let watch = move |count| {
        let before = came.fetch_add(count, Ordering::SeqCst);
        if before < 3_000_000 && before + count >= 3_000_000 {
            assert!(Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
        }
    };
    let error = pull(rig.sshd.target(), place.clone(), rig.what(), 1 << 40, watch, |source| Arc::new(source))
        .unwrap_err();
    assert!(matches!(error, BackupError::Storage(_)), "{error}");
    let said = format!("{error} {error:?}");
    assert!(said.contains("connection") && !said.contains(KEY) && !said.contains("Signature"), "{said}");
    assert!(!storage.child.wait().unwrap().success());
    let error = place.store().exists().unwrap_err();
    assert!(error.to_string().contains("the connection is refused"), "{error}");
}

#[test]
fn a_bucket_that_is_not_there_is_told_as_that() {
    let (storage, rig) = (Storage::start(), Rig::new(10));
    let place = rig.place_in(Store::Bucket(storage.bucket("no-such-bucket")));
    let error = backup(&rig, &place).unwrap_err();
    assert!(error.to_string().contains("there is no such bucket: make it first"), "{error}");
    assert!(!format!("{error:?}").contains(KEY));
}

/// As an operator has it: the bucket in `clients.toml`, its keys among the fleet's secrets.
#[test]
fn the_program_keeps_its_repositories_in_the_bucket_of_the_registry() {
    let storage = Storage::start();
    let settings = format!(
        "[fleet.backup]\nrepository = \"s3://town-halls/backups\"\nprove_with = \"local\"\n\n[fleet.backup.s3]\nendpoint = \"{}\"\nkey_id = {{ secret = \"S3_KEY_ID\" }}\nkey = {{ secret = \"S3_KEY\" }}\n",
        storage.endpoint
    );
    let town = Town::new(&["ville-lyon"], &settings);
    let fleet = &town.fleet;
    let mut said = String::new();
    let mut run = |line: &str, code: i32| {
        let done = fleet.say(line);
        assert_eq!(done.code, code, "{line}: {}", done.all());
        said.push_str(&done.all());
        done
    };
    let without = run("backup ville-lyon", 3);
    assert!(without.all().contains("fleet secrets set --fleet S3_KEY_ID"), "{}", without.all());
    fleet.with_input(["secrets", "set", "--fleet", "S3_KEY_ID"], b"AKIATEST").ok();
    fleet.with_input(["secrets", "set", "--fleet", "S3_KEY"], KEY.as_bytes()).ok();
    for _ in 0..2 {
        run("backup ville-lyon -v", 0);
    }
    let list = run("backups list ville-lyon --json", 0).json();
    assert_eq!(list.len(), 2, "{list:?}");
    let verified = run("backups verify ville-lyon --read-data --json", 0).json().remove(0);
    assert_eq!(verified["ok"], true, "{verified}");
    let proved = run("backups prove ville-lyon --json", 0).json().remove(0);
    assert_eq!((proved["ok"].as_bool(), &proved["snapshot"]), (Some(true), &list[0]["id"]), "{proved}");
    let file = run("backups dump ville-lyon files/folders/uploads/a.txt", 0);
    assert_eq!(file.out, "of ville-lyon\n".repeat(100));
    run("backups prune ville-lyon", 0);
    let plan = run("backup ville-lyon --dry-run --json", 0).json().remove(0);
    let address = format!("s3:{}/town-halls/backups/ville-lyon", storage.endpoint);
    assert_eq!(plan["repository"].as_str(), Some(address.as_str()));
    assert!(!fleet.path("backups").exists(), "nothing of it is kept here");
    // The stock restic reads it with the client's key.
    let key = fleet.say("secrets show ville-lyon FLEET_BACKUP_KEY --reveal").ok().out;
    let output = Command::new("restic")
        .args(["--no-cache", "-r", &address, "dump", "latest", "/files/folders/uploads/a.txt"])
        .env("RESTIC_PASSWORD", key.trim())
        .env("AWS_ACCESS_KEY_ID", "AKIATEST")
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .output()
        .expect("restic is missing: apt-get install restic");
    assert_eq!(output.stdout, file.out.as_bytes(), "{}", String::from_utf8_lossy(&output.stderr));
    // The storage's key is in no output and no file but the encrypted one.
    let files = walkdir::WalkDir::new(fleet.dir()).into_iter().flatten();
    let mut seen = 0;
    for entry in files.filter(|entry| entry.file_type().is_file()) {
        let bytes = std::fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(KEY), "{}", entry.path().display());
        seen += usize::from(text.contains("ville-lyon"));
    }
    assert!(seen > 2 && !said.contains(KEY) && said.contains("snapshot"), "{seen} {said}");
}
