//! What is open to the world and what is not.

use super::kit::{Host, tcp_open, town};

const CLEAN: &str = "docker rm -f lab-published >/dev/null 2>&1
[ ! -s /run/lab-listener ] || kill \"$(cat /run/lab-listener)\" 2>/dev/null
rm -f /run/lab-listener";

#[test]
fn only_ssh_and_the_web_are_open() {
    let town = town();
    for host in town.hosts() {
        host.sh(CLEAN).ok();
        // A container that somebody publishes by hand, past the firewall as Docker does it, and a
        // program that listens on every address.
        host.sh(
            "docker run -d --name lab-published -p 8080:80 nginx:1.28 >/dev/null
             perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 9090, Listen => 5, ReuseAddr => 1) or die; sleep 60' >/dev/null 2>&1 </dev/null &
             echo $! >/run/lab-listener
             for try in 1 2 3 4 5 6 7 8 9 10; do
                 curl -fso /dev/null http://127.0.0.1:8080/ && exit 0
                 sleep 1
             done
             exit 1",
        )
        .ok();
        let listens = host.sh("ss -Hltn 'sport = :9090' | wc -l").ok();
        let open = [22, 80, 443, 8080, 9090].map(|port| tcp_open(host, port));
        host.sh(CLEAN).ok();
        assert_eq!(listens.trim(), "1", "the program really listens on {}", host.name);
        assert_eq!(
            open,
            [true, true, true, false, false],
            "22, 80, 443 open, the rest closed on {}",
            host.name
        );
        only_nginx_is_published(host);
    }
}

fn only_nginx_is_published(host: &Host) {
    let published = host.sh("docker ps --format '{{.Names}} {{.Ports}}' | grep -- '->' | cut -d' ' -f1").ok();
    assert_eq!(published.trim(), "geoclic-nginx-1", "containers with published ports on {}", host.name);
}
