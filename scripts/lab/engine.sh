# shellcheck shell=bash disable=SC2034,SC2154 # names shared with the other files
# The machine: packages the lab needs, the outer Docker engine, and putting both back.

engine_answers() { docker info >/dev/null 2>&1; }

# Installs what is missing, and says what.
machine_packages() {
    local want=()
    if ! command -v docker >/dev/null || ! { engine_answers || command -v dockerd >/dev/null; }; then
        want+=(docker.io)
    fi
    command -v mmdebstrap >/dev/null || want+=(mmdebstrap)
    command -v ssh-keygen >/dev/null || want+=(openssh-client)
    command -v iptables >/dev/null || want+=(iptables)
    command -v tc >/dev/null || want+=(iproute2)
    command -v nsenter >/dev/null || want+=(util-linux)
    # mmdebstrap checks the suites' signatures with these keys.
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || want+=(debian-archive-keyring)
    if [ ${#want[@]} = 0 ]; then
        STAGE_NOTE="all present"
        return
    fi
    command -v apt-get >/dev/null || die "missing on this machine: ${want[*]}" "there is no apt-get to install them" \
        "install them by hand, or run the lab on Debian or Ubuntu"
    say "installing with apt-get: ${want[*]}"
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2016 # From Debian 13 on, the client is a package of its own.
    quiet apt.log sh -c 'apt-get -o DPkg::Lock::Timeout=120 update -q
        [ "$1" != docker.io ] || ! apt-cache show docker-cli >/dev/null 2>&1 || set -- "$@" docker-cli
        apt-get -o DPkg::Lock::Timeout=120 install -qy --no-install-recommends "$@"' sh "${want[@]}" ||
        die "could not install: ${want[*]}" "apt-get failed (above)" "mend apt, then run the lab again"
    STAGE_NOTE="installed ${want[*]}"
}

engine_start() {
    if engine_answers; then
        STAGE_NOTE="already answering"
        return
    fi
    mkdir -p "$LAB_RUN" "$LAB_DIR/log"
    # What dockerd will change, so that the last `down` can put it back.
    cat /proc/sys/net/ipv4/ip_forward >"$LAB_RUN/ip_forward"
    iptables -S FORWARD | sed -n 's/^-P FORWARD //p' >"$LAB_RUN/forward_policy"
    (ip -br link show docker0 || true) >"$LAB_RUN/docker0" 2>/dev/null
    setsid dockerd >"$LAB_DIR/log/dockerd.log" 2>&1 </dev/null 9>&- &
    echo $! >"$LAB_RUN/dockerd.pid"
    retry 40 engine_answers || {
        tail -n 8 "$LAB_DIR/log/dockerd.log" | sed 's/^/  | /' >&2
        rm -f "$LAB_RUN"/{dockerd.pid,ip_forward,forward_policy,docker0}
        die "dockerd did not come up in 40 s" "its log is $LAB_DIR/log/dockerd.log" "mend what it says, then run the lab again"
    }
    STAGE_NOTE="started dockerd, log in $LAB_DIR/log/dockerd.log"
}

# Stops the engine only if a lab started it and nothing else lives in it.
engine_stop() {
    local pid
    pid=$(cat "$LAB_RUN/dockerd.pid" 2>/dev/null) || return 0
    if [ -n "$(docker ps -aq 2>/dev/null)" ]; then
        STAGE_NOTE="kept: other containers live in it"
        return
    fi
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
        kill "$pid"
        retry 30 engine_gone "$pid" || die "dockerd ($pid) does not stop" "it may be stuck on a container" "kill -9 $pid"
    fi
    engine_rules_remove
    sysctl -qw "net.ipv4.ip_forward=$(cat "$LAB_RUN/ip_forward")"
    rm -f "$LAB_RUN"/{dockerd.pid,ip_forward,forward_policy,docker0}
    STAGE_NOTE="stopped, its rules removed"
}

engine_gone() { [ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# dockerd leaves its chains and bridge behind; the lab started it, so the lab removes them.
engine_rules_remove() {
    local table chain rule
    for table in raw mangle nat filter; do
        # First the rules of the kernel's own chains, then Docker's chains: emptied, then removed.
        iptables -t "$table" -S | sed -nE '/^-A DOCKER/d; /DOCKER|docker0/s/^-A/-D/p' | while IFS= read -r rule; do
            # shellcheck disable=SC2086 # a rule is words
            iptables -t "$table" $rule
        done
        for rule in -F -X; do
            for chain in $(iptables -t "$table" -S | sed -n 's/^-N \(DOCKER.*\)/\1/p'); do
                iptables -t "$table" "$rule" "$chain"
            done
        done
    done
    iptables -P FORWARD "$(cat "$LAB_RUN/forward_policy" 2>/dev/null || echo ACCEPT)"
    [ -s "$LAB_RUN/docker0" ] || ip link del docker0 2>/dev/null || true
}
