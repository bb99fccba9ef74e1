# The end of a template; last, because all other cases use it.

have destroy_template "" "skel-destroy refuses a template that is used, and leaves nothing of one that is not"
case_destroy_template() {
    jail_conf "$no_rc"
    new_jail tjweb 201
    templates=$pool/jails/templates
    zfs list -H -r -o name -t all $pool >before
    refused skel-destroy -y "$release"
    said "used by jail tjweb"
    start tjweb
    refused skel-destroy -y "$release"
    stop tjweb
    run jail-destroy -y tjweb
    zfs hold tjhold "$templates/$release-skeleton@base"
    refused skel-destroy -y "$release"
    said "held by tjhold; zfs release tjhold $templates/$release-skeleton@base"
    zfs release tjhold "$templates/$release-skeleton@base"
    mkdir -p "$root/$pool/mnt"
    mount -t nullfs "$jails/templates/$release-base" /$pool/mnt
    refused skel-destroy -y "$release"
    said "is mounted on"
    umount /$pool/mnt
    rmdir "$root/$pool/mnt"
    run zfs snapshot "$templates/$release-skeleton@p1"
    run skel-destroy -y --unused "$release"
    said "$release-skeleton@base"
    run skel-destroy -n "$release"
    said "zfs rename $templates/$release-base $templates/$release-base.destroying"
    is "$(zfs list -H -o name "$templates/$release-base")" "$templates/$release-base" "the base"
    run skel-destroy -y "$release"
    is "$(zfs list -H -r -o name -t all "$templates" | grep "$release")" "" "datasets of the template"
    is "$(ls -A "$root$jails/templates" | grep "$release")" "" "directories of the template"
    refused jail-clone tjweb 201
    said "no base of"
    refused skel-destroy -y "$release"
    said "does not exist"
}
