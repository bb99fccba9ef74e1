# A jail moves from one release to another, and back.

# The release before ours: the same base, with a name and a few settings of its own.
older_release() {
    major=${release%%.*}
    echo "$((major - 1)).3-RELEASE"
}

# Its archive, made once.
older_archive() {
    older=$(older_release)
    [ ! -f "$work/older/MANIFEST" ] || return 0
    mkdir -p "$work/older/base"
    (
        cd "$work/older/base"
        /usr/bin/tar -xpf "$base_txz"
        change bin/freebsd-version "s/^USERLAND_VERSION=.*/USERLAND_VERSION=\"$older\"/"
        # What our release changed, added and removed.
        for file in etc/hosts etc/syslog.conf etc/newsyslog.conf; do
            change $file '1s/^/# as it was\
# another line that was\
/'
        done
        rm etc/networks
        echo old >etc/tjold.conf
        change etc/master.passwd '/^ntpd:/d'
        change etc/group '/^ntpd:/d'
        [ -n "$simulated" ] || pwd_mkdb -p -d etc etc/master.passwd
        # Not packed: it takes minutes on an emulated machine.
        /usr/bin/tar -cf ../base.txz .
    )
    leave "$work/older/base"
    sum=$(checksum "$work/older/base.txz")
    printf 'base.txz\t%s\t1\tbase\t"Base system (MANDATORY)"\ton\n' "$sum" >"$work/older/MANIFEST"
    [ "$sum" ] || fail "no archive of $older"
}

# Edits a file where it is.
change() { # file command
    sed -e "$2" "$1" >"$work/changed"
    ! cmp -s "$work/changed" "$1" || fail "$1 is the same after: $2"
    cat "$work/changed" >"$1"
}

both_templates() {
    template
    older=$(older_release)
    [ ! -d "$root$jails/templates/$older-skeleton" ] || return 0
    older_archive
    cp "$work/older/base.txz" "$root/$pool/media/older.txz"
    cp "$work/older/MANIFEST" "$root/$pool/media/MANIFEST.older"
    run skel-fetch -f /$pool/media/older.txz -M /$pool/media/MANIFEST.older "$older"
    rm "$root/$pool/media/older.txz"* "$root/$pool/media/MANIFEST.older"
    run skel-split "$older"
    # Hidden otherwise, where directories can't be.
    [ -z "$simulated" ] || zfs set snapdir=visible $pool/jails/templates
}

# A jail on the older release that has made something of it. Its hosts(5) conflicts.
old_jail() {
    both_templates
    new_jail tjweb 201 -r "$older"
    container=$root$jails/containers/tjweb
    change "$container/etc/syslog.conf" '$s/$/\
# of the jail/'
    chmod 640 "$container/etc/newsyslog.conf"
    change "$container/etc/hosts" '1s/$/, of the jail/'
    echo 'tjuser:*:7001:7001::0:0:A user:/home/tjuser:/bin/sh' >>"$container/etc/master.passwd"
    echo 'tjuser:*:7001:' >>"$container/etc/group"
    mkdir -p "$container/home/tjuser" "$container/usr/local/etc"
    echo text >"$container/usr/local/etc/tjone"
    ln "$container/usr/local/etc/tjone" "$container/usr/local/etc/tjtwo"
    ln -s /nonexistent "$container/root/tjlink"
    mkfifo "$container/root/tjfifo"
    if [ -z "$simulated" ]; then
        pwd_mkdb -p -d "$container/etc" "$container/etc/master.passwd"
        chown -R 7001:7001 "$container/home/tjuser"
        echo fixed >"$container/root/tjfixed"
        chmod 4755 "$container/root/tjfixed"
        chflags schg "$container/root/tjfixed"
        echo nodump >"$container/etc/tjnodump"
        chflags nodump "$container/etc/tjnodump"
        : >"$container/root/tjattribute"
        setextattr user tj value "$container/root/tjattribute"
        : >"$container/root/tjacl"
        # Directory storage has them of another kind.
        [ $jails = /tjdir ] || setfacl -m u:daemon:rw::allow "$container/root/tjacl"
    fi
}

# All of a tree that has to be the same after --revert, times included.
tree_of() { # tree
    if [ -n "$simulated" ]; then
        (cd "$1" && find . ! -path './.zfs*' -exec ls -dln --time-style=full-iso {} + | sort -k 9 && find . -type f \
            ! -path './.zfs*' -exec cksum {} + | sort -k 3)
    else
        (cd "$1" && mtree -c -k uid,gid,mode,link,nlink,flags,size,time,sha256 | sed -e '/^#/d' -e 's/,*uarch//' &&
            getfacl root/tjacl && getextattr user tj root/tjattribute)
    fi
}

# The jail's own is there, and what the release has too.
is_merged() {
    container=$root$jails/containers/tjweb
    grep -q '^# of the jail' "$container/etc/syslog.conf" || fail "the jail's line is not in syslog.conf"
    ! grep -q -e 'as it was' -e 'that was' "$container/etc/syslog.conf" || fail "the release's syslog.conf is not there"
    cmp "$container/etc/newsyslog.conf" "$root$jails/templates/$release-skeleton/etc/newsyslog.conf" ||
        fail "another newsyslog.conf"
    ls -l "$container/etc/newsyslog.conf" | grep -q '^-rw-r-----' || fail "the mode of newsyslog.conf"
    [ -f "$container/etc/networks" ] || fail "no networks"
    [ ! -e "$container/etc/tjold.conf" ] || fail "tjold.conf is there"
    grep -q ', of the jail' "$container/etc/hosts" || fail "the jail's hosts is not kept"
    for user in tjuser ntpd root; do
        is "$(grep -c "^$user:" "$container/etc/master.passwd")" 1 "records of $user"
        is "$(grep -c "^$user:" "$container/etc/passwd")" 1 "records of $user in passwd"
    done
    is "$(grep -c -e '^tjuser:' -e '^ntpd:' "$container/etc/group")" 2 "groups"
    [ "$container/usr/local/etc/tjone" -ef "$container/usr/local/etc/tjtwo" ] || fail "two files instead of one"
    is "$(readlink "$container/root/tjlink")" /nonexistent "the link"
    [ -p "$container/root/tjfifo" ] || fail "no FIFO"
    is "$(sed -n 1p "$root$(path tjweb).fstab" | cut -d ' ' -f 1)" "$jails/templates/$release-base" "the base"
    run jail-mkfstab -c tjweb
    if [ -z "$simulated" ]; then
        is "$(stat -f '%Sp %Sf' "$container/root/tjfixed" | sed 's/uarch,//; s/,uarch//')" "-rwsr-xr-x schg" tjfixed
        is "$(stat -f %Sf "$container/etc/tjnodump" | sed 's/uarch,//; s/,uarch//')" nodump "flags of tjnodump"
        stat -f %Sf "$container/var/empty" | grep -q schg || fail "var/empty is not schg"
        is "$(stat -f %u:%g "$container/home/tjuser")" 7001:7001 "owner of the home directory"
        is "$(getextattr -q user tj "$container/root/tjattribute")" value "the extended attribute"
        [ $jails = /tjdir ] || getfacl "$container/root/tjacl" | grep -q 'user:daemon:rw' || fail "no entry in the list"
        run skel-fixcerts -a -c "$container"
    fi
}

# Started on its new base, its users are valid inside.
works_on() { # release
    start tjweb
    is_up tjweb epair201
    if [ -z "$simulated" ]; then
        is "$(jexec tjweb freebsd-version -u | sed 's/-p[0-9]*$//')" "$1" "release in the jail"
        is "$(jexec tjweb id tjuser)" "uid=7001(tjuser) gid=7001(tjuser) groups=7001(tjuser)" "the user"
        is "$(jexec -U tjuser tjweb id -un)" tjuser "who the user is"
        [ "$1" = "$older" ] || is "$(jexec tjweb id -u ntpd)" 123 "the release's user"
        jexec tjweb ping -o -c 5 -t 10 $network.1 || fail "the jail does not reach the gateway"
    fi
    stop tjweb
    nothing_of tjweb epair201
}

containers() {
    ls -A "$root$jails/containers" | tr '\n' ' '
}

have rebase "" "jail-rebase to another release, back bit for bit, there again, and committed while it runs"
case_rebase() {
    jail_conf "$no_rc"
    old_jail
    zfs set quota=1073741824 $pool/jails/containers/tjweb
    if [ -z "$simulated" ]; then
        dd if=/dev/random of=$container/home/big bs=1m count=100 2>/dev/null
        zpool sync $pool
    fi
    tree_of "$container" >before
    cp "$root$(path tjweb).fstab" fstab.before

    run_status=0
    jail-rebase -n tjweb "$release" >"$work/out" 2>&1 || run_status=$?
    cat "$work/out"
    is $run_status 1 "status of jail-rebase -n with a conflict"
    said "^tjweb: $older-skeleton@base -> $release-skeleton@base: .*, 1 in conflict"
    said "^M conflict etc/hosts"
    said "^M both     etc/syslog.conf"
    said "^conflict: etc/hosts: "
    run_status=0
    jail-rebase tjweb "$release" >"$work/out" 2>&1 || run_status=$?
    cat "$work/out"
    is $run_status 1 "status of jail-rebase with a conflict"
    said "1 conflict; nothing is changed"
    tree_of "$container" >after
    diff before after || fail "something was changed"
    is "$(containers)" "tjweb " "containers"

    began=$(seconds)
    run jail-rebase -k ours tjweb "$release"
    said "1 decided"
    note "moved in $(($(seconds) - began)) s"
    is "$(containers)" "tjweb tjweb.before-$release " "containers"
    is_merged
    is "$(zfs get -H -p -o value quota $pool/jails/containers/tjweb)" 1073741824 quota
    is "$(zfs get -H -o value origin $pool/jails/containers/tjweb)" \
        "$pool/jails/templates/$release-skeleton@base" origin
    if [ -z "$simulated" ]; then
        zpool sync $pool
        note "it uses $(zfs get -H -o value used $pool/jails/containers/tjweb), the pool" \
            "$(zpool get -H -o value bcloneused,bclonesaved $pool | tr '\n' ' ')of shared blocks"
        cmp $container/home/big $container.before-$release/home/big || fail "the big file is another one"
    fi
    refused jail-rebase tjweb "$older"
    said "was already moved to $release"
    refused jail-destroy -y tjweb
    works_on "$release"

    run jail-rebase -y --revert tjweb
    tree_of "$container" >after
    diff before after || fail "not as it was"
    diff fstab.before "$root$(path tjweb).fstab" || fail "another fstab"
    is "$(containers)" "tjweb " "containers"
    works_on "$older"

    run jail-rebase -k ours tjweb "$release"
    start tjweb
    run jail-rebase -y --commit tjweb
    is_up tjweb epair201
    stop tjweb
    is_merged
    is "$(containers)" "tjweb " "containers"
    is "$(zfs list -H -o name -t all -r $pool/jails/containers | tr '\n' ' ')" \
        "$pool/jails/containers $pool/jails/containers/tjweb " "datasets"
    doctor
    silent
    run jail-destroy -y tjweb
    is "$(containers)" "" "containers"
    # Nothing keeps the template that it was looked at.
    run zfs rename $pool/jails/templates/$older-skeleton $pool/jails/templates/tjother
    run zfs rename $pool/jails/templates/tjother $pool/jails/templates/$older-skeleton
    is "$(ls -A "$root$jails/templates" | grep -c tjother)" 0 "directories of former names"
}

have rebase_patch "" "jail-rebase to a patch level of the same release"
case_rebase_patch() {
    jail_conf "$no_rc"
    old_jail
    zfs snapshot $pool/jails/containers/tjweb@daily
    # Looked at, it is mounted, and stays so.
    [ -n "$simulated" ] || ls $container/.zfs/snapshot/daily >/dev/null
    skeleton=$root$jails/templates/$older-skeleton
    # The next patch level, with another user.
    echo '_patch:*:7002:7002::0:0:Of the patch:/nonexistent:/usr/sbin/nologin' >>"$skeleton/etc/master.passwd"
    change "$skeleton/etc/syslog.conf" '1s/$/ at first/'
    [ -n "$simulated" ] || pwd_mkdb -p -d "$skeleton/etc" "$skeleton/etc/master.passwd"
    zfs snapshot $pool/jails/templates/$older-skeleton@p1
    run jail-list
    said "^tjweb .*$older@base .*behind @p1"
    run jail-rebase tjweb "$older"
    said "^tjweb: $older-skeleton@base -> $older-skeleton@p1: "
    is "$(zfs get -H -o value origin $pool/jails/containers/tjweb)" \
        "$pool/jails/templates/$older-skeleton@p1" origin
    grep -q ' at first$' "$container/etc/syslog.conf" || fail "not the text of the patch level"
    grep -q '^# of the jail' "$container/etc/syslog.conf" || fail "the jail's line is not in syslog.conf"
    grep -q '^_patch:' "$container/etc/passwd" || fail "not the user of the patch level"
    works_on "$older"
    run jail-rebase -y --commit tjweb
    is "$(containers)" "tjweb " "containers"
    run jail-rebase tjweb "$older"
    said "already at"
    zfs snapshot $pool/jails/containers/tjweb@weekly
    [ -n "$simulated" ] || ls $container/.zfs/snapshot/weekly >/dev/null
    doctor
    silent
    run jail-destroy -y tjweb
    run zfs rollback -r $pool/jails/templates/$older-skeleton@base
}

have rebase_running "" "jail-rebase of a running jail: refused, and with -f"
case_rebase_running() {
    jail_conf "$no_rc"
    old_jail
    start tjweb
    refused jail-rebase -k ours tjweb "$release"
    said "is running"
    is_up tjweb epair201
    first=$(jid tjweb)
    hold tjweb
    run jail-rebase -f -k ours tjweb "$release"
    nothing_of tjweb epair201
    is_dying "$first" || fail "the jail is not dying, so this shows nothing"
    is_merged
    works_on "$release"
    run jail-rebase -fy --revert tjweb
    works_on "$older"
    start tjweb
    run jail-rebase -f -k ours tjweb "$release"
    start tjweb
    run jail-rebase -fy --revert tjweb
    nothing_of tjweb epair201
    release_hold tjweb
    is "$(containers)" "tjweb " "containers"
    doctor
    silent
}

have rebase_mounts "" "jail-rebase: a further mount goes along; a container that is in use is refused"
case_rebase_mounts() {
    jail_conf "$no_rc"
    both_templates
    mkdir -p "$root/$pool/tree"
    new_jail tjweb 201 -r "$older" -m "/$pool/tree:/skeleton/docs:ro"
    run jail-rebase tjweb "$release"
    is "$(grep -c "/$pool/tree" "$root$(path tjweb).fstab")" 1 "mounts of the tree"
    good_run tjweb epair201
    run jail-rebase -y --commit tjweb
    # Behind jail(8)'s back, so that all is left.
    start tjweb
    run jail -R tjweb
    refused jail-rebase tjweb "$older"
    said "is still mounted on"
    run jail-sweep tjweb "$(path tjweb)" epair201
    run jail-rebase tjweb "$older"
    good_run tjweb epair201
    rm -rf "$root/$pool/tree"
}

have rebase_busy "processes" "a jail that is being moved can't be started; it can when that is over"
case_rebase_busy() {
    jail_conf "$no_rc"
    old_jail
    tree_of "$container" >before
    jail-rebase -k ours tjweb "$release" >moved 2>&1 &
    mover=$!
    until zfs list -H -o name $pool/jails/containers/tjweb.rebase >/dev/null 2>&1; do
        kill -0 $mover || fail "it has ended: $(cat moved)"
    done
    kill -STOP $mover
    start_fails tjweb
    said "is being started, stopped or moved by"
    refused jail-rebase -k ours tjweb "$release"
    said "is being started, stopped or moved by"
    refused jail-destroy -y tjweb
    kill -CONT $mover
    wait $mover || fail "it failed: $(cat moved)"
    is_merged
    works_on "$release"
    run jail-rebase -y --revert tjweb
    # Somebody whose working directory is in the container does not matter until it goes.
    (cd $container/etc && exec sleep 60) &
    sitter=$!
    sleep 1
    run_status=0
    jail-rebase -k ours tjweb "$release" >"$work/out" 2>&1 || run_status=$?
    cat "$work/out"
    kill $sitter
    wait $sitter 2>/dev/null || true
    if [ $run_status -eq 0 ]; then
        run jail-rebase -y --revert tjweb
    fi
    note "with somebody in the container: exit status $run_status"
    tree_of "$container" >after
    diff before after || fail "not as it was"
    is "$(containers)" "tjweb " "containers"
    works_on "$older"
}

# As measure and killed_after, from the moment on when there is a second container:
# most of the time goes by before.
measure_from_there() { # command ...
    rm -f over
    (
        run_status=0
        "$@" >"$work/killed.out" 2>&1 || run_status=$?
        echo $run_status >over
    ) &
    before=0 rounds=0
    until [ -d "$container.rebase" ] || [ -e over ]; do
        before=$((before + 1))
    done
    until [ -e over ]; do
        rounds=$((rounds + 1))
    done
    wait $!
    is "$(cat over)" 0 "exit status of $*"
}

killed_from_there() { # hundredths command ...
    last=$((rounds * $1 / 100)) longest=$((before * 10)) round=0
    shift
    "$@" >"$work/killed.out" 2>&1 &
    victim=$!
    until [ -d "$container.rebase" ] || [ $round -gt $longest ]; do
        round=$((round + 1))
    done
    round=0
    until [ -e never ] || [ $round -ge $last ]; do
        round=$((round + 1))
    done
    kill -9 $victim 2>/dev/null || true
    run_status=0
    wait $victim 2>/dev/null || run_status=$?
    # A zfs(8) that it has started goes on.
    while pgrep -x zfs >/dev/null; do
        sleep 0.1
    done
    echo "killed: $run_status, $(containers)"
    case $run_status in
    0) ;;
    137) kills=$((kills + 1)) ;;
    *)
        cat "$work/killed.out"
        fail "exit status $run_status: $*"
        ;;
    esac
}

have rebase_killed "processes" "jail-rebase is killed; the same command completes the move, and --revert goes back"
case_rebase_killed() {
    jail_conf "$no_rc"
    old_jail
    tree_of "$container" >before
    cp "$root$(path tjweb).fstab" fstab.before
    as_before() {
        tree_of "$container" >after
        diff before after || fail "not as it was"
        diff fstab.before "$root$(path tjweb).fstab" || fail "another fstab"
        is "$(containers)" "tjweb " "containers"
    }
    kills=0 half=0 again=
    measure_from_there jail-rebase -k ours tjweb "$release"
    run jail-rebase -y --revert tjweb
    as_before
    for moment in 5 12 20 28 36 44 52 60 66 72 78 84 88 92 95 98; do
        killed_from_there $moment jail-rebase -k ours tjweb "$release"
        if [ $run_status -eq 0 ]; then
            run jail-rebase -y --revert tjweb
            continue
        fi
        # As long as it starts, it is what it was.
        if [ -d "$container" ] && [ ! -d "$container.before-$release" ]; then
            good_run tjweb epair201
        elif [ ! -d "$container" ]; then
            half=$((half + 1))
            start_fails tjweb
            refused jail-rebase -k ours tjweb "$older"
            said "was interrupted"
        fi
        if [ -z "$again" ]; then
            again=yes
            [ -d "$container.before-$release" ] && [ -d "$container" ] ||
                run jail-rebase -k ours tjweb "$release"
            is_merged
        else
            again=
        fi
        # There is nothing to take back of one that had hardly begun.
        [ "$(containers)" = "tjweb " ] || run jail-rebase -y --revert tjweb
        as_before
    done
    run jail-rebase -k ours tjweb "$release"
    measure_from_there jail-rebase -y --revert tjweb
    as_before
    again=
    for moment in 5 20 35 50 65 80 90 95; do
        run jail-rebase -k ours tjweb "$release"
        killed_from_there $moment jail-rebase -y --revert tjweb
        [ -d "$container" ] || half=$((half + 1))
        if [ -n "$again" ]; then
            # Forward again, out of the middle of the way back.
            again=
            if [ ! -d "$container" ]; then
                run jail-rebase -k ours tjweb "$release"
                is_merged
            fi
        else
            again=yes
        fi
        [ "$(containers)" = "tjweb " ] || run jail-rebase -y --revert tjweb
        as_before
    done
    note "$kills kills, $half without a container"
    [ $kills -ge 10 ] || fail "only $kills kills: this shows nothing"
    works_on "$older"
    doctor
    silent
}

have rebase_directory "" "jail-rebase under directory storage"
case_rebase_directory() {
    jails=/tjdir
    printf 'jail_zfs="NONE"\njail_dir="/tjdir"\nbsd_ver="%s"\njail_bridge="%s"\njail_net="%s.0/24"\njail_gateway="%s.1"\n' \
        "$release" $bridge $network $network >"$root/usr/local/etc/thinjail.conf"
    run skel-fetch -f /$pool/media/base.txz -M /$pool/media/MANIFEST "$release"
    run skel-split "$release"
    # There is one already.
    template() { :; }
    jail_conf "$no_rc"
    old_jail
    tree_of "$container" >before
    run jail-rebase -k ours tjweb "$release"
    is_merged
    works_on "$release"
    run jail-rebase -y --revert tjweb
    tree_of "$container" >after
    diff before after || fail "not as it was"
    works_on "$older"
    run jail-rebase -k ours tjweb "$release"
    start tjweb
    run jail-rebase -y --commit tjweb
    stop tjweb
    is_merged
    is "$(containers)" "tjweb tjweb.origin " "containers"
    doctor
    silent
    run jail-destroy -y tjweb
    is "$(containers)" "" "containers"
    leave "$root/tjdir"
}
