//! Who can read: recipients, and giving and taking access.

use std::collections::BTreeMap;
use std::fs;

use fleet::vault::{Vault, VaultError, init_identity};

use super::{CLIENT, ensure, fresh, now, sealed, tool, value, wanted};

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
