//! Stacks that fleet knows nothing of: the tiny one of this repository, and one written here and now.

use std::path::Path;
use std::time::Duration;

use super::cuts::after_the_kill;
use super::kit::fleet::copy_tree;
use super::kit::{Fleet, Host, eventually, get, lab};

#[test]
fn the_tiny_stack_serves_from_a_bare_host() {
    let host = lab().host("client-4");
    let client = host.name.as_str();
    let fleet =
        Fleet::new("tiny", "stacks/tiny", "", &Fleet::client(&host, "env = { GREETING = \"bon'jour $x\" }"));
    copy_tree(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps/tiny"), &fleet.path("stacks/tiny"));
    let before = host.logins().0;
    fleet.run(&["provision", client, "--yes", "--json"]).expect(0).outcome(client, "changed");
    // The second of them is this look.
    assert_eq!(host.logins().0 - before, 2, "a host is provisioned over one connection");
    let health = get(&host, "/health");
    assert_eq!((health.status, health.json()["status"].as_str()), (200, Some("ok")), "{health:?}");
    assert!(get(&host, "/").body.contains("bon'jour $x"), "{:?}", get(&host, "/"));
    fleet.run(&["provision", client, "--yes", "--json"]).expect(0).outcome(client, "unchanged");
    let before = host.containers("tiny");

    // Another greeting is another environment: the service that reads it is replaced, the proxy is not.
    fleet.edit("clients.toml", "bon'jour $x", "salut");
    fleet.run(&["update", client, "--yes", "--json"]).expect(0).outcome(client, "changed");
    assert!(get(&host, "/").body.contains("salut"), "{:?}", get(&host, "/"));
    let after = host.containers("tiny");
    assert_eq!(before["web"], after["web"], "the proxy was left alone");
    assert_ne!(before["hello"], after["hello"]);
    let token = fleet.secret(client, "TOKEN");
    assert_eq!(host.exec("tiny", "hello", "printenv TOKEN").ok().trim(), token);
    fleet.run(&["status", client]).expect(0);
    let dump = host.sh("/opt/tiny/bin/backup && ls /opt/tiny/backups/nightly-*");
    assert!(
        dump.code == Some(0) && dump.stdout.contains("visits.tar.gz"),
        "a stack without a database: {dump:?}"
    );
    another_key(&fleet, &host);
}

/// The fleet's key is exchanged; a server that does not answer keeps the old one in use.
fn another_key(fleet: &Fleet, host: &Host) {
    let body = |text: String| text.split(' ').nth(1).expect("a key").to_owned();
    let ours = || body(fleet.read("keys/fleet_ed25519.pub"));
    let let_in = || host.sh("cat /home/debian/.ssh/authorized_keys").ok();
    let (registry, old) = (fleet.read("clients.toml"), ours());
    let gone = "\n[clients.gone]\ndomain = \"gone.fleet.test\"\nip = \"127.0.0.1\"\nport = 9\n";
    fleet.write("clients.toml", &(registry.clone() + gone));
    let words = ["ssh-key", "rotate", "--yes"];
    let told = fleet.run(&words).expect(1);
    assert!(
        told.stderr.contains("gone: ") && told.stderr.contains("works on every server as before"),
        "{told:?}"
    );
    let new = body(fleet.read("keys/fleet_ed25519.next.pub"));
    assert!(ours() == old && let_in().contains(&old) && let_in().contains(&new), "{}", let_in());
    fleet.write("clients.toml", &registry);
    fleet.run(&words).expect(0);
    assert_eq!(ours(), new, "it went on with the key that was begun with");
    assert!(!let_in().contains(&old) && let_in().contains(&new), "{}", let_in());
    fleet.run(&["status", &host.name]).expect(0);
    for left in ["next", "next.pub", "old", "old.pub"] {
        assert!(!fleet.path(&format!("keys/fleet_ed25519.{left}")).exists(), "{left} is left");
    }
    // For a run that uses the same hosts again.
    host.sh(&format!("echo 'ssh-ed25519 {old} lab' >> /home/debian/.ssh/authorized_keys")).ok();
}

const STACK: &str = r#"
name = "marche"
compose = "compose.yml"
[[files]]
template = "compose.tera"
destination = "compose.yml"
[[files]]
template = "site.conf.tera"
destination = "site.conf"
[env.TITRE]
required = true
help = "what the page says"
[env.CLE]
generate = "hex:24"
help = "a secret of each client's own"
[services.site]
health = { http = { port = 80, path = "/sante" } }
[health]
path = "/sante"
"#;

const COMPOSE: &str = r#"services:
  site:
    image: nginx:1.28
    restart: unless-stopped
    ports: ["80:80"]
    volumes:
      - {{ (mount(file="site.conf") ~ ":/etc/nginx/conf.d/default.conf:ro") | compose }}
"#;

const SITE: &str = r#"server {
    listen 80;
    location /sante { return 200 "bon\n"; }
    location / { return 200 {{ env.TITRE | nginx }}; }
}
"#;

/// No file of this stack existed when fleet was built, and each run but the last is killed.
#[test]
fn a_new_stack_on_a_bare_host_survives_kills_on_the_way() {
    let host = lab().host("client-3");
    let client = host.name.as_str();
    let fleet =
        Fleet::new("marche", "marche", "", &Fleet::client(&host, "env = { TITRE = \"Marché du samedi\" }"));
    for (name, text) in [("stack.toml", STACK), ("compose.tera", COMPOSE), ("site.conf.tera", SITE)] {
        fleet.write(&format!("stacks/marche/{name}"), text);
    }
    let words = ["provision", client, "--yes", "--json"];
    for step in ["install packages", "install Docker", "write firewall rules", "pull images", "commit"] {
        let (mut child, _lines) = fleet.until_step(&words, step);
        // Well into the step, not at its edge.
        std::thread::sleep(Duration::from_millis(1500));
        child.kill().expect("SIGKILL");
        child.wait().expect("it is gone");
        if host.sh("test -s /run/fleet/marche.lease").code == Some(0) {
            after_the_kill(&fleet, &host, &words);
        }
        // The next run waits for it too, but not as long as apt may take on a machine that makes ten hosts at once.
        eventually("the command that was cut off ends", Duration::from_secs(400), || {
            let lock = "/run/fleet/marche.work";
            let free = host.sh(&format!("[ ! -e {lock} ] || flock -n {lock} true"));
            if free.code == Some(0) { Ok(()) } else { Err(format!("{free:?}")) }
        });
    }
    let secret = fleet.secret(client, "CLE");
    let last = fleet.run(&words).expect(0);
    assert_ne!(last.ended(client)["outcome"], "failed");
    let url = format!("http://{}/", host.address);
    let ask = |path: &str| {
        let output = std::process::Command::new("curl")
            .args(["-sS", "--max-time", "10", "--noproxy", "*", &format!("{url}{path}")])
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually("the page is served", Duration::from_secs(20), || {
        let page = ask("");
        if page == "Marché du samedi" { Ok(()) } else { Err(page) }
    });
    assert_eq!(ask("sante"), "bon\n");
    fleet.run(&words).expect(0).outcome(client, "unchanged");
    assert_eq!(fleet.secret(client, "CLE"), secret, "a cut run never makes another secret");
    fleet.run(&["status", client]).expect(0);
}
