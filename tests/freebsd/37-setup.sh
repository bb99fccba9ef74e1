# jail-setup, and addresses that jails get from the network.

have setup "" "jail-setup looks at the host, and finds what is set up"
case_setup() {
    jail_conf
    template
    run jail-setup -n -N bridge -u $bridge
    said "todo: rc.conf: $bridge is not in cloned_interfaces of rc.conf"
    # Storage, settings and jail.conf are those of this run.
    not_said "zfs create"
    not_said "thinjail.conf"
    not_said "/etc/jail.conf"
    # What is set already is kept.
    refused jail-setup -n -N bridge -u $bridge -a 10.254.0.0/24
    said "jail_net is already set to $network.0/24"
}

have slaac "traffic userland" "a jail gets an IPv6 address from a router on the bridge"
case_slaac() {
    jail_conf
    new_jail tjweb 201 --slaac
    router=$(sysctl -n net.inet6.ip6.forwarding)
    sysctl net.inet6.ip6.forwarding=1 >/dev/null
    ifconfig $bridge inet6 ${network6}:1 prefixlen 64
    ifconfig $bridge inet6 auto_linklocal -ifdisabled
    ifconfig $bridge inet6 fe80::1%$bridge prefixlen 64
    printf '%s:\\\n\t:addr="%s:":prefixlen#64:\n' $bridge "$network6" >"$work/rtadvd.conf"
    run rtadvd -c "$work/rtadvd.conf" -p "$work/rtadvd.pid" $bridge
    start tjweb
    # It asks when it starts, and checks that no other host has the address.
    wait_until got_address
    jail-list >"$work/out"
    said " $network.201,$network6"
    jexec tjweb ping -o -c 5 -t 10 ${network6}:1 || fail "the jail does not reach the router"
    stop tjweb
    kill "$(cat "$work/rtadvd.pid")"
    ifconfig $bridge inet6 fe80::1%$bridge -alias
    ifconfig $bridge inet6 ${network6}:1 -alias
    ifconfig $bridge inet6 -auto_linklocal ifdisabled
    sysctl net.inet6.ip6.forwarding="$router" >/dev/null
}

got_address() {
    jexec tjweb ifconfig epair201b | grep "inet6 $network6.* autoconf"
}
