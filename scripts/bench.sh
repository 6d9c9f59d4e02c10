#!/usr/bin/env bash
# Measures fleet beside its peers in one go, on simulated hosts. `scripts/bench.sh --help` tells all.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OUT=${CARGO_TARGET_DIR:-$ROOT/target}/bench

usage() {
    cat <<'EOF'
scripts/bench.sh: fleet, xargs ssh, pssh, clush, Ansible and pyinfra side by side, on this machine.

  --quick        about two minutes: 1, 10 and 100 hosts, one run each
  --hosts LIST   such as "1 10 100 400 1000" (the default)
  --only PARTS   of: cold true status sync trips (default: all)
  --ship DIR     instead: what one changed layer costs each host of a fleet directory of the stack
                 tests/apps/shop, beside docker save | ssh docker load. The lab's tests leave such a
                 directory: scripts/test.sh --keep -- street, then --ship target/tmp/lab/street
  --backup DIR CLIENT
                 instead: time, bytes sent and growth of a first and a second backup of 1 GB of database and 5,000
                 files, beside ssh pg_dump | zstd and restic. CLIENT serves the stack geoclic and is filled for it,
                 such as client-1 of a lab: scripts/try.sh leaves one
  --no-install   install nothing; peers that are not there are left out
  --no-build     measure target/release as it is

Installs the peers (Debian packages, and pyinfra into a virtual environment), builds a release, starts
sshds that listen on addresses of 127.77.0.0/16 only, and prints a table; the figures go to target/bench/
as JSON too. Nothing else is contacted, and all that is started ends with it. Client and servers share the
processors: only ratios of one run mean anything.
EOF
}

install=1 build=1 ship='' backup=() pass=()
while [ $# -gt 0 ]; do
    case $1 in
        --help | -h) usage; exit 0 ;;
        --no-install) install= ;;
        --no-build) build= ;;
        --ship) ship=${2:?--ship needs a fleet directory} install=; shift ;;
        --backup) backup=("${2:?--backup needs a fleet directory}" "${3:?--backup needs a client}") install=; shift 2 ;;
        --quick) pass+=("$1") ;;
        --hosts | --only) pass+=("$1" "${2:?$1 needs a value}"); shift ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done

mkdir -p "$OUT"
if [ -n "$install" ]; then
    missing=()
    for pair in parallel-ssh:pssh clush:clustershell ansible:ansible-core rsync:rsync ssh:openssh-client \
        /usr/sbin/sshd:openssh-server python3:python3-venv; do
        command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        root=; [ "$(id -u)" -eq 0 ] || root="sudo -n"
        $root apt-get install -y -q --no-install-recommends "${missing[@]}"
    fi
    if [ ! -x "$OUT/venv/bin/pyinfra" ]; then
        python3 -m venv "$OUT/venv" && "$OUT/venv/bin/pip" install -q pyinfra
    fi
fi
[ -z "$build" ] || (cd "$ROOT" && cargo build --release --bin fleet --example bench-hosts)
if [ -n "$ship" ]; then
    exec python3 "$ROOT/scripts/bench/ship.py" "$OUT/../release/fleet" "$ship"
fi
if [ ${#backup[@]} -gt 0 ]; then
    exec python3 "$ROOT/scripts/bench/backup.py" "$OUT/../release/fleet" "${backup[@]}"
fi
exec python3 "$ROOT/scripts/bench/run.py" --out "$OUT" --release "$OUT/../release" "${pass[@]}"
