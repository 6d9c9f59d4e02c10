//! `list`, `show` and `render`: what the registry and the stack say, without a host.

use super::support::{Fleet, REGISTRY, mode};

#[test]
fn list_and_show() {
    let fleet = Fleet::with_clients();
    insta::assert_snapshot!(fleet.run(["list"]).ok().out, @"
    client      domain                 address    tags         stack
    ville-lyon  ville-lyon.example.fr  192.0.2.1  canary prod  tiny
    brest       brest.example.fr       192.0.2.2  prod         tiny
    ");
    insta::assert_snapshot!(fleet.say("list --tag canary").ok().out, @"
    client      domain                 address    tags         stack
    ville-lyon  ville-lyon.example.fr  192.0.2.1  canary prod  tiny
    ");
    insta::assert_snapshot!(fleet.say("show ville-lyon").ok().out, @"
    ville-lyon          value                                       from
    domain              ville-lyon.example.fr                       client
    address             192.0.2.1                                   client
    port                22                                          built in
    user                ubuntu                                      [defaults]
    tags                canary prod                                 client
    stack               tiny                                        [fleet]
    sentry.dsn          https://***@o1.ingest.sentry.io/42          [defaults]
    sentry.environment  ville-lyon                                  built in
    sentry.traces_rate  0.1                                         built in
    backup.schedule     0 2 * * *                                   built in
    backup.keep         3 last, 7 daily, 4 weekly, 12 monthly       built in
    swap                auto                                        built in
    transport           native                                      built in
    secrets             none yet                                    secrets/
    host key            not recorded: never connected to from here  known_hosts
    ");
    let record = &fleet.say("show ville-lyon --json").ok().json()[0];
    assert_eq!(record["schema"], "fleet.client/1");
    assert_eq!(record["sentry"]["dsn"], "https://***@o1.ingest.sentry.io/42");
    let revealed = fleet.say("show ville-lyon --json --reveal").ok();
    assert_eq!(revealed.json()[0]["sentry"]["dsn"], "https://poisonkey7Q2x@o1.ingest.sentry.io/42");
}

#[test]
fn a_disabled_client_is_listed_and_marked() {
    let fleet = Fleet::with_clients();
    fleet.edit("tags = [\"prod\"]", "tags = [\"prod\"]\ndisabled = true");
    assert!(fleet.run(["list"]).ok().out.contains("prod (disabled)"));
    assert!(!fleet.run(["list", "--all"]).ok().out.contains("brest"));
}

#[test]
fn the_registry_is_found_from_below_and_by_option_and_variable() {
    let fleet = Fleet::with_clients();
    let below = fleet.path("stacks/tiny");
    let mut command = fleet.command(["list", "--json"]);
    let output = command.current_dir(&below).output().unwrap();
    assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 2);
    let elsewhere = Fleet::empty();
    let dir = fleet.dir();
    let dir = dir.to_str().unwrap();
    assert_eq!(elsewhere.run(["-C", dir, "list", "--json"]).ok().json().len(), 2);
    assert_eq!(elsewhere.run(["list", "-C", dir, "--json"]).ok().json().len(), 2);
    let output = elsewhere.command(["list", "--json"]).env("FLEET_DIR", dir).output().unwrap();
    assert!(output.status.success());
    fleet.write("other.toml", REGISTRY.replace("brest", "quimper"));
    assert!(fleet.say("list --config other.toml").ok().out.contains("quimper"));
}

#[test]
fn render_shows_every_file_with_secrets_masked() {
    let fleet = Fleet::with_clients();
    fleet.with_input(["secrets", "set", "ville-lyon", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    let shown = fleet.say("render ville-lyon").ok();
    insta::assert_snapshot!(shown.all(), @r#"
    exit 0
    --- stdout
    ==> docker-compose.yml (0644) <==
    services:
      web:
        image: nginx:1.28
        environment:
          PUBLIC_NAME: "Tiny"
      worker:
        image: busybox:1.37

    ==> .env (0600) <==
    DB_PASSWORD='[secret DB_PASSWORD, not made yet]'
    JWT_KEY='[secret JWT_KEY, not made yet]'
    PUBLIC_NAME='Tiny'
    SMTP_PASSWORD='[secret SMTP_PASSWORD]'
    --- stderr
    not made yet, `fleet provision ville-lyon` does: DB_PASSWORD, JWT_KEY
    "#);
    let compose = fleet.say("render ville-lyon docker-compose.yml").ok();
    assert!(compose.out.starts_with("services:\n"), "{}", compose.out);
    let revealed = fleet.say("render ville-lyon .env --reveal").ok();
    assert!(revealed.out.contains("SMTP_PASSWORD='aB3-xY9-kL2'"), "{}", revealed.out);
    assert!(revealed.out.contains("DB_PASSWORD='[secret DB_PASSWORD, not made yet]'"), "{}", revealed.out);
    assert_eq!(fleet.files_with("DB_PASSWORD"), ["stacks/tiny/stack.toml"], "a preview keeps nothing");
    let records = fleet.say("render ville-lyon --json").ok().json();
    assert_eq!(records.len(), 2);
    assert_eq!(records[1]["destination"], ".env");
    assert_eq!(records[1]["digest"], serde_json::Value::Null);
    assert_eq!(records[0]["digest"].as_str().unwrap().len(), 64);
}

#[test]
fn render_writes_files_that_only_their_owner_reads() {
    let fleet = Fleet::with_clients();
    fleet.with_input(["secrets", "set", "ville-lyon", "SMTP_PASSWORD"], b"aB3-xY9-kL2").ok();
    fleet.say("render ville-lyon --out out").ok();
    assert!(fleet.read("out/.env").contains("SMTP_PASSWORD='[secret SMTP_PASSWORD]'"));
    fleet.say("render ville-lyon --out out --reveal").ok();
    assert!(fleet.read("out/.env").contains("SMTP_PASSWORD='aB3-xY9-kL2'"));
    assert_eq!(mode(&fleet.path("out/.env")), 0o600);
    assert_eq!(mode(&fleet.path("out/docker-compose.yml")), 0o644);
}

#[test]
fn render_takes_another_stack() {
    let fleet = Fleet::with_clients();
    fleet.write("stacks/next/stack.toml", "name = \"next\"\n[[files]]\ntemplate = \"c\"\ndestination = \"docker-compose.yml\"\n[services.web]\n");
    fleet.write("stacks/next/c", "services:\n  web: { image: \"next:{{ client.domain }}\" }\n");
    let shown = fleet.say("render brest docker-compose.yml --stack next").ok();
    assert_eq!(shown.out, "services:\n  web: { image: \"next:brest.example.fr\" }\n");
}

#[test]
fn ten_thousand_clients_are_listed_without_a_stack() {
    let fleet = Fleet::empty();
    let mut text = "[fleet]\nname = \"big\"\nstack = \"none-such\"\n".to_owned();
    for number in 0..10_000 {
        let (high, low) = (number / 200, number % 200 + 1);
        text.push_str(&format!(
            "[clients.c{number}]\ndomain = \"c{number}.example.fr\"\nip = \"203.0.{high}.{low}\"\n"
        ));
    }
    fleet.write("clients.toml", text);
    assert_eq!(fleet.say("list --json").ok().json().len(), 10_000);
    assert_eq!(fleet.run(["list"]).ok().out.lines().count(), 10_001);
}
