//! pkg(8) on a base that was installed from packages.
//!
//! A base is one if `ROOT/var/db/standin/pkgbase` is there. What there is to upgrade to is what freebsd-update(8) would
//! install (see [`crate::update`]).
//!
//! | fault | effect |
//! |---|---|
//! | `pkg-unreachable` | no repository can be reached |

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::Reply;
use crate::certs;
use crate::databases::view;
use crate::host::{Host, replace};
use crate::mounts::without_root;

/// Whether a base comes from packages, as freebsd-update(8) finds out.
pub fn is_packaged(host: &Host, _base: &str) -> Result<bool> {
    let tools = crate::commands::tools()?;
    Ok(tools.join("pkg").exists() && host.flag("pkgbase"))
}

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let packaged = host.flag("pkgbase");
    match words[..] {
        ["-N", "-r", _] if packaged => {
            reply.complain("pkg: 5 packages installed");
            Ok(0)
        }
        ["-N", "-r", _] => {
            reply.complain("pkg: package database non-existent");
            Ok(1)
        }
        ["-r", _, "which", "-q", "/usr/bin/uname"] | ["-o", _, "which", "-q", "/usr/bin/uname"] => {
            if packaged {
                reply.say("FreeBSD-runtime-15.0");
            }
            Ok(u8::from(!packaged))
        }
        ["-r", _, "-o", "IGNORE_OSVERSION=yes", "update", "-f", "-r", "FreeBSD-base"] => update(host, reply),
        ["-r", base, "-o", "IGNORE_OSVERSION=yes", "upgrade", "-y", "-r", "FreeBSD-base"] => {
            upgrade(host, base, reply)
        }
        _ => bail!("pkg {}: not imitated", args.join(" ")),
    }
}

fn update(host: &Host, reply: &mut Reply) -> Result<u8> {
    reply.say("Updating FreeBSD-base repository catalogue...");
    if host.flag("pkg-unreachable") {
        let url = "pkg+https://pkg.FreeBSD.org/FreeBSD:15:amd64/base_release_0";
        reply.complain(format!("pkg: {url}/meta.txz: No route to host"));
        reply.complain(format!("pkg: {url}/packagesite.pkg: No route to host"));
        reply.say("Unable to update repository FreeBSD-base");
        reply.say("Error updating repositories!");
        return Ok(1);
    }
    reply.say("Fetching meta.conf: . done");
    reply.say("Fetching data.pkg: .......... done");
    reply.say("Processing entries: .......... done");
    reply.say("FreeBSD-base repository update completed. 496 packages processed.");
    reply.say("FreeBSD-base is up to date.");
    Ok(0)
}

fn upgrade(host: &Host, base: &str, reply: &mut Reply) -> Result<u8> {
    reply.say("Updating FreeBSD-base repository catalogue...");
    reply.say("FreeBSD-base repository is up to date.");
    reply.say("FreeBSD-base is up to date.");
    let inside = without_root(host, base);
    let inside = inside.trim_end_matches('/');
    let version = view(host)?.real(&format!("{inside}/bin/freebsd-version"));
    let version = version.map_err(|cause| anyhow::anyhow!("{base}/bin/freebsd-version: {cause}"))?;
    let text = fs::read_to_string(&version).context("bin/freebsd-version")?;
    let running = text.lines().find_map(|line| line.strip_prefix("USERLAND_VERSION=\"")?.strip_suffix('"'));
    let running = running.context("bin/freebsd-version: no version")?.to_owned();
    let release = running.split("-p").next().unwrap_or_default();
    let updates = host.state("updates").join(release);
    let level = fs::read_to_string(updates.join("level")).unwrap_or_default();
    let newest = format!("{release}-p{}", level.trim());
    if level.is_empty() || newest == running {
        reply.say("Checking for upgrades (0 candidates): done");
        reply.say("Processing candidates (0 candidates): done");
        reply.say("Checking integrity... done (0 conflicting)");
        reply.say("Your packages are up to date.");
        return Ok(0);
    }
    let package = |version: &str| version.replace("-RELEASE", "").replace("-p", "p");
    let line = format!("FreeBSD-runtime: {} -> {} [FreeBSD-base]", package(&running), package(&newest));
    reply.say("Checking for upgrades (1 candidates): . done");
    reply.say("Processing candidates (1 candidates): . done");
    reply.say("The following 1 package(s) will be affected (of 0 checked):\n");
    reply.say(format!("Installed packages to be UPGRADED:\n\t{line}\n"));
    reply.say("Number of packages to be upgraded: 1");
    reply.say(format!(
        "[1/1] Upgrading FreeBSD-runtime from {} to {}...",
        package(&running),
        package(&newest)
    ));
    let top = updates.join("files");
    let mut todo: Vec<PathBuf> = vec![top.clone()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten() {
            let source = entry?.path();
            let path = format!("{inside}/{}", source.strip_prefix(&top)?.display());
            let view = view(host)?;
            let own = view.own(&path).map_err(|cause| anyhow::anyhow!("{path}: {cause}"))?;
            if source.is_symlink() {
                let _ = fs::remove_file(&own);
                symlink(fs::read_link(&source)?, &own)?;
            } else if source.is_dir() {
                if view.look(&path, true).is_err() {
                    fs::create_dir(&own)?;
                }
                todo.push(source);
            } else {
                let mode = fs::symlink_metadata(&own).unwrap_or(fs::symlink_metadata(&source)?).permissions();
                let _ = fs::remove_file(&own);
                fs::write(&own, fs::read(&source)?)?;
                fs::set_permissions(&own, Permissions::from_mode(mode.mode()))?;
            }
        }
    }
    if !updates.join("kernel-only").exists() && !top.join("bin/freebsd-version").exists() {
        replace(&version, &text.replace(&running, &newest))?;
    }
    for path in fs::read_to_string(updates.join("remove")).unwrap_or_default().lines() {
        if let Ok(own) = view(host)?.own(&format!("{inside}/{}", path.trim_start_matches('/'))) {
            let _ = fs::remove_file(own);
        }
    }
    // The package with the certificates does it when it was changed.
    if top.join("usr/share/certs").exists() {
        host.note_call("certctl", &[format!("-D{base}/"), "rehash".into()])?;
        certs::rehash(host, base, reply)?;
    }
    Ok(0)
}
