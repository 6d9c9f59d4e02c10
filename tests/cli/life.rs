//! From nothing to a fleet with clients and back.

use std::fs;

use super::support::{Fleet, REGISTRY, mode};

#[test]
fn init_makes_a_whole_fleet_directory() {
    let fleet = Fleet::empty();
    let done = fleet.run(["init", "--name", "geoclic"]).ok();
    insta::assert_snapshot!(fingerprints(&done.out), @"
    made  clients.toml  the registry: fleet settings, defaults, one table per client
    made  .gitignore  keeps private keys and local state out of git
    made  keys/fleet_ed25519  the fleet's SSH key, SHA256:...
    made  .fleet/identity.txt  the age identity that reads every client's secrets: keep a copy offline
    made  secrets/recipients.txt  public keys of those who can read the secrets
    ");
    for (path, expected) in [
        ("keys/fleet_ed25519", 0o600),
        ("keys/fleet_ed25519.pub", 0o644),
        ("keys", 0o700),
        (".fleet", 0o700),
        (".fleet/identity.txt", 0o600),
        ("secrets/recipients.txt", 0o644),
        ("clients.toml", 0o644),
    ] {
        assert_eq!(mode(&fleet.path(path)), expected, "{path}");
    }
    insta::assert_snapshot!(fleet.read(".gitignore"), @"
    # Private keys and local state of fleet: never commit them.
    /.fleet/
    /keys/*
    !/keys/*.pub
    .*.tmp
    ");
    let key = fleet.read("keys/fleet_ed25519.pub");
    assert!(done.err.contains(key.trim()), "the next steps name the key: {}", done.err);
    assert_eq!(fleet.run(["list"]).ok().err, "clients.toml has no client yet; add one with `fleet add`\n");
}

#[test]
fn init_again_changes_nothing() {
    let fleet = Fleet::empty();
    fleet.run(["init"]).ok();
    fleet.write("clients.toml", format!("{}\n# mine\n", fleet.read("clients.toml")));
    fleet.write(".gitignore", format!("{}/mine\n", fleet.read(".gitignore")));
    let files =
        ["clients.toml", ".gitignore", "keys/fleet_ed25519", ".fleet/identity.txt", "secrets/recipients.txt"];
    let before: Vec<String> = files.iter().map(|file| fleet.read(file)).collect();
    let again = fleet.run(["init", "--name", "other"]).ok();
    assert!(again.out.lines().all(|line| line.starts_with("there ")), "{}", again.out);
    for (file, before) in files.iter().zip(before) {
        assert_eq!(fleet.read(file), before, "{file}");
    }
}

#[test]
fn init_mends_what_is_missing_and_keeps_the_rest() {
    let fleet = Fleet::empty();
    fleet.write("clients.toml", REGISTRY);
    fleet.write(".gitignore", "*.log");
    let parts = fleet.run(["init", "--json"]).ok().json().remove(0);
    assert_eq!(parts["fleet"], "tests");
    let made: Vec<bool> =
        parts["parts"].as_array().unwrap().iter().map(|part| part["made"] == true).collect();
    assert_eq!(made, [false, true, true, true, true]);
    assert_eq!(fleet.read("clients.toml"), REGISTRY);
    assert!(fleet.read(".gitignore").starts_with("*.log\n# Private keys"));
    fs::remove_file(fleet.path("keys/fleet_ed25519.pub")).unwrap();
    fleet.run(["ssh-key"]).ok();
}

#[test]
fn git_sees_no_private_key() {
    let fleet = Fleet::empty();
    fleet.run(["init"]).ok();
    let git = |words: &[&str]| {
        let output = std::process::Command::new("git").args(words).current_dir(fleet.dir()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    git(&["init", "-q"]);
    let seen = git(&["status", "--porcelain", "--untracked-files=all"]);
    assert!(seen.contains("keys/fleet_ed25519.pub") && seen.contains("secrets/recipients.txt"), "{seen}");
    assert!(!seen.contains("keys/fleet_ed25519\n") && !seen.contains("identity"), "{seen}");
}

#[test]
fn a_client_comes_and_goes() {
    let fleet = Fleet::with_clients();
    let add = "add nantes --domain nantes.example.fr --host vps12.example.net --user debian --port 2222 --tags prod,west";
    let shown = fleet.say(&format!("{add} --dry-run")).ok();
    insta::assert_snapshot!(shown.out, @r#"
    [clients.nantes]
    domain = "nantes.example.fr"
    host = "vps12.example.net"
    port = 2222
    user = "debian"
    tags = ["prod", "west"]
    "#);
    assert_eq!(fleet.read("clients.toml"), REGISTRY, "a dry run writes nothing");
    let added = fleet.say(add).ok();
    insta::assert_snapshot!(added.err, @"
    added nantes to clients.toml
    next: fleet test-ssh nantes, then fleet provision nantes
    ");
    assert_eq!(fleet.read("clients.toml"), format!("{REGISTRY}\n{}", shown.out));
    assert_eq!(fleet.say("show nantes --json").ok().json()[0]["address"], "vps12.example.net");
    let removed = fleet.say("remove nantes --yes").ok();
    insta::assert_snapshot!(removed.err, @"removed nantes; its server vps12.example.net goes on running as it is");
    assert_eq!(fleet.read("clients.toml").trim_end(), REGISTRY.trim_end());
}

#[test]
fn remove_leaves_secrets_and_asks_first() {
    let fleet = Fleet::with_clients();
    fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2\n").ok();
    assert_eq!(fleet.say("remove brest").code, 2);
    assert_eq!(fleet.read("clients.toml"), REGISTRY);
    assert!(fleet.say("remove brest --dry-run").ok().err.contains("would remove brest"));
    let removed = fleet.say("remove brest --yes --json").ok();
    assert!(removed.json()[0]["secrets"].as_str().unwrap().ends_with("secrets/brest.age"));
    assert!(fleet.path("secrets/brest.age").is_file());
    assert_eq!(fleet.say("remove brest --yes").code, 3);
    fleet.say("add brest --domain brest.example.fr --ip 192.0.2.2").ok();
    assert!(fleet.say("secrets show brest SMTP_PASSWORD --reveal").ok().out == "aB3-xY9-kL2\n");
}

#[test]
fn many_adds_at_once_lose_nothing() {
    let fleet = Fleet::with_clients();
    let names: Vec<String> = (0..8).map(|number| format!("c{number}")).collect();
    let children: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let (domain, ip) = (format!("{name}.example.fr"), format!("192.0.2.{}", 100 + number));
            fleet.command(["add", name, "--domain", &domain, "--ip", &ip]).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let listed = fleet.run(["list", "--json"]).ok().json();
    assert_eq!(listed.len(), 10);
    for name in &names {
        assert!(listed.iter().any(|client| client["name"] == name.as_str()), "{name} is lost");
    }
    assert!(fleet.read("clients.toml").starts_with(REGISTRY), "comments and order stay");
}

#[test]
fn the_same_client_added_at_once_is_added_once() {
    let fleet = Fleet::with_clients();
    let children: Vec<_> = (0..8)
        .map(|number| {
            let (domain, ip) = (format!("d{number}.example.fr"), format!("192.0.2.{}", 100 + number));
            fleet.command(["add", "same", "--domain", &domain, "--ip", &ip]).spawn().unwrap()
        })
        .collect();
    let codes: Vec<i32> =
        children.into_iter().map(|mut child| child.wait().unwrap().code().unwrap()).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 3).count(), 7, "{codes:?}");
    assert_eq!(fleet.run(["list", "--json"]).ok().json().len(), 3);
}

#[test]
fn the_fleets_key_is_shown_and_never_overwritten() {
    let fleet = Fleet::with_clients();
    let line = fleet.read("keys/fleet_ed25519.pub");
    assert_eq!(fleet.run(["ssh-key"]).ok().out, line);
    assert_eq!(fleet.run(["ssh-key", "show", "--json"]).ok().json()[0]["public"], line.trim());
    assert_eq!(fleet.run(["ssh-key", "path"]).ok().out, "./keys/fleet_ed25519\n");
    assert_eq!(fleet.run(["ssh-key", "generate"]).code, 3);
    fs::remove_dir_all(fleet.path("keys")).unwrap();
    assert_eq!(fleet.run(["ssh-key"]).code, 3);
    fleet.run(["ssh-key", "generate"]).ok();
    assert_eq!(mode(&fleet.path("keys/fleet_ed25519")), 0o600);
    assert_ne!(fleet.read("keys/fleet_ed25519.pub"), line);
}

fn fingerprints(text: &str) -> String {
    text.lines()
        .map(|line| {
            line.split("SHA256:").next().unwrap_or_default().to_owned()
                + if line.contains("SHA256:") { "SHA256:...\n" } else { "\n" }
        })
        .collect()
}
