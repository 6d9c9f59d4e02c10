//! Updates: what changed and nothing else, said beforehand; a bad one leaves what was.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kit::{Host, Load, TownGuard, eventually, get, post, town};
use super::provision::same;

/// Services whose container is another one than before.
fn replaced(before: &BTreeMap<String, String>, host: &Host) -> Vec<String> {
    let after = host.containers("geoclic");
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "the same services");
    after.into_iter().filter(|(service, id)| before[service] != *id).map(|(service, _)| service).collect()
}

/// The town with nothing pending.
fn settled() -> TownGuard {
    let town = town();
    town.fleet.run(&["update", "--all", "--yes"]).expect(0);
    town
}

#[test]
fn an_update_replaces_what_changed_and_nothing_else() {
    let town = settled();
    let before = town.hosts().map(|host| host.containers("geoclic"));
    town.touch("portail", "an update of one service");
    town.fleet.run(&["update", "--all", "--check"]).expect(5);

    let state = town.one.state();
    let plan = town.fleet.run(&["update", "--all", "--dry-run"]).expect(0);
    assert!(plan.stdout.contains("build portail"), "the plan names what is built: {}", plan.stdout);
    assert!(!plan.stdout.contains("build api"), "and only that: {}", plan.stdout);
    same(&state, &town.one.state());

    let ran = town.fleet.run(&["update", "--all", "--yes", "--json"]).expect(0);
    for (host, before) in town.hosts().into_iter().zip(&before) {
        ran.outcome(&host.name, "changed");
        assert_eq!(replaced(before, host), ["portail"], "on {}", host.name);
        let page = get(host, "/");
        assert!(
            page.body.contains("an update of one service"),
            "{} serves the new page: {page:?}",
            host.name
        );
    }
    let built: Vec<String> = ran.steps().into_iter().filter(|step| step.starts_with("build")).collect();
    assert!(built.iter().all(|step| step == "build portail"), "only what changed is built: {built:?}");

    town.fleet.run(&["update", "--all", "--check"]).expect(0);
    let again = town.fleet.run(&["update", "--all", "--yes", "--json"]).expect(0);
    for host in town.hosts() {
        again.outcome(&host.name, "unchanged");
    }
    assert!(again.steps().is_empty(), "{:?}", again.steps());
}

#[test]
fn only_the_services_that_are_named_are_restarted() {
    let town = settled();
    let host = &town.one;
    let before = host.containers("geoclic");
    town.touch("carto", "named");
    town.touch("terrain", "not named");
    let client = host.name.as_str();
    town.fleet
        .run(&["update", client, "--services", "carto", "--yes", "--json"])
        .expect(0)
        .outcome(client, "changed");
    assert_eq!(replaced(&before, host), ["carto"]);
    // What was left out is still pending, and comes with the next whole update.
    town.fleet.run(&["update", client, "--check"]).expect(5);
    town.fleet.run(&["update", client, "--yes"]).expect(0);
    assert_eq!(replaced(&before, host), ["carto", "terrain"]);

    let wrong = town.fleet.run(&["update", client, "--services", "cartto", "--yes"]).expect(3);
    assert!(wrong.stderr.contains("cartto") && wrong.stderr.contains("carto"), "{}", wrong.stderr);
    town.fleet.run(&["update", "--yes"]).expect(2);
    town.fleet.run(&["update", client]).expect(2);
    town.fleet.run(&["update", "--all", "--yes"]).expect(0);
}

#[test]
fn a_failing_migration_is_undone_and_the_old_release_serves_on() {
    let town = settled();
    let host = &town.one;
    let client = host.name.as_str();
    let created = post(host, "/api/demandes", "application/json", br#"{"titre": "nid de poule"}"#);
    assert_eq!(created.status, 201, "{created:?}");
    let row = created.json()["id"].as_str().expect("an id").to_owned();
    // The worker takes what is new, which changes its row.
    eventually("the worker took it", Duration::from_secs(60), || {
        let new =
            "psql -U geoclic -d geoclic -Atc \"select count(*) from demandes where statut = 'nouvelle'\"";
        let said = host.exec("geoclic", "database", new);
        if said.stdout.trim() == "0" { Ok(()) } else { Err(format!("{said:?}")) }
    });
    let (before, release) = (host.containers("geoclic"), host.sh("readlink /opt/geoclic/current").ok());
    // Every row of every table, by number and digest.
    let rows = || {
        host.exec("geoclic", "database", "sh -c 'pg_dump -U geoclic -d geoclic --data-only --inserts | grep ^INSERT | sort | tee /tmp/rows | wc -l; sha256sum </tmp/rows'").ok()
    };
    let had = rows();
    assert!(!had.starts_with("0\n"), "there are rows: {had}");
    // Who has backups is backed up first; who cannot be is refused before anything is touched.
    town.fleet.run(&["backup", client]).expect(0);
    let newest =
        || town.fleet.run(&["backups", "list", client, "--json"]).expect(0).records().remove(0)["id"].clone();
    let saved = newest();
    let migration = "app/migrations/004_broken.sql";
    town.fleet.write(
        migration,
        "CREATE TABLE half_done (id int);\nDELETE FROM demandes;\nSELECT planted_mistake;\n",
    );
    let registry = town.fleet.read("clients.toml");
    let locked = "[fleet.backup]\nrepository = \"rest:https://192.0.2.1/a\"\n\
        rest = { user = \"a\", password = { secret = \"NOT_THERE\" } }\n";
    town.fleet.write("clients.toml", &format!("{registry}\n{locked}"));
    let refused = town.fleet.run(&["update", client, "--yes"]);
    town.fleet.write("clients.toml", &registry);
    assert!(refused.expect(3).stderr.contains("NOT_THERE"), "it says what is missing");
    assert!(replaced(&before, host).is_empty() && newest() == saved);

    let load = Load::getting(host, 4, "/api/health");
    let ran = town.fleet.run(&["update", client, "--yes", "--json"]);
    let _ = std::fs::remove_file(town.fleet.path(migration));
    let met = load.stop();
    let ended = ran.expect(1).outcome(client, "failed");
    met.well(20);
    assert_eq!(rows(), had, "not a row is lost or changed");
    assert_ne!(newest(), saved, "it was backed up before the migration was tried");
    let fault = &ended["fault"];
    assert_eq!(fault["step"], "migrate 004_broken.sql", "{ended:#}");
    assert!(
        fault["lines"].to_string().contains("planted_mistake"),
        "what PostgreSQL said is shown: {ended:#}"
    );
    assert!(fault["hint"].as_str().is_some_and(|hint| hint.contains("undone")), "{ended:#}");

    assert!(replaced(&before, host).is_empty(), "no container was touched");
    assert_eq!(host.sh("readlink /opt/geoclic/current").ok(), release, "the release before is current");
    let found = get(host, &format!("/api/demandes/{row}"));
    assert_eq!(found.status, 200, "rows that were there are there: {found:?}");
    let tables = host.sh("docker exec geoclic-database-1 psql -U geoclic -d geoclic -Atc \"select count(*) from pg_tables where tablename = 'half_done'\"").ok();
    assert_eq!(tables.trim(), "0", "nothing of the migration stays");
    town.fleet.run(&["update", client, "--yes", "--json"]).expect(0).outcome(client, "unchanged");
}

#[test]
fn a_release_that_does_not_become_healthy_goes_back_by_itself_and_says_why() {
    let town = settled();
    let host = &town.one;
    let client = host.name.as_str();
    let (before, release) = (host.containers("geoclic"), host.sh("readlink /opt/geoclic/current").ok());
    let good = town.fleet.read("app/api/main.py");
    town.fleet.write("app/api/main.py", &format!("raise RuntimeError('planted: no such luck')\n{good}"));
    let ran = town.fleet.run(&["update", client, "--yes", "--json"]);
    town.fleet.write("app/api/main.py", &good);
    let ended = ran.expect(1).outcome(client, "rolled-back");
    assert!(
        ended["fault"]["step"].as_str().is_some_and(|step| step.contains("api")),
        "it names the service: {ended:#}"
    );
    assert!(
        ended["fault"]["lines"].to_string().contains("planted: no such luck"),
        "and shows its log: {ended:#}"
    );
    assert!(
        release.trim().ends_with(ended["release"].as_str().expect("a release")),
        "and what serves: {ended:#}"
    );
    assert_eq!(host.sh("readlink /opt/geoclic/current").ok(), release, "the release before is current");
    assert!(
        !replaced(&before, host).contains(&"api".to_owned()),
        "the API that was healthy was never stopped"
    );
    eventually("the release before serves", Duration::from_secs(30), || {
        let answer = get(host, "/api/health");
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    town.fleet.run(&["status", client]).expect(0);
    town.fleet.run(&["update", client, "--yes", "--json"]).expect(0);
}
