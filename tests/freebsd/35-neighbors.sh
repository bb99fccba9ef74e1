# What a jail's root can do to the neighbors on the bridge. What keeps it from that is
# in if_bridge(4); jail-epair-up sets it.

# The Ethernet address of a jail's half.
ether_of() { # jail half
    jexec "$1" ifconfig "$2" | ether
}

# A jail sends from another address: it asks for the gateway's, which no answer has to come back for.
send_as() { # jail half address
    run jexec "$1" ifconfig "$2" ether "$3"
    jexec "$1" arp -d -a >/dev/null 2>&1 || true
    jexec "$1" ping -c 3 -t 4 $network.1 >/dev/null 2>&1
}

# The member that frames to an address go to.
leads_to() { # address
    ifconfig $bridge addr | awk -v address="$1" '$1 == address { print $3 }'
}

have pin "traffic" "--pin: a jail cannot take its neighbor's traffic, nor use an address of its own making"
case_pin() {
    quick tjweb 201
    new_jail tjdb 202
    start tjweb tjdb
    own=$(ether_of tjweb epair201b)
    neighbor=$(ether_of tjdb epair202b)
    is "$(leads_to "$own")" epair201a "the member of tjweb's address"
    jexec tjweb ping -o -c 5 -t 10 $network.1 || fail "a pinned jail does not reach the gateway"
    jexec tjweb ping -o -c 5 -t 10 $network.202 || fail "a pinned jail does not reach its neighbor"
    send_as tjweb epair201b "$neighbor" || true
    is "$(leads_to "$neighbor")" epair202a "the member of tjdb's address"
    reached $network.202 || fail "the neighbor is no longer reached"
    ! send_as tjweb epair201b 02:00:00:00:00:99 || fail "an invented address reaches the gateway"
    send_as tjweb epair201b "$own" || fail "its own address does not reach the gateway any longer"
    stop tjweb tjdb
    is "$(leads_to "$own")" "" "the address of a stopped jail"
    # Without it, all of this is possible.
    jail_conf "$no_rc" "$unpinned"
    start tjweb tjdb
    reached $network.202 || fail "the host does not reach tjdb"
    send_as tjweb epair201b "$neighbor" || true
    is "$(leads_to "$neighbor")" epair201a "the member of tjdb's address, not pinned"
    stop tjweb tjdb
}

have private "traffic" "--private: jails reach the gateway and not each other"
case_private() {
    quick tjweb 201
    new_jail tjdb 202
    jail_conf "$no_rc" 's|"--pin"|"--private"|'
    start tjweb tjdb
    for jail in tjweb tjdb; do
        jexec $jail ping -o -c 5 -t 10 $network.1 || fail "$jail does not reach the gateway"
    done
    ! jexec tjweb ping -o -c 3 -t 5 $network.202 || fail "a private jail reaches another"
    stop tjweb tjdb
}

have vlan "traffic" "--vlan: jails reach those of their VLAN and no others"
case_vlan() {
    jail_conf "$no_rc"
    if ! ifconfig $bridge2 vlanfilter 2>/dev/null; then
        note "bridges of this kernel do not filter VLANs"
        new_jail tjweb 201
        refused jail-epair-up --vlan 20 -b $bridge2 tjweb epair201
        said "FreeBSD 15"
        return
    fi
    jail_conf "$no_rc" 's|"--pin"|"--pin --vlan ${vlan}"|' \
        "s|\"$bridge\"|\"$bridge2\"|"
    for id in 201 202 203; do
        vlan=20
        [ $id != 203 ] || vlan=21
        new_jail tjv$id $id
        add_to tjv$id "\$vlan = \"$vlan\";"
    done
    start tjv201 tjv202 tjv203
    jexec tjv201 ping -o -c 5 -t 10 $network.202 || fail "jails of one VLAN do not reach each other"
    ! jexec tjv201 ping -o -c 3 -t 5 $network.203 || fail "a jail of another VLAN is reached"
    stop tjv201 tjv202 tjv203
    ifconfig $bridge2 -vlanfilter
    refused jail-epair-up --vlan 20 -b $bridge2 tjv201 epair201
    said "does not filter VLANs"
}
