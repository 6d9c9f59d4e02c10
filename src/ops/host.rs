//! The machine below the stack: Docker's settings, firewall, swap, security updates, deploy user.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::files::NewFile;
use crate::shell::{Cmd, quote};

fn file(path: &str, mode: &str, content: impl Into<Vec<u8>>) -> NewFile {
    NewFile { path: path.to_owned(), mode: mode.to_owned(), content: content.into(), secret: false }
}

pub const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// Docker's settings: logs that rotate, containers that survive a restart of the engine, and the
/// operator's registry mirrors.
#[must_use]
pub fn daemon_json(mirrors: &[String]) -> NewFile {
    let mut value = serde_json::json!({
        "live-restore": true,
        "log-driver": "json-file",
        "log-opts": { "max-size": "10m", "max-file": "5" },
    });
    if !mirrors.is_empty() {
        value["registry-mirrors"] = mirrors.into();
        // BuildKit asks a mirror over HTTPS unless told otherwise, `docker pull` does not.
        let plain: Vec<&str> = mirrors.iter().filter_map(|url| url.strip_prefix("http://")).collect();
        if !plain.is_empty() {
            value["insecure-registries"] =
                plain.iter().map(|rest| rest.trim_end_matches('/')).collect::<Vec<_>>().into();
        }
    }
    file(DAEMON_JSON, "0644", format!("{value:#}\n"))
}

/// Restarts Docker so that it reads its settings, and waits until it answers.
#[must_use]
pub fn restart_docker() -> Cmd {
    Cmd::script(
        "set -eu
systemctl enable --quiet docker.service
systemctl restart docker.service
i=0
until docker version >/dev/null 2>&1; do
    i=$((i + 1))
    [ $i -lt 60 ] || { echo 'fleet: docker does not answer after its restart' >&2; systemctl status docker.service --no-pager -n 20 >&2; exit 1; }
    sleep 1
done",
        Vec::<String>::new(),
    )
    .sudo()
    .timeout(Duration::from_secs(180))
}

pub const FIREWALL_RULES: &str = "/etc/fleet/firewall.nft";
pub const FIREWALL_UNIT: &str = "/etc/systemd/system/fleet-firewall.service";

/// A table of our own: other tables stay as they are, and loading it is one transaction.
///
/// Docker answers published ports before any input rule is asked, so the forward chain, which runs
/// before Docker's, lets only the web ports in from outside whatever a container publishes.
#[must_use]
pub fn firewall(ssh_ports: &BTreeSet<u16>) -> [NewFile; 2] {
    let mut ports: BTreeSet<u16> = [80, 443].into();
    ports.extend(ssh_ports);
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let rules = format!(
        "# Written by fleet. Open: {list}, and UDP 443 for HTTP/3.
table inet fleet
delete table inet fleet
table inet fleet {{
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        ct state invalid drop
        iifname \"lo\" accept
        # Containers may speak to their own host (name resolution, for example).
        iifname {{ \"docker0\", \"br-*\" }} accept
        meta l4proto {{ icmp, ipv6-icmp }} accept
        udp sport 67 udp dport 68 accept
        udp sport 547 udp dport 546 accept
        tcp dport {{ {list} }} accept
        udp dport 443 accept
    }}
    chain forward {{
        type filter hook forward priority filter - 10; policy accept;
        ct state established,related accept
        iifname {{ \"docker0\", \"br-*\", \"veth*\" }} accept
        # The port asked for from outside, before Docker rewrites it. nft 1.0.6 knows no set here.
        meta l4proto tcp ct original proto-dst 80 accept
        meta l4proto tcp ct original proto-dst 443 accept
        meta l4proto udp ct original proto-dst 443 accept
        drop
    }}
}}
"
    );
    let unit = format!(
        "# Written by fleet.
[Unit]
Description=Firewall of fleet: SSH and web ports only
Before=network-pre.target docker.service
Wants=network-pre.target
DefaultDependencies=no
After=local-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {FIREWALL_RULES}
ExecReload=/usr/sbin/nft -f {FIREWALL_RULES}
ExecStop=/usr/sbin/nft delete table inet fleet

[Install]
WantedBy=multi-user.target
"
    );
    [file(FIREWALL_RULES, "0644", rules), file(FIREWALL_UNIT, "0644", unit)]
}

/// Loads the firewall after a check of its text: a fault keeps the rules that are there.
#[must_use]
pub fn load_firewall() -> Cmd {
    Cmd::script(
        format!(
            "set -eu
nft -c -f {FIREWALL_RULES}
systemctl daemon-reload
systemctl enable --quiet fleet-firewall.service
systemctl reload-or-restart fleet-firewall.service
nft list table inet fleet >/dev/null"
        ),
        Vec::<String>::new(),
    )
    .sudo()
    .timeout(Duration::from_secs(60))
}

pub const UNATTENDED: &str = "/etc/apt/apt.conf.d/52fleet-unattended";

/// Security upgrades every day; never a reboot by itself: when to reboot is the operator's choice.
#[must_use]
pub fn unattended_upgrades() -> NewFile {
    file(
        UNATTENDED,
        "0644",
        "// Written by fleet.
APT::Periodic::Update-Package-Lists \"1\";
APT::Periodic::Unattended-Upgrade \"1\";
APT::Periodic::AutocleanInterval \"7\";
Unattended-Upgrade::Automatic-Reboot \"false\";
",
    )
}

pub const SWAP_FILE: &str = "/swapfile";

/// A swap file for a small machine, used after a reboot too. Where the kernel refuses (containers
/// without the right), it is said and the file goes away.
#[must_use]
pub fn make_swap(megabytes: u64) -> Cmd {
    Cmd::script(
        format!(
            "set -eu
if [ ! -f {SWAP_FILE} ]; then
    umask 077
    fallocate -l {megabytes}M {SWAP_FILE}.new 2>/dev/null || dd if=/dev/zero of={SWAP_FILE}.new bs=1M count={megabytes} status=none
    mkswap -q {SWAP_FILE}.new >/dev/null
    mv -f {SWAP_FILE}.new {SWAP_FILE}
fi
swapon {SWAP_FILE} 2>&1 || {{ rm -f {SWAP_FILE}; echo 'this machine allows no swap file; going on without'; exit 0; }}
grep -q '^{SWAP_FILE} ' /etc/fstab || printf '{SWAP_FILE} none swap sw 0 0\\n' >>/etc/fstab"
        ),
        Vec::<String>::new(),
    )
    .sudo()
    .timeout(Duration::from_secs(300))
}

/// A login of the fleet's own: its key only, no password, all rights by sudo, so that root's and
/// the provider's own logins can be closed.
#[must_use]
pub fn deploy_user(name: &str, public_key: &str) -> Cmd {
    let mut script = String::from("set -eu\n");
    let _ = write!(
        script,
        "user={user}\nkey={key}
id \"$user\" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --password '*' \"$user\"
home=$(getent passwd \"$user\" | cut -d: -f6)
group=$(id -gn \"$user\")
install -d -m 0700 -o \"$user\" -g \"$group\" \"$home/.ssh\"
touch \"$home/.ssh/authorized_keys\"
grep -qF -- \"$key\" \"$home/.ssh/authorized_keys\" || printf '%s\\n' \"$key\" >>\"$home/.ssh/authorized_keys\"
chown \"$user:$group\" \"$home/.ssh/authorized_keys\"
chmod 0600 \"$home/.ssh/authorized_keys\"
umask 227
printf '%s ALL=(ALL:ALL) NOPASSWD:ALL\\n' \"$user\" >/etc/sudoers.d/.fleet-new
visudo -cqf /etc/sudoers.d/.fleet-new
mv -f /etc/sudoers.d/.fleet-new /etc/sudoers.d/90-fleet-\"$user\"",
        user = quote(name),
        key = quote(public_key),
    );
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(60))
}

/// Enables units now and at boot.
#[must_use]
pub fn enable_units(units: &[String]) -> Cmd {
    let mut script = String::from("set -eu\nsystemctl daemon-reload\n");
    for unit in units {
        let _ = writeln!(script, "systemctl enable --now --quiet {}", quote(unit));
    }
    Cmd::script(script, Vec::<String>::new()).sudo().timeout(Duration::from_secs(120))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firewall_opens_each_ssh_port_the_host_listens_on() {
        let [rules, _] = firewall(&[22, 2222].into());
        let text = String::from_utf8(rules.content).unwrap();
        assert!(text.contains("tcp dport { 22, 80, 443, 2222 } accept"), "{text}");
    }

    #[test]
    fn the_engine_settings_are_json() {
        let value: serde_json::Value =
            serde_json::from_slice(&daemon_json(&["http://mirror:5000".into()]).content).unwrap();
        assert_eq!(value["registry-mirrors"][0], "http://mirror:5000");
        let plain: serde_json::Value = serde_json::from_slice(&daemon_json(&[]).content).unwrap();
        assert!(plain.get("registry-mirrors").is_none());
    }
}
