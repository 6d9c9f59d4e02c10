//! Images that the operator's machine builds: whether it can is known before a host is contacted.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use super::support::Fleet;

#[test]
fn without_docker_a_run_that_must_build_is_refused_before_any_contact() {
    let fleet = Fleet::with_clients();
    let stack = fleet
        .read("stacks/tiny/stack.toml")
        .replace("[services.web]\n", "[source]\nbuild = \"operator\"\n\n[services.web]\nbuild = \"web\"\n");
    fleet.write("stacks/tiny/stack.toml", stack);
    fleet.write("app/web/Dockerfile", "FROM scratch\n");
    fleet.edit("stack = \"tiny\"", "stack = \"tiny\"\nsource = \"app\"");
    for client in ["ville-lyon", "brest"] {
        fleet.with_input(["secrets", "set", client, "SMTP_PASSWORD"], b"Poison-smtp-7Q2xK9\n").ok();
    }
    let tools = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    for docker in [None, Some("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")] {
        if let Some(text) = docker {
            let path = tools.path().join("docker");
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut command = fleet.command(["update", "--all", "--yes"]);
        let started = Instant::now();
        let output = command.env("PATH", tools.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert!(started.elapsed() < Duration::from_secs(8), "no host was waited for");
        said.push(String::from_utf8(output.stderr).unwrap());
        assert!(output.stdout.is_empty());
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
    error: the images of stack tiny are built on this machine, and docker is not installed on this
           machine
      hint: install Docker here and start it, or say `build = "host"` under [source] in stack.toml

    error: the images of stack tiny are built on this machine, and docker on this machine does not
           answer: Cannot connect to the Docker daemon
      hint: install Docker here and start it, or say `build = "host"` under [source] in stack.toml
    "#);
}
