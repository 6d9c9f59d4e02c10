# shellcheck shell=bash disable=SC2034,SC2154 # names shared with the other files
# The lab directory: keys, addresses, and a fleet directory that fleet can start from.

lab_dir_prepare() {
    mkdir -p "$LAB_DIR/log" "$FLEET_DIR/keys"
    LAB_DIR=$(cd "$LAB_DIR" && pwd)
    FLEET_DIR=$LAB_DIR/fleet
    [ -s "$LAB_DIR/lab.id" ] || head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$LAB_DIR/lab.id"
    LAB_ID=$(cat "$LAB_DIR/lab.id")
    new_key "$LAB_DIR/lab_ed25519" "fleet lab operator"
    new_key "$FLEET_DIR/keys/fleet_ed25519" "fleet lab"
}

new_key() {
    [ -s "$1" ] && [ -s "$1.pub" ] && return
    rm -f "$1" "$1.pub"
    ssh-keygen -q -t ed25519 -N '' -C "$2" -f "$1"
}

# forget_hosts NAME...: a new host must not meet what was known of an old one of its name.
forget_hosts() {
    local name
    if [ "$#" = "$(lab_hosts | wc -l)" ]; then
        rm -rf "$FLEET_DIR/secrets" "$FLEET_DIR/.fleet" "$FLEET_DIR"/known_hosts*
        return
    fi
    for name; do
        [ ! -e "$FLEET_DIR/known_hosts" ] || ssh-keygen -q -R "$(host_address "$name")" -f "$FLEET_DIR/known_hosts" 2>/dev/null || true
        rm -f "$FLEET_DIR/known_hosts.old"
        find "$FLEET_DIR/secrets" "$FLEET_DIR/.fleet" \( -name "$name" -o -name "$name.*" \) -prune -exec rm -rf {} + 2>/dev/null || true
    done
}

clients_toml() {
    local address name number tags
    address=$(infra_address)
    cat <<EOF
# Written by scripts/lab.sh: the clients are the lab's hosts. Your edits stay as long as the hosts do.

[fleet]
name = "lab"
stack = "geoclic"
source = "$(realpath -m --relative-to "$FLEET_DIR" "$ROOT/tests/apps/geoclic")"
ssh_key = "keys/fleet_ed25519"
acme = { server = "https://$address:14000/dir", ca = "acme-ca.pem" }
docker = { repository = "http://$address:8000/", key = "docker-repo.asc", registry_mirrors = ["http://$address:5000"] }

[defaults]
user = "debian"
checks = { disk_percent = 98, off = ["load", "memory"] }   # the hosts share the kernel and the disk of this machine
sentry = { dsn = "http://$LAB_ID@$(net_prefix).0.1:8020/1", traces_rate = 0.1 }
EOF
    for name in $(lab_hosts); do
        number=${name#client-}
        tags="\"prod\", \"debian-$(host_debian "$name")\""
        [ "$number" != 1 ] || tags="$tags, \"canary\""
        cat <<EOF

[clients.$name]
domain = "$name.$DOMAIN"
ip = "$(host_address "$name")"
email = "admin@$name.$DOMAIN"
tags = [$tags]
env = { PUBLIC_NAME = "Ville de Client $number" }
EOF
    done
}

# Written again only when what the lab would write changed, so that edits survive a second `up`.
fleet_dir_write() {
    services_keys
    clients_toml >"$LAB_DIR/clients.toml.new"
    if cmp -s "$LAB_DIR/clients.toml.new" "$LAB_DIR/clients.toml.generated" && [ -s "$FLEET_DIR/clients.toml" ]; then
        STAGE_NOTE="clients.toml unchanged"
    else
        cp "$LAB_DIR/clients.toml.new" "$FLEET_DIR/clients.toml"
        STAGE_NOTE=$FLEET_DIR
    fi
    mv "$LAB_DIR/clients.toml.new" "$LAB_DIR/clients.toml.generated"
    cat >"$LAB_DIR/lab.env" <<EOF
FLEET_LAB_NAME=$LAB
FLEET_LAB_DIR=$LAB_DIR
LAB_FLEET_DIR=$FLEET_DIR
LAB_HOSTS="$(lab_hosts | paste -sd' ')"
LAB_GATEWAY=$(net_prefix).0.1
LAB_SERVICES=$(infra_address)
LAB_DNS=$(infra_address):53
LAB_DNS_MANAGEMENT=http://$(infra_address):8055
LAB_REGISTRY=http://$(infra_address):5000
LAB_DOCKER_REPOSITORY=http://$(infra_address):8000/
LAB_ACME=https://$(infra_address):14000/dir
LAB_ACME_CA=$FLEET_DIR/acme-ca.pem
LAB_ACME_ROOT=$LAB_DIR/acme-root.pem
EOF
}
