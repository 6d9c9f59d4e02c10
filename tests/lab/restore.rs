//! What was lost comes back by one command; what is killed, cut or unhealthy on the way leaves a client that serves.

use std::time::Duration;

use serde_json::Value;

use super::kit::{Fleet, Host, Ran, eventually, get, post, town};

/// On one database of the client's server.
fn psql(host: &Host, database: &str, sql: &str) -> String {
    let said = host.sh(&format!(
        "docker exec -i geoclic-database-1 psql -U geoclic -d {database} -AtX -v ON_ERROR_STOP=1 <<'SQL'\n{sql}\nSQL\n"
    ));
    said.ok().trim().to_owned()
}

/// Everything that a restore might leave behind on a host.
fn left(host: &Host) -> String {
    let databases = psql(
        host,
        "postgres",
        "select datname from pg_database where datname like 'geoclic\\_%' order by 1;",
    );
    let stages = host
        .sh("ls -d /var/lib/docker/volumes/geoclic_photos/.fleet-restore* /var/lib/docker/volumes/geoclic_photos/_data/.fleet* 2>/dev/null; cat /run/fleet/geoclic.lease 2>/dev/null; true")
        .ok();
    format!("{databases}{stages}")
}

fn well(host: &Host) {
    eventually("the client serves", Duration::from_secs(90), || {
        let health = get(host, "/api/health");
        if health.status == 200 { Ok(()) } else { Err(format!("{health:?}")) }
    });
}

/// A request of a citizen and a photo, by their names.
fn given(host: &Host, title: &str) -> (String, String, Vec<u8>) {
    let row =
        post(host, "/api/demandes", "application/json", format!("{{\"titre\": \"{title}\"}}").as_bytes());
    assert_eq!(row.status, 201, "{row:?}");
    let row = row.json()["id"].as_str().expect("an id").to_owned();
    let picture: Vec<u8> = title.bytes().chain((0..90_000_u32).map(|n| (n * 17 % 249) as u8)).collect();
    let photo = post(host, "/api/photos", "application/octet-stream", &picture);
    assert_eq!(photo.status, 201, "{photo:?}");
    (row, photo.json()["nom"].as_str().expect("a name").to_owned(), picture)
}

fn photo(host: &Host, name: &str) -> Option<Vec<u8>> {
    let said = host.sh(&format!(
        "base64 -w0 \"$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)/{name}\" 2>/dev/null; true"
    ));
    use base64::Engine as _;
    let text = said.ok();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim()).expect("base64");
    (!bytes.is_empty()).then_some(bytes)
}

fn lose(host: &Host, name: &str) {
    host.sh(&format!("rm \"$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)/{name}\"")).ok();
}

/// The newest snapshot of a client.
fn newest(fleet: &Fleet, client: &str) -> Value {
    fleet.run(&["backups", "list", client, "--json"]).expect(0).records().remove(0)
}

fn lines(ran: &Ran) -> Vec<String> {
    let records = ran.records();
    records.iter().filter_map(|event| event["line"].as_str().map(str::to_owned)).collect()
}

#[test]
fn what_was_lost_comes_back_and_what_is_newer_stays() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let client = host.name.as_str();
    let (row, name, picture) = given(host, "banc à rendre");
    let mode = host.sh(&format!(
        "cd \"$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)\"; mkdir -p 'été/a b'; cp -p {name} 'été/a b/copie'; chown 33:7 'été/a b/copie'; chmod 0640 'été/a b/copie'; chmod 2750 'été'; ln -sfn 'été/a b' lien; touch -d '2021-03-04 05:06:07.123456' 'été/a b/copie'; stat -c '%a %u:%g %y' 'été' 'été/a b/copie'"
    ));
    let mode = mode.ok();
    psql(
        host,
        "geoclic",
        "do $$ begin if not exists (select from pg_roles where rolname = 'lecteur') then create role lecteur login password 'lecture'; end if; end $$; grant select on demandes to lecteur; alter database geoclic set app.commune = 'Lyon';",
    );
    fleet.run(&["backup", client]).expect(0);
    let snapshot = newest(fleet, client);
    let id = snapshot["id"].as_str().expect("an id");

    // Lost: a table, the photos; and something new came meanwhile.
    psql(
        host,
        "geoclic",
        "drop table demandes cascade; delete from photos; drop owned by lecteur; drop role lecteur;",
    );
    lose(host, &name);
    host.sh("rm -rf \"$(docker volume inspect -f '{{.Mountpoint}}' geoclic_photos)/été\"").ok();
    let newer = post(host, "/api/photos", "application/octet-stream", b"newer than the snapshot").json();
    let newer = newer["nom"].as_str().expect("a name").to_owned();
    assert_ne!(get(host, &format!("/api/demandes/{row}")).status, 200, "the row is really gone");

    // What a dry run shows is what is done, and it touches nothing.
    let containers = host.containers("geoclic");
    let plan =
        fleet.run(&["restore", client, "--snapshot", &id[..8], "--dry-run", "--json"]).expect(0).records();
    let steps: Vec<&str> = plan[0]["stages"][0]["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["title"].as_str().expect("a title"))
        .collect();
    assert_eq!(left(host), "", "a dry run leaves nothing");
    assert_eq!(newest(fleet, client)["id"], snapshot["id"], "and saves nothing");
    let before = host.sh("cat /opt/geoclic/current/.env; cat /opt/geoclic/state.json").ok();
    let ran = fleet.run(&["restore", client, "--snapshot", &id[..8], "--yes", "--json"]).expect(0);
    assert_eq!(ran.steps(), steps, "the plan shown is the plan executed");
    let ended = ran.outcome(client, "changed");
    assert!(ended["summary"].to_string().contains(&id[..8]), "{ended:#}");

    well(host);
    assert_eq!(get(host, &format!("/api/demandes/{row}")).status, 200, "the row is back");
    assert_eq!(photo(host, &name), Some(picture), "the photo is back");
    assert!(photo(host, &newer).is_some(), "a file that the snapshot does not have stays");
    let again = host.sh("cd \"$(docker volume inspect -f '{{.Mountpoint}}' geoclic_photos)\"; stat -c '%a %u:%g %y' 'été' 'été/a b/copie'; readlink lien").ok();
    assert_eq!(again, format!("{mode}été/a b\n"), "owner, mode, times, links");
    let grant = "select has_table_privilege('lecteur', 'demandes', 'select'), current_setting('app.commune'), rolsuper, rolpassword is not null from pg_authid where rolname = 'lecteur';";
    assert_eq!(psql(host, "geoclic", grant), "t|Lyon|f|t", "roles, rights and settings");
    assert_eq!(
        host.sh("cat /opt/geoclic/current/.env; cat /opt/geoclic/state.json").ok(),
        before,
        "the release stays"
    );
    assert_eq!(host.containers("geoclic"), containers, "no container was replaced");
    assert_eq!(left(host), "", "nothing is left behind");
    let safety = newest(fleet, client);
    assert_ne!(safety["id"], snapshot["id"], "it was saved first");
    // The safety snapshot forgot nothing, least of all what was restored.
    let ids: Vec<Value> = fleet.run(&["backups", "list", client, "--json"]).expect(0).records();
    assert!(ids.iter().any(|one| one["id"] == snapshot["id"]), "{ids:?}");
    psql(
        host,
        "geoclic",
        "drop owned by lecteur; drop role lecteur; alter database geoclic reset app.commune;",
    );
}

#[test]
fn single_files_come_back_without_a_restart() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let client = host.name.as_str();
    let (_, one, picture) = given(host, "première");
    let (_, two, _) = given(host, "deuxième");
    fleet.run(&["backup", client]).expect(0);
    lose(host, &one);
    lose(host, &two);
    let started = "docker ps -q --filter label=com.docker.compose.project=geoclic | sort | xargs docker inspect -f '{{.Id}} {{.State.StartedAt}}'";
    let before = host.sh(started).ok();
    let path = format!("photos/{one}");
    let words = ["restore", client, "--files", &path, "--no-safety-snapshot", "one photo", "--yes", "--json"];
    let ran = fleet.run(&words).expect(0);
    ran.outcome(client, "changed");
    assert!(
        !ran.steps().iter().any(|step| step.contains("safety") || step.contains("database")),
        "{:?}",
        ran.steps()
    );
    assert_eq!(photo(host, &one), Some(picture));
    assert_eq!(photo(host, &two), None, "only what was named");
    assert_eq!(host.sh(started).ok(), before, "nothing was restarted");
    assert_eq!(left(host), "");
    well(host);

    // What is not there is refused before anything is touched, with what there is.
    let refused = fleet.run(&["restore", client, "--files", "photos/nothing.jpg", "--yes"]).expect(3);
    assert!(refused.stderr.contains("photos/nothing.jpg"), "{}", refused.stderr);
    let refused = fleet.run(&["restore", client, "--files", "/etc/passwd", "--yes"]).expect(3);
    assert!(refused.stderr.contains("begins with one of photos"), "{}", refused.stderr);
    let refused = fleet.run(&["restore", client, "--snapshot", "2001-01-01", "--yes"]).expect(3);
    let newest = newest(fleet, client);
    assert!(refused.stderr.contains(&newest["id"].as_str().expect("an id")[..8]), "{}", refused.stderr);
    fleet.run(&["restore", "nobody", "--yes"]).expect(3);
    fleet.run(&["restore", client]).expect(2);
    let plain = fleet.run(&["restore", client, "--to-new-host", "--yes"]).expect(3);
    assert!(plain.stderr.contains("it is no new host"), "{}", plain.stderr);
}

#[test]
fn a_killed_restore_leaves_a_client_that_serves_and_the_next_finishes() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    let (row, name, picture) = given(host, "avant la coupure");
    fleet.run(&["backup", client]).expect(0);
    let id = newest(fleet, client)["id"].as_str().expect("an id").to_owned();
    let words = ["restore", client, "--snapshot", &id, "--yes", "--json"];
    let steps = ["exchange", "wait until healthy"];
    for step in steps {
        psql(host, "geoclic", &format!("delete from demandes where id = '{row}';"));
        lose(host, &name);
        let (mut child, _lines) = fleet.until_step(&words, step);
        child.kill().expect("SIGKILL");
        child.wait().expect("it is gone");
        well(host);
        let next = fleet.run(&words).expect(0);
        next.outcome(client, "changed");
        let said: Vec<String> =
            next.records().iter().filter_map(|event| event["message"].as_str().map(str::to_owned)).collect();
        assert!(
            said.iter()
                .any(|message| message.contains("was cut") && message.contains(&format!("in \"{step}"))),
            "{step}: {said:?}"
        );
        well(host);
        assert_eq!(
            get(host, &format!("/api/demandes/{row}")).status,
            200,
            "killed at {step:?}, the next run restored it"
        );
        assert_eq!(photo(host, &name).as_ref(), Some(&picture), "{step}");
        assert_eq!(left(host), "", "killed at {step:?}: {:?}", lines(&next));
    }
}

/// Every connection to a host but this one, from the far end.
const CUT: &str = r#"mine=' ' pid=$$
while [ "$pid" -gt 1 ]; do
    mine="$mine$pid "
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
for pid in $(pgrep -x 'sshd|sshd-session'); do
    case $mine in *" $pid "*) ;; *) kill -KILL "$pid" && echo cut ;; esac
done"#;

#[test]
fn a_link_that_breaks_in_the_middle_of_a_restore_leaves_what_serves_and_the_next_finishes() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    let (row, name, picture) = given(host, "avant la panne");
    // One that takes its time to restore, so that the cut is in its middle.
    psql(
        host,
        "geoclic",
        "create function lent(x int) returns int language plpgsql immutable as $f$ begin if current_database() like '%\\_restoring' then perform pg_sleep(15); end if; return x; end $f$; create table lente as select 1 as x; create index on lente (lent(x));",
    );
    let saved = fleet.run(&["backup", client]);
    psql(host, "geoclic", "drop table lente; drop function lent(int);");
    saved.expect(0);
    let slow = newest(fleet, client)["id"].as_str().expect("an id").to_owned();
    let (newer, ..) = given(host, "pendant la panne");
    let before = psql(host, "geoclic", "select oid from pg_database where datname = 'geoclic';");
    let (child, mut rest) = fleet
        .until_step(&["restore", client, "--snapshot", &slow, "--yes", "--json"], "restore the database");
    eventually("the slow part is reached", Duration::from_secs(20), || {
        let busy = "select count(*) from pg_stat_activity where datname = 'geoclic_restoring' and wait_event = 'PgSleep';";
        match psql(host, "postgres", busy).as_str() {
            "0" => Err("not yet".to_owned()),
            _ => Ok(()),
        }
    });
    assert!(host.sh(CUT).ok().contains("cut"), "there was a connection");
    let mut said = String::new();
    std::io::Read::read_to_string(&mut rest, &mut said).expect("text");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("\"unknown\"") && said.contains("restore the database"), "{said}");
    // What serves is what served, with what came since.
    well(host);
    assert_eq!(psql(host, "geoclic", "select oid from pg_database where datname = 'geoclic';"), before);
    assert_eq!(get(host, &format!("/api/demandes/{newer}")).status, 200);
    // It was saved before it began: from that the next one restores.
    lose(host, &name);
    psql(host, "geoclic", &format!("delete from demandes where id in ('{row}', '{newer}');"));
    let safety = newest(fleet, client)["id"].as_str().expect("an id").to_owned();
    assert_ne!(safety, slow);
    let next = fleet.run(&["restore", client, "--snapshot", &safety, "--yes", "--json"]).expect(0);
    next.outcome(client, "changed");
    well(host);
    for row in [&row, &newer] {
        assert_eq!(get(host, &format!("/api/demandes/{row}")).status, 200);
    }
    assert_eq!(photo(host, &name), Some(picture));
    assert_eq!(left(host), "", "nothing of the one that was cut is left");
}

/// The release stays, so an older database comes up to it.
#[test]
fn a_snapshot_that_is_older_than_the_release_is_migrated() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.one);
    let client = host.name.as_str();
    psql(host, "geoclic", "drop table photos; delete from fleet_migrations where name = '003_photos.sql';");
    let saved = fleet.run(&["backup", client]);
    fleet.run(&["migrate", client, "--yes"]).expect(0);
    saved.expect(0);
    let ran = fleet.run(&["restore", client, "--database", "--yes", "--json"]).expect(0);
    ran.outcome(client, "changed");
    assert!(
        ran.steps().contains(&"migrate 003_photos.sql in the restored database".to_owned()),
        "{:?}",
        ran.steps()
    );
    well(host);
    let health = get(host, "/api/health").json();
    assert_eq!(health["migrations"]["latest"], "003_photos.sql", "{health}");
    assert_eq!(psql(host, "geoclic", "select count(*) from photos;"), "0");
    fleet.run(&["update", client, "--yes", "--json"]).expect(0);
}

/// Files that stand in the way are found out before anything changes places.
#[test]
fn a_restore_that_fails_puts_back_what_was() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    let (_, name, _) = given(host, "dossier");
    // The API cannot count its migrations in this one: a snapshot that does not become healthy.
    psql(host, "geoclic", "alter table fleet_migrations rename to kept;
create view fleet_migrations as select * from kept where 1 / (case current_setting('application_name') when 'geoclic-api' then 0 else 1 end) = 1;");
    let saved = fleet.run(&["backup", client]);
    psql(host, "geoclic", "drop view fleet_migrations; alter table kept rename to fleet_migrations;");
    saved.expect(0);
    let (row, newer, picture) = given(host, "après la sauvegarde");
    let folder = format!("\"$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)/{name}\"");
    host.sh(&format!("mv {folder} {folder}.aside; mkdir {folder}")).ok();
    let ran = fleet.run(&["restore", client, "--yes", "--json"]);
    host.sh(&format!("rmdir {folder}; mv {folder}.aside {folder}")).ok();
    let ended = ran.expect(1).outcome(client, "rolled-back");
    assert!(
        ended["fault"]["message"].to_string().contains("is a file in the snapshot and a folder there"),
        "{ended:#}"
    );
    well(host);
    assert_eq!(get(host, &format!("/api/demandes/{row}")).status, 200, "the database is the one of before");
    assert_eq!(left(host), "");

    let before = psql(host, "geoclic", "select oid from pg_database where datname = 'geoclic';");
    host.sh(&format!("echo changed >{folder}")).ok();
    let snapshots = fleet.run(&["backups", "list", client, "--json"]).expect(0).records();
    // The newest two are safety snapshot and the one that does not become healthy.
    let id = snapshots[1]["id"].as_str().expect("an id");
    let ended = fleet.run(&["restore", client, "--snapshot", id, "--yes", "--json"]).expect(1);
    let ended = ended.outcome(client, "rolled-back");
    assert_eq!(ended["fault"]["step"], "wait until healthy", "{ended:#}");
    well(host);
    assert_eq!(psql(host, "geoclic", "select oid from pg_database where datname = 'geoclic';"), before);
    assert_eq!(get(host, &format!("/api/demandes/{row}")).status, 200);
    assert_eq!(photo(host, &name), Some(b"changed\n".to_vec()), "files are those of before too");
    assert_eq!(photo(host, &newer), Some(picture));
    assert_eq!(left(host), "");
}

#[test]
fn another_clients_data_only_by_force_and_never_its_secrets() {
    let town = town();
    let (fleet, one, two) = (&town.fleet, &town.one, &town.two);
    let (row, name, picture) = given(one, "de la ville d'un");
    fleet.run(&["backup", "--all"]).expect(0);
    let own = newest(fleet, &two.name)["id"].as_str().expect("an id").to_owned();
    let refused = fleet.run(&["restore", &two.name, "--from", &one.name, "--yes"]).expect(3);
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    let theirs = "cat /opt/geoclic/current/.env; docker exec geoclic-database-1 psql -U geoclic -d geoclic -AtXc \"select rolname, rolpassword from pg_authid order by 1\"";
    let before = two.sh(theirs).ok();
    let forced = fleet.run(&["restore", &two.name, "--from", &one.name, "--force", "--yes", "--json"]);
    forced.expect(0).outcome(&two.name, "changed");
    well(two);
    assert_eq!(get(two, &format!("/api/demandes/{row}")).status, 200);
    assert_eq!(photo(two, &name), Some(picture));
    assert_eq!(two.sh(theirs).ok(), before, "environment and roles are its own");
    for secret in ["DB_PASSWORD", "JWT_SECRET_KEY", "FLEET_BACKUP_KEY"] {
        let value = fleet.secret(&one.name, secret);
        assert_ne!(
            two.sh(&format!("grep -rqF {value} /opt /etc /var/lib/docker/volumes; echo $?")).ok().trim(),
            "0"
        );
    }
    fleet.run(&["restore", &two.name, "--snapshot", &own, "--yes"]).expect(0);
    well(two);
    lose(two, &name);
    assert_ne!(get(two, &format!("/api/demandes/{row}")).status, 200, "its own data again");
}
