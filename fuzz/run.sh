#!/usr/bin/env bash
# Fuzzes for so many minutes in all, on one core, and prints what came of it: run.sh MINUTES [TARGET ...]. Needs a nightly toolchain and
# cargo-fuzz (cargo install cargo-fuzz). What crashed is in fuzz/artifacts; inputs are kept in fuzz/corpus, for the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
minutes="${1:?run.sh MINUTES [TARGET ...]}"
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(gunzip splitter readers damaged_state forged_state)
cargo build --quiet
# Without a sanitizer: all that is looked for is safe Rust, and the C in the libraries does not link with one.
for target in "${targets[@]}"; do cargo +nightly fuzz build --sanitizer none "$target" >&2; done
python3 fuzz/seeds.py "${CARGO_TARGET_DIR:-target}/debug/discodiff" fuzz/corpus
# Targets of the state write files, of which nothing is to be kept.
if [ -d /dev/shm ]; then export TMPDIR=/dev/shm; fi

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
failed=0
printf '%-14s %8s %14s %8s\n' target minutes inputs crashes
for target in "${targets[@]}"; do
    mkdir -p "fuzz/artifacts/$target"
    seconds=$((minutes * 60 / ${#targets[@]}))
    begun=$SECONDS inputs=0 crashes=0
    # A crash ends a target: it goes on until its time is over.
    while left=$((seconds - (SECONDS - begun))) && [ "$left" -gt 0 ]; do
        if ! nice cargo +nightly fuzz run --sanitizer none "$target" -- -max_total_time="$left" -timeout=10 -rss_limit_mb=2048 \
            -max_len=8192 -print_final_stats=1 >"$log" 2>&1 </dev/null; then
            crashes=$((crashes + 1))
            grep -m 3 -E 'panicked at|ERROR: |Test unit written' "$log" >&2 || tail -n 5 "$log" >&2
        fi
        tried="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | head -n 1)"
        inputs=$((inputs + ${tried:-0}))
        [ "$crashes" -lt 10 ] || break
    done
    printf '%-14s %8s %14s %8s\n' "$target" "$(awk "BEGIN { printf \"%.1f\", ($SECONDS - $begun) / 60 }")" "$inputs" "$crashes"
    failed=$((failed + crashes))
done
[ "$failed" = 0 ]
