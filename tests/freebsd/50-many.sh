# Many at once.

have parallel "" "twenty jails start and stop at the same time, three times"
case_parallel() {
    jail_conf "$no_rc"
    names=
    for id in $many; do
        new_jail tjm$id $id >made 2>&1 || { cat made; fail "tjm$id"; }
        names="$names tjm$id"
    done
    for round in 1 2 3; do
        start_parallel $names
        is "$(members $bridge | grep -c .)" 20 "members of the bridge"
        for id in $many; do
            is "$(described epair${id}a)" jail:tjm$id "description of epair${id}a"
        done
        is "$(mount -p | grep -c "$jails/tjm.*-nullfs-base")" 60 "mounts"
        is "$(ifconfig -a | ether | sort | uniq -d)" "" "addresses that are there twice"
        # So do the stops, a jail(8) for each.
        for name in $names; do
            jail -q -f /etc/jail.conf -r $name &
        done >"$work/out" 2>&1
        wait
        cat "$work/out"
        silent
        for id in $many; do
            nothing_of tjm$id epair$id
        done
    done
}

have same_bridge "" "twenty starts make a missing bridge once"
case_same_bridge() {
    run ifconfig epair203 create
    for id in $many; do
        jail-epair-up -u epair203a -b tjbr2 tjm$id epair$id &
    done >"$work/out" 2>&1
    wait
    cat "$work/out"
    silent
    is "$(members tjbr2 | grep -c .)" 21 "members of the new bridge"
    is "$(ifconfig -g bridge | grep -c -x tjbr2)" 1 "bridges of that name"
    for id in $many; do
        jail-epair-down tjm$id epair$id &
    done >"$work/out" 2>&1
    wait
    silent
    is "$(members tjbr2 | tr '\n' ' ')" "epair203a " "members of the bridge"
    ifconfig tjbr2 destroy
    ifconfig epair203a destroy
}

have same_pair "" "two jails of one id: one starts, the other is told whose the pair is"
case_same_pair() {
    quick tjweb 201
    new_jail tjdb 202
    edit /etc/jail.conf.d/tjdb.conf 's|"202"|"201"|'
    for round in 1 2 3; do
        for name in tjweb tjdb; do
            jail -q -f /etc/jail.conf -c $name &
        done >"$work/out" 2>&1
        wait
        cat "$work/out"
        running=$(jls name | grep '^tj')
        is "$(echo "$running" | grep -c .)" 1 "jails that run"
        is "$(described epair201a)" "jail:$running" "description of epair201a"
        said "pair epair201 of jail .*: epair201a belongs to jail $running"
        is "$(mount -p | grep -c -e "-nullfs-base")" 3 "mounts"
        stop $running
        nothing_of $running epair201
    done
}
