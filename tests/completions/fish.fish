# Completes the command lines that are its arguments and prints what is offered, one a
# line, and a line of a dot behind each.
for line in $argv
    complete -C $line
    echo .
end
