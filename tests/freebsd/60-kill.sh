# kill -9 in the middle. Where the middle is, differs from run to run; where
# every single place has to be tried, tests/suite/faults/mod.rs does it.

# Finds out how often the shell goes round while a command runs: sleep(1) is too
# coarse to hit the middle of a few milliseconds.
measure() { # command ...
    rm -f over
    (
        "$@" >"$work/killed.out" 2>&1
        : >over
    ) &
    rounds=0
    while [ ! -e over ]; do
        rounds=$((rounds + 1))
    done
    wait $!
    kills=0
}

# Runs a command and kills it after so many hundredths of that; counts.
killed_after() { # hundredths command ...
    last=$((rounds * $1 / 100))
    shift
    "$@" >"$work/killed.out" 2>&1 &
    victim=$!
    round=0
    while [ ! -e never ] && [ $round -lt $last ]; do
        round=$((round + 1))
    done
    kill -9 $victim 2>/dev/null || true
    run_status=0
    wait $victim 2>/dev/null || run_status=$?
    if [ $run_status -eq 137 ]; then
        kills=$((kills + 1))
    elif [ $run_status -ne 0 ]; then
        cat "$work/killed.out"
        fail "exit status $run_status: $*"
    fi
}

moments="10 20 30 40 45 50 55 60 65 70 75 80 85 90 95 100 110"
few_moments="10 25 40 50 60 70 80 90"

have kill_up "processes" "jail-epair-up is killed; the same command, and then down, leave nothing"
case_kill_up() {
    measure jail-epair-up -b $bridge tjweb epair201
    run jail-epair-down tjweb epair201
    halves=0
    # Most of the time goes by before the first of its few milliseconds of work.
    moment=40
    while [ $moment -lt 110 ]; do
        moment=$((moment + 1))
        killed_after $moment jail-epair-up -b $bridge tjweb epair201
        if there epair201a && { [ -z "$(members $bridge)" ] || [ -z "$(described epair201a)" ]; }; then
            halves=$((halves + 1))
        fi
        run jail-epair-up -b $bridge tjweb epair201
        is "$(members $bridge)" epair201a "members of the bridge"
        is "$(described epair201a)" jail:tjweb "description"
        run jail-epair-down tjweb epair201
        no_pair epair201
    done
    # With a renamed pair there are more places.
    for moment in $moments; do
        killed_after $moment jail-epair-up -b $bridge tjweb tjw0
        run jail-epair-up -b $bridge tjweb tjw0
        is "$(members $bridge)" tjw0a "members of the bridge"
        run jail-epair-down tjweb tjw0
        no_pair tjw0
        is "$(ifconfig -g epair)" "" "pairs"
    done
    note "$kills kills, $halves pairs half made"
    [ $kills -ge 10 ] || fail "only $kills kills: this shows nothing"
}

have kill_down "processes" "jail-epair-down and jail-sweep are killed; again, and nothing is left"
case_kill_down() {
    quick tjweb 201
    run jail-epair-up -b $bridge tjweb epair201
    measure jail-epair-down tjweb epair201
    for moment in $moments; do
        run jail-epair-up -b $bridge tjweb epair201
        killed_after $moment jail-epair-down tjweb epair201
        run jail-epair-down tjweb epair201
        no_pair epair201
    done
    more=$kills
    start tjweb
    run jail -R tjweb
    measure jail-sweep tjweb "$(path tjweb)" epair201
    for moment in $few_moments; do
        start tjweb
        run jail -R tjweb
        killed_after $moment jail-sweep tjweb "$(path tjweb)" epair201
        run jail-sweep tjweb "$(path tjweb)" epair201
        nothing_of tjweb epair201
    done
    good_run tjweb epair201
    kills=$((kills + more))
    note "$kills kills"
    [ $kills -ge 8 ] || fail "only $kills kills: this shows nothing"
}

have kill_jail "processes" "jail(8) is killed in the middle of starts and stops, and its hooks with it"
case_kill_jail() {
    quick tjweb 201
    measure jail -q -f /etc/jail.conf -c tjweb
    stop tjweb
    for moment in $few_moments; do
        killed_after $moment jail -q -f /etc/jail.conf -c tjweb
        # It may be up, or half up; rc.d/jail stops only what runs.
        stop tjweb
        good_run tjweb epair201
    done
    more=$kills
    start tjweb
    measure jail -q -f /etc/jail.conf -r tjweb
    for moment in $few_moments; do
        start tjweb
        killed_after $moment jail -q -f /etc/jail.conf -r tjweb
        stop tjweb
        good_run tjweb epair201
    done
    kills=$((kills + more))
    note "$kills kills"
    [ $kills -ge 5 ] || fail "only $kills kills: this shows nothing"
}

have kill_clone "processes" "jail-clone is killed; the same command completes the jail"
case_kill_clone() {
    jail_conf "$no_rc"
    template
    measure jail-clone tjweb 201
    run jail-destroy -y tjweb
    for moment in $few_moments; do
        killed_after $moment jail-clone tjweb 201
        if [ ! -f /etc/jail.conf.d/tjweb.conf ]; then
            run jail-clone tjweb 201
        fi
        run jail-mkfstab -c tjweb
        killed_after $moment jail-destroy -y tjweb
        if [ -e "$(path tjweb)" ] || [ -f /etc/jail.conf.d/tjweb.conf ] || [ -d $jails/containers/tjweb ]; then
            # The zfs(8) that it had started goes on, and may have been the last step.
            jail-destroy -y tjweb >"$work/out" 2>&1 || said "jail tjweb does not exist"
            cat "$work/out"
        fi
        ! zfs list -H -o name $pool/jails/containers/tjweb 2>/dev/null || fail "the dataset is there"
        is "$(find /etc/jail.conf.d $jails -maxdepth 1 -name '*tjweb*')" "" "leftovers"
    done
    note "$kills kills"
    [ $kills -ge 5 ] || fail "only $kills kills: this shows nothing"
    doctor
    silent
}
