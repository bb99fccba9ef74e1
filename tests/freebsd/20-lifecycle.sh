# A jail's life when all goes well.

have start_stop "" "service jail start and stop; pair and mounts are there and gone"
case_start_stop() {
    jail_conf
    new_jail tjweb 201
    start tjweb
    is_up tjweb epair201
    mounts tjweb >mounted
    at=$(path tjweb)
    printf 'nullfs %s\nnullfs %s/skeleton\ndevfs %s/dev\n' "$at" "$at" "$at" >expected
    sed "s|$root/|/|" mounted | diff expected - || fail "other mounts"
    is "$(mtu epair201a)" 1500 "MTU of epair201a"
    ifconfig epair201a | grep -q "groups:.* thinjail" || fail "epair201a is not in the group"
    is "$(members $bridge2)" "" "members of the other bridge"
    stop tjweb
    nothing_of tjweb epair201
    is "$(members $bridge)" "" "members of the bridge"
}

have restart "" "again and again, and with service jail restart"
case_restart() {
    quick tjweb 201
    for round in 1 2 3; do
        good_run tjweb epair201
    done
    start tjweb
    first=$(jid tjweb)
    run service jail restart tjweb
    is_up tjweb epair201
    [ "$(jid tjweb)" != "$first" ] || fail "the same jail"
    # On 15.0 this hands vnet.interface to the jid that was, and fails.
    jail -f /etc/jail.conf -rc tjweb || note "jail -rc fails"
    stop tjweb
    good_run tjweb epair201
}

have each_hook "" "the pair goes with jail-epair-down alone, and with jail-sweep alone"
case_each_hook() {
    quick tjweb 201
    jail_conf "$no_rc" 's|^exec.prepare .*||' 's|^exec.release .*||'
    good_run tjweb epair201
    jail_conf "$no_rc" 's|^exec.poststop .*||'
    good_run tjweb epair201
    jail_conf "$no_rc" 's|^exec.poststop .*||' 's|^exec.release .*||'
    start tjweb
    stop tjweb
    has_if epair201a
    start tjweb
    is_up tjweb epair201
    stop tjweb
    jail_conf "$no_rc"
    good_run tjweb epair201
}

have ping "traffic" "packets from the host to a jail, back, and from jail to jail"
case_ping() {
    quick tjweb 201
    new_jail tjdb 202
    start tjweb tjdb
    reached $network.201 || fail "the host does not reach tjweb"
    reached $network.202 || fail "the host does not reach tjdb"
    jexec tjweb ping -o -c 5 -t 10 $network.1 || fail "tjweb does not reach the gateway"
    jexec tjweb ping -o -c 5 -t 10 $network.202 || fail "tjweb does not reach tjdb"
    jexec tjweb netstat -rn -f inet >routes
    grep -q "^default *$network\.1 .*epair201b" routes || fail "no default route"
    stop tjweb
    ! reached $network.201 || fail "somebody answers for a stopped jail"
    reached $network.202 || fail "tjdb is not reached any more"
    stop tjdb
}

reached() { # address [option ...]
    address=$1
    shift
    ping -o -c 5 -t 8 "$@" "$address" >/dev/null 2>&1
}

have inside "userland" "df in the jail; the base is read-only, the skeleton is the container; services run"
case_inside() {
    jail_conf
    new_jail tjweb 201
    start tjweb
    jexec tjweb df >df
    cat df
    is "$(awk 'NR > 1 { print $NF }' df | tr '\n' ' ')" "/ /skeleton /dev " "mounts that df shows"
    ! jexec tjweb touch /bin/x 2>err || fail "the base can be written"
    grep "Read-only file system" err || fail "refused for another reason"
    for directory in /etc /var/db /root /tmp /usr/local /home; do
        jexec tjweb touch $directory/written || fail "$directory cannot be written"
        [ -f "$jails/containers/tjweb$directory/written" ] || fail "$directory is not in the container"
    done
    [ ! -e "$jails/templates/$release-skeleton/etc/written" ] || fail "the template was written"
    is "$(jexec tjweb hostname)" tjweb hostname
    is "$(jexec tjweb freebsd-version -u | sed 's/-p[0-9]*$//')" "$release" "release in the jail"
    jexec tjweb ps -ax -o comm | grep -q -x syslogd || fail "syslogd does not run"
    grep -q "Starting syslogd" /var/log/jail_console_tjweb.log || fail "nothing in the console log"
    stop tjweb
    nothing_of tjweb epair201
}

have trust "userland" "the trust store of a jail is whole and verifies a certificate"
case_trust() {
    quick tjweb 201
    start tjweb
    is "$(jexec tjweb find -L /etc/ssl /etc/rmt -type l)" "" "dangling links"
    [ "$(jexec tjweb ls /etc/ssl/certs | grep -c '\.0$')" -gt 50 ] || fail "few certificates"
    jexec tjweb certctl list >list 2>err || fail "certctl list"
    [ "$(grep -c . list)" -gt 50 ] || fail "certctl lists few certificates"
    pem=/usr/share/certs/trusted/$(jexec tjweb ls /usr/share/certs/trusted | head -n 1)
    jexec tjweb openssl verify -no_check_time -no-CAfile -no-CAstore -CApath /etc/ssl/certs "$pem" >out 2>&1 ||
        fail "$pem is not verified: $(cat out)"
    jexec tjweb mkdir /tmp/empty
    ! jexec tjweb openssl verify -no_check_time -no-CAfile -no-CAstore -CApath /tmp/empty "$pem" >out 2>&1 ||
        fail "$pem is verified by nothing"
    # A rehash in the jail gives what the template has.
    jexec tjweb certctl rehash || fail "certctl rehash in the jail"
    run skel-fixcerts -c "$jails/containers/tjweb"
    jexec tjweb openssl verify -no_check_time -no-CAfile -no-CAstore -CApath /etc/ssl/certs "$pem" ||
        fail "$pem is not verified after a rehash"
    stop tjweb
}

have mounts "" "a tree of the host in the jail: -m"
case_mounts() {
    jail_conf "$no_rc"
    mkdir -p "$root/$pool/tree/below"
    echo text >"$root/$pool/tree/below/file"
    new_jail tjweb 201 -m "/$pool/tree:/skeleton/docs:ro"
    run jail-mkfstab -c tjweb
    start tjweb
    is "$(mounts tjweb | sed "s|$root/|/|" | grep -c " $(path tjweb)/skeleton/docs$")" 1 "mounts on docs"
    if [ -z "$simulated" ]; then
        is "$(jexec tjweb cat /skeleton/docs/below/file)" text "the file in the jail"
        ! jexec tjweb touch /skeleton/docs/x 2>/dev/null || fail "the tree can be written"
    fi
    stop tjweb
    nothing_of tjweb epair201
    is "$(cat "$root/$pool/tree/below/file")" text "the file"
}

have ipv6 "" "both families, with jail.conf.ipv6"
case_ipv6() {
    sed -e "s|\"igc0bridge\"|\"$bridge\"|" -e "s|192\.168\.7\.101|$network.1|" -e "s|fd00:7::101|$network6:1|" \
        -e "s|/zdata/jails|$jails|" -e "s|/usr/local/sbin|$programs|" -e "$no_rc" \
        "$source/share/examples/jail.conf.ipv6" >"$root/etc/jail.conf"
    printf 'jail_net6="%s/64"\njail_gateway6="%s1"\n' "$network6:" "$network6:" >>"$root/usr/local/etc/thinjail.conf"
    ifconfig $bridge inet6 ${network6}:1 prefixlen 64
    new_jail tjweb 201
    start tjweb
    is_up tjweb epair201
    jexec tjweb ifconfig epair201b | grep "inet6 ${network6}:201 " || fail "no address of the other family"
    if [ -z "$simulated" ]; then
        reached ${network6}:201 || fail "the host does not reach the jail"
        jexec tjweb ping -o -c 5 -t 10 ${network6}:1 || fail "the jail does not reach the host"
        reached $network.201 || fail "the host does not reach the jail by IPv4"
    fi
    stop tjweb
    nothing_of tjweb epair201
    ifconfig $bridge inet6 ${network6}:1 -alias
}

have two_bridges "" "a jail with pairs in two bridges, and a jail in the second alone"
case_two_bridges() {
    quick tjweb 201
    new_jail tjdb 202
    add_to tjweb "vnet.interface += \"tjw1b\";
exec.prestart += \"$programs/jail-epair-up -b $bridge2 tjweb tjw1\";
exec.start += \"/sbin/ifconfig tjw1b inet $network2.201/24 up\";
exec.poststop += \"$programs/jail-epair-down tjweb tjw1\";"
    add_to tjdb "\$bridge = \"$bridge2\"; \$ip = \"$network2.202/24\"; \$gateway = \"$network2.1\";"
    start tjweb tjdb
    is "$(members $bridge | tr '\n' ' ')" "epair201a " "members of $bridge"
    is "$(members $bridge2 | tr '\n' ' ')" "epair202a tjw1a " "members of $bridge2"
    is "$(described tjw1a)" jail:tjweb "description of tjw1a"
    if [ -z "$simulated" ]; then
        reached $network.201 || fail "$network.201 is not reached"
        reached $network2.201 || fail "$network2.201 is not reached"
        jexec tjweb ping -o -c 5 -t 10 $network2.202 || fail "tjweb does not reach tjdb"
    fi
    stop tjweb tjdb
    nothing_of tjweb epair201
    no_pair tjw1
    nothing_of tjdb epair202
}

have renamed "" "a pair called after the jail; two of them"
case_renamed() {
    quick tjweb 201
    new_jail tjdb 202
    add_to tjweb '$epair = "tjw0";'
    add_to tjdb '$epair = "tjdata.base-0";'
    for round in 1 2; do
        start tjweb tjdb
        is_up tjweb tjw0
        is_up tjdb tjdata.base-0
        stop tjweb tjdb
        nothing_of tjweb tjw0
        nothing_of tjdb tjdata.base-0
    done
    is "$(ifconfig -g epair)" "" "pairs"
}

have mtu "" "a bridge of MTU 9000: both halves have it, frames of 8000 bytes pass"
case_mtu() {
    quick tjweb 201
    ifconfig $bridge mtu 9000
    start tjweb
    # An empty bridge takes the MTU of its first member, so this tells who took whose.
    is "$(mtu $bridge)" 9000 "MTU of $bridge"
    is "$(mtu epair201a)" 9000 "MTU of epair201a"
    jexec tjweb ifconfig epair201b >half
    is "$(sed -n '1s/.* mtu \([0-9]*\).*/\1/p' half)" 9000 "MTU of epair201b"
    if [ -z "$simulated" ]; then
        reached $network.201 -D -s 8000 || fail "8000 bytes do not pass"
        ! reached $network.201 -D -s 9000 || fail "9000 bytes pass"
    fi
    stop tjweb
    nothing_of tjweb epair201
    ifconfig $bridge mtu 1500
}

have mac "" "Ethernet addresses: stable, unique, locally administered"
case_mac() {
    quick tjweb 201
    new_jail tjdb 202
    : >seen
    for round in 1 2 3; do
        start tjweb tjdb
        {
            ifconfig epair201a | ether
            jexec tjweb ifconfig epair201b | ether
            ifconfig epair202a | ether
            jexec tjdb ifconfig epair202b | ether
        } >seen.$round
        stop tjweb tjdb
        # As after a reboot, when others may come first.
        ifconfig epair create >>others
    done
    while read -r other; do
        ifconfig "$other" destroy
    done <others
    is "$(grep -c . seen.1)" 4 "addresses seen"
    is "$(sort -u seen.1 | grep -c .)" 4 "different addresses"
    is "$(grep -c '^.[26ae]:' seen.1)" 4 "locally administered addresses"
    cmp seen.1 seen.2 && cmp seen.1 seen.3 || fail "other addresses after a restart"
}

have destroy "" "jail-destroy takes all of a jail, and nothing else; a running one only by force"
case_destroy() {
    quick tjweb 201
    new_jail tjdb 202
    start tjweb
    refused jail-destroy -y tjweb
    said "run"
    is_up tjweb epair201
    stop tjweb
    run jail-destroy -y tjweb
    for gone in "$(path tjweb)" "$(path tjweb).fstab" "$jails/containers/tjweb" /etc/jail.conf.d/tjweb.conf; do
        [ ! -e "$root$gone" ] || fail "$gone is there"
    done
    ! zfs list -H -o name $pool/jails/containers/tjweb 2>/dev/null || fail "the dataset is there"
    for kept in "$(path tjdb)" "$(path tjdb).fstab" "$jails/containers/tjdb/etc" /etc/jail.conf.d/tjdb.conf; do
        [ -e "$root$kept" ] || fail "$kept is gone"
    done
    good_run tjdb epair202
    start tjdb
    run jail-destroy -fy tjdb
    nothing_of tjdb epair202
    ! zfs list -H -o name $pool/jails/containers/tjdb 2>/dev/null || fail "the dataset is there"
    # The names are free again.
    new_jail tjdb 201
    good_run tjdb epair201
}

have destroy_foreign "" "jail-destroy refuses a dataset that is another jail's, or no clone"
case_destroy_foreign() {
    quick tjweb 201
    zfs set thinjail:jail=tjother $pool/jails/containers/tjweb
    refused jail-destroy -y tjweb
    said tjother
    zfs set thinjail:jail=tjweb $pool/jails/containers/tjweb
    good_run tjweb epair201
    zfs create -o thinjail:jail=tjdb $pool/jails/containers/tjdb
    refused jail-destroy -y tjdb
    is "$(zfs list -H -o name $pool/jails/containers/tjdb)" $pool/jails/containers/tjdb "the dataset"
    run jail-destroy -y tjweb
}

have destroy_busy "processes" "jail-destroy gives everything back when somebody works in the container"
case_destroy_busy() {
    quick tjweb 201
    run zfs snapshot $pool/jails/containers/tjweb@daily
    (cd $jails/containers/tjweb/etc && exec sleep 60) &
    sitter=$!
    sleep 1
    refused jail-destroy -y tjweb
    said "tjweb"
    is "$(zfs list -H -o name $pool/jails/containers/tjweb@daily)" $pool/jails/containers/tjweb@daily "the snapshot"
    good_run tjweb epair201
    kill $sitter
    wait $sitter 2>/dev/null || true
    run jail-destroy -y tjweb
    ! zfs list -H -o name $pool/jails/containers/tjweb 2>/dev/null || fail "the dataset is there"
}

have list "" "jail-list: running and stopped jails, and half a jail"
case_list() {
    quick tjweb 201
    new_jail tjdb 202
    start tjweb
    run jail-list
    said "^tjweb  *$release@base  *201  *$network\.201[^ ]*  *$(jid tjweb)  *[0-9.]*[BKMG]* *current"
    said "^tjdb  *$release@base  *202  *$network\.202[^ ]*  *-  "
    run jail-list -j
    said "\"name\":\"tjweb\""
    said "\"jid\":$(jid tjweb)[,}]"
    rm "$root$(path tjdb).fstab"
    run jail-list
    said "^tjdb .*incomplete: no fstab"
    stop tjweb
    run jail-list
    said "^tjweb .* - .* current"
}

# What doctor says of the jails of the cases, and nothing about a host that is
# none of ours.
doctor() {
    run_status=0
    jail-doctor "$@" >"$work/doctor" 2>"$work/err" || run_status=$?
    cat "$work/doctor" "$work/err"
    is "$(cat "$work/err")" "" "standard error of jail-doctor"
    grep '\]$' "$work/doctor" |
        grep -v -e '\[jail-not-enabled\]' -e '\[ifconfig-default\]' -e '\[member-addressed\]' |
        awk -v ours="tj|epair1|epair2" '!/\[bridge-/ || $0 ~ ours' >"$work/out" || true
}

have doctor "" "jail-doctor finds nothing on a healthy host, and each leak; -x mends"
case_doctor() {
    jail_conf
    new_jail tjweb 201
    new_jail tjdb 202
    start tjweb
    doctor
    silent
    # Behind jail(8)'s back, so that all is left.
    run jail -R tjweb
    doctor
    is $run_status 1 "status of jail-doctor"
    said "\[mount-leaked\]"
    said "epair201a.*tjweb.*\[pair-leaked\]"
    rm "$root$(path tjdb).fstab"
    doctor tjdb
    said "\[fstab-missing\]"
    run jail-mkfstab tjdb
    doctor -x
    doctor
    silent
    nothing_of tjweb epair201
}

have doctor_macs "traffic" "jail-doctor finds one Ethernet address at two places: on the host, and behind a bridge"
case_doctor_macs() {
    quick tjweb 201
    new_jail tjdb 202
    jail_conf "$no_rc" "$unpinned"
    start tjweb tjdb
    doctor
    silent
    mac=$(ifconfig epair201a | ether)
    run ifconfig epair203 create
    run ifconfig epair203a ether "$mac"
    doctor
    is $run_status 1 "status of jail-doctor"
    said "$mac is also the address of epair.*\[mac-duplicate\]"
    ifconfig epair203a destroy
    # The bridge learns it from the first frame.
    mac=$(jexec tjweb ifconfig epair201b | ether)
    jexec tjdb ifconfig epair202b ether "$mac"
    jexec tjdb ping -c 1 -t 5 $network.1 || true
    ifconfig $bridge addr
    doctor
    said "$mac is also the address of something behind epair202a of $bridge.*\[mac-duplicate\]"
    # It is no longer reported when it is over.
    stop tjdb
    ifconfig $bridge flush
    doctor
    silent
    stop tjweb
}

have doctor_dying "" "jail-doctor tells of a jail that is dying, and clears what it has"
case_doctor_dying() {
    quick tjweb 201
    start tjweb
    first=$(jid tjweb)
    hold tjweb
    run jail -R tjweb
    is_dying "$first" || fail "the jail is not dying, so this shows nothing"
    doctor
    is $run_status 1 "status of jail-doctor"
    said "tjweb.*is dying.*\[mount-leaked\]"
    doctor -x
    doctor
    silent
    nothing_of tjweb epair201
    is_dying "$first" || fail "the jail is not dying any more, so this shows nothing"
    release_hold tjweb
    good_run tjweb epair201
}

have periodic "" "the weekly look: off unless enabled, and its status tells"
case_periodic() {
    quick tjweb 201
    prefix=$(pwd)/prefix
    mkdir -p "$prefix/etc/periodic/weekly" "$prefix/sbin"
    cp "$source/etc/periodic/weekly/500.thinjail-doctor" "$prefix/etc/periodic/weekly"
    ln -s "$root$programs/jail-doctor" "$prefix/sbin/jail-doctor"
    weekly="$prefix/etc/periodic/weekly/500.thinjail-doctor"
    run sh "$weekly"
    silent
    rm "$root$(path tjweb).fstab"
    run_status=0
    env weekly_thinjail_doctor_enable=YES sh "$weekly" >"$work/out" 2>&1 || run_status=$?
    cat "$work/out"
    is $run_status 3 "status with something wrong"
    said "^Thin jails:"
    said "\[fstab-missing\]"
    run jail-mkfstab tjweb
    env weekly_thinjail_doctor_enable=YES weekly_thinjail_doctor_flags=-j sh "$weekly" >"$work/out" 2>&1 || true
    not_said "fstab-missing"
    said '^{.*}$'
}
