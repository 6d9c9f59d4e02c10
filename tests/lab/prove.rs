//! A pulled backup is restored in a container on the operator's machine, which reaches nothing and ends with fleet.

use std::time::Duration;

use serde_json::{Value, json};

use super::kit::{Fleet, docker, eventually, mirror, town};

/// The container of the proof that runs.
fn container(fleet: &Fleet) -> Option<String> {
    let names = std::fs::read_dir(fleet.path(".fleet/prove")).ok()?.flatten();
    let ids = names.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".lock").map(str::to_owned));
    let names = ids.map(|id| format!("fleet-prove-{id}"));
    names.into_iter().find(|name| docker(&["inspect", name]).status.success())
}

#[test]
fn a_backup_is_proved_in_a_container_that_reaches_nothing() {
    let town = town();
    let name = town.one.name.as_str();
    town.fleet.run(&["backup", name, "--json"]).expect(0).outcome(name, "changed");
    let fleet = town.fleet.copy("prove");
    let table = format!("[clients.{name}]");
    let image = format!("[fleet.backup]\nprove_image = \"{}/library/postgres\"\n\n{table}", mirror());
    fleet.edit("clients.toml", &table, &image);
    let words = ["backups", "prove", name, "--with", "docker", "--json"];
    let record = fleet.run(&words).expect(0).records().remove(0);
    assert_eq!((&record["ok"], &record["faults"]), (&json!(true), &json!([])), "{record:#}");
    assert!(record["with"].as_str().expect("with").starts_with("a container of 127.0.0.1:"), "{record:#}");
    let tables = record["tables"].as_array().expect("tables");
    let demandes = tables.iter().find(|table| table["table"] == "demandes").expect("the table");
    assert_eq!(demandes["wanted"], demandes["found"], "{record:#}");
    let status = fleet.run(&["status", name, "--json"]).records().remove(0);
    assert!(status["pulled"]["proved"].is_string(), "{status:#}");

    // While it runs it is as locked up as promised, and a kill takes it along.
    let mut child = fleet.command(&words).spawn().expect("fleet runs");
    let mut proof = String::new();
    eventually("its container runs", Duration::from_secs(90), || {
        proof = container(&fleet).ok_or("not yet")?;
        Ok(())
    });
    let inspected: Value = serde_json::from_slice(&docker(&["inspect", &proof]).stdout).expect("JSON");
    let (host, config) = (&inspected[0]["HostConfig"], &inspected[0]["Config"]);
    assert_eq!((&host["NetworkMode"], &host["CapDrop"]), (&json!("none"), &json!(["ALL"])), "{host:#}");
    assert_eq!(
        (&config["User"], &host["Binds"], &host["Privileged"]),
        (&json!("postgres"), &json!(null), &json!(false))
    );
    assert!(host["SecurityOpt"].to_string().contains("no-new-privileges"), "{host:#}");
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    eventually("its container is gone", Duration::from_secs(60), || {
        match docker(&["inspect", &proof]).status.success() {
            true => Err(format!("{proof} is still there")),
            false => Ok(()),
        }
    });
}
