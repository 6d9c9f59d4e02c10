#!/usr/bin/env bash
# The tour: from a fresh clone to three town halls served over HTTPS, each from a server of its own.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

usage() {
    cat <<'TEXT'
scripts/try.sh [HOSTS]: builds fleet, starts bare servers on this machine (3 unless told) and provisions them.

Needs Debian or Ubuntu, root, git and a Rust toolchain. What is missing is installed and named. Run it again
at any time: what is done already stays. `scripts/lab.sh down` takes all of it away.
TEXT
}
case ${1:-3} in
-h | --help) usage; exit 0 ;;
*[!0-9]* | 0) usage >&2; exit 2 ;;
*) HOSTS=${1:-3} ;;
esac
[ "$(id -u)" = 0 ] || { echo "try: run it as root: it starts servers and networks on this machine" >&2; exit 2; }
command -v cargo >/dev/null || { echo "try: cargo is missing; install a Rust toolchain: https://rustup.rs" >&2; exit 1; }
unset FLEET_DIR FLEET_CONFIG FLEET_JSON FLEET_PLAIN FLEET_IDENTITY FLEET_PARALLEL FLEET_TIMEOUT FLEET_YES
STARTED=$(date +%s)

title() { printf '\n\033[1m## %s\033[0m\n' "$*" | if [ -t 1 ]; then cat; else sed 's/\x1b\[[0-9]*m//g'; fi; }

# show COMMAND...: the command as one would type it, then what it does.
show() {
    printf '$ %s\n' "${*/#"$FLEET"/fleet}"
    "$@"
}

title "Build"
missing=()
for pair in rsync:rsync ssh:openssh-client curl:curl openssl:openssl cc:gcc; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing with apt-get: ${missing[*]}"
    { apt-get -qq -o DPkg::Lock::Timeout=300 update &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --no-install-recommends "${missing[@]}"; } </dev/null >/dev/null
fi
cargo build --release --locked
# Short in what is shown below: the paths of this machine do not matter.
FLEET=${CARGO_TARGET_DIR:-$ROOT/target}/release/fleet

title "$HOSTS bare servers"
scripts/lab.sh up "$HOSTS" </dev/null
# shellcheck source=/dev/null
. "${FLEET_LAB_DIR:-$ROOT/target/lab}/lab.env"
export FLEET_DIR=$LAB_FLEET_DIR
HERE=$(realpath -s --relative-to "$PWD" "$FLEET_DIR")
printf 'The fleet directory is %s; FLEET_DIR names it for all that follows.\n' "$HERE"

title "Keys, and what they open"
show "$FLEET" init
show "$FLEET" test-ssh --all

title "From bare to serving"
show "$FLEET" provision --all --yes

title "What a citizen sees: TLS verified against the root of the certificates' issuer"
for name in $LAB_HOSTS; do
    domain=$name.fleet.test
    address=$("$FLEET" list --json "$name" | sed -n 's/.*"address":"\([^"]*\)".*/\1/p')
    [ -n "$address" ] || { echo "try: no address of $name in \`fleet list --json\`" >&2; exit 1; }
    printf '$ curl --cacert acme-root.pem https://%s/api/health\n' "$domain"
    answer=$(curl -fsS --max-time 20 --cacert "$LAB_ACME_ROOT" --resolve "$domain:443:$address" "https://$domain/api/health")
    printf '%s\n' "$answer"
    # Each client has an environment of its own, by default its name.
    case $answer in
    *"\"environment\":\"$name\""*) ;;
    *) echo "try: $domain does not say that its environment is $name" >&2; exit 1 ;;
    esac
done

title "Nothing to do is said, and costs nothing"
show "$FLEET" update --all --yes

title "The fleet at a glance"
show "$FLEET" status
first=${LAB_HOSTS%% *}
show "$FLEET" logs "$first" --service api --tail 5

title "All is well, $(($(date +%s) - STARTED)) s"
cat <<TEXT
Look further:
  alias fleet='$(realpath -s --relative-to "$PWD" "$FLEET") -C $HERE'
  fleet ssh $first                   a shell on a server
  fleet secrets show $first          its secrets, masked
  fleet render $first                its files
  \$EDITOR $HERE/clients.toml, then fleet update --all
And take it all down again:
  scripts/lab.sh down
TEXT
