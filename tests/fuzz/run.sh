#!/bin/sh
# Fuzzes every parser, or those named, FUZZ_SECONDS each, one after the other. With
# FUZZ_RUNS: that many inputs each, which are the same at every run.
# Needs a C++ compiler and cargo, and neither a nightly toolchain nor
# cargo-fuzz: what libFuzzer wants of the compiler, stable has.
set -eu
cd "$(dirname "$0")"
cargo=${CARGO:-cargo}
limit=-max_total_time=${FUZZ_SECONDS:-60}
[ -z "${FUZZ_RUNS-}" ] || limit="-runs=$FUZZ_RUNS -seed=1"
built=${CARGO_TARGET_DIR:-$(cd ../.. && pwd)/target}/fuzz

missing() {
    printf 'fuzz: %s\n' "$*" >&2
    exit 1
}
command -v "$cargo" >/dev/null || missing "$cargo is missing; rustup (https://rustup.rs) installs it"
command -v "${CXX:-c++}" >/dev/null ||
    missing "${CXX:-c++} is missing, and libFuzzer is C++; install a C++ compiler, such as clang or g++"

host=$(rustc -vV | sed -n 's/^host: //p')
# As cargo-fuzz does it. --target keeps the flags from build scripts.
sancov="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
[ $# -gt 0 ] || set -- $(ls targets | sed 's/\.rs$//')
RUSTFLAGS="$(echo $sancov) --cfg fuzzing" "$cargo" build --quiet --locked --release $(printf -- '--bin %s ' "$@") \
    --target "$host" --target-dir "$built"

for name; do
    # What is found is kept beside what was built; tests/fuzz/corpus is only read.
    # Inputs that are the same each time begin with that corpus alone.
    corpus=$built/corpus/$name
    [ -z "${FUZZ_RUNS-}" ] || { corpus=$built/corpus/runs/$name && rm -rf "$corpus"; }
    mkdir -p "$corpus" "$built/found/$name"
    printf '%s: ' "$name"
    log=$built/$name.log
    if ! "$built/$host/release/$name" $limit -timeout=5 -rss_limit_mb=1024 \
        -max_len="${FUZZ_LENGTH:-4096}" -fork=0 -print_final_stats=1 -artifact_prefix="$built/found/$name/" \
        "$corpus" "corpus/$name" >"$log" 2>&1; then
        echo "found something"
        tail -n 30 "$log" >&2
        missing "$name failed; the input is in $built/found/$name, all that was told in $log"
    fi
    sed -n 's/^stat::number_of_executed_units: *//p' "$log" | sed 's/$/ executions/'
done
