//! freebsd-version(1) and uname(1): the version of the simulated host.

use anyhow::{Result, bail};

use crate::Reply;
use crate::getopt::getopt;
use crate::host::Host;

/// The version unless `ROOT/var/db/standin/release` names another.
const RELEASE: &str = "15.0-RELEASE";
/// The number that goes with it, from `osreldate` in the same place.
const OSRELDATE: &str = "1500068";

/// The first line of a file of the stand-ins' own, or a default.
fn setting(host: &Host, name: &str, default: &str) -> Result<String> {
    let lines = host.state_lines(name)?;
    Ok(lines.first().cloned().unwrap_or_else(|| default.into()))
}

/// Whether the host's programs are those of FreeBSD 15 or later.
#[cfg(not(target_os = "freebsd"))]
pub fn is_recent(host: &Host) -> Result<bool> {
    let release = setting(host, "release", RELEASE)?;
    Ok(release.split('.').next().and_then(|major| major.parse().ok()).is_some_and(|major: u32| major >= 15))
}

/// Runs freebsd-version.
pub fn freebsd_version(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "kru") else {
        bail!("freebsd-version: only -k, -r and -u are imitated");
    };
    if !words.is_empty() {
        bail!("freebsd-version: takes no operands");
    }
    let given = |letter| options.iter().any(|(found, _)| *found == letter);
    let release = setting(host, "release", RELEASE)?;
    if given('k') {
        if !host.path("/boot/kernel/kernel").exists() {
            reply.complain("freebsd-version: unable to locate kernel");
            return Ok(1);
        }
        reply.say(&release);
    }
    if given('r') {
        reply.say(&release);
    }
    if given('u') || options.is_empty() {
        reply.say(&release);
    }
    Ok(0)
}

/// Runs uname.
pub fn uname(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "KUmnprs") else {
        bail!("uname: only -K, -U, -m, -n, -p, -r and -s are imitated");
    };
    if !words.is_empty() {
        bail!("uname: takes no operands");
    }
    // The real one prints in an order of its own, too.
    let mut parts = Vec::new();
    for letter in "snrmpUK".chars() {
        let asked = options.iter().any(|(found, _)| *found == letter);
        if asked || (letter == 's' && options.is_empty()) {
            parts.push(match letter {
                's' => "FreeBSD".into(),
                'n' => "standin".into(),
                'r' => setting(host, "release", RELEASE)?,
                'm' | 'p' => "amd64".into(),
                _ => setting(host, "osreldate", OSRELDATE)?,
            });
        }
    }
    reply.say(parts.join(" "));
    Ok(0)
}
