#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What the hooks cost on a FreeBSD host, as ratios against what a user would run
# instead, in the same run on the same machine. As root, in a disposable machine:
# it needs what tests/freebsd needs, makes what that makes, and removes it.
#
# usage: freebsd.sh [-b directory] [-j jib] [-p pair]
#
#   -b  where the programs are; PROGRAMS, else target/release, else PREFIX/sbin
#   -j  jib, such as /usr/share/examples/jails/jib; JIB
#   -p  pair.c, compiled; PAIR, else it is compiled if there is a cc(1)
#
# ROUNDS (7) rounds of BATCH (10) commands each, one after another, all subjects
# in each round; the median of the rounds counts, less that of a round of nothing,
# which is what reading the time costs.
set -u
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
rounds=${ROUNDS:-7}
batch=${BATCH:-10}

usage() {
    echo "usage: freebsd.sh [-b directory] [-j jib] [-p pair]" >&2
    exit 2
}

programs=${PROGRAMS:-}
jib=${JIB:-}
pair=${PAIR:-}
base_txz=${BASE_TXZ:-}
while getopts b:hj:p: option; do
    case $option in
    b) programs=$OPTARG ;;
    j) jib=$OPTARG ;;
    p) pair=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -eq 0 ] || usage

. "$source/tests/freebsd/lib.sh"
. "$source/tests/freebsd/host.sh"
fail() {
    echo "freebsd.sh: $*" >&2
    exit 1
}

refuse_unless_fit
work=$(mktemp -d "${TMPDIR:-/var/tmp}/thinjail-bench.XXXXXX") || exit 2
trap 'status=$?; trap - EXIT; tear_down >"$work/tear-down" 2>&1; leave "$work"; exit $status' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
all_there_is >"$work/before"
set_up >"$work/set-up" 2>&1 || fail "the host could not be set up: $(cat "$work/set-up")"
if [ -z "$pair" ] && command -v cc >/dev/null; then
    pair=$work/pair
    cc -O2 -o "$pair" "$here/pair.c" || fail "pair.c does not compile"
fi

now() {
    date +%s%N
}
case $(now) in
*N) fail "this date(1) knows no nanoseconds" ;;
esac

# Runs a command or function and notes its time under a name.
timed() { # name command ...
    to=$work/time.$1
    shift
    began=$(now)
    "$@" >"$work/log" 2>&1
    timed_status=$?
    ended=$(now)
    [ $timed_status -eq 0 ] || fail "exit status $timed_status: $*: $(cat "$work/log")"
    echo $((ended - began)) >>"$to"
}

each_unit() { # command ..., with the unit as last argument
    unit=101
    while [ $unit -lt $((101 + batch)) ]; do
        "$@" $unit || return
        unit=$((unit + 1))
    done
}

nothing() {
    :
}
least() {
    /usr/bin/true
}
ours_up() {
    "$programs/jail-epair-up" -b $bridge tjm$1 epair$1
}
ours_down() {
    "$programs/jail-epair-down" tjm$1 epair$1
}
# As in the jail.conf of those who do without us; jail(8) starts each by sh(1), and so
# here as well.
by_hand_up() {
    /bin/sh -c "ifconfig epair$1 create up" >/dev/null && /bin/sh -c "ifconfig epair${1}a up descr jail:tjm$1" &&
        /bin/sh -c "ifconfig $bridge addm epair${1}a up"
}
by_hand_down() {
    /bin/sh -c "ifconfig $bridge deletem epair${1}a" && /bin/sh -c "ifconfig epair${1}a destroy"
}
least_up() {
    "$pair" up $bridge tjm$1 epair$1
}
least_down() {
    "$pair" down epair$1
}
jib_up() {
    /bin/sh "$jib" addm tjm$1 epair203a
}
jib_down() {
    /bin/sh "$jib" destroy tjm$1
}

zfs_clone() {
    zfs clone "$pool/jails/templates/$release-skeleton@base" "$pool/jails/containers/tjm$1"
}
zfs_destroy() {
    zfs destroy "$pool/jails/containers/tjm$1"
}
ours_clone() {
    "$programs/jail-clone" tjm$1 $1
}
ours_destroy() {
    "$programs/jail-destroy" -y tjm$1
}

# All at once, as jail_parallel_start has it: a jail(8) for each.
jails() { # option
    started=
    for name in $names; do
        jail -q -f /etc/jail.conf "$1" "$name" &
        started="$started $!"
    done
    for process in $started; do
        wait "$process" || return
    done
}

# What jail(8) has to do in any case: the same jails, their pairs there already.
without_hooks="$no_rc; /^exec.pre/d; /^exec.poststop/d; /^exec.release/d"
article="$no_rc; /^exec.prepare/d; /^exec.release/d"
article="$article; s|^exec.prestart .*|exec.prestart = \"ifconfig \${epair} create up\"; \
exec.prestart += \"ifconfig \${epair}a up descr jail:\${name}\"; \
exec.prestart += \"ifconfig \${bridge} addm \${epair}a up\";|"
article="$article; s|^exec.poststop .*|exec.poststop = \"ifconfig \${bridge} deletem \${epair}a\"; \
exec.poststop += \"ifconfig \${epair}a destroy\";|"

# The median of the times noted under a name, in nanoseconds.
median() { # name
    sort -n "$work/time.$1" | awk '{ at[NR] = $1 } END { printf "%.0f\n", at[int((NR + 1) / 2)] }'
}

row() { # text ours theirs count
    [ -f "$work/time.$3" ] || return 0
    awk -v text="$1" -v ours="$(median "$2")" -v theirs="$(median "$3")" -v n="$4" -v zero="$(median nothing)" 'BEGIN {
        ours = (ours - zero) / n / 1e9
        theirs = (theirs - zero) / n / 1e9
        ratio = theirs > 0 ? sprintf("%.2f", ours / theirs) : "-"
        printf "%-56s%10.4f%10.4f%8s\n", text, ours, theirs, ratio }'
}

# What jib(8) makes its own bridge of.
[ -z "$jib" ] || ifconfig epair203 create >/dev/null || fail "epair203"
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    timed nothing each_unit nothing
    timed true each_unit least
    timed ours_up each_unit ours_up
    timed ours_down each_unit ours_down
    timed by_hand_up each_unit by_hand_up
    timed by_hand_down each_unit by_hand_down
    if [ -n "$pair" ]; then
        timed least_up each_unit least_up
        timed least_down each_unit least_down
    fi
    if [ -n "$jib" ]; then
        timed jib_up each_unit jib_up
        timed jib_down each_unit jib_down
    fi
done
if [ -n "$jib" ]; then
    ifconfig epair203abridge destroy
    ifconfig epair203a destroy
fi

jail_conf "$no_rc"
template >"$work/log" 2>&1
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    timed zfs_clone each_unit zfs_clone
    timed zfs_destroy each_unit zfs_destroy
    timed ours_clone each_unit ours_clone
    timed ours_destroy each_unit ours_destroy
done

names=
for unit in $many; do
    ours_clone $unit >"$work/log" 2>&1 || fail "$(cat "$work/log")"
    names="$names tjm$unit"
done
round=0
while [ $round -lt "$rounds" ]; do
    round=$((round + 1))
    jail_conf "$no_rc"
    timed ours_start jails -c
    timed ours_stop jails -r
    jail_conf "$article"
    timed by_hand_start jails -c
    timed by_hand_stop jails -r
    jail_conf "$without_hooks"
    for unit in $many; do
        ifconfig epair$unit create >/dev/null || fail "epair$unit"
    done
    timed bare_start jails -c
    timed bare_stop jails -r
    for unit in $many; do
        ifconfig epair${unit}a destroy
    done
done

[ "$(sysctl -n kern.vm_guest)" = none ] && machine= || machine=", a virtual machine ($(sysctl -n kern.vm_guest))"
echo "$(uname -sr) on $(sysctl -n hw.ncpu) x $(sysctl -n hw.model)$machine"
echo "seconds, medians of $rounds runs of $batch"
printf '%-56s%10s%10s%8s\n' "" ours theirs ratio
row "jail-epair-up, against three ifconfig(8)" ours_up by_hand_up "$batch"
row "jail-epair-down, against two ifconfig(8)" ours_down by_hand_down "$batch"
row "jail-epair-up, against jib addm" ours_up jib_up "$batch"
row "jail-epair-down, against jib destroy" ours_down jib_down "$batch"
row "jail-epair-up, against the ioctls alone (pair.c)" ours_up least_up "$batch"
row "jail-epair-down, against the ioctls alone (pair.c)" ours_down least_down "$batch"
row "jail-epair-up, against /usr/bin/true" ours_up true "$batch"
row "jail-epair-down, against /usr/bin/true" ours_down true "$batch"
row "jail-clone, against zfs clone" ours_clone zfs_clone "$batch"
row "jail-destroy, against zfs destroy" ours_destroy zfs_destroy "$batch"
row "start of 20 jails, against ifconfig(8) lines" ours_start by_hand_start 1
row "stop of 20 jails, against ifconfig(8) lines" ours_stop by_hand_stop 1
row "start of 20 jails, against no hooks, pairs there" ours_start bare_start 1
row "stop of 20 jails, against no hooks, pairs there" ours_stop bare_stop 1
