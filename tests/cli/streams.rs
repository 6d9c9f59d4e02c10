//! Standard output is data, standard error is talk, and a reader may go away.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use super::support::Fleet;

fn big() -> Fleet {
    let fleet = Fleet::empty();
    let mut text = "[fleet]\nname = \"big\"\nstack = \"geoclic\"\n".to_owned();
    for number in 0..3000 {
        let (high, low) = (number / 200, number % 200 + 1);
        text.push_str(&format!(
            "[clients.c{number}]\ndomain = \"c{number}.example.fr\"\nip = \"203.0.{high}.{low}\"\n"
        ));
    }
    fleet.write("clients.toml", text);
    fleet
}

#[test]
fn a_reader_that_goes_away_is_a_quiet_end() {
    let fleet = big();
    for words in [&["list"][..], &["list", "--json"], &["show", "--all"], &["completions", "zsh"], &["man"]] {
        let mut child = fleet
            .command(words.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        drop(reader);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!((child.wait().unwrap().code(), said.as_str()), (Some(0), ""), "{words:?}");
        assert!(!line.is_empty());
    }
}

#[test]
fn a_full_disk_is_told() {
    let fleet = big();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = fleet.command(["list", "--json"]).stdout(full).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
}

#[test]
fn everything_that_says_json_is_json() {
    let fleet = Fleet::with_clients();
    fleet.with_input(["secrets", "set", "brest", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    for line in [
        "init --json",
        "list --json",
        "show --all --json",
        "add x --domain x.example.fr --ip 192.0.2.9 --dry-run --json",
        "add x --domain x.example.fr --ip 192.0.2.9 --json",
        "remove x --yes --json",
        "render brest --json",
        "render brest --out out --json",
        "secrets list --json",
        "secrets show brest --json",
        "secrets recipients --json",
        "secrets rekey --json",
        "secrets unset brest SMTP_PASSWORD --yes --json",
        "ssh-key --json",
        "ssh-key path --json",
    ] {
        let records = fleet.say(line).ok().json();
        assert!(!records.is_empty(), "{line} says nothing");
        for record in records {
            let schema = record["schema"].as_str().unwrap_or_default();
            assert!(schema.starts_with("fleet.") && schema.contains('/'), "{line}: {record}");
        }
    }
}

#[test]
fn errors_are_json_too_where_it_is_asked_for() {
    let fleet = Fleet::with_clients();
    for line in ["show nobody --json", "render brest nothing --json", "secrets show brest --json"] {
        let done = fleet.say(line);
        assert_eq!(done.code, 3);
        assert_eq!(done.json()[0]["schema"], "fleet.error/1", "{line}");
    }
    fleet.edit("192.0.2.2", "brest");
    let record = fleet.say("list --json").json().remove(0);
    assert_eq!(
        (&record["diagnostics"][0]["line"], &record["diagnostics"][0]["column"]),
        (&18.into(), &6.into())
    );
}

#[test]
fn a_registry_that_is_held_is_waited_for_and_then_told() {
    let fleet = Fleet::with_clients();
    std::fs::create_dir_all(fleet.path(".fleet/locks")).unwrap();
    let lock = std::fs::File::create(fleet.path(".fleet/locks/registry.lock")).unwrap();
    lock.lock().unwrap();
    let mut child =
        fleet.command(["add", "x", "--domain", "x.example.fr", "--ip", "192.0.2.9"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "it waits");
    lock.unlock().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fleet.run(["list", "--json"]).ok().json().len(), 3);
}

/// Two clients whose address answers, and whose port does not.
fn nobody_home() -> Fleet {
    let fleet = Fleet::with_clients();
    fleet.edit("ip = \"192.0.2.1\"", "ip = \"127.0.0.1\"\nport = 1");
    fleet.edit("ip = \"192.0.2.2\"", "ip = \"127.0.0.2\"\nport = 1");
    fleet
}

#[test]
fn hosts_that_do_not_answer_are_told_one_by_one() {
    let fleet = nobody_home();
    for line in
        ["test-ssh --all", "status", "logs --all", "provision --all --dry-run", "update --all --dry-run"]
    {
        let done = fleet.say(line);
        assert_eq!(done.code, 4, "{line}: {}", done.all());
        let said = format!("{}{}", done.out, done.err);
        assert!(said.contains("ville-lyon") && said.contains("brest"), "{line}: {said}");
        assert!(said.contains("refuses the connection"), "{line}: {said}");
        let done = fleet.say(&format!("{line} --json"));
        assert_eq!(done.code, 4, "{line}");
        done.json();
    }
    let done = fleet.say("provision --all --yes --json");
    assert_eq!(done.code, 4);
    let events = done.json();
    let finished = events.iter().filter(|event| event["type"] == "host-finished").count();
    assert_eq!((finished, &events[events.len() - 1]["type"]), (2, &"run-finished".into()), "{}", done.out);
}

#[test]
fn provision_adds_the_client_it_is_given_and_goes_on_after_a_cut() {
    let fleet = Fleet::with_clients();
    let line = "provision --name x --domain x.example.fr --ip 127.0.0.3 --port 1 --tags new";
    let before = fleet.read("clients.toml");
    assert_eq!(fleet.say(&format!("{line} --dry-run")).code, 4);
    assert_eq!(fleet.say(line).code, 2, "nobody can confirm");
    assert_eq!(fleet.read("clients.toml"), before);
    assert_eq!(fleet.say(&format!("{line} --yes")).code, 4);
    let added = fleet.read("clients.toml");
    assert!(added.starts_with(&before) && added.contains("[clients.x]"), "{added}");
    assert_eq!(fleet.say(&format!("{line} --yes")).code, 4, "the same again goes on");
    assert_eq!(fleet.read("clients.toml"), added);
}
