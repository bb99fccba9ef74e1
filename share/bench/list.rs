//! jail-list of many jails against one zfs list(8) that asks for as much; on
//! simulated pools, whose zfs(8) is most of both.

use super::{RUNS, fresh, median, peak, row, timed};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

const JAILS: usize = 500;
const SKELETON: &str = "zdata/jails/templates/14.2-RELEASE-skeleton";

/// Measures and prints a row.
pub fn run(built: &Path) {
    let standin = built.join("examples/standin");
    if !standin.is_file() {
        println!("jail-list: left out, {} is not built", standin.display());
        return;
    }
    let dir = fresh();
    let (root, tools) = (dir.path().join("root"), dir.path().join("tools"));
    for directory in
        [root.join("etc/jail.conf.d"), root.join("usr/local/etc"), root.join("var/run"), tools.clone()]
    {
        fs::create_dir_all(directory).expect("host");
    }
    fs::create_dir_all(root.join("var/db/standin")).expect("host");
    symlink(&standin, tools.join("zfs")).expect("stand-in");
    let on_stage = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env("THINJAIL_ROOT", &root).env("THINJAIL_TOOLS", &tools);
        command
    };
    let zfs = |arguments: &[&str]| on_stage(&tools.join("zfs"), arguments);
    for arguments in [
        &["standin-init", "zdata"][..],
        &["create", "-p", "zdata/jails/containers"],
        &["create", "-p", SKELETON],
        &["snapshot", &format!("{SKELETON}@base")],
    ] {
        timed(&mut zfs(arguments));
    }
    let jails = root.join("zdata/jails");
    let common = "path = \"/zdata/jails/${name}-nullfs-base\";\nmount.fstab = \"${path}.fstab\";\nvnet;\n\
                  .include \"/etc/jail.conf.d/*.conf\";\n";
    fs::write(root.join("etc/jail.conf"), common).expect("jail.conf");
    fs::write(root.join("usr/local/etc/thinjail.conf"), "jail_zfs=zdata/jails\n").expect("settings");
    for n in 1..=JAILS {
        let mark = format!("thinjail:jail=j{n}");
        let container = format!("zdata/jails/containers/j{n}");
        timed(&mut zfs(&["clone", "-o", &mark, &format!("{SKELETON}@base"), &container]));
        let path = format!("/zdata/jails/j{n}-nullfs-base");
        fs::create_dir(jails.join(format!("j{n}-nullfs-base"))).expect("path");
        let fstab = format!(
            "/zdata/jails/templates/14.2-RELEASE-base {path}/ nullfs ro 0 0\n\
             /{container} {path}/skeleton nullfs rw 0 0\n"
        );
        fs::write(jails.join(format!("j{n}-nullfs-base.fstab")), fstab).expect("fstab");
        let conf = format!("j{n} {{\n$id = \"{n}\";\n$ip = \"10.0.{}.{}/16\";\n}}\n", n / 250, n % 250 + 1);
        fs::write(root.join(format!("etc/jail.conf.d/j{n}.conf")), conf).expect("jail.conf.d");
    }
    let ours = on_stage(&built.join("jail-list"), &[]);
    let listing = [
        "list",
        "-H",
        "-p",
        "-r",
        "-t",
        "filesystem,snapshot",
        "-o",
        "name,createtxg,mounted,mountpoint,origin,used,thinjail:jail",
        "zdata/jails",
    ];
    let (mut times, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS.min(9) {
        times.push(timed(&mut on_stage(&built.join("jail-list"), &[])));
        theirs.push(timed(&mut zfs(&listing)));
    }
    let memory = peak(&ours);
    let (time, theirs) = (median(times), median(theirs));
    let ratio = time.as_secs_f64() / theirs.as_secs_f64();
    row(&format!("jail-list : zfs list, {JAILS} jails"), time, theirs, &format!("{ratio:.2}"), &memory);
}
