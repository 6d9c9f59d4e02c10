//! A client whose server is gone, and one who leaves.

use super::kit::{Host, get, lab, post, town};

/// Rows of every table and hashes of every photo.
fn contents(host: &Host) -> String {
    host.sh(
        "docker exec geoclic-database-1 psql -U geoclic -d geoclic -AtXc \"select 'demandes', count(*), md5(string_agg(id::text, ',' order by id)) from demandes union all select 'photos', count(*), md5(string_agg(nom || sha256, ',' order by nom)) from photos union all select 'migrations', count(*), md5(string_agg(name || sha256, ',' order by name)) from fleet_migrations\"
cd \"$(docker volume inspect -f '{{.Mountpoint}}' geoclic_photos)\"
find . -printf '%p %y %m %U:%G\\n' | sort
find . -type f -print0 | sort -z | xargs -0 -r sha256sum",
    )
    .ok()
}

#[test]
fn a_client_leaves_and_one_that_was_destroyed_is_rebuilt() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    for title in ["un", "deux", "trois"] {
        let body = format!("{{\"titre\": \"{title}\"}}");
        assert_eq!(post(host, "/api/demandes", "application/json", body.as_bytes()).status, 201);
        assert_eq!(
            post(host, "/api/photos", "application/octet-stream", title.repeat(5000).as_bytes()).status,
            201
        );
    }
    // The worker takes new requests in hand; what is compared below does not change by that.
    fleet.run(&["backup", client]).expect(0);
    let (data, state) = (contents(host), host.sh("cat /opt/geoclic/state.json").ok());
    let secret = fleet.secret(client, "JWT_SECRET_KEY");

    // One who leaves: in a registry of its own, so that this one still knows the client.
    let leaving = fleet.copy("leaving");
    let other = leaving.copy("leaving-elsewhere");
    other.edit("clients.toml", &format!("[clients.{client}]"), "[clients.somebody]");
    other.run(&["remove", "somebody", "--purge", "--no-final-backup", "--yes"]).expect(3);
    assert_eq!(get(host, "/api/health").status, 200, "a host of another client is not touched");
    leaving.run(&["remove", client, "--purge"]).expect(2);
    // Without a repository that can be written there is no final backup, and so nothing else.
    let broken = leaving.copy("leaving-broken");
    broken.write(&format!("backups/{client}/config"), "damaged");
    let ran = broken.run(&["remove", client, "--purge", "--yes", "--json"]).expect(1);
    assert_eq!(ran.outcome(client, "failed")["fault"]["step"], "take a final backup");
    assert!(broken.read("clients.toml").contains(&format!("[clients.{client}]")));
    assert_eq!(get(host, "/api/health").status, 200);
    let plan = leaving.run(&["remove", client, "--purge", "--dry-run"]).expect(0);
    assert!(
        plan.stdout.contains("take a final backup") && plan.stdout.contains("/opt/geoclic"),
        "{}",
        plan.stdout
    );
    assert_eq!(get(host, "/api/health").status, 200);
    let (mut child, _lines) =
        leaving.until_step(&["remove", client, "--purge", "--yes", "--json"], "remove containers");
    child.kill().expect("SIGKILL");
    child.wait().expect("it is gone");
    let ran = leaving.run(&["remove", client, "--purge", "--yes", "--json"]).expect(0);
    ran.outcome(client, "changed");
    assert!(
        !ran.steps().iter().any(|step| step.contains("backup")),
        "it was saved before the cut: {:?}",
        ran.steps()
    );
    assert!(!leaving.read("clients.toml").contains(&format!("[clients.{client}]")));
    let left = host.sh(
        "docker ps -aq; docker volume ls -q; docker network ls -q --filter label=com.docker.compose.project; docker image ls -q 'geoclic/*'
ls -d /opt/geoclic /etc/cron.d/fleet-geoclic /etc/systemd/system/fleet-geoclic.service /etc/letsencrypt/live/*/ /run/fleet/geoclic.lease 2>/dev/null; true",
    );
    assert_eq!(left.ok(), "", "nothing of the stack is left");

    // The server burns down. A bare one has its address, and keys of its own.
    lab().script(&["replace", client]);
    let refused = fleet.run(&["restore", client, "--to-new-host", "--yes"]).expect(4);
    assert!(
        refused.stderr.contains("ssh-keygen -R"),
        "a changed host key is told of, not taken: {}",
        refused.stderr
    );
    // The client's secrets are lost here too, but for the key on paper; and the old address is nobody's.
    let (recovery, address) = (fleet.path("recovery.age"), host.address.to_string());
    let recovery = recovery.to_str().expect("a path");
    fleet.run(&["backups", "recovery-key", "--out", recovery]).expect(0);
    for entry in std::fs::read_dir(fleet.path("secrets")).expect("a folder").flatten() {
        if entry.file_name().to_string_lossy().starts_with(&format!("{client}.")) {
            std::fs::remove_file(entry.path()).expect("it goes");
        }
    }
    let ip = |address: &str| format!("ip = \"{address}\"");
    fleet.edit("clients.toml", &ip(&address), &ip("192.0.2.9"));
    let words = ["restore", client, "--to-new-host", "--ip", &address, "--yes", "--json"];
    let lost = fleet.run(&words).expect(3);
    assert!(lost.stderr.contains("recovery-key --import"), "{}", lost.stderr);
    fleet.run(&["backups", "recovery-key", "--import", recovery]).expect(0);
    let (mut child, _lines) =
        fleet.until_step(&[&words[..], &["--new-host-key"]].concat(), "restore the database");
    child.kill().expect("SIGKILL");
    child.wait().expect("it is gone");
    assert!(fleet.read("clients.toml").contains(&ip("192.0.2.9")), "it does not serve there yet");
    let ran = fleet.run(&words).expect(0);
    assert!(fleet.read("clients.toml").contains(&ip(&address)), "it serves there");
    let ended = ran.outcome(client, "changed");
    assert!(ended["summary"].to_string().contains("restored from snapshot"), "{ended:#}");
    assert_eq!(get(host, "/api/health").status, 200);
    assert_eq!(contents(host), data, "rows and files are those of before");
    let now: serde_json::Value =
        serde_json::from_str(&host.sh("cat /opt/geoclic/state.json").ok()).expect("JSON");
    let was: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    assert_eq!(now["release"], was["release"], "the snapshot's release");
    assert_eq!(now["env_digest"], was["env_digest"], "every value of its environment");
    assert_eq!(fleet.secret(client, "JWT_SECRET_KEY"), secret, "no secret was made anew");
    fleet.run(&words).expect(0).outcome(client, "unchanged");
    fleet.run(&["update", client, "--yes"]).expect(0);
    fleet.run(&["provision", client, "--yes", "--json"]).expect(0).outcome(client, "unchanged");
}
