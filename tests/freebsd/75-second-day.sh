# Copies of jails, and jails that travel.

# What a container has, without access times. ZFS sets uarch by itself, so flags are looked at one by one.
tree_of() { # directory
    if [ -n "$simulated" ]; then
        (cd "$1" && find . -path ./.zfs -prune -o -print | sort)
        return
    fi
    mtree -c -p "$1" -k type,mode,uid,gid,nlink,size,link,time,sha256digest -x | grep -v '^#'
}

have copy "" "a copy of a jail, running with ZFS; another host to others, and independent"
case_copy() {
    jail_conf
    new_jail tjweb 201
    mkdir -p "$root$jails/containers/tjweb/etc/ssh"
    echo secret >"$root$jails/containers/tjweb/etc/ssh/ssh_host_tj_key"
    start tjweb
    if [ -z "$simulated" ]; then
        # A file that is being written, and an open connection.
        jexec tjweb sh -c 'while :; do date >>/var/db/growing; done' &
        writer=$!
        jexec tjweb nc -l 127.0.0.1 4711 >/dev/null &
    fi
    run jail-clone --from tjweb tjcopy 202
    [ -n "$simulated" ] || kill $writer
    said "tjcopy: id 202"
    [ ! -e "$root$jails/containers/tjcopy/etc/ssh/ssh_host_tj_key" ] || fail "the key was copied"
    is "$(zfs get -H -o value origin "$pool/jails/containers/tjcopy")" \
        "$(zfs get -H -o value origin "$pool/jails/containers/tjweb")" "the origin of the copy"
    is "$(zfs list -H -o name -t snapshot -r "$pool/jails/containers")" "" "snapshots"
    stop tjweb
    run jail-destroy -y tjweb
    start tjcopy
    is_up tjcopy epair202
    stop tjcopy
    run jail-destroy -y tjcopy
    nothing_of tjweb epair201
    nothing_of tjcopy epair202
}

have export "" "a jail as one stream: the difference and everything, and back again"
case_export() {
    jail_conf
    new_jail tjweb 201
    web=$root$jails/containers/tjweb
    mkdir -p "$web/usr/local/tjdata"
    echo mine >"$web/usr/local/tjdata/file"
    ln "$web/usr/local/tjdata/file" "$web/usr/local/tjdata/other-name"
    chmod 4711 "$web/usr/local/tjdata/file"
    touch "$web/usr/local/tjdata/locked"
    truncate -s 5m "$web/usr/local/tjdata/sparse"
    echo end >>"$web/usr/local/tjdata/sparse"
    rm "$web/etc/networks"
    if [ -z "$simulated" ]; then
        chflags schg "$web/usr/local/tjdata/locked"
        setfacl -m u:65534:rwx::allow "$web/usr/local/tjdata/file"
        setextattr user tj value "$web/usr/local/tjdata/file"
    fi
    [ -z "$simulated" ] || zfs set snapdir=visible "$pool/jails"
    tree_of "$web" >before
    jail-export tjweb >difference.tar || fail "jail-export"
    run jail-export --full -o full.tar tjweb
    tar -tf difference.tar >list || fail "tar cannot list it"
    grep -q '^removed/etc/networks$' list || fail "the removed file is not listed"
    [ "$(wc -c <difference.tar)" -lt "$(wc -c <full.tar)" ] || fail "the difference is larger"
    is "$(zfs list -H -o name -t snapshot -r "$pool/jails/containers")" "" "snapshots"
    run jail-destroy -y tjweb
    for archive in difference full; do
        run jail-import "$archive.tar"
        said "tjweb: id 201"
        tree_of "$web" >after
        diff before after || fail "$archive: not as it was exported"
        if [ -z "$simulated" ]; then
            ls -lo "$web/usr/local/tjdata/locked" | grep -q schg || fail "$archive: the flag"
            getfacl "$web/usr/local/tjdata/file" | grep -q 65534 || fail "$archive: no access control list"
            is "$(getextattr -q user tj "$web/usr/local/tjdata/file")" value "$archive: the attribute"
        fi
        start tjweb
        is_up tjweb epair201
        stop tjweb
        run jail-destroy -y tjweb
    done
    [ -z "$simulated" ] || zfs inherit snapdir "$pool/jails"
    rm difference.tar full.tar
    nothing_of tjweb epair201
}
