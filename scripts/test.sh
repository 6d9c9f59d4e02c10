#!/usr/bin/env bash
# All tests, from a fresh clone: installs what they need, then runs them. CI runs exactly this.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
# shellcheck source=scripts/test/tools.sh
. "$ROOT/scripts/test/tools.sh"

usage() {
    cat <<'TEXT'
scripts/test.sh: everything that must hold before a change goes in, in the order of what it costs.

  --fast        without the lab: format, lints, scripts, unit and integration tests
  --keep        leave the lab's hosts running afterwards (scripts/lab.sh down removes them)
  --help        this text
  -- ARGS       passed on to the lab tests, such as: -- certificate

Needs Debian or Ubuntu, root, git and a Rust toolchain. Packages that are missing are named and installed. The
lab is one of its own (FLEET_LAB_NAME=fleet-test): a lab that is up for scripts/try.sh is left alone.
TEXT
}

FAST=no KEEP=no LAB_ARGS=()
while [ $# -gt 0 ]; do
    case $1 in
    --fast) FAST=yes ;;
    --keep) KEEP=yes ;;
    -h | --help) usage; exit 0 ;;
    --) shift; LAB_ARGS=("$@"); break ;;
    *) echo "test: '$1' is not an option; see scripts/test.sh --help" >&2; exit 2 ;;
    esac
    shift
done
[ "$(id -u)" = 0 ] || { echo "test: run it as root: it installs packages and starts the lab" >&2; exit 2; }

exec </dev/null
export RUST_BACKTRACE=0 CARGO_TERM_PROGRESS_WHEN=never INSTA_UPDATE=no
# Nothing is built twice there, so what the next build would need is not kept.
[ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
export FLEET_LAB_NAME=${FLEET_LAB_NAME:-fleet-test} FLEET_LAB_DIR=${FLEET_LAB_DIR:-$ROOT/target/lab-test}
# A setting of whoever runs this must not change what is tested.
unset FLEET_DIR FLEET_CONFIG FLEET_JSON FLEET_COLOR FLEET_PLAIN FLEET_IDENTITY \
    FLEET_PARALLEL FLEET_TIMEOUT FLEET_YES SSH_AUTH_SOCK
STARTED=$(date +%s)
SECTION='' SECTION_STARTED=0
LAB_LOG=$ROOT/target/lab-up.log LAB_PID='' LAB_TOUCHED=no

section() {
    section_end
    SECTION=$1 SECTION_STARTED=$(date +%s)
    printf '\n=== %s\n' "$SECTION"
}
section_end() {
    [ -z "$SECTION" ] || printf -- '--- %s: %d s\n' "$SECTION" "$(($(date +%s) - SECTION_STARTED))"
    SECTION=''
}

# Whatever ends this script, the hosts go away; the lab's cache of images stays for the next time.
finish() {
    local status=$?
    trap - EXIT
    trap '' INT TERM
    if [ -n "$LAB_PID" ] && kill -0 "$LAB_PID" 2>/dev/null; then
        kill -TERM "$LAB_PID" 2>/dev/null || true
        wait "$LAB_PID" 2>/dev/null || true
    fi
    if [ $LAB_TOUCHED = yes ] && [ $KEEP = no ]; then
        "$ROOT/scripts/lab.sh" down >"$ROOT/target/lab-down.log" 2>&1 || {
            echo "test: the lab could not be taken down:" >&2
            sed 's/^/  | /' "$ROOT/target/lab-down.log" >&2
            [ $status != 0 ] || status=1
        }
    fi
    if [ $status = 0 ]; then
        printf '\ntest: all passed in %d s\n' "$(($(date +%s) - STARTED))"
    else
        printf '\ntest: FAILED in "%s" after %d s (exit code %d)\n' "${SECTION:-the end}" "$(($(date +%s) - STARTED))" $status >&2
    fi
    exit $status
}
mkdir -p "$ROOT/target"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

lab_start() {
    LAB_TOUCHED=yes
    "$ROOT/scripts/lab.sh" up "$LAB_HOST_COUNT" --fresh >"$LAB_LOG" 2>&1 &
    LAB_PID=$!
}

lab_ready() {
    local status=0
    wait "$LAB_PID" || status=$?
    LAB_PID=''
    cat "$LAB_LOG"
    return $status
}

section "tools"
install_tools
LAB_HOST_COUNT=12
# Images are built while cargo compiles; what the lab says is shown when it is needed.
if [ $FAST = no ]; then
    echo "test: the lab starts in the background, its output comes in its own section"
    lab_start
fi

section "format"
cargo fmt --all --check

section "shell scripts"
shell_scripts | xargs -0 shellcheck
echo "$(shell_scripts | tr -cd '\0' | wc -c) scripts"

section "lints"
cargo clippy --quiet --locked --all-targets --all-features -- -D warnings

section "unit and integration tests"
cargo test --locked

if [ $FAST = no ]; then
    section "lab: hosts"
    lab_ready
    section "lab: tests on real hosts"
    rm -f target/tmp/lab-figures.txt
    # Most scenarios wait for hosts that another has, and one that waits must not keep the next from beginning.
    cargo test --locked --features lab --test lab -- --test-threads=64 "${LAB_ARGS[@]}"
    [ ! -e target/tmp/lab-figures.txt ] || { echo "measured:" && sed 's/^/  /' target/tmp/lab-figures.txt; }
fi
section_end
