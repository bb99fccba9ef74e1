#!/bin/sh
#
# Prints the page that leads to all manual pages, as mandoc -T html makes them:
#
#	sh man/index.sh > index.html

set -eu
here=$(dirname "$0")

cat <<'END'
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8"/>
  <meta name="viewport" content="width=device-width, initial-scale=1.0"/>
  <link rel="stylesheet" href="style.css" type="text/css"/>
  <title>thinjail: manual pages</title>
</head>
<body>
<h1>thinjail</h1>
<p>VNET thin jails on FreeBSD: the manual pages. Start with
<a href="thinjail.7.html">thinjail(7)</a>.</p>
END

# The pages of a section, under a title: names and what they are about.
section() {
    printf '<h2>%s</h2>\n<dl>\n' "$2"
    for page in "$here"/*."$1"; do
	file=${page##*/}
	about=$(sed -n 's/^\.Nd //p' "$page" | sed 's/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g')
	[ -n "$about" ] || { echo "index.sh: $page: no .Nd" >&2; exit 1; }
	printf '  <dt><a href="%s.html">%s(%s)</a></dt>\n  <dd>%s</dd>\n' "$file" "${file%.*}" "$1" "$about"
    done
    echo '</dl>'
}

section 7 'Overview'
section 5 'Settings'
section 8 'Programs'
printf '</body>\n</html>\n'
