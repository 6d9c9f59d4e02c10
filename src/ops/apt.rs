//! Packages by apt: patient with its lock, never asking, mended after a cut.

use std::time::Duration;

use crate::shell::{Cmd, quote};

/// Seconds to wait for another apt or dpkg (unattended upgrades run right after a first boot).
const LOCK_WAIT: u32 = 900;

const PREPARE: &str = "set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C NEEDRESTART_MODE=a NEEDRESTART_SUSPEND=1
# Some locks (package lists, dpkg's own) are never waited for by apt itself.
patient() {
    end=$(($(date +%s) + WAIT))
    while :; do
        said=$(\"$@\" 2>&1) && return 0
        case $said in
            *lock*) [ \"$(date +%s)\" -lt \"$end\" ] || break ;;
            *) break ;;
        esac
        echo 'waiting for another package manager to finish'
        sleep 5
    done
    printf '%s\\n' \"$said\" >&2
    return 1
}
apt() { patient apt-get -qq -y -o DPkg::Lock::Timeout=60 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \"$@\"; }
";

fn script(body: &str) -> Cmd {
    let text = format!("WAIT={LOCK_WAIT}\n{PREPARE}{body}");
    Cmd::script(text, Vec::<String>::new()).sudo().timeout(Duration::from_secs(1800))
}

/// Waits until cloud-init has finished, well or not: it may hold apt and rewrite files until then.
#[must_use]
pub fn wait_for_cloud_init() -> Cmd {
    Cmd::script("timeout 600 cloud-init status --wait >/dev/null 2>&1 || true", Vec::<String>::new())
        .sudo()
        .timeout(Duration::from_secs(660))
}

/// Installs what is missing among the packages, after repairing an installation that was cut.
#[must_use]
pub fn install(packages: &[String]) -> Cmd {
    let list = crate::shell::join(packages);
    script(&format!(
        "patient dpkg --configure -a\n\
         apt update\n\
         apt install --no-install-recommends {list}\n"
    ))
}

/// Adds Docker's repository: key and source list are files of ours.
#[must_use]
pub fn add_repository(url: &str, codename: &str, key_path: &str, key_url: Option<&str>) -> Cmd {
    let fetch = key_url.map_or(String::new(), |from| {
        format!(
            "curl -fsSL --retry 3 --max-time 60 {} -o {key_path}.new\nmv -f {key_path}.new {key_path}\n",
            quote(from)
        )
    });
    script(&format!(
        "mkdir -p -m 0755 /etc/apt/keyrings\n{fetch}chmod 0644 {key_path}\n\
         printf 'deb [arch=%s signed-by=%s] %s %s stable\\n' \"$(dpkg --print-architecture)\" {key_path} {} {codename} \
         >/etc/apt/sources.list.d/docker.list\n\
         apt update\n",
        quote(url)
    ))
}
