//! `fleet check` against what the host really is: each fault is made, reported as itself and as nothing else,
//! and told once; healed, it is told with how long it lasted.

use std::time::Duration;

use super::kit::{Fleet, Host, Ran, eventually, town};

/// Names of the checks that fail.
fn failing(ran: &Ran, client: &str) -> Vec<String> {
    let records = ran.records();
    let record = records.iter().find(|record| record["client"] == client).expect("a record of the client");
    let checks = record["checks"].as_array().expect("its checks").iter();
    checks.filter(|check| check["state"] == "failing").map(|check| check["check"].to_string()).collect()
}

fn well(fleet: &Fleet, client: &str) {
    eventually("all is well", Duration::from_secs(90), || {
        let ran = fleet.run(&["check", client, "--no-notify", "--json"]);
        if ran.code == Some(0) { Ok(()) } else { Err(ran.stdout) }
    });
}

fn heard(fleet: &Fleet) -> String {
    std::fs::read_to_string(fleet.path("heard")).unwrap_or_default()
}

/// A fault is made, found by two checks, told once; healed, told once.
fn fault(fleet: &Fleet, host: &Host, checks: &[&str], words: &str, make: &str, heal: &str) {
    let client = host.name.as_str();
    let before = heard(fleet).len();
    host.sh(make).ok();
    let wanted: Vec<String> = checks.iter().map(|check| format!("{check:?}")).collect();
    eventually(&format!("{checks:?} is found"), Duration::from_secs(60), || {
        let ran = fleet.run(&["check", client, "--no-notify", "--json"]);
        if failing(&ran, client) == wanted { Ok(()) } else { Err(ran.stdout) }
    });
    for _ in 0..3 {
        fleet.run(&["check", client, "--quiet"]).expect(1);
    }
    let told = heard(fleet)[before..].to_owned();
    assert_eq!(told.matches("PROBLEM").count(), checks.len(), "{checks:?}: told once: {told}");
    assert!(told.contains(words), "{checks:?}: {told}");
    host.sh(heal).ok();
    well(fleet, client);
    for _ in 0..2 {
        fleet.run(&["check", client, "--quiet"]).expect(0);
    }
    let told = heard(fleet)[before..].to_owned();
    assert_eq!(told.matches("RECOVERED").count(), checks.len(), "{checks:?}: its end is told once: {told}");
    assert_eq!(told.matches("PROBLEM").count(), checks.len(), "{told}");
}

/// Its container, whatever it is called: each update gives it another number.
const PORTAIL: &str = "$(docker ps -aq --filter label=com.docker.compose.project=geoclic --filter label=com.docker.compose.service=portail | head -n 1)";

const CHANNEL: &str = "\n[notify.file]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"cat >> heard\"]\n";

#[test]
fn each_fault_of_a_host_is_reported_as_itself_and_told_once() {
    let town = town();
    let (fleet, host) = (&town.fleet.copy("check"), &town.two);
    let registry = fleet.read("clients.toml");
    fleet.write("clients.toml", &format!("{registry}{CHANNEL}"));
    let client = host.name.as_str();
    // The watch has looked, so that its silence can be told from its absence.
    host.sh("/opt/geoclic/bin/backup; /opt/geoclic/bin/check").ok();
    well(fleet, client);
    let status = fleet.run(&["status", client, "--json"]).expect(0).records().remove(0);
    assert!(status["security_updates"].is_u64(), "the watch counted what waits: {status:#}");
    assert_eq!(status["cron"]["active"], true, "{status:#}");
    assert!(status["clock_skew"].as_i64().expect("it told its time").abs() <= 2, "{status:#}");
    assert!(status["tls"]["fraction_left"].as_f64().expect("two dates") > 0.9, "{status:#}");

    fault(fleet, host, &["cron"], "cron is inactive", "systemctl stop cron", "systemctl start cron");
    fault(
        fleet,
        host,
        &["cron"],
        "its own watch is silent for",
        "mv /opt/geoclic/check.state /opt/geoclic/check.kept; echo \"$(($(date +%s) - 7200)) ok\" > /opt/geoclic/check.state",
        "mv -f /opt/geoclic/check.kept /opt/geoclic/check.state; /opt/geoclic/bin/check",
    );
    fault(
        fleet,
        host,
        &["files"],
        "edited on the host: docker-compose.yml",
        "cp -p /opt/geoclic/current/docker-compose.yml /root/kept; echo '# by hand' >> /opt/geoclic/current/docker-compose.yml",
        "cp -p /root/kept /opt/geoclic/current/docker-compose.yml",
    );
    fault(
        fleet,
        host,
        &["stack.portail"],
        "check portail answers",
        &format!("docker exec -u 0 {PORTAIL} mv /usr/share/nginx/html/index.html /usr/share/nginx/html/kept"),
        &format!("docker exec -u 0 {PORTAIL} mv /usr/share/nginx/html/kept /usr/share/nginx/html/index.html"),
    );
    // The machines of the lab have one clock; the probe is told another time.
    fault(
        fleet,
        host,
        &["clock"],
        "s ahead",
        "printf '#!/bin/sh\\nexec /usr/bin/date -d \"+5 minutes\" \"$@\"\\n' >/usr/local/sbin/date; chmod 755 /usr/local/sbin/date; /opt/geoclic/bin/check",
        "rm /usr/local/sbin/date; /opt/geoclic/bin/check",
    );
    fault(
        fleet,
        host,
        &["clock"],
        "s behind",
        "printf '#!/bin/sh\\nexec /usr/bin/date -d \"-5 minutes\" \"$@\"\\n' >/usr/local/sbin/date; chmod 755 /usr/local/sbin/date",
        "rm /usr/local/sbin/date; /opt/geoclic/bin/check",
    );
    // A small disk over the folder, full to its last byte; what is below stays as it is.
    fault(
        fleet,
        host,
        &["disk"],
        "disk 100% full",
        "mkdir -p /run/small && mount -t tmpfs -o size=4m small /run/small && mkdir /run/small/up /run/small/work && \
         mount -t overlay small -o lowerdir=/opt/geoclic,upperdir=/run/small/up,workdir=/run/small/work /opt/geoclic && \
         { dd if=/dev/zero of=/opt/geoclic/fill bs=4k 2>/dev/null || true; }",
        "umount -l /opt/geoclic; umount -l /run/small",
    );
    fault(
        fleet,
        host,
        &["backup"],
        "nightly dump failed",
        "mv /opt/geoclic/backups/last /root/last; echo \"$(date +%s) failed no space left\" > /opt/geoclic/backups/last",
        "mv -f /root/last /opt/geoclic/backups/last",
    );
    fault(
        fleet,
        host,
        &["containers", "stack.portail"],
        "portail exited",
        &format!("docker kill {PORTAIL} >/dev/null"),
        &format!("docker start {PORTAIL} >/dev/null"),
    );
    fault(
        fleet,
        host,
        &["certificate"],
        "certificate on disk is not served",
        "cd /opt/geoclic/tls && cp -a fullchain.pem /root/fullchain && cp -a privkey.pem /root/privkey && openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj /CN=stale -keyout privkey.pem -out fullchain.pem 2>/dev/null",
        "cp -a /root/fullchain /opt/geoclic/tls/fullchain.pem && cp -a /root/privkey /opt/geoclic/tls/privkey.pem",
    );
    fault(
        fleet,
        host,
        &["certificate"],
        "certificate expired",
        EXPIRED,
        "cp -a /root/fullchain /opt/geoclic/tls/fullchain.pem && cp -a /root/privkey /opt/geoclic/tls/privkey.pem && docker exec geoclic-nginx-1 nginx -s reload 2>/dev/null",
    );
}

/// A certificate whose last day is long ago, on the disk and served.
const EXPIRED: &str = "set -e
rm -rf /root/ca; mkdir /root/ca; cd /root/ca; touch index; echo 0A >serial
printf '[ca]\ndefault_ca=it\n[it]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n' >conf
openssl req -new -newkey rsa:2048 -nodes -subj /CN=old -keyout key.pem -out request.pem 2>/dev/null
openssl ca -batch -notext -config conf -selfsign -keyfile key.pem -in request.pem -startdate 20250101000000Z -enddate 20250201000000Z -out cert.pem 2>/dev/null
cat cert.pem >/opt/geoclic/tls/fullchain.pem; cat key.pem >/opt/geoclic/tls/privkey.pem
docker exec geoclic-nginx-1 nginx -s reload 2>/dev/null; sleep 2";

/// The disk is full from where fleet looks: a file system of its own over the folder of the dumps cannot
/// be seen by df of /opt/geoclic, so the limit is put below what is used.
#[test]
fn a_limit_is_the_clients_own() {
    let town = town();
    let (fleet, host) = (&town.fleet.copy("check-limit"), &town.one);
    let client = host.name.as_str();
    let registry = fleet.read("clients.toml");
    let table = format!("[clients.{client}]\n");
    assert!(registry.contains(&table));
    fleet.write(
        "clients.toml",
        &registry.replace(&table, &format!("{table}checks = {{ disk_percent = 1 }}\n")),
    );
    let ran = fleet.run(&["check", client, "--no-notify", "--json"]).expect(1);
    let status = fleet.run(&["status", client, "--json"]).expect(1).records().remove(0);
    fleet.write("clients.toml", &registry);
    assert_eq!(failing(&ran, client), ["\"disk\""], "{}", ran.stdout);
    assert!(status["problems"].to_string().contains("disk "), "status and check agree: {status:#}");
}

/// The watch of the host tells a service that counts its runs how it went; the address is in no list of
/// processes and in no file that others may read.
#[test]
fn the_hosts_own_watch_pings() {
    let town = town();
    let (fleet, host) = (&town.fleet.copy("check-ping"), &town.two);
    let client = host.name.as_str();
    let registry = fleet.read("clients.toml");
    let table = format!("[clients.{client}]\n");
    let pinging =
        registry.replace(&table, &format!("{table}checks = {{ ping = {{ secret = \"PING\" }} }}\n"));
    fleet.write("clients.toml", &pinging);
    let refused = fleet.run(&["provision", client, "--yes"]).expect(3);
    assert!(refused.stderr.contains("fleet secrets set --fleet PING"), "{}", refused.stderr);
    // A listener on the host itself is receiver enough: it keeps what it is asked.
    host.sh("command -v nc >/dev/null || apt-get install -y -qq netcat-openbsd >/dev/null").ok();
    let url = "http://127.0.0.1:8077/ping/Poison7Q2xK9/{client}";
    fleet.run_with(&["secrets", "set", "--fleet", "PING"], url.as_bytes()).expect(0);
    fleet.run(&["provision", client, "--yes"]).expect(0);
    assert_eq!(host.sh("stat -c '%a %U' /opt/geoclic/check.ping").ok(), "600 root\n");
    let listen = |script: &str| {
        host.sh(&format!(
            "(printf 'HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\nconnection: close\\r\\n\\r\\nok' | timeout 20 nc -l -N 127.0.0.1 8077 >/root/pinged) & sleep 1; {script}; wait; cat /root/pinged"
        ))
        .ok()
    };
    let asked = listen("/opt/geoclic/bin/check");
    assert!(
        asked.starts_with(&format!("POST /ping/Poison7Q2xK9/{client}/0 ")) && asked.ends_with("ok"),
        "{asked}"
    );
    let asked = listen(&format!(
        "docker pause geoclic-worker-1 >/dev/null; docker stop -t 1 {PORTAIL} >/dev/null; /opt/geoclic/bin/check; docker unpause geoclic-worker-1 >/dev/null; docker start {PORTAIL} >/dev/null"
    ));
    assert!(
        asked.starts_with(&format!("POST /ping/Poison7Q2xK9/{client}/1 ")) && asked.contains("portail"),
        "{asked}"
    );
    well(fleet, client);
    let again = fleet.run(&["provision", client, "--yes", "--json"]).expect(0);
    again.outcome(client, "unchanged");
    assert!(!again.stdout.contains("Poison7Q2xK9"), "{}", again.stdout);
    fleet.write("clients.toml", &registry);
    fleet.run(&["provision", client, "--yes"]).expect(0);
    host.sh("/opt/geoclic/bin/check || true; test ! -e /opt/geoclic/check.ping").ok();
    well(fleet, client);
}
