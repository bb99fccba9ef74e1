# Tells a shell that completes a command line what there is on this host, one
# thing a line: ask.sh kind root [jail]. The generator puts it into the completions
# of all shells, so that they cannot differ. What is read is data: it is never run,
# and what is no plain word of its kind is left out.
exec 2>/dev/null </dev/null
LC_ALL=C PATH=$PATH:/sbin:/usr/sbin:/usr/local/sbin
export LC_ALL PATH
unset CDPATH
kind=$1 root=${2:-$THINJAIL_ROOT} jail=$3 said=""
if [ "$root" ]; then
    root=$(cd -- "$root" && pwd -P) || exit 0
    THINJAIL_ROOT=$root
    export THINJAIL_ROOT
    root=${root%/}
fi

# Sets dir and zfs, as thinjail.conf(5) has them.
settings() {
    dir="" zfs="" blank=$(printf " ;\t\r") apostrophe=$(printf "\047")
    conf=$root/usr/local/etc/thinjail.conf
    [ -f "$conf" ] && while IFS= read -r line || [ "$line" ]; do
        while :; do
            line=${line#"${line%%[!"$blank"]*}"}
            case $line in
            [A-Za-z_]*=*) ;;
            *) break ;;
            esac
            name=${line%%=*} line=${line#*=}
            case $line in
            \"*) line=${line#?} value=${line%%\"*} line=${line#"$value"} line=${line#?} ;;
            "$apostrophe"*) line=${line#?} value=${line%%"$apostrophe"*} line=${line#"$value"} line=${line#?} ;;
            *) value=${line%%["$blank"]*} line=${line#"$value"} ;;
            esac
            case $name in
            jail_dir) dir=$value ;;
            jail_zfs) zfs=$value ;;
            esac
        done
    done <"$conf"
    dir=${jail_dir-$dir} zfs=${jail_zfs-$zfs}
    case $dir,$zfs in
    ,-* | , | ,[Nn][Oo][Nn][Ee]) return 1 ;;
    ,*)
        dir=$(zfs get -H -o value mountpoint "$zfs")
        # A pool below an alternate root shows its mount points with the root.
        case $dir in
        "$root"/*) dir=${dir#"$root"} ;;
        esac
        ;;
    esac
    case $dir in
    /*) ;;
    *) return 1 ;;
    esac
}

word() {
    case $1 in
    "" | -* | *[!A-Za-z0-9._-]*) ;;
    *) printf "%s\n" "$1" ;;
    esac
}

release() {
    case ${1%%-*} in
    *[!0-9.]* | *.*.* | .* | *.) return ;;
    *.*) ;;
    *) return ;;
    esac
    case ${1#*-} in
    RELEASE | STABLE | CURRENT | PRERELEASE) ;;
    RC[1-9] | RC[1-9][0-9] | BETA[1-9] | BETA[1-9][0-9] | ALPHA[1-9] | ALPHA[1-9][0-9]) ;;
    *) return ;;
    esac
    case "$said " in
    *" $1 "*) ;;
    *) said="$said $1" && printf "%s\n" "$1" ;;
    esac
}

case $kind in
jail)
    jail-list | {
        # The first line is the heading.
        read -r name rest
        while read -r name rest; do word "$name"; done
    }
    ;;
release)
    settings || exit 0
    for suffix in base skeleton; do
        for file in "$root$dir/templates/"*-"$suffix"; do
            [ -d "$file" ] && file=${file##*/} && release "${file%-"$suffix"}"
        done
    done
    ;;
archive)
    settings && for file in "$root$dir/media/"*-base.txz; do
        file=${file##*/} file=${file%-base.txz}
        file=${file%-amd64} file=${file%-arm64}
        release "$file"
    done
    own=$(freebsd-version -u || uname -r)
    release "${own%-p[0-9]*}"
    ;;
bridge)
    ifconfig -g bridge | while read -r name; do word "$name"; done
    ;;
interface)
    set -f
    for name in $(ifconfig -l); do word "$name"; done
    ;;
pair)
    # The other half may be in a jail.
    ifconfig -g epair | while read -r name; do
        case $name in
        ?*a) word "${name%a}" ;;
        esac
    done
    ;;
path)
    [ "$(word "$jail")" ] && settings || exit 0
    case $dir in
    *[!A-Za-z0-9/._+-]*) ;;
    *) printf "%s\n" "$dir/$jail-nullfs-base" ;;
    esac
    ;;
esac
exit 0
