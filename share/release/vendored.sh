#!/bin/sh
# usage: vendored.sh thinjail-VERSION make
#
# dist/thinjail-VERSION-vendored.tar.gz: the tarball of `make dist` with the crates
# in it, the same bytes each time.
set -eu
name=$1 make=$2
work=$(mktemp -d "${TMPDIR:-/tmp}/thinjail.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

dist=$PWD/dist
date=$(git log -1 --format=%cI)
gzip -dc "$dist/$name.tar.gz" | (cd "$work" && tar -xf -)
cd "$work/$name"
"$make" vendor

# git(1) writes the same tar(5) everywhere; not what a crate's .gitattributes or
# .gitignore make of its files.
git init --quiet
echo '* -text -eol -ident -filter -export-ignore -export-subst -working-tree-encoding' >.git/info/attributes
git add --force --all
GIT_AUTHOR_DATE=$date GIT_COMMITTER_DATE=$date \
    git -c user.name=thinjail -c user.email=thinjail -c commit.gpgSign=false commit --quiet -m "$name"
git archive --format=tar --prefix="$name/" -o "$dist/$name-vendored.tar" HEAD
gzip -9nf "$dist/$name-vendored.tar"
