//! The vault on a real disk: what age itself says of the files, what a cut leaves, what many at once leave.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fleet::secret::{Generator, Secret};
use fleet::vault::{Recipient, Vault, VaultError, init_identity};
use jiff::Timestamp;
use rand::RngExt;

/// Tells a child of this test binary which vault to work on.
const DIR: &str = "FLEET_TEST_VAULT_DIR";
const CLIENT: &str = "ville-lyon";

fn now() -> Timestamp {
    "2026-11-20T07:16:00.5Z".parse().unwrap()
}

fn wanted(names: &[&str]) -> Vec<(String, Generator)> {
    names.iter().map(|name| ((*name).to_owned(), Generator::Alnum(32))).collect()
}

fn fresh() -> (tempfile::TempDir, Vault) {
    let dir = tempfile::tempdir().unwrap();
    init_identity(dir.path(), "alice@laptop", now()).unwrap();
    let vault = open(dir.path());
    (dir, vault)
}

fn open(dir: &Path) -> Vault {
    Vault::open(dir, &[], None).unwrap().by("alice@laptop")
}

fn ensure(vault: &Vault, client: &str, names: &[&str]) -> Vec<String> {
    vault.ensure(client, &wanted(names), false, &mut rand::rng(), now()).unwrap().1
}

fn value(vault: &Vault, client: &str, name: &str) -> String {
    vault.read(client).unwrap().get(name).unwrap().reveal().clone()
}

fn sealed(dir: &Path, client: &str) -> PathBuf {
    dir.join(format!("secrets/{client}.age"))
}

/// Runs a tool that the tests need, and says so when it is not there.
fn tool(name: &str, args: &[&std::ffi::OsStr], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(name)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("this test needs `{name}` (Debian: apt-get install age openssh-client): {error}")
        });
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

macro_rules! args {
    ($($arg:expr),* $(,)?) => { &[$(std::ffi::OsStr::new($arg)),*] };
}

fn ssh_key(path: &Path, kind: &str, passphrase: &str) -> String {
    tool("ssh-keygen", args!["-q", "-t", kind, "-N", passphrase, "-C", "bob@desk", "-f", path], b"");
    fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

#[test]
fn values_are_made_once_and_kept() {
    let (dir, vault) = fresh();
    assert!(!vault.exists(CLIENT).unwrap());
    assert_eq!(ensure(&vault, CLIENT, &["DB_PASSWORD", "JWT_SECRET_KEY"]), ["DB_PASSWORD", "JWT_SECRET_KEY"]);
    let first = value(&vault, CLIENT, "DB_PASSWORD");
    assert_eq!(ensure(&vault, CLIENT, &["DB_PASSWORD", "API_KEY"]), ["API_KEY"]);
    assert!(ensure(&vault, CLIENT, &["DB_PASSWORD", "API_KEY"]).is_empty());
    assert_eq!(value(&vault, CLIENT, "DB_PASSWORD"), first);
    ensure(&vault, "ville-brest", &["DB_PASSWORD", "JWT_SECRET_KEY"]);
    assert_eq!(vault.list().unwrap(), ["ville-brest", CLIENT]);
    assert_eq!(vault.duplicates().unwrap(), []);
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode(".fleet/identity.txt"), mode("secrets/ville-lyon.age"), mode(".fleet")),
        (0o600, 0o600, 0o700)
    );
    let secrets = vault.read(CLIENT).unwrap();
    let meta = secrets.meta("DB_PASSWORD").unwrap();
    assert_eq!((meta.by.as_str(), meta.generation), ("alice@laptop", 1));
    assert_eq!(meta.created.to_string(), "2026-11-20T07:16:00Z");
    assert_eq!(secrets.redactor().redact(&format!("pw={first}")), "pw=[secret DB_PASSWORD]");
    assert!(!format!("{secrets:?}").contains(&first));
}

#[test]
fn no_file_but_the_encrypted_one_and_the_identity_tell_anything() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    let secret = value(&vault, CLIENT, "DB_PASSWORD");
    vault.rotate(CLIENT, &wanted(&["DB_PASSWORD"]), &mut rand::rng(), now()).unwrap();
    let redactor = vault.read(CLIENT).unwrap().redactor();
    let mut searched = 0;
    for entry in walkdir::WalkDir::new(dir.path()).into_iter().map(Result::unwrap) {
        if entry.file_type().is_file() {
            assert!(!redactor.finds(&fs::read(entry.path()).unwrap()), "{}", entry.path().display());
            searched += 1;
        }
    }
    assert!(searched >= 4 && redactor.finds(secret.as_bytes()), "the search can find");
    let index = vault.index(CLIENT).unwrap().unwrap();
    assert_eq!(index.names["DB_PASSWORD"].generation, 2);
    assert_eq!(index.readers[0].comment, "alice@laptop");
    assert!(vault.who_can_read(CLIENT).unwrap().certain);
}

#[test]
fn debians_age_reads_what_is_written_and_writes_what_is_read() {
    let (dir, vault) = fresh();
    let bob = dir.path().join("bob");
    let line = ssh_key(&bob, "ed25519", "");
    assert!(vault.add_recipient(&Recipient::parse(&line).unwrap()).unwrap());
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    let (file, own) = (sealed(dir.path(), CLIENT), dir.path().join(".fleet/identity.txt"));
    let secret = value(&vault, CLIENT, "DB_PASSWORD");
    for identity in [&own, &bob] {
        let plain = String::from_utf8(tool("age", args!["-d", "-i", identity, &file], b"")).unwrap();
        assert!(plain.contains(&format!("DB_PASSWORD = \"{secret}\"")), "{plain}");
        let same = Vault::open(dir.path(), &[], Some(identity.clone())).unwrap();
        assert_eq!(value(&same, CLIENT, "DB_PASSWORD"), secret);
    }
    let plain = b"schema = 1\nclient = \"ville-brest\"\n[values]\nTOKEN = \"from age itself\"\n";
    let recipients = dir.path().join("secrets/recipients.txt");
    let theirs = sealed(dir.path(), "ville-brest");
    tool("age", args!["-R", &recipients, "-a", "-o", &theirs], plain);
    assert_eq!(value(&vault, "ville-brest", "TOKEN"), "from age itself");
    // Not armored is as good.
    fs::remove_file(&theirs).unwrap();
    tool("age", args!["-R", &recipients, "-o", &theirs], plain);
    assert_eq!(value(&vault, "ville-brest", "TOKEN"), "from age itself");
}

#[test]
fn a_missing_file_of_a_provisioned_client_is_an_error_with_a_way_out() {
    let (dir, vault) = fresh();
    let again =
        |provisioned| vault.ensure(CLIENT, &wanted(&["DB_PASSWORD"]), provisioned, &mut rand::rng(), now());
    let error = again(true).unwrap_err();
    assert!(matches!(error, VaultError::MissingForProvisioned { .. }), "{error}");
    assert!(error.hint().unwrap().contains("git checkout -- "), "{error}");
    again(false).unwrap();
    let first = value(&vault, CLIENT, "DB_PASSWORD");
    // Nobody says that it was provisioned, but the index remembers.
    let saved = fs::read(sealed(dir.path(), CLIENT)).unwrap();
    fs::remove_file(sealed(dir.path(), CLIENT)).unwrap();
    assert!(matches!(again(false), Err(VaultError::MissingForProvisioned { .. })));
    let set = vault.set(CLIENT, "TOKEN", "abcdef".into(), false, now());
    assert!(matches!(set, Err(VaultError::MissingForProvisioned { .. })));
    assert!(!sealed(dir.path(), CLIENT).exists());
    // An older file put back under a newer index: what it lost is not made anew.
    fs::write(sealed(dir.path(), CLIENT), &saved).unwrap();
    ensure(&vault, CLIENT, &["NEWER"]);
    fs::write(sealed(dir.path(), CLIENT), &saved).unwrap();
    let lost = vault.ensure(CLIENT, &wanted(&["DB_PASSWORD", "NEWER"]), true, &mut rand::rng(), now());
    assert!(matches!(&lost, Err(VaultError::LostNames { names, .. }) if names == &["NEWER"]), "{lost:?}");
    assert!(matches!(vault.rekey(now()), Err(VaultError::RekeyRefused { .. })));
    vault.unset(CLIENT, "NEWER", now()).unwrap();
    assert_eq!(ensure(&vault, CLIENT, &["DB_PASSWORD", "NEWER"]), ["NEWER"]);
    assert_eq!(value(&vault, CLIENT, "DB_PASSWORD"), first);
    // Removed clients are pointed at, and values found elsewhere can be written.
    let removed = vault.remove(CLIENT, now()).unwrap().unwrap();
    assert!(removed.ends_with("secrets/removed/ville-lyon-20261120T071600Z.age"), "{}", removed.display());
    assert!(again(true).unwrap_err().hint().unwrap().contains("removed/ville-lyon-20261120T"));
    vault.recover(CLIENT, vec![("DB_PASSWORD".to_owned(), Secret::from(first.as_str()))], now()).unwrap();
    assert_eq!(again(true).unwrap().0.get("DB_PASSWORD").unwrap().reveal(), &first);
    assert!(matches!(vault.recover(CLIENT, Vec::new(), now()), Err(VaultError::ClientTaken { .. })));
}

#[test]
fn what_is_replaced_stays_until_confirmed() {
    let (_dir, vault) = fresh();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    let first = value(&vault, CLIENT, "DB_PASSWORD");
    let rotate = || vault.rotate(CLIENT, &wanted(&["DB_PASSWORD"]), &mut rand::rng(), now()).unwrap();
    let second = rotate().get("DB_PASSWORD").unwrap().clone();
    let third = rotate();
    let kept: Vec<_> = third.previous("DB_PASSWORD").iter().map(|value| value.reveal().clone()).collect();
    assert_eq!(kept, [first.clone(), second.reveal().clone()]);
    assert_eq!(third.meta("DB_PASSWORD").unwrap().generation, 3);
    assert_eq!(third.redactor().redact(&first), "[secret DB_PASSWORD]", "a former value is still secret");
    let back = vault.revert(CLIENT, "DB_PASSWORD", now()).unwrap();
    assert_eq!(back.get("DB_PASSWORD"), Some(&second));
    assert_eq!(back.previous("DB_PASSWORD").last(), third.get("DB_PASSWORD"));
    let done = vault.confirm(CLIENT, &["DB_PASSWORD".to_owned()], now()).unwrap();
    assert_eq!(done.unconfirmed().count(), 0);
    assert!(matches!(vault.revert(CLIENT, "DB_PASSWORD", now()), Err(VaultError::NoPrevious { .. })));
    // A name that was unset keeps its value until confirmed, under any name it had.
    vault.rename(CLIENT, "DB_PASSWORD", "POSTGRES_PASSWORD", now()).unwrap();
    let unset = vault.unset(CLIENT, "POSTGRES_PASSWORD", now()).unwrap();
    assert_eq!((unset.names().count(), unset.previous("POSTGRES_PASSWORD")), (0, &[second][..]));
    let near = vault.rotate(CLIENT, &wanted(&["X"]), &mut rand::rng(), now()).unwrap_err();
    assert_eq!(near.to_string(), "ville-lyon has no secret named X");
    vault.set(CLIENT, "SENTRY_DSN", "https://k@o1.ingest.sentry.io/42".into(), true, now()).unwrap();
    let near = vault.unset(CLIENT, "SENTRY_DNS", now()).unwrap_err();
    assert_eq!(near.hint().unwrap(), "did you mean SENTRY_DSN?");
}

#[test]
fn values_never_cross_to_another_client() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    fs::copy(sealed(dir.path(), CLIENT), sealed(dir.path(), "ville-brest")).unwrap();
    for error in [
        vault.read("ville-brest").unwrap_err(),
        vault.ensure("ville-brest", &wanted(&["DB_PASSWORD"]), true, &mut rand::rng(), now()).unwrap_err(),
        vault.set("ville-brest", "A", "abcdef".into(), true, now()).map(|_| ()).unwrap_err(),
    ] {
        assert!(
            error.to_string().ends_with("holds the secrets of ville-lyon, not of ville-brest"),
            "{error}"
        );
    }
    for name in ["../etc", "a/b", "", ".", "..", "Ville", "a.b", "-a", "a\u{1b}[0m"] {
        assert!(matches!(vault.read(name), Err(VaultError::BadClient(_))), "{name:?}");
        assert!(matches!(vault.remove(name, now()), Err(VaultError::BadClient(_))), "{name:?}");
    }
    fs::remove_file(sealed(dir.path(), "ville-brest")).unwrap();
    // The same value twice is found; who moves a client moves its file whole.
    vault
        .set("ville-brest", "DB_PASSWORD", value(&vault, CLIENT, "DB_PASSWORD").as_str().into(), false, now())
        .unwrap();
    let found = vault.duplicates().unwrap();
    let place = |client: &str| (client.to_owned(), "DB_PASSWORD".to_owned());
    assert_eq!((found.len(), &found[0].places), (1, &vec![place("ville-brest"), place(CLIENT)]));
    assert!(found[0].generated);
    assert!(matches!(vault.rename_client(CLIENT, "ville-brest", now()), Err(VaultError::ClientTaken { .. })));
    vault.rename_client(CLIENT, "grand-lyon", now()).unwrap();
    assert_eq!(vault.list().unwrap(), ["grand-lyon", "ville-brest"]);
    assert!(vault.index(CLIENT).unwrap().is_none());
}

#[test]
fn one_wrong_character_anywhere_is_called_damage() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    let good = fs::read(sealed(dir.path(), CLIENT)).unwrap();
    let body = good.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let end = good.windows(5).rposition(|window| window == b"-----").unwrap()
        - b"-----END AGE ENCRYPTED FILE".len();
    for at in (body..end - 3).step_by(3) {
        let mut bad = good.clone();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        fs::write(sealed(dir.path(), CLIENT), &bad).unwrap();
        let error = vault.read(CLIENT).unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{at} of {end}: {error}");
    }
}

/// Each kind of damage has its own message, and nothing is overwritten.
#[test]
fn damaged_files_are_named_and_left_alone() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    let good = fs::read_to_string(sealed(dir.path(), CLIENT)).unwrap();
    let (head, tail) = good.split_at(good.len() / 2);
    let flipped = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);
    let own = dir.path().join("secrets/recipients.txt");
    let by_age =
        |plain: &str| String::from_utf8(tool("age", args!["-R", &own, "-a"], plain.as_bytes())).unwrap();
    for (what, text, message) in [
        ("empty", String::new(), "is empty"),
        ("truncated", head.to_owned(), "is damaged: part of it is missing or changed"),
        ("cut at a line", good.lines().take(6).map(|line| format!("{line}\n")).collect(), "is damaged"),
        ("changed", flipped, "is damaged"),
        ("other", "DB_PASSWORD=x\n".to_owned(), "is not a file encrypted by age"),
        ("merge", format!("<<<<<<< HEAD\n{good}=======\n{good}>>>>>>> other\n"), "holds an unresolved merge"),
        ("no toml", by_age("PW = hunter2-hunter2"), "decrypts, but its line 1 is not what fleet writes"),
        (
            "wrong type",
            by_age("schema = 1\nclient = \"ville-lyon\"\nvalues = \"hunter2\""),
            "but its line 3 is not",
        ),
        ("newer", by_age("schema = 2\nclient = \"ville-lyon\""), "was written by a newer fleet (schema 2)"),
    ] {
        fs::write(sealed(dir.path(), CLIENT), &text).unwrap();
        let rng = &mut rand::rng();
        for error in [
            vault.read(CLIENT).map(|_| ()).unwrap_err(),
            vault
                .ensure(CLIENT, &wanted(&["DB_PASSWORD", "NEW"]), false, rng, now())
                .map(|_| ())
                .unwrap_err(),
            vault.set(CLIENT, "NEW", "abcdef".into(), false, now()).map(|_| ()).unwrap_err(),
            vault.rekey(now()).map(|_| ()).unwrap_err(),
        ] {
            let shown = error.to_string();
            assert!(shown.contains(message) && !shown.contains("hunter2"), "{what}: {shown}");
            assert!(error.hint().is_some(), "{what}");
        }
        assert_eq!(fs::read_to_string(sealed(dir.path(), CLIENT)).unwrap(), text, "{what}");
    }
}

#[test]
fn an_identity_that_will_not_do_says_why() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    let at = |name: &str| dir.path().join(name);
    let other = tempfile::tempdir().unwrap();
    init_identity(other.path(), "mallory", now()).unwrap();
    ssh_key(&at("locked"), "ed25519", "a passphrase");
    ssh_key(&at("rsa"), "rsa", "");
    fs::write(at("junk"), "hunter2-hunter2\n").unwrap();
    fs::copy(at(".fleet/identity.txt"), at("open")).unwrap();
    fs::set_permissions(at("junk"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(at("open"), fs::Permissions::from_mode(0o644)).unwrap();
    for (path, message, hint) in [
        (at("none"), "no identity to read secrets with", "fleet init"),
        (at("open"), "may be read by others (mode 0644)", "chmod 600"),
        (
            at("locked"),
            "is protected by a passphrase, which no cron job can type",
            "an age identity of its own",
        ),
        (at("rsa"), "only SSH keys of type ed25519 can read secrets", "AGE-SECRET-KEY-1"),
        (at("junk"), "line 1 is not a valid age secret key", "AGE-SECRET-KEY-1"),
        (other.path().join(".fleet/identity.txt"), "is not encrypted to identity", "fleet secrets rekey"),
    ] {
        let vault = Vault::open(dir.path(), &[], Some(path.clone())).unwrap();
        let error = vault.read(CLIENT).unwrap_err();
        assert!(error.to_string().contains(message), "{}: {error}", path.display());
        assert!(!error.to_string().contains("hunter2"));
        assert!(error.hint().unwrap().contains(hint), "{}: {:?}", path.display(), error.hint());
    }
}

#[test]
fn nobody_locks_himself_out() {
    let (dir, vault) = fresh();
    let list = dir.path().join("secrets/recipients.txt");
    let own = vault.own_key().unwrap();
    assert!(matches!(vault.remove_recipient(&own), Err(VaultError::NoRecipients { .. })));
    let other = tempfile::tempdir().unwrap();
    let bob = init_identity(other.path(), "bob", now()).unwrap();
    vault.add_recipient(&bob).unwrap();
    assert!(matches!(vault.remove_recipient(&own), Err(VaultError::WouldLockOut { .. })));
    fs::write(&list, format!("{}\n", bob.key)).unwrap();
    let error = vault.ensure(CLIENT, &wanted(&["A"]), false, &mut rand::rng(), now()).unwrap_err();
    assert!(error.hint().unwrap().contains(&own), "{error}");
    fs::write(&list, "# nobody\n").unwrap();
    let error = vault.ensure(CLIENT, &wanted(&["A"]), false, &mut rand::rng(), now()).unwrap_err();
    assert!(matches!(error, VaultError::NoRecipients { .. }), "{error}");
    assert!(!sealed(dir.path(), CLIENT).exists());
    // The registry's recipients count too.
    let with = Vault::open(dir.path(), &[format!("{own} alice"), bob.key.clone()], None).unwrap();
    ensure(&with, CLIENT, &["A"]);
    assert_eq!(with.who_can_read(CLIENT).unwrap().readers.len(), 2);
    let wrong = Vault::open(dir.path(), &["age1nonsense".to_owned()], None).err().unwrap().to_string();
    assert!(wrong.starts_with("clients.toml: fleet.recipients[0]: not a valid age key"), "{wrong}");
    // Twice is once.
    init_identity(dir.path(), "alice", now()).unwrap();
    let text = fs::read_to_string(&list).unwrap();
    init_identity(dir.path(), "alice again", now()).unwrap();
    assert_eq!(fs::read_to_string(&list).unwrap(), text);
}

#[test]
fn rekeying_gives_and_takes_access_and_says_what_to_rotate() {
    let (dir, vault) = fresh();
    let other = tempfile::tempdir().unwrap();
    let bob = init_identity(other.path(), "bob", now()).unwrap();
    let as_bob = Vault::open(dir.path(), &[], Some(other.path().join(".fleet/identity.txt"))).unwrap();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    ensure(&vault, "ville-gone", &["DB_PASSWORD"]);
    let gone = vault.remove("ville-gone", now()).unwrap().unwrap();
    vault.add_recipient(&bob).unwrap();
    assert_eq!(vault.needs_rekey().unwrap(), [CLIENT]);
    assert!(matches!(as_bob.read(CLIENT), Err(VaultError::WrongIdentity { .. })));
    let report = vault.rekey(now()).unwrap();
    assert_eq!(
        (report.clients.as_slice(), report.gained.len(), report.lost.len()),
        (&[CLIENT.to_owned()][..], 1, 0)
    );
    assert_eq!(value(&as_bob, CLIENT, "DB_PASSWORD"), value(&vault, CLIENT, "DB_PASSWORD"));
    let plain = tool("age", args!["-d", "-i", &other.path().join(".fleet/identity.txt"), &gone], b"");
    assert!(String::from_utf8(plain).unwrap().contains("client = \"ville-gone\""));
    assert_eq!(vault.needs_rekey().unwrap(), [""; 0]);
    vault.remove_recipient(&bob.key).unwrap();
    let report = vault.rekey(now()).unwrap();
    assert_eq!(report.lost[0].comment, "bob");
    assert_eq!(report.known_to_lost, BTreeMap::from([(CLIENT.to_owned(), vec!["DB_PASSWORD".to_owned()])]));
    assert!(matches!(as_bob.read(CLIENT), Err(VaultError::WrongIdentity { .. })));
    assert!(vault.pending_rekey().unwrap().is_none());
}

#[test]
fn a_cut_rekeying_is_noticed_and_finished_by_the_next_change() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["DB_PASSWORD"]);
    ensure(&vault, "ville-brest", &["DB_PASSWORD"]);
    let other = tempfile::tempdir().unwrap();
    let bob = init_identity(other.path(), "bob", now()).unwrap();
    vault.add_recipient(&bob).unwrap();
    // As the power leaves it after the journal: nothing is encrypted anew yet.
    let journal = "started = \"2026-11-20T07:16:00Z\"\nby = \"alice\"\n\
                   files = [\"ville-brest.age\", \"ville-lyon.age\", \"../../outside.age\", \"gone.age\"]\n";
    fs::write(dir.path().join(".fleet/rekey.toml"), journal).unwrap();
    assert_eq!(vault.pending_rekey().unwrap().unwrap().files.len(), 4);
    ensure(&vault, "ville-nice", &["DB_PASSWORD"]);
    assert!(vault.pending_rekey().unwrap().is_none());
    assert_eq!(vault.needs_rekey().unwrap(), [""; 0]);
    let as_bob = Vault::open(dir.path(), &[], Some(other.path().join(".fleet/identity.txt"))).unwrap();
    as_bob.read(CLIENT).unwrap();
    as_bob.read("ville-brest").unwrap();
}

// ---------------------------------------------------------------------------------------------
// Cuts and crowds: this binary starts itself with DIR set, and only then do these two do anything.

fn start(worker: &str, dir: &Path) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", worker, "--nocapture", "--quiet"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// One line in one write: what a reader of the pipe gets is whole, or its last line has no end.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Changes secrets until it is killed, saying each value before it is used and each change after it is done.
#[test]
fn worker_until_killed() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let vault = open(&dir);
    let mut rng = rand::rng();
    for round in 0u32.. {
        let created = format!("NAME_{}", rng.random_range(0..1_000_000u32));
        let (secrets, made) = vault.ensure(CLIENT, &wanted(&[&created]), true, &mut rng, now()).unwrap();
        if made == [created.as_str()] {
            say(&format!("has {created} {}", secrets.get(&created).unwrap().reveal()));
        }
        let given = format!("given-{round}-{}", rng.random::<u64>());
        say(&format!("try GIVEN {given}"));
        vault.set(CLIENT, "GIVEN", given.as_str().into(), true, now()).unwrap();
        say(&format!("has GIVEN {given}"));
        let rotated = vault.rotate(CLIENT, &wanted(&["ROTATED"]), &mut rng, now()).unwrap();
        say(&format!("has ROTATED {}", rotated.get("ROTATED").unwrap().reveal()));
        if round % 2 == 0 {
            vault.rekey(now()).unwrap();
        }
        // Keeps the file small without letting go of what the parent looks for.
        vault.unset(CLIENT, "OLD", now()).unwrap();
        vault.set(CLIENT, "OLD", "an old value".into(), true, now()).unwrap();
        vault.confirm(CLIENT, &["OLD".to_owned(), "GIVEN".to_owned()], now()).unwrap();
    }
}

#[test]
fn killed_at_any_moment_nothing_acknowledged_is_lost() {
    let (dir, vault) = fresh();
    ensure(&vault, CLIENT, &["ROTATED", "KEPT"]);
    vault.set(CLIENT, "GIVEN", "given-first".into(), false, now()).unwrap();
    vault.set(CLIENT, "OLD", "an old value".into(), false, now()).unwrap();
    let mut has: BTreeMap<String, String> = BTreeMap::new();
    has.insert("KEPT".to_owned(), value(&vault, CLIENT, "KEPT"));
    has.insert("GIVEN".to_owned(), "given-first".to_owned());
    let (mut acknowledged, mut cut_rekeys, mut leftovers) = (0, 0, 0);
    for _ in 0..80 {
        let mut child = start("worker_until_killed", dir.path());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        // Once it is at work, anywhere within the next few changes.
        let mut said = String::new();
        while !said.contains('@') {
            assert_ne!(out.read_line(&mut said).unwrap(), 0, "the worker ended: {}", errors(child));
        }
        std::thread::sleep(Duration::from_micros(rand::rng().random_range(0..60_000)));
        child.kill().unwrap();
        std::io::Read::read_to_string(&mut out, &mut said).unwrap();
        let errors = errors(child);
        assert!(!errors.contains("panicked"), "{errors}");

        let mut tried = None;
        for line in said.split_inclusive('\n').filter_map(|line| line.strip_prefix('@')?.strip_suffix('\n')) {
            let mut words = line.splitn(3, ' ');
            let (verb, name, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if verb == "try" {
                tried = Some(value.to_owned());
            } else {
                has.insert(name.to_owned(), value.to_owned());
                acknowledged += 1;
            }
        }
        // Read as it was left, by one that repairs nothing.
        let left = open(dir.path()).read(CLIENT).unwrap();
        for (name, value) in &has {
            let now = left.get(name).unwrap_or_else(|| panic!("{name} is gone")).reveal();
            let before = left.previous(name).iter().any(|old| old.reveal() == value);
            let in_flight = name == "GIVEN" && tried.as_ref() == Some(now);
            assert!(now == value || before || in_flight, "{name}: {value} became {now}");
        }
        let given = left.get("GIVEN").unwrap().reveal().clone();
        has.insert("GIVEN".to_owned(), given);
        cut_rekeys += usize::from(vault.pending_rekey().unwrap().is_some());
        leftovers += temporary_files(dir.path());
        // OLD is unset for a moment; the next worker expects it.
        vault.set(CLIENT, "OLD", "an old value".into(), true, now()).unwrap();
        vault.rotate(CLIENT, &wanted(&["KEPT"]), &mut rand::rng(), now()).unwrap();
        vault.revert(CLIENT, "KEPT", now()).unwrap();
        vault.confirm(CLIENT, &["KEPT".to_owned(), "ROTATED".to_owned()], now()).unwrap();
        has.insert("ROTATED".to_owned(), value(&vault, CLIENT, "ROTATED"));
        assert!(vault.pending_rekey().unwrap().is_none(), "a cut rekeying is finished");
        assert!(vault.who_can_read(CLIENT).unwrap().certain, "the index is true again");
        assert_eq!(temporary_files(dir.path()), 0, "what the cut left is swept");
    }
    eprintln!("{acknowledged} changes, {cut_rekeys} rekeyings cut, {leftovers} temporary files left by cuts");
    assert!(acknowledged > 200 && leftovers > 0, "{acknowledged} changes, {leftovers} cut within a write");
}

fn errors(child: std::process::Child) -> String {
    String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr).into_owned()
}

fn temporary_files(dir: &Path) -> usize {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    files.filter(|entry| entry.file_name().to_string_lossy().ends_with(".tmp")).count()
}

#[test]
fn worker_in_a_crowd() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    crowd_member(&dir, std::process::id());
}

/// Ensures what all want and sets what only it has.
fn crowd_member(dir: &Path, id: u32) {
    let vault = open(dir);
    let (secrets, _) =
        vault.ensure(CLIENT, &wanted(&["SHARED_A", "SHARED_B"]), false, &mut rand::rng(), now()).unwrap();
    say(&format!(
        "{} {}",
        secrets.get("SHARED_A").unwrap().reveal(),
        secrets.get("SHARED_B").unwrap().reveal()
    ));
    for count in 0..3 {
        vault
            .set(CLIENT, &format!("OWN_{id}_{count}"), format!("value {count}").as_str().into(), false, now())
            .unwrap();
    }
}

#[test]
fn a_crowd_of_processes_and_threads_agrees_and_loses_nothing() {
    let (dir, vault) = fresh();
    let children: Vec<_> = (0..8).map(|_| start("worker_in_a_crowd", dir.path())).collect();
    let mut ids: Vec<u32> = children.iter().map(std::process::Child::id).collect();
    std::thread::scope(|scope| {
        for id in 0..8 {
            let dir = dir.path();
            scope.spawn(move || crowd_member(dir, id));
        }
    });
    ids.extend(0..8);
    let secrets = vault.read(CLIENT).unwrap();
    let agreed = format!(
        "{} {}",
        secrets.get("SHARED_A").unwrap().reveal(),
        secrets.get("SHARED_B").unwrap().reveal()
    );
    for child in children {
        let output = child.wait_with_output().unwrap();
        let (out, errors) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{errors}");
        let seen = out.lines().find_map(|line| line.strip_prefix('@'));
        assert_eq!(seen, Some(agreed.as_str()), "{out}{errors}");
    }
    let secrets = vault.read(CLIENT).unwrap();
    for id in ids {
        for count in 0..3 {
            assert!(secrets.get(&format!("OWN_{id}_{count}")).is_some(), "OWN_{id}_{count} is lost");
        }
    }
    assert_eq!(secrets.names().count(), 2 + 16 * 3);
}

#[test]
fn the_fleet_key_is_one_that_openssh_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fleet_ed25519");
    fleet::keys::generate(&path, "geoclic", &mut rand::rng()).unwrap();
    let shown = fleet::keys::show(&path).unwrap();
    let text = |args: &[&std::ffi::OsStr]| String::from_utf8(tool("ssh-keygen", args, b"")).unwrap();
    assert_eq!(text(args!["-y", "-f", &path]).trim(), shown.line);
    assert!(text(args!["-l", "-f", &path]).contains(&shown.fingerprint));
    let locked = dir.path().join("locked");
    ssh_key(&locked, "ed25519", "a passphrase");
    assert!(fleet::keys::show(&locked).unwrap_err().to_string().contains("protected by a passphrase"));
}
