#!/bin/sh
# usage: distinfo.sh tarball
#
# Prints the distinfo of the port for that tarball and for the crates of
# Cargo.lock, whose files cargo has fetched. What is there must be what Cargo.lock
# says: a crate with another checksum is an error.
set -eu
tarball=$1
cargo=${CARGO:-cargo}

fail() {
    printf 'distinfo: %s\n' "$*" >&2
    exit 1
}
sha256() {
    if command -v sha256sum >/dev/null; then sha256sum <"$1" | cut -d ' ' -f 1; else sha256 -q "$1"; fi
}
entry() { # name file
    printf 'SHA256 (%s) = %s\nSIZE (%s) = %s\n' "$1" "$(sha256 "$2")" "$1" "$(wc -c <"$2" | tr -d ' ')"
}

"$cargo" fetch --quiet --locked
printf 'TIMESTAMP = %s\n' "$(git log -1 --format=%ct)"
awk '/^name = |^version = |^checksum = / { gsub(/"/, "", $3); field[$1] = $3 }
     /^checksum = / { print field["name"] "-" field["version"], $3 }' Cargo.lock |
    while read -r crate checksum; do
        file=
        for found in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$crate.crate"; do
            if [ -f "$found" ] && [ "$(sha256 "$found")" = "$checksum" ]; then file=$found; fi
        done
        [ -n "$file" ] || fail "$crate: cargo has fetched no such crate with the checksum of Cargo.lock"
        entry "rust/crates/$crate.crate" "$file"
    done
entry "${tarball##*/}" "$tarball"
