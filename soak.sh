#!/usr/bin/env bash
# Disturbs the whole product for so many minutes, with real servers: runs are killed at random moments, servers stopped, connections cut,
# stalled and half-closed, rows altered; after each, stores are compared row by row with those of undisturbed runs.
#
#   ./soak.sh MINUTES [--large]     --large: before that the large cases, a million releases in 1 GiB of memory among them (some 15 minutes
#                                   and 12 GB of disk)
#
# Prints rounds, kills survived, faults injected and differences at the end; exit status 1 where there are any. Servers as for test.sh.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

fail() {
    echo "soak.sh: $1" >&2
    exit 1
}

case "${1:-}" in '' | *[!0-9]*) fail "how many minutes? ./soak.sh MINUTES [--large]" ;; esac
end=$((SECONDS + 60 * $1))

. scripts/servers.sh
log=target/soak.log
trap stop_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set_up
start_servers
# Months of the ladder are larger than in test.sh.
export DISCODIFF_SOAK=1
: >"$log"

run() {
    cargo test --no-fail-fast --features failpoints --test promises -- --nocapture "$@" </dev/null >>"$log" 2>&1
}

if [ "${2:-}" = --large ]; then
    run --ignored --test-threads 1 large:: || true
    grep '^large: ' "$log"
fi
rounds=0
while [ $SECONDS -lt $end ]; do
    run ladder:: outage:: network:: faults:: repair:: || true
    rounds=$((rounds + 1))
    echo "round $rounds: $(grep '^test result:' "$log" | tail -1)"
done

awk -v rounds="$rounds" '
    /^killed [0-9]+, taken up where they were [0-9]+/ { killed += $2; resumed += $NF }
    /^fault: / { faults++ }
    /^test result:/ {
        results++
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^failed/) failed += $(i - 1)
        }
    }
    END {
        printf "%d rounds: %d kills survived (%d taken up where they were), %d faults injected, %d promises kept, %d differences\n",
            rounds, killed, resumed, faults, passed, failed
        # A program that did not compile leaves no result at all.
        exit (failed > 0 || results == 0)
    }' "$log" || { echo "see $log" >&2; exit 1; }
