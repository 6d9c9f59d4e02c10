#!/usr/bin/env bash
# Real VPSes on this one machine, to try and test fleet on. `scripts/lab.sh --help` tells all.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/lab/common.sh
. "$ROOT/scripts/lab/common.sh"
# shellcheck source=scripts/lab/engine.sh
. "$ROOT/scripts/lab/engine.sh"
# shellcheck source=scripts/lab/mirror.sh
. "$ROOT/scripts/lab/mirror.sh"
# shellcheck source=scripts/lab/images.sh
. "$ROOT/scripts/lab/images.sh"
# shellcheck source=scripts/lab/services.sh
. "$ROOT/scripts/lab/services.sh"
# shellcheck source=scripts/lab/hosts.sh
. "$ROOT/scripts/lab/hosts.sh"
# shellcheck source=scripts/lab/faults.sh
. "$ROOT/scripts/lab/faults.sh"
# shellcheck source=scripts/lab/fleetdir.sh
. "$ROOT/scripts/lab/fleetdir.sh"

usage() {
    cat <<'EOF'
scripts/lab.sh: real VPSes on this machine, with everything around them that fleet needs.

  up N [--debian 13|12|mix] [--fresh]   exactly N bare hosts, client-1 to client-N, and a fleet directory
  list                                  name, address, Debian version, state and faults of each
  ssh NAME [COMMAND...]                 log in as debian (sudo without a password)
  fault NAME KIND [VALUE]               break a host:
      down            power cut              silent          frozen: accepts, never answers
      cut             all packets dropped    slow [RATE]     narrow link, 64kbit unless told
      reboot          clean restart          apt-lock [SEC]  apt's lock is held, 20 s unless told
      disk-full [DIR] the folder (/opt) is a full disk
  heal NAME|--all                       undo every fault of a host
  replace NAME                          the host is gone: a bare one with keys of its own has its address
  down [--purge]                        remove hosts, services, network, and the Docker engine if the
                                        lab started it; --purge also deletes the cache and the lab directory

A host is a container that boots systemd, with sshd, its own address and, once provisioned, its own Docker
engine. Beside the hosts, on one address: a registry mirror with the images that the stacks name, an ACME
server (pebble), DNS for client-N.fleet.test, and a stand-in for Docker's apt repository.
With `mix` (the default) odd hosts run Debian 13 and even ones Debian 12. `up` again keeps the hosts that are
as wanted and heals them; `--fresh` makes them bare again.

Needs root on Debian or Ubuntu; what is missing is installed and named. All is built from Debian packages of
this machine's own mirror: minutes the first time, seconds after that.

  FLEET_LAB_DIR     keys, logs, lab.env and the fleet directory   (REPOSITORY/target/lab)
  FLEET_LAB_CACHE   built images                                  (~/.cache/fleet-lab)
  FLEET_LAB_NAME    another name is another lab beside this one   (fleet-lab)
  FLEET_LAB_MIRROR  a Debian mirror, where apt's sources name none

Example:
  scripts/lab.sh up 3 && fleet -C target/lab/fleet provision --all --yes
EOF
}

wrong() { (die "$1" "${2:-}" "see: scripts/lab.sh --help") || exit 2; }

cmd_up() {
    local count='' debian=mix fresh=no suites start
    while [ $# -gt 0 ]; do
        case $1 in
        --debian) debian=${2:-} && shift ;;
        --debian=*) debian=${1#*=} ;;
        --fresh) fresh=yes ;;
        [0-9]*) count=$1 ;;
        *) wrong "up does not know '$1'" ;;
        esac
        shift || true
    done
    [[ $count =~ ^[1-9][0-9]*$ && $count -le 250 ]] || wrong "how many hosts?" "up takes a number from 1 to 250"
    case $debian in
    13) suites=trixie ;;
    12) suites=bookworm ;;
    mix) suites="trixie bookworm" ;;
    *) wrong "no Debian '$debian'" "the lab knows 13, 12 and mix" ;;
    esac
    need_root
    trap 'interrupted' INT TERM
    take_lock "$LAB"
    start=$(now)
    lab_dir_prepare
    mkdir -p "$LAB_CACHE"
    stage "packages of this machine" machine_packages
    stage "Docker engine" engine_start
    adopt
    find_mirror
    take_cache
    # The services and the mirror's images are Debian 13, whatever the hosts are.
    # shellcheck disable=SC2086 # suites are words
    stage "Debian base" ensure_bases trixie ${suites/trixie/}
    # shellcheck disable=SC2086
    stage "images of hosts and services" ensure_lab_images $suites
    stage "network" network_up
    stage "registry, ACME, DNS, apt" services_up
    stage "images in the registry mirror" fill_mirror
    exec 8>&-
    stage "hosts" hosts_up "$count" "$debian" "$fresh"
    [ ${#CREATED[@]} = 0 ] || forget_hosts "${CREATED[@]}"
    stage "fleet directory" fleet_dir_write
    hosts_list
    say "up in $(($(now) - start)) s. Next: fleet -C $FLEET_DIR provision --all"
}

# Another directory may have left a lab of this name (an interrupted session, another clone).
adopt() {
    local other
    other=$(docker ps -a --filter "label=fleet-lab=$LAB" --format '{{.Label "fleet-lab.id"}} {{.Label "fleet-lab.dir"}}' |
        awk -v id="$LAB_ID" '$1 != id {print $2; exit}')
    [ -n "$other" ] || return 0
    say "taking over the lab '$LAB' that $other left (side by side: FLEET_LAB_NAME=another)"
    docker ps -aq --filter "label=fleet-lab=$LAB" | xargs -r -n 1 -P 4 docker rm -fv >/dev/null
    docker network rm "$LAB" >/dev/null 2>&1 || true
}

# Two labs may share the cache, but only one builds into it at a time.
take_cache() {
    exec 8>"$LAB_CACHE/lock"
    flock -n 8 || { say "waiting for another lab that fills the cache $LAB_CACHE"; flock 8; }
}

cmd_down() {
    local purge=no name
    case ${1:-} in '') ;; --purge) purge=yes ;; *) wrong "down does not know '$1'" ;; esac
    need_root
    take_lock "$LAB"
    if command -v docker >/dev/null && engine_answers; then
        stage "hosts and services" lab_remove
        stage "Docker engine" engine_stop
    else
        say "no Docker engine answers: there is no lab to take down"
        [ ! -e "$LAB_RUN/dockerd.pid" ] || engine_stop
    fi
    rm -f "$LAB_DIR/lab.env" "$LAB_DIR/acme-root.pem"
    if [ $purge = yes ]; then
        rm -rf "$LAB_DIR"
        if engine_answers && [ -n "$(docker ps -aq --filter label=fleet-lab)" ]; then
            say "the cache $LAB_CACHE stays: another lab uses it"
        else rm -rf "$LAB_CACHE"; fi
    fi
    exec 9>&-
    rm -f "$LAB_RUN/$LAB.lock"
    rmdir "$LAB_RUN" 2>/dev/null || true
    say down
}

lab_remove() {
    local name count=0
    for name in $(lab_hosts); do
        rules_remove "$name"
        count=$((count + 1))
    done
    docker ps -aq --filter "label=fleet-lab=$LAB" | xargs -r -n 1 -P 4 docker rm -fv >/dev/null
    docker network ls -q --filter "label=fleet-lab=$LAB" | xargs -r docker network rm >/dev/null
    images_remove
    rm -rf "/tmp/$LAB-base".*
    STAGE_NOTE="$count hosts removed"
}

main() {
    local command=${1:-} name
    [ $# = 0 ] || shift
    case $command in
    up) cmd_up "$@" ;;
    down) cmd_down "$@" ;;
    list)
        need_root
        engine_answers || die "no lab is up" "no Docker engine answers" "run: scripts/lab.sh up 2"
        hosts_list
        ;;
    ssh | fault)
        [ $# -gt 0 ] || wrong "$command what?" "it takes the name of a host"
        name=$(client_name "$1")
        shift
        need_root
        require_host "$name"
        if [ "$command" = ssh ]; then host_ssh "$name" "$@"; else
            [ $# -gt 0 ] || wrong "which fault?" "kinds: $FAULTS"
            stage "$name: $*" fault_host "$name" "$@"
        fi
        ;;
    replace)
        [ $# = 1 ] || wrong "replace what?" "it takes the name of a host"
        name=$(client_name "$1")
        need_root
        require_host "$name"
        lab_dir_prepare
        stage "$name: replace" host_replace "$name"
        ;;
    heal)
        [ $# = 1 ] || wrong "heal what?" "it takes the name of a host, or --all"
        need_root
        [ "$1" = --all ] || require_host "$(client_name "$1")"
        for name in $(if [ "$1" = --all ]; then lab_hosts; else client_name "$1"; fi); do
            stage "$name: heal" heal_host "$name"
        done
        ;;
    -h | --help | help) usage ;;
    '') usage >&2; exit 2 ;;
    *) wrong "'$command' is not a command" ;;
    esac
}
main "$@"
