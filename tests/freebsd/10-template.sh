# From an archive to a template, and to a jail's files.

have fetch_refused "" "an archive that is not the one the MANIFEST means is not unpacked"
case_fetch_refused() {
    # One digit of the checksum is another.
    sed 's/	0/	1/; t
        s/	[1-9a-f]/	0/' "$work/MANIFEST" >MANIFEST.wrong
    ! cmp -s "$work/MANIFEST" MANIFEST.wrong || fail "the MANIFEST is the same"
    cp MANIFEST.wrong "$root/$pool/media/MANIFEST.wrong"
    cp "$root/$pool/media/base.txz" "$root/$pool/media/other.txz"
    refused skel-fetch -f /$pool/media/other.txz -M /$pool/media/MANIFEST.wrong "$release"
    said "checksum"
    # Half of one, though the MANIFEST agrees.
    rm "$root/$pool/media"/other.txz*
    bytes=$(wc -c <"$base_txz" | tr -d ' ')
    head -c $((bytes / 2)) "$base_txz" >"$root/$pool/media/other.txz"
    sum=$(checksum "$root/$pool/media/other.txz")
    printf 'base.txz\t%s\t1\tbase\t"Base system (MANDATORY)"\ton\n' "$sum" >"$root/$pool/media/MANIFEST.wrong"
    refused skel-fetch -f /$pool/media/other.txz -M /$pool/media/MANIFEST.wrong "$release"
    rm "$root/$pool/media/MANIFEST.wrong" "$root/$pool/media"/other.txz*
    ! zfs list -H -r -o name $pool | grep -- "-base$" || fail "a base was made"
}

have fetch "" "skel-fetch -f unpacks a verified archive as a dataset"
case_fetch() {
    ! zfs list -H -r -o name $pool | grep -q -- "-base$" || {
        note "done by an earlier case"
        return
    }
    run skel-fetch -f /$pool/media/base.txz -M /$pool/media/MANIFEST "$release"
    base=$pool/jails/templates/$release-base
    is "$(zfs get -H -o value thinjail:sha256 "$base")" "$(cut -f 2 "$work/MANIFEST")" "checksum of the base"
    is "$(zfs get -H -o value mounted "$base")" yes "mounted"
    [ -f "$root/$base/bin/freebsd-version" ] || fail "no freebsd-version in the base"
    [ -d "$root/$base/etc" ] && [ ! -L "$root/$base/etc" ] || fail "etc is no directory"
    [ ! -e "$root/etc/resolv.conf" ] || cmp "$root/etc/resolv.conf" "$root/$base/etc/resolv.conf" ||
        fail "resolv.conf is not the host's"
    run skel-fetch -f /$pool/media/base.txz -M /$pool/media/MANIFEST "$release"
    said "already exists"
}

have split "" "skel-split makes a template of it"
case_split() {
    template
    base=$jails/templates/$release-base
    skeleton=$jails/templates/$release-skeleton
    for moved in etc var root tmp home; do
        is "$(readlink "$root$base/$moved")" "skeleton/$moved" "the link $moved"
        [ -d "$root$skeleton/$moved" ] && [ ! -L "$root$skeleton/$moved" ] || fail "$moved is not in the skeleton"
    done
    is "$(readlink "$root$base/usr/local")" "../skeleton/usr/local" "the link usr/local"
    [ -d "$root$base/skeleton" ] || fail "no mount point"
    is "$(ls -A "$root$base/skeleton")" "" "the mount point"
    is "$(zfs list -H -o name -t snapshot -r $pool/jails/templates)" \
        "$pool/jails/templates/$release-skeleton@base" "snapshots"
    for original in etc.orig var.orig .etc.thinjail .var.thinjail; do
        [ ! -e "$root$base/$original" ] || fail "$original is left"
    done
    run skel-split "$release"
    said "already split"
    run skel-fixcerts -a -c "$release"
}

have split_flags "files" "the skeleton's var/empty keeps its flag, mode and owner; /etc/rmt leads to the program"
case_split_flags() {
    template
    is "$(stat -f '%Sp %Su:%Sg' "$jails/templates/$release-skeleton/var/empty")" "dr-xr-xr-x root:wheel" "var/empty"
    stat -f %Sf "$jails/templates/$release-skeleton/var/empty" | grep -q schg || fail "var/empty is not schg"
    is "$(readlink "$jails/templates/$release-skeleton/etc/rmt")" ../../usr/sbin/rmt "etc/rmt"
    is "$(stat -f '%Mp%Lp' "$jails/templates/$release-skeleton/root" "$jails/templates/$release-skeleton/tmp" |
        tr '\n' ' ')" "0750 1777 " "modes of root and tmp"
}

have fixcerts "" "skel-fixcerts finds and repairs the links of certctl(8) of FreeBSD 14 in a jail"
case_fixcerts() {
    new_jail tjweb 201
    container=$jails/containers/tjweb
    pem=$(ls "$root$jails/templates/$release-base/usr/share/certs/trusted" | head -n 1)
    link=etc/ssl/certs/fedcba98.0
    ln -s "../../../usr/share/certs/trusted/$pem" "$root$container/$link"
    run_status=0
    skel-fixcerts -c "$container" >"$work/out" 2>&1 || run_status=$?
    cat "$work/out"
    is $run_status 1 "status of skel-fixcerts -c"
    said "fedcba98.0"
    is "$(readlink "$root$container/$link")" "../../../usr/share/certs/trusted/$pem" "the link after -c"
    run skel-fixcerts "$container"
    is "$(readlink "$root$container/$link")" "../../../../usr/share/certs/trusted/$pem" "the link"
    run skel-fixcerts -c "$container"
}

have clone "" "jail-clone makes container, path, fstab and configuration"
case_clone() {
    new_jail tjweb 201
    said "tjweb.*201.*$network\.201"
    is "$(zfs get -H -o value origin $pool/jails/containers/tjweb)" \
        "$pool/jails/templates/$release-skeleton@base" "origin"
    is "$(zfs get -H -o value thinjail:jail $pool/jails/containers/tjweb)" tjweb "owner"
    is "$(ls -A "$root$(path tjweb)")" "" "the path"
    printf '%s %s/ nullfs ro 0 0\n%s %s/skeleton nullfs rw 0 0\n' "$jails/templates/$release-base" "$(path tjweb)" \
        "$jails/containers/tjweb" "$(path tjweb)" >expected
    diff expected "$root$(path tjweb).fstab" || fail "another fstab"
    printf 'tjweb {\n\t$id = "201";\n\t$ip = "%s.${id}/24";\n}\n' $network >expected
    diff expected "$root/etc/jail.conf.d/tjweb.conf" || fail "another configuration"
    run jail -f /etc/jail.conf -e "|"
    said "vnet.interface=epair201b"
    run jail-mkfstab -c tjweb
}

have clone_refused "" "jail-clone refuses what is taken, and changes nothing"
case_clone_refused() {
    new_jail tjweb 201
    zfs list -H -r -o name -t all $pool >before
    find "$root/etc" "$root$jails" -maxdepth 2 | sort >>before
    refused jail-clone tjweb 202
    refused jail-clone tjdb 201
    said tjweb
    refused jail-clone -i $network.201 tjdb 202
    refused jail-clone -r 1.0 tjdb 202
    refused jail-clone -m /nonexistent:/skeleton/docs tjdb 202
    run jail-clone -n tjdb 202
    said "zfs clone"
    zfs list -H -r -o name -t all $pool >after
    find "$root/etc" "$root$jails" -maxdepth 2 | sort >>after
    diff before after || fail "something was changed"
}

have hostile "" "links that root of a jail made lead no program out of the container"
case_hostile() {
    jail_conf "$no_rc"
    template
    new_jail tjweb 201
    container=$jails/containers/tjweb
    pem=$(ls "$root$jails/templates/$release-base/usr/share/certs/trusted" | head -n 1)
    outside=/$pool/outside
    mkdir "$root$outside"
    echo text >"$root$outside/file"
    ln -s "../../../usr/share/certs/trusted/$pem" "$root$outside/fedcba98.0"
    rm -rf "$root$container/etc/ssl/certs" "$root$container/root"
    ln -s "$root$outside" "$root$container/etc/ssl/certs"
    ln -s "$root$outside" "$root$container/root"
    skel-fixcerts "$container" >"$work/out" 2>&1 || true
    cat "$work/out"
    is "$(readlink "$root$outside/fedcba98.0")" "../../../usr/share/certs/trusted/$pem" "a link of the host"
    doctor
    said "tjweb.*\[hostile-link\]"
    good_run tjweb epair201
    run jail-destroy -y tjweb
    is "$(cat "$root$outside/file")" text "a file of the host"
    is "$(ls "$root$outside" | tr '\n' ' ')" "fedcba98.0 file " "files of the host"
    rm -r "$root$outside"
}

have directory "" "directory storage: from the archive to a jail that runs, and away again"
case_directory() {
    jails=/tjdir
    printf 'jail_zfs="NONE"\njail_dir="/tjdir"\nbsd_ver="%s"\njail_bridge="%s"\njail_net="%s.0/24"\njail_gateway="%s.1"\n' \
        "$release" $bridge $network $network >"$root/usr/local/etc/thinjail.conf"
    run skel-fetch -f /$pool/media/base.txz -M /$pool/media/MANIFEST "$release"
    run skel-split "$release"
    jail_conf "$no_rc"
    run jail-clone tjweb 201
    [ -d "$root/tjdir/containers/tjweb/etc" ] || fail "no container"
    ! zfs list -H -o name | grep -q tjweb || fail "there is a dataset"
    if [ -z "$simulated" ]; then
        stat -f %Sf /tjdir/containers/tjweb/var/empty | grep -q schg || fail "var/empty is not schg in the copy"
        (cd "/tjdir/templates/$release-skeleton" && mtree -c -k uname,gname,mode,link,nlink,flags,cksum) |
            sed '/^#/d' >template.mtree
        (cd /tjdir/containers/tjweb && mtree -c -k uname,gname,mode,link,nlink,flags,cksum) | sed '/^#/d' >copy.mtree
        diff template.mtree copy.mtree || fail "the copy differs from the skeleton"
    fi
    good_run tjweb epair201
    run jail-list
    said "^tjweb  *$release .*201"
    run jail-destroy -y tjweb
    is "$(ls -A "$root/tjdir/containers")" "" "containers"
    # With the files that are immutable, and the copy of the skeleton.
    run skel-destroy -y "$release"
    is "$(ls -A "$root/tjdir/templates")" "" "templates"
    leave "$root/tjdir"
}
