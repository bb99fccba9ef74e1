#!/bin/sh
# The whole flow on any Unix: no root, no FreeBSD, nothing outside a temporary
# directory. Our programs are the real ones; interfaces, mounts and jails are
# simulated, and jail(8) is a stand-in that reads the sample jail.conf, splits
# its hook lines and executes them.
#
# usage: demo.sh directory-of-the-built-programs
set -eu
built=$(cd "${1:?directory of the built programs}" && pwd)
here=$(cd "$(dirname "$0")/../.." && pwd)

top=$(mktemp -d "${TMPDIR:-/tmp}/thinjail-demo.XXXXXX")
trap 'chmod -R u+rwx "$top" && rm -rf "$top"' EXIT
root=$top/root
mkdir -p "$top/tools" "$root/usr/local/sbin" "$root/usr/local/etc" "$root/etc/jail.conf.d" "$root/var/log"
for tool in ifconfig jail jexec jls mount route service umount sysrc; do
    ln -s "$built/examples/standin" "$top/tools/$tool"
done
for program in jail-clone jail-epair-down jail-epair-up jail-mkfstab jail-sweep skel-fixcerts; do
    ln -s "$built/$program" "$root/usr/local/sbin/$program"
done
PATH=$top/tools:$root/usr/local/sbin:$PATH
THINJAIL_ROOT=$root THINJAIL_TOOLS=$top/tools
export PATH THINJAIL_ROOT THINJAIL_TOOLS

title() { printf '\n== %s\n' "$*"; }
# Shows a command and runs it; the temporary root is left out of the output.
run() {
    printf '# %s\n' "$*" | sed "s|$root||g"
    status=0
    "$@" >"$top/out" 2>&1 || status=$?
    sed "s|$root||g; s/^/    /" "$top/out"
    [ $status -eq 0 ] || printf '    (exit status %s)\n' $status
}
interfaces() { printf '    interfaces: %s\n' "$(ifconfig -l)"; }
mounts() { printf '    nullfs mounts: %s\n' "$(mount -t nullfs -p | wc -l | tr -d ' ')"; }

title "A host with a bridge, and a split template of a whole base"
ifconfig standin-init igc0 igc0bridge 192.168.7.101/24
templates=$root/zdata/jails/templates
mkdir -p "$templates" "$root/zdata/jails/containers"
"$built/examples/basetree" "$templates/14.2-RELEASE-base" "$templates/14.2-RELEASE-skeleton"
sed -e 's|^jail_zfs=.*|jail_dir="/zdata/jails"|' "$here/etc/thinjail.conf.sample" \
    >"$root/usr/local/etc/thinjail.conf"
cp "$here/share/examples/jail.conf" "$root/etc/jail.conf"
printf '    %s entries, of them links into the base: %s\n' \
    "$(find "$templates" | wc -l | tr -d ' ')" \
    "$(find "$templates/14.2-RELEASE-skeleton/etc/ssl" -type l | wc -l | tr -d ' ')"
interfaces

title "Its certificate links dangle since etc moved into the skeleton; repair them"
link=$templates/14.2-RELEASE-skeleton/etc/ssl/certs/002c0b4f.0
printf '    before: %s\n' "$(readlink "$link")"
run skel-fixcerts 14.2
printf '    after:  %s\n' "$(readlink "$link")"

title "Two jails"
run jail-clone web 10
run jail-clone db
run cat "$root/etc/jail.conf.d/web.conf" "$root/zdata/jails/web-nullfs-base.fstab"
run jail-mkfstab -c web

title "Start: exec.prestart makes the pair and adds it to the bridge"
run service jail start web db
interfaces
run jexec web ifconfig -l

title "A start that fails late: jail(8) runs no hook to clean up, the pair stays"
run service jail stop db
sed 's|/bin/sh /etc/rc"|/usr/bin/false"|' "$here/share/examples/jail.conf" >"$root/etc/jail.conf"
run jail -c db
interfaces
printf '    ... and the next start replaces it:\n'
cp "$here/share/examples/jail.conf" "$root/etc/jail.conf"
run jail -c db
interfaces

title "A stop with an open connection: the jail stays dying, its root busy"
mkdir -p "$root/var/db/standin"
echo web >"$root/var/db/standin/held-connection"
run jail -r web
run jls -d
mounts
printf '    ... exec.release swept the root away by force, so the jail starts at once:\n'
run jail -c web
interfaces

title "Jails removed behind jail(8)'s back leave everything; the next start sweeps"
run jail -R web
interfaces
mounts
run jail -c web
interfaces

title "Somebody else's pair is refused by its owner's name"
run jail-epair-up -b igc0bridge intruder epair10

title "Stop everything: nothing is left"
run jail -r web
run jail -r db
jail standin-let-go web
interfaces
mounts
jls -d | sed 's/^/    /'
left=$(find "$root" -name '.*thinjail*' | wc -l | tr -d ' ')
printf '    temporary files: %s\n' "$left"
[ "$(ifconfig -l)" = "lo0 igc0 igc0bridge" ] || [ "$(ifconfig -l)" = "igc0 lo0 igc0bridge" ]
[ -z "$(mount -t nullfs -p)" ] && [ "$left" = 0 ]
