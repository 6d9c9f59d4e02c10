//! `fleet sentry` against servers that are really there: Bugsink for what goes in and comes out, a stub of Sentry's
//! API, read by Sentry's own client too, for what Bugsink does not have.

mod bugsink;
mod stub;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bugsink::Bugsink;
use serde_json::{Value, json};
use stub::{Stub, TOKEN};

use super::notify::receivers::unused_port;
use super::support::{Done, Fleet};

/// The fleet of the tests without a DSN, and with this server.
fn fleet(url: &str) -> Fleet {
    let fleet = Fleet::with_clients();
    fleet.edit("sentry = { dsn = \"https://poisonkey7Q2x@o1.ingest.sentry.io/42\" }\n", "");
    fleet.edit(
        "[defaults]",
        &format!("connect_timeout = \"1s\"\n\n[fleet.sentry]\nurl = \"{url}\"\ntoken = {{ secret = \"TOKEN\" }}\n\n[defaults]"),
    );
    fleet
}

fn give_token(fleet: &Fleet, token: &str) {
    fleet.with_input(["secrets", "set", "--fleet", "TOKEN"], token.as_bytes()).ok();
}

/// Nothing of these is in what was shown.
fn shows_none(done: &Done, secrets: &[&str]) {
    for secret in secrets {
        assert!(!done.all().contains(secret), "{secret} is shown:\n{}", done.all());
    }
}

#[test]
fn a_real_server_is_set_up_takes_events_apart_by_environment_and_gives_them_back() {
    let server = Bugsink::start_at("127.0.0.1");
    let fleet = fleet(&server.url());
    fleet.write("clients.toml", fleet.read("clients.toml") + "\n[clients.arles]\ndomain = \"arles.example.fr\"\nip = \"192.0.2.3\"\nsentry = { environment = \"town-of-arles\" }\n");

    // The project and the token.
    let seen = fleet.say("sentry setup production --project town-halls --dry-run");
    assert_eq!(seen.code, 3, "there is no token yet: {}", seen.all());
    assert!(seen.err.contains("fleet secrets set --fleet TOKEN"), "{}", seen.all());
    give_token(&fleet, &server.token);
    let seen = fleet.say("sentry setup production --project town-halls --dry-run").ok();
    assert!(seen.out.contains("has no project town-halls"), "{}", seen.all());
    let words = ["sentry", "setup", "production", "--project", "town-halls", "--token-from", "-"];
    let made = fleet.with_input(words, server.token.as_bytes()).ok();
    assert!(
        made.err.contains("made project town-halls") && made.err.contains("+ [sentry.production]"),
        "{}",
        made.all()
    );
    let again = fleet.say("sentry setup production").ok();
    assert!(
        again.err.contains("found project town-halls") && again.err.contains("has it already"),
        "{}",
        again.all()
    );
    let printed = fleet.say("sentry setup production --print").ok().out.trim().to_owned();
    let key = printed.split_once("://").unwrap().1.split_once('@').unwrap().0.to_owned();
    assert!(
        fleet.read("clients.toml").contains(&format!("dsn = \"{printed}\"")),
        "{}",
        fleet.read("clients.toml")
    );
    let project: u64 = printed.rsplit('/').next().unwrap().parse().unwrap();
    let secrets = [key.as_str(), &server.token];
    for done in [&seen, &made, &again] {
        shows_none(done, &secrets);
    }
    assert_eq!(fleet.files_with(&server.token), [""; 0], "the token is in no file in clear");
    assert_eq!(fleet.files_with(&key), ["clients.toml"]);

    // One DSN, three clients, three environments.
    fleet.edit("user = \"ubuntu\"", "user = \"ubuntu\"\nsentry = { use = \"production\" }");
    let tested = fleet.say("sentry test --all --json").ok();
    shows_none(&tested, &secrets);
    let records = tested.json();
    assert_eq!(records.len(), 3);
    let mut wanted = Vec::new();
    for (record, environment) in records.iter().zip(["ville-lyon", "brest", "town-of-arles"]) {
        assert_eq!(record["environment"], environment);
        assert_eq!(
            (&record["ok"], &record["read_back"], &record["way"]),
            (&json!(true), &json!(true), &json!("direct"))
        );
        wanted.push((environment.to_owned(), record["event"].as_str().unwrap().to_owned()));
    }
    wanted.sort();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let at = |event: &Value| event["timestamp"].as_f64().unwrap();
    let mut there: Vec<_> = server
        .events(project)
        .iter()
        .map(|data| (word(&data["environment"]), word(&data["event_id"]).replace('-', "")))
        .collect();
    there.sort();
    assert_eq!(there, wanted, "filtered by environment, each client's event is there and no other");
    let said = fleet.say("sentry test brest").ok();
    assert!(said.out.contains("accepted by") && said.out.contains("in environment brest"), "{}", said.all());

    // Each client's last event is its own; no host answers here, and that is the exit code.
    let status = fleet.say("sentry status --json");
    assert_eq!(status.code, 4, "{}", status.all());
    for (record, client) in status.json().iter().zip(["ville-lyon", "brest", "arles"]) {
        let environment = record["configured"]["environment"].as_str().unwrap();
        assert_eq!((&record["client"], &record["server"]["project"]), (&json!(client), &json!("town-halls")));
        let newest = server.events(project).into_iter().filter(|data| data["environment"] == environment);
        let newest = newest.max_by(|a, b| at(a).total_cmp(&at(b))).unwrap();
        assert_eq!(record["server"]["last"]["id"], word(&newest["event_id"]).replace('-', ""), "{record:#}");
    }
    shows_none(&status, &secrets);

    // What is wrong is told by the server, and with words of its own.
    let other = printed.replace(&key, "0123456789abcdef0123456789abcdef");
    let set =
        fleet.with_input(["sentry", "set", "brest", "--dsn-from", "-", "--no-apply"], other.as_bytes()).ok();
    assert!(set.err.contains("***@") && !set.err.contains("0123456789abcdef"), "{}", set.all());
    let refused = fleet.say("sentry test brest");
    assert_eq!(refused.code, 1);
    assert!(refused.out.contains("does not accept the key of the DSN"), "{}", refused.all());
    assert!(fleet.say("sentry status brest").all().contains("has no such key as the DSN has"));
    fleet.edit(&other, &printed.replace(&format!("/{project}"), "/987654"));
    let refused = fleet.say("sentry test brest");
    assert!(refused.code == 1 && refused.out.contains("does not accept the key"), "{}", refused.all());
    give_token(&fleet, "f00dc0de7Q2xK9f00dc0de7Q2xK9f00dc0de7Q2x");
    let refused = fleet.say("sentry test ville-lyon");
    assert_eq!(refused.code, 1);
    assert!(
        refused.out.contains("accepted by") && refused.out.contains("does not accept the token"),
        "{}",
        refused.all()
    );
    shows_none(&refused, &["f00dc0de7Q2xK9"]);
}

/// A fleet with a project of the stub's that two clients use.
fn with_project(server: &Stub) -> Fleet {
    let fleet = fleet(&server.url());
    give_token(&fleet, TOKEN);
    fleet.say("sentry setup production --org geoclic --project geoclic-api").ok();
    fleet.edit("user = \"ubuntu\"", "user = \"ubuntu\"\nsentry = { use = \"production\" }");
    server.asked();
    fleet
}

#[test]
fn a_project_and_a_key_are_found_or_made_as_sentry_has_them() {
    let server = Stub::start(&["ops", "web"]);
    let fleet = fleet(&server.url());
    give_token(&fleet, TOKEN);
    let unsure = fleet.say("sentry setup production --org geoclic --project geoclic-api");
    assert_eq!(unsure.code, 3);
    assert!(
        unsure.err.contains("there are 2") && unsure.err.contains("--team ops, --team web"),
        "{}",
        unsure.all()
    );
    let unsure = fleet.say("sentry setup production --project geoclic-api");
    assert!(unsure.code == 3 && unsure.err.contains("--org"), "{}", unsure.all());
    server.asked();
    let made = fleet.say("sentry setup production --org geoclic --project geoclic-api --team ops").ok();
    assert!(server.asked().contains(&"POST /api/0/teams/geoclic/ops/projects/".to_owned()));
    shows_none(&made, &["5717c0de", TOKEN]);
    let registry = fleet.read("clients.toml");
    assert!(
        registry.contains("[sentry.production]\n") && registry.contains("org = \"geoclic\""),
        "{registry}"
    );
    fleet.say("sentry setup production").ok();
    assert_eq!(fleet.read("clients.toml"), registry, "a second run changes nothing");
    assert!(server.asked().iter().all(|line| !line.starts_with("POST")), "nor on the server");
    // A project whose keys are all off gets one of its own.
    server.keys_active(false);
    let made = fleet.say("sentry setup production").ok();
    assert!(made.err.contains("made a key of project geoclic-api"), "{}", made.all());
    assert!(fleet.read("clients.toml").contains("feedc0de@"));
}

#[test]
fn sentrys_own_client_reads_the_stub_as_fleet_does() {
    let server = Stub::start(&["ops"]);
    let fleet = with_project(&server);
    fleet.say("sentry test --all").ok();
    let status = fleet.say("sentry status --json");
    let last = |client: &str| {
        let all = status.json();
        let found = all.iter().find(|one| one["client"] == client).unwrap().clone();
        found["server"]["last"]["id"].as_str().unwrap().to_owned()
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/sentry-cli/bin/sentry-cli");
    assert!(program.exists(), "{} is missing: scripts/test.sh installs it", program.display());
    let cli = |words: &[&str]| {
        let output = Command::new(&program)
            .args(["--url", &server.url(), "--auth-token", TOKEN])
            .args(words)
            .env_clear()
            .env("HOME", fleet.dir())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{words:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    };
    let projects = cli(&["projects", "list", "--org", "geoclic"]);
    assert!(projects.contains("geoclic-api"), "{projects}");
    let events = cli(&["events", "list", "--org", "geoclic", "--project", "geoclic-api", "--show-tags"]);
    for client in ["ville-lyon", "brest"] {
        // A number with dashes in it, then a tag a line.
        let mut lines = events.lines().skip_while(|line| !line.replace('-', "").contains(&last(client)));
        let tags = lines.next().into_iter().chain(lines.next()).collect::<String>();
        assert!(tags.contains(&format!("environment: {client}")), "{client} in {events}");
    }
}

#[test]
fn what_a_server_refuses_is_told_with_what_to_do_and_in_time() {
    let server = Stub::start(&["ops"]);
    let fleet = with_project(&server);
    let shown = |line: &str| {
        let done = fleet.say(line);
        shows_none(&done, &[TOKEN, "5717c0de", "\u{1b}"]);
        assert_eq!(done.code, 1, "{}", done.all());
        done.all()
    };
    let big = "x".repeat(9 << 20);
    for (status, headers, body, words) in [
        (403, "", r#"{"detail":"You do not have permission"}"#, "it needs the scope project:read"),
        (404, "", r#"{"detail":"nothing"}"#, "check `org` and `project`"),
        (302, "location: https://elsewhere.example/\r\n", "", "leads to another address"),
        (500, "", "<html>\u{1b}[2J", "a fault of its own"),
        (200, "", "<html>hello", "not what Sentry answers"),
        (200, "", r#"{"a":1}"#, "not what Sentry answers"),
        (200, "", big.as_str(), "more than"),
        (429, "retry-after: 3600\r\n", "{}", "run it again in 3600 s"),
        (429, "x-sentry-rate-limits: 900:error:key, 1800::organization\r\n", "{}", "run it again in 1800 s"),
    ] {
        server.odd("/api/0/projects/", status, headers, body, 99);
        let started = Instant::now();
        let all = shown("sentry test brest");
        assert!(all.contains("accepted by") && all.contains(words), "{words}: {all}");
        assert!(started.elapsed() < Duration::from_secs(10), "{words}: {:?}", started.elapsed());
    }
    // A short pause is kept, and told.
    server.odd("/api/0/projects/", 429, "retry-after: 1\r\n", "{}", 2);
    let started = Instant::now();
    let done = fleet.say("sentry test brest").ok();
    assert!(done.err.contains("wants to be left alone for 1 s"), "{}", done.all());
    assert!(started.elapsed() >= Duration::from_secs(2) && done.out.contains("read back"), "{}", done.all());
    // The door for events has words of its own.
    for (status, headers, words) in [
        (403, "", "does not accept the key"),
        (404, "", "has no project 40"),
        (429, "", "takes nothing for 60 s"),
        (429, "x-sentry-rate-limits: 90:error:organization\r\n", "takes nothing for 90 s"),
        (200, "x-sentry-rate-limits: 120:error:organization\r\n", "takes no more for 120 s"),
        (413, "", "answers 413"),
    ] {
        server.odd("/envelope/", status, headers, "{}", 9);
        let all = shown("sentry test brest");
        assert!(all.contains(words), "{words}: {all}");
    }
    server.odd("/nothing", 200, "", "", 0);
    server.keys_active(false);
    assert!(shown("sentry test brest").contains("does not accept the key"));
    assert!(fleet.say("sentry status brest").all().contains("is switched off in project geoclic-api"));
    // Nobody there at all.
    fleet.edit(&server.url(), &format!("http://127.0.0.1:{}", unused_port()));
    let done = fleet.say("sentry status brest");
    assert!(done.err.contains("the connection is refused"), "{}", done.all());
}

#[test]
fn clients_toml_is_edited_as_it_stands_and_refused_before_it_is_wrong() {
    let fleet = Fleet::with_clients();
    fleet.edit(
        "[defaults]",
        "[sentry.staging]\ndsn = \"https://poisonstaging@sentry.example.fr/7\"\n\n[defaults]",
    );
    let before = fleet.read("clients.toml");
    let lyon = "# The first.\n[clients.ville-lyon]";
    assert!(before.contains(lyon));
    let set = fleet.say("sentry set ville-lyon --environment lyon --traces-rate 0.5 --no-apply").ok();
    assert!(set.err.contains("+ sentry = { environment = \"lyon\", traces_rate = 0.5 }"), "{}", set.all());
    assert!(set.err.contains("`fleet update ville-lyon` brings it to the hosts"), "{}", set.all());
    let same = fleet.say("sentry set ville-lyon --environment lyon --no-apply").ok();
    assert!(same.err.contains("says so already"), "{}", same.all());
    fleet.say("sentry disable ville-lyon --no-apply").ok();
    let off = fleet.say("show ville-lyon --json").ok().json().remove(0);
    assert_eq!((&off["sentry"]["dsn"], &off["sentry"]["enabled"]), (&Value::Null, &json!(false)));
    let refused = fleet.say("sentry test ville-lyon --direct");
    assert_eq!(refused.code, 3);
    assert!(
        refused.err.contains("ville-lyon is disabled") && refused.err.contains("fleet sentry enable"),
        "{}",
        refused.all()
    );
    fleet.say("sentry enable ville-lyon --no-apply").ok();
    let on = fleet.say("show ville-lyon --json").ok().json().remove(0);
    assert_eq!(
        (&on["sentry"]["dsn"], &on["sentry"]["environment"]),
        (&json!("https://***@o1.ingest.sentry.io/42"), &json!("lyon"))
    );
    fleet.say("sentry set ville-lyon --use staging --no-apply").ok();
    let shown = fleet.say("show ville-lyon").ok();
    assert!(
        shown.out.contains("https://***@sentry.example.fr/7") && shown.out.contains("[sentry.staging]"),
        "{}",
        shown.all()
    );
    let after = fleet.read("clients.toml");
    assert!(after.contains(lyon) && after.starts_with("# The fleet of the tests."), "comments stay: {after}");

    // dsn = "" of former days is undone too.
    fleet.edit("[clients.brest]", "[clients.brest]\nsentry = { dsn = \"\" }");
    fleet.say("sentry enable brest --no-apply").ok();
    assert!(!fleet.read("clients.toml").contains("dsn = \"\""));
    fleet.say("sentry set brest --dsn https://k@o1.ingest.sentry.io/43 --no-apply").ok();
    assert!(fleet.read("clients.toml").contains("dsn = \"https://k@o1.ingest.sentry.io/43\""));

    let kept = fleet.read("clients.toml");
    let refuse = |words: &[&str], input: &str, code: i32, text: &str| {
        let done = fleet.with_input(words.iter().copied(), input.as_bytes());
        assert_eq!(done.code, code, "{words:?}: {}", done.all());
        assert!(done.err.contains(text), "{words:?}: {}", done.all());
        assert_eq!(fleet.read("clients.toml"), kept, "{words:?}: nothing is written");
        shows_none(&done, &["poison"]);
    };
    let set = ["sentry", "set", "brest"];
    let with = |more: &[&'static str]| [&set[..], more].concat();
    refuse(&with(&["--dsn", "https://poison1@x.fr/seven"]), "", 2, "does not end in a project number");
    refuse(&with(&["--dsn", "https://k@x.fr/1", "--dsn-from", "-"]), "", 2, "cannot be used with");
    refuse(&with(&["--dsn-from", "-"]), "https://poison2@x.fr/seven", 3, "does not end in a project number");
    refuse(&with(&["--dsn-from", "-"]), "https://k:poison3@x.fr/7", 3, "then revoke that key");
    refuse(&with(&["--dsn-from", "-"]), "", 3, "is empty");
    refuse(&with(&["--use", "stagging"]), "", 3, "did you mean `staging`?");
    refuse(&with(&["--environment", "a/b"]), "", 2, "holds a /");
    refuse(&with(&["--traces-rate", "1.5"]), "", 2, "a number from 0 to 1");
    refuse(&with(&[]), "", 2, "nothing to set was given");
    refuse(&["sentry", "set", "--all", "--environment", "x"], "", 2, "it tells apart");
    refuse(&["sentry", "set", "--environment", "x"], "", 2, "");
    refuse(&["sentry", "disable", "nobody"], "", 3, "nobody");
    // Without a terminal nobody can say yes, and nothing is touched.
    refuse(&["sentry", "disable", "brest"], "", 2, "--yes");
    // No host answers: it is said where clients.toml stands.
    fleet.edit("user = \"ubuntu\"", "user = \"ubuntu\"\nport = 9");
    fleet.edit("[fleet]", "[fleet]\nconnect_timeout = \"1s\"");
    let kept = fleet.read("clients.toml");
    let done = fleet.say("sentry disable brest --yes");
    assert_eq!(done.code, 4, "{}", done.all());
    assert!(done.err.contains("was not changed, and no client was touched"), "{}", done.all());
    assert_eq!(fleet.read("clients.toml"), kept);
}
