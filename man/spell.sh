#!/bin/sh
#
# Looks for misspelled words in texts, with aspell(1) and American English, and
# for words that thinjail does not use. The names and terms of the project are in
# the file words, sorted. The words to avoid are in the file avoid, one extended
# regular expression a line and, behind a tab, what to write instead; where such a
# word is right, a line of avoid.allowed says so: the file and words of the line.
#
#	sh man/spell.sh [text ...]
#
# A text is a manual page or, by its name, anything else: there, code is skipped as
# Markdown marks it, and spelling is not checked. Without aspell(1), spelling is not
# checked at all, unless CI=true is in the environment.

set -eu
LC_ALL=C
export LC_ALL

here=$(dirname "$0")
[ $# -gt 0 ] || set -- "$here"/*.[578]

if ! sort -cu "$here/words"; then
    echo "spell.sh: $here/words: sort it: LC_ALL=C sort -u" >&2
    exit 1
fi
spelling=yes
if ! echo test | aspell --lang=en_US list >/dev/null 2>&1; then
    echo "spell.sh: no aspell(1) with an American dictionary; spelling is not checked" >&2
    [ "${CI-}" != true ]
    spelling=
fi

# What is read as English: text, titles and messages. Not literal blocks, nor
# what a macro marks as a name, a path or an option.
prose() {
    awk '
	/^\.\\"/ { print ""; next }
	/^\.Bd -literal/ { literal = 1 }
	/^\.Ed/ { literal = 0 }
	literal { print ""; next }
	/^\.Sh / { section = $2 }
	/^\.(Nd|Sh|Ss|Dq|Sq|Em) / || /^\.It / && (section == "DIAGNOSTICS" || $2 ~ /^[A-Z]?[a-z][a-z]+$/) {
	    sub(/^\.[A-Z][a-z] /, "")
	    print
	    next
	}
	/^\./ { print ""; next }
	{ print }
    ' "$1" | sed -e 's/%s/ /g' -e 's/\\[e&]/ /g' -e 's/\\(../ /g' -e 's/[A-Za-z0-9_.:]*[/@=_0-9][A-Za-z0-9_.:/@-]*/ /g'
}

# The text of another file. Lines of code stay as empty lines, so that numbers fit.
plain() {
    case $1 in
    *.md) awk '/^    / { print ""; next } { gsub(/`[^`]*`/, "CODE"); print }' "$1" ;;
    *) cat "$1" ;;
    esac
}

# The words to avoid in the text on standard input, of the file named. A phrase may
# continue in the next line.
avoided() {
    awk -v "file=$1" -v "avoid=$here/avoid" -v "allowed=$here/avoid.allowed" '
	BEGIN {
	    while ((getline line < avoid) > 0) {
		split(line, part, "\t")
		n++
		pattern[n] = "(^|[^a-z-])" part[1] "([^a-z-]|$)"
		better[n] = part[2]
	    }
	    while ((getline line < allowed) > 0) {
		split(line, part, "\t")
		if (file ~ (part[1] "$")) right[++rights] = part[2]
	    }
	}
	function check(number, text, next_text,    i, j, all, part) {
	    all = tolower(text " " next_text)
	    for (j = 1; j <= rights; j++)
		if ((i = index(all, right[j])) > 0 && i <= length(text))
		    all = substr(all, 1, i - 1) substr(all, i + length(right[j]))
	    for (j = 1; j <= n; j++)
		if (match(all, pattern[j]) && RSTART <= length(text)) {
		    printf "%s:%s: %s <- avoid: %s\n", file, number, text, better[j]
		    bad = 1
		}
	}
	NR > 1 { check(NR - 1, text, $0) }
	{ text = $0 }
	END { check(NR, text, ""); exit bad }
    '
}

status=0
for text; do
    case $text in
    *.[578])
	read_text=prose
	if [ -n "$spelling" ]; then
	    for word in $(prose "$text" | aspell --lang=en_US --mode=none list | sort -u | comm -23 - "$here/words"); do
		grep -nw -- "$word" "$text" /dev/null | sed "s|\$|  <- $word|"
		status=1
	    done
	fi
	;;
    *) read_text=plain ;;
    esac
    "$read_text" "$text" | avoided "$text" || status=1
done
exit $status
