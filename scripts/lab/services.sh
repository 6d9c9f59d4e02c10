# shellcheck shell=bash disable=SC2034,SC2154 # names shared with the other files
# The lab's network and its services: registry mirror, ACME, DNS, apt repository (images/infra).

network_up() {
    local block used
    if [ -n "$(net_prefix)" ]; then
        STAGE_NOTE="$(net_prefix).0.0/22"
        return
    fi
    used=$(ip -4 route show; docker network ls -q | xargs -r docker network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}')
    for block in 10.{86..119}; do
        grep -qF "$block." <<<"$used" && continue
        docker network create --label "fleet-lab=$LAB" --subnet "$block.0.0/22" --gateway "$block.0.1" "$LAB" >/dev/null &&
            STAGE_NOTE="$block.0.0/22" && return
    done
    die "no free address block for the lab's network" "10.86 to 10.119 are all in use" "remove a docker network: docker network ls"
}

services_up() {
    local image address
    image=$(image_name infra) address=$(infra_address)
    mkdir -p "$LAB_CACHE/registry"
    if [ "$(field "$INFRA" '{{.State.Running}} {{.Config.Image}}')" = "true $image" ] && services_answer && same_storage; then
        STAGE_NOTE="running at $address"
        return
    fi
    docker rm -fv "$INFRA" >/dev/null 2>&1 || true
    docker run -d --init --name "$INFRA" --hostname infra --network "$LAB" --ip "$address" \
        --label "fleet-lab=$LAB" --label "fleet-lab.id=$LAB_ID" --label "fleet-lab.dir=$LAB_DIR" -v "$LAB_CACHE/registry:/var/lib/registry" -p 127.0.0.1::5000 "$image" >/dev/null
    retry 30 services_answer || {
        docker logs --tail 15 "$INFRA" 2>&1 | sed 's/^/  | /' >&2
        die "the lab's services did not answer in 30 s" "their last lines are above" "docker logs $INFRA"
    }
    STAGE_NOTE="at $address"
    [ -z "$(lab_hosts)" ] || say "the ACME server is a new one: certificates issued before do not verify any more (up --fresh)"
}

# The cache may have been deleted, or another one named, since the services were started.
same_storage() {
    [ "$(docker exec "$INFRA" stat -c %d:%i /var/lib/registry)" = "$(stat -c %d:%i "$LAB_CACHE/registry")" ]
}

services_answer() {
    docker exec "$INFRA" sh -c 'curl -fsS --max-time 2 -o /dev/null http://127.0.0.1:5000/v2/ &&
        curl -fsS --max-time 2 -o /dev/null http://127.0.0.1:8000/gpg &&
        curl -fsSk --max-time 2 -o /dev/null https://127.0.0.1:15000/roots/0 &&
        curl -fsS --max-time 2 -o /dev/null -d "{\"host\":\"probe.fleet.test\",\"addresses\":[\"127.0.0.1\"]}" http://127.0.0.1:8055/add-a' 2>/dev/null
}

# dns_set NAME ADDRESS
dns_set() {
    docker exec "$INFRA" curl -fsS -o /dev/null http://127.0.0.1:8055/clear-a -d "{\"host\":\"$1.\"}"
    docker exec "$INFRA" curl -fsS -o /dev/null http://127.0.0.1:8055/add-a -d "{\"host\":\"$1.\",\"addresses\":[\"$2\"]}"
}

# Copies of the services' public keys, for the fleet directory and for tests.
services_keys() {
    docker exec "$INFRA" cat /run/lab/acme-ca.pem >"$FLEET_DIR/acme-ca.pem"
    docker exec "$INFRA" cat /srv/docker-repo.asc >"$FLEET_DIR/docker-repo.asc"
    docker exec "$INFRA" curl -fsSk https://127.0.0.1:15000/roots/0 >"$LAB_DIR/acme-root.pem"
}
