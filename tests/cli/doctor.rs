//! `fleet doctor` finds what is really wrong on this machine, and what a host really says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::sshd::{self, Sshd};
use super::support::{Done, Fleet};

/// What was found, one line each: severity, client, what.
fn found(done: &Done) -> Vec<String> {
    let line = |one: serde_json::Value| {
        assert_eq!(one["schema"], "fleet.doctor/1");
        assert!(!one["remedy"].as_str().unwrap().is_empty(), "a finding has its remedy: {one}");
        format!(
            "{} {}: {}",
            one["severity"].as_str().unwrap(),
            one["client"].as_str().unwrap_or("-"),
            one["what"].as_str().unwrap()
        )
    };
    done.json().into_iter().map(line).collect()
}

fn local(fleet: &Fleet) -> Done {
    fleet.run(["doctor", "--local", "--json"])
}

fn second_reader(fleet: &Fleet) {
    let key = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    fleet.run(["secrets", "recipients", "add", key, "--comment", "safe"]).ok();
}

#[test]
fn a_fleet_without_fault_has_no_finding() {
    let fleet = Fleet::with_clients();
    second_reader(&fleet);
    fleet.edit(
        "user = \"ubuntu\"\nsentry = { dsn = \"https://poisonkey7Q2x@o1.ingest.sentry.io/42\" }",
        "user = \"ubuntu\"",
    );
    let done = local(&fleet).ok();
    assert_eq!(found(&done), [""; 0], "{}", done.all());
    let done = fleet.say("doctor --local").ok();
    assert_eq!(done.err, "0 errors, 0 warnings in 2 clients\n");
}

#[test]
fn keys_that_others_read_or_git_knows_are_found() {
    let fleet = Fleet::with_clients();
    let mode =
        |name: &str, mode| fs::set_permissions(fleet.path(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("keys/fleet_ed25519", 0o644);
    mode(".fleet/identity.txt", 0o640);
    for words in [&["init", "-q"][..], &["add", "-f", "keys/fleet_ed25519"]] {
        assert!(Command::new("git").arg("-C").arg(fleet.dir()).args(words).status().unwrap().success());
    }
    let done = local(&fleet);
    assert_eq!(done.code, 3, "{}", done.all());
    let found = found(&done);
    for words in [
        "error -: keys/fleet_ed25519 has mode 0644: others on this machine may read it",
        "error -: keys/fleet_ed25519 is committed to git",
        "error -: .fleet/identity.txt has mode 0640: others on this machine may read it",
        "warning -: one key alone reads the secrets",
        "warning brest: has a Sentry DSN, and stack tiny has no place for one",
    ] {
        assert!(found.iter().any(|line| line == words), "{words}\n{}", found.join("\n"));
    }
    let shown = fleet.say("doctor --local");
    assert!(shown.out.contains("  do: chmod 600 keys/fleet_ed25519"), "{}", shown.all());
}

#[test]
fn a_stack_secrets_and_channels_that_do_not_work_are_found_before_anyone_needs_them() {
    let fleet = Fleet::with_clients();
    second_reader(&fleet);
    fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"Poison-smtp-7Q2xK9").ok();
    fleet.write("secrets/brest.age", "no age file");
    let registry = fleet.read("clients.toml");
    fleet.write(
        "clients.toml",
        format!("{registry}update_window = \"22:00-05:00 Europe/Lyon\"\n[notify.team]\nkind = \"slack\"\nurl = {{ secret = \"SLACK_URL\" }}\n"),
    );
    fleet.edit("ip = \"192.0.2.1\"", "ip = \"192.0.2.1\"\nenv = { NO_SUCH = \"x\" }");
    let done = local(&fleet);
    assert_eq!(done.code, 3, "{}", done.all());
    let text = found(&done).join("\n");
    for words in [
        "error brest: ",
        "NO_SUCH",
        "time zone Europe/Lyon is not known here",
        "channel team cannot be used: its secret SLACK_URL is not set",
    ] {
        assert!(text.contains(words), "{words}\n{text}");
    }
    assert!(!done.all().contains("Poison"), "{}", done.all());
}

#[test]
fn a_host_is_asked_with_the_rights_that_there_are() {
    let host = Sshd::with("");
    let fleet = Fleet::with_clients();
    second_reader(&fleet);
    fs::copy(fleet.path("keys/fleet_ed25519.pub"), host.path("authorized_keys")).unwrap();
    let there = format!("ip = \"{}\"\nport = {}\nuser = \"{}\"", host.host, host.port, sshd::user());
    fleet.edit("ip = \"192.0.2.2\"", &there);
    fleet.edit("name = \"tests\"", "name = \"tests\"\nconnect_timeout = \"1s\"");
    let done = fleet.run(["doctor", "brest", "--json"]);
    assert_eq!(done.code, 1, "{}", done.all());
    let text = found(&done).join("\n");
    assert!(text.contains("error brest: brest.example.fr is not found in DNS"), "{text}");
    assert!(!text.contains("does not answer from here"), "ports of 127.0.0.0/8 answer: {text}");
    // Nobody answers: the finding of the connection has its remedy, and the exit code says so.
    let done = fleet.run(["doctor", "ville-lyon", "--json"]);
    assert_eq!(done.code, 4, "{}", done.all());
    let reach = |one: &serde_json::Value| one["area"] == "reach" && one["client"] == "ville-lyon";
    assert!(done.json().iter().any(reach), "{}", done.all());
}
