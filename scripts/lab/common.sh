# shellcheck shell=bash disable=SC2034 # most of these names are used by the other files
# Names, paths and talk shared by every part of the lab.

LAB=${FLEET_LAB_NAME:-fleet-lab}
LAB_DIR=${FLEET_LAB_DIR:-$ROOT/target/lab}
LAB_CACHE=${FLEET_LAB_CACHE:-$HOME/.cache/fleet-lab}
LAB_RUN=/run/fleet-lab            # what the lab did to this machine, for whoever takes it down
FLEET_DIR=$LAB_DIR/fleet
RECIPES=$ROOT/scripts/lab/images
INFRA=$LAB-infra
DOMAIN=fleet.test

say() { printf 'lab: %s\n' "$*" >&2; }

# die WHAT [WHY] [NEXT]: one screen that says what failed, why, and what to do.
die() {
    printf 'lab: error: %s\n' "$1" >&2
    [ -z "${2:-}" ] || printf '  why:  %s\n' "$2" >&2
    [ -z "${3:-}" ] || printf '  next: %s\n' "$3" >&2
    exit 1
}

now() { date +%s; }

# stage TITLE COMMAND...: runs it, then prints one line with its seconds.
# A command may leave a word in $STAGE_NOTE ("cached", "3 hosts").
stage() {
    local title=$1 start
    shift
    start=$(now)
    STAGE_NOTE=
    "$@"
    printf 'lab: %-34s %3d s%s\n' "$title" "$(($(now) - start))" "${STAGE_NOTE:+  ($STAGE_NOTE)}" >&2
}

# quiet LOG COMMAND...: output goes to a log; when the command fails, its end is shown.
# The locks are not handed on: mmdebstrap breaks when its pipes get two-digit descriptors.
quiet() {
    local log=$LAB_DIR/log/$1
    shift
    mkdir -p "$LAB_DIR/log"
    if ! "$@" >"$log" 2>&1 </dev/null 8>&- 9>&-; then
        say "the last lines of $log:"
        tail -n 15 "$log" | sed 's/^/  | /' >&2
        return 1
    fi
}

# all PID...: waits for every one; fails when one failed.
all() {
    local pid status=0
    for pid; do wait "$pid" || status=1; done
    return "$status"
}

# retry SECONDS COMMAND...: until it succeeds or the time is over.
retry() {
    local end=$(($(now) + $1))
    shift
    until "$@"; do
        [ "$(now)" -lt "$end" ] || return 1
        sleep 0.2
    done
}

# Background jobs of a script ignore Ctrl-C: without this, builds would go on alone.
interrupted() {
    trap - INT TERM
    say "interrupted; the next \`up\` goes on from here, \`down\` removes what there is"
    kill_children "$$"
    exit 130
}

kill_children() {
    local pid list
    list=$(cat "/proc/$1/task/$1/children" 2>/dev/null) || return 0
    for pid in $list; do
        # The engine is to outlive this script.
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != dockerd ] || continue
        kill_children "$pid"
        kill "$pid" 2>/dev/null || true
    done
}

need_root() {
    [ "$(id -u)" = 0 ] || die "the lab must run as root" \
        "it starts containers with their own systemd, and sets up networks" "run it again with sudo"
}

# One lab at a time changes what is shared: the engine, the cache, this lab's hosts.
take_lock() {
    mkdir -p "$LAB_RUN"
    exec 9>"$LAB_RUN/$1.lock"
    flock -n 9 && return
    say "waiting for another lab.sh on this machine ($LAB_RUN/$1.lock)"
    flock -w 1200 9 || die "another lab.sh has held $LAB_RUN/$1.lock for 20 minutes" \
        "it is still running or it hangs" "find it: fuser -v $LAB_RUN/$1.lock"
}

host_container() { printf '%s-%s' "$LAB" "$1"; }

# client_name WORD: "1" and "client-1" both name client-1.
client_name() {
    case $1 in
    client-[1-9]*) printf '%s' "$1" ;;
    [1-9]*) printf 'client-%s' "$1" ;;
    *) die "'$1' is not a lab host" "hosts are client-1, client-2, ..." "see: scripts/lab.sh list" ;;
    esac
}

field() { docker inspect -f "$2" "$1" 2>/dev/null; }
host_state() { field "$(host_container "$1")" '{{.State.Status}}'; }
host_pid() { field "$(host_container "$1")" '{{.State.Pid}}'; }
host_debian() { field "$(host_container "$1")" '{{index .Config.Labels "fleet-lab.debian"}}'; }

# Every address is fixed, so one look at the network tells them all:
# gateway a.b.0.1, services a.b.0.2, client-N a.b.1.N.
net_prefix() {
    local gateway
    gateway=$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "$LAB" 2>/dev/null) || return 1
    printf '%s' "${gateway%.0.1}"
}
host_address() { printf '%s.1.%s' "$(net_prefix)" "${1#client-}"; }
infra_address() { printf '%s.0.2' "$(net_prefix)"; }

# lab_hosts: the client names that exist, in order.
lab_hosts() {
    docker ps -a --filter "label=fleet-lab=$LAB" --filter label=fleet-lab.debian --format '{{.Names}}' |
        sed "s/^$LAB-//" | sort -t- -k2n
}

require_host() {
    docker info >/dev/null 2>&1 || die "no lab is up" "no Docker engine answers" "run: scripts/lab.sh up 2"
    [ -n "$(host_state "$1")" ] || die "there is no host $1 in lab '$LAB'" \
        "hosts: $(lab_hosts | paste -sd' ')" "run: scripts/lab.sh list"
}

# inside NAME COMMAND...: as root on the host. Not docker exec: once the host's own engine
# has run, runc cannot add a process to its cgroup ("device or resource busy").
inside() {
    local pid
    pid=$(host_pid "$1")
    [ "${pid:-0}" != 0 ] || die "$1 is not running" "its state is '$(host_state "$1")'" "run: scripts/lab.sh heal $1"
    shift
    nsenter -t "$pid" -a -- "$@"
}
