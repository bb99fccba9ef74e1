//! The command lines, and the hosts that they are run on.

use super::{Scene, Undisturbed, once_more, state};
use crate::harness::host::{Host, Storage};
use crate::harness::small::{self, BASE, SKELETON};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use thinjail::system::kernel::simulated::{HOST, Simulated, State};
use thinjail::system::root::Root;

/// The programs that change something.
pub const PROGRAMS: [&str; 16] = [
    "jail-epair-up",
    "jail-epair-down",
    "jail-sweep",
    "jail-mkfstab",
    "jail-setup",
    "jail-clone",
    "jail-destroy",
    "jail-rebase",
    "jail-export",
    "jail-import",
    "skel-fetch",
    "skel-split",
    "skel-fixcerts",
    "skel-update",
    "skel-destroy",
    "jail-doctor",
];

/// What an error does to what was done before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It is undone.
    Undoes,
    /// It stays, and the same command continues from there.
    Keeps,
    /// The rest is done nevertheless: for clearing away.
    GoesOn,
}

/// What comes after a run that was cut short.
type After = fn(&Case, &Scene, &Undisturbed) -> Result<(), String>;

/// A command line on a host.
pub struct Case {
    pub line: &'static str,
    pub on: &'static [Storage],
    pub prepare: fn(Storage) -> Host,
    pub on_error: OnError,
    /// Texts of errors behind the point where nothing is undone any longer.
    pub beyond: &'static [&'static str],
    /// Whether every error is told on standard error.
    pub tells: bool,
    /// Commands that a second run may ask for.
    pub remedies: &'static [&'static str],
    pub after: After,
    /// Command lines that the host does not allow.
    pub refused: &'static [&'static str],
    /// With no more effects than that it is tried with every fault each time.
    pub cheap: usize,
}

/// What proves a container that nothing else proves any longer.
const ADOPT: &[&str] = &["zfs set thinjail:jail=web zdata/jails/containers/web", "jail-mkfstab web"];

const BOTH: &[Storage] = &[Storage::Directory, Storage::Zfs];
const DIRECTORY: &[Storage] = &[Storage::Directory];
const ZFS: &[Storage] = &[Storage::Zfs];

const CASE: Case = Case {
    line: "",
    on: BOTH,
    prepare: network,
    on_error: OnError::Undoes,
    beyond: &[],
    tells: true,
    remedies: &[],
    after: once_more,
    refused: &[],
    cheap: 0,
};

const HOOK: Case = Case { on: DIRECTORY, after: started_again, cheap: 30, ..CASE };
const SWEEP: Case = Case { on: DIRECTORY, prepare: mounted, on_error: OnError::GoesOn, cheap: 30, ..CASE };

pub static CASES: &[Case] = &[
    // A worked example. `..HOOK` fills in the rest: the host is that of `network` under
    // directory storage, whatever was done is undone on an error, and after each run
    // that was cut short `started_again` starts the jail.
    Case {
        // Run once without a fault, to count its effects; then once for each effect
        // and fault: failed, reported as failed, interrupted, killed before, killed
        // after.
        line: "jail-epair-up -b igc0bridge web epair5",
        // Refused on this host: such a line may look, and must change nothing.
        refused: &[
            "jail-epair-up -b nobridge web epair5",
            "jail-epair-up -b igc0bridge web epair77",
            "jail-epair-up -b igc0 web epair5",
        ],
        ..HOOK
    },
    Case { line: "jail-epair-up -M none -b igc0bridge web web0", ..HOOK },
    Case {
        line: "jail-epair-up -u em0 -b em0bridge web epair5",
        refused: &[
            "jail-epair-up -u em9 -b em0bridge web epair5",
            "jail-epair-up -m 9000 -u em0 -b em0bridge web epair5",
        ],
        ..HOOK
    },
    Case { line: "jail-epair-up -u em0 -b bridge3 web web0", ..HOOK },
    // What an earlier start left can't be brought back.
    Case {
        line: "jail-epair-up -b igc0bridge -m 1500 web epair5",
        prepare: paired,
        on_error: OnError::Keeps,
        ..HOOK
    },
    Case {
        line: "jail-epair-down web epair5",
        refused: &["jail-epair-down db epair5", "jail-epair-down web epair77"],
        prepare: paired,
        after: once_more,
        ..HOOK
    },
    Case { line: "jail-epair-down web web0", prepare: paired, after: once_more, ..HOOK },
    Case {
        line: "jail-sweep web /zdata/jails/web-nullfs-base epair5",
        refused: &["jail-sweep web /zdata/jails epair5", "jail-sweep web / epair5"],
        ..SWEEP
    },
    Case { line: "jail-sweep web /zdata/jails/web-nullfs-base", ..SWEEP },
    Case {
        line: "jail-mkfstab web",
        refused: &["jail-mkfstab nojail", "jail-mkfstab -r 13.9 web"],
        prepare: without_fstab,
        cheap: 30,
        ..CASE
    },
    Case { line: "jail-mkfstab -o /tmp/fstab web", prepare: without_fstab, cheap: 30, ..CASE },
    Case {
        line: "jail-mkfstab -o - -m /zdata/foreign:/mnt:ro web",
        prepare: without_fstab,
        cheap: 30,
        ..CASE
    },
    Case {
        line: "jail-setup -y",
        on: DIRECTORY,
        refused: &[
            "jail-setup",
            "jail-setup -d nopool/jails -y",
            "jail-setup -y -a 10.0.0.0/8 -N nat -u lo7",
        ],
        prepare: on_a_lan,
        ..CASE
    },
    Case {
        line: "jail-setup -y -N nat -b jailbridge",
        on: ZFS,
        refused: &["jail-setup -y -N nat -a 192.168.0.0/16", "jail-setup -y -N nat -b igc0"],
        prepare: on_a_lan,
        ..CASE
    },
    Case {
        line: "jail-clone web 10",
        refused: &[
            "jail-clone -r 13.9 web 10",
            "jail-clone web 101",
            "jail-clone -m /nowhere:/mnt web 10",
            "jail-clone -i 192.168.7.101 web",
        ],
        prepare: template,
        ..CASE
    },
    Case {
        line: "jail-clone -e -m /zdata/foreign:/mnt:ro -m /zdata/foreign:/usr/local/a/b web",
        prepare: template_without_confs,
        ..CASE
    },
    Case {
        line: "jail-clone --from web copy 11",
        beyond: &["is made, but something remains"],
        refused: &[
            "jail-clone --from nojail copy",
            "jail-clone --from web web",
            "jail-clone --from web -i 192.168.7.10 copy",
        ],
        prepare: with_source,
        ..CASE
    },
    Case {
        line: "jail-export -o /tmp/web.tar web",
        refused: &["jail-export nojail"],
        // An archive that is complete stays, whatever comes after it.
        on_error: OnError::Keeps,
        prepare: with_source,
        ..CASE
    },
    Case {
        line: "jail-import /tmp/web.tar copy 11",
        beyond: &["is made, but something remains"],
        refused: &["jail-import /tmp/web.tar", "jail-import /etc/rc.conf", "jail-import /tmp/none.tar"],
        prepare: with_archive_of_jail,
        ..CASE
    },
    Case {
        line: "jail-import -e /tmp/full.tar copy 11",
        beyond: &["is made, but something remains"],
        prepare: with_archive_of_jail,
        ..CASE
    },
    Case {
        line: "jail-destroy -y web",
        refused: &["jail-destroy -y nojail", "jail-destroy web"],
        prepare: with_jail,
        beyond: &["jail web is destroyed, but something remains"],
        remedies: ADOPT,
        ..CASE
    },
    Case {
        line: "jail-destroy -fy web",
        prepare: with_jail_among_others,
        beyond: &["jail web is destroyed, but something remains"],
        remedies: ADOPT,
        ..CASE
    },
    Case {
        line: "jail-destroy -yf web",
        refused: &["jail-destroy -y web"],
        prepare: with_running_jail,
        beyond: &["jail web is destroyed, but something remains"],
        // A stopped jail is not started again.
        on_error: OnError::Keeps,
        ..CASE
    },
    Case {
        line: "jail-rebase web 15.0",
        refused: &["jail-rebase web 13.9", "jail-rebase nojail 15.0", "jail-rebase --commit web"],
        prepare: with_two_releases,
        ..CASE
    },
    Case { line: "jail-rebase --edit -k theirs web 15.0", prepare: with_conflicts, ..CASE },
    Case {
        line: "jail-rebase -y --commit web",
        refused: &["jail-rebase web 14.5"],
        prepare: with_moved_jail,
        beyond: &["is not completely removed"],
        ..CASE
    },
    Case {
        line: "jail-rebase -y --revert web",
        prepare: with_moved_jail,
        beyond: &["is not completely removed"],
        ..CASE
    },
    Case {
        line: "skel-fetch -f /dist/base.txz 14.5",
        refused: &[
            "skel-fetch -f /dist/none.txz 14.5",
            "skel-fetch -f /dist/base.txz -M /etc/resolv.conf 14.5",
        ],
        prepare: with_archive,
        ..CASE
    },
    // What was slow to get stays.
    Case { line: "skel-fetch 14.5", prepare: with_server, on_error: OnError::Keeps, ..CASE },
    Case {
        line: "skel-split 14.5",
        refused: &["skel-split 13.9"],
        prepare: small::stage,
        beyond: &["the template is complete"],
        ..CASE
    },
    Case {
        line: "skel-split -k 14.5",
        on: DIRECTORY,
        prepare: torn,
        beyond: &["the template is complete"],
        ..CASE
    },
    Case {
        line: "skel-fixcerts 14.5",
        refused: &["skel-fixcerts 13.9", "skel-fixcerts /nowhere", "skel-fixcerts -c 14.5"],
        prepare: with_broken_links,
        cheap: 40,
        ..CASE
    },
    // What an earlier run left can't be brought back.
    Case {
        line: "skel-fixcerts -a 14.5",
        on: DIRECTORY,
        prepare: with_leftover_link,
        on_error: OnError::Keeps,
        ..CASE
    },
    Case {
        line: "skel-update -y 14.5",
        refused: &["skel-update 13.9"],
        prepare: with_updates,
        beyond: &["updated, but"],
        ..CASE
    },
    Case {
        line: "skel-update -y 14.5-RELEASE",
        on: ZFS,
        prepare: with_packages,
        beyond: &["updated, but"],
        ..CASE
    },
    Case {
        line: "skel-destroy -fy 15.0",
        refused: &["skel-destroy -y 14.5", "skel-destroy 15.0", "skel-destroy -y 13.9"],
        prepare: with_two_releases,
        beyond: &["template 15.0-RELEASE is destroyed, but something remains"],
        ..CASE
    },
    // One after the other, and each is tried.
    Case {
        line: "skel-destroy -y --unused",
        prepare: with_unused_skeletons,
        on_error: OnError::GoesOn,
        cheap: 30,
        ..CASE
    },
    Case {
        line: "jail-doctor -x",
        prepare: with_leftovers,
        on_error: OnError::GoesOn,
        // It says what is left as findings.
        tells: false,
        ..CASE
    },
];

fn change(stage: &Host, change: impl FnOnce(&mut State) -> thinjail::system::kernel::Result<()>) {
    let kernel = Simulated::new(&Root::alternate(&stage.root()).unwrap());
    kernel.change(change).unwrap();
}

/// Things of somebody else, next to those of the jail.
pub fn plant_foreign(stage: &Host, storage: Storage) {
    if storage == Storage::Zfs {
        stage.tool("zfs", &["create", "zdata/foreign"]);
    }
    stage.write("/zdata/foreign/file", "not ours\n");
    if storage == Storage::Zfs {
        stage.tool("zfs", &["snapshot", "zdata/foreign@monday"]);
    }
    stage.write("/etc/foreign.conf", "not ours\n");
    stage.write("/etc/.foreign.conf.thinjail", "not ours\n");
    stage.write("/tmp/foreign", "not ours\n");
    let on = stage.path("/foreign");
    change(stage, |s| {
        s.plug("foreign0");
        s.create("epair77")?;
        s.describe(HOST, "epair77a", "foreign")?;
        s.describe(HOST, "epair77b", "foreign")?;
        s.mount("nullfs", Path::new("/foreign"), &on)
    });
    if stage.path("/zdata/jails/containers").exists() {
        stage.write("/zdata/jails/foreign/file", "not ours\n");
    }
}

/// The host of a hook.
fn network(storage: Storage) -> Host {
    let stage = Host::on(storage);
    change(&stage, |s| {
        s.plug("em0");
        Ok(())
    });
    stage
}

/// With pairs that an earlier start left.
fn paired(storage: Storage) -> Host {
    let stage = network(storage);
    stage.ok("jail-epair-up -b igc0bridge web epair5");
    stage.ok("jail-epair-up -b igc0bridge web web0");
    stage
}

/// With mounts that an earlier start left, one of them in use.
fn mounted(storage: Storage) -> Host {
    let stage = paired(storage);
    let path = stage.path("/zdata/jails/web-nullfs-base");
    fs::create_dir_all(&path).unwrap();
    let (base, container) = (stage.path(BASE), stage.path("/zdata/jails/containers/web"));
    let foreign = stage.path("/zdata/jails/web-nullfs-base2");
    change(&stage, |s| {
        s.mount("nullfs", &base, &path)?;
        s.mount("nullfs", &container, &path.join("skeleton"))?;
        s.mount("devfs", Path::new("devfs"), &path.join("dev"))?;
        s.mount("nullfs", Path::new("/other"), &path)?;
        s.mount("nullfs", Path::new("/foreign"), &foreign)?;
        let busy = s.mounts.iter_mut().find(|m| m.on.ends_with("skeleton")).unwrap();
        busy.busy = true;
        Ok(())
    });
    stage
}

/// A host with a network card that is on a LAN, and nothing for jails.
fn on_a_lan(storage: Storage) -> Host {
    let stage = Host::with_card();
    if storage == Storage::Zfs {
        stage.pool("zdata");
    }
    stage.tool("ifconfig", &["igc0", "inet", "192.168.1.5/24", "up"]);
    stage.tool("route", &["add", "default", "192.168.1.1"]);
    stage.write(
        "/etc/rc.conf",
        "ifconfig_igc0=\"inet 192.168.1.5/24\"\nifconfig_igc0_alias0=\"inet 192.168.1.6/32\"\n",
    );
    stage
}

fn template(storage: Storage) -> Host {
    let stage = Host::on(storage);
    stage.write("/etc/rc.conf", "hostname=\"host\"\n");
    stage
}

fn template_without_confs(storage: Storage) -> Host {
    let stage = template(storage);
    fs::remove_dir(stage.path("/etc/jail.conf.d")).unwrap();
    stage
}

fn without_fstab(storage: Storage) -> Host {
    let stage = template(storage);
    stage.ok("jail-clone web 10");
    fs::remove_file(stage.path("/zdata/jails/web-nullfs-base.fstab")).unwrap();
    stage
}

/// A jail made by jail-clone, or by hand, that has work in it.
/// A host with a jail that can be copied.
fn with_source(storage: Storage) -> Host {
    let stage = template(storage);
    if storage == Storage::Zfs {
        // Hidden otherwise, where directories can't be.
        stage.tool("zfs", &["set", "snapdir=visible", "zdata/jails"]);
    }
    stage.write("/etc/rc.conf", "jail_list=\"db\"\n");
    fs::create_dir_all(stage.path("/tmp")).unwrap();
    stage.ok("jail-clone web 10");
    stage.write("/zdata/jails/containers/web/etc/mine", "mine\n");
    stage.write("/zdata/jails/containers/web/etc/ssh/ssh_host_rsa_key", "secret\n");
    fs::remove_file(stage.path("/zdata/jails/containers/web/etc/rc.conf")).unwrap();
    stage
}

/// The same host with the jail as archives.
fn with_archive_of_jail(storage: Storage) -> Host {
    let stage = with_source(storage);
    stage.ok("jail-export -o /tmp/web.tar web");
    stage.ok("jail-export --full -o /tmp/full.tar web");
    stage
}

fn with_jail(storage: Storage) -> Host {
    let stage = template(storage);
    stage.write("/etc/rc.conf", "jail_list=\"db\"\n");
    stage.ok("jail-clone -e web 10");
    stage.write("/zdata/jails/containers/web/root/work", "much of it\n");
    stage.ok("jail-epair-up -b igc0bridge web epair10");
    if storage == Storage::Zfs {
        stage.tool("zfs", &["inherit", "thinjail:jail", "zdata/jails/containers/web"]);
        stage.tool("zfs", &["snapshot", "zdata/jails/containers/web@monday"]);
    }
    stage
}

fn with_running_jail(storage: Storage) -> Host {
    let stage = with_jail_among_others(storage);
    stage.tool("jail", &["-c", "web"]);
    stage
}

/// One that has its block in a file with others.
fn with_jail_among_others(storage: Storage) -> Host {
    let stage = template(storage);
    stage.ok("jail-clone -e web 10");
    let block = fs::read_to_string(stage.path("/etc/jail.conf.d/web.conf")).unwrap();
    fs::remove_file(stage.path("/etc/jail.conf.d/web.conf")).unwrap();
    stage.write(
        "/etc/jail.conf.d/all.conf",
        &format!("{block}db {{\n$id = \"77\";\n$ip = \"192.168.7.77\";\n}}\n"),
    );
    stage
}

/// A jail with work in it, and the release that it is to be moved to.
fn with_two_releases(storage: Storage) -> Host {
    let stage = small::two_releases(storage);
    let web = "/zdata/jails/containers/web";
    stage.write(&format!("{web}/usr/local/etc/app.conf"), "app\n");
    stage.write(&format!("{web}/etc/master.passwd"), "root:$6$x:0:0::0:0:Charlie &:/root:/bin/sh\n");
    if storage == Storage::Zfs {
        stage.tool("zfs", &["set", "quota=10G", "zdata/jails/containers/web"]);
        stage.tool("zfs", &["snapshot", "zdata/jails/containers/web@monday"]);
    }
    stage
}

/// One that has changed what the release changes too.
fn with_conflicts(storage: Storage) -> Host {
    let stage = with_two_releases(storage);
    let web = "/zdata/jails/containers/web";
    stage.write(&format!("{web}/etc/ntp.conf"), &small::NTP_CONF.replace("end\n", "end of mine\n"));
    stage.write(&format!("{web}/etc/new.conf"), "mine\n");
    stage
}

fn with_moved_jail(storage: Storage) -> Host {
    let stage = with_two_releases(storage);
    stage.ok("jail-rebase web 15.0");
    stage.write("/zdata/jails/containers/web/root/since", "the move\n");
    if storage == Storage::Zfs {
        stage.tool("zfs", &["snapshot", "zdata/jails/containers/web@tuesday"]);
    }
    stage
}

fn with_archive(storage: Storage) -> Host {
    let stage = Host::bare(storage);
    let dist = stage.path("/dist");
    fs::create_dir_all(&dist).unwrap();
    let made = small::archive();
    fs::write(dist.join("base.txz"), &made).unwrap();
    fs::write(dist.join("MANIFEST"), small::manifest(&made)).unwrap();
    stage.write("/etc/resolv.conf", "nameserver 192.168.7.1\n");
    symlink("/usr/share/zoneinfo/UTC", stage.path("/etc/localtime")).unwrap();
    stage
}

fn with_server(storage: Storage) -> Host {
    let stage = with_archive(storage);
    let at = "releases/amd64/amd64/14.5-RELEASE";
    for name in ["base.txz", "MANIFEST"] {
        let contents = fs::read(stage.path("/dist").join(name)).unwrap();
        stage.www("download.freebsd.org", &format!("{at}/{name}"), &contents);
    }
    stage
}

/// var was being moved by hand, and a part of it is in each tree.
fn torn(storage: Storage) -> Host {
    let stage = small::stage(storage);
    let (base, skeleton) = (stage.path(BASE), stage.path(SKELETON));
    fs::create_dir_all(skeleton.join("var")).unwrap();
    fs::rename(base.join("var/log"), skeleton.join("var/log")).unwrap();
    let empty = skeleton.join("var/empty");
    fs::create_dir(&empty).unwrap();
    fs::set_permissions(&empty, fs::Permissions::from_mode(0o555)).unwrap();
    stage
}

fn with_broken_links(storage: Storage) -> Host {
    let stage = Host::on(storage);
    break_links(&stage, SKELETON);
    stage
}

fn with_leftover_link(storage: Storage) -> Host {
    let stage = with_broken_links(storage);
    symlink("x", stage.path(SKELETON).join("etc/ssl/certs/.thinjail-link")).unwrap();
    stage
}

fn break_links(stage: &Host, tree: &str) {
    let etc = stage.path(tree).join("etc");
    for n in 1..4 {
        symlink("../../../usr/share/certs/trusted/A.pem", etc.join(format!("ssl/certs/0{n}.0"))).unwrap();
    }
}

fn with_updates(storage: Storage) -> Host {
    let stage = small::stage(storage);
    let conf = format!("KeyPrint {}\nServerName update.FreeBSD.org\nComponents world\n", "8".repeat(64));
    stage.write("/etc/freebsd-update.conf", &conf);
    stage.ok("skel-split 14.5");
    let version = b"#!/bin/sh\nUSERLAND_VERSION=\"14.5-RELEASE-p1\"\n";
    let all: [(&str, &[u8]); 3] =
        [("/bin/freebsd-version", version), ("/bin/sh", b"new\n"), ("/etc/services", b"new 1/tcp\n")];
    stage.updates("14.5-RELEASE", 1, &all);
    stage
}

fn with_packages(storage: Storage) -> Host {
    let stage = with_updates(storage);
    stage.write(&format!("{SKELETON}/var/db/pkg/local.sqlite"), "");
    stage.packages();
    stage
}

/// With skeletons as they were that no jail is made of, and one that is newer.
fn with_unused_skeletons(storage: Storage) -> Host {
    let stage = small::stage(storage);
    stage.ok("skel-split 14.5");
    for (jail, text) in [("a", "1"), ("b", "22"), ("c", "333")] {
        stage.ok(&format!("jail-clone {jail}"));
        stage.write(&format!("{SKELETON}/etc/more"), text);
        if storage == Storage::Zfs {
            stage.tool("zfs", &["snapshot", &format!("{}@p{text}", &SKELETON[1..])]);
        }
    }
    for jail in ["a", "b"] {
        stage.ok(&format!("jail-destroy -y {jail}"));
    }
    stage
}

/// All that jail-doctor mends.
fn with_leftovers(storage: Storage) -> Host {
    let stage = Host::on(storage);
    stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
    stage.ok_with("jail-clone", &["web", "10"]);
    stage.ok_with("jail-epair-up", &["-b", "igc0bridge", "web", "epair10"]);
    let (base, on) = (stage.path(BASE), stage.path("/zdata/jails/web-nullfs-base"));
    change(&stage, |s| {
        s.mount("nullfs", &base, &on)?;
        s.create("epair2000").map(drop)
    });
    stage.write("/etc/jail.conf.d/.new.conf.thinjail", "new {");
    break_links(&stage, "/zdata/jails/containers/web");
    stage
}

/// The next start of the jail, and its end.
fn started_again(case: &Case, scene: &Scene, calm: &Undisturbed) -> Result<(), String> {
    let pair = case.line.rsplit(' ').next().unwrap();
    let sweep = format!("jail-sweep web /zdata/jails/web-nullfs-base {pair}");
    for line in [&sweep, case.line] {
        let output = scene.run(line, "");
        if !output.status.success() {
            return Err(format!("{line}: {}", scene.told(&output)));
        }
    }
    if let Some(d) = super::difference(&calm.whole, &state(&scene.stage)) {
        return Err(format!("started again: {d}"));
    }
    let down = format!("jail-epair-down web {pair}");
    let output = scene.run(&down, "");
    let told = scene.told(&output);
    let left: Vec<_> =
        state(&scene.stage).into_iter().filter(|l| l.starts_with(&format!("interface {pair}"))).collect();
    if !output.status.success() || !told.is_empty() || !left.is_empty() {
        return Err(format!("{down}: {told}: {left:#?}"));
    }
    Ok(())
}
