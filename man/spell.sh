#!/bin/sh
#
# Looks for misspelled words in the manual pages, with aspell(1) and American
# English. What the project calls its own is in the file words, sorted.
#
#	sh man/spell.sh [page ...]
#
# Where there is no aspell(1) the check is left out, unless CI=true is in the
# environment.

set -eu
LC_ALL=C
export LC_ALL

here=$(dirname "$0")
[ $# -gt 0 ] || set -- "$here"/*.[578]

if ! echo test | aspell --lang=en_US list >/dev/null 2>&1; then
    echo "spell.sh: no aspell(1) with an American dictionary here; left out" >&2
    [ "${CI-}" != true ]
    exit
fi
if ! sort -cu "$here/words"; then
    echo "spell.sh: $here/words: sort it: LC_ALL=C sort -u" >&2
    exit 1
fi

# What is read as English: text, titles and messages. Not literal blocks, nor
# what a macro marks as a name, a path or an option.
prose() {
    awk '
	/^\.\\"/ { next }
	/^\.Bd -literal/ { literal = 1 }
	/^\.Ed/ { literal = 0 }
	literal { next }
	/^\.Sh / { section = $2 }
	/^\.(Nd|Sh|Ss|Dq|Sq|Em) / || /^\.It / && (section == "DIAGNOSTICS" || $2 ~ /^[A-Z]?[a-z][a-z]+$/) {
	    sub(/^\.[A-Z][a-z] /, "")
	    print
	    next
	}
	/^\./ { next }
	{ print }
    ' "$1" | sed -e 's/%s/ /g' -e 's/\\[e&]/ /g' -e 's/\\(../ /g' -e 's/[A-Za-z0-9_.:]*[/@=_0-9][A-Za-z0-9_.:/@-]*/ /g'
}

status=0
for page; do
    for word in $(prose "$page" | aspell --lang=en_US --mode=none list | sort -u | comm -23 - "$here/words"); do
	grep -nw -- "$word" "$page" /dev/null | sed "s|\$|  <- $word|"
	status=1
    done
done
exit $status
