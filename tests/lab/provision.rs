//! From bare to serving; again without a change; and back by itself after a reboot.

use std::time::Duration;

use super::kit::{Host, eventually, get, lab, town};

#[test]
fn bare_hosts_become_serving_clients() {
    let town = town();
    for (host, name) in [(&town.one, "Ville d'Un"), (&town.two, "L'Haÿ \"Deux\" $HOME")] {
        town.first.outcome(&host.name, "changed");
        let answer = get(host, "/api/health");
        assert_eq!(answer.status, 200, "HTTPS of {}, verified against the ACME root: {answer:?}", host.name);
        let health = answer.json();
        assert_eq!(health["status"], "ok", "{health:#}");
        assert_eq!(health["sentry"]["environment"], host.name.as_str(), "its own environment: {health:#}");
        assert_eq!(health["name"], name, "its own name, letter by letter: {health:#}");
        assert_eq!(health["migrations"]["applied"], 3, "{health:#}");
        assert_eq!(health["database"]["status"], "ok", "{health:#}");
        for page in ["/", "/admin/", "/demandes/"] {
            let page = get(host, page);
            assert!(page.status < 400, "{}: {page:?}", host.name);
        }
        let says = host.sh(". /etc/os-release; echo $VERSION_ID; id -nG fleet; cat /opt/geoclic/current/source/VERSION; test ! -e /opt/geoclic/current/source/fleet && echo kept").ok();
        assert!(
            says.contains("14.0.0") && says.ends_with("kept\n"),
            "the vendor's own folder stays with the vendor: {says}"
        );
    }
    let names =
        town.two.sh("openssl x509 -in /etc/letsencrypt/live/*/fullchain.pem -noout -ext subjectAltName").ok();
    let domain = town.two.domain();
    assert!(
        names.contains(&format!("DNS:{domain}, DNS:www.{domain}")),
        "the alias is on the certificate: {names}"
    );
    let (one, two) = (debian(&town.one), debian(&town.two));
    assert_eq!((one.as_str(), two.as_str()), ("13", "12"), "one host of each Debian was provisioned");
}

fn debian(host: &Host) -> String {
    host.sh(". /etc/os-release; echo $VERSION_ID").ok().trim().to_owned()
}

#[test]
fn a_second_provision_changes_nothing_and_says_so() {
    let town = town();
    // Whatever another scenario left pending is done first.
    town.fleet.run(&["provision", "--all", "--yes"]).expect(0);
    let before: Vec<String> = town.hosts().map(Host::state).into();
    let ran = town.fleet.run(&["provision", "--all", "--yes", "--json"]).expect(0);
    let after: Vec<String> = town.hosts().map(Host::state).into();
    for host in town.hosts() {
        ran.outcome(&host.name, "unchanged");
    }
    assert_eq!(ran.steps(), Vec::<String>::new(), "no step is taken on a host that is as wanted");
    for (before, after) in before.iter().zip(&after) {
        same(before, after);
    }
    let look = town.fleet.run(&["provision", "--all", "--dry-run"]).expect(0);
    assert!(!look.stdout.contains("step"), "the plan is empty: {}", look.stdout);
}

/// Two states of a host are the same, line by line; the first lines that differ otherwise.
#[track_caller]
pub fn same(before: &str, after: &str) {
    assert!(before.lines().count() > 500, "the state of the host was really read:\n{before}");
    let (old, new): (std::collections::BTreeSet<_>, std::collections::BTreeSet<_>) =
        (before.lines().collect(), after.lines().collect());
    let gone: Vec<_> = old.difference(&new).take(10).collect();
    let come: Vec<_> = new.difference(&old).take(10).collect();
    assert!(gone.is_empty() && come.is_empty(), "the host changed\nbefore: {gone:#?}\nafter: {come:#?}");
}

#[test]
fn a_reboot_brings_everything_back_by_itself() {
    let town = town();
    let host = &town.one;
    town.fleet.run(&["provision", &host.name, "--yes"]).expect(0);
    let boot = host.sh("cat /proc/1/stat | cut -d' ' -f22").ok();
    let before = host.containers("geoclic");
    lab().script(&["fault", &host.name, "reboot"]);
    host.wait_for_login();
    assert_ne!(host.sh("cat /proc/1/stat | cut -d' ' -f22").ok(), boot, "the host really booted again");
    eventually("HTTPS answers after a reboot", Duration::from_secs(120), || {
        let answer = get(host, "/api/health");
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    eventually("all containers are healthy after a reboot", Duration::from_secs(120), || {
        let ran = town.fleet.run(&["status", &host.name, "--json"]);
        let status = ran.records().remove(0);
        if ran.code == Some(0) && status["problems"] == serde_json::json!([]) {
            Ok(())
        } else {
            Err(format!("{status:#}"))
        }
    });
    assert_eq!(host.containers("geoclic"), before, "the same containers, started again");
    let units = host.sh("nft list table inet fleet | head -n 1; systemctl is-active cron certbot.timer docker fleet-geoclic").ok();
    assert!(units.starts_with("table inet fleet"), "the firewall is loaded: {units}");
    assert_eq!(units.lines().skip(1).collect::<Vec<_>>(), ["active"; 4], "{units}");
    let ran = town.fleet.run(&["provision", &host.name, "--yes", "--json"]).expect(0);
    ran.outcome(&host.name, "unchanged");
}
