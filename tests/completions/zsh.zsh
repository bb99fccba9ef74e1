# Completes the command lines behind the first argument, a directory of functions, in
# a terminal, and prints what is offered, one a line, and a line of a dot behind each.
# Anything else that comes on the terminal meanwhile is printed as it is.
source ${0:h}/until.zsh || exit

zpty terminal 'zsh -f -i'
# The words that are waited for are never written whole: a terminal echoes.
zpty -w terminal "PS1= PS2= RPS1=; stty -echo; unsetopt prompt_cr prompt_sp zle_bracketed_paste; fpath=(${(q)1} \$fpath)"
zpty -w terminal 'autoload -Uz compinit; compinit -D -u; print REA""DY'
read_until READY
# A compadd with -O, -A or -D only asks.
zpty -w terminal 'unsetopt auto_list auto_menu list_beep beep; zstyle ":completion:*" insert-tab false
compadd() {
    [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]] && { builtin compadd "$@"; return }
    local -a hits
    builtin compadd -A hits "$@"
    (( $#hits )) && print -rl -- "<"$^hits">"
    builtin compadd "$@"
}
try() {
    print -r -- "BEG""IN"
    zle complete-word
    print -r -- "EN""D."
    BUFFER=
}
zle -N try; bindkey "^X^X" try; print REA""DY'
read_until READY
shift
for line; do
    zpty -n -w terminal "$line"$'\x18\x18'
    read_until END.
    text=${${text#*BEGIN}%%END.*}
    print -r -- "${${${text//$'\r'/}#$'\n'}%$'\n'}"
    print -r -- .
done
