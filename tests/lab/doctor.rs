//! `fleet doctor` on a real host: what is made wrong there is found, and gone when it is mended.

use std::time::Duration;

use super::kit::{Fleet, eventually, town};

fn found(fleet: &Fleet, client: &str) -> Vec<String> {
    let ran = fleet.run(&["doctor", client, "--json"]);
    ran.records().iter().map(|one| one["what"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn faults_of_a_host_are_found_and_gone_when_they_are_mended() {
    let town = town();
    let (fleet, host) = (&town.fleet, &town.two);
    let client = host.name.as_str();
    let quiet = found(fleet, client);
    // The lab's names are in no DNS; nothing else is wrong with a host that was provisioned.
    let lab = |what: &String| {
        what.contains("is not found in DNS")
            || what.contains("one key alone")
            || what.contains("of memory")
            || what.contains("SENTRY_DSN names")
    };
    assert!(quiet.iter().all(lab), "{quiet:#?}");
    // Nobody listens where the lab's DSN points to, and the host says so.
    assert!(quiet.iter().any(|what| what.starts_with("port 8020 of what SENTRY_DSN names")), "{quiet:#?}");
    let faults = [
        (
            "docker stop -t 1 geoclic-nginx-1 >/dev/null; python3 --version >/dev/null 2>&1; (nohup nc -lk 0.0.0.0 80 >/dev/null 2>&1 & echo $! >/root/nc.pid)",
            "kill $(cat /root/nc.pid); sleep 1; docker start geoclic-nginx-1 >/dev/null",
            "port 80 is taken by nc",
        ),
        (
            "printf '#!/bin/sh\nexec /usr/bin/date -d \"+5 minutes\" \"$@\"\n' >/usr/local/sbin/date; chmod 755 /usr/local/sbin/date",
            "rm /usr/local/sbin/date",
            "its clock is ",
        ),
        (
            "nft add table inet blocked; nft add chain inet blocked pre '{ type filter hook prerouting priority -400; }'; nft add rule inet blocked pre tcp dport 443 drop",
            "nft delete table inet blocked",
            "port 443 does not answer from here",
        ),
    ];
    host.sh("command -v nc >/dev/null || apt-get install -y -qq netcat-openbsd >/dev/null").ok();
    for (make, heal, words) in faults {
        host.sh(make).ok();
        // A connection that a busy machine let wait is asked for again.
        let mut last = Vec::new();
        for _ in 0..5 {
            last = found(fleet, client);
            if last.iter().any(|what| what.starts_with(words)) {
                break;
            }
        }
        host.sh(heal).ok();
        let new: Vec<&String> = last.iter().filter(|what| !quiet.contains(what)).collect();
        assert!(new.iter().any(|what| what.starts_with(words)), "{words}: {last:#?}");
        eventually("it is gone", Duration::from_secs(60), || {
            let now = found(fleet, client);
            if now == quiet { Ok(()) } else { Err(format!("{now:#?}")) }
        });
    }
    eventually("all is well", Duration::from_secs(90), || {
        let ran = fleet.run(&["status", client, "--json"]);
        if ran.code == Some(0) { Ok(()) } else { Err(ran.stdout) }
    });
}
