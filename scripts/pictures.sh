#!/usr/bin/env bash
# Makes the pictures of the documentation anew, from what fleet shows on the lab's hosts.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OUT=$ROOT/docs/pictures
SCREEN=fleet-pictures-$$

usage() {
    cat <<'TEXT'
scripts/pictures.sh: docs/pictures/*.svg from a real terminal (tmux) and real hosts.

Needs tmux, python3, target/release/fleet, and a lab of three bare hosts just made with
`scripts/lab.sh up 3 --fresh`. It provisions them, spoils an update on purpose and mends it again, so do not point
it at anything but a lab. FLEET_LAB_DIR names the lab's directory, as for scripts/lab.sh.
TEXT
}
case ${1:-} in
'') ;;
-h | --help) usage; exit 0 ;;
*) usage >&2; exit 2 ;;
esac
for program in tmux python3; do
    command -v "$program" >/dev/null || { echo "pictures: $program is missing" >&2; exit 1; }
done
BIN=${CARGO_TARGET_DIR:-$ROOT/target}/release
[ -x "$BIN/fleet" ] || { echo "pictures: build it first: cargo build --release" >&2; exit 1; }
LAB=${FLEET_LAB_DIR:-$ROOT/target/lab}
[ -s "$LAB/lab.env" ] || { echo "pictures: no lab at $LAB; scripts/lab.sh up 3 --fresh" >&2; exit 1; }

WORK=$(mktemp -d)
trap 'tmux -L "$SCREEN" kill-server 2>/dev/null || true; rm -rf "$WORK"' EXIT
tmux -L "$SCREEN" -f /dev/null new-session -d -s it -x 100 -y 40 'exec bash --norc --noprofile'
# The words of the login do not belong on a picture.
tmux -L "$SCREEN" send-keys -t it "export PS1='\$ ' USER=marie PATH=$BIN:\$PATH FLEET_DIR=$LAB/fleet; cd $WORK" Enter

# type WORDS: as at the keyboard, on an empty screen.
type_in() {
    tmux -L "$SCREEN" send-keys -t it C-l
    sleep 0.5
    tmux -L "$SCREEN" clear-history -t it
    tmux -L "$SCREEN" send-keys -t it -- "$1" Enter
}
shown() { tmux -L "$SCREEN" capture-pane -e -p -t it; }

# wait_for SECONDS PATTERN: until the screen shows it.
wait_for() {
    local left=$1
    until tmux -L "$SCREEN" capture-pane -p -t it | grep -q -- "$2"; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "pictures: \"$2\" never came:" >&2; shown >&2; exit 1; }
        sleep 1
    done
}

# picture NAME TITLE COLUMNS: the screen, without the prompt that waits at its end.
picture() {
    shown | sed -E '/^(\x1b\[[0-9;]*m)*\$ *$/d' | python3 "$ROOT/scripts/picture.py" "$OUT/$1.svg" --title "$2" --columns "$3"
    echo "$OUT/$1.svg"
}
wide() { tmux -L "$SCREEN" resize-window -t it -x "$1" -y "${2:-40}"; }

"$BIN/fleet" -C "$LAB/fleet" init >/dev/null
sleep 1
cat >"$WORK/clients.toml" <<'TOML'
[fleet]
name = "geoclic"
stack = "geoclic"

[clients.ville-lyon]
domain = "ville-lyon.example.fr"
ip = "51.210.42.300"
tag = ["prod"]
TOML
wide 90
type_in 'fleet --config clients.toml -C . list'
wait_for 10 'problems in'
picture mistakes "two mistakes in clients.toml" 90

wide 100
type_in 'fleet provision --all --yes'
wait_for 900 'build portail'
picture provision "fleet provision --all --yes" 100
wait_for 900 '3 clients:'

# portail VERB OPTIONS: docker VERB for that service's container on one client.
portail() {
    type_in "fleet exec client-2 --sudo -- sh -c 'docker $1 \$(docker ps -aq --filter label=com.docker.compose.service=portail)'"
    sleep 8
}
portail 'stop -t 1'
wide 110
type_in 'fleet status'
wait_for 60 'of 3 well'
picture status "fleet status" 110
wide 200
type_in 'fleet status --wide'
wait_for 60 'of 3 well'
picture status-wide "fleet status --wide" 200
wide 110
type_in 'fleet check'
wait_for 90 'of 3 well'
picture check "fleet check" 110
portail start
type_in 'fleet exec --all -- cat /etc/debian_version'
sleep 5
picture exec "fleet exec: what several hosts say alike is shown once" 110
wide 120
type_in 'fleet doctor'
wait_for 120 'in 3 clients'
picture doctor "fleet doctor" 120

wide 110 16
type_in 'fleet logs --all --service api --service worker --tail 4 --follow'
sleep 20
picture logs "fleet logs --all --follow" 110
tmux -L "$SCREEN" send-keys -t it C-c

wide 100
cp -r "$ROOT/tests/apps/geoclic" "$WORK/code"
sed -i '0,/^import /s//import carte\nimport /' "$WORK/code/api/main.py"
sed "s|^source = .*|source = \"$WORK/code\"|" "$LAB/fleet/clients.toml" >"$WORK/spoiled.toml"
type_in "fleet --config $WORK/spoiled.toml update --tag canary --yes"
wait_for 300 '1 client:'
picture rolled-back "an update that does not become healthy" 100
type_in 'fleet update --all --yes'
wait_for 300 '3 clients:'
