#!/bin/sh
# usage: package.sh make
#
# dist/thinjail-VERSION.pkg: what `make install` installs, staged, with the texts
# of the port. pkg-create(8) does it; neither root nor a ports tree is needed.
set -eu
make=$1
top=$PWD
port=$top/share/port
prefix=${PREFIX:-/usr/local}

fail() {
    printf 'package: %s\n' "$*" >&2
    exit 1
}
# A variable of the port's Makefile.
of_port() {
    value=$(sed -n "s/^$1=[[:blank:]]*//p" "$port/Makefile")
    [ -n "$value" ] || fail "share/port/Makefile: no $1"
    printf '%s' "$value"
}

command -v pkg >/dev/null || fail "pkg(8) is missing; packages are made on FreeBSD"
work=$(mktemp -d "${TMPDIR:-/tmp}/thinjail.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

"$make" install "DESTDIR=$work/stage" "PREFIX=$prefix" "BUILT=$BUILT" >/dev/null
gzip -9n "$work/stage$prefix"/share/man/man*/*

name=$(of_port PORTNAME)
version=$(of_port DISTVERSION)
mkdir "$work/meta"
cat >"$work/meta/+MANIFEST" <<END
name: "$name"
version: "$version"
origin: "$(of_port CATEGORIES)/$name"
comment: "$(of_port COMMENT)"
maintainer: "$(of_port MAINTAINER)"
www: "$(of_port WWW)"
categories: ["$(of_port CATEGORIES)"]
prefix: "$prefix"
licenselogic: "single"
licenses: ["$(of_port LICENSE)"]
END
cp "$port/pkg-descr" "$work/meta/+DESC"
cp "$port/pkg-message" "$work/meta/+DISPLAY"
# Nobody but root owns what is installed, whoever staged it.
{
    printf '@owner root\n@group wheel\n'
    sed "s|%%EXAMPLESDIR%%|share/examples/$name|" "$port/pkg-plist"
} >"$work/plist"

# The time of the last change, so that the same sources make the same package.
date=${SOURCE_DATE_EPOCH:-$(git -C "$top" log -1 --format=%ct 2>/dev/null || date +%s)}
# Not into dist at once: pkg-create(8) leaves a file behind when it fails.
pkg -o "PLIST_KEYWORDS_DIR=$top/share/release/Keywords" create -q -t "$date" \
    -m "$work/meta" -p "$work/plist" -r "$work/stage" -o "$work"
mkdir -p "$top/dist"
mv "$work/$name-$version.pkg" "$top/dist/"
printf 'dist/%s-%s.pkg\n' "$name" "$version"
