# shellcheck shell=bash disable=SC2034,SC2154 # names shared with the other files
# The VPSes: containers that boot systemd.

# want_debian N CHOICE: odd hosts Debian 13, even ones 12, unless one was asked for.
want_debian() {
    case $2 in
    mix) echo $((13 - (($1 + 1) % 2))) ;;
    *) echo "$2" ;;
    esac
}

# hosts_up N CHOICE FRESH: exactly N hosts; those that are as wanted stay as they are.
hosts_up() {
    local n name pids=() kept=0
    CREATED=()
    for name in $(lab_hosts); do
        [ "${name#client-}" -le "$1" ] || host_remove "$name"
    done
    for ((n = 1; n <= $1; n++)); do
        name=client-$n
        if [ "$3" = no ] && host_fits "$name" "$(want_debian "$n" "$2")"; then
            heal_host "$name" >/dev/null
            kept=$((kept + 1))
        else
            CREATED+=("$name")
            host_create "$name" "$(want_debian "$n" "$2")" &
            pids+=($!)
            [ $((${#pids[@]} % 4)) != 0 ] || { all "${pids[@]}" && pids=() || exit 1; }
        fi
    done
    all "${pids[@]}" || exit 1
    for ((n = 1; n <= $1; n++)); do
        host_wait "client-$n"
        dns_set "client-$n.$DOMAIN" "$(host_address "client-$n")"
        dns_set "www.client-$n.$DOMAIN" "$(host_address "client-$n")"
    done
    STAGE_NOTE="$kept kept, ${#CREATED[@]} new"
}

# host_fits NAME DEBIAN: the host exists, belongs to this lab directory and is of this image.
host_fits() {
    [ "$(field "$(host_container "$1")" '{{index .Config.Labels "fleet-lab.id"}} {{.Config.Image}}')" = \
        "$LAB_ID $(image_name "vps-$(suite_of "$2")")" ]
}

host_create() {
    local name=$1 container keys caps made=no log=$LAB_DIR/log/create-$1.log
    container=$(host_container "$name")
    docker rm -fv "$container" >/dev/null 2>&1 || true
    # Not --privileged: that asks for CAP_SYS_RESOURCE, which a container such as a CI job may lack. Old
    # engines want it dropped by name then, and new ones refuse to hear of a capability that is not there.
    # The anonymous volume gives the engine inside overlay2.
    for caps in "--cap-drop=SYS_RESOURCE" "--cap-add=ALL"; do
        if docker create --name "$container" --hostname "$name" --network "$LAB" --ip "$(host_address "$name")" \
            --label "fleet-lab=$LAB" --label "fleet-lab.id=$LAB_ID" --label "fleet-lab.debian=$2" --label "fleet-lab.dir=$LAB_DIR" \
            --cgroupns private --cap-add=ALL "$caps" \
            --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
            -v /var/lib/docker --tmpfs /run:mode=755 --tmpfs /tmp:exec,mode=1777 \
            -e "LAB_DNS=$(infra_address)" "$(image_name "vps-$(suite_of "$2")")" >"$log" 2>&1; then
            made=yes
            break
        fi
    done
    [ $made = yes ] || die "$name could not be created" "$(tail -n 1 "$log")" "see: docker info"
    keys=$(mktemp -d)
    mkdir -m 0700 "$keys/.ssh"
    cp "$FLEET_DIR/keys/fleet_ed25519.pub" "$keys/.ssh/authorized_keys"
    cp "$LAB_DIR/lab_ed25519.pub" "$keys/lab_keys"
    chmod 0600 "$keys/.ssh/authorized_keys"
    chmod 0644 "$keys/lab_keys"
    tar -C "$keys" --owner=1000 --group=1000 -c .ssh | docker cp - "$container:/home/debian"
    tar -C "$keys" --owner=0 --group=0 -c lab_keys | docker cp - "$container:/etc/ssh"
    rm -rf "$keys"
    docker start "$container" >/dev/null
}

host_ssh() {
    local name=$1
    shift
    ssh -i "$LAB_DIR/lab_ed25519" -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
        -o LogLevel=ERROR -o ConnectTimeout=5 "debian@$(host_address "$name")" "$@"
}

host_wait() {
    retry 60 host_ssh "$1" -n true 2>/dev/null || {
        docker logs --tail 10 "$(host_container "$1")" 2>&1 | sed 's/^/  | /' >&2
        die "$1 did not let the lab in within 60 s" "its console is above" "docker logs $(host_container "$1")"
    }
}

# host_replace NAME: a bare host of the same system and address.
host_replace() {
    local debian
    debian=$(host_debian "$1")
    rules_remove "$1"
    host_create "$1" "$debian"
    host_wait "$1"
}

host_remove() {
    rules_remove "$1"
    docker rm -fv "$(host_container "$1")" >/dev/null
}

hosts_list() {
    local name format='%-12s %-15s %-7s %s\n'
    # shellcheck disable=SC2059
    printf "$format" NAME ADDRESS DEBIAN STATE
    for name in $(lab_hosts); do
        # shellcheck disable=SC2059
        printf "$format" "$name" "$(host_address "$name")" "$(host_debian "$name")" "$(host_condition "$name")"
    done
}
