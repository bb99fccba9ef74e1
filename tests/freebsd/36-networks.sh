# Hosts and jails with other networks than that of the bridge: what thinjail(7) describes.

# A neighbor of the host outside: the other end of epair203, in a vnet of its own.
outside() {
    ifconfig epair203 create >/dev/null
    ifconfig epair203a inet 10.83.79.2/24 up
    jail -c name=tjout vnet persist path=/
    ifconfig epair203b vnet tjout
    jexec tjout ifconfig epair203b inet 10.83.79.1/24 up
}

no_outside() {
    jail -r tjout
    # Its other end goes with it, wherever that is by now.
    ifconfig epair203a destroy
}

have nat "traffic" "a host with one address: jails reach the outside through it, and a port leads to a jail"
case_nat() {
    kldload -n pf 2>/dev/null || { note "there is no pf(4)"; return; }
    if pfctl -s info 2>/dev/null | grep -q '^Status: Enabled'; then
        note "pf(4) is in use on this host"
        return
    fi
    quick tjweb 201
    start tjweb
    outside
    forwarding=$(sysctl -n net.inet.ip.forwarding)
    sysctl net.inet.ip.forwarding=1 >/dev/null
    # The outside knows no way to the jails.
    ! jexec tjweb ping -o -c 2 -t 4 10.83.79.1 || fail "the outside is reached without NAT"
    sed -e 's|"igc0"|"epair203a"|' -e "s|10\.7\.0\.0/24|$network.0/24|" -e "s|10\.7\.0\.10 port 80|$network.201 port 5000|" \
        -e 's|^#rdr|rdr|' "$source/share/examples/pf.conf" >"$work/pf.conf"
    run pfctl -nf "$work/pf.conf"
    run pfctl -q -f "$work/pf.conf"
    run pfctl -q -e
    jexec tjweb ping -o -c 5 -t 10 10.83.79.1 || fail "the outside is not reached through NAT"
    jexec tjweb daemon -f nc -l 5000
    # The port leads to the jail, as soon as something listens there.
    wait_until jexec tjout nc -z -w 2 10.83.79.2 8080
    pfctl -q -d
    pfctl -q -F all 2>/dev/null
    sysctl net.inet.ip.forwarding="$forwarding" >/dev/null
    stop tjweb
    no_outside
}
