//! pwd_mkdb(8), cap_mkdb(1) and services_mkdb(8): databases made from text files.
//!
//! What they write is the name of the database and the text it was made from, so that a test can tell whether it is up to
//! date. They work through links and mounts, as the real ones do.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::Reply;
use crate::getopt::getopt;
use crate::host::Host;
use crate::mounts::{View, without_root};
use crate::simulated::kernel;

/// The files of the host as programs find them.
pub fn view(host: &Host) -> Result<View> {
    View::new(host, &kernel(host)?.state()?)
}

/// Reads a file of the host. The inner error is the text of strerror(3).
fn read(view: &View, host: &Host, path: &str) -> Result<Result<String, &'static str>> {
    match view.real(&without_root(host, path)) {
        Ok(real) if real.is_file() => Ok(Ok(fs::read_to_string(&real).with_context(|| path.to_owned())?)),
        Ok(real) if real.is_dir() => Ok(Err("Is a directory")),
        Ok(_) => Ok(Err("No such file or directory")),
        Err(cause) => Ok(Err(cause)),
    }
}

/// Puts a file of the host in place by rename.
fn replace(view: &View, host: &Host, path: &str, text: &str, mode: u32) -> Result<()> {
    let real = match view.real(&without_root(host, path)) {
        Ok(real) => real,
        Err(cause) => bail!("{path}: {cause}"),
    };
    let write = |new: &Path| -> io::Result<()> {
        fs::write(new, text)?;
        fs::set_permissions(new, Permissions::from_mode(mode))?;
        fs::rename(new, &real)
    };
    write(&real.with_extension("tmp")).with_context(|| path.to_owned())
}

/// Runs pwd_mkdb.
pub fn pwd_mkdb(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "d:p") else {
        bail!("pwd_mkdb: only -d and -p are imitated");
    };
    let directory = options.iter().find(|(letter, _)| *letter == 'd').map(|(_, value)| value.as_str());
    let directory = directory.unwrap_or("/etc").trim_end_matches('/');
    let [master] = words.as_slice() else { bail!("pwd_mkdb: needs one file") };
    let view = view(host)?;
    let text = match read(&view, host, master)? {
        Ok(text) => text,
        Err(cause) => {
            reply.complain(format!("pwd_mkdb: {master}: {cause}"));
            return Ok(1);
        }
    };
    let mut passwd = String::new();
    for line in text.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields.len() != 10 {
            reply.complain("pwd_mkdb: corrupted entry");
            reply.complain(format!("pwd_mkdb: at line #{}", passwd.lines().count() + 1));
            reply.complain(format!("pwd_mkdb: {master}: Inappropriate file type or format"));
            return Ok(1);
        }
        fields[1] = "*";
        fields.drain(4..7);
        passwd += &(fields.join(":") + "\n");
    }
    replace(&view, host, &format!("{directory}/pwd.db"), &format!("pwd.db of\n{passwd}"), 0o644)?;
    replace(&view, host, &format!("{directory}/spwd.db"), &format!("spwd.db of\n{text}"), 0o600)?;
    if options.iter().any(|(letter, _)| *letter == 'p') {
        replace(&view, host, &format!("{directory}/passwd"), &passwd, 0o644)?;
    }
    // It is moved to its place, which is here, and made private.
    if let Ok(real) = view.real(&without_root(host, master)) {
        fs::set_permissions(&real, Permissions::from_mode(0o600))?;
    }
    Ok(0)
}

/// Runs cap_mkdb.
pub fn cap_mkdb(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let [file] = args else { bail!("cap_mkdb: only one file is imitated") };
    if file.starts_with('-') {
        bail!("cap_mkdb: no options are imitated");
    }
    let view = view(host)?;
    let text = match read(&view, host, file)? {
        Ok(text) => text,
        Err(cause) => {
            reply.complain(format!("cap_mkdb: file argument: {cause}"));
            return Ok(1);
        }
    };
    // Written over, not replaced.
    match view.real(&format!("{}.db", without_root(host, file))) {
        Ok(real) => fs::write(&real, format!("login.conf.db of\n{text}")).with_context(|| file.to_owned())?,
        Err(cause) => {
            reply.complain(format!("cap_mkdb: {file}.db: {cause}"));
            return Ok(1);
        }
    }
    Ok(0)
}

/// Runs services_mkdb.
pub fn services_mkdb(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "o:q") else {
        bail!("services_mkdb: only -o and -q are imitated");
    };
    let output = options.iter().find(|(letter, _)| *letter == 'o').map(|(_, value)| value.as_str());
    let output = output.unwrap_or("/var/db/services.db");
    let [file] = words.as_slice() else { bail!("services_mkdb: needs one file") };
    let view = view(host)?;
    if let Err(cause) = view.real(&without_root(host, output)) {
        reply.complain(format!("services_mkdb: Error opening temporary database `{output}.tmp': {cause}"));
        return Ok(1);
    }
    let text = match read(&view, host, file)? {
        Ok(text) => text,
        Err(cause) => {
            reply.complain(format!("services_mkdb: Cannot open `{file}': {cause}"));
            return Ok(1);
        }
    };
    replace(&view, host, output, &format!("services.db of\n{text}"), 0o644)?;
    Ok(0)
}
