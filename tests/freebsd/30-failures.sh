# Starts that fail. jail(8) runs no hook then, so what was made stays; the next
# start has to get along with it.

# The jail starts and stops as ever, and nothing is left.
recovers() {
    jail_conf "$no_rc"
    good_run tjweb epair201
}

# Twice: what the first left must not change how the second fails.
fails_twice() { # message ...
    for round in 1 2; do
        start_fails tjweb
        for message in "$@"; do
            said "$message"
        done
    done
}

pair_left() {
    has_if epair201a
    is "$(described epair201a)" jail:tjweb "description of epair201a"
    members $bridge | grep -q -x epair201a || fail "epair201a is no member"
}

have fail_fstab "" "a bad line in the fstab: nothing stays"
case_fail_fstab() {
    quick tjweb 201
    cp "$root$(path tjweb).fstab" good
    echo "/nonexistent $(path tjweb)/skeleton/docs nullfs ro 0 0" >>"$root$(path tjweb).fstab"
    fails_twice "docs: failed"
    nothing_of tjweb epair201
    refused_or_not=0
    jail-mkfstab -c tjweb >"$work/out" 2>&1 || refused_or_not=$?
    is $refused_or_not 1 "status of jail-mkfstab -c"
    cp good "$root$(path tjweb).fstab"
    recovers
}

have fail_prestart "" "a prestart command after ours: the pair stays"
case_fail_prestart() {
    quick tjweb 201
    jail_conf "$no_rc" 's|^exec.start  *=|exec.prestart += "/usr/bin/false"; &|'
    fails_twice "/usr/bin/false: failed"
    pair_left
    no_mounts tjweb
    doctor
    said "epair201a.*\[pair-leaked\]"
    recovers
}

have fail_epair_up "" "our prestart command: a bridge that is missing"
case_fail_epair_up() {
    quick tjweb 201
    jail_conf "$no_rc" "s|\"$bridge\"|\"tjnone\"|"
    fails_twice "bridge tjnone does not exist" "jail-epair-up .*: failed"
    nothing_of tjweb epair201
    recovers
}

have fail_parameter "" "an unknown parameter: nothing is run"
case_fail_parameter() {
    quick tjweb 201
    jail_conf "$no_rc" 's|^vnet;|& nosuch.parameter = "1";|'
    fails_twice "unknown parameter: nosuch.parameter"
    nothing_of tjweb epair201
    recovers
}

have fail_jail_set "" "jail_set(2) refuses a value: the pair stays"
case_fail_jail_set() {
    quick tjweb 201
    jail_conf "$no_rc" 's|^enforce_statfs = 1;|enforce_statfs = 7;|'
    fails_twice "jail_set: Invalid argument"
    pair_left
    no_mounts tjweb
    recovers
}

have fail_interface "" "vnet.interface: the pair stays, both halves on the host"
case_fail_interface() {
    quick tjweb 201
    jail_conf "$no_rc" 's|^vnet.interface = .*|vnet.interface = "tjnone0b";|'
    fails_twice "tjnone0b vnet .*: failed"
    pair_left
    has_if epair201b
    no_mounts tjweb
    recovers
}

have fail_start "" "exec.start, first and last command"
case_fail_start() {
    quick tjweb 201
    jail_conf "$no_rc" 's|inet ${ip} up|inet not-an-address up|'
    fails_twice "not-an-address up: failed"
    pair_left
    recovers
    jail_conf "$no_rc" 's|"/usr/bin/true";$|"/usr/bin/false";|'
    fails_twice "/usr/bin/false: failed"
    pair_left
    recovers
}

have fail_poststart "" "exec.poststart"
case_fail_poststart() {
    quick tjweb 201
    jail_conf "$no_rc" 's|^exec.stop  *=|exec.poststart = "/usr/bin/false"; &|'
    fails_twice "/usr/bin/false: failed"
    pair_left
    recovers
}

have fail_rc "userland" "exec.start after rc(8), with services that run by then"
case_fail_rc() {
    jail_conf 's|^exec.stop  *=|exec.start += "/usr/bin/false"; &|'
    new_jail tjweb 201
    start_fails tjweb
    said "/usr/bin/false: failed"
    jail_conf
    good_run tjweb epair201
}

have fail_stop "" "a stop command that fails leaves the jail running, all of it"
case_fail_stop() {
    quick tjweb 201
    start tjweb
    jail_conf "$no_rc" 's|^exec.stop  *= .*|exec.stop = "/usr/bin/false";|'
    service jail stop tjweb >out 2>&1 || true
    cat out
    is_up tjweb epair201
    # Nor is anything taken away under it by hand.
    refused jail-epair-down tjweb epair201
    run jail-sweep tjweb "$(path tjweb)" epair201
    is_up tjweb epair201
    is "$(mounts tjweb | grep -c .)" 3 "mounts"
    jail_conf "$no_rc"
    stop tjweb
    nothing_of tjweb epair201
}
