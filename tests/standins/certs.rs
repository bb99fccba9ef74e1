//! certctl(8): the program of FreeBSD 15, which writes copies of certificates, and the script that it was before, which
//! makes links.
//!
//! Hashes are made up, but those of certificates that FreeBSD ships are the right ones. Which of the two the host has
//! depends on its release; the script of a base is played by [`sh`].

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::Reply;
use crate::databases::view;
use crate::getopt::getopt;
use crate::host::Host;
use crate::mounts::{View, without_root};
use crate::version;

/// The names and hashes of the certificates that FreeBSD ships.
const SHIPPED: &str = include_str!("../data/cert-links-14.tsv");

/// The certificates, where they go, and whether they are trusted.
const STORES: &[(&str, &str)] = &[("untrusted", "untrusted"), ("trusted", "certs")];

/// Runs certctl.
pub fn certctl(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "D:") else {
        bail!("certctl: only -D is imitated");
    };
    if words != ["rehash"] {
        bail!("certctl: only rehash is imitated");
    }
    let base = options.iter().rev().find(|(letter, _)| *letter == 'D').map_or("", |(_, base)| base.as_str());
    rehash(host, base, reply)
}

/// Does what the host's certctl does on `rehash`.
pub fn rehash(host: &Host, base: &str, reply: &mut Reply) -> Result<u8> {
    let base = base.trim_end_matches('/');
    if version::is_recent(host)? { copies(host, base, reply) } else { links(host, base, reply) }
}

/// Runs sh, if it is to run the certctl of a base. Any other script of the simulated host is refused; what is none is none
/// of our business, and is run by the real one.
pub fn sh(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let script = args.first().map(|script| without_root(host, script));
    if let Some(base) = script.as_ref().and_then(|script| script.strip_suffix("/usr/sbin/certctl")) {
        let ["-D", place, "rehash"] = args[1..].iter().map(String::as_str).collect::<Vec<_>>()[..] else {
            bail!("sh: of the certctl of a base only -D BASE rehash is imitated");
        };
        if without_root(host, place).trim_end_matches('/') != base {
            bail!("sh: certctl of one base for another is not imitated");
        }
        host.note_call("sh", args)?;
        let script = view(host)?.real(&format!("{base}/usr/sbin/certctl"));
        let text = script.map_err(str::to_owned).and_then(|real| fs::read(real).map_err(|e| e.to_string()));
        return match text {
            Ok(text) if text.starts_with(b"#!/bin/sh") => links(host, place.trim_end_matches('/'), reply),
            Ok(_) => {
                reply.complain(format!("{}: Syntax error: word unexpected", args[0]));
                Ok(2)
            }
            Err(_) => {
                reply.complain(format!("sh: cannot open {}: No such file or directory", args[0]));
                Ok(2)
            }
        };
    }
    if args.first().is_some_and(|script| host.inside(script).is_some_and(|path| path != "/")) {
        bail!("sh: {}: not imitated", args[0]);
    }
    Err(Command::new("/bin/sh").args(args).exec()).context("start sh")
}

/// The hash of a certificate by its name.
fn hash(name: &str) -> String {
    let shipped = SHIPPED.lines().filter_map(|line| line.split_once('\t'));
    for (link, text) in shipped {
        if text.rsplit('/').next() == Some(name) {
            return link.rsplit('/').next().unwrap_or_default().trim_end_matches(".0").to_owned();
        }
    }
    let sum =
        name.bytes().fold(0x811c_9dc5_u32, |sum, byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{sum:08x}")
}

/// A certificate: the directory it lies in, as the host names it without links, its name there, and where it really is.
struct Certificate {
    directory: PathBuf,
    name: String,
    real: PathBuf,
}

/// Where certificates of a sort come from, below the base.
fn sources(store: &str) -> Vec<String> {
    let mut places = vec![format!("/usr/share/certs/{store}")];
    if store == "trusted" {
        places.extend(["/usr/local/share/certs".into(), "/usr/local/etc/ssl/certs".into()]);
    }
    places
}

/// The certificates of a sort, by the name that their hashes give them.
fn certificates(view: &View, inside: &str, store: &str) -> Result<BTreeMap<String, Certificate>> {
    let mut found = BTreeMap::new();
    for source in sources(store) {
        let path = format!("{inside}{source}");
        let (Ok(place), Ok(real)) = (view.look(&path, true), view.real(&path)) else { continue };
        let Ok(list) = fs::read_dir(&real) else { continue };
        let mut names: Vec<String> =
            list.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<_>>()?;
        names.sort();
        for name in names {
            let known = [".pem", ".crt", ".cer", ".crl"].iter().any(|end| name.ends_with(end));
            let real = real.join(&name);
            if !known || !real.is_file() {
                continue;
            }
            let (hash, mut number) = (hash(&name), 0);
            while found.contains_key(&format!("{hash}.{number}")) {
                number += 1;
            }
            let certificate = Certificate { directory: place.name.clone(), name, real };
            found.insert(format!("{hash}.{number}"), certificate);
        }
    }
    Ok(found)
}

/// The program of FreeBSD 15.
fn copies(host: &Host, base: &str, reply: &mut Reply) -> Result<u8> {
    let view = view(host)?;
    let inside = without_root(host, base);
    // Each directory is made if it is not there; where a link dangles it is not, and can't be made.
    let mut made = String::new();
    for part in ["etc", "ssl"] {
        made += &format!("/{part}");
        if let Err(cause) = directory(&view, &format!("{inside}{made}")) {
            reply.complain(format!("certctl: mkdir {base}{made}: {cause}"));
            return Ok(1);
        }
    }
    let untrusted = certificates(&view, &inside, "untrusted")?;
    let mut trusted = certificates(&view, &inside, "trusted")?;
    trusted.retain(|name, _| !untrusted.contains_key(name));
    let mut bundle = String::new();
    for (all, target) in [(&trusted, "certs"), (&untrusted, "untrusted")] {
        let place = format!("{inside}/etc/ssl/{target}");
        if let Err(cause) = directory(&view, &place) {
            reply.complain(format!("certctl: mkdir {base}/etc/ssl/{target}: {cause}"));
            return Ok(1);
        }
        let Ok(place) = view.real(&place) else { bail!("certctl: {place}: gone") };
        for (name, source) in all {
            let text = fs::read_to_string(&source.real).with_context(|| source.name.clone())?;
            put(&place, name, &text)?;
            if target == "certs" {
                bundle += &text;
            }
        }
        for entry in fs::read_dir(&place)? {
            let entry = entry?;
            let known = all.contains_key(&entry.file_name().to_string_lossy().into_owned());
            if !known && !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
    }
    let Ok(place) = view.real(&format!("{inside}/etc/ssl")) else { bail!("certctl: {base}/etc/ssl: gone") };
    put(&place, "cert.pem", &bundle)?;
    Ok(0)
}

/// Makes sure of a directory. The error is the text of strerror(3).
fn directory(view: &View, path: &str) -> std::result::Result<(), &'static str> {
    match view.look(path, true) {
        Ok(place) if place.is_directory() => return Ok(()),
        Ok(_) => return Err("File exists"),
        Err(_) => {}
    }
    let own = view.own(path)?;
    if own.is_symlink() {
        return Err("File exists");
    }
    fs::create_dir(own).map_err(|_| "Permission denied")
}

/// Puts a file in place by rename.
fn put(directory: &Path, name: &str, text: &str) -> Result<()> {
    let temporary = directory.join(format!(".{name}"));
    fs::write(&temporary, text)?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o444))?;
    fs::rename(&temporary, directory.join(name)).with_context(|| name.to_owned())
}

/// The script of FreeBSD 13 and 14: `install -lrs`, which makes relative links from the real paths of both ends.
fn links(host: &Host, base: &str, reply: &mut Reply) -> Result<u8> {
    let view = view(host)?;
    let inside = without_root(host, base);
    let mut status = 0;
    for (_, target) in STORES {
        let place = format!("{inside}/etc/ssl/{target}");
        if let Ok(found) = view.real(&place).map(fs::read_dir) {
            for entry in found.into_iter().flatten() {
                let entry = entry?;
                if entry.file_type()?.is_symlink() {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        let mut made = String::new();
        for part in ["etc", "ssl", target] {
            made += &format!("/{part}");
            if let Err(cause) = directory(&view, &format!("{inside}{made}")) {
                reply.complain(format!("install: mkdir {base}{made}: {cause}"));
                status = 1;
                break;
            }
        }
    }
    for (store, target) in STORES {
        for source in sources(store) {
            if view.look(&format!("{inside}{source}"), true).is_ok_and(|place| place.is_directory()) {
                reply.say(format!("Scanning {base}{source} for certificates..."));
            }
        }
        let place = format!("{inside}/etc/ssl/{target}");
        let (Ok(to), Ok(real)) = (view.look(&place, true), view.real(&place)) else { continue };
        for (name, source) in certificates(&view, &inside, store)? {
            let text = relative(&source.directory, &to.name).join(&source.name);
            symlink(text, real.join(&name)).with_context(|| name.clone())?;
        }
    }
    Ok(status)
}

/// The way from a directory to another, both without links.
fn relative(to: &Path, from: &Path) -> PathBuf {
    let common = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let mut way: PathBuf = from.components().skip(common).map(|_| "..").collect();
    way.extend(to.components().skip(common));
    way
}
