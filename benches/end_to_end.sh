#!/usr/bin/env bash
# Measures first load, refresh and an unchanged month, whole processes, and prints Markdown tables.
#
#   benches/end_to_end.sh [FOLDER]      FOLDER: where months and stores go (default: target/bench; what this script made there is replaced)
#
# Settings, all from the environment:
#   RELEASES   releases in the first month; artists half as many, labels and masters an eighth each   (default: 100000)
#   SINKS      which of: null sqlite feed postgres                                                    (default: all four)
#   WORKERS    worker threads                                                                         (default: 1)
#   ROUNDS     rounds of the unchanged month against gzip                                             (default: 5)
#   DISCODIFF  a program that is built already                                                        (default: cargo build --release)
#   DISCODIFF_TEST_POSTGRES  a server whose database is for tests: a schema of its own is made and dropped in it
#                            (default: scripts/services.sh starts one and stops it)
set -euo pipefail
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
OUT=${1:-$HERE/target/bench}
RELEASES=${RELEASES:-100000}
SINKS=${SINKS:-null sqlite feed postgres}
WORKERS=${WORKERS:-1}
ROUNDS=${ROUNDS:-5}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
export DISCODIFF_LOG=warn

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
if [ ! -x /usr/bin/time ]; then
    as_root apt-get -q update >&2 </dev/null
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install time >&2 </dev/null
fi

PROGRAM=${DISCODIFF:-}
if [ -z "$PROGRAM" ]; then
    (cd "$HERE" && cargo build --release >&2)
    PROGRAM=${CARGO_TARGET_DIR:-$HERE/target}/release/discodiff
fi

started=no
schema=bench_$$
server=${DISCODIFF_TEST_POSTGRES:-}
finish() {
    if [ -n "$server" ]; then psql -qX "$server" -c "DROP SCHEMA IF EXISTS $schema CASCADE" >/dev/null 2>&1 || true; fi
    if [ "$started" = yes ]; then bash "$HERE/scripts/services.sh" stop >&2; fi
}
trap finish EXIT
if [[ " $SINKS " == *" postgres "* ]]; then
    if [ -z "$server" ]; then
        started=yes
        bash "$HERE/scripts/services.sh" start postgres >&2 </dev/null
        server=$(bash "$HERE/scripts/services.sh" env | sed -n 's/^\(export \)\{0,1\}DISCODIFF_TEST_POSTGRES=//p')
    fi
    psql -qX "$server" -c "CREATE SCHEMA $schema"
    case $server in *\?*) url="$server&" ;; *) url="$server?" ;; esac
    url="${url}options=-csearch_path%3D$schema"
fi

# measure COMMAND...: sets wall and cpu (seconds) and peak (MiB); the command's stdout goes to $OUT/stdout.
measure() {
    local status=0
    /usr/bin/time -v -o "$OUT/time" "$@" >"$OUT/stdout" 2>"$OUT/stderr" || status=$?
    if [ "$status" != 0 ]; then cat "$OUT/stderr" >&2; echo "status $status: $*" >&2; exit 1; fi
    wall=$(awk -F': ' '/Elapsed/ { n = split($2, t, ":"); s = 0; for (i = 1; i <= n; i++) s = 60 * s + t[i]; print s }' "$OUT/time")
    cpu=$(awk -F': ' '/User time|System time/ { s += $2 } END { print s }' "$OUT/time")
    peak=$(awk -F': ' '/Maximum resident/ { printf "%.0f", $2 / 1024 }' "$OUT/time")
}
received() { python3 -c 'import json,sys; print(sum(k["received"] for k in json.load(open(sys.argv[1]))["kinds"].values()))' "$OUT/stdout"; }
changed() { python3 -c 'import json,sys; print(sum(k["inserted"]+k["updated"]+k["deleted"] for k in json.load(open(sys.argv[1]))["kinds"].values()))' "$OUT/stdout"; }
row() { # WHAT SINK
    local n c
    n=$(received); c=$(changed)
    awk -v what="$1" -v sink="$2" -v n="$n" -v c="$c" -v wall="$wall" -v cpu="$cpu" -v peak="$peak" 'BEGIN {
        printf "| %s | %s | %d | %d | %.2f | %d | %.2f | %d |\n", what, sink, n, c, wall, n / wall, cpu, peak }'
}

months=$OUT/months-$RELEASES
if [ ! -f "$months/truth.json" ]; then "$PROGRAM" generate "$months" --months 2 --releases "$RELEASES" >&2; fi
first=$(ls -d "$months"/*/ | sed -n 1p)
second=$(ls -d "$months"/*/ | sed -n 2p)

echo "$(nproc) cores, $WORKERS worker(s), $RELEASES releases in the first month."
echo
echo "| what | sink | records | changes | wall s | records/s | CPU s | peak MiB |"
echo "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
for sink in $SINKS; do
    state=$OUT/state-$sink
    rm -rf "$state"
    case $sink in
        null) name=(--null) ;;
        sqlite) rm -f "$OUT"/bench.sqlite*; name=(--sqlite "$OUT/bench.sqlite") ;;
        feed) rm -f "$OUT"/bench.jsonl*; name=(--feed "$OUT/bench.jsonl") ;;
        postgres) name=(--postgres "$url") ;;
        *) echo "unknown sink $sink" >&2; exit 2 ;;
    esac
    measure "$PROGRAM" refresh --dumps "$first" --state "$state" "${name[@]}" -w "$WORKERS" --json
    row "first load" "$sink"
    measure "$PROGRAM" refresh --dumps "$second" --state "$state" "${name[@]}" -w "$WORKERS" --json
    row "refresh" "$sink"
done

# The second month once more, gzipped anew: other files, the same records. Against it, gzip alone: which does nothing but inflate.
again=$OUT/again-$RELEASES
rm -rf "$again"
mkdir -p "$again"
for file in "$second"/*.xml.gz; do gzip -dc "$file" | gzip -1 >"$again/$(basename "$file")"; done
base=$OUT/state-again
rm -rf "$base"
measure "$PROGRAM" refresh --dumps "$second" --state "$base" --null -w "$WORKERS" --json
bytes=$(cat "$again"/*.xml.gz | gzip -dc | wc -c)
echo
echo "An unchanged month (all records as before, $((bytes / 1000000)) MB of XML, no sink), against \`gzip -dc\` of the same files, by turns:"
echo
echo "| round | refresh wall s | refresh CPU s | peak MiB | gzip -dc CPU s | CPU ratio |"
echo "| ---: | ---: | ---: | ---: | ---: | ---: |"
for round in $(seq "$ROUNDS"); do
    rm -rf "$OUT/state-round"
    cp -r "$base" "$OUT/state-round"
    measure "$PROGRAM" refresh --dumps "$again" --state "$OUT/state-round" --null -w "$WORKERS" --json
    [ "$(changed)" = 0 ] || { echo "the month was not unchanged" >&2; exit 1; }
    ours_wall=$wall ours=$cpu ours_peak=$peak
    measure sh -c 'exec gzip -dc "$@" >/dev/null' sh "$again"/*.xml.gz
    awk -v r="$round" -v w="$ours_wall" -v a="$ours" -v p="$ours_peak" -v b="$cpu" \
        'BEGIN { printf "| %d | %.2f | %.2f | %d | %.2f | %.2f |\n", r, w, a, p, b, a / b }'
done

echo
echo "Bytes after the second month:"
echo
du -sb "$second" "$OUT"/state-null "$OUT"/bench.sqlite "$OUT"/bench.jsonl 2>/dev/null | sed "s|$OUT/||" | awk '{ printf "    %-24s %d\n", $2, $1 }'
if [ -n "$server" ] && [[ " $SINKS " == *" postgres "* ]]; then
    psql -qXAt "$server" -c "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = '$schema' AND c.relkind = 'r'" | awk '{ printf "    %-24s %d\n", "postgres", $1 }'
fi
