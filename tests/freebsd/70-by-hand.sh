# A host that was set up by hand, with the ifconfig(8) lines of an article, comes
# over to our hooks line by line, with its jails running.

# Writes the jail.conf of that host. Words say which hooks are ours already.
by_hand() {
    cat >"$root/etc/jail.conf" <<EOF
devfs_ruleset = 5;
exec.start = "/bin/sh /etc/rc";
exec.stop = "/bin/sh /etc/rc.shutdown";
exec.consolelog = "/var/log/jail_console_\${name}.log";
allow.raw_sockets;
exec.clean;
mount.devfs;
allow.mount;
allow.mount.devfs;
enforce_statfs = 1;
host.hostname = "\${name}";
path = "$jails/\${name}-nullfs-base";
\$gateway = "$network.1";
\$bridge = "$bridge";
interface = "\${bridge}";
\$epair = "epair\${id}";
\$ip = "$network.\${id}/24";
vnet;
vnet.interface = "\${epair}b";
exec.start += "ifconfig \${epair}b \${ip} up";
exec.start += "route add default \${gateway}";
mount.fstab = "$jails/\${name}-nullfs-base.fstab";
EOF
    for hook in prepare prestart poststop release; do
        case " $* " in
        *" $hook "*)
            [ $hook != prestart ] || sed -n '/^\$isolation /p' example
            sed -n "/^exec.$hook /p" example
            ;;
        *)
            case $hook in
            prestart)
                cat <<'EOF'
exec.prestart += "ifconfig ${epair} create up";
exec.prestart += "ifconfig ${epair}a up descr jail:${name}";
exec.prestart += "ifconfig ${bridge} addm ${epair}a up";
EOF
                ;;
            poststop)
                cat <<'EOF'
exec.poststop = "ifconfig ${bridge} deletem ${epair}a";
exec.poststop += "ifconfig ${epair}a destroy";
EOF
                ;;
            esac
            ;;
        esac
    done >>"$root/etc/jail.conf"
    echo '.include "/etc/jail.conf.d/*.conf";' >>"$root/etc/jail.conf"
    edit /etc/jail.conf "$no_rc"
}

# The jail of the article has no more than its id in its file.
article_jail() {
    jail_conf
    cp "$root/etc/jail.conf" example
    new_jail tjweb 201
    echo 'tjweb { $id = 201; }' >"$root/etc/jail.conf.d/tjweb.conf"
}

have by_hand "" "the article's own hooks, replaced one after the other under a running jail"
case_by_hand() {
    article_jail
    by_hand
    good_run tjweb epair201
    # Started with the old line, stopped with the new one, and the other way round.
    for ours in "poststop" "prestart poststop" "prepare prestart poststop" "prepare prestart poststop release" \
        "prestart" "prepare release"; do
        echo "ours: $ours"
        by_hand
        start tjweb
        is_up tjweb epair201
        by_hand $ours
        # A pair made by hand is proved to be the jail's by its group.
        run ifconfig epair201a group thinjail
        stop tjweb
        nothing_of tjweb epair201
        start tjweb
        is_up tjweb epair201
        by_hand
        stop tjweb
        nothing_of tjweb epair201
    done
}

have by_hand_stuck "" "the article's hooks after a failed start: stuck for good, until ours take over"
case_by_hand_stuck() {
    article_jail
    by_hand
    edit /etc/jail.conf 's|"/usr/bin/true"|"/usr/bin/false"|'
    start_fails tjweb
    by_hand
    start_fails tjweb
    said "epair201 already exists"
    has_if epair201a
    by_hand prepare prestart poststop release
    # The pair was made by hand: what the message says makes it the jail's.
    start_fails tjweb
    said "ifconfig epair201a group thinjail"
    run ifconfig epair201a group thinjail
    good_run tjweb epair201
}

have by_hand_example "" "from the article's jail.conf to the example's, the jail running all the time"
case_by_hand_example() {
    article_jail
    by_hand
    start tjweb
    first=$(jid tjweb)
    jail_conf "$no_rc"
    printf 'tjweb {\n$id = "201";\n$ip = "%s.${id}/24";\n}\n' $network >"$root/etc/jail.conf.d/tjweb.conf"
    is "$(jid tjweb)" "$first" "jid"
    run jail-list
    said "^tjweb .* $first .*current"
    run ifconfig epair201a group thinjail
    run service jail restart tjweb
    is_up tjweb epair201
    # And back, should somebody remove the suite.
    by_hand
    stop tjweb
    nothing_of tjweb epair201
    good_run tjweb epair201
}
