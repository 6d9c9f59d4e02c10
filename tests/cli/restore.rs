//! `restore` and `remove --purge`: what is refused before any host is contacted, and with which exit code.

use super::support::{Fleet, REGISTRY};

#[test]
fn what_cannot_be_restored_is_refused_with_its_remedy() {
    let fleet = Fleet::with_clients();
    for (line, code, said, hint) in [
        ("restore ville-lyon --yes", 3, "ville-lyon has no backup yet", "fleet backup ville-lyon"),
        ("restore ville-lyon --dry-run", 3, "ville-lyon has no backup yet", "fleet backup ville-lyon"),
        ("restore nobody --yes", 3, "nobody", "brest"),
        ("restore ville-* --from brest --yes", 3, "brest is another client than ville-lyon", "--force"),
        ("restore brest --from brest --force --yes", 2, "another client", ""),
        ("restore ville-lyon", 2, "no terminal to confirm it on", "--yes"),
        ("restore ville-lyon --yes --to-new-host --ip 192.0.2.9", 3, "no backup yet", ""),
    ] {
        let done = fleet.say(line);
        assert_eq!(done.code, code, "{line}: {}", done.err);
        assert!(done.err.contains(said) && done.err.contains(hint), "{line}: {}", done.err);
        assert_eq!(done.out, "", "{line}");
    }
    let done = fleet.run(["restore", "brest", "--no-safety-snapshot", " ", "--yes"]);
    assert!(done.code == 2 && done.err.contains("must say why"), "{}", done.err);
    for line in [
        "restore ville-lyon --database --files --yes",
        "restore ville-lyon --ip 192.0.2.9 --yes",
        "restore ville-lyon --to-new-host --from brest --yes",
        "restore ville-lyon --to-new-host --new-host-key --dry-run",
        "restore --yes",
        "remove brest --no-final-backup --yes",
    ] {
        assert_eq!(fleet.say(line).code, 2, "{line}");
    }
    assert_eq!(std::fs::read_to_string(fleet.path("clients.toml")).unwrap(), REGISTRY);
}

#[test]
fn a_purge_that_nobody_confirms_or_that_reaches_no_host_takes_no_client_out() {
    let fleet = Fleet::with_clients();
    let done = fleet.say("remove brest --purge");
    assert!(done.code == 2 && done.err.contains("remove --purge changes clients"), "{}", done.err);
    assert_eq!(std::fs::read_to_string(fleet.path("clients.toml")).unwrap(), REGISTRY);
}
