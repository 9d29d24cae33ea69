#!/usr/bin/env bash
# Measures everything that BENCHMARKS.md has a target for, each beside the least that any program must do for the same, and writes the
# tables of BENCHMARKS.md and benchmarks.json anew. Rows that were not measured stay as they were there.
#
#   benches/end-to-end.sh [FOLDER]      FOLDER: generated months, of which RELEASES says how large they are; made there where there are none
#                                       (default: in the build folder)
#
# Settings, all from the environment:
#   RELEASES   releases in the first month; artists half as many, labels and masters an eighth each   (default: 200000)
#   ROUNDS     rounds of each; medians are told                                                       (default: 5)
#   ROWS       which rows of the table, by number                                                     (default: all but 12)
#   WHOLE      1: row 12 too, all of Discogs once: some two hours and 40 GB of disk
#   SIZES      rising numbers of releases of row 13; the largest is row 11's (default: a twentieth of RELEASES, half and five times as many)
#   DISCODIFF_TEST_POSTGRES, DISCODIFF_TEST_NEO4J, DISCODIFF_TEST_KAFKA
#              servers of your own, of which Neo4j is wiped        (default: scripts/services.sh starts them, and they are stopped at the end)
set -uo pipefail
FOLDER=${1:+$(realpath -m "$1")}
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export RELEASES=${RELEASES:-200000} ROUNDS=${ROUNDS:-5}
ROWS=${ROWS:-1 2 3 4 5 6 7 8 9 10 11 13}
if [ -n "$FOLDER" ]; then export MONTHS=$FOLDER; fi
if [ "${WHOLE:-}" = 1 ]; then ROWS="$ROWS 12"; fi

fail() {
    echo "end-to-end.sh: $1" >&2
    exit 1
}

# Servers as they are run in earnest, not for a fast start.
export SERVICES_JVM=${SERVICES_JVM-}
. scripts/servers.sh
trap stop_servers EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export BENCHMARKS_TOLD=$PWD/target/benchmarks.jsonl SERVERS=
rm -f "$BENCHMARKS_TOLD"
touch "$BENCHMARKS_TOLD"

# Prints those of the rows given that are asked for.
asked() {
    local row
    for row in "$@"; do
        if [[ " $ROWS " == *" $row "* ]]; then echo "$row"; fi
    done
}

# Everything is built before anything is measured.
declare -A ROWS_OF=([whole]="1 2 3 9 11 12 13" [stages]="3 4" [postgres]=5 [sqlite]=6 [graph]=7 [kafka]=8 [fingerprints]="10 13")
build=(--bench report)
for name in "${!ROWS_OF[@]}"; do
    if [ -n "$(asked ${ROWS_OF[$name]})" ]; then build+=(--bench "$name"); fi
done
cargo bench --no-run "${build[@]}" >&2 || fail "it does not build"

failed=()
# bench NAME [ARGUMENT...]: one that fails does not keep the others from being told.
bench() {
    cargo bench -q --bench "$1" -- "${@:2}" || failed+=("$1")
}

version() { sed -n 's|.*<version>\([0-9.]*\)</version>.*|\1|p' "scripts/$1/pom.xml" | sed -n 2p; }

# Those without servers first, while nothing else runs.
mapfile -t rows < <(asked 1 2 3 11 12 13)
if [ ${#rows[@]} -gt 0 ]; then bench whole "${rows[@]}"; fi
# With their own sizes, as caches hold a stage's input or they do not.
if [ -n "$(asked 3 4)" ]; then RELEASES=20000 bench stages; fi
if [ -n "$(asked 6)" ]; then bench sqlite; fi
if [ -n "$(asked 10 13)" ]; then bench fingerprints; fi
if [ -n "$(asked 5 9)" ]; then
    use_service postgres DISCODIFF_TEST_POSTGRES
    SERVERS+=", PostgreSQL $(psql -qXAt "$DISCODIFF_TEST_POSTGRES" -c 'SHOW server_version' | cut -d' ' -f1)"
fi
if [ -n "$(asked 5)" ]; then bench postgres; fi
if [ -n "$(asked 7 9)" ]; then
    use_service neo4j DISCODIFF_TEST_NEO4J
    SERVERS+=", Neo4j $(version neo4j)"
fi
if [ -n "$(asked 7)" ]; then bench graph; fi
if [ -n "$(asked 9)" ]; then bench whole 9; fi
if [ -n "$(asked 8)" ]; then
    stop_servers
    use_service kafka DISCODIFF_TEST_KAFKA
    SERVERS+=", Kafka $(version kafka)"
    bench kafka
fi

cargo bench -q --bench report || fail "BENCHMARKS.md and benchmarks.json were not written"
echo "BENCHMARKS.md and benchmarks.json are written."
if [ ${#failed[@]} -gt 0 ]; then fail "these benchmarks failed, and their rows stay as they were: ${failed[*]}"; fi
