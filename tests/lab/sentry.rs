//! Errors of clients in Sentry, end to end: a real server (Bugsink), the stack's real application with Sentry's own SDK,
//! one DSN, an environment for each client.

#[path = "../cli/sentry/bugsink.rs"]
mod bugsink;

use std::collections::BTreeSet;

use bugsink::Bugsink;
use serde_json::{Value, json};

use super::kit::{Host, Ran, Town, get, lab, town};

/// What the application itself says of its Sentry.
fn says(host: &Host) -> Value {
    get(host, "/api/health").json()["sentry"].clone()
}

fn record(ran: &Ran, schema: &str, client: &str) -> Value {
    let all = ran.records();
    let found = all.iter().rfind(|one| one["schema"] == schema && one["client"] == client);
    found.unwrap_or_else(|| panic!("no {schema} of {client} in `fleet {}`: {}", ran.line, ran.stdout)).clone()
}

/// The clients' own DSNs again, whatever happens.
struct Restored<'a>(&'a Town);

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        let ran = self.0.fleet.run(&["update", "--all", "--yes", "--json"]);
        if !std::thread::panicking() {
            ran.expect(0);
        }
    }
}

#[test]
fn one_dsn_keeps_clients_apart_and_each_change_is_proved_by_the_application() {
    // Before anything is held: it takes a while to be ready.
    let server = Bugsink::start_at(&lab().gateway);
    let town = town();
    // Only what this changes shall wait for the hosts.
    town.fleet.run(&["update", "--all", "--yes", "--json"]).expect(0);
    let fleet = town.fleet.copy("sentry");
    let _restored = Restored(&town);
    let (one, two) = (town.one.name.as_str(), town.two.name.as_str());
    let kept = fleet.read("clients.toml");
    // A third client, whose server is not there: its event is posted for it.
    fleet.write(
        "clients.toml",
        &format!(
            "{kept}\n[clients.third]\ndomain = \"third.fleet.test\"\nip = \"192.0.2.7\"\nsentry = {{ use = \"production\" }}\n\n\
             [sentry.production]\n\n[fleet.sentry]\nurl = \"{}\"\ntoken = {{ secret = \"TOKEN\" }}\n",
            server.url()
        ),
    );
    let words = ["sentry", "setup", "production", "--project", "town-halls", "--token-from", "-"];
    let mut ran = vec![fleet.run_with(&words, server.token.as_bytes()).expect(0)];
    let dsn = fleet.run(&["sentry", "setup", "production", "--print"]).expect(0).stdout.trim().to_owned();
    let key = dsn.split("://").nth(1).and_then(|rest| rest.split('@').next()).expect("a key").to_owned();
    let project: u64 = dsn.rsplit('/').next().and_then(|number| number.parse().ok()).expect("a number");

    // Set: clients.toml, the hosts, and the proof. A service that reads none of it is left alone.
    let before = town.one.containers("geoclic");
    let set = fleet.run(&["sentry", "set", one, two, "--use", "production", "--yes", "--json"]).expect(0);
    for host in town.hosts() {
        set.outcome(&host.name, "changed");
        let proof = record(&set, "fleet.sentry/1", &host.name);
        assert_eq!(
            (&proof["state"], &proof["application"]["dsn"]),
            (&json!("on"), &json!("same")),
            "{proof:#}"
        );
        assert!(
            proof["application"]["log"].as_str().is_some_and(|line| line.contains(&host.name)),
            "{proof:#}"
        );
        assert_eq!(says(host), json!({ "status": "ok", "environment": host.name }));
    }
    let after = town.one.containers("geoclic");
    let replaced: Vec<&String> =
        before.keys().filter(|service| before[*service] != after[*service]).collect();
    assert_eq!(replaced, ["api"], "only the service that reads the variables");
    ran.push(set);

    // Test: the applications raise, and exactly their errors are read back, each in its own environment.
    let tested = fleet.run(&["sentry", "test", one, two, "--json"]).expect(0);
    let posted = fleet.run(&["sentry", "test", "third", "--direct", "--json"]).expect(0);
    let mut events = BTreeSet::new();
    for (ran, client, way) in
        [(&tested, one, "application"), (&tested, two, "application"), (&posted, "third", "direct")]
    {
        let found = record(ran, "fleet.sentry-test/1", client);
        assert_eq!((&found["way"], &found["read_back"]), (&json!(way), &json!(true)), "{found:#}");
        events.insert((client.to_owned(), found["event"].as_str().expect("its number").to_owned()));
    }
    let there = server.events(project);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for (client, event) in &events {
        let of: Vec<&Value> = there.iter().filter(|data| data["environment"] == *client).collect();
        let others = events.iter().filter(|(other, _)| other != client);
        let has = |event: &str| of.iter().any(|data| text(&data["event_id"]).replace('-', "") == event);
        assert!(has(event), "filtered by environment {client}, its own event is there");
        assert!(others.into_iter().all(|(_, other)| !has(other)), "and no other's");
    }
    let raised =
        there.iter().filter(|data| text(&data["exception"]["values"][0]["type"]) == "ValueError").count();
    assert!(raised >= 2, "the application's own errors, with its own words: {there:#?}");
    let status = fleet.run(&["sentry", "status", one, two, "--json"]).expect(0);
    for client in [one, two] {
        let found = record(&status, "fleet.sentry/1", client);
        assert_eq!(found["state"], "on", "{found:#}");
        assert!(
            found["server"]["last"]["at"].is_string() && found["application"]["release"].is_string(),
            "{found:#}"
        );
    }
    ran.extend([tested, posted, status]);

    // Other changes that wait do not go along.
    let registry = fleet.read("clients.toml");
    let page = "app/portail/html/index.html";
    fleet.write(page, &format!("{}<!-- waits -->\n", fleet.read(page)));
    let refused = fleet.run(&["sentry", "disable", two, "--yes"]).expect(3);
    assert!(refused.stderr.contains("other changes wait for it"), "{}", refused.stderr);
    assert_eq!(fleet.read("clients.toml"), registry, "and nothing was written");
    fleet.edit(page, "<!-- waits -->\n", "");

    // Off and on again, each proved by the application; the other client is not touched.
    let untouched = town.one.containers("geoclic");
    let off = fleet.run(&["sentry", "disable", two, "--yes", "--json"]).expect(0);
    assert_eq!(record(&off, "fleet.sentry/1", two)["state"], "off");
    assert_eq!(says(&town.two)["status"], "disabled");
    fleet.run(&["sentry", "test", two]).expect(3);
    // The registry alone is changed: what disagrees is found, whoever looks.
    fleet.run(&["sentry", "enable", two, "--no-apply"]).expect(0);
    let wrong = fleet.run(&["sentry", "status", two, "--json"]).expect(1);
    let found = record(&wrong, "fleet.sentry/1", two);
    assert_eq!(
        (&found["state"], &found["application"]["dsn"]),
        (&json!("wrong"), &json!("none")),
        "{found:#}"
    );
    let again = fleet.run(&["sentry", "enable", two]).expect(1);
    assert!(again.stdout.contains(&format!("fleet update {two}")), "{}", again.stdout);
    fleet.run(&["sentry", "disable", two, "--no-apply"]).expect(0);
    let on = fleet.run(&["sentry", "enable", two, "--yes", "--json"]).expect(0);
    assert_eq!(record(&on, "fleet.sentry/1", two)["state"], "on");
    assert_eq!(says(&town.two), json!({ "status": "ok", "environment": two }));
    assert_eq!(town.one.containers("geoclic"), untouched);
    ran.extend([refused, off, wrong, again, on]);

    // Neither the key nor the token is in what was said or journaled.
    let mut said: Vec<String> = ran.iter().flat_map(|ran| [ran.stdout.clone(), ran.stderr.clone()]).collect();
    for entry in walkdir::WalkDir::new(fleet.path(".fleet")).into_iter().flatten() {
        said.extend(std::fs::read_to_string(entry.path()).ok());
    }
    assert!(said.iter().any(|text| text.contains("town-halls")), "the search would find it");
    for secret in [&key, &server.token] {
        assert!(said.iter().all(|text| !text.contains(secret.as_str())), "{secret} was told");
    }
}
