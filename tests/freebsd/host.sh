# The host that the cases run on: what must not be there before, what is made
# for them, and how it goes away again. Taken in by run.

# All that the cases touch has one of these names.
pool=tjpool
jails=/$pool/jails
bridge=tjbr0
bridge2=tjbr1
network=10.83.77
network2=10.83.78
network6=fd83:77:77:
# Units of pairs: 101 to 120, 201 and on.
many=$(i=101; while [ $i -le 120 ]; do printf '%s ' $i; i=$((i + 1)); done)
few="201 202 203"

# With an alternate root the host is a simulated one: stand-ins for the base
# system's programs come first in PATH, and what they lack is not offered.
root=${THINJAIL_ROOT:-}
simulated=${THINJAIL_ROOT:+yes}
if [ -n "$simulated" ]; then
    offers=
else
    # traffic     packets get from host to jail and back
    # userland    programs really run in a jail
    # processes   processes are killed, or sit in a directory
    # files       flags of files; nullfs shows what is below
    offers="traffic userland processes files"
    PATH=/sbin:/bin:/usr/sbin:/usr/bin
    [ -z "$jib" ] || offers="$offers jib"
fi
export PATH

# Hooks are named by absolute path, so a directory that is no PREFIX will do.
if [ -z "$programs" ]; then
    for programs in "${CARGO_TARGET_DIR:-$source/target}/release" "${PREFIX:-/usr/local}/sbin"; do
        [ -x "$programs/jail-epair-up" ] && break
    done
fi
[ -n "$simulated" ] || programs=$(cd "$programs" 2>/dev/null && pwd)
PATH=$root$programs:$PATH

refuse() {
    echo "Bail out! $*"
    exit 2
}

# Whatever has a name of ours before we begin is somebody else's.
refuse_unless_fit() {
    if [ -z "$simulated" ]; then
        [ "$(uname -s)" = FreeBSD ] || refuse "this is no FreeBSD host"
        [ "$(id -u)" = 0 ] || refuse "only root can make jails"
        [ "$(sysctl -n security.jail.jailed)" = 0 ] || refuse "this is a jail"
        [ "$(sysctl -n kern.features.vimage 2>/dev/null)" = 1 ] || refuse "the kernel has no VIMAGE"
        ifconfig -a | grep -q -e "inet $network\." -e "inet $network2\." && refuse "$network.0/24 is in use"
        netstat -rn -f inet | grep -q -e "^$network\." -e "^$network2\." && refuse "$network.0/24 is in use"
        zpool list -H -o name 2>/dev/null | grep -q -x $pool && refuse "there is a pool $pool"
    fi
    for program in jail-clone jail-destroy jail-doctor jail-epair-down jail-epair-up jail-list jail-mkfstab \
        jail-rebase jail-sweep skel-destroy skel-fetch skel-fixcerts skel-split; do
        [ -x "$root$programs/$program" ] || refuse "$programs/$program is not there; build first, or use -b"
    done
    for file in /etc/jail.conf /usr/local/etc/thinjail.conf /etc/rc.conf.d/jail /$pool /tjdir; do
        [ ! -e "$root$file" ] && [ ! -L "$root$file" ] || refuse "$file exists, and this would change it"
    done
    for file in "$root"/etc/jail.conf.d/*.conf "$root"/etc/jail.tj*.conf; do
        [ ! -e "$file" ] || refuse "$file exists; jails of this host would get mixed up with those of the cases"
    done
    for interface in $(ifconfig -l); do
        case $interface in
        tj* | epair1[0-9][0-9][ab] | epair2[0-9][0-9][ab]) refuse "there is an interface $interface" ;;
        esac
    done
    ! jls name | grep -q '^tj' || refuse "a jail runs whose name begins with tj"
}

# One line for each thing that is in use, apart from the datasets of our pool. A
# dying jail is the kernel's business.
in_use() {
    for interface in $(ifconfig -l); do
        echo "interface $interface"
        ifconfig "$interface" | sed -n "s/^.member: \([^ ]*\) .*/member \1 of $interface/p"
    done | sort
    mount -p | awk -v pool="$pool" 'index($1, pool) != 1 { print "mount", $2, $3 }' | sort
    jls name | sed 's/^/jail /' | sort
}

# The same for the whole host, and the files where any are made.
all_there_is() {
    in_use
    mount -p | awk '{ print "mounted", $1, $2 }' | sort
    [ -n "$simulated" ] || zpool list -H -o name | sed 's/^/pool /'
    zfs list -H -o name -t filesystem,snapshot | sed 's/^/dataset /' | sort
    for directory in /etc /usr/local/etc; do
        find "$root$directory" -type f -exec cksum {} + 2>/dev/null
    done | sort -k 3
    find "$root/etc" "$root/usr/local/etc" "$root/var/run" "$root/var/log" "$root/var/db" "$root/tmp" \
        ! -path "$root/var/db/standin*" \
        ! -name 'thinjail-simulated*' ! -path "$work*" -print 2>/dev/null | sort
    ls "$root/" "$root/var/tmp" 2>/dev/null | grep -v -x "${work##*/}"
}

set_up() {
    [ -n "$simulated" ] || release=$(freebsd-version -u | sed 's/-p[0-9]*$//')
    release=${RELEASE:-$release}
    if [ -z "$base_txz" ]; then
        base_txz=$work/base.txz
        make_base || return
    fi
    sum=$(checksum "$base_txz")
    [ -n "$sum" ] || return
    entries=1
    printf 'base.txz\t%s\t%s\tbase\t"Base system (MANDATORY)"\ton\n' "$sum" $entries >"$work/MANIFEST"
    # The programs take absolute paths as those of the alternate root.
    mkdir "$root/$pool"
    if [ -n "$simulated" ]; then
        zfs standin-init $pool
    else
        truncate -s 4g "$work/disk" &&
            zpool create -o cachefile=none -O atime=off -m /$pool $pool "$work/disk" || return
    fi
    mkdir "$root/$pool/media" || return
    cp "$base_txz" "$root/$pool/media/base.txz" && cp "$work/MANIFEST" "$root/$pool/media/MANIFEST" || return
    bridges || return
    mkdir -p "$root/etc/jail.conf.d" "$root/etc/rc.conf.d" "$root/usr/local/etc"
    settings && jail_conf
}

bridges() {
    # A name that a bridge has been given is not in the way of another one's.
    there $bridge || ifconfig bridge create name $bridge || return
    there $bridge2 || ifconfig bridge create name $bridge2 || return
    ifconfig $bridge mtu 1500 && ifconfig $bridge2 mtu 1500 || return
    ifconfig $bridge inet $network.1/24 up && ifconfig $bridge2 inet $network2.1/24 up
}

settings() {
    cat >"$root/usr/local/etc/thinjail.conf" <<EOF
jail_zfs="$pool/jails"
bsd_ver="$release"
jail_bridge="$bridge"
jail_net="$network.0/24"
jail_gateway="$network.1"
EOF
    # Read after rc.conf(5), which stays as it is.
    printf 'jail_enable="YES"\njail_list=""\njail_parallel_start="NO"\n' >"$root/etc/rc.conf.d/jail"
}

# Back to where a case begins, by the base system's own means.
tidy() {
    for jail in $(jls name | grep '^tj'); do
        jail -R "$jail"
    done
    for round in 1 2 3 4 5 6; do
        left=$(mount -p | awk '/\/tj[a-z0-9]*-nullfs-base/ { print $2 }')
        [ -n "$left" ] || break
        # The latest first.
        for place in $(echo "$left" | sed -n '1!G;h;$p'); do
            umount -f "${place#"$root"}"
        done
    done
    for interface in $(ifconfig -l); do
        case $interface in
        $bridge | $bridge2) ;;
        tj*a | epair1[0-9][0-9]a | epair2[0-9][0-9]a) ifconfig "$interface" destroy ;;
        esac
    done
    for interface in $(ifconfig -l); do
        case $interface in
        tj*b | epair1[0-9][0-9]b | epair2[0-9][0-9]b) ifconfig "$interface" destroy ;;
        esac
    done
    rm -f "$root"/etc/jail.conf.d/tj*.conf
    for dataset in $(zfs list -H -r -o name $pool/jails/containers 2>/dev/null | sed 1d); do
        zfs destroy -r "$dataset"
    done
    leave "$root/tjdir"
    rm -f "$root$jails"/tj*-nullfs-base.fstab
    rm -rf "$root$jails"/tj*-nullfs-base
    rm -f "$root"/var/run/jail_tj*.id "$root"/var/run/thinjail-tj*
    bridges
    settings
    jail_conf
}

tear_down() {
    tidy
    for interface in $bridge $bridge2; do
        there $interface && ifconfig $interface destroy
    done
    if [ -n "$simulated" ]; then
        zfs destroy -r $pool/jails
        zfs standin-fini $pool
    else
        zpool list -H -o name | grep -q -x $pool && zpool destroy -f $pool
        rmdir /$pool
    fi
    rm -f "$root/etc/jail.conf" "$root/usr/local/etc/thinjail.conf" "$root/etc/rc.conf.d/jail"
    rm -f "$root"/var/log/jail_console_tj*.log
    # Kept on purpose by the programs that lock with them.
    for file in "$root"/var/run/thinjail-*.lock "$root"/var/run/thinjail-tj*; do
        grep -q -x -F "$file" "$work/before" || rm -f "$file"
    done
    for directory in /etc/jail.conf.d /etc/rc.conf.d /usr/local/etc; do
        grep -q -x -F "$root$directory" "$work/before" || rmdir "$root$directory"
    done
}

leave() {
    chflags -R noschg "$1" 2>/dev/null || true
    rm -rf "$1"
}

checksum() {
    if [ -n "$simulated" ]; then
        sha256sum "$1" | cut -d ' ' -f 1
    else
        sha256 -q "$1"
    fi
}

# A base of what this host has, with little more than a jail needs.
make_base() {
    new=$work/base
    mkdir "$new" && cd "$new" || return
    mkdir -p bin sbin lib libexec dev media mnt net proc root tmp usr/bin usr/sbin usr/lib usr/libexec usr/libdata \
        usr/local usr/share/misc usr/share/certs usr/src usr/obj var
    chmod 1777 tmp
    chmod 750 root
    chmod 555 dev proc
    mtree -deUq -f /etc/mtree/BSD.var.dist -p var >/dev/null
    chflags schg var/empty
    (cd / && tar -cf - bin libexec/ld-elf.so.1 usr/share/certs \
        $(ls -d sbin/dmesg sbin/ifconfig sbin/init sbin/ldconfig sbin/md5 sbin/mdmfs sbin/mount sbin/nologin \
            sbin/ping sbin/rcorder sbin/route sbin/rtsol sbin/sha256 sbin/shutdown sbin/sysctl sbin/umount \
            usr/bin/awk usr/bin/basename usr/bin/bsdiff usr/bin/cap_mkdb usr/bin/cmp usr/bin/cut usr/bin/diff \
            usr/bin/dirname usr/bin/du usr/bin/env usr/bin/expr usr/bin/false usr/bin/fetch usr/bin/find \
            usr/bin/getconf usr/bin/getopt usr/bin/grep usr/bin/head usr/bin/id usr/bin/install usr/bin/ipcs \
            usr/bin/limits usr/bin/lockf usr/bin/logger usr/bin/login usr/bin/mktemp usr/bin/mkfifo usr/bin/nc \
            usr/bin/netstat usr/bin/openssl usr/bin/printf usr/bin/procstat usr/bin/sed usr/bin/sort usr/bin/stat \
            usr/bin/su usr/bin/tail usr/bin/tee usr/bin/touch usr/bin/tr usr/bin/true usr/bin/tset usr/bin/uname \
            usr/bin/uniq usr/bin/wc usr/bin/xargs usr/sbin/certctl usr/sbin/chown usr/sbin/cron usr/sbin/daemon \
            usr/sbin/newsyslog usr/sbin/nologin usr/sbin/pwd_mkdb usr/sbin/rmt usr/sbin/service \
            usr/sbin/services_mkdb usr/sbin/syslogd usr/sbin/tcpdrop usr/sbin/utx 2>/dev/null)) |
        tar -xpf - || return
    find bin sbin usr/bin usr/sbin -type f -exec ldd -f '%p\n' {} + 2>/dev/null | sort -u >"$work/libraries"
    tar -C / -cf - -T "$work/libraries" 2>/dev/null | tar -xpf - || return
    for file in lib/libc.so.* lib/libthr.so.* libexec/ld-elf.so.1 sbin/init usr/bin/su usr/bin/login; do
        chflags schg "$file"
    done
    # Nothing that is this host's own.
    tar -C / -cf - --exclude etc/rc.conf --exclude etc/rc.conf.local --exclude 'etc/rc.conf.d/*' \
        --exclude etc/fstab --exclude 'etc/jail*' --exclude 'etc/ssh/ssh_host_*' --exclude etc/hostid \
        --exclude etc/machine-id --exclude etc/zfs --exclude etc/wpa_supplicant.conf --exclude etc/exports \
        --exclude 'etc/*pwd*' --exclude etc/master.passwd --exclude etc/resolv.conf --exclude etc/sysctl.conf \
        --exclude etc/localtime etc | tar -xpf - || return
    awk -F : -v OFS=: '!/^#/ { $2 = "*"; print }' /etc/master.passwd >etc/master.passwd
    chmod 600 etc/master.passwd
    pwd_mkdb -p -d etc etc/master.passwd || return
    printf 'cron_enable="NO"\nsendmail_enable="NONE"\nsyslogd_flags="-ss"\n' >etc/rc.conf
    cd / && tar -C "$new" -cf - . | xz -0 -T 0 >"$base_txz"
}
