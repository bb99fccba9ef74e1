# What a shell on the terminal prints until some words come is in text then.
zmodload zsh/zpty || exit
read_until() {
    local chunk
    text=
    while [[ $text != *$1* ]]; do
        zpty -r terminal chunk || { print -ru2 "the shell has ended: $text"; exit 1 }
        text+=$chunk
    done
}
