# What others did, or an earlier run left.

have untagged "" "a pair that nobody described is replaced if nobody uses it, and refused otherwise"
case_untagged() {
    quick tjweb 201
    run ifconfig epair201 create
    good_run tjweb epair201
    # As the hand-made hook of an article does it.
    run ifconfig epair201 create up
    start_fails tjweb
    said "epair201a is up, but no description"
    has_if epair201a
    no_mounts tjweb
    ifconfig epair201a destroy
    good_run tjweb epair201
}

have foreign "" "another jail's pair is refused and its owner named; neither up, down nor sweep touch it"
case_foreign() {
    quick tjweb 201
    run ifconfig epair201 create
    run ifconfig epair201a group thinjail descr jail:tjother
    start_fails tjweb
    said "epair201.*belongs to jail tjother"
    no_mounts tjweb
    is "$(described epair201a)" jail:tjother "description of epair201a"
    refused jail-epair-up -b $bridge tjweb epair201
    said tjother
    jail-epair-down tjweb epair201 >"$work/out" 2>&1 || true
    said tjother
    jail-sweep tjweb "$(path tjweb)" epair201 >"$work/out" 2>&1 || true
    said tjother
    has_if epair201a
    has_if epair201b
    is "$(members $bridge)" "" "members of the bridge"
    ifconfig epair201a destroy
    good_run tjweb epair201
}

have described "" "a pair that is only described as a jail's is an administrator's: up, down, sweep and jail-doctor -x leave it"
case_described() {
    quick tjweb 201
    run ifconfig epair203 create
    run ifconfig epair203a descr jail:tjdns up
    refused jail-epair-up -b $bridge tjdns epair203
    said "epair203a.*not in the group thinjail"
    jail-epair-down tjdns epair203 >"$work/out" 2>&1 || true
    said "not in the group thinjail"
    jail-sweep tjdns "$(path tjdns)" >"$work/out" 2>&1 || true
    jail-doctor -x tjweb >"$work/out" 2>&1 || true
    jail-doctor -x >"$work/out" 2>&1 || true
    has_if epair203a
    has_if epair203b
    is "$(described epair203a)" jail:tjdns "description of epair203a"
    # What the message says makes it the jail's.
    run ifconfig epair203a group thinjail
    run jail-epair-down tjdns epair203
    no_if epair203a
}

have other_bridge "" "the jail's pair in another bridge: ours is replaced, a foreign one refused"
case_other_bridge() {
    quick tjweb 201
    run ifconfig epair201 create
    run ifconfig epair201a group thinjail descr jail:tjweb
    run ifconfig $bridge2 addm epair201a
    start tjweb
    is_up tjweb epair201
    is "$(members $bridge2)" "" "members of $bridge2"
    stop tjweb
    nothing_of tjweb epair201
    run ifconfig epair201 create
    run ifconfig $bridge2 addm epair201a
    start_fails tjweb
    said "epair201a is a member of"
    is "$(members $bridge2)" epair201a "members of $bridge2"
    ifconfig epair201a destroy
    # The uplink of one bridge does not become another's.
    run ifconfig epair201 create
    run ifconfig $bridge2 addm epair201a
    refused jail-epair-up -u epair201a -b tjbr2 tjdb epair202
    said "epair201a is already a member of bridge $bridge2"
    no_if tjbr2
    no_pair epair202
    ifconfig epair201a destroy
}

have uplink "" "-u makes a bridge that is missing"
case_uplink() {
    quick tjweb 201
    run ifconfig epair203 create
    run jail-epair-up -u epair203a -b tjbr2 tjweb epair201
    is "$(members tjbr2 | tr '\n' ' ')" "epair201a epair203a " "members of the new bridge"
    run jail-epair-up -u epair203a -b tjbr2 tjdb epair202
    is "$(members tjbr2 | tr '\n' ' ')" "epair201a epair202a epair203a " "members of the bridge"
    run jail-epair-down tjweb epair201
    run jail-epair-down tjdb epair202
    has_if tjbr2
    ifconfig tjbr2 destroy
    ifconfig epair203a destroy
}

have from_inside "" "root of the jail destroys the pair"
case_from_inside() {
    quick tjweb 201
    start tjweb
    run jexec tjweb ifconfig epair201b destroy
    no_if epair201a
    stop tjweb
    nothing_of tjweb epair201
    good_run tjweb epair201
}

have renamed_inside "" "root of a jail gives its half another jail's name"
case_renamed_inside() {
    quick tjweb 201
    new_jail tjdb 202
    start tjweb
    jexec tjweb ifconfig epair201b name epair202b >/dev/null
    run jail -R tjweb
    wait_until there epair202b
    start_fails tjdb
    said "epair202b exists without epair202a"
    has_if epair201a
    run jail-sweep tjweb "$(path tjweb)" epair201
    no_if epair201a
    no_if epair202b
    good_run tjdb epair202
    good_run tjweb epair201
}

have removed "" "a jail that was removed with jail -R: the next start clears what it left"
case_removed() {
    quick tjweb 201
    start tjweb
    run jail -R tjweb
    has_if epair201a
    is "$(mounts tjweb | grep -c .)" 3 "mounts"
    start tjweb
    is_up tjweb epair201
    is "$(mounts tjweb | grep -c .)" 3 "mounts"
    run jail -R tjweb
    # Or jail-sweep, by hand.
    run jail-sweep tjweb "$(path tjweb)" epair201
    silent
    nothing_of tjweb epair201
    good_run tjweb epair201
}

have last_process "processes" "a jail without persist goes with its last process"
case_last_process() {
    jail_conf 's|"/bin/sh /etc/rc"|"/usr/sbin/daemon -f /bin/sleep 2"|'
    new_jail tjweb 201
    start tjweb
    gone() { ! runs tjweb; }
    wait_until gone
    has_if epair201a
    is "$(mounts tjweb | grep -c .)" 3 "mounts"
    jail_conf "$no_rc"
    good_run tjweb epair201
}

# Holds a jail after it was removed, as an open connection does.
hold() {
    if [ -n "$simulated" ]; then
        echo "$1" >"$root/var/db/standin/held-connection"
        return
    fi
    jexec "$1" daemon -f nc -l 5000
    wait_until listens "$1"
    # Open on the host's side until the case ends.
    (sleep 40 | nc $network.201 5000 >/dev/null 2>&1) &
    holder=$!
    wait_until connected "$1"
}

# Closes the connection of hold().
release_hold() {
    [ -z "${holder:-}" ] || kill "$holder" 2>/dev/null || true
    [ -z "$simulated" ] || jail standin-let-go "$1"
}

listens() {
    jexec "$1" netstat -an -p tcp -f inet | grep -q "\.5000 .*LISTEN"
}

connected() {
    jexec "$1" netstat -an -p tcp -f inet | grep -q "\.5000 .*ESTAB"
}

is_dying() {
    jls -d -j "$1" dying 2>/dev/null | grep -q -x true
}

have open_connection "" "stopped with an open connection, the jail starts again at once, beside the dying one"
case_open_connection() {
    quick tjweb 201
    start tjweb
    first=$(jid tjweb)
    hold tjweb
    stop tjweb
    jls -d jid dying
    is_dying "$first" || fail "the jail is not dying, so this shows nothing"
    nothing_of tjweb epair201
    start tjweb
    is_dying "$first" || fail "the jail is not dying any more, so this shows nothing"
    is_up tjweb epair201
    [ -n "$simulated" ] || reached $network.201 || fail "the new jail is not reached"
    doctor
    silent
    stop tjweb
    nothing_of tjweb epair201
    release_hold tjweb
}

have destroy_dying "" "a jail that is dying is destroyed, and made anew under the same name"
case_destroy_dying() {
    quick tjweb 201
    start tjweb
    first=$(jid tjweb)
    hold tjweb
    stop tjweb
    is_dying "$first" || fail "the jail is not dying, so this shows nothing"
    run jail-destroy -y tjweb
    is "$(find "$root$jails" -maxdepth 2 -name '*tjweb*')" "" "leftovers"
    new_jail tjweb 201
    good_run tjweb epair201
    is_dying "$first" || fail "the jail is not dying any more, so this shows nothing"
    release_hold tjweb
}

have without_sweep "" "the same without our two sweeps: the jail does not start, until jail-sweep is run"
case_without_sweep() {
    quick tjweb 201
    start tjweb
    # After the start, as exec.prepare would be in order there.
    jail_conf "$no_rc" 's|^exec.prepare .*||' 's|^exec.release .*||'
    hold tjweb
    stop tjweb
    is "$(mounts tjweb | grep -c nullfs)" 1 "mounts"
    start_fails tjweb
    said "Resource deadlock avoided"
    doctor
    said "\[mount-leaked\]"
    run jail-sweep tjweb "$(path tjweb)" epair201
    good_run tjweb epair201
    release_hold tjweb
}

have host_process "processes" "a process of the host works in the jail's path while it stops"
case_host_process() {
    quick tjweb 201
    start tjweb
    (cd "$(path tjweb)/skeleton/etc" && exec sleep 60) &
    sitter=$!
    sleep 1
    kill -0 $sitter || fail "nobody sits in the jail"
    stop tjweb
    nothing_of tjweb epair201
    kill -0 $sitter || fail "the process of the host was killed"
    good_run tjweb epair201
    kill $sitter
    wait $sitter 2>/dev/null || true
}

have jib_pair "jib" "a pair that jib(8) made is none of ours, and joins the same bridge"
case_jib_pair() {
    quick tjweb 201
    run ifconfig epair203 create
    sh "$jib" addm tjdb epair203a >"$work/out" 2>&1 || fail "jib: $(cat "$work/out")"
    has_if e0a_tjdb
    refused jail-epair-up -b $bridge tjweb e0a_tjdb
    run jail-sweep tjweb "$(path tjweb)" epair201
    has_if e0a_tjdb
    good_run tjweb epair201
    has_if e0a_tjdb
    sh "$jib" destroy tjdb
    ifconfig epair203abridge destroy 2>/dev/null || true
    ifconfig epair203a destroy
}
