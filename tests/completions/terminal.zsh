# Types the arguments behind the first, a file of completions, into bash on a terminal,
# a Tab behind each, and prints the words that bash has then, one a line in angle
# brackets, and a line of a dot behind each.
source ${0:h}/until.zsh || exit

# The words that are waited for are never written whole: a terminal echoes.
zpty terminal 'bash --norc --noprofile -i'
zpty -w terminal "bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; PS1=; source ${(q)1}; echo REA''DY"
read_until READY
shift
for line; do
    zpty -n -w terminal "$line"$'\t\x01printf "<%s>\\n" BEG"IN" \x05 EN"D."\n'
    read_until '<END.>'
    text=${${text##*<BEGIN>}%%<END.>*}
    print -r -- "${${${text//$'\r'/}#$'\n'}%$'\n'}"
    print -r -- .
done
