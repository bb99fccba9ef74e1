# fish(1) completion of the programs of thinjail; thinjail-complete knows what may follow.

function __thinjail
    set -l list (command -s jail-list; or echo /usr/local/sbin/jail-list)
    set -l completer (string replace -r '/sbin/[^/]*$' /libexec/thinjail-complete -- $list[1])
    # A quote that is still open belongs to fish.
    set -l token (commandline -ct | string replace -r '^[\'"]' '')
    set -l lines ($completer words (commandline -opc) "$token" 2>/dev/null)
    # What the shell adds, the part of the word that stays, and the rest of the word.
    set -l first (string split \t -- $lines[1])
    for line in $lines[2..-1]
        printf '%s%s\n' "$first[2]" $line
    end
    set -l paths
    switch "$first[1]"
        case files open
            set paths (__fish_complete_path "$first[3]")
        case directories
            set paths (__fish_complete_directories "$first[3]" '')
    end
    for path in $paths
        printf '%s%s\n' "$first[2]" $path
    end
end

begin
    set -l name (string replace -r '.*/' '' -- (status filename) | string replace -r '\.fish$' '')
    set -l programs jail-clone jail-destroy jail-doctor jail-epair-down jail-epair-up jail-export jail-import jail-list jail-mkfstab jail-rebase jail-setup jail-sweep skel-destroy skel-fetch skel-fixcerts skel-split skel-update
    contains -- $name $programs
    and set programs $name
    for program in $programs
        complete -c $program -e
        complete -c $program -k -f -a '(__thinjail)'
    end
end
