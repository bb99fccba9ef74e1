//! Holds the stand-ins against recordings of the real programs.
//!
//! `tests/transcripts/` has what programs of FreeBSD 15.0 said: `$` a command, `>` a line on standard output, `!` a line
//! on standard error, `=` the exit status. Every command that the stand-ins can play is run again here, and everything
//! it says has to be the same. A command that is not run again is listed below with the reason; one that is neither
//! run nor listed is a failure, and so is an entry of a list that has come to fit nothing.

// On FreeBSD the simulated kernel is not there, and the real programs are.
#![cfg(not(target_os = "freebsd"))]

use crate::basetree;
use crate::harness::bin::install_program;
use crate::harness::host;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use host::{Host, PROGRAMS};
use thinjail::system::kernel::simulated::{Simulated, State};
use thinjail::system::root::Root;

/// Transcripts that are run again.
const REPLAYED: &[&str] = &[
    "zfs.txt",
    "system.txt",
    "template.txt",
    "thin-jail.txt",
    "ifconfig.txt",
    "network.txt",
    "jail.txt",
    "update.txt",
    "tar.txt",
    "zfs2.txt",
    "zfs3.txt",
    "setup.txt",
    "fetch.txt",
];

/// Transcripts in another form, and who answers for them.
const OTHER: &[(&str, &str)] = &[(
    "ioctl.txt",
    "results of system calls, not of commands: tests/suite/kernel.rs holds the simulated kernel against them",
)];

/// Utilities that do the same on every system. Absolute paths in their arguments go below the root.
const PLAIN: &[&str] = &[
    ":", "[", "cat", "cd", "cmp", "echo", "grep", "head", "ls", "mkdir", "rm", "sed", "sleep", "sort",
    "tail", "touch", "wc",
];

/// Programs whose result depends on frames that travel between interfaces. Nothing travels between simulated ones, so
/// a command with one of these is not run again unless a rule says what is done in its place.
const TRAFFIC: &[&str] = &["dhclient", "dmesg", "ping"];

/// Programs without a stand-in. A command with one of these and without a program that has a stand-in is not run again.
const ABSENT: &[(&str, &str)] = &[
    ("/usr/bin/time", "measures the recorded machine"),
    ("date", "the time is that of the recording"),
    ("diff", "of files of the recorded host"),
    ("find", "prints what tests/suite/harness/bases.rs looks at"),
    ("sed", "alone, it is for columns that other systems print otherwise"),
    ("stat", "prints file flags, which are not on Linux"),
    ("/zdata/jails/templates/15.0-RELEASE-base/bin/freebsd-version", "a file of a base, not of the host"),
    ("cat", "alone, it shows files of the recorded host"),
    ("chflags", "file flags are not on Linux"),
    ("chroot", "runs programs of a base"),
    ("cp", "recorded for file flags, which are not on Linux"),
    ("grep", "shows the log of a recorded jail"),
    ("rm", "alone, it is recorded for file flags and for large files, which are not here"),
    ("rmdir", "clears up after mounts that are not made here"),
    ("sha256", "of a file of the recorded host"),
    ("tail", "shows the log of a recorded jail"),
    ("zpool", "pools have no stand-in of their own"),
];

/// Stand-ins that no recording holds to anything, and why.
const UNRECORDED: &[(&str, &str)] = &[
    ("route", "what jails start needs no command of its own"),
    ("netstat", "the tests of src/formats/route_table.rs read what was recorded"),
    ("sh", "plays the certctl of a release that was not recorded"),
    ("sync", "says nothing"),
];

/// How a command is treated that is not simply run again.
enum Rule {
    /// Not run, for that reason.
    Skip(&'static str),
    /// This is done in its place, for that reason.
    Instead(fn(&Host), &'static str),
    /// Only this part is run, and has to give that many first lines of standard output; the reason for the rest.
    Part(&'static str, usize, &'static str),
    /// This is done first, and only this part is run, which has to give all that was recorded.
    Prepared(fn(&Host), &'static str, &'static str),
    /// Run, but compared after this change to what is printed, for that reason.
    Alike(Change, &'static str),
    /// Run, and this is done afterwards, for that reason.
    Then(fn(&Host), &'static str),
    /// Not run, as other systems print other columns; this looks whether what was printed is so.
    Looked(fn(&Host, &str) -> Result<(), String>),
}

/// A change to what is printed, to be made before it is compared.
type Change = fn(&str) -> String;

/// Changes to everything that is printed in a transcript before it is compared, and why.
const ALIKE: &[(&str, Change, &str)] = &[
    (
        "ifconfig.txt",
        no_kernel_numbers,
        "numbers and Ethernet addresses of interfaces are the recorded kernel's, and so are the line numbers and \
         pointers of its extended errors, for which GENERIC prints words",
    ),
    (
        "network.txt",
        no_ports,
        "numbers of ports are the recorded kernel's, and so are the line numbers of its extended errors",
    ),
    ("jail.txt", no_jids, "the ids of jails are the recorded kernel's"),
    (
        "fetch.txt",
        no_times_of_files,
        "times and rates are those of the recording, no server keeps a log, and other systems name what is missing or \
         different in other words",
    ),
    (
        "thin-jail.txt",
        |text| no_jids(&no_kernel_numbers(text)),
        "the ids of jails and the numbers and Ethernet addresses of interfaces are the recorded kernel's",
    ),
];

/// What freebsd-update does in update.txt, with a release and a configuration.
macro_rules! update {
    ($release:literal, $rest:literal) => {
        concat!(
            "PAGER=/bin/cat freebsd-update --not-running-from-cron --currently-running ",
            $release,
            " -f /root/conf.B ",
            $rest
        )
    };
}

/// Why what sends or receives is not run again.
const STREAMS: &str = "streams that are cut off and resumed have no stand-in";

/// The exceptions: transcript, command, and what becomes of it.
const RULES: &[(&str, &str, Rule)] = &[
    (
        "setup.txt",
        "kldload pf",
        Rule::Instead(|stage| stage.fault("pf.loaded"), "a file tells that the module is loaded"),
    ),
    (
        "setup.txt",
        "service pf start",
        Rule::Prepared(
            |stage| stage.write("/etc/pf.conf", "pass\n"),
            "service pf start",
            "the host had rules",
        ),
    ),
    (
        "zfs3.txt",
        "zfs send -i zdata/q/skel@base zdata/q/web@s | zfs recv -u p2/web",
        Rule::Alike(
            |said| {
                said.lines()
                    .filter(|line| !line.contains("signal received"))
                    .map(|line| format!("{line}\n"))
                    .collect()
            },
            "the stand-in's streams are so short that the sender has ended by then",
        ),
    ),
    ("zfs3.txt", "zfs send zdata/q/web@s | head -c 400000 | zfs recv -s -u p2/part", Rule::Skip(STREAMS)),
    ("zfs3.txt", "zfs get -H -o value receive_resume_token p2/part | cut -c1-6", Rule::Skip(STREAMS)),
    ("zfs3.txt", "zfs recv -A p2/part", Rule::Skip(STREAMS)),
    (
        "zfs3.txt",
        "mount -p | grep q/web | sed \"s/[[:space:]][[:space:]]*/ /g\"",
        Rule::Instead(
            |stage| {
                stage.tool("zfs", &["rename", "-u", "zdata/q/web3", "zdata/q/web"]);
                stage.tool("umount", &["/tmp/n"]);
            },
            "the mounts of ZFS are not in the simulated mount table; both were undone before what follows",
        ),
    ),
    (
        "zfs3.txt",
        "zfs set mountpoint=/zdata/q/blocked/web zdata/q/web",
        Rule::Then(
            |stage| drop(stage.tool("zfs", &["inherit", "mountpoint", "zdata/q/web"])),
            "it was taken back before what follows",
        ),
    ),
    ("zfs3.txt", "touch /zdata/q/c1/x", Rule::Skip("what is not really mounted is not read-only")),
    (
        "zfs.txt",
        "zfs get -H -o property,value mounted,mountpoint,origin,written,type zdata/t/containers/dev",
        Rule::Alike(
            no_written,
            "written is 0 in the recording because the pool had not been synced; it is above 0 a moment later",
        ),
    ),
    (
        "zfs.txt",
        "zfs list -H -p -o name,creation,used -t snapshot -r zdata/t",
        Rule::Alike(no_times, "the time is that of the recording"),
    ),
    (
        "zfs.txt",
        "touch /zdata/t/templates/14.2-RELEASE-skeleton/new; mkdir /zdata/t/templates/14.2-RELEASE-skeleton/d; \
         ln -s a /zdata/t/templates/14.2-RELEASE-skeleton/l; \
         zfs diff -H -F zdata/t/templates/14.2-RELEASE-skeleton@base",
        Rule::Alike(sorted, "the order is that of object numbers on disk"),
    ),
    (
        "system.txt",
        "ls -lod /zdata/jails/templates/15.0-RELEASE-skeleton/var/empty",
        Rule::Skip("file flags are not on Linux"),
    ),
    (
        "template.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@base \
         zdata/jails/templates/15.0-RELEASE-skeleton@p1 | grep -v /ssl/ | head; \
         zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@base \
         zdata/jails/templates/15.0-RELEASE-skeleton@p1 | grep -c /ssl/",
        Rule::Skip("head cuts a list whose order is that of object numbers on disk"),
    ),
    (
        "template.txt",
        "certctl -D /zdata/jails/templates/15.0-RELEASE-base rehash; echo status $?; \
         ls /zdata/jails/templates/15.0-RELEASE-skeleton/etc/ssl/certs | wc -l; \
         ls -l /zdata/jails/templates/15.0-RELEASE-skeleton/etc/ssl/certs | sed -n 2p | awk '{print $1}'",
        Rule::Part(
            "certctl -D /zdata/jails/templates/15.0-RELEASE-base rehash; echo status $?",
            1,
            "wc and ls print other columns; tests/suite/harness/bases.rs counts and looks",
        ),
    ),
    (
        "template.txt",
        "dd if=/dev/random of=/zdata/jails/containers/pg-1/big bs=1m count=200 2>/dev/null; sync; zpool sync; \
         zpool get -H -o property,value bcloneused,bclonesaved,bcloneratio zdata",
        Rule::Skip("measures block cloning of a real pool"),
    ),
    (
        "system.txt",
        "mkdir /tmp/v2; tar -C /zdata/jails/templates/15.0-RELEASE-skeleton -cf - var | tar -C /tmp/v2 -xpf -; \
         ls -lod /tmp/v2/var/empty /tmp/v2/var/mail /tmp/v2/var/run/ppp",
        Rule::Skip("file flags are not on Linux"),
    ),
    (
        "template.txt",
        "sysctl vfs.zfs.bclone_enabled; zpool get -H -o value feature@block_cloning zdata",
        Rule::Part("sysctl vfs.zfs.bclone_enabled", 1, "zpool has no stand-in"),
    ),
    (
        "thin-jail.txt",
        "jexec pg-1 sh -c \"echo local >> /etc/rc.conf; rm /etc/motd.template; mkdir /usr/local/etc; \
         ln -s x /etc/mylink; chmod 600 /etc/hosts\"",
        Rule::Instead(
            live_in_jail,
            "needs a jail; its changes are made from outside, with those of its daemons",
        ),
    ),
    (
        "thin-jail.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@base zdata/jails/containers/pg-1",
        Rule::Alike(sorted, "the order is that of object numbers on disk"),
    ),
    (
        "thin-jail.txt",
        "zfs get -H -p -o value written,logicalused zdata/jails/containers/pg-1",
        Rule::Alike(no_sizes, "the sizes are those of a real pool"),
    ),
    (
        "system.txt",
        "service jail start dev; jls -j dev jid",
        Rule::Alike(no_jids, "the ids of jails are the recorded kernel's"),
    ),
    (
        "system.txt",
        "mkdir /mnt/a /mnt/b; mount -t nullfs -o ro /mnt/a /mnt/b; touch /mnt/b/x; umount /mnt/b",
        Rule::Part(
            "mkdir /mnt/a /mnt/b; mount -t nullfs -o ro /mnt/a /mnt/b; umount /mnt/b",
            0,
            "what is not really mounted is not read-only",
        ),
    ),
    (
        "system.txt",
        "mount --libxo json -t zfs",
        Rule::Skip("the mounts of ZFS are not in the simulated mount table"),
    ),
    (
        "template.txt",
        "mount -t nullfs /zdata/jails/templates/15.0-RELEASE-skeleton \
         /zdata/jails/templates/15.0-RELEASE-base/skeleton; \
         ls /zdata/jails/templates/15.0-RELEASE-base/etc | head -3",
        Rule::Part(
            "mount -t nullfs /zdata/jails/templates/15.0-RELEASE-skeleton \
             /zdata/jails/templates/15.0-RELEASE-base/skeleton",
            0,
            "ls sees nothing of what is not really mounted",
        ),
    ),
    (
        "template.txt",
        "jexec pg-1 ls /skeleton; jexec pg-1 mount",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    ("template.txt", "ifconfig igc0bridge addr", Rule::Skip("nothing travels between simulated interfaces")),
    (
        "jail.txt",
        "cat /tmp/j/log; rm /tmp/j/log",
        Rule::Alike(no_jids, "unlike other files that are shown, this one is made here"),
    ),
    (
        "thin-jail.txt",
        "jexec pg-1 netstat -rnW -f inet; jexec pg-1 netstat -rn -f inet6 | grep -v fe80",
        Rule::Skip("a routing table holds far more than the one route that is imitated"),
    ),
    (
        "thin-jail.txt",
        "ping -c1 -t3 192.168.7.211 >/dev/null; echo ping4 $?; ping -c1 -t5 fd00:7::211 >/dev/null; \
         echo ping6 $?; jexec pg-1 ping -c1 -t3 192.168.7.101 >/dev/null; echo back $?",
        Rule::Skip("nothing travels between simulated interfaces"),
    ),
    (
        "thin-jail.txt",
        "jexec pg-1 sh -c \"nc -l 5000 >/dev/null &\" ; sleep 1; \
         (sleep 30 | nc 192.168.7.211 5000 >/dev/null & ); sleep 1; \
         jexec pg-1 netstat -n -p tcp -f inet | grep -c ESTAB",
        Rule::Instead(|stage| stage.fault("held-connection"), "a file tells that a connection is open"),
    ),
    (
        "thin-jail.txt",
        "jls -d; mount -t nullfs -p; date +%s",
        Rule::Part("jls -d; mount -t nullfs -p", 3, "the time is that of the recording"),
    ),
    (
        "thin-jail.txt",
        "jls -d; ping -c1 -t3 192.168.7.211 >/dev/null; echo ping $?",
        Rule::Part("jls -d", 3, "nothing travels between simulated interfaces"),
    ),
    (
        "thin-jail.txt",
        "jexec pg-1 sh -c \"nc -l 5000 >/dev/null &\" ; sleep 1; \
         (sleep 60 | nc 192.168.7.211 5000 >/dev/null & ); sleep 1; \
         jexec pg-1 netstat -n -p tcp -f inet | grep -c ESTAB",
        Rule::Instead(
            |stage| {
                stage.fault("held-connection");
                configure(stage, "exec.stop += \"/usr/sbin/tcpdrop -a\";");
            },
            "a file tells that a connection is open; the jail now drops it",
        ),
    ),
    (
        "thin-jail.txt",
        "jexec pg-1 ifconfig epair211b destroy; ifconfig -l",
        Rule::Then(
            |stage| configure(stage, "exec.stop += \"/sbin/ifconfig epair211b down\";"),
            "the recorded jail was configured anew",
        ),
    ),
    (
        "thin-jail.txt",
        "service jail start pg-1; jail -R pg-1; ifconfig -l; mount -t nullfs -p; mount -t devfs -p",
        Rule::Then(|stage| configure(stage, ""), "the recorded jail was configured anew"),
    ),
    (
        "thin-jail.txt",
        "ifconfig igc0bridge mtu 9000; service jail start pg-1; jexec pg-1 ifconfig epair211b | head -4; \
         ping -c1 -t3 -s 8000 -D 192.168.7.211 >/dev/null; echo bigping $?",
        Rule::Part(
            "ifconfig igc0bridge mtu 9000; service jail start pg-1; jexec pg-1 ifconfig epair211b | head -4",
            5,
            "nothing travels between simulated interfaces",
        ),
    ),
    (
        "thin-jail.txt",
        "service jail stop pg-1; ifconfig igc0bridge mtu 1500; ifconfig -l",
        Rule::Then(
            |stage| {
                configure(
                    stage,
                    "exec.prepare = \"/tmp/j/sweep prepare ${name} ${path}\"; \
                     exec.release = \"/tmp/j/sweep release ${name} ${path}\";",
                );
            },
            "the recorded jail was configured anew",
        ),
    ),
    (
        "thin-jail.txt",
        "jexec pg-1 sh -c \"nc -l 5000 >/dev/null &\" ; sleep 1; \
         (sleep 100 | nc 192.168.7.211 5000 >/dev/null & ); sleep 1; \
         jexec pg-1 netstat -n -p tcp -f inet | grep -c ESTAB",
        Rule::Instead(|stage| stage.fault("held-connection"), "a file tells that a connection is open"),
    ),
    (
        "thin-jail.txt",
        "(cd /zdata/jails/pg-1-nullfs-base/skeleton/etc && sleep 25 & ) ; service jail stop pg-1; \
         mount -t nullfs -p; cat /tmp/sweep.log; rm /tmp/sweep.log",
        Rule::Prepared(
            |stage| {
                change(stage, |state| {
                    let skeleton = |on: &Path| on.ends_with("pg-1-nullfs-base/skeleton");
                    state.mounts.iter_mut().filter(|mount| skeleton(&mount.on)).for_each(|m| m.busy = true);
                });
            },
            "service jail stop pg-1; mount -t nullfs -p; cat /tmp/sweep.log; rm /tmp/sweep.log",
            "nobody can be in a directory of a mount that is not real; the kernel is told that somebody is",
        ),
    ),
    (
        "update.txt",
        "pkg -N -r /zdata/jails/templates/15.0-RELEASE-base",
        Rule::Skip("pkg is not on that host"),
    ),
    (
        "update.txt",
        "cd /var/db/freebsd-update; grep -v '|f|' *-install/INDEX-OLD",
        Rule::Alike(no_uarch, "the flag uarch is that of ZFS"),
    ),
    (
        "update.txt",
        "cd /var/db/freebsd-update; grep -v '|f|' *-install/INDEX-NEW",
        Rule::Alike(no_uarch, "the flag uarch is that of ZFS"),
    ),
    (
        "update.txt",
        "cd /var/db/freebsd-update; grep -v '|f|' *-install/INDEX-OLD; echo; grep -v '|f|' *-install/INDEX-NEW",
        Rule::Alike(no_uarch, "the flag uarch is that of ZFS"),
    ),
    (
        "update.txt",
        "cd /var/db/freebsd-update; cut -d '|' -f 1-6,8 *-install/INDEX-NEW | grep '|f|'",
        Rule::Alike(no_uarch, "the flag uarch is that of ZFS"),
    ),
    (
        "update.txt",
        "jexec t /bin/freebsd-version -u; jexec t ls -la /etc /var /tmp /root",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "update.txt",
        "jexec t id; jexec t sh -c ': > /tmp/x'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "update.txt",
        "ls -l /zdata/jails/templates/15.0-RELEASE-base | grep -- '->'; jexec t /bin/freebsd-version -u; \
         jexec t ls /etc | head -3; cat /zdata/jails/containers/t/var/log/loop.count",
        Rule::Instead(
            |stage| {
                stage.tool("umount", &["/zdata/jails/templates/15.0-RELEASE-base/skeleton"]);
                let place = stage.path("/var/db/freebsd-update");
                fs::remove_dir_all(&place).expect("remove a directory");
                fs::create_dir(&place).expect("make a directory");
            },
            "what a jail sees of the files is not imitated; the recorded host was set up anew",
        ),
    ),
    ("update.txt", "ls -la /var/db/freebsd-update", Rule::Skip("the times are those of the recording")),
    (
        "update.txt",
        "ls -l /var/db/freebsd-update | sed 1d; du -sh /var/db/freebsd-update",
        Rule::Skip("the times are those of the recording"),
    ),
    (
        "update.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-base@pre",
        Rule::Alike(
            no_open_files,
            "the order is that of object numbers on disk, and what is gone is listed otherwise while it is open",
        ),
    ),
    (
        "update.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@pre | grep -v /ssl/; \
         zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@pre | grep -c /ssl/",
        Rule::Alike(sorted, "the order is that of object numbers on disk"),
    ),
    (
        "update.txt",
        "cat /zdata/jails/containers/t/var/log/loop.count; sleep 2; \
         cat /zdata/jails/containers/t/var/log/loop.count; cat /zdata/jails/containers/t/var/log/loop.fail",
        Rule::Skip("what ran in a jail is not imitated"),
    ),
    (
        "update.txt",
        "jexec t freebsd-version -u; jexec t ps ax -o command; jexec t tail -1 /etc/services; \
         jexec t ls /etc/p1-new.conf",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "update.txt",
        "cp /root/mirror/15.0-RELEASE/amd64/latest.past /root/mirror/15.0-RELEASE/amd64/latest.ssl",
        Rule::Instead(|stage| stage.fault(EOL), "a file tells that the release is at its end"),
    ),
    (
        "update.txt",
        update!("15.0-RELEASE", "-b /zdata/jails/templates/15.0-RELEASE-base -F fetch </dev/null >/dev/null"),
        Rule::Prepared(
            |stage| {
                stage.clear_fault(EOL);
                for dataset in ["base", "skeleton"] {
                    let snapshot = format!("zdata/jails/templates/15.0-RELEASE-{dataset}@pre");
                    stage.tool("zfs", &["rollback", &snapshot]);
                }
            },
            update!(
                "15.0-RELEASE",
                "-b /zdata/jails/templates/15.0-RELEASE-base -F fetch </dev/null >/dev/null"
            ),
            "the recorded host was set up anew",
        ),
    ),
    (
        "update.txt",
        "PAGER=/bin/cat timeout -s KILL 2 freebsd-update --not-running-from-cron --currently-running 15.0-RELEASE \
         -f /root/conf.B -b /zdata/jails/templates/15.0-RELEASE-base install </dev/null",
        Rule::Skip("it was killed before it had changed anything"),
    ),
    (
        "update.txt",
        "cd /var/db/freebsd-update && ls; ls *-install/",
        Rule::Skip("a name is made up, and no list of servers is kept"),
    ),
    (
        "update.txt",
        "cd /zdata/jails/templates/15.0-RELEASE-base && stat -f '%Sp %l %Sf %z %N' bin/[ bin/test \
         lib/libc.so.7 libexec/ld-elf.so.1 usr/bin/su usr/bin/true; bin/freebsd-version -u; \
         jexec t freebsd-version -u",
        Rule::Skip("prints file flags, which are not on Linux"),
    ),
    (
        "update.txt",
        "jexec t freebsd-version -u; jexec t ls / | head -2",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "update.txt",
        "cd /zdata/jails/templates/15.0-RELEASE-base && stat -f '%Sp %l %Sf %z %N' bin/[ lib/libc.so.7 \
         libexec/ld-elf.so.1; ls etc | head -2; mount -t nullfs -p",
        Rule::Skip("prints file flags, which are not on Linux"),
    ),
    (
        "update.txt",
        "PAGER=/bin/cat timeout -s KILL 3 freebsd-update --not-running-from-cron --currently-running 15.0-RELEASE \
         -f /root/conf.B -b /zdata/jails/templates/15.0-RELEASE-base install </dev/null",
        Rule::Instead(
            |stage| {
                stage.fault_with("update-break", "8");
                let base = "/zdata/jails/templates/15.0-RELEASE-base";
                let args =
                    ["--not-running-from-cron", "--currently-running", "15.0-RELEASE", "-f", "/root/conf.B"];
                let output =
                    stage.run_tool("freebsd-update", &[&args[..], &["-b", base, "install"]].concat());
                assert_eq!(output.status.code(), Some(1));
            },
            "it fails in the middle instead of being killed there",
        ),
    ),
    (
        "update.txt",
        "cd /var/db/freebsd-update && ls -d *install* INDEX* 2>/dev/null; ls *-install/; \
         cd /zdata/jails/templates/15.0-RELEASE-base && bin/freebsd-version -u; \
         stat -f '%Sf %z %N' lib/libc.so.7 libexec/ld-elf.so.1 usr/bin/su",
        Rule::Skip("prints file flags, which are not on Linux"),
    ),
    (
        "update.txt",
        update!("15.0-RELEASE-p1", "-b /zdata/jails/templates/15.0-RELEASE-base rollback </dev/null"),
        Rule::Instead(
            |stage| {
                for dataset in ["base", "skeleton"] {
                    let snapshot = format!("zdata/jails/templates/15.0-RELEASE-{dataset}@pre");
                    stage.tool("zfs", &["rollback", &snapshot]);
                }
            },
            "its own way back is not used, as it leaves more behind than that of ZFS",
        ),
    ),
    (
        "update.txt",
        "/zdata/jails/templates/15.0-RELEASE-base/bin/freebsd-version -u; \
         zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@pre | grep -v /ssl/",
        Rule::Skip("shows what that way back leaves behind"),
    ),
    (
        "update.txt",
        "echo garbage >/root/mirror/15.0-RELEASE/amd64/latest.ssl",
        Rule::Instead(|stage| stage.fault("update-invalid"), "a file tells that the signature is bad"),
    ),
    (
        "update.txt",
        "cp /root/latest.ssl /root/mirror/15.0-RELEASE/amd64/latest.ssl",
        Rule::Instead(|stage| stage.clear_fault("update-invalid"), "a file told that the signature was bad"),
    ),
    (
        "update.txt",
        "mkdir /var/db/w2; H=$(sha256 -q /zdata/jails/templates/15.0-RELEASE-base/usr/bin/true); \
         cd /root/mirror/15.0-RELEASE/amd64/f; for f in *.gz; do gunzip -c $f | strings | grep -q '^# p1' && rm $f \
         && echo removed one && break; done",
        Rule::Instead(
            |stage| {
                fs::create_dir(stage.path("/var/db/w2")).expect("make a directory");
                stage.fault("update-missing");
            },
            "a file tells that one is missing on the server",
        ),
    ),
    (
        "update.txt",
        update!(
            "15.0-RELEASE",
            "-d /var/db/w2 -b /zdata/jails/templates/15.0-RELEASE-base updatesready </dev/null"
        ),
        Rule::Then(|stage| stage.fault("update-unreachable"), "from here on there was no server"),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; ls /root/x | od -c | sed \\$d",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; ls /root/x | wc -l",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; du -Ah /root/x/huge; du -h /root/x/huge",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; cat /root/victim",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; ls -li /etc/passwd",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; stat -f \"%Sp %u:%g %N\" /root/x /root/x/etc",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; ls -loA /root/x | grep flags; \
         stat -f \"%N %Sp %u:%g %l %m\" /root/x/dir/file /root/x/hard /root/x/suid /root/x/noname",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; ls -li /root/victim",
        Rule::Looked(extracted),
    ),
    (
        "tar.txt",
        "ls -lBA /root/x; ls -d /tmp/escaped* /root/escaped* /root/outside/* 2>/dev/null; ls -B /root/x",
        Rule::Looked(extracted),
    ),
    ("tar.txt", "tar --version", Rule::Skip("the version of the real one")),
    ("tar.txt", "tar -tvf /root/a/bomb-300m.txz", Rule::Skip("300 MB are not unpacked here")),
    ("tar.txt", "tar -xpf /root/a/bomb-300m.txz -C /root/x", Rule::Skip("300 MB are not unpacked here")),
    (
        "tar.txt",
        "(tar -xpf /root/a/bomb-300m.txz -C /root/x & p=$!; sleep 0.2; kill -9 $p; wait $p)",
        Rule::Skip("300 MB are not unpacked here"),
    ),
    ("tar.txt", "ls -l /root/x", Rule::Skip("of a full file system")),
    ("tar.txt", "tar -xpf /root/a/plain.tar -C /root/x", Rule::Skip("into a file system that is read-only")),
    (
        "tar.txt",
        "tar -tvf /root/a/types.txz",
        Rule::Alike(no_hours, "what was new when it was recorded is old by now"),
    ),
    (
        "tar.txt",
        "tar -xpf /root/a/truncated.txz -C /root/x",
        Rule::Alike(
            no_numbers,
            "the crate that decompresses needs more at once than liblzma, so less of it is seen",
        ),
    ),
    (
        "tar.txt",
        "tar -tf /root/a/truncated.txz | tail -1",
        Rule::Alike(
            no_numbers,
            "the crate that decompresses needs more at once than liblzma, so less of it is seen",
        ),
    ),
    (
        "tar.txt",
        "tar -xpf /root/a/corrupt.txz -C /root/x",
        Rule::Alike(
            no_numbers,
            "the crate that decompresses needs more at once than liblzma, so less of it is seen",
        ),
    ),
    (
        "tar.txt",
        "tar -tf /root/a/corrupt.txz | tail -1",
        Rule::Alike(
            no_numbers,
            "the crate that decompresses needs more at once than liblzma, so less of it is seen",
        ),
    ),
    (
        "tar.txt",
        "tar -xpf /root/a/tail-garbage.txz -C /root/x",
        Rule::Alike(
            no_numbers,
            "the crate that decompresses needs more at once than liblzma, so less of it is seen",
        ),
    ),
    (
        "update.txt",
        update!(
            "15.0-RELEASE",
            "-d /var/db/w3 -s nohost.invalid -b /zdata/jails/templates/15.0-RELEASE-base -F fetch </dev/null"
        ),
        Rule::Then(|stage| stage.clear_fault("update-unreachable"), "from here on there was a server again"),
    ),
    (
        "update.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-base@pre; ls /var/db/freebsd-update/*-install/",
        Rule::Skip("as much as was installed when it was killed"),
    ),
    (
        "update.txt",
        "jexec t sh -c 'freebsd-version -u; ls / | head -2'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "update.txt",
        "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-base@pre; \
         zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@pre; mount -t nullfs -p; \
         ls /zdata/jails/templates/15.0-RELEASE-base/etc | head -2; jexec t freebsd-version -u",
        Rule::Part(
            "zfs diff -H -F zdata/jails/templates/15.0-RELEASE-base@pre; \
             zfs diff -H -F zdata/jails/templates/15.0-RELEASE-skeleton@pre; mount -t nullfs -p",
            3,
            "ls sees nothing of what is not really mounted, and what a jail sees is not imitated",
        ),
    ),
    (
        "update.txt",
        "touch /zdata/jails/containers/t/var/log/stop; sleep 1; \
         cat /zdata/jails/containers/t/var/log/tight; wc -l < /zdata/jails/containers/t/var/log/n",
        Rule::Skip("what ran in a jail is not imitated"),
    ),
    (
        "update.txt",
        "touch $(echo /var/db/freebsd-update/*-install)/kerneldone \
         $(echo /var/db/freebsd-update/*-install)/worlddone",
        Rule::Instead(
            |stage| {
                let all = fs::read_dir(stage.path("/var/db/freebsd-update")).expect("list a directory");
                let pending = all
                    .map(|entry| entry.expect("list a directory").path())
                    .find(|path| path.to_string_lossy().ends_with("-install"));
                for done in ["kerneldone", "worlddone"] {
                    fs::write(pending.as_ref().expect("an update").join(done), "").expect("write a file");
                }
            },
            "a word that begins with a dollar is no path to put below the root",
        ),
    ),
    (
        "update.txt",
        "sysctl kern.securelevel=1",
        Rule::Instead(
            |stage| stage.fault_with("sysctl.conf", "kern.securelevel=1\n"),
            "a file tells what the kernel is set to",
        ),
    ),
    (
        "zfs2.txt",
        "zfs create -o thinjail:a=\"two words\" -o readonly=on zdata/t/q; zfs get -H -o property,value,source thinjail:a,readonly zdata/t/q; touch /zdata/t/q/x",
        Rule::Part(
            "zfs create -o thinjail:a=\"two words\" -o readonly=on zdata/t/q; zfs get -H -o property,value,source thinjail:a,readonly zdata/t/q",
            2,
            "what is not really mounted is not read-only",
        ),
    ),
    (
        "zfs2.txt",
        "zfs set a:b=\"tab	new\" c:d=x zdata/t/p; zfs get -H -o property,value,source all zdata/t/p | grep ':'",
        Rule::Alike(
            no_calendar,
            "the time is that of the recording, and the order that in which properties were set",
        ),
    ),
    (
        "zfs2.txt",
        "zfs get -H -p -o value available,used zdata/t; zfs get -H -p -o name,property,value available,used,referenced,usedbysnapshots zdata/t/p",
        Rule::Alike(no_sizes_in_columns, "the sizes are those of a real pool"),
    ),
    (
        "zfs2.txt",
        "zfs get -H -o value readonly zdata/t/p; zfs set readonly=on zdata/t/p; zfs get -H -o value,source readonly zdata/t/p; touch /zdata/elsewhere/x; mount | grep elsewhere",
        Rule::Part(
            "zfs get -H -o value readonly zdata/t/p; zfs set readonly=on zdata/t/p; zfs get -H -o value,source readonly zdata/t/p",
            2,
            "what is not really mounted is not read-only",
        ),
    ),
    (
        "zfs2.txt",
        "zfs list -H -o name,mounted,mountpoint -r zdata/t; mount | grep 'zdata/t/[bc]'; ls /mnt/n",
        Rule::Part(
            "zfs list -H -o name,mounted,mountpoint -r zdata/t",
            3,
            "the mounts of ZFS are not in the simulated mount table, and what is not really mounted is not seen",
        ),
    ),
    (
        "zfs2.txt",
        "zfs rename -u zdata/t/b zdata/t/c; zfs list -H -o name,mounted,mountpoint -r zdata/t; mount | grep 'zdata/t/[bc]'; ls /mnt/n",
        Rule::Part(
            "zfs rename -u zdata/t/b zdata/t/c; zfs list -H -o name,mounted,mountpoint -r zdata/t",
            3,
            "the mounts of ZFS are not in the simulated mount table, and what is not really mounted is not seen",
        ),
    ),
    (
        "zfs2.txt",
        "zfs rename -u zdata/t/c zdata/t/b; zfs list -H -o name,mounted,mountpoint -r zdata/t; umount /mnt/n; zfs unmount zdata/t/b; zfs mount zdata/t/b; zfs list -H -o name,mounted,mountpoint zdata/t/b; mount | grep 'zdata/t/[bc]'",
        Rule::Part(
            "zfs rename -u zdata/t/c zdata/t/b; zfs list -H -o name,mounted,mountpoint -r zdata/t; umount /mnt/n; zfs unmount zdata/t/b; zfs mount zdata/t/b; zfs list -H -o name,mounted,mountpoint zdata/t/b",
            4,
            "the mounts of ZFS are not in the simulated mount table, and what is not really mounted is not seen",
        ),
    ),
    (
        "zfs2.txt",
        "cd /zdata/t/b && zfs rename zdata/t/b zdata/t/c; pwd; ls",
        Rule::Part(
            "cd /zdata/t/b && ! zfs rename zdata/t/b zdata/t/c 2>/dev/null",
            0,
            "a directory that another system prints has the root before it",
        ),
    ),
    (
        "zfs2.txt",
        "(sleep 3 < /zdata/t/b/f & ); sleep 0.5; zfs rename zdata/t/b zdata/t/c; zfs list -H -o name,mounted,mountpoint -r zdata/t; sleep 3",
        Rule::Skip("an open file keeps nothing busy here"),
    ),
    (
        "zfs2.txt",
        "zfs list -H -o name,mounted zdata/t/afile; zfs destroy zdata/t/afile; ls -l /zdata/t/afile",
        Rule::Part(
            "zfs list -H -o name,mounted zdata/t/afile; zfs destroy zdata/t/afile",
            1,
            "the time is that of the recording",
        ),
    ),
    (
        "zfs2.txt",
        "zfs list -H -p -o name,createtxg,creation -t snapshot -d 1 zdata/t/s",
        Rule::Alike(
            no_group_numbers,
            "the numbers of transaction groups and the times are those of the recording",
        ),
    ),
    (
        "zfs2.txt",
        "zfs list -H -p -o name,createtxg -s name -t snapshot -d 1 zdata/t/s; echo; zfs list -H -p -o name -t snapshot zdata/t/s; echo; zfs list -H -p -o name -S createtxg -t snapshot -d 1 zdata/t/s",
        Rule::Alike(no_group_numbers, "the numbers of transaction groups are those of the recording"),
    ),
    (
        "zfs2.txt",
        "zfs snapshot zdata/t/s@both zdata/t/c@both; zfs list -H -p -o name,createtxg,creation -t snapshot -r zdata/t | grep both",
        Rule::Alike(
            no_group_numbers,
            "the numbers of transaction groups and the times are those of the recording",
        ),
    ),
    (
        "zfs2.txt",
        "zfs destroy -d zdata/t/s@zz; zfs list -H -o name,defer_destroy -t snapshot -r zdata/t/s; zfs destroy zdata/t/clone; zfs list -H -o name -t snapshot -r zdata/t/s",
        Rule::Instead(
            |stage| {
                stage.tool("zfs", &["destroy", "zdata/t/clone"]);
                stage.tool("zfs", &["destroy", "zdata/t/s@zz"]);
            },
            "nothing here puts a destruction off",
        ),
    ),
    (
        "zfs2.txt",
        "zfs snapshot zdata/t/s@zz; zfs get -H -o value clones zdata/t/s@zz | od -c",
        Rule::Part(
            "zfs snapshot zdata/t/s@zz; zfs get -H -o value clones zdata/t/s@zz | grep -q -x -e -",
            0,
            "od prints other columns",
        ),
    ),
    (
        "zfs2.txt",
        "(cd /zdata/t/s/newdir; exec 3>x; zfs rollback zdata/t/s@one; echo rollback $?; pwd; /bin/pwd; ls; ls /zdata/t/s; cat /zdata/t/s/f; echo late >&3)",
        Rule::Part(
            "zfs rollback zdata/t/s@one",
            0,
            "the directory of a process stays usable when what is in it is replaced here",
        ),
    ),
    (
        "zfs2.txt",
        "zfs destroy -f zdata/t/d; zfs list -H -o name,mounted zdata/t/d; mount | grep -e /mnt/n -e t/d; ls /mnt/n",
        Rule::Part(
            "zfs destroy -f zdata/t/d 2>/dev/null; zfs list -H -o name,mounted zdata/t/d",
            1,
            "the mounts of ZFS are not in the simulated mount table, and what is not really mounted is not seen",
        ),
    ),
    (
        "zfs2.txt",
        "umount /mnt/n; zfs list -H -o name,mounted zdata/t/d; zfs destroy zdata/t/d; ls -d /zdata/t/d",
        Rule::Part(
            "umount /mnt/n; zfs list -H -o name,mounted zdata/t/d; zfs destroy zdata/t/d",
            1,
            "ls says it in other words",
        ),
    ),
    (
        "zfs2.txt",
        "zfs create zdata/t/d; touch /zdata/t/d/f; (sleep 3 < /zdata/t/d/f & ) ; sleep 0.5; zfs destroy zdata/t/d; zfs unmount zdata/t/d; sleep 3; zfs destroy zdata/t/d",
        Rule::Skip("an open file keeps nothing busy here"),
    ),
    (
        "zfs2.txt",
        "mkdir /zdata/jails/j; mount -t nullfs -o ro /zdata/jails/templates/15.0-RELEASE-base /zdata/jails/j; mount -t nullfs /zdata/jails/containers/j /zdata/jails/j/skeleton; mount -t devfs devfs /zdata/jails/j/dev; jail -c name=j path=/zdata/jails/j persist; jls -j j name",
        Rule::Part(
            "mkdir /zdata/jails/j; mount -t nullfs -o ro /zdata/jails/templates/15.0-RELEASE-base /zdata/jails/j; mount -t nullfs /zdata/jails/containers/j /zdata/jails/j/skeleton; mount -t devfs devfs /zdata/jails/j/dev",
            0,
            "jails are started from their configuration",
        ),
    ),
    (
        "zfs2.txt",
        "jexec j sh -c 'daemon -f sleep 1000; daemon -f sh -c \"exec 3</usr/share/misc/ascii; while :; do sleep 1; done\"; daemon -f tail -f /usr/share/misc/flowers /COPYRIGHT'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "cd /zdata/jails/templates/15.0-RELEASE-base && cp bin/sh usr/bin/newsh && cp bin/sleep usr/bin/newsleep && cp usr/bin/true usr/bin/true.new && printf x >> usr/bin/true.new && mv usr/bin/true.new usr/bin/true && cat usr/bin/true > usr/bin/false && echo changed > usr/share/misc/ascii && mkdir usr/share/newdir && rm usr/bin/bspatch",
        Rule::Skip("changes programs that a jail runs"),
    ),
    (
        "zfs2.txt",
        "jexec j sh -c 'daemon -f newsleep 1000; (cd /usr/share/newdir; daemon newsh -c \"while :; do /bin/sleep 1; pwd; /usr/bin/false && echo false is true; [ -e /usr/share/newdir ]; echo newdir \\$?; done\" >/var/log/newsh 2>&1); cat /usr/share/misc/ascii; false; echo false $?; ls /usr/bin/bspatch; sleep 3; tail -3 /var/log/newsh'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    ("zfs2.txt", "jexec j ps axw -o command", Rule::Skip("what a jail sees of the files is not imitated")),
    (
        "zfs2.txt",
        "cd / && zfs rollback zdata/jails/templates/15.0-RELEASE-base@pre",
        Rule::Part(
            "zfs rollback zdata/jails/templates/15.0-RELEASE-base@pre",
            0,
            "it runs in the recorded directory here",
        ),
    ),
    (
        "zfs2.txt",
        "jexec j sh -c 'head -3 /usr/share/misc/ascii; false; echo false $?; true; echo true $?; ls -l /usr/bin/bspatch; ls /usr/bin/new*; ls -d /usr/share/newdir'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "sleep 3; jexec j ps axw -o command; jexec j tail -4 /var/log/newsh",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "jexec j sh -c 'ls / /etc | wc -l; id; freebsd-version; openssl version; cat /COPYRIGHT | wc -l; echo x > /tmp/x; cat /tmp/x; newsh -c true'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "mount -t nullfs -p; zfs get -H -o value mounted zdata/jails/templates/15.0-RELEASE-base; ls /zdata/jails/templates/15.0-RELEASE-base | head -3",
        Rule::Part(
            "mount -t nullfs -p; zfs get -H -o value mounted zdata/jails/templates/15.0-RELEASE-base",
            3,
            "the base has next to nothing in it",
        ),
    ),
    (
        "zfs2.txt",
        "for i in 1 2 3 4 5 6 7 8 9 10; do date > /zdata/jails/templates/15.0-RELEASE-base/usr/share/misc/ascii; zfs rollback zdata/jails/templates/15.0-RELEASE-base@pre || echo failed; done; sleep 1; cat /zdata/jails/containers/j/var/log/busy; cat /zdata/jails/containers/j/var/log/n",
        Rule::Skip("changes programs that a jail runs"),
    ),
    (
        "zfs2.txt",
        "zfs snapshot zdata/jails/containers/j@x; jexec j sh -c 'echo later > /etc/later; daemon -f sh -c \"exec 3>>/var/log/open; while :; do sleep 1; echo x >&3 || exit 3; done\"'; sleep 2; zfs rollback zdata/jails/containers/j@x; sleep 2; jexec j sh -c 'ls /etc/later /var/log/open; echo y > /etc/y; cat /etc/y'; jexec j ps axw -o command",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "jail -r j; umount /zdata/jails/j/dev; umount /zdata/jails/j/skeleton; umount /zdata/jails/j; mount -t nullfs -p; zfs destroy -r zdata/jails/containers/j; zfs destroy zdata/jails/templates/15.0-RELEASE-base@pre; zfs destroy zdata/jails/templates/15.0-RELEASE-skeleton@pre; zfs destroy -r zdata/t; zfs list -H -o name -t all",
        Rule::Prepared(
            |_| {},
            "umount /zdata/jails/j/dev; umount /zdata/jails/j/skeleton; umount /zdata/jails/j; mount -t nullfs -p; zfs destroy -r zdata/jails/containers/j; zfs destroy zdata/jails/templates/15.0-RELEASE-base@pre; zfs destroy zdata/jails/templates/15.0-RELEASE-skeleton@pre; zfs destroy -r zdata/t; zfs list -H -o name -t all",
            "the jail was not started from a configuration",
        ),
    ),
    (
        "zfs2.txt",
        "jexec j sh -c 'daemon sh -c \"while :; do sleep 1; echo old sh >&3; done 3>/var/log/oldsh\"'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "cd /zdata/jails/templates/15.0-RELEASE-base && cp -p bin/sh usr/bin/newsh && cp -p bin/sh bin/sh.new && printf x >> bin/sh.new && mv bin/sh.new bin/sh && cp -p lib/libc.so.7 lib/libc.new && printf x >> lib/libc.new && mv lib/libc.new lib/libc.so.7; ls -l bin/sh lib/libc.so.7",
        Rule::Skip("changes programs that a jail runs"),
    ),
    (
        "zfs2.txt",
        "jexec j sh -c 'daemon sh -c \"while :; do sleep 1; echo new sh >&3; done 3>/var/log/newsh\"; daemon newsh -c \"while :; do sleep 1; echo newsh >&3; done 3>/var/log/newsh2\"; sleep 3'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "jexec j ps axw -o command | grep 'sh -c while'; cd / && zfs rollback zdata/jails/templates/15.0-RELEASE-base@pre; sleep 5; jexec j ps axw -o command | grep 'sh -c while'; tail -n 3 /var/log/messages | cut -d ' ' -f 4-",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "jexec j sh -c 'sh -c \"echo a fresh shell\"; ls -l /bin/sh /lib/libc.so.7; date >/dev/null && ls /usr/bin | wc -l'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "zfs destroy zdata/jails/templates/15.0-RELEASE-base@pre; jexec j sh -c 'echo fine'",
        Rule::Skip("what a jail sees of the files is not imitated"),
    ),
    (
        "zfs2.txt",
        "zfs rename zdata/jails/templates/15.0-RELEASE-base zdata/jails/templates/15.0-RELEASE-p1-base",
        Rule::Prepared(
            |stage| {
                let base = "/zdata/jails/templates/15.0-RELEASE-base";
                fs::create_dir_all(stage.path("/zdata/jails/j")).expect("make a directory");
                stage.tool("mount", &["-t", "nullfs", "-o", "ro", base, "/zdata/jails/j"]);
                let snapshot = "zdata/jails/templates/15.0-RELEASE-skeleton@base";
                stage.tool("zfs", &["clone", snapshot, "zdata/jails/containers/j"]);
                let container = "/zdata/jails/containers/j";
                stage.tool("mount", &["-t", "nullfs", container, "/zdata/jails/j/skeleton"]);
            },
            "zfs rename zdata/jails/templates/15.0-RELEASE-base zdata/jails/templates/15.0-RELEASE-p1-base",
            "the recorded jail was there again",
        ),
    ),
    (
        "fetch.txt",
        "cd /root/f; fetch -q -o x notaurl; echo status $?",
        Rule::Skip("only good URLs are imitated"),
    ),
    (
        "fetch.txt",
        "cd /root/f; fetch -q -o x ftpx://127.0.0.1/x; echo status $?",
        Rule::Skip("only good URLs are imitated"),
    ),
    (
        "fetch.txt",
        "cd /root/f; fetch -q -o - http://127.0.0.1:8080/small; echo status $?",
        Rule::Skip("no program asks for it"),
    ),
    (
        "fetch.txt",
        "cd /root/f; timeout 12 fetch -q -T 2 -o stalled http://127.0.0.1:8080/stall/100000/big; echo status $?; [ -e stalled ] && ls stalled",
        Rule::Skip("no server here falls silent"),
    ),
    (
        "fetch.txt",
        "cd /root/f; timeout 12 fetch -q -R -T 2 -o stalled http://127.0.0.1:8080/stall/100000/big; echo status $?; wc -c stalled",
        Rule::Skip("no server here falls silent"),
    ),
    (
        "fetch.txt",
        "(nc -l 127.0.0.1 8082 >/dev/null < /dev/null & ) ; sleep 1; cd /root/f; fetch -q -T 2 -R -r -o part http://127.0.0.1:8082/big; echo status $?; wc -c part",
        Rule::Skip("no server here falls silent"),
    ),
    (
        "fetch.txt",
        "cd /root/f; rm -f part; timeout 12 fetch -q -T 2 -R -r -o part http://127.0.0.1:8080/stall/100000/big; echo status $?; wc -c part",
        Rule::Skip("no server here falls silent"),
    ),
    (
        "fetch.txt",
        "cd /root/f; rm -f part; timeout 2 fetch -q -R -r -o part http://127.0.0.1:8080/stall/100000/big; echo status $?; wc -c part",
        Rule::Skip("no server here falls silent"),
    ),
    (
        "fetch.txt",
        "cd /root/f; rm -f part; timeout -k 5 -s INT 2 fetch -q -R -r -o part http://127.0.0.1:8080/stall/100000/big; echo status $?; wc -c part",
        Rule::Skip("no server here falls silent"),
    ),
    (
        "fetch.txt",
        "cd /root/f; rm -f part; timeout -s KILL 2 fetch -q -R -r -o part http://127.0.0.1:8080/stall/100000/big; echo status $?; wc -c part",
        Rule::Skip("no server here falls silent"),
    ),
    (
        "fetch.txt",
        "cd /root/f; rm -f part; fetch -q -S 300000 -o part http://127.0.0.1:8080/big; echo status $?; fetch -q -S 300001 -o part2 http://127.0.0.1:8080/big; echo status $?; [ -e part2 ] && ls part2",
        Rule::Skip("no program asks for it"),
    ),
    (
        "fetch.txt",
        "cd /root/f; :; fetch -q -m -o part http://127.0.0.1:8080/big; echo status $?; :; :",
        Rule::Skip("no program asks for it"),
    ),
    (
        "fetch.txt",
        "cd /root/f; mkdir t; mount -t tmpfs -o size=100k tmpfs t; fetch -q -R -r -o t/part http://127.0.0.1:8080/big; echo status $?; umount t",
        Rule::Skip("what is not really mounted is not full"),
    ),
    (
        "fetch.txt",
        "cd /root/f; fetch -q -1 -o one http://127.0.0.1:8080/nope http://127.0.0.1:8080/big; echo status $?",
        Rule::Skip("no program asks for it"),
    ),
    (
        "fetch.txt",
        "cd /root/f; chmod 500 .; fetch -q -o /zdata/nodir/deep/x http://127.0.0.1:8080/big; echo status $?",
        Rule::Skip("root may write there"),
    ),
    (
        "fetch.txt",
        "cd /root/f; fetch -q -o tls https://127.0.0.1:8080/big; echo status $?; [ -e tls ] && ls tls",
        Rule::Skip("only good URLs are imitated"),
    ),
    (
        "ifconfig.txt",
        "su -m nobody -c \"ifconfig epair9 create\"",
        Rule::Prepared(nobody, "ifconfig epair9 create", "the kernel is told who asks"),
    ),
    (
        "ifconfig.txt",
        "su -m nobody -c \"ifconfig igc0bridge addm epair9a\"",
        Rule::Prepared(nobody, "ifconfig igc0bridge addm epair9a", "the kernel is told who asks"),
    ),
    (
        "network.txt",
        "sysctl net.link.bridge.member_ifaddrs=0",
        Rule::Prepared(
            |stage| {
                stage.tool("ifconfig", &["br9", "deletem", "nic0"]);
                stage.tool("sysctl", &["net.link.bridge.member_ifaddrs=0"]);
            },
            "sysctl net.link.bridge.member_ifaddrs=0",
            "the recorded host had it set once before, and the member removed",
        ),
    ),
    (
        "network.txt",
        "ifconfig nic0 inet 10.9.0.2/24",
        Rule::Then(jails_of_network, "the jails were made and started now"),
    ),
    (
        "network.txt",
        "jexec j91 ping -q -c 1 -t 2 10.9.0.1 >/dev/null",
        Rule::Instead(
            |stage| {
                send(stage, "br9", "epair93");
                // Its own address, then that of its neighbor.
                receive(stage, "br9", "epair91a", OF_EPAIR91);
                receive(stage, "br9", "epair92a", OF_EPAIR92);
                send(stage, "br9", "epair91");
            },
            "the kernel is told which frames the bridge gets",
        ),
    ),
    (
        "network.txt",
        "ifconfig -j j91 epair91b ether 02:00:00:00:00:99",
        Rule::Then(
            |stage| assert!(!send(stage, "br9", "epair91"), "the limit drops frames from another address"),
            "the kernel is told which frames the bridge gets",
        ),
    ),
    (
        "network.txt",
        "ifconfig br9 vlanfilter",
        Rule::Then(
            |stage| assert!(!send(stage, "br9", "epair92"), "a member without VLAN passes nothing"),
            "the kernel is told which frames the bridge gets",
        ),
    ),
    (
        "network.txt",
        "jail -c name=rs path=/ vnet persist allow.noraw_sockets; jexec rs ping -c1 127.0.0.1 | tail -1; jail -r rs",
        Rule::Part(
            "jail -c name=rs path=/ vnet persist allow.noraw_sockets; jail -r rs",
            0,
            "nothing travels between simulated interfaces",
        ),
    ),
    (
        "network.txt",
        "ifconfig br8 vlanfilter ifuntagged epair81a 20 ifuntagged epair82a 20",
        Rule::Prepared(
            |stage| {
                second_bridge_of_network(stage);
                send(stage, "br8", "epair81");
                send(stage, "br8", "epair82");
            },
            "ifconfig br8 vlanfilter ifuntagged epair81a 20 ifuntagged epair82a 20",
            "the second bridge and its jails were made now",
        ),
    ),
    (
        "network.txt",
        "jexec k81 ping -q -c 2 -t 3 10.8.0.1 | grep received",
        Rule::Instead(
            |stage| {
                send(stage, "br8", "epair81");
                send(stage, "br8", "epair82");
            },
            "the kernel is told which frames the bridge gets",
        ),
    ),
    (
        "network.txt",
        "ifconfig br8 flush",
        Rule::Then(
            |stage| assert!(!send(stage, "br8", "epair81"), "the static entry is of another VLAN"),
            "the kernel is told which frames the bridge gets",
        ),
    ),
    (
        "network.txt",
        "ifconfig br8 deladdr 58:9c:fc:10:1b:b9; ifconfig br8 static epair81a 58:9c:fc:10:1b:b9 vlan 20",
        Rule::Then(
            |stage| {
                assert!(send(stage, "br8", "epair81"), "the static entry is of this VLAN");
                send(stage, "br8", "epair82");
            },
            "the kernel is told which frames the bridge gets",
        ),
    ),
    (
        "network.txt",
        "ifconfig vlan20 create vlandev br8 vlan 20 inet 10.8.0.2/24 up",
        Rule::Skip("no program of the suite makes a vlan(4) interface"),
    ),
];

/// Tells the simulated kernel something.
fn change(stage: &Host, change: impl FnOnce(&mut State)) {
    let root = Root::alternate(&stage.root()).expect("the root");
    let changed = Simulated::new(&root).change(|state| {
        change(state);
        Ok(())
    });
    changed.expect("change the state of the kernel");
}

/// The address of the jail's half of a pair of network.txt.
const OF_EPAIR91: [u8; 6] = [0x58, 0x9c, 0xfc, 0x10, 0xa3, 0xb6];
/// That of its neighbor.
const OF_EPAIR92: [u8; 6] = [0x58, 0x9c, 0xfc, 0x10, 0x32, 0x1d];

/// A bridge gets a frame. Gives whether it takes it.
fn receive(stage: &Host, bridge: &str, member: &str, source: [u8; 6]) -> bool {
    let root = Root::alternate(&stage.root()).expect("the root");
    let taken = Simulated::new(&root).change(|state| state.receive(bridge, member, source));
    taken.expect("a member of the bridge")
}

/// A bridge gets a frame from the jail's half of a pair, with the address that it has at present.
fn send(stage: &Host, bridge: &str, pair: &str) -> bool {
    let root = Root::alternate(&stage.root()).expect("the root");
    let state = Simulated::new(&root).state().expect("the state of the kernel");
    let half = state.interfaces.iter().find(|i| i.name == format!("{pair}b")).expect("a pair");
    receive(stage, bridge, &format!("{pair}a"), half.mac)
}

/// Makes jails, each with a pair in a bridge: the name of the jail, that of the pair, and the Ethernet address of the
/// jail's half where the recording shows it.
fn jails_in_bridge(stage: &Host, bridge: &str, jails: &[(&str, &str, &str)]) {
    for (jail, pair, mac) in jails {
        stage.tool("ifconfig", &[pair, "create"]);
        stage.tool("ifconfig", &[bridge, "addm", &format!("{pair}a")]);
        stage.tool("jail", &["-c", &format!("name={jail}"), "path=/", "vnet", "persist"]);
        let half = format!("{pair}b");
        stage.tool("ifconfig", &[&half, "vnet", jail]);
        if !mac.is_empty() {
            stage.tool("ifconfig", &["-j", jail, &half, "ether", mac]);
        }
    }
}

/// The jails of network.txt in its first bridge.
fn jails_of_network(stage: &Host) {
    jails_in_bridge(
        stage,
        "br9",
        &[
            ("j91", "epair91", "58:9c:fc:10:a3:b6"),
            ("j92", "epair92", "58:9c:fc:10:32:1d"),
            ("j93", "epair93", "58:9c:fc:10:13:91"),
        ],
    );
}

/// The second bridge of network.txt with its jails, and a pair that no jail has.
fn second_bridge_of_network(stage: &Host) {
    stage.tool("ifconfig", &["bridge8", "create", "name", "br8", "inet", "10.8.0.1/24", "up"]);
    jails_in_bridge(
        stage,
        "br8",
        &[("k81", "epair81", "58:9c:fc:10:1b:b9"), ("k82", "epair82", "58:9c:fc:10:d4:48")],
    );
    stage.tool("ifconfig", &["epair83", "create"]);
}

/// From here on requests do not come from root.
fn nobody(stage: &Host) {
    change(stage, |state| state.privileged = false);
}

/// Configures the jail of thin-jail.txt, with these statements more.
fn configure(stage: &Host, more: &str) {
    let text = format!(
        "pg-1 {{
        path = \"/zdata/jails/${{name}}-nullfs-base\";
        mount.fstab = \"${{path}}.fstab\";
        mount.devfs;
        host.hostname = \"${{name}}\";
        vnet;
        vnet.interface = \"epair211b\";
        exec.clean;
        exec.consolelog = \"/var/log/jail_console_${{name}}.log\";
        exec.prestart = \"/tmp/j/up\";
        exec.start = \"/sbin/ifconfig epair211b inet 192.168.7.211/24 up\";
        exec.start += \"/sbin/ifconfig epair211b inet6 fd00:7::211/64\";
        exec.start += \"/sbin/route add default 192.168.7.101\";
        exec.start += \"/sbin/route -6 add default fd00:7::101\";
        exec.start += \"/bin/sh /etc/rc\";
        exec.stop = \"/bin/sh /etc/rc.shutdown jail\";
        exec.poststop = \"/sbin/ifconfig epair211a destroy\";
        {more}
        }}\n"
    );
    stage.write("/etc/jail.conf", &text);
}

/// Makes a program of the host.
fn script(stage: &Host, path: &str, text: &str) {
    let source = format!("{path}.text");
    stage.write(&source, text);
    install_program(&stage.path(&source), &stage.path(path));
    fs::remove_file(stage.path(&source)).expect("remove the source of a script");
}

/// Makes the directories and the fstab of a thin jail.
fn thin_jail_files(stage: &Host, jail: &str) {
    let (jails, path) = ("/zdata/jails", format!("/zdata/jails/{jail}-nullfs-base"));
    for dir in [path.clone(), format!("{jails}/containers/{jail}")] {
        fs::create_dir_all(stage.path(&dir)).expect("make a directory");
    }
    stage.write(
        &format!("{path}.fstab"),
        &format!(
            "{jails}/templates/15.0-RELEASE-base {path}/ nullfs ro 0 0\n\
             {jails}/containers/{jail} {path}/skeleton nullfs rw 0 0\n"
        ),
    );
}

/// Makes the base of the template, as far as a jail's start looks at it.
fn base(stage: &Host) {
    let base = stage.path("/zdata/jails/templates/15.0-RELEASE-base");
    for dir in ["dev", "skeleton"] {
        fs::create_dir_all(base.join(dir)).expect("make a directory");
    }
    symlink("skeleton/tmp", base.join("tmp")).expect("make a link");
}

/// Makes the whole base of the template and its skeleton.
fn whole_base(stage: &Host) {
    let templates = stage.path("/zdata/jails/templates");
    let (base, skeleton) = (templates.join("15.0-RELEASE-base"), templates.join("15.0-RELEASE-skeleton"));
    basetree::split(&base, &skeleton, basetree::Certificates::Files).expect("make a base");
    for path in ["etc/master.passwd", "etc/passwd", "etc/login.conf", "etc/services"] {
        fs::write(skeleton.join(path), basetree::content(path, "15.0-RELEASE")).expect("write a file");
    }
}

/// The host of tar.txt: its archives. Those with many bytes in no order are made here.
fn tar_scene(stage: &Host) {
    let place = stage.path("/root/a");
    fs::create_dir_all(&place).expect("make a directory");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/archives");
    for entry in fs::read_dir(shipped).expect("list the archives") {
        let file = entry.expect("list the archives").path();
        fs::copy(&file, place.join(file.file_name().expect("a name"))).expect("copy an archive");
    }
    let meta = |mode| basetree::Meta { time: 1_700_000_000, ..basetree::Meta::new(mode) };
    let noise = basetree::noise(400_000);
    let mut whole = basetree::Tar::default();
    whole.directory("./", meta(0o755));
    for (number, bytes) in noise.chunks(20_000).enumerate() {
        whole.file(&format!("./f{number:02}"), bytes, meta(0o644));
    }
    whole.file("last", b"last\n", meta(0o644));
    let tar = whole.bytes();
    let file = place.join("whole.txz");
    basetree::compress(&tar, &file).expect("make an archive");
    let whole = fs::read(file).expect("read an archive");
    let half = whole.len() / 2;
    let mut corrupt = whole.clone();
    corrupt[half] ^= 0xff;
    let write = |name: &str, bytes: &[u8]| fs::write(place.join(name), bytes).expect("make an archive");
    write("truncated.txz", &whole[..half]);
    write("corrupt.txz", &corrupt);
    write("tail-garbage.txz", &[whole.as_slice(), b"garbage after the end\n"].concat());
    basetree::compress(&tar[..200_000], &place.join("tar-cut.txz")).expect("make an archive");
}

/// Looks whether what was extracted is what ls(1) showed on the recorded host.
fn extracted(stage: &Host, listed: &str) -> Result<(), String> {
    let place = stage.path("/root/x");
    let mut wanted = BTreeSet::new();
    for line in listed.lines() {
        let is_file = |line: &&str| {
            line.len() > 10 && "-dlbcp".contains(&line[..1]) && line[1..10].contains(['r', '-'])
        };
        let Some(line) =
            Some(line).filter(is_file).filter(|line| line.contains(" Nov ") || line.contains("  "))
        else {
            continue;
        };
        let mut rest = line;
        let mut next = || {
            rest = rest.trim_start();
            let (word, left) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = left;
            word
        };
        let (mode, links, user, group, size) = (next(), next(), next(), next(), next());
        if size == "schg" || links.starts_with('/') || !links.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Month, day, and year or hour; the year stands after two blanks.
        let (_, _, _) = (next(), next(), next());
        let (name, link) = match mode.starts_with('l') {
            true => rest.split_once(" -> ").unwrap_or((rest, "")),
            false => (rest, ""),
        };
        wanted.insert(describe(mode, links, user, group, size, &unescape(name), &unescape(link)));
    }
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(&place).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let meta = fs::symlink_metadata(&path).map_err(|e| e.to_string())?;
        let link = fs::read_link(&path).unwrap_or_default();
        let device = |device: u64| format!("0x{:x}", (device >> 8 & 0xfff) << 8 | device & 0xff);
        let (mode, bits) = (mode_letters(&meta), meta.mode());
        let size = if "bc".contains(&mode[..1]) { device(meta.rdev()) } else { meta.len().to_string() };
        let name = path.file_name().expect("a name").as_bytes().to_vec();
        // Links have modes of their own elsewhere.
        let mode = if bits & 0o170000 == 0o120000 { format!("l{}", "?") } else { mode };
        let (links, user, group) = (meta.nlink().to_string(), meta.uid().to_string(), meta.gid().to_string());
        found.insert(describe(&mode, &links, &user, &group, &size, &name, link.as_os_str().as_bytes()));
    }
    if found == wanted { Ok(()) } else { Err(format!("got {found:#?}\nrecorded {wanted:#?}")) }
}

/// One file, as far as all systems agree on what to say of it.
fn describe(
    mode: &str,
    links: &str,
    user: &str,
    group: &str,
    size: &str,
    name: &[u8],
    link: &[u8],
) -> String {
    let number =
        |name: &str| if ["root", "wheel"].contains(&name) { "0".to_owned() } else { name.to_owned() };
    let (name, link) = (name.escape_ascii(), link.escape_ascii());
    let owner = match rustix::process::geteuid().is_root() {
        true => format!("{}:{}", number(user), number(group)),
        false => String::new(),
    };
    match &mode[..1] {
        "l" => format!("l {owner} {name} -> {link}"),
        "d" => format!("{mode} {owner} {name}"),
        _ => format!("{mode} {links} {owner} {size} {name}"),
    }
}

/// The mode as ls(1) shows it.
fn mode_letters(meta: &fs::Metadata) -> String {
    let mode = meta.mode();
    let kind = match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        0o060_000 => 'b',
        0o020_000 => 'c',
        0o010_000 => 'p',
        _ => '-',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// A name as `ls -B` prints it, back as it is.
fn unescape(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, left)) = rest.split_first() {
        match (first, left.get(..3).and_then(|digits| std::str::from_utf8(digits).ok())) {
            (b'\\', Some(digits)) if u8::from_str_radix(digits, 8).is_ok() => {
                bytes.push(u8::from_str_radix(digits, 8).expect("a byte"));
                rest = &left[3..];
            }
            _ => {
                bytes.push(*first);
                rest = left;
            }
        }
    }
    bytes
}

/// Puts one word for times of day and years.
fn no_hours(out: &str) -> String {
    let is_time = |word: &&str| word.contains(':') || word.starts_with("20") && word.len() == 4;
    let words = |line: &str| {
        line.split(' ').filter(|word| !is_time(word) && !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    out.lines().map(words).map(|line| line.replace("Nov 22", "Nov 23") + "\n").collect()
}

/// Puts one letter for every digit, and leaves out how much was needed.
fn no_numbers(out: &str) -> String {
    out.chars().map(|c| if c.is_ascii_digit() { 'N' } else { c }).collect()
}

/// Makes the server do what a URL of fetch.txt asks for, and takes that out of the command unless it is shown.
fn serve(stage: &Host, command: &str) -> String {
    ["fetch-break", "fetch-no-ranges"].into_iter().for_each(|fault| stage.clear_fault(fault));
    let mut told = command.to_owned();
    if told.contains("/norange/") {
        stage.fault("fetch-no-ranges");
        told = told.replace("/norange/", "/");
    }
    if let Some((before, after)) = told.clone().split_once("/trunc/") {
        let (bytes, after) = after.split_once('/').expect("a number of bytes");
        stage.fault_with("fetch-break", bytes);
        told = format!("{before}/{after}");
    }
    told
}

/// Where it is told that the release of update.txt is at its end.
const EOL: &str = "updates/15.0-RELEASE/eol";

/// The host of update.txt: a split base with what the update touches, a jail on it, and the server.
fn update_scene(stage: &Host) {
    let (base, skeleton) =
        ("/zdata/jails/templates/15.0-RELEASE-base", "/zdata/jails/templates/15.0-RELEASE-skeleton");
    let put = |path: &str, text: &str, mode: u32| {
        stage.write(path, text);
        fs::set_permissions(stage.path(path), PermissionsExt::from_mode(mode)).expect("change a mode");
    };
    for dataset in [base, skeleton, "/zdata/jails/containers/t"] {
        stage.tool("zfs", &["create", "-p", &dataset[1..]]);
    }
    for dir in ["boot", "skeleton", "usr/lib", "usr/share/misc"] {
        fs::create_dir_all(stage.path(base).join(dir)).expect("make a directory");
    }
    for dir in ["etc/ssl/certs", "etc/ssl/untrusted", "home", "root", "tmp", "usr/local", "var"] {
        fs::create_dir_all(stage.path(skeleton).join(dir)).expect("make a directory");
    }
    for (moved, text) in [
        ("etc", "skeleton/etc"),
        ("home", "skeleton/home"),
        ("root", "skeleton/root"),
        ("tmp", "skeleton/tmp"),
        ("var", "skeleton/var"),
        ("usr/local", "../skeleton/usr/local"),
    ] {
        symlink(text, stage.path(base).join(moved)).expect("make a link");
    }
    let release = "15.0-RELEASE";
    let content = |path: &str| String::from_utf8(basetree::content(path, release)).expect("a text");
    let fixed = |path: &str| {
        let path = stage.path(base).join(path);
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(path, "user.freebsd.flags", b"schg", flags).expect("set an attribute");
    };
    for (path, mode) in [
        ("bin/[", 0o555),
        ("bin/freebsd-version", 0o555),
        ("lib/libc.so.7", 0o444),
        ("lib/libutil.so.10", 0o444),
        ("libexec/ld-elf.so.1", 0o555),
        ("usr/bin/false", 0o555),
        ("usr/bin/su", 0o4555),
        ("usr/bin/true", 0o555),
        ("usr/share/misc/ascii", 0o444),
    ] {
        put(&format!("{base}/{path}"), &content(path), mode);
    }
    fs::hard_link(stage.path(base).join("bin/["), stage.path(base).join("bin/test")).expect("make a link");
    ["lib/libc.so.7", "libexec/ld-elf.so.1", "usr/bin/su"].into_iter().for_each(fixed);
    for path in
        ["etc/services", "etc/master.passwd", "etc/passwd", "etc/login.conf", "etc/pwd.db", "etc/spwd.db"]
    {
        put(&format!("{skeleton}/{path}"), &content(path), 0o644);
    }
    put(&format!("{skeleton}/etc/login.conf.db"), &content("etc/login.conf.db"), 0o644);
    put(&format!("{skeleton}/etc/motd.template"), "# ours, edited by the admin\n", 0o644);
    put(&format!("{skeleton}/etc/ssl/cert.pem"), "", 0o444);
    for (link, text) in basetree::certificate_links() {
        let name = text.rsplit('/').next().unwrap_or_default();
        let Some(store) = link.strip_prefix("etc/ssl/").and_then(|rest| rest.split_once('/')) else {
            continue;
        };
        let source = if store.0 == "certs" { "trusted" } else { "untrusted" };
        put(&format!("{base}/usr/share/certs/{source}/{name}"), name, 0o444);
        put(&format!("{skeleton}/{link}"), name, 0o444);
    }
    let changed = |path: &str| (path.to_owned(), format!("{}# p1\n", content(path)));
    let mut files: Vec<(String, String)> =
        ["bin/[", "bin/test"].iter().map(|path| ((*path).to_owned(), changed("bin/[").1)).collect();
    for path in ["lib/libc.so.7", "lib/libutil.so.10", "libexec/ld-elf.so.1"] {
        files.push(changed(path));
    }
    for path in ["usr/bin/false", "usr/bin/su", "usr/bin/true", "etc/services"] {
        files.push(changed(path));
    }
    files.push(("etc/motd.template".into(), "# stock p1\n".into()));
    files.push(("etc/p1-new.conf".into(), "# new in p1\n".into()));
    files.push(("usr/share/misc/p1-new".into(), "new in p1\n".into()));
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
    let updates = stage.updates(release, 1, &files);
    fs::create_dir(updates.join("files/usr/share/p1dir")).expect("make a directory");
    fs::create_dir(updates.join("files/usr/lib")).expect("make a directory");
    symlink("../share/misc/p1-new", updates.join("files/usr/lib/p1link")).expect("make a link");
    let new = updates.join("files/usr/share/misc/p1-new");
    fs::set_permissions(new, PermissionsExt::from_mode(0o444)).expect("change a mode");
    fs::create_dir_all(updates.join("old/etc")).expect("make a directory");
    fs::write(updates.join("old/etc/motd.template"), "# stock\n").expect("write a file");
    fs::write(updates.join("old/etc/services"), content("etc/services")).expect("write a file");
    fs::write(updates.join("remove"), "usr/share/misc/ascii\n").expect("write a file");
    // Of the others the server has patches.
    fs::write(
        updates.join("unpatched"),
        "/bin/[\n/bin/freebsd-version\n/etc/services\n/usr/bin/false\n/usr/bin/su\n/usr/bin/true\n",
    )
    .expect("write a file");
    let stock = format!("KeyPrint {:064}\nServerName 127.0.0.1\nUpdateIfUnmodified /etc/ /var/ /root/\n", 1);
    stage.write("/root/conf.A", &format!("{stock}Components src world kernel\nIgnorePaths\n"));
    let ignored = "/etc[|] /var[|] /root[|] /tmp[|] /home[|] /usr/local[|]";
    stage
        .write("/root/conf.B", &format!("{stock}Components world\nIgnorePaths {ignored}\nBackupKernel no\n"));
    for dataset in [base, skeleton] {
        stage.tool("zfs", &["snapshot", &format!("{}@pre", &dataset[1..])]);
    }
    let jail = "/zdata/jails/t";
    fs::create_dir_all(stage.path(jail)).expect("make a directory");
    stage.tool("mount", &["-t", "nullfs", "-o", "ro", base, jail]);
    stage.tool("mount", &["-t", "nullfs", "/zdata/jails/containers/t", &format!("{jail}/skeleton")]);
}

/// Puts one word for what a kernel counts or makes up.
fn no_kernel_numbers(out: &str) -> String {
    let mut text = String::new();
    for line in out.split_inclusive('\n') {
        let line = match line.find(" (extended error ") {
            Some(at) => format!("{}\n", &line[..at]),
            None => line.to_owned(),
        };
        let mut before = "";
        let words: Vec<&str> = line
            .split(' ')
            .map(|word| {
                let end = word.trim_end();
                let made_up =
                    end.starts_with("58:9c:fc:10:") || matches!(before, "port" | "scopeid") && end != "0";
                before = word;
                if made_up && word == end {
                    "SOME"
                } else if made_up {
                    "SOME\n"
                } else {
                    word
                }
            })
            .collect();
        text += &words.join(" ");
    }
    text
}

/// Puts one word for the numbers of ports, and leaves out what the kernel adds to an error.
fn no_ports(out: &str) -> String {
    let mut text = String::new();
    for line in out.lines() {
        let line = line.split(" (extended error ").next().unwrap_or_default();
        let member = line.find("port ").filter(|_| line.contains(" path cost "));
        text += &match member {
            Some(at) => {
                let rest = line[at + 5..].trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{}port SOME{rest}", &line[..at])
            }
            None => line.to_owned(),
        };
        text.push('\n');
    }
    text
}

/// Puts one word for the id of a jail: alone on a line, at the beginning of a row of jls, or in `JID=2` and the like.
fn no_jids(out: &str) -> String {
    let is_id = |text: &str| text.parse::<u32>().is_ok_and(|id| id > 0);
    let mut text = String::new();
    for line in out.lines() {
        let rest = line.trim_start();
        let id = &rest[..rest.find(' ').unwrap_or(rest.len())];
        if is_id(id) && (line.len() > rest.len() || id == rest) {
            text += "ID";
            text += &rest[id.len()..];
        } else {
            let mut rest = line;
            while let Some(at) = ["JID=", "\"jid\":"].iter().find_map(|key| Some(rest.find(key)? + key.len()))
            {
                let end = rest[at..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| at + end);
                text += &rest[..at];
                text += if end > at { "ID" } else { "" };
                rest = &rest[end..];
            }
            text += rest;
        }
        text.push('\n');
    }
    text
}

/// Puts one word for every time in seconds.
fn no_times(out: &str) -> String {
    let time = |word: &str| word.len() == 10 && word.bytes().all(|byte| byte.is_ascii_digit());
    out.split('\t').map(|word| if time(word) { "TIME" } else { word }).collect::<Vec<_>>().join("\t")
}

/// Puts one word for when something was made.
fn no_calendar(out: &str) -> String {
    let hide = |line| if str::starts_with(line, "creation\t") { "creation" } else { line };
    sorted(&out.lines().map(hide).collect::<Vec<_>>().join("\n"))
}

/// Puts one word for every size that is not 0.
fn no_sizes_in_columns(out: &str) -> String {
    let is_size = |word: &str| word.parse::<u64>().is_ok_and(|size| size > 0);
    let words = |line: &str| {
        line.split('\t').map(|word| if is_size(word) { "SIZE" } else { word }).collect::<Vec<_>>().join("\t")
    };
    out.lines().map(words).collect::<Vec<_>>().join("\n")
}

/// Numbers the transaction groups in the order of their numbers, and leaves times out.
fn no_group_numbers(out: &str) -> String {
    let is_time = |word: &str| word.len() == 10 && word.parse::<u64>().is_ok();
    let groups: BTreeSet<u64> =
        out.split_whitespace().filter(|w| !is_time(w)).filter_map(|w| w.parse().ok()).collect();
    let rank = |word: &str| {
        word.parse::<u64>().ok().and_then(|number| groups.iter().position(|group| *group == number))
    };
    let words = |line: &str| {
        let words = line.split('\t').filter(|word| !is_time(word));
        words
            .map(|w| rank(w).map_or_else(|| w.to_owned(), |at| at.to_string()))
            .collect::<Vec<_>>()
            .join("\t")
    };
    out.lines().map(words).collect::<Vec<_>>().join("\n")
}

/// Leaves out times, rates and modes of files, the server's log, and what ls(1) and cmp(1) have to say.
fn no_times_of_files(out: &str) -> String {
    let left_out = ["GET ", "HEAD ", "ls: ", "cmp: ", "-rw"];
    let lines = out.lines().filter(|line| !left_out.iter().any(|start| line.starts_with(start)));
    lines
        .filter(|line| !line.contains(" differ: "))
        .map(|line| match (line.split_once("B "), line.trim_start().split_once(" Nov ")) {
            (Some((amount, _)), _) if line.contains("Bps") => format!("{amount}\n"),
            (_, Some((size, rest))) => format!("{size} {}\n", rest.rsplit(' ').next().unwrap_or_default()),
            _ => format!("{}\n", line.trim_start()),
        })
        .collect()
}

/// Puts one word for the value of `written`.
fn no_written(out: &str) -> String {
    let hide = |line| if str::starts_with(line, "written\t") { "written\tSIZE" } else { line };
    out.lines().map(hide).collect::<Vec<_>>().join("\n")
}

/// Puts one word for every size, unless it is 0, which would tell that nothing was written.
fn no_sizes(out: &str) -> String {
    let size = |line: &str| line.parse::<u64>().is_ok_and(|size| size > 0);
    out.lines().map(|line| if size(line) { "SIZE\n" } else { "0\n" }).collect()
}

/// Takes the flag that ZFS puts on files out of an index.
fn no_uarch(out: &str) -> String {
    out.replace("|404000|", "|400000|").replace("|4000|", "|0|")
}

/// Leaves out files that are gone, which depends on whether they are in use; of a file with two names the later one
/// counts. The lines are put in order.
fn no_open_files(out: &str) -> String {
    let is_gone = |line: &str| line.starts_with("-\tF\t") || line.ends_with("(on_delete_queue)");
    let lines = out.lines().filter(|line| !is_gone(line));
    sorted(&lines.map(|line| line.replace("/bin/[", "/bin/test") + "\n").collect::<String>())
}

/// Puts the lines in order.
fn sorted(out: &str) -> String {
    let mut lines: Vec<&str> = out.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// What the recorded jail and its administrator did to its files.
fn live_in_jail(stage: &Host) {
    let root = stage.path("/zdata/jails/containers/pg-1");
    let touch = |names: &[&str]| {
        for name in names {
            fs::write(root.join(name), "x\n").expect("write a file");
        }
    };
    touch(&["etc/rc.conf", "var/msgs/bounds", "var/spool/lock/clean_var", "var/passing"]);
    fs::remove_file(root.join("var/passing")).expect("remove a file");
    for name in [
        "auth.log",
        "cron",
        "daemon.log",
        "debug.log",
        "devd.log",
        "maillog",
        "messages",
        "security",
        "utx.lastlogin",
        "utx.log",
    ] {
        touch(&[&format!("var/log/{name}")]);
    }
    for name in [
        "clean_var",
        "cron.pid",
        "ld-elf.so.hints",
        "motd",
        "os-release",
        "syslog.pid",
        "syslogd.sockets",
        "utx.active",
    ] {
        touch(&[&format!("var/run/{name}")]);
    }
    for name in ["log", "logpriv"] {
        UnixListener::bind(root.join("var/run").join(name)).expect("make a socket");
    }
    for name in [".ICE-unix", ".X11-unix", ".XIM-unix", ".font-unix"] {
        fs::create_dir(root.join("tmp").join(name)).expect("make a directory");
    }
    fs::remove_file(root.join("etc/motd.template")).expect("remove a file");
    fs::create_dir(root.join("usr/local/etc")).expect("make a directory");
    symlink("x", root.join("etc/mylink")).expect("make a link");
    symlink("../var/run/motd", root.join("etc/motd")).expect("make a link");
    fs::set_permissions(root.join("etc/hosts"), PermissionsExt::from_mode(0o600)).expect("change a mode");
}

/// The state of the host when a recording began.
fn scene(transcript: &str) -> Host {
    let stage = Host::new();
    stage.pool("zdata");
    let skeleton = "zdata/jails/templates/15.0-RELEASE-skeleton";
    match transcript {
        // A file where a mountpoint cannot be made.
        "zfs.txt" => stage.write("/dev/null", ""),
        "zfs2.txt" => {
            for dataset in ["t", "jails/media", "jails/templates/15.0-RELEASE-base", "jails/containers"] {
                stage.tool("zfs", &["create", "-p", &format!("zdata/{dataset}")]);
            }
            stage.tool("zfs", &["create", skeleton]);
            for dir in ["dev", "skeleton"] {
                let base = "/zdata/jails/templates/15.0-RELEASE-base";
                fs::create_dir_all(stage.path(base).join(dir)).expect("make a directory");
            }
            stage.tool("zfs", &["snapshot", &format!("{skeleton}@base")]);
        }
        "system.txt" => {
            stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
            bridge(&stage);
            base(&stage);
            article(&stage);
            thin_jail_files(&stage, "dev");
            for dir in ["/mnt", "/var/log"] {
                fs::create_dir_all(stage.path(dir)).expect("make a directory");
            }
        }
        "zfs3.txt" => {
            for dataset in ["zdata/q", "zdata/q/skel", "zdata/q2", "zdata/q/kid", "zdata/q/kid/sub"] {
                stage.tool("zfs", &["create", dataset]);
            }
            stage.pool("p2");
            stage.tool("zfs", &["snapshot", "zdata/q/skel@base"]);
            stage.tool("zfs", &["clone", "-o", "thinjail:jail=web", "zdata/q/skel@base", "zdata/q/web"]);
            stage.tool("zfs", &["snapshot", "zdata/q/web@s"]);
            // What is mounted there has a file in its way.
            stage.write("/zdata/file", "");
            stage.tool("zfs", &["set", "-u", "mountpoint=/zdata/file", "zdata/q2"]);
            fs::create_dir_all(stage.path("/tmp/n")).expect("make a directory");
            stage.tool("mount", &["-t", "nullfs", "/zdata/q/web", "/tmp/n"]);
        }
        "ifconfig.txt" => bridge(&stage),
        "network.txt" => {
            stage.write("/etc/jail.conf", "");
            change(&stage, |state| state.plug("nic0"));
            stage.tool("ifconfig", &["nic0", "inet", "10.9.0.2/24", "up"]);
            stage.tool("ifconfig", &["bridge9", "create", "name", "br9", "inet", "10.9.0.1/24", "up"]);
        }
        "jail.txt" => jail_scene(&stage),
        "template.txt" => {
            stage.tool("zfs", &["create", "-p", skeleton]);
            whole_base(&stage);
            stage.tool("zfs", &["snapshot", &format!("{skeleton}@base")]);
        }
        "thin-jail.txt" => {
            // The recording reads a snapshot through .zfs, which the stand-in shows only when asked to.
            stage.tool("zfs", &["set", "snapdir=visible", "zdata"]);
            stage.tool("zfs", &["create", "-p", skeleton]);
            stage.tool("zfs", &["create", "zdata/jails/containers"]);
            for dir in [
                "docs",
                "etc",
                "home",
                "root",
                "tmp",
                "usr/local",
                "var/log",
                "var/msgs",
                "var/run",
                "var/spool/lock",
            ] {
                fs::create_dir_all(stage.path(&format!("/{skeleton}/{dir}"))).expect("make a directory");
            }
            for file in ["etc/hosts", "etc/motd.template", "etc/resolv.conf"] {
                stage.write(&format!("/{skeleton}/{file}"), "as delivered\n");
            }
            stage.tool("zfs", &["snapshot", &format!("{skeleton}@base")]);
            for jail in ["pg-1", "pg-19"] {
                stage.tool(
                    "zfs",
                    &["clone", &format!("{skeleton}@base"), &format!("zdata/jails/containers/{jail}")],
                );
            }
            thin_jail_scene(&stage);
        }
        "update.txt" => update_scene(&stage),
        "tar.txt" => tar_scene(&stage),
        "fetch.txt" => {
            fs::create_dir_all(stage.path("/root/f")).expect("make a directory");
            let big = basetree::noise(300_000);
            for (name, content) in [("big", big.as_slice()), ("small", b"small\n"), ("empty", b"")] {
                stage.www("127.0.0.1:8080", name, content);
            }
            fs::create_dir_all(stage.path("/root/www")).expect("make a directory");
            fs::write(stage.path("/root/www/big"), big).expect("write a file");
        }
        _ => {}
    }
    stage
}

/// The bridge of the recorded host, which has no other interface.
fn bridge(stage: &Host) {
    stage.tool("ifconfig", &["bridge0", "create", "name", "igc0bridge", "inet", "192.168.7.101/24", "up"]);
}

/// A file of the corpus of jail.conf, which has the configurations of the recorded hosts.
fn corpus(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jailconf").join(name);
    fs::read_to_string(file).expect("read a configuration")
}

/// Configures the jail dev as the article has it.
fn article(stage: &Host) {
    for file in ["/etc/jail.conf", "/etc/jail.conf.d/dev.conf"] {
        stage.write(file, &corpus(&format!("article{file}")));
    }
}

/// The host of jail.txt: a hook that logs its calls, a good jail and six bad ones.
fn jail_scene(stage: &Host) {
    bridge(stage);
    base(stage);
    article(stage);
    stage.write(
        "/tmp/j/web.conf",
        &format!(
            "{}
            bad2 {{ $id = 32; exec.start = \"/sbin/ifconfig ${{epair}}b inet not-an-address up\"; }}
            bad3 {{ $id = 33; mount.fstab = \"/tmp/j/absent.fstab\"; }}
            bad4 {{ $id = 34; }}
            bad5 {{ $id = 35; mount.fstab = \"/tmp/j/bad5.fstab\"; }}
            bad6 {{ $id = 36; }}\n",
            corpus("hooks/etc/jail.conf")
        ),
    );
    for jail in ["web", "bad1", "bad2", "bad4", "bad5"] {
        thin_jail_files(stage, jail);
    }
    let path = "/zdata/jails/bad4-nullfs-base";
    let mut fstab = fs::read_to_string(stage.path(&format!("{path}.fstab"))).expect("read an fstab");
    fstab += &format!("/tmp/j {path}/tmp nullfs rw 0 0\n");
    stage.write(&format!("{path}.fstab"), &fstab);
    stage.write("/tmp/j/bad5.fstab", "/tmp/j /mnt\n");
    // What is in PATH for the stand-ins' sake is left out of the log.
    script(
        stage,
        "/tmp/j/hook",
        "#!/bin/sh
        log=$THINJAIL_ROOT/tmp/j/log
        path=${PATH#$THINJAIL_TOOLS:$THINJAIL_ROOT/usr/local/sbin:}
        echo \"hook $* JID=$JID JNAME=$JNAME JPATH=$JPATH PATH=$path pwd=$(pwd | sed s,$THINJAIL_ROOT,,)\" >> $log
        case $1 in
        prestart) ifconfig $3 create > /dev/null && ifconfig igc0bridge addm ${3}a && ifconfig ${3}a up ;;
        poststop) echo \"at poststop: $(ifconfig -l)\" >> $log; ifconfig epair30a destroy ;;
        esac\n",
    );
}

/// The host of thin-jail.txt, whose template and containers are there: a jail that hooks without a shell start.
fn thin_jail_scene(stage: &Host) {
    bridge(stage);
    base(stage);
    thin_jail_files(stage, "pg-1");
    for dir in ["/dev", "/var/log"] {
        fs::create_dir_all(stage.path(dir)).expect("make a directory");
    }
    stage.tool("mount", &["-t", "devfs", "devfs", "/dev"]);
    configure(stage, "");
    script(
        stage,
        "/tmp/j/up",
        "#!/bin/sh -e
        mtu=$(ifconfig igc0bridge | sed -n '1s/.* mtu //p')
        ifconfig epair211 create > /dev/null
        for half in a b; do
            ifconfig epair211$half mtu $mtu
            ifconfig epair211$half ether 02:aa:bb:cc:dd:0$half
        done
        ifconfig igc0bridge addm epair211a
        ifconfig epair211a up\n",
    );
    script(
        stage,
        "/tmp/j/sweep",
        "#!/bin/sh
        log=$THINJAIL_ROOT/tmp/sweep.log
        for on in $(mount -p | awk -v path=\"$3\" 'index($2 \"/\", path \"/\") == 1 { print $2 }' | sort -r); do
            umount $on 2> /dev/null || { umount -f $on && echo \"forced $on\" >> $log; }
        done
        echo \"$1 swept $2; left $(mount -p | grep -c \" $3\")\" >> $log\n",
    );
}

/// One recorded command.
struct Recorded {
    /// Where it stands, to be found again.
    line: usize,
    command: String,
    out: String,
    err: String,
    status: i32,
}

/// The directory with the transcripts.
fn transcripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

/// Reads a transcript.
fn read(transcript: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(transcripts().join(transcript)).expect("read a transcript");
    let mut all: Vec<Recorded> = Vec::new();
    // Whether a command is still without its status.
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        let mark = line.chars().next().unwrap_or('#');
        let rest = line.get(1..).unwrap_or_default();
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match (mark, all.last_mut()) {
            ('#', _) if !open => {}
            ('$', _) if !open => {
                open = true;
                let rest = if transcript == "fetch.txt" { portable(rest) } else { rest.to_owned() };
                all.push(Recorded {
                    line: at + 1,
                    command: rest,
                    out: String::new(),
                    err: String::new(),
                    status: 0,
                });
            }
            ('>', Some(recorded)) if open => recorded.out += &format!("{rest}\n"),
            ('!', Some(recorded)) if open => recorded.err += &format!("{rest}\n"),
            ('=', Some(recorded)) if open => {
                open = false;
                recorded.status = rest.parse().expect("a status");
            }
            _ => panic!("{transcript}:{}: out of place: {line}", at + 1),
        }
    }
    assert!(!open, "{transcript}: the last command has no status");
    all
}

/// A command of fetch.txt with what other systems have for stat(1), ls(1) of what is not there, and the server's log.
fn portable(command: &str) -> String {
    let longer = command
        .replace("(cat /root/www/big; echo more) > part", "cat /root/www/big > part; echo more >> part");
    let mut parts = Vec::new();
    for part in longer.split("; ") {
        let words: Vec<&str> = part.split(' ').collect();
        let file = words.last().copied().unwrap_or_default();
        match words[0] {
            "stat" => parts.push(format!("wc -c {file}")),
            "ls" if words.len() == 2 => parts.push(format!("[ -e {file} ] && ls {file}")),
            "ls" => {}
            _ if part.ends_with("/root/http.log") => parts.push(":".into()),
            _ => parts.push(part.to_owned()),
        }
    }
    parts.join("; ")
}

/// The programs a shell command starts: the first word of each of its parts.
fn programs(command: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut word = String::new();
    let (mut first, mut quote, mut before) = (true, None, ' ');
    for letter in command.chars().chain([';']) {
        match (quote, letter) {
            (Some(open), _) if open == letter => quote = None,
            (None, '"' | '\'') => quote = Some(letter),
            // The ampersand of a redirection separates nothing.
            (None, '&') if before == '>' => {}
            (None, ';' | '|' | '&' | '(' | ')' | ' ') => {
                // A variable set for the program that follows.
                let sets = word.split_once('=').is_some_and(|(name, _)| {
                    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                });
                if first && !word.is_empty() && !sets {
                    found.insert(word.clone());
                    first = false;
                }
                word.clear();
                first |= letter != ' ';
            }
            _ => word.push(letter),
        }
        before = letter;
    }
    found
}

/// A command with the absolute paths among its words put below the root. Option values stay: a mountpoint is given to
/// zfs as the host sees it.
fn below(root: &Path, command: &str) -> String {
    let root = root.to_str().expect("a root that is UTF-8");
    let is_below = |word: &str| {
        ["/mnt/", "/root/", "/tmp/", "/var/db/", "/zdata/"].iter().any(|top| word.starts_with(top))
    };
    let words = command.split(' ');
    words
        .map(|word| if is_below(word) { format!("{root}{word}") } else { word.to_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command on the stage and says what is different from the recording.
fn replay(
    stage: &Host,
    transcript: &str,
    command: &str,
    recorded: &Recorded,
    rule: Option<&Rule>,
) -> Result<(), String> {
    let mut path = stage.tools().into_os_string();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    // The recordings were made in the home directory of root.
    let home = stage.path("/root");
    fs::create_dir_all(&home).expect("make a directory");
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(below(&stage.root(), command)).env("PATH", path).current_dir(home);
    let output = stage.prepare(shell).output().expect("start sh");
    let got = (stage.strip(&output.stdout), stage.strip(&output.stderr), output.status.code());
    let recorded = (recorded.out.clone(), recorded.err.clone(), Some(recorded.status));
    let (got, wanted) = match rule {
        Some(Rule::Alike(change, _)) => {
            ((change(&got.0), change(&got.1), got.2), (change(&recorded.0), change(&recorded.1), recorded.2))
        }
        Some(Rule::Part(_, lines, _)) => {
            let first = recorded.0.split_inclusive('\n').take(*lines).collect();
            (got, (first, String::new(), Some(0)))
        }
        _ => (got, recorded),
    };
    let alike = ALIKE.iter().find(|(file, ..)| *file == transcript);
    let (got, wanted) = match alike {
        Some((_, change, _)) => {
            ((change(&got.0), change(&got.1), got.2), (change(&wanted.0), change(&wanted.1), wanted.2))
        }
        None => (got, wanted),
    };
    if got == wanted { Ok(()) } else { Err(format!("got {got:#?}\nrecorded {wanted:#?}")) }
}

/// The rule for a command.
fn rule(transcript: &str, command: &str) -> Option<&'static Rule> {
    RULES.iter().find(|(file, line, _)| *file == transcript && *line == command).map(|(_, _, rule)| rule)
}

/// What is done with a command.
enum Verdict {
    Replay,
    Skip,
    Looked(Result<(), String>),
    Unknown(String),
}

/// Whether a command depends on frames that travel.
fn travels(command: &str) -> bool {
    command.split(' ').any(|word| TRAFFIC.contains(&word))
}

/// Decides on a command without a rule.
fn judge(command: &str) -> Verdict {
    let programs = programs(command);
    let absent = |name: &String| ABSENT.iter().any(|(absent, _)| absent == name);
    if travels(command) {
        return Verdict::Skip;
    }
    let known = |name: &&String| PROGRAMS.contains(&name.as_str()) || PLAIN.contains(&name.as_str());
    if !programs.iter().any(|name| PROGRAMS.contains(&name.as_str())) && programs.iter().any(absent) {
        return Verdict::Skip;
    }
    match programs.iter().find(|name| !known(name)) {
        Some(strange) => Verdict::Unknown(format!("{strange} cannot take part, and no rule says what to do")),
        None => Verdict::Replay,
    }
}

/// Goes through one transcript.
fn follow(transcript: &str) {
    let stage = scene(transcript);
    let mut complaints = Vec::new();
    let (mut replayed, mut skipped) = (0, 0);
    for recorded in read(transcript) {
        let rule = rule(transcript, &recorded.command);
        let verdict = match rule {
            Some(Rule::Skip(_)) => Verdict::Skip,
            Some(Rule::Looked(look)) => Verdict::Looked(look(&stage, &recorded.out)),
            Some(Rule::Instead(act, _)) => {
                act(&stage);
                Verdict::Skip
            }
            Some(Rule::Prepared(act, ..)) => {
                act(&stage);
                Verdict::Replay
            }
            Some(Rule::Part(..) | Rule::Alike(..) | Rule::Then(..)) => Verdict::Replay,
            None => judge(&recorded.command),
        };
        let command = match rule {
            Some(Rule::Part(part, ..) | Rule::Prepared(_, part, _)) => part,
            _ => recorded.command.as_str(),
        };
        // What a server does is told by its name in the recording.
        let told = if transcript == "fetch.txt" { serve(&stage, command) } else { command.to_owned() };
        let command = told.as_str();
        // Every extraction was into an empty directory.
        if transcript == "tar.txt" && command.contains("tar -xpf ") {
            let place = stage.path("/root/x");
            let _ = fs::remove_dir_all(&place);
            fs::create_dir_all(place).expect("make a directory");
        }
        let result = match verdict {
            Verdict::Skip => {
                skipped += 1;
                continue;
            }
            Verdict::Replay => {
                replayed += 1;
                replay(&stage, transcript, command, &recorded, rule)
            }
            Verdict::Looked(result) => {
                replayed += 1;
                result
            }
            Verdict::Unknown(cause) => Err(cause),
        };
        if let Some(Rule::Then(act, _)) = rule {
            act(&stage);
        }
        if let Err(cause) = result {
            complaints.push(format!("{transcript}:{}: {}\n{cause}", recorded.line, recorded.command));
        }
    }
    println!("{transcript}: {replayed} run again, {skipped} not");
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn zfs() {
    follow("zfs.txt");
}

#[test]
fn zfs_2() {
    follow("zfs2.txt");
}

#[test]
fn zfs_3() {
    follow("zfs3.txt");
}

#[test]
fn fetch() {
    follow("fetch.txt");
}

#[test]
fn tar() {
    follow("tar.txt");
}

#[test]
fn update() {
    follow("update.txt");
}

#[test]
fn system() {
    follow("system.txt");
}

#[test]
fn template() {
    follow("template.txt");
}

#[test]
fn thin_jail() {
    follow("thin-jail.txt");
}

#[test]
fn ifconfig() {
    follow("ifconfig.txt");
}

#[test]
fn network() {
    follow("network.txt");
}

#[test]
fn jail() {
    follow("jail.txt");
}

/// The lists above must not outlive what they were made for.
#[test]
fn every_exception_is_still_needed() {
    let mut files: Vec<String> = fs::read_dir(transcripts())
        .expect("read the directory of transcripts")
        .map(|entry| {
            entry
                .expect("read the directory of transcripts")
                .file_name()
                .into_string()
                .expect("a name that is UTF-8")
        })
        .collect();
    files.sort();
    let mut listed: Vec<&str> = REPLAYED.iter().copied().chain(OTHER.iter().map(|(file, _)| *file)).collect();
    listed.sort_unstable();
    assert_eq!(files, listed, "a transcript that is not listed, or a listed one that is gone");

    let mut commands = BTreeSet::new();
    let (mut run, mut skipped) = (BTreeSet::new(), BTreeSet::new());
    for transcript in REPLAYED {
        for recorded in read(transcript) {
            match (rule(transcript, &recorded.command), judge(&recorded.command)) {
                (None, Verdict::Replay) => run.extend(programs(&recorded.command)),
                (None, Verdict::Skip) => skipped.extend(programs(&recorded.command)),
                _ => {}
            }
            commands.insert((*transcript, recorded.command));
        }
    }
    for (transcript, command, rule) in RULES {
        let there = commands.iter().any(|(file, line)| file == transcript && line == command);
        assert!(there, "{transcript}: a rule for what is not recorded: {command}");
        let reason = match rule {
            Rule::Skip(reason)
            | Rule::Instead(_, reason)
            | Rule::Part(_, _, reason)
            | Rule::Prepared(_, _, reason)
            | Rule::Alike(_, reason)
            | Rule::Then(_, reason) => reason,
            Rule::Looked(_) => "columns",
        };
        assert!(!reason.is_empty(), "{transcript}: a rule without a reason: {command}");
    }
    for (transcript, _, reason) in ALIKE {
        assert!(
            REPLAYED.contains(transcript) && !reason.is_empty(),
            "{transcript}: a change without a reason"
        );
    }
    for program in PROGRAMS.iter().chain(PLAIN) {
        let reason = UNRECORDED.iter().find(|(name, _)| name == program).map(|(_, reason)| *reason);
        let needed = run.contains(*program);
        assert!(needed != reason.is_some_and(|reason| !reason.is_empty()), "{program}: {needed} {reason:?}");
    }
    for program in TRAFFIC {
        let needed = |(_, command): &(&str, String)| travels(command) && command.contains(program);
        assert!(commands.iter().any(needed), "{program} is listed, but no command needs it");
    }
    for (program, reason) in ABSENT {
        assert!(skipped.contains(*program), "{program} is listed, but no command needs it");
        assert!(!reason.is_empty(), "{program}: no reason");
    }
}

#[test]
fn programs_are_found_in_a_command() {
    let found = |command| programs(command).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(found("zfs destroy a; echo $?; jls -d"), "echo jls zfs");
    assert_eq!(found("jail -e '|' 2>&1 | head -1"), "head jail");
    assert_eq!(found("A=b c d"), "c");
    assert_eq!(found("(cd /x && sleep 25 & ) ; sh -c \"a; b\""), "cd sh sleep");
}
