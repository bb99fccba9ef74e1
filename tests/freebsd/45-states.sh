# States that an administrator can bring datasets and mounts into: the right thing is done, or nothing, and the message
# has the command that helps.

# Jails in a pool of their own.
second_pool() { # option ...
    truncate -s 3g "$work/disk2"
    run zpool create -o cachefile=none -O atime=off "$@" -m /tjtwo tjtwo "$work/disk2"
    trap 'end_second_pool' EXIT
}

end_second_pool() {
    ended=$?
    trap - EXIT
    for place in $(mount -p | awk '/tjtwo/ && $3 == "nullfs" { print $2 }' | sort -r); do
        umount -f "$place"
    done
    zpool destroy -f tjtwo
    rm -rf "$work/disk2" /tjtwo
    exit $ended
}

use_pool() { # dataset directory
    edit /usr/local/etc/thinjail.conf "s|^jail_zfs=.*|jail_zfs=\"$1\"|"
    jail_conf "$no_rc" "s|$jails|$2|"
}

have held "" "a held snapshot is found before anything is destroyed, by -n too, and named"
case_held() {
    quick tjweb 201
    container=$pool/jails/containers/tjweb
    run zfs snapshot $container@daily
    run zfs hold backup $container@daily
    refused jail-destroy -n tjweb
    said "snapshot $container@daily is held"
    refused jail-destroy -y tjweb
    said "zfs release TAG $container@daily"
    good_run tjweb epair201
    run zfs release backup $container@daily
    run jail-destroy -y tjweb
}

have properties "" "quota=none and other properties go along with a move, exactly"
case_properties() {
    jail_conf "$no_rc"
    old_jail
    container=$pool/jails/containers/tjweb
    run zfs set quota=none refquota=1073741824 recordsize=16K my:note="two words" $container
    zfs get -H -p -o property,value,source quota,refquota,recordsize,my:note $container >before
    run jail-rebase -k ours tjweb "$release"
    zfs get -H -p -o property,value,source quota,refquota,recordsize,my:note $container >after
    diff before after || fail "other properties"
    run jail-rebase -y --revert tjweb
    zfs get -H -p -o property,value,source quota,refquota,recordsize,my:note $container >after
    diff before after || fail "other properties after --revert"
}

have promoted "" "a promoted container is refused with the command that brings the snapshots back"
case_promoted() {
    jail_conf "$no_rc"
    old_jail
    container=$pool/jails/containers/tjweb
    skeleton=$pool/jails/templates/$older-skeleton
    run zfs promote $container
    for line in "jail-clone -r $older tjnew 202" "jail-destroy -y tjweb" "jail-rebase -k ours tjweb $release"; do
        refused $line
        said "zfs promote $skeleton\$"
    done
    jail-doctor >"$work/out" 2>&1 || true
    said "zfs promote $skeleton"
    good_run tjweb epair201
    run zfs promote $skeleton
    run jail-rebase -k ours tjweb "$release"
    run jail-rebase -y --revert tjweb
    run jail-destroy -y tjweb
}

have other_mountpoint "" "a container with a mountpoint of its own is not moved over the running place of another"
case_other_mountpoint() {
    jail_conf "$no_rc"
    old_jail
    run zfs set mountpoint=$jails/containers/tjweb $pool/jails/containers/tjweb
    refused jail-rebase -k ours tjweb "$release"
    said "zfs inherit mountpoint $pool/jails/containers/tjweb\$"
    is "$(containers)" "tjweb " "containers"
    run zfs inherit mountpoint $pool/jails/containers/tjweb
    run jail-rebase -k ours tjweb "$release"
    run jail-rebase -y --commit tjweb
}

have no_remount "files" "a rename that succeeds and cannot mount again is taken back, and completes once that is mended"
case_no_remount() {
    jail_conf "$no_rc"
    old_jail
    tree_of "$container" >before
    # In the way of the mount point of what is kept.
    : >$jails/containers/tjweb.before-$release
    jail-rebase -k ours tjweb "$release" >"$work/out" 2>&1 && fail "it did not fail"
    cat "$work/out"
    said "tjweb.before-$release"
    tree_of "$container" >after
    diff before after || fail "not as it was"
    is "$(zfs get -H -o value mounted $pool/jails/containers/tjweb)" yes mounted
    good_run tjweb epair201
    rm -f $jails/containers/tjweb.before-$release
    run jail-rebase -k ours tjweb "$release"
    run jail-rebase -y --revert tjweb
}

have hangup "processes" "zfs rename ended by a hangup, before and behind the ioctl: the old jail or the new one, whole"
case_hangup() {
    jail_conf "$no_rc"
    old_jail
    tree_of "$container" >before
    before=0 behind=0 round=0
    while [ $round -lt 40 ]; do
        round=$((round + 1))
        [ $before -lt 3 ] || [ $behind -lt 3 ] || break
        jail-rebase -k ours tjweb "$release" >moved 2>&1 &
        mover=$!
        # The first moment that it is there, or the last one: its dataset has the new name then.
        while kill -0 $mover 2>/dev/null; do
            renames=$(pgrep -f 'zfs rename .*tjweb' || true)
            [ -n "$renames" ] || continue
            if [ $((round % 2)) -eq 0 ]; then
                zfs list -H -o name $pool/jails/containers/tjweb.before-$release >/dev/null 2>&1 || continue
            fi
            kill -HUP $renames 2>/dev/null && break
        done
        wait $mover || true
        if zfs list -H -o name $pool/jails/containers/tjweb.before-$release >/dev/null 2>&1; then
            behind=$((behind + 1))
            [ "$(zfs get -H -o value mounted $pool/jails/containers/tjweb)" = yes ] || {
                cat moved
                fail "no container in its place"
            }
            is "$(sed -n 1p "$(path tjweb).fstab" | cut -d ' ' -f 1)" "$jails/templates/$release-base" "the base"
            run jail-rebase -y --revert tjweb
        else
            before=$((before + 1))
            is "$(sed -n 1p "$(path tjweb).fstab" | cut -d ' ' -f 1)" "$jails/templates/$older-base" "the base"
        fi
        tree_of "$container" >after
        diff before after || {
            cat moved
            fail "not as it was"
        }
        is "$(containers)" "tjweb " "containers"
    done
    note "$before times as before, $behind times moved, in $round rounds"
    good_run tjweb epair201
}

have received "files" "a tree that was sent with -R and received elsewhere works there: jails start, move and go"
case_received() {
    jail_conf "$no_rc"
    old_jail
    run zfs set quota=none recordsize=16K $pool/jails/containers/tjweb
    second_pool
    run zfs snapshot -r $pool/jails@sent
    zfs send -R $pool/jails@sent >stream || fail "zfs send"
    run zfs recv -u -F -x mountpoint tjtwo/jails <stream
    run zfs mount -a
    run zfs destroy -r $pool/jails@sent
    is "$(zfs get -H -o value,source thinjail:jail tjtwo/jails/containers/tjweb | tr '\t' ' ')" "tjweb received" mark
    mkdir -p "/tjtwo/jails/tjweb-nullfs-base"
    sed "s|$jails|/tjtwo/jails|g" "$(path tjweb).fstab" >/tjtwo/jails/tjweb-nullfs-base.fstab
    use_pool tjtwo/jails /tjtwo/jails
    run jail-list
    said "^tjweb .*$older@base"
    start tjweb
    stop tjweb
    run jail-rebase -k ours tjweb "$release"
    is "$(zfs get -H -o value,source thinjail:jail tjtwo/jails/containers/tjweb | tr '\t' ' ')" "tjweb local" mark
    is "$(zfs get -H -o value recordsize tjtwo/jails/containers/tjweb)" 16K recordsize
    run jail-rebase -y --commit tjweb
    run zfs destroy -r tjtwo/jails@sent
    run jail-destroy -y tjweb
    settings
}

have encrypted "files" "below an encrypted dataset: everything with the key loaded, and without it the key is named"
case_encrypted() {
    jail_conf "$no_rc"
    both_templates
    echo "not a secret" >"$work/key"
    second_pool
    run zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file://$work/key tjtwo/jails
    # Not -R: what is sent so would not be encrypted.
    run zfs create tjtwo/jails/containers
    run zfs create tjtwo/jails/templates
    for tree in $release-base $release-skeleton; do
        zfs send $pool/jails/templates/$release-skeleton@base >/dev/null || fail "zfs send"
        [ $tree = $release-skeleton ] || zfs snapshot $pool/jails/templates/$tree@base
        zfs send $pool/jails/templates/$tree@base | zfs recv -u tjtwo/jails/templates/$tree || fail "zfs recv"
        [ $tree = $release-skeleton ] || zfs destroy $pool/jails/templates/$tree@base
    done
    run zfs mount -a
    [ "$(zfs get -H -o value mounted tjtwo/jails/templates/$release-base)" = yes ] || run zfs mount tjtwo/jails/templates/$release-base
    use_pool tjtwo/jails /tjtwo/jails
    run jail-clone tjweb 201
    start tjweb
    stop tjweb
    for dataset in containers/tjweb containers templates/$release-skeleton templates/$release-base templates; do
        run zfs unmount tjtwo/jails/$dataset
    done
    run zfs unmount tjtwo/jails
    run zfs unload-key tjtwo/jails
    for line in "jail-list" "jail-clone tjnew 202" "jail-destroy -y tjweb" "jail-mkfstab tjweb" \
        "jail-rebase tjweb $release" "skel-split $release" "skel-fixcerts $release"; do
        refused $line
        said "the key of tjtwo/jails is not loaded; zfs load-key tjtwo/jails; zfs mount -a"
    done
    start_fails tjweb
    run zfs load-key tjtwo/jails
    # It mounts with several threads, which an emulated machine may not survive.
    zfs mount -a || run zfs mount -a
    start tjweb
    stop tjweb
    run jail-destroy -y tjweb
    settings
}

have hidden "files" "a base that is hidden below a later mount is not called unsplit"
case_hidden() {
    quick tjweb 201
    base=$pool/jails/templates/$release-base
    run zfs create -u -o mountpoint=$jails/templates $pool/tjcover
    # Over what is mounted there already.
    run zfs mount $pool/tjcover
    for line in "jail-clone tjnew 202" "skel-split $release" "jail-mkfstab tjweb"; do
        refused $line
        said "$base is hidden by $pool/tjcover"
        not_said "run skel-split $release to complete"
    done
    # Each of the two commands that the message has, for base and skeleton.
    for dataset in $base $pool/jails/templates/$release-skeleton; do
        run zfs unmount $dataset
        run zfs mount $dataset
    done
    run jail-clone tjnew 202
    good_run tjnew epair202
    datasets=$(zfs list -H -o name -r $pool/jails/templates | sed 1d)
    for dataset in $datasets; do
        run zfs unmount $dataset
    done
    run zfs destroy $pool/tjcover
    for dataset in $datasets; do
        run zfs mount $dataset
    done
    good_run tjweb epair201
}

have swapped "" "nothing is mounted from a container: its root could put a link in the place of the source"
case_swapped() {
    quick tjweb 201
    source_of=$jails/containers/tjweb/usr/local/www
    mkdir -p "$root$source_of"
    refused jail-clone -m "$source_of:/skeleton/docs" tjother 202
    said "container"
    # By hand: told of, and not written again.
    new_jail tjother 202
    mkdir -p "$root$jails/containers/tjother/docs"
    echo "$source_of $(path tjother)/skeleton/docs nullfs rw 0 0" >>"$root$(path tjother).fstab"
    jail-doctor tjother >"$work/out" 2>&1 || true
    said "mount-source"
    refused jail-mkfstab -c tjother
}

have ruleset "" "a devfs ruleset that does not exist: jail-clone refuses, jail-doctor reports an error"
case_ruleset() {
    quick tjweb 201
    add_to tjweb "devfs_ruleset = 77;"
    jail-doctor tjweb >"$work/out" 2>&1 && fail "jail-doctor found nothing"
    said "error: jail tjweb: devfs_ruleset 77 does not exist"
    edit /etc/jail.conf "s|^devfs_ruleset = 5;|devfs_ruleset = 77;|"
    refused jail-clone tjnew 202
    said "would see every device of the host"
    if [ -z "$simulated" ]; then
        start tjweb
        ls "$(path tjweb)/dev" | grep -q -x mem || fail "no mem: this shows nothing"
        # The mount has made it, and with the mount it goes again.
        jail-doctor tjweb >"$work/out" 2>&1 && fail "jail-doctor found nothing"
        said "error: jail tjweb: devfs_ruleset 77 has no rules"
        stop tjweb
    fi
}
