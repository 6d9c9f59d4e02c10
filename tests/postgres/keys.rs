//! What is left when a client's secrets are lost here: the key on paper, and the backups.

use crate::town::Town;

#[test]
fn a_client_whose_secrets_are_lost_gets_all_of_them_back_with_the_recovery_key() {
    let town = Town::new(&["ville-lyon"], "");
    let fleet = &town.fleet;
    let stack = fleet.path("stacks/town/stack.toml");
    let text = std::fs::read_to_string(&stack).unwrap();
    std::fs::write(&stack, format!("{text}\n[env.TOKEN]\ngenerate = \"hex:32\"\n")).unwrap();
    fleet.with_input(["secrets", "set", "ville-lyon", "TOKEN"], b"0123456789abcdef0123456789abcdef").ok();
    fleet.say("backup ville-lyon").ok();
    fleet.say("backups recovery-key --out recovery.age").ok();
    let of = |name: &str| fleet.run(["secrets", "show", "ville-lyon", name, "--reveal"]).ok().out;
    let before = (of("TOKEN"), of("FLEET_BACKUP_KEY"));
    let lose = || {
        for entry in std::fs::read_dir(fleet.path("secrets")).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("ville-lyon.") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    };
    lose();
    let refused = fleet.say("backups list ville-lyon");
    assert_eq!(refused.code, 3);
    assert!(refused.err.contains("recovery-key --import"), "{}", refused.all());

    // Without the backups it is not back, and nothing that looks like a beginning is left.
    std::fs::rename(fleet.path("backups"), fleet.path("elsewhere")).unwrap();
    let without = fleet.say("backups recovery-key --import recovery.age");
    assert_eq!(without.code, 3, "{}", without.all());
    assert!(without.err.contains("ville-lyon.age is lost"), "{}", without.all());
    assert!(!fleet.path("secrets/ville-lyon.age").exists());
    std::fs::rename(fleet.path("elsewhere"), fleet.path("backups")).unwrap();

    let done = fleet.say("backups recovery-key --import recovery.age").ok();
    assert!(done.err.contains("secrets/ville-lyon.age is back, from its newest backup"), "{}", done.all());
    assert_eq!((of("TOKEN"), of("FLEET_BACKUP_KEY")), before);
    fleet.say("backup ville-lyon").ok();
    assert_eq!(town.snapshots("ville-lyon").len(), 2);
    // The file alone is gone, and its index is still there.
    std::fs::remove_file(fleet.path("secrets/ville-lyon.age")).unwrap();
    fleet.say("backups recovery-key --import recovery.age").ok();
    assert_eq!((of("TOKEN"), of("FLEET_BACKUP_KEY")), before);
    assert!(
        fleet.say("backups recovery-key --import recovery.age").ok().err.contains("has its key here already")
    );
}
