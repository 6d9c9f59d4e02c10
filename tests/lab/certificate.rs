//! Renewal reaches what is served, disturbs nobody, and its failure is seen.

use std::sync::atomic::{AtomicBool, Ordering};

use super::kit::{get, serial, town};

#[test]
fn a_renewed_certificate_is_served_without_a_dropped_request() {
    let town = town();
    let host = &town.one;
    let proxy = "docker inspect -f '{{.ID}} {{.RestartCount}} {{.State.StartedAt}}' geoclic-nginx-1";
    let (before, nginx) = (serial(host), host.sh(proxy).ok());
    assert!(before.starts_with("serial="), "{before}");
    let stop = AtomicBool::new(false);
    let bad = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut bad, mut count) = (Vec::new(), 0);
            while !stop.load(Ordering::Relaxed) || count == 0 {
                let answer = get(host, "/api/health");
                count += 1;
                if answer.status != 200 {
                    bad.push(answer);
                }
            }
            bad
        });
        // The timer's own service; every certificate counts as due for this once.
        let renewal = "/etc/letsencrypt/renewal/*.conf";
        let said = host.sh(&format!(
            "set -e
             sed -i 's/^.*renew_before_expiry.*/renew_before_expiry = 3000 days/' {renewal}
             grep -q '^renew_before_expiry' {renewal} || sed -i '1i renew_before_expiry = 3000 days' {renewal}
             systemctl start certbot.service || {{ journalctl -u certbot --no-pager -n 30; tail -n 30 /var/log/letsencrypt/letsencrypt.log; exit 1; }}"
        ));
        host.sh(&format!("sed -i '/^renew_before_expiry/d' {renewal}")).ok();
        stop.store(true, Ordering::Relaxed);
        said.ok();
        asking.join().expect("the asking thread ends")
    });
    let after = serial(host);
    assert_ne!(after, before, "the certificate that is served is a new one");
    assert_eq!(host.sh(proxy).ok(), nginx, "the proxy is the same process, reloaded");
    assert!(bad.is_empty(), "every request was answered: {bad:?}");
    assert_eq!(get(host, "/api/health").status, 200, "the new chain verifies against the root");
    let disk = host.sh("openssl x509 -in /etc/letsencrypt/live/*/fullchain.pem -noout -serial").ok();
    assert_eq!(disk.trim(), after, "and it is the one that certbot holds");
}

#[test]
fn a_renewal_that_is_not_served_is_seen() {
    let town = town();
    let host = &town.two;
    let client = host.name.as_str();
    let hook = "/opt/geoclic/bin/certificate-installed";
    // The proxy is down: the hook must not claim success.
    let said = host.sh(&format!("docker stop -t 2 geoclic-nginx-1 >/dev/null; {hook}; code=$?; docker start geoclic-nginx-1 >/dev/null; exit $code"));
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("is on disk but nothing is served"), "{said:?}");
    let log = host.sh("journalctl -t fleet-geoclic -n 5 --no-pager -o cat").ok();
    assert!(log.contains("is on disk but nothing is served"), "the system log says so: {log}");
    // Another pair on disk than the one that is served, as after a hook that failed.
    host.sh(
        "set -e
         cd /opt/geoclic/tls
         cp -a fullchain.pem fullchain.kept && cp -a privkey.pem privkey.kept
         openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj /CN=stale -keyout privkey.pem -out fullchain.pem 2>/dev/null",
    )
    .ok();
    let status = town.fleet.run(&["status", client, "--json"]);
    let check = host.sh("/opt/geoclic/bin/check; cat /opt/geoclic/check.state");
    let pending = town.fleet.run(&["provision", client, "--yes", "--json"]);
    host.sh("rm -f /opt/geoclic/tls/*.kept").ok();
    let status = status.expect(1).records().remove(0);
    assert_eq!(status["tls"]["current"], false, "{status:#}");
    assert!(status["problems"].to_string().contains("certificate"), "{status:#}");
    assert!(check.stdout.contains("certificate on disk is not the one served"), "{check:?}");
    pending.expect(0).outcome(client, "changed");
    assert_eq!(get(host, "/api/health").status, 200, "the right pair is back");
    town.fleet.run(&["status", client]).expect(0);
    host.sh("/opt/geoclic/bin/check").ok();
}
