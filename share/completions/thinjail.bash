# bash(1) completion of the programs of thinjail. It needs nothing but bash: loaded by
# bash-completion or sourced from .bashrc. thinjail-complete knows what may follow.

_thinjail() {
    local completer line files prefix value
    local -a lines=()
    COMPREPLY=()
    completer=$(PATH=$PATH:/usr/local/sbin type -P jail-list) || return 0
    completer=${completer%/sbin/*}/libexec/thinjail-complete
    mapfile -t lines < <("$completer" line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null)
    ((${#lines[@]})) || return 0
    # What the shell adds, the part of the word that stays, and the rest of the word.
    line=${lines[0]} files=${line%%$'\t'*} line=${line#*$'\t'}
    prefix=${line%%$'\t'*} value=${line#*$'\t'}
    # Of --option=value, bash replaces what is behind the =.
    [[ $prefix == *= && $COMP_WORDBREAKS == *=* ]] && prefix=''
    for line in "${lines[@]:1}"; do COMPREPLY+=("$prefix${line%%$'\t'*}"); done
    [[ $files == open ]] && compopt -o nospace 2>/dev/null
    case $files:$prefix in
    # Behind a short option, readline would take the whole word for a name.
    *:-[!-]*)
        [[ $files == none ]] && return 0
        compopt -o filenames -o nospace 2>/dev/null
        [[ $files == directories ]] && files=-d || files=-f
        while IFS= read -r line; do
            [[ -d $line ]] && line+=/
            COMPREPLY+=("$prefix$line")
        done < <(compgen "$files" -- "$value" 2>/dev/null)
        ;;
    directories:*) compopt -o plusdirs 2>/dev/null ;;
    files:* | open:*) compopt -o default 2>/dev/null ;;
    esac
    return 0
}

complete -F _thinjail jail-clone jail-destroy jail-doctor jail-epair-down jail-epair-up jail-export jail-import jail-list jail-mkfstab jail-rebase jail-setup jail-sweep skel-destroy skel-fetch skel-fixcerts skel-split skel-update
