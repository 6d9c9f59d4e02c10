//! Commands of a stack around an update, where they run and what becomes of one that fails.

use super::kit::{get, street};

const FAILING: &str = r#"
[hooks]
pre_update = [{ command = ["sh", "-c", "echo the office is closed; exit 3"] }]
"#;

const WORKING: &str = r#"
[hooks]
pre_update = [{ command = ["sh", "-c", 'echo "$FLEET_CLIENT $FLEET_PREVIOUS_RELEASE" >> told.txt'], on = "local" }]
post_update = [{ command = ["sh", "-c", 'echo "$FLEET_RELEASE $FLEET_OUTCOME" > /tmp/told'], on = "service:api" }]
"#;

#[test]
fn a_hook_that_fails_stops_its_client_and_twice_the_same_is_not_tried_by_a_pattern() {
    let street = street();
    street.settle();
    let (fleet, host) = (&street.fleet, &street.shops[4]);
    let (client, pattern) = (host.name.as_str(), format!("{}*", host.name));
    let stack = fleet.read("stacks/shop/stack.toml");
    let was = (host.containers("shop"), host.sh("readlink /opt/shop/current").ok());
    street.release("hooked");
    fleet.write("stacks/shop/stack.toml", &(stack.clone() + FAILING));
    let first = fleet.run(&["update", client, "--yes", "--json"]);
    let second = fleet.run(&["update", client, "--yes", "--json"]);
    let third = fleet.run(&["update", &pattern, "--yes", "--json"]);
    let named = fleet.run(&["update", client, "--yes", "--json"]);
    let now = (host.containers("shop"), host.sh("readlink /opt/shop/current").ok());
    fleet.write("stacks/shop/stack.toml", &(stack.clone() + WORKING));
    let well = fleet.run(&["update", client, "--yes", "--json"]);
    let told = host.exec("shop", "api", "cat /tmp/told").stdout;
    let release = host.sh("basename \"$(readlink /opt/shop/current)\"").ok();
    fleet.write("stacks/shop/stack.toml", &stack);
    street.settle();

    for failed in [first, second, named] {
        let ended = failed.expect(1).outcome(client, "failed");
        let fault = &ended["fault"];
        assert!(fault["message"].as_str().is_some_and(|text| text.contains("exit code 3")), "{ended:#}");
        assert_eq!(fault["lines"][0], "the office is closed", "{ended:#}");
    }
    assert_eq!(was, now, "nothing of the client was touched");
    let reason = third.expect(1).outcome(client, "skipped")["reason"].to_string();
    assert!(
        reason.contains("failed twice") && reason.contains(&format!("fleet update {client}")),
        "{reason}"
    );

    well.expect(0).outcome(client, "changed");
    assert_eq!(get(host, "/health").json()["status"], "ok");
    let before = was.1.trim().rsplit('/').next().unwrap_or_default().to_owned();
    assert_eq!(fleet.read("told.txt"), format!("{client} {before}\n"), "on this machine");
    assert_eq!(told, format!("{} changed\n", release.trim()), "in the service, once it had changed");
}
