# What the cases are written with. Taken in by run.

# Ends the case.
fail() {
    echo "FAILED: $*"
    exit 1
}

note() {
    echo "note: $*"
}

# Runs a command that has to succeed; its output is in $work/out.
run() {
    echo "\$ $*"
    run_status=0
    "$@" >"$work/out" 2>&1 || run_status=$?
    cat "$work/out"
    [ $run_status -eq 0 ] || fail "exit status $run_status: $*"
}

# Runs one of our programs that has to refuse, with status 1 and one line.
refused() {
    echo "\$ $*"
    run_status=0
    "$@" >"$work/out" 2>"$work/err" || run_status=$?
    cat "$work/out" "$work/err"
    [ $run_status -eq 1 ] || fail "exit status $run_status instead of 1: $*"
    [ "$(grep -c . "$work/err")" -eq 1 ] || fail "not one line on standard error: $*"
    grep -q "^$1: " "$work/err" || fail "the message does not begin with the program's name"
    cat "$work/err" >>"$work/out"
}

# What the last command said.
said() {
    grep -q -e "$1" "$work/out" || fail "not said: $1"
}

not_said() {
    ! grep -q -e "$1" "$work/out" || fail "said: $1"
}

silent() {
    [ ! -s "$work/out" ] || fail "not silent"
}

is() { # actual expected what
    [ "$1" = "$2" ] || fail "$3: '$1' instead of '$2'"
}

# Waits until a condition holds, ten seconds at most.
wait_until() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 50 ] || fail "waited without success for: $*"
        sleep 0.2
    done
}

# Interfaces of the host.

there() {
    ifconfig "$1" >/dev/null 2>&1
}

has_if() {
    there "$1" || fail "no interface $1"
}

no_if() {
    ! there "$1" || fail "interface $1 is there"
}

no_pair() {
    no_if "$1a"
    no_if "$1b"
}

members() {
    ifconfig "$1" | sed -n 's/^.member: \([^ ]*\) .*/\1/p' | sort
}

described() {
    ifconfig "$1" | sed -n 's/^.description: //p'
}

mtu() {
    ifconfig "$1" | sed -n '1s/.* mtu \([0-9]*\).*/\1/p'
}

ether() {
    sed -n 's/^.ether //p'
}

# Jails.

runs() {
    jls -j "$1" jid >/dev/null 2>&1
}

jid() {
    jls -j "$1" jid
}

path() {
    echo "$jails/$1-nullfs-base"
}

# Mounts at and below the path of a jail, in the order of mounting.
mounts() {
    mount -p | awk -v at="$(path "$1")" 'index($2 "/", at "/") { print $3, $2 }'
}

no_mounts() {
    is "$(mounts "$1")" "" "mounts of $1"
}

# service(8) tells nothing by its status, so the jails are asked.
start() {
    echo "\$ service jail start $*"
    service jail start "$@" >"$work/out" 2>&1 || true
    cat "$work/out"
    for started in "$@"; do
        runs "$started" || fail "$started does not run"
    done
}

start_fails() {
    echo "\$ service jail start $1"
    service jail start "$1" >"$work/out" 2>&1 || true
    cat "$work/out"
    ! runs "$1" || fail "$1 runs"
    said "cannot start jail"
}

stop() {
    echo "\$ service jail stop $*"
    service jail stop "$@" >"$work/out" 2>&1 || true
    cat "$work/out"
    for stopped in "$@"; do
        ! runs "$stopped" || fail "$stopped still runs"
    done
}

# Many at once, as jail_parallel_start has it: a jail(8) for each.
start_parallel() {
    if [ -n "$simulated" ]; then
        for started in "$@"; do
            service jail start "$started" &
        done >"$work/out" 2>&1
        wait
    else
        sed 's/start="NO"/start="YES"/' /etc/rc.conf.d/jail >"$work/rc" && cat "$work/rc" >/etc/rc.conf.d/jail
        service jail start "$@" >"$work/out" 2>&1 || true
    fi
    cat "$work/out"
    for started in "$@"; do
        runs "$started" || fail "$started does not run"
    done
}

# Nothing of a stopped jail is in use.
nothing_of() { # jail pair
    ! runs "$1" || fail "$1 runs"
    no_mounts "$1"
    no_pair "$2"
}

# A jail that is up has its two halves where they belong.
is_up() { # jail pair
    runs "$1" || fail "$1 does not run"
    has_if "$2a"
    is "$(described "$2a")" "jail:$1" "description of $2a"
    members $bridge | grep -q -x "$2a" || fail "$2a is no member of $bridge"
    no_if "$2b"
    jexec "$1" ifconfig "$2b" >"$work/half" || fail "no $2b in $1"
    grep -q 'inet 10\.83\.77\.[0-9]* ' "$work/half" || fail "$2b has no address"
}

# A start and a stop, as they should be, leaving nothing.
good_run() { # jail pair
    start "$1"
    is_up "$1" "$2"
    stop "$1"
    nothing_of "$1" "$2"
}

# Configuration.

# Writes jail.conf: the example, for this host. Arguments are commands of sed(1), each of which has to change something.
jail_conf() {
    example=$source/share/examples/jail.conf
    sed -e "s|\"igc0bridge\"|\"$bridge\"|" -e "s|192\.168\.7\.101|$network.1|" -e "s|/zdata/jails|$jails|" \
        -e "s|/usr/local/sbin|$programs|" "$example" >"$root/etc/jail.conf"
    for command in "$@"; do
        edit /etc/jail.conf "$command"
    done
}

# Jails that start fast: without rc(8), and without any process.
no_rc='s|"/bin/sh /etc/rc[^"]*"|"/usr/bin/true"|; s|^vnet;|vnet; persist;|'

# Jails that may use any Ethernet address.
unpinned='s|"--pin"|""|'

edit() { # file command
    sed -e "$2" "$root$1" >"$work/edited"
    ! cmp -s "$work/edited" "$root$1" || fail "$1 is the same after: $2"
    cat "$work/edited" >"$root$1"
}

# Adds parameters to the block of a jail.
add_to() { # jail text
    sed '$d' "$root/etc/jail.conf.d/$1.conf" >"$work/edited"
    printf '%s\n}\n' "$2" >>"$work/edited"
    cat "$work/edited" >"$root/etc/jail.conf.d/$1.conf"
}

# Templates and jails.

# The template that all jails are clones of, made by the first case that needs it.
template() {
    zfs list -H -o name "$pool/jails/templates/$release-skeleton@base" >/dev/null 2>&1 || {
        run skel-fetch -f /$pool/media/base.txz -M /$pool/media/MANIFEST "$release"
        run skel-split "$release"
    }
}

new_jail() { # name id [option ...]
    template
    name_new=$1 id_new=$2
    shift 2
    run jail-clone "$@" "$name_new" "$id_new"
}

# A jail without rc(8).
quick() {
    jail_conf "$no_rc"
    new_jail "$@"
}
