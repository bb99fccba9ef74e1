# Completes the command lines that are its arguments and prints what is offered, one a
# line, and a line of a dot behind each: bash.sh file line ...
source "$1" || exit
shift
for line; do
    read -ra COMP_WORDS <<<"$line"
    [[ $line == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$line COMP_POINT=${#line}
    # complete -F function program
    read -ra compspec <<<"$(complete -p "${COMP_WORDS[0]##*/}")"
    "${compspec[2]}" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" ''
    for offered in "${COMPREPLY[@]}"; do printf '%s\n' "$offered"; done
    echo .
done
