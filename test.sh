#!/usr/bin/env bash
# Runs all tests, from any folder, and stops whatever it started. Give DISCODIFF_TEST_POSTGRES or DISCODIFF_TEST_KAFKA (host:port) to use
# a server of your own, or DISCODIFF_TEST_NEO4J (Bolt) together with DISCODIFF_TEST_NEO4J_HTTP: tests wipe it.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

fail() {
    echo "test.sh: $1" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
}

. scripts/servers.sh
output="$(mktemp target/test-output.XXXXXX)"
finish() {
    rm -f "$output"
    stop_servers
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
set_up
bash scripts/book.sh >&2 || fail "the book of the guides could not be made"
export DISCODIFF_TEST_BOOK="$PWD/target/book"
start_servers

# Standard error apart: it would tear the result lines that are summed below.
cargo test --no-fail-fast --features failpoints </dev/null | tee "$output"
status=${PIPESTATUS[0]}

awk -v status="$status" '
    /^test result:/ {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^passed/) passed += $(i - 1)
            if ($i ~ /^failed/) failed += $(i - 1)
            if ($i ~ /^ignored/) skipped += $(i - 1)
        }
    }
    END {
        # A test program that did not compile, or that was killed, leaves no line of its own.
        if (status != 0 && failed == 0) failed = 1
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit (failed > 0 || passed == 0)
    }' "$output"
