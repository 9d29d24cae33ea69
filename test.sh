#!/usr/bin/env bash
# Runs all tests, from any folder, and stops whatever it started. Give DISCODIFF_TEST_POSTGRES to use a server of your own.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

# The servers' data stand in the build folder. Run by root, PostgreSQL runs as another user, who cannot come to a folder below a
# private one, such as root's own home: then they stand in a temporary folder.
reachable() {
    local folder=$1
    while [ "$folder" != / ]; do
        case "$(stat -c %A "$folder")" in *[xt]) ;; *) return 1 ;; esac
        folder="$(dirname "$folder")"
    done
}
mkdir -p target
temporary=
if [ -z "${SERVICES_DIR:-}" ] && [ "$(id -u)" = 0 ] && ! reachable "$PWD/target"; then
    temporary="$(mktemp -d)"
    chmod 755 "$temporary"
fi
export SERVICES_DIR="${SERVICES_DIR:-${temporary:-$PWD/target/services}}" CARGO_TERM_COLOR=never
output="$(mktemp target/test-output.XXXXXX)"
started=no

finish() {
    rm -f "$output"
    if [ "$started" = yes ]; then bash scripts/services.sh stop >&2; fi
    if [ -n "$temporary" ]; then rm -rf "$temporary"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    echo "test.sh: $1" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Some tests check what was written with a second program, in Python.
if ! python3 -c 'import sqlite3' 2>/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    if command -v apt-get >/dev/null; then
        as_root apt-get update -qq >&2 && as_root apt-get install -y -qq python3 >&2 </dev/null
    elif command -v dnf >/dev/null; then
        as_root dnf install -y -q python3 >&2 </dev/null
    elif command -v apk >/dev/null; then
        as_root apk add --quiet python3 >&2 </dev/null
    fi
    python3 -c 'import sqlite3' || fail "python3 with sqlite3 is needed and could not be installed"
fi

if [ -z "${DISCODIFF_TEST_POSTGRES:-}" ]; then
    started=yes
    bash scripts/services.sh start postgres </dev/null >&2 || fail "PostgreSQL could not be started"
    # Lines NAME=value; read as they are, so that no character in a URL is taken for the shell's.
    while IFS= read -r line; do
        line="${line#export }"
        case "$line" in DISCODIFF_*=*) export "${line?}" ;; esac
    done < <(bash scripts/services.sh env)
    [ -n "${DISCODIFF_TEST_POSTGRES:-}" ] || fail "scripts/services.sh env named no PostgreSQL"
fi

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
