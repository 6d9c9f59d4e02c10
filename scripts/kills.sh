#!/usr/bin/env bash
# Kills a backup and a prune at random points, 200 times each unless told: nothing good may be lost, nothing bad
# listed as good, and the stock restic must find no fault after each. The tests themselves do it a few times.
#   scripts/kills.sh [TIMES]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
times=${1:-200}
case $times in '' | *[!0-9]*) echo "usage: scripts/kills.sh [TIMES]" >&2; exit 2 ;; esac
FLEET_KILLS=$times exec cargo test --locked --test postgres killed -- --nocapture
