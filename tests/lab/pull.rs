//! The operator's backup of real clients: pulled, again after a change, verified, read by stock restic.

use std::process::Command;

use super::kit::{get, post, town};

#[test]
fn two_clients_are_backed_up_and_read_back() {
    let town = town();
    let (fleet, host, name) = (&town.fleet, &town.one, town.one.name.as_str());
    let row = post(host, "/api/demandes", "application/json", r#"{"titre": "banc cassé"}"#.as_bytes());
    assert_eq!(row.status, 201, "{row:?}");
    let picture: Vec<u8> = (0..300_000_u32).map(|n| (n * 31 % 253) as u8).collect();
    let photo = post(host, "/api/photos", "application/octet-stream", &picture);
    assert_eq!(photo.status, 201, "{photo:?}");
    let picture_name = photo.json()["nom"].as_str().expect("a name").to_owned();

    // Of both systems.
    let first = fleet.run(&["backup", "--all", "--json"]).expect(0);
    for client in town.hosts() {
        first.outcome(&client.name, "changed");
    }
    let shown = fleet.run(&["backups", "show", name, "--files", "--json"]).expect(0).records().remove(0);
    let manifest = &shown["manifest"];
    assert_eq!(manifest["release"]["id"], serde_json::json!(release(host)), "{manifest}");
    assert!(manifest["migration"].is_string() && manifest["complete"] == true, "{manifest}");
    let counted = host
        .sh("docker exec geoclic-database-1 psql -U geoclic -d geoclic -AtXc 'select count(*) from demandes'")
        .ok();
    let rows = manifest["database"]["rows"].as_array().expect("rows");
    let demandes = rows.iter().find(|rows| rows["table"] == "demandes").expect("the table");
    assert_eq!(demandes["rows"].to_string(), counted.trim());
    let paths: Vec<&str> = shown["content"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|entry| entry["path"].as_str())
        .collect();
    for path in ["client/clients.toml", "client/secrets.age", "database/geoclic.dump", "files/release/.env"] {
        assert!(paths.contains(&path), "{path} is in {paths:?}");
    }
    // The key of the repository is the operator's: no host has it.
    let key = fleet.secret(name, "FLEET_BACKUP_KEY");
    assert_ne!(host.sh(&format!("grep -rqF {key} /opt /etc /root; echo $?")).ok().trim(), "0");

    // A second one reads what changed; of two of one day `daily = 2` keeps the newer.
    let again = fleet.run(&["backup", name, "--json"]).expect(0);
    again.outcome(name, "changed");
    let list = fleet.run(&["backups", "list", name, "--json"]).expect(0).records();
    assert_eq!(list.len(), 1, "{list:?}");
    assert_ne!(list[0]["id"], shown["id"]);
    assert!(list[0]["added_bytes"].as_u64().expect("bytes") < 100_000, "{list:?}");
    let verified = fleet.run(&["backups", "verify", "--read-data", "--json"]).expect(0).records();
    assert!(verified.iter().all(|record| record["ok"] == true), "{verified:?}");
    let status = fleet.run(&["status", name, "--json"]).records().remove(0);
    assert_eq!(status["pulled"]["snapshot"], list[0]["id"], "{status}");

    let restic = |path: &str| {
        let output = Command::new("restic")
            .args(["--no-cache", "-r"])
            .arg(fleet.path(&format!("backups/{name}")))
            .args(["dump", "latest", path])
            .env("RESTIC_PASSWORD", &key)
            .output()
            .expect("restic is missing: apt-get install restic");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    assert_eq!(restic(&format!("/files/volumes/photos/{picture_name}")), picture);
    // The dump is one: it lists, and restores into a database of its own.
    let dump = restic("/database/geoclic.dump");
    // A run that failed half way may have left one.
    host.sh("docker exec geoclic-database-1 dropdb --if-exists -U geoclic pulled").ok();
    host.run("sudo docker exec -i geoclic-database-1 createdb -U geoclic pulled", b"").ok();
    host.run(
        "sudo docker exec -i geoclic-database-1 pg_restore -U geoclic -d pulled --no-owner --exit-on-error",
        &dump,
    )
    .ok();
    let back = host
        .sh("docker exec geoclic-database-1 psql -U geoclic -d pulled -AtXc 'select count(*) from demandes'
             docker exec geoclic-database-1 dropdb -U geoclic pulled")
        .ok();
    assert_eq!(back.trim(), counted.trim());
    assert_eq!(get(host, "/api/health").status, 200);

    let out = fleet.path("left");
    fleet
        .run(&["backups", "export", name, "--out", out.to_str().expect("a path"), "--without-secrets"])
        .expect(0);
    let files: Vec<String> = std::fs::read_dir(&out)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    assert!(
        files.contains(&"geoclic.dump".to_owned()) && files.contains(&"files.tar".to_owned()),
        "{files:?}"
    );
    assert!(!files.contains(&"secrets.age".to_owned()), "{files:?}");
}

fn release(host: &super::kit::Host) -> String {
    let state: serde_json::Value =
        serde_json::from_str(&host.sh("cat /opt/geoclic/state.json").ok()).expect("a state");
    state["release"].as_str().expect("a release").to_owned()
}
