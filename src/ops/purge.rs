//! A stack leaves its host: what was written, started or scheduled for it goes. What is there no more is
//! passed over, so that a run that was cut can go on.

use std::time::Duration;

use super::Layout;
use crate::shell::{Cmd, quote};

const LIMIT: Duration = Duration::from_secs(900);

fn script(text: String) -> Cmd {
    Cmd::new(["sh", "-c", text.as_str()]).sudo().timeout(LIMIT)
}

/// Takes away a unit and files outside the stack's own folder.
#[must_use]
pub fn schedules(unit: &str, files: &[String]) -> Cmd {
    let files: Vec<_> = files.iter().map(|path| quote(path)).collect();
    script(format!(
        "set -eu
systemctl disable {unit} >/dev/null 2>&1 || true
rm -f -- {files}
systemctl daemon-reload
systemctl reset-failed {unit} >/dev/null 2>&1 || true",
        unit = quote(unit),
        files = files.join(" "),
    ))
}

/// Takes away everything that Docker has of the stack.
#[must_use]
pub fn containers(layout: &Layout) -> Cmd {
    let label = quote(&format!("label=com.docker.compose.project={}", layout.stack)).into_owned();
    script(format!(
        "set -eu
command -v docker >/dev/null 2>&1 || exit 0
ids=$(docker ps -aq --no-trunc --filter {label})
[ -z \"$ids\" ] || docker stop $ids >/dev/null
[ -z \"$ids\" ] || docker rm -f -v $ids >/dev/null
docker network ls -q --filter {label} | while read -r id; do docker network rm \"$id\" >/dev/null; done
docker volume ls -q --filter {label} | while read -r name; do docker volume rm \"$name\" >/dev/null; done
left=$(docker ps -aq --filter {label}; docker volume ls -q --filter {label})
[ -z \"$left\" ] || {{ echo 'fleet: containers or volumes of the stack are still there' >&2; exit 70; }}
docker image ls --format '{{{{.Repository}}}}:{{{{.Tag}}}}' | grep {images} | while read -r tag; do docker image rm \"$tag\" >/dev/null 2>&1 || true; done",
        images = quote(&format!("^{}/", layout.stack)),
    ))
}

/// Takes away the certificate and its key.
#[must_use]
pub fn certificate(domain: &str) -> Cmd {
    script(format!(
        "set -eu
command -v certbot >/dev/null 2>&1 || exit 0
[ ! -e /etc/letsencrypt/renewal/{domain}.conf ] || certbot delete --non-interactive --cert-name {domain} >/dev/null",
        domain = quote(domain),
    ))
}

/// Takes away the stack's folder: releases, environment, dumps. The state goes last.
#[must_use]
pub fn folder(layout: &Layout) -> Cmd {
    script(format!(
        "set -eu
base={base}
[ -d \"$base\" ] || exit 0
find \"$base\" -mindepth 1 -maxdepth 1 ! -name state.json ! -name purging -exec rm -rf -- {{}} +
rm -rf -- \"$base\"",
        base = quote(&layout.base()),
    ))
}
