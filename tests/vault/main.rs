//! The vault on a real disk: what age itself says of the files, what a cut leaves, what many at once leave.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet::secret::{Generator, Secret};
use fleet::vault::{Recipient, Vault, VaultError, init_identity};
use jiff::Timestamp;

/// Words of a command line, of any kind.
macro_rules! args {
    ($($arg:expr),* $(,)?) => { &[$(std::ffi::OsStr::new($arg)),*] };
}

mod cuts;
mod people;

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

fn ssh_key(path: &Path, kind: &str, passphrase: &str) -> String {
    tool("ssh-keygen", args!["-q", "-t", kind, "-N", passphrase, "-C", "bob@desk", "-f", path], b"");
    fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

#[test]
fn one_vault_serves_many_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Vault>();
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
