#!/bin/sh
# Shows all of thinjail on any Unix, without root and without FreeBSD. It changes
# nothing outside a temporary directory. The programs of thinjail and all files are
# real; interfaces, mounts, jails and the pool are simulated. jail(8) is a stand-in
# that reads the sample jail.conf, splits its hook lines and executes them.
#
# usage: demo.sh directory-of-the-built-programs
set -eu
built=$(cd "${1:?directory of the built programs}" && pwd)
here=$(cd "$(dirname "$0")/../.." && pwd)

top=$(mktemp -d "${TMPDIR:-/tmp}/thinjail-demo.XXXXXX")
trap 'chmod -R u+rwx "$top" && rm -rf "$top"' EXIT
root=$top/root
mkdir -p "$top/tools" "$root/usr/local/sbin" "$root/usr/local/etc" "$root/etc/jail.conf.d" "$root/var/log" \
    "$root/var/run" "$root/var/db/freebsd-update" "$root/mnt/usr/freebsd-dist"
for tool in cap_mkdb certctl freebsd-update ifconfig jail jexec jls mount netstat pfctl pwd_mkdb route service \
    services_mkdb sh sysctl sysrc tar umount zfs; do
    ln -s "$built/examples/standin" "$top/tools/$tool"
done
for program in jail-clone jail-destroy jail-epair-down jail-epair-up jail-list jail-mkfstab jail-rebase \
    jail-setup jail-sweep skel-fetch skel-fixcerts skel-split skel-update; do
    ln -s "$built/$program" "$root/usr/local/sbin/$program"
done
PATH=$top/tools:$root/usr/local/sbin:$PATH
THINJAIL_ROOT=$root THINJAIL_TOOLS=$top/tools
export PATH THINJAIL_ROOT THINJAIL_TOOLS

title() { printf '\n== %s\n' "$*"; }
# Prints a command and runs it. The output omits the temporary root.
run() {
    printf '# %s\n' "$*" | sed "s|$root||g"
    status=0
    "$@" >"$top/out" 2>&1 || status=$?
    sed "s|$root||g; s/^/    /" "$top/out"
    [ $status -eq 0 ] || printf '    (exit status %s)\n' $status
}
interfaces() { printf '    interfaces: %s\n' "$(ifconfig -l)"; }
mounts() { printf '    nullfs mounts: %s\n' "$(mount -t nullfs -p | wc -l | tr -d ' ')"; }

title "A host with a bridge, a pool and the installation medium of a release"
ifconfig standin-init igc0 igc0bridge 192.168.7.2/24
route add default 192.168.7.101 >/dev/null
cat >"$root/etc/rc.conf" <<END
cloned_interfaces="bridge0"
ifconfig_bridge0_name="igc0bridge"
ifconfig_igc0="up"
ifconfig_igc0bridge="inet 192.168.7.2/24 addm igc0"
defaultrouter="192.168.7.101"
END
zfs standin-init zdata
"$built/examples/basetree" --archive "$root/mnt/usr/freebsd-dist/base.txz" 14.5-RELEASE \
    >"$root/mnt/usr/freebsd-dist/MANIFEST"
echo 'nameserver 192.168.7.101' >"$root/etc/resolv.conf"
run ls "$root/mnt/usr/freebsd-dist"
interfaces

title "The set-up: what thin jails need is proposed and, with -y, done without a question"
run jail-setup -y -r 14.5
cp "$root/etc/jail.conf" "$top/jail.conf"

title "A template: a release is verified, unpacked, and split into base and skeleton"
templates=$root/zdata/jails/templates
certificate=etc/ssl/certs/002c0b4f.0
run skel-fetch -f /mnt/usr/freebsd-dist/base.txz 14.5
printf '    %s entries; a certificate: %s\n' "$(find "$templates" | wc -l | tr -d ' ')" \
    "$(readlink "$templates/14.5-RELEASE-base/$certificate")"
run skel-split 14.5
printf '    etc of the base: %s; the certificate, one directory deeper now: %s\n' \
    "$(readlink "$templates/14.5-RELEASE-base/etc")" \
    "$(readlink "$templates/14.5-RELEASE-skeleton/$certificate")"
run skel-fixcerts -a -c 14.5
run zfs list -r -o name -t filesystem,snapshot zdata/jails

title "Two jails"
run jail-clone web 10
run jail-clone db
run cat "$root/etc/jail.conf.d/web.conf" "$root/zdata/jails/web-nullfs-base.fstab"
run jail-mkfstab -c web

title "A start: exec.prestart creates the epair and adds it to the bridge"
run service jail start web db
interfaces
run jexec web ifconfig -l
run jail-list

title "A start that fails late: jail(8) runs no further hook, and the epair remains"
run service jail stop db
sed 's|/bin/sh /etc/rc"|/usr/bin/false"|' "$top/jail.conf" >"$root/etc/jail.conf"
run jail -c db
interfaces
printf '    ... and the next start replaces it:\n'
cp "$top/jail.conf" "$root/etc/jail.conf"
run jail -c db
interfaces

title "A stop with an open connection: the jail remains dying, and its root is busy"
mkdir -p "$root/var/db/standin"
echo web >"$root/var/db/standin/held-connection"
run jail -r web
run jls -d
mounts
printf '    ... exec.release unmounted the root by force, so the jail can start at once:\n'
run jail -c web
interfaces

title "A jail that is removed without its hooks leaves everything; the next start cleans up"
run jail -R web
interfaces
mounts
run jail -c web
interfaces

title "An epair of another jail is refused, and the message names that jail"
run jail-epair-up -b igc0bridge intruder epair10

title "Patches: base and skeleton are updated in one step, under running jails"
updates=$root/var/db/standin/updates/14.5-RELEASE
mkdir -p "$updates/files/bin"
echo 1 >"$updates/level"
echo 'patched' >"$updates/files/bin/sh"
cp "$templates/14.5-RELEASE-skeleton/etc/freebsd-update.conf" "$root/etc/"
run skel-update 14.5
run jail-clone cache
run zfs list -H -r -o name,origin zdata/jails/containers

title "A new release, which changes a file and adds a group, as the jail db did"
medium=$root/mnt/usr/freebsd-dist
"$built/examples/basetree" --archive "$medium/base.txz" 15.1-RELEASE >"$medium/MANIFEST"
run skel-fetch -f /mnt/usr/freebsd-dist/base.txz 15.1
etc=$templates/15.1-RELEASE-base/etc
echo '*.notice /var/log/messages' >"$etc/syslog.conf"
echo '_new:*:845:' >>"$etc/group"
run skel-split 15.1
etc=$root/zdata/jails/containers/db/etc
echo '*.* @loghost.example.org' >"$etc/syslog.conf"
echo 'web:*:1001:' >>"$etc/group"
echo 'sshd_enable="YES"' >"$etc/rc.conf"
# On a real host, .zfs is hidden but can be used.
zfs set snapdir=visible zdata/jails/templates

title "The jail moves to the new release: changes are merged, and a conflict is resolved"
run service jail stop db
printf '# jail-rebase -n db 15.1\n'
! jail-rebase -n db 15.1 >"$top/out"
sed "s|$root||g; /^conflict/s/ (.*//" "$top/out" | sed -n '1,/^--- /{/^--- /!p;}' >"$top/list"
grep -v ' etc/ssl/' "$top/list" | sed 's/^/    /'
printf '    ... and %s certificates. What changes in the group file of the jail:\n' \
    "$(grep -c ' etc/ssl/' "$top/list")"
sed -n '/^--- a.etc.group/,/^+_/p' "$top/out" | sed 's/^/    /'
run jail-rebase -k ours db 15.1
run zfs list -H -r -o name,origin zdata/jails/containers
run tail -n 2 "$etc/group" "$etc/syslog.conf"
run jail-rebase -y --commit db
run service jail start db
run jail-list

title "All jails are stopped and destroyed: nothing is left"
run jail -r web
run jail -r db
jail standin-let-go web
run jail-list
run jail-destroy -n web
for jail in web db cache; do
    run jail-destroy -y $jail
done
run jail-list
run zfs list -H -r -o name zdata/jails/containers
interfaces
mounts
jls -d | sed 's/^/    /'
left=$(find "$root" \( -name '.*thinjail*' -o -name '.*update.conf' -o -name '*.unpacking' -o -name '.*.torn' \) |
    wc -l | tr -d ' ')
printf '    temporary files: %s\n' "$left"
printf '    snapshots:\n'
zfs list -H -r -o name -t snapshot zdata | sed 's/^/    /'
[ "$(ifconfig -l)" = "lo0 igc0 igc0bridge" ] || [ "$(ifconfig -l)" = "igc0 lo0 igc0bridge" ]
[ -z "$(mount -t nullfs -p)" ] && [ "$left" = 0 ]
[ -z "$(ls "$root/zdata/jails/containers")" ] && [ -z "$(ls "$root/etc/jail.conf.d")" ]
[ "$(jail-list | wc -l | tr -d ' ')" = 1 ]
[ "$(zfs list -H -r -o name zdata/jails/containers)" = zdata/jails/containers ]
[ "$(zfs list -H -r -o name -t snapshot zdata | sed 's/.*@//' | tr '\n' ' ')" = "base p1 base " ]
