//! Proofs with a real throwaway PostgreSQL: good backups, wrong ones, and hosts that mean harm.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fleet::backup::manifest::Manifest;
use fleet::backup::prove::{ProofError, Proved, Wish, prove, sweep};
use fleet::backup::{BackupError, Fill, HostSource, Piece, Source, Store};
use fleet::ops::backup::{Found, Listing};
use fleet::registry::ProveWith;

use crate::rig::Rig;

fn wish<'w>(rig: &'w Rig, tell: &'w dyn Fn(&str)) -> Wish<'w> {
    Wish {
        with: ProveWith::Local,
        image: "postgres",
        share: 100.0,
        time: Duration::from_secs(120),
        state: rig.home.path(),
        own: &|_, _| Ok(()),
        stop: Arc::new(|| false),
        tell,
    }
}

fn proved(rig: &Rig) -> Proved {
    prove(&rig.place(), "latest", &wish(rig, &|_| {})).unwrap()
}

/// Ids of the proofs that live, or that a kill left behind.
fn ids(state: &Path) -> Vec<String> {
    let names = fs::read_dir(state.join("prove")).into_iter().flatten().flatten();
    let names =
        names.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".lock").map(str::to_owned));
    names.collect()
}

/// Every process whose command line names the throwaway.
fn processes(id: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let named = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("fleet-prove-{id}"))
    };
    pids.filter(named).collect()
}

fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_good_backup_is_proved_and_nothing_of_it_stays() {
    let rig = Rig::new(20_000);
    // A volume that nothing was put into yet is no fault.
    let (empty, mut what) = (tempfile::tempdir().unwrap(), rig.what());
    what.folders.push(fleet::ops::backup::Folder::Path(empty.path().display().to_string()));
    let (written, _) = rig.run(what, 1 << 40, |_| {}).unwrap();
    let seen = Mutex::new(Vec::new());
    let look = |step: &str| {
        if step == "count its rows" {
            let id = ids(rig.home.path()).remove(0);
            for pid in processes(&id) {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
                // The program that is confined; those that confine it are of this machine.
                if !status.starts_with("Name:\tpostgres\n") {
                    continue;
                }
                let line =
                    |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
                assert_eq!(line("NoNewPrivs:"), "NoNewPrivs:\t1");
                assert_eq!(line("CapEff:"), "CapEff:\t0000000000000000");
                if rustix::process::geteuid().is_root() {
                    assert!(line("Uid:").starts_with("Uid:\t65534\t65534"), "{}", line("Uid:"));
                }
                let network = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
                let links: Vec<&str> =
                    network.lines().skip(2).map(|line| line.trim().split(':').next().unwrap()).collect();
                assert_eq!(links, ["lo"], "a server that could reach anything");
                assert!(
                    !fs::read_to_string(format!("/proc/{pid}/environ")).unwrap_or_default().contains("CARGO")
                );
                seen.lock().unwrap().push(id.clone());
            }
        }
    };
    let proved = prove(&rig.place(), "latest", &wish(&rig, &look)).unwrap();
    assert_eq!(proved.faults, Vec::<String>::new());
    assert!(proved.with.as_ref().unwrap().starts_with("PostgreSQL "), "{proved:?}");
    assert_eq!((proved.snapshot.as_str(), proved.files, proved.files_read), (written.id.as_str(), 41, 41));
    let demandes = proved.tables.iter().find(|table| table.table == "demandes").unwrap();
    assert_eq!((demandes.wanted, demandes.found), (20_000, Some(20_000)));
    assert!(proved.bytes > written.manifest.database.as_ref().unwrap().bytes / 10);
    let seen = seen.into_inner().unwrap();
    let id = seen.first().expect("its processes were looked at");
    assert_eq!(processes(id), Vec::<u32>::new());
    assert_eq!(ids(rig.home.path()), Vec::<String>::new());
    assert!(!Path::new(&format!("/var/tmp/fleet-prove-{id}")).exists());

    let mut some = wish(&rig, &|_| {});
    some.share = 20.0;
    let sampled = prove(&rig.place(), "latest", &some).unwrap();
    assert!(sampled.ok() && sampled.files == 41 && sampled.files_read < 41, "{sampled:?}");
}

/// A source that says something else of the database than what is in it.
struct Liar(HostSource, fn(&mut Manifest));

impl Source for Liar {
    fn pieces(&self) -> Vec<Piece> {
        self.0.pieces()
    }

    fn list(&self) -> Result<Listing, BackupError> {
        self.0.list()
    }

    fn fetch(&self, files: &[Found]) -> Result<Box<dyn Fill>, BackupError> {
        self.0.fetch(files)
    }

    fn manifest(&self) -> Manifest {
        let mut manifest = self.0.manifest();
        (self.1)(&mut manifest);
        manifest
    }
}

#[test]
fn a_snapshot_with_other_data_than_it_says_is_found_out() {
    let rig = Rig::new(100);
    type Case = (fn(&mut Manifest), &'static str);
    let cases: [Case; 4] = [
        (
            |manifest| manifest.database.as_mut().unwrap().rows[0].rows += 1,
            "table demandes has 100 rows, and the manifest says 101",
        ),
        (
            |manifest| manifest.database.as_mut().unwrap().rows[1].table = "gone".into(),
            "table gone is not in the restored database",
        ),
        (
            |manifest| manifest.database.as_mut().unwrap().tables = 9,
            "3 tables were restored, and the manifest says 9",
        ),
        (
            |manifest| manifest.migration = Some("024_c.sql".into()),
            "the last migration is \"023_b.sql\", and the manifest says \"024_c.sql\"",
        ),
    ];
    for (lie, told) in cases {
        rig.run_as(rig.what(), 1 << 40, |_| {}, |source| Arc::new(Liar(source, lie))).unwrap();
        let proved = proved(&rig);
        assert!(proved.faults.iter().any(|fault| fault == told), "{told}: {:?}", proved.faults);
    }
    rig.backup().unwrap();
    assert_eq!(proved(&rig).faults, Vec::<String>::new());
}

#[test]
fn a_flipped_byte_in_a_pack_does_not_pass() {
    let rig = Rig::new(20_000);
    rig.backup().unwrap();
    let packs = walkdir::WalkDir::new(rig.repository().join("data")).into_iter().flatten();
    let mut packs: Vec<_> =
        packs.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect();
    packs.sort_by_key(|path| fs::metadata(path).unwrap().len());
    let largest = packs.pop().unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();
    let proved = proved(&rig);
    assert!(!proved.ok());
    assert!(
        proved.faults.iter().any(|fault| fault.contains("database/") || fault.contains("files/")),
        "{proved:?}"
    );
}

#[test]
fn a_dump_that_means_harm_reaches_nothing() {
    let rig = Rig::new(10);
    let mark = rig.home.path().join("evil");
    let said = mark.display();
    // A name that a script of psql would run, and code that runs when it is restored elsewhere.
    rig.server.ask(&format!("create table \"x\n\\! touch {said}-meta\n\" (x int)"));
    rig.server.ask(&format!(
        "create function evil(x int) returns int language plpgsql as $f$ begin
            if current_database() = 'proof' then copy (select 1) to program 'touch {said}-program'; end if;
            return x; end $f$"
    ));
    rig.backup().unwrap();
    let good = proved(&rig);
    assert_eq!(good.faults, Vec::<String>::new(), "a strange name alone is no fault");
    rig.server.ask("create materialized view seen as select evil(1)");
    rig.backup().unwrap();
    let bad = proved(&rig);
    assert!(
        bad.faults.iter().any(|fault| fault.contains("to COPY to or from an external program")),
        "{bad:?}"
    );
    for name in ["-meta", "-program"] {
        assert!(!Path::new(&format!("{said}{name}")).exists(), "{name} was run");
    }
}

#[test]
fn a_restore_without_end_is_given_up_and_proves_nothing() {
    let rig = Rig::new(10);
    rig.server.ask(
        "create function slow(x int) returns int language plpgsql immutable as $f$ begin
            if current_database() = 'proof' then perform pg_sleep(3600); end if; return x; end $f$",
    );
    rig.server.ask("create index on petite (slow(x))");
    rig.backup().unwrap();
    let mut short = wish(&rig, &|_| {});
    short.time = Duration::from_secs(8);
    let started = Instant::now();
    let error = prove(&rig.place(), "latest", &short).unwrap_err();
    assert!(matches!(error, ProofError::Time(_)), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    // And at the word of whoever waits.
    let asked = Arc::new(AtomicUsize::new(0));
    let mut stopped = wish(&rig, &|_| {});
    stopped.stop = Arc::new(move || asked.fetch_add(1, Ordering::SeqCst) > 30);
    assert!(matches!(prove(&rig.place(), "latest", &stopped).unwrap_err(), ProofError::Stopped));
    assert_eq!(ids(rig.home.path()), Vec::<String>::new());
}

#[test]
fn without_the_right_server_it_is_refused_with_what_to_do() {
    let rig = Rig::new(10);
    let lie = |manifest: &mut Manifest| manifest.database.as_mut().unwrap().server = "9.6.24".into();
    rig.run_as(rig.what(), 1 << 40, |_| {}, |source| Arc::new(Liar(source, lie))).unwrap();
    let error = prove(&rig.place(), "latest", &wish(&rig, &|_| {})).unwrap_err();
    assert!(error.to_string().starts_with("there is nothing to restore a PostgreSQL 9 into: "), "{error}");
    assert!(error.hint("ville-lyon").unwrap().contains("apt-get install postgresql-9"));
}

/// A fleet directory whose client has the repository of a rig.
fn fleet_of(rig: &Rig) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let registry = "[fleet]\nname = \"tests\"\nstack = \"geoclic\"\nsource = \".\"\n\n[clients.ville-lyon]\ndomain = \"ville-lyon.example.fr\"\nip = \"192.0.2.1\"\nemail = \"a@example.fr\"\n";
    fs::write(dir.path().join("clients.toml"), registry).unwrap();
    run(dir.path(), &["init"]);
    let vault = fleet::vault::Vault::open(dir.path(), &[], None).unwrap();
    let place = rig.place();
    vault
        .set("ville-lyon", fleet::vault::BACKUP_KEY, place.key().clone(), false, jiff::Timestamp::now())
        .unwrap();
    let mut what = rig.what();
    what.own = vec![
        ("client/clients.toml".into(), registry.as_bytes().to_vec()),
        ("client/secrets.age".into(), vault.sealed("ville-lyon").unwrap().unwrap()),
    ];
    rig.run_as(what, 1 << 40, |_| {}, |source| Arc::new(source)).unwrap();
    let Store::Folder(repository) = place.store() else { panic!("a folder") };
    fs::create_dir(dir.path().join("backups")).unwrap();
    std::os::unix::fs::symlink(repository, dir.path().join("backups/ville-lyon")).unwrap();
    dir
}

fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet"));
    command
        .arg("-C")
        .arg(dir)
        .args(words)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", dir);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(dir: &Path, words: &[&str]) -> (i32, String, String) {
    let output = command(dir, words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_proves_remembers_and_cleans_up_after_a_kill() {
    let rig = Rig::new(1_000);
    let fleet = fleet_of(&rig);
    let (code, out, err) =
        run(fleet.path(), &["backups", "prove", "ville-lyon", "--with", "local", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let record: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((record["schema"].as_str(), record["ok"].as_bool()), (Some("fleet.proof/1"), Some(true)));
    let (_, out, _) = run(fleet.path(), &["backups", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list["proved"]["snapshot"], record["snapshot"], "{out}");

    // Another client's key, or a table that is not the client's, is told.
    let mut what = rig.what();
    what.own = vec![
        ("client/clients.toml".into(), b"[fleet]\nname = \"x\"\n".to_vec()),
        ("client/secrets.age".into(), b"?".to_vec()),
    ];
    rig.run_as(what, 1 << 40, |_| {}, |source| Arc::new(source)).unwrap();
    let (code, out, err) = run(fleet.path(), &["backups", "prove", "--oldest", "1", "--with", "local"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(
        out.contains("does not restore")
            && out.contains("client/clients.toml")
            && out.contains("client/secrets.age"),
        "{out}"
    );
    // The one that was proved before still is, and the list says what is wrong.
    let (_, out, _) = run(fleet.path(), &["backups", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(list["proved"]["snapshot"], record["snapshot"], "{out}");
    assert!(list["problem"].as_str().unwrap().starts_with("does not restore: "), "{out}");

    // Killed in the middle: everything it started ends, and the next one takes away what is left.
    rig.server.ask(
        "create function slow(x int) returns int language plpgsql immutable as $f$ begin
            if current_database() = 'proof' then perform pg_sleep(3600); end if; return x; end $f$",
    );
    rig.server.ask("create index on petite (slow(x))");
    rig.backup().unwrap();
    let mut child =
        command(fleet.path(), &["backups", "prove", "ville-lyon", "--with", "local"]).spawn().unwrap();
    let state = fleet.path().join(".fleet");
    let restores = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("pg_restore\0--exit-on-error")
    };
    let begun = || ids(&state).first().is_some_and(|id| processes(id).iter().any(restores));
    until("the server of the proof is up and restores", begun);
    let id = ids(&state).remove(0);
    child.kill().unwrap();
    child.wait().unwrap();
    until("all its processes end with it", || processes(&id).is_empty());
    assert!(Path::new(&format!("/var/tmp/fleet-prove-{id}")).exists(), "a kill leaves the folder");
    assert_eq!(sweep(&state), 1);
    assert!(!Path::new(&format!("/var/tmp/fleet-prove-{id}")).exists() && ids(&state).is_empty());
}
