//! jail-mkfstab: writing and checking.
#![cfg(not(target_os = "freebsd"))]

use crate::harness::bin::bin;
use crate::harness::host::Host;
use std::fs;
use std::os::unix::fs::symlink;

const FSTAB: &str = "zdata/jails/web-nullfs-base.fstab";
const RECIPE: &str = "/zdata/jails/templates/14.5-RELEASE-base /zdata/jails/web-nullfs-base/ nullfs ro 0 0\n\
                      /zdata/jails/containers/web /zdata/jails/web-nullfs-base/skeleton nullfs rw 0 0\n";

fn host() -> Host {
    let host = Host::hooks_with_template();
    let skeleton = host.path("zdata/jails/templates/14.5-RELEASE-skeleton");
    thinjail::system::tree::copy(&skeleton, &host.path("zdata/jails/containers/web")).unwrap();
    fs::create_dir_all(host.path("data/www/sub")).unwrap();
    fs::create_dir_all(host.path("data/b b")).unwrap();
    fs::write(host.path("data/file"), "").unwrap();
    host
}

#[track_caller]
fn mount(host: &Host, mounts: &[&str]) -> Result<String, String> {
    let mut command = host.command("jail-mkfstab");
    for mount in mounts {
        command.args(["-m", mount]);
    }
    let output = command.args(["-o", "-", "web"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), usize::from(!output.status.success()), "{stderr}");
    if output.status.success() { Ok(String::from_utf8(output.stdout).unwrap()) } else { Err(stderr) }
}

#[test]
fn writes_the_recipe_once() {
    let host = host();
    let before = host.present();
    assert_eq!(host.ok("jail-mkfstab -o - web"), RECIPE);
    assert!(host.ok("jail-mkfstab -n web").starts_with("printf '/zdata/jails/templates"));
    assert_eq!(before, host.present());
    host.ok("jail-mkfstab web");
    assert_eq!(host.read(FSTAB), RECIPE);
    host.ok("jail-mkfstab web");
    host.ok("jail-mkfstab -c web");
    let error = host.refuses(1, "jail-mkfstab -m /data/www:/usr/local/www web");
    assert!(error.contains("already exists with different lines"), "{error}");
    host.ok("jail-mkfstab -o /data/other -m /data/www:/usr/local/www web");
    assert_eq!(host.read("data/other").lines().count(), 3);
    host.ok("jail-mkfstab -c -o /data/other web");
}

#[test]
fn extra_mounts() {
    let host = host();
    let path = "/zdata/jails/web-nullfs-base";
    for (mounts, expect) in [
        (
            vec!["/data/www:/usr/local/www"],
            format!("/data/www {path}/skeleton/usr/local/www nullfs rw 0 0\n"),
        ),
        (vec!["/data/www:/skeleton/docs:ro"], format!("/data/www {path}/skeleton/docs nullfs ro 0 0\n")),
        (
            vec!["/data/b b:/home:noatime,ro"],
            format!("/data/b\\040b {path}/skeleton/home nullfs ro,noatime 0 0\n"),
        ),
        (
            vec!["tmpfs:/tmp:type=tmpfs,size=64m"],
            format!("tmpfs {path}/skeleton/tmp tmpfs rw,size=64m 0 0\n"),
        ),
        (vec!["/data/www:/mnt"], format!("/data/www {path}/mnt nullfs rw 0 0\n")),
        // Into what an earlier mount brought.
        (
            vec!["/data:/mnt", "/data/b b:/mnt/www/sub"],
            format!("/data {path}/mnt nullfs rw 0 0\n/data/b\\040b {path}/mnt/www/sub nullfs rw 0 0\n"),
        ),
        (vec!["/data/file:/etc/rc.conf"], format!("/data/file {path}/skeleton/etc/rc.conf nullfs rw 0 0\n")),
    ] {
        assert_eq!(mount(&host, &mounts).unwrap(), format!("{RECIPE}{expect}"), "{mounts:?}");
    }
}

#[test]
fn bad_mounts() {
    let host = host();
    let container = host.path("zdata/jails/containers/web");
    symlink("/etc", container.join("link")).unwrap();
    symlink("usr/local", container.join("local")).unwrap();
    for (mounts, expect) in [
        (vec!["/nodata:/home"], "mount source"),
        (vec!["/data/www:/nowhere"], "/nowhere: no such directory"),
        (vec!["/data/www:/home/none"], "/containers/web/home/none: no such directory; create it first"),
        (vec!["/data/www:/"], "a file system is already mounted there"),
        (vec!["/data/www:/skeleton"], "a file system is already mounted there"),
        (vec!["/data/www:/home", "/data:/home"], "a file system is already mounted there"),
        // The same place by two names.
        (
            vec!["/data/www:/usr/local/www", "/data:/skeleton/usr/local/www/"],
            "a file system is already mounted there",
        ),
        (vec!["/data/www:/skeleton/link"], "/skeleton/link: a symbolic link in the container"),
        (vec!["/data/www:/skeleton/local/www"], "/skeleton/local: a symbolic link in the container"),
        (vec!["/data/file:/home"], "a directory, but the source is a file"),
        (vec!["/data/www:/etc/rc.conf"], "not a directory, but the source is one"),
        (vec!["/data/www:/etc/rc.conf/x"], "not a directory"),
    ] {
        let error = mount(&host, &mounts).expect_err(&format!("{mounts:?}"));
        assert!(error.contains(expect), "{mounts:?}: {error}");
    }
    for bad in ["/data", "data:/home", "/data:home", "/data:/../etc", "/data:/home:ro,rw", "/data:/home:a b"]
    {
        host.refuses_with(2, "jail-mkfstab", &["-m", bad, "web"]);
    }
    let error = host.refuses(1, "jail-mkfstab nosuch");
    assert!(error.contains("is nosuch a thinjail jail?"), "{error}");
}

#[test]
fn targets_in_the_way() {
    let host = host();
    for what in ["link", "directory"] {
        match what {
            "link" => symlink("/data/file", host.path(FSTAB)).unwrap(),
            _ => fs::create_dir(host.path(FSTAB)).unwrap(),
        }
        let error = host.refuses(1, "jail-mkfstab web");
        assert!(error.contains("already exists"), "{error}");
        fs::remove_file(host.path(FSTAB)).or_else(|_| fs::remove_dir(host.path(FSTAB))).unwrap();
    }
    let error = host.refuses(1, "jail-mkfstab -o /no/such/file web");
    assert!(error.contains("/no/such"), "{error}");
}

#[test]
fn check_reports_everything() {
    let host = host();
    let path = "/zdata/jails/web-nullfs-base";
    symlink("etc", host.path("zdata/jails/containers/web/slink")).unwrap();
    host.write(
        FSTAB,
        &format!(
            "# comment\n\
             /zdata/jails/templates/14.5-RELEASE-base {path}/ nullfs ro 0 0\n\
             /zdata/jails/containers/web {path}/skeleton nullfs rw 0 0\n\
             /data/www {path}/usr/local/www nullfs rw 0 0\n\
             /nodata {path}/skeleton/home nullfs rw 0 0\n\
             /data/www {path}/skeleton/none nullfs rw 0 0\n\
             /data/www /zdata//jails/web-nullfs-base/skeleton/docs nullfs rw 0 0\n\
             /data/www /elsewhere nullfs rw 0 0\n\
             /data/www relative nullfs rw 0 0\n\
             /data/www {path}/skeleton/home nullfs rw 0 0\n\
             /data/b b {path}/skeleton/docs nullfs rw 0 0\n\
             /data/www {path}/skeleton/docs nullfs noatime 0 0\n\
             /data/www {path}/skeleton/tmp nullfs\n\
             /data/www {path}/skeleton/slink/ssl nullfs rw 0 0\n\
             /data/www\n\
             /data\\q {path}/skeleton/root nullfs rw 0 0\n\
             /data/www {path}/skeleton/../../x nullfs rw\n"
        ),
    );
    let (status, stdout, stderr) = host.said("jail-mkfstab -c web");
    assert_eq!((status, stdout.as_str()), (1, ""));
    let expect = [
        (4, "usr/local is a symbolic link; write /zdata/jails/web-nullfs-base/skeleton/usr/local/www"),
        (5, "source /nodata: no such file or directory"),
        (6, "skeleton/none: no such directory"),
        (7, "write it with the path of the jail"),
        (8, "is outside the jail's path"),
        (9, "not an absolute pathname"),
        (10, "is listed twice"),
        (11, "mount point b: not an absolute pathname"),
        (12, "the options start with noatime"),
        (13, "no options"),
        (14, "skeleton/slink is a symbolic link"),
        (15, "missing information"),
        (16, "fstab parse error"),
        (17, ".. leads out of the jail"),
    ];
    for (line, what) in expect {
        let prefix = format!("line {line}: ");
        assert!(
            stderr.lines().any(|l| l.contains(&prefix) && l.contains(what)),
            "line {line}: {what}\n{stderr}"
        );
    }
    assert!(!stderr.contains("line 2:") && !stderr.contains("line 3:"), "{stderr}");

    host.write(FSTAB, "");
    assert!(host.refuses(1, "jail-mkfstab -c web").contains("no mounts"));
    host.write(FSTAB, &RECIPE.replace(" ro ", " rw "));
    assert!(host.refuses(1, "jail-mkfstab -c web").contains("mounted rw"));
    host.write(FSTAB, RECIPE.lines().next().unwrap());
    assert!(host.refuses(1, "jail-mkfstab -c web").contains("line of the container is missing"));
}

#[test]
fn what_else_a_check_finds() {
    let host = host();
    let path = "/zdata/jails/web-nullfs-base";
    fs::create_dir_all(host.path("zdata/jails/containers/db/etc")).unwrap();
    symlink("www", host.path("data/link")).unwrap();
    symlink("/", host.path("zdata/jails/containers/web/usr/local/esc")).unwrap();
    let long = "n".repeat(300);
    host.write(
        FSTAB,
        &format!(
            "/zdata/jails/templates/14.5-RELEASE-base {path}/ nullfs ro 0 0\n\
             /zdata/jails/containers/db {path}/skeleton nullfs rw 0 0\n\
             /data/link {path}/skeleton/docs nullfs rw 0 0\n\
             /data/file {path}/skeleton/etc nullfs rw 0 0\n\
             /data/www {path}/{long} nullfs rw 0 0\n\
             /zdata/jails/containers/web/usr/local/esc/etc {path}/mnt nullfs rw 0 0\n\
             /nodata {path}/dev nullfs rw 0 0\n"
        ),
    );
    let (status, _, stderr) = host.said("jail-mkfstab -c web");
    assert_eq!(status, 1);
    for (line, what) in [
        (2, "is mounted as the container of web, which is /zdata/jails/containers/web"),
        (4, "a directory, but the source is a file"),
        (5, "no such directory"),
        (6, "root in a jail can change it"),
        (7, "source /nodata"),
    ] {
        let prefix = format!("line {line}: ");
        assert!(stderr.lines().any(|l| l.contains(&prefix) && l.contains(what)), "{line} {what}\n{stderr}");
    }
    let error = mount(&host, &["/zdata/jails/containers/web/usr/local/esc/etc:/mnt"]).unwrap_err();
    assert!(error.contains("root in a jail can change it"), "{error}");
    // Nor a directory, in any container and by whatever way.
    symlink(host.path("zdata/jails/containers/db"), host.path("data/db")).unwrap();
    fs::create_dir_all(host.path("zdata/jails/containers/db.before-15.0-RELEASE/etc")).unwrap();
    fs::create_dir_all(host.path("zdata/jails/db-nullfs-base/skeleton")).unwrap();
    fs::create_dir_all(host.path("srv/db")).unwrap();
    let (from, on) = (host.path("zdata/jails/containers/db"), host.path("srv/db"));
    host.kernel().change(|s| s.mount("nullfs", &from, &on)).unwrap();
    for source in [
        "/zdata/jails/containers",
        "/zdata/jails/containers/web/etc",
        "/zdata/jails/containers/db",
        "/zdata/jails/containers/db/etc",
        "/zdata/jails/containers/db.before-15.0-RELEASE/etc",
        "/zdata/jails/db-nullfs-base/skeleton",
        "/data/db",
        "/data/db/etc",
        "/srv/db",
    ] {
        let error = mount(&host, &[&format!("{source}:/mnt")]).unwrap_err();
        assert!(error.contains("root in a jail can change it"), "{source}: {error}");
    }
    // A link of the host's own is the administrator's business.
    mount(&host, &["/data/link:/mnt"]).unwrap();
}

#[test]
fn several_at_once() {
    for _ in 0..20 {
        let host = host();
        let children: Vec<_> = (0..4)
            .map(|_| {
                std::process::Command::new(bin("jail-mkfstab"))
                    .arg("web")
                    .env_clear()
                    .env("THINJAIL_ROOT", host.root())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(host.read(FSTAB), RECIPE);
    }
}
