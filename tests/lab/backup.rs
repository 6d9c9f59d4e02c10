//! The host's own nightly dump: made as cron makes it, whole or not at all, shown to restore.

use std::time::Duration;

use super::kit::{Host, eventually, get, post, town};

/// The command of the dump's cron line, run with cron's own environment.
const AS_CRON: &str = r#"line=$(grep '/bin/backup' /etc/cron.d/fleet-geoclic)
set -f; set -- $line; set +f
[ "$6" = root ] || { echo "cron user: $6" >&2; exit 9; }
shift 6
path=$(sed -n 's/^PATH=//p' /etc/cron.d/fleet-geoclic)
exec env -i SHELL=/bin/sh PATH="$path" HOME=/root LOGNAME=root /bin/sh -c "$*"
"#;

fn psql(host: &Host, sql: &str) -> String {
    host.sh(&format!("docker exec -i geoclic-database-1 psql -U geoclic -d geoclic -AtX -v ON_ERROR_STOP=1 <<'SQL'\n{sql}\nSQL\n")).ok().trim().to_owned()
}

fn dumps(host: &Host) -> Vec<String> {
    host.sh("ls -1d /opt/geoclic/backups/nightly-* 2>/dev/null; ls -d /opt/geoclic/backups/.part-* 2>/dev/null; true")
        .ok()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_was_lost_comes_back_from_the_nightly_dump() {
    let town = town();
    let host = &town.one;
    let row = post(host, "/api/demandes", "application/json", r#"{"titre": "lampadaire éteint"}"#.as_bytes());
    assert_eq!(row.status, 201, "{row:?}");
    let row = row.json()["id"].as_str().expect("an id").to_owned();
    let picture: Vec<u8> =
        [0xff, 0xd8, 0xff].into_iter().chain((0..200_000u32).map(|n| (n * 7 % 251) as u8)).collect();
    let photo = post(host, "/api/photos", "application/octet-stream", &picture);
    assert_eq!(photo.status, 201, "{photo:?}");
    let photo = photo.json();
    let name = photo["nom"].as_str().expect("a name").to_owned();

    assert_eq!(host.sh(AS_CRON).code, Some(0), "the dump of cron's own line");
    let list = dumps(host);
    let newest = list.last().expect("a dump").clone();
    let modes = host.sh(&format!("stat -c '%a %U' /opt/geoclic/backups {newest} {newest}/*")).ok();
    assert!(
        modes.lines().all(|line| line == "700 root" || line == "600 root"),
        "only root may read it: {modes}"
    );

    psql(host, "DROP TABLE demandes, photos CASCADE;");
    host.sh(&format!("rm \"$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)/{name}\"")).ok();
    assert_ne!(get(host, &format!("/api/demandes/{row}")).status, 200, "the row is really gone");
    assert_eq!(get(host, &format!("/api/photos/{name}")).status, 404, "the photo is really gone");

    // Neither a dump that was cut nor one that was cut and signed again is let near the database.
    let cut = host.sh(&format!(
        "rm -rf /tmp/cut && cp -a {newest} /tmp/cut && truncate -s -200 /tmp/cut/database.dump
         /opt/geoclic/bin/restore-dump /tmp/cut && exit 8
         cd /tmp/cut && sha256sum database.dump *.tar.gz >SHA256SUMS
         /opt/geoclic/bin/restore-dump /tmp/cut && exit 9
         rm -rf /tmp/cut; exit 0"
    ));
    let said = format!("{cut:?}");
    assert_eq!(cut.code, Some(0), "a truncated dump is refused: {said}");
    assert!(said.contains("was changed since it was made") && said.contains("was not touched"), "{said}");

    let restored = host.sh("/opt/geoclic/bin/restore-dump");
    assert_eq!(restored.code, Some(0), "{restored:?}");
    eventually("the row is back", Duration::from_secs(30), || {
        let answer = get(host, &format!("/api/demandes/{row}"));
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    let back = get(host, "/api/photos").json();
    let back = back
        .as_array()
        .expect("a list")
        .iter()
        .find(|entry| entry["nom"] == name.as_str())
        .expect("the photo's row")
        .clone();
    assert_eq!(back["sha256"], photo["sha256"]);
    let digest = host
        .sh(&format!(
            "sha256sum <\"$(docker volume inspect -f '{{{{.Mountpoint}}}}' geoclic_photos)/{name}\""
        ))
        .ok();
    assert_eq!(digest.split(' ').next(), photo["sha256"].as_str(), "the photo's bytes are the same");
    host.sh("docker exec geoclic-database-1 psql -U geoclic -d postgres -AtXc \"select format('drop database %I;', datname) from pg_database where datname like 'geoclic\\_%'\" | docker exec -i geoclic-database-1 psql -U geoclic -d postgres -Xq").ok();
    town.fleet.run(&["update", &host.name, "--yes"]).expect(0);
    town.fleet.run(&["status", &host.name]).expect(0);
}

#[test]
fn dumps_rotate_and_a_failed_one_leaves_no_trace_but_a_word() {
    let town = town();
    let host = &town.two;
    for _ in 0..4 {
        assert_eq!(host.sh(AS_CRON).code, Some(0));
        host.sh("sleep 1").ok();
    }
    let list = dumps(host);
    assert_eq!(list.len(), 2, "keep = {{ daily = 2 }}: {list:?}");
    let last = host.sh("cat /opt/geoclic/backups/last").ok();
    assert!(last.contains(" ok "), "{last}");
    assert!(list[1].ends_with(last.split(' ').nth(2).unwrap_or("?")), "the newest stay: {list:?}, {last}");

    let failed = host.sh("docker stop -t 5 geoclic-database-1 >/dev/null; /opt/geoclic/bin/backup; code=$?; docker start geoclic-database-1 >/dev/null; exit $code");
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(dumps(host), list, "no half dump, and none was rotated away for it");
    let last = host.sh("cat /opt/geoclic/backups/last").ok();
    assert!(last.contains(" failed "), "{last}");
    let log = host.sh("journalctl -t fleet-geoclic -n 5 --no-pager -o cat").ok();
    assert!(log.contains("backup failed"), "the system log says so: {log}");
    let status = town.fleet.run(&["status", &host.name, "--json"]).records().remove(0);
    assert_eq!(status["backup"]["ok"], false, "{status:#}");
    assert_eq!(host.sh(AS_CRON).code, Some(0), "the next night's is well again");
    eventually("all is well again", Duration::from_secs(60), || {
        let ran = town.fleet.run(&["status", &host.name, "--json"]);
        if ran.code == Some(0) { Ok(()) } else { Err(ran.stdout) }
    });
}

/// The look that cron takes every five minutes: proves that cron accepts the file and runs it.
#[test]
fn cron_itself_runs_what_fleet_wrote() {
    let host = town().two.clone();
    host.sh("touch /tmp/cron-waits").ok();
    eventually("cron looked", Duration::from_secs(330), || {
        let log = host.sh("journalctl -u cron --no-pager -o cat --since -10min | grep -F '(/opt/geoclic/bin/check' | tail -n 1");
        let state = host.sh("cat /opt/geoclic/check.state");
        if log.stdout.contains("CMD") && state.code == Some(0) {
            Ok(())
        } else {
            Err(format!("{log:?} {state:?}"))
        }
    });
    let refused = host.sh("journalctl -u cron --no-pager -o cat | grep -iE 'error|bad|wrong' || true").ok();
    assert_eq!(refused.trim(), "", "cron complains of nothing");
}
