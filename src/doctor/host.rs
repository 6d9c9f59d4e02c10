//! What a host and the way to it look like.

use super::{Area, Finding};
use crate::facts::Facts;

/// Whether a TCP connection from here came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    Open,
    /// Something answered that nothing listens there.
    Refused,
    /// Nothing answered at all: a firewall on the way, or no host.
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub reach: Reach,
}

/// What the answers are judged by.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub client: String,
    pub stack: String,
    pub user: String,
    pub memory_mb: Option<u64>,
    pub acme: String,
    pub disk_percent: u8,
    /// A release serves there, so 80 and 443 must answer.
    pub serves: bool,
}

const COMPOSE: [u32; 2] = [2, 20];
const WEEK: u64 = 7 * 86_400;
/// A release is built beside the one that serves.
const LEAST_FREE_KB: u64 = 3 * 1024 * 1024;

/// Findings of one host that answered, and of the ports as they are seen from here.
#[must_use]
pub fn host(asked: &Asked, facts: &Facts, ports: &[Port]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |finding: Finding| findings.push(finding.of(&asked.client));
    let user = &asked.user;
    if facts.value("sudo") != Some("yes") {
        add(Finding::error(Area::Host, format!("{user} has no sudo without a password"))
            .why("nothing can be installed or changed")
            .remedy(format!(
                "on the host, as root: echo '{user} ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/90-{user}"
            )));
    }
    let clean = |text: &str| crate::secret::clean(text).into_owned();
    if !matches!(facts.os(), ("debian", "12" | "13") | ("ubuntu", "22.04" | "24.04")) {
        let name = facts.value("os_name").map_or_else(|| "an unknown system".to_owned(), clean);
        add(Finding::error(Area::Host, format!("runs {name}"))
            .why("its packages are not known here")
            .remedy("install Debian 12 or 13, or Ubuntu 22.04 or 24.04"));
    }
    if facts.value("systemd").is_none() {
        add(Finding::error(Area::Host, "does not run systemd")
            .remedy("use a virtual machine, not a container without an init"));
    }
    docker(facts, &mut add);
    room(asked, facts, &mut add);
    packages(facts, &mut add);
    for (number, holder) in &facts.held_ports {
        let (kind, name) = holder.split_once(' ').unwrap_or((holder.as_str(), ""));
        let project = name.split(' ').next().unwrap_or_default();
        if kind == "docker" && project == asked.stack {
            continue;
        }
        let (whose, remedy) = match kind {
            "docker" => (
                format!("the container {}", clean(name.trim())),
                format!("docker stop {}", clean(name.split(' ').nth(1).unwrap_or("NAME"))),
            ),
            _ => (clean(name), format!("sudo systemctl disable --now {}", clean(name))),
        };
        add(Finding::error(Area::Host, format!("port {number} is taken by {whose}"))
            .why("the stack's own web server cannot start")
            .remedy(format!("on the host: {remedy}")));
    }
    if !asked.acme.is_empty() && facts.value("acme").is_some_and(|status| status == "000") {
        add(Finding::error(Area::Certificate, "the certificate authority cannot be reached from the host")
            .why("no certificate is issued or renewed")
            .remedy(format!(
                "look at the provider's firewall for outgoing HTTPS; on the host: curl -v {}",
                asked.acme
            )));
    }
    for port in ports.iter().filter(|port| matches!(port.number, 80 | 443)) {
        let what = match port.reach {
            Reach::Silent => format!("port {} does not answer from here", port.number),
            Reach::Refused if asked.serves => format!("nothing listens on port {}", port.number),
            Reach::Refused | Reach::Open => continue,
        };
        let why = if port.number == 80 {
            "the certificate authority cannot look (HTTP-01)"
        } else {
            "nobody can use the client"
        };
        let remedy = match port.reach {
            Reach::Silent => {
                "open it in the provider's own firewall (outside of the host), then try again".to_owned()
            }
            _ => format!("fleet provision {}", asked.client),
        };
        add(Finding::error(Area::Reach, what).why(why).remedy(remedy));
    }
    findings
}

fn docker(facts: &Facts, add: &mut impl FnMut(Finding)) {
    // Without Docker, provision installs it: nothing to find.
    let Some(compose) = facts.value("compose") else { return };
    let number = |at: usize| -> Option<u32> {
        compose.trim_start_matches('v').split(['.', '-', '+']).nth(at)?.parse().ok()
    };
    if let (Some(major), Some(minor)) = (number(0), number(1))
        && [major, minor] < COMPOSE
    {
        let compose = crate::secret::clean(compose).into_owned();
        add(Finding::error(Area::Host, format!("has Docker Compose {compose}"))
            .why("the files of a stack need 2.20 or newer")
            .remedy(
                "take it away (apt-get remove docker-compose), then `fleet provision` installs a newer one",
            ));
    }
    if facts.value("engine").is_none() {
        add(Finding::error(Area::Host, "has Docker, and its engine does not answer")
            .remedy("on the host: sudo systemctl restart docker; sudo journalctl -u docker -n 50"));
    }
}

fn room(asked: &Asked, facts: &Facts, add: &mut impl FnMut(Finding)) {
    let percent = facts.number("disk_percent").filter(|percent| *percent <= 100);
    if let Some(percent) = percent.filter(|percent| *percent >= u64::from(asked.disk_percent)) {
        add(Finding::error(Area::Host, format!("its disk is {percent}% full"))
            .why("builds and dumps fail")
            .remedy(format!("fleet ssh {} -- sudo docker system prune -f", asked.client)));
    } else if let Some(free) = facts.number("disk_free").filter(|free| *free < LEAST_FREE_KB) {
        add(Finding::warning(Area::Host, format!("has {} MB of disk left", free / 1024))
            .why("an update builds images beside those that serve")
            .remedy(format!("fleet ssh {} -- sudo docker system prune -f, or a larger disk", asked.client)));
    }
    let memory = facts.number("MemTotal").map(|kb| kb / 1024);
    // A server of 2 GB shows a little less: firmware and kernel take theirs.
    if let (Some(found), Some(wanted)) = (memory, asked.memory_mb)
        && found < wanted * 9 / 10
    {
        add(Finding::warning(
            Area::Host,
            format!("has {found} MB of memory, and stack {} asks for {wanted}", asked.stack),
        )
        .why("containers are killed when it runs out")
        .remedy("a larger server, or swap = \"2G\" for this client"));
    }
}

fn packages(facts: &Facts, add: &mut impl FnMut(Finding)) {
    if facts.value("dpkg") == Some("broken") {
        add(Finding::error(Area::Host, "an installation of packages was cut short")
            .why("nothing can be installed until it is finished")
            .remedy("on the host: sudo dpkg --configure -a && sudo apt-get -f install"));
    }
    if let Some(name) = facts.value("no_package") {
        let name = crate::secret::clean(name).into_owned();
        add(Finding::warning(Area::Host, format!("its package sources have no {name}"))
            .why("provision installs it")
            .remedy("on the host: sudo apt-get update; look at /etc/apt/sources.list and sources.list.d"));
    }
    let age =
        facts.number("apt_lists").and_then(|at| facts.number("clock").map(|now| now.saturating_sub(at)));
    if let Some(age) = age.filter(|age| *age > 2 * WEEK) {
        add(Finding::warning(Area::Host, format!("its package lists are {} days old", age / 86_400))
            .why("security updates do not arrive")
            .remedy("on the host: sudo apt-get update; sudo systemctl enable --now apt-daily.timer apt-daily-upgrade.timer"));
    }
}
