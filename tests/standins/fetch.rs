//! fetch(1): the web is `ROOT/var/db/standin/www/HOST/PATH`.
//!
//! A host without a directory there does not resolve; a file that is not there is not found. What the server says of a
//! file's time is the time of that file.
//!
//! | file | effect |
//! |---|---|
//! | `fetch-break` | the connection is closed after that many bytes of a file's content, once |
//! | `fetch-break-always` | the same, every time |
//! | `fetch-no-ranges` | the server always sends the whole file |
//! | `fetch-unreachable` | no server can be reached; its text, if any, is the reason |

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::Reply;
use crate::getopt::getopt;
use crate::host::{Host, reason};

/// A file on a server.
struct Remote {
    content: Vec<u8>,
    /// Seconds since the epoch, as HTTP tells them.
    time: u64,
}

/// Runs the program.
pub fn run(host: &Host, args: &[String], reply: &mut Reply) -> Result<u8> {
    let Ok((options, words)) = getopt(args, "Fo:qRrs") else {
        bail!("fetch: only -F, -o, -q, -R, -r and -s are imitated");
    };
    let given = |letter| options.iter().any(|(found, _)| *found == letter);
    let [url] = words.as_slice() else { bail!("fetch: only one URL is imitated") };
    let remote = match ask(host, url)? {
        Ok(remote) => remote,
        Err(cause) if given('s') => {
            reply.complain(format!("fetch: {cause}"));
            return Ok(1);
        }
        Err(cause) => {
            reply.complain(format!("fetch: {url}: {cause}"));
            return Ok(1);
        }
    };
    if given('s') {
        reply.say(remote.content.len().to_string());
        return Ok(0);
    }
    let Some((_, name)) = options.iter().find(|(letter, _)| *letter == 'o').filter(|(_, name)| name != "-")
    else {
        bail!("fetch: only -o FILE is imitated");
    };
    let path = host.real(name);
    let transfer =
        Transfer { host, url, name, path: &path, any_time: given('F'), keep: given('R'), quiet: given('q') };
    transfer.run(&remote, given('r'), reply)
}

/// Looks a URL up. The inner error is what the server or the resolver says.
fn ask(host: &Host, url: &str) -> Result<Result<Remote, String>> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        bail!("fetch: {url}: only http and https are imitated");
    };
    let (server, path) = rest.split_once('/').unwrap_or((rest, ""));
    if path.split('/').any(|part| part == "..") || server.is_empty() || server.starts_with('.') {
        bail!("fetch: {url}: not imitated");
    }
    if host.flag("fetch-unreachable") {
        let lines = host.state_lines("fetch-unreachable")?;
        return Ok(Err(lines.first().cloned().unwrap_or_else(|| "Operation timed out".into())));
    }
    let web = host.state("www").join(server);
    if !web.is_dir() {
        let address = server.split(':').next().unwrap_or_default().parse::<std::net::Ipv4Addr>().is_ok();
        let cause = if address { "Connection refused" } else { "Host does not resolve" };
        return Ok(Err(cause.into()));
    }
    let file = web.join(path);
    if !file.is_file() {
        return Ok(Err("Not Found".into()));
    }
    let content = fs::read(&file).with_context(|| file.display().to_string())?;
    let time = fs::metadata(&file)?.modified()?.duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    Ok(Ok(Remote { content, time }))
}

/// What is got, and where it goes.
struct Transfer<'a> {
    host: &'a Host,
    url: &'a str,
    /// The file as it was given, and its real place.
    name: &'a str,
    path: &'a Path,
    /// Whether a file is gone on with whatever its time is.
    any_time: bool,
    /// Whether what was got is kept at any rate.
    keep: bool,
    quiet: bool,
}

impl Transfer<'_> {
    fn run(&self, remote: &Remote, resume: bool, reply: &mut Reply) -> Result<u8> {
        let size = remote.content.len() as u64;
        let name = self.name;
        let local = match fs::metadata(self.path) {
            Ok(local) if local.is_file() => Some(local),
            Ok(_) => None,
            Err(cause) if cause.kind() == ErrorKind::NotFound => None,
            Err(_) => {
                reply.complain(format!("fetch: {name}: stat()"));
                return Ok(1);
            }
        };
        if let Some(local) = local.as_ref().filter(|_| resume) {
            let asked = local.len();
            let offset = if self.host.flag("fetch-no-ranges") { 0 } else { asked };
            if asked > size && offset > 0 {
                reply.complain(format!("fetch: {}: Protocol error", self.url));
                return Ok(1);
            }
            // To a request for nothing the server answers with the size alone.
            let told = offset < size || offset == 0;
            if told && !self.any_time && local.mtime() != remote.time as i64 {
                if self.keep {
                    reply.complain(format!("fetch: {name}: local modification time does not match remote"));
                    return Ok(1);
                }
            } else if asked == size {
                return Ok(0);
            } else if asked > size {
                reply.complain(format!(
                    "fetch: {name}: local file ({asked} bytes) is longer than remote file ({size} bytes)"
                ));
                return Ok(1);
            } else {
                return self.pour(remote, self.path, offset, true, reply);
            }
        }
        let Some(local) = local else {
            return self.pour(remote, self.path, 0, false, reply);
        };
        // The old file stays until the new one is there.
        let temporary = self.temporary();
        let status = self.pour(remote, &temporary, 0, false, reply)?;
        if status != 0 {
            return Ok(status);
        }
        fs::set_permissions(&temporary, Permissions::from_mode(local.mode() & 0o7777))?;
        let _ = chown(&temporary, Some(local.uid()), Some(local.gid()));
        fs::rename(&temporary, self.path)?;
        Ok(0)
    }

    /// The name of a file while another of that name is there.
    fn temporary(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!(".fetch.{:06}.{name}", std::process::id() % 1_000_000))
    }

    /// Gets the content from an offset on.
    fn pour(&self, remote: &Remote, to: &Path, from: u64, old: bool, reply: &mut Reply) -> Result<u8> {
        let size = remote.content.len() as u64;
        let opened = if old { OpenOptions::new().write(true).open(to) } else { File::create(to) };
        let mut file = match opened {
            Ok(file) => file,
            Err(cause) => {
                reply.complain(format!("fetch: {}: open(): {}", self.name, reason(&cause)));
                return Ok(1);
            }
        };
        let mut end = size;
        for (fault, once) in [("fetch-break", true), ("fetch-break-always", false)] {
            if let Some(line) = self.host.state_lines(fault)?.first() {
                let bytes: u64 = line.parse().with_context(|| format!("{fault}: not a number of bytes"))?;
                end = end.min(from + bytes);
                if once {
                    fs::remove_file(self.host.state(fault))?;
                }
            }
        }
        let written = write(&mut file, &remote.content[from as usize..end as usize], from);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(remote.time);
        file.set_modified(time)?;
        if !self.quiet {
            let rate = "1000 kBps    00s";
            reply.complain(format!("{:<46.46}        {} {rate}", self.name, amount(end)));
        }
        if let Err(cause) = written {
            reply.complain(format!("fetch: {}: {}", self.name, reason(&cause)));
            if !self.keep {
                fs::remove_file(to)?;
            }
            return Ok(1);
        }
        if end < size {
            reply.complain(format!("fetch: {} appears to be truncated: {end}/{size} bytes", self.name));
            return Ok(1);
        }
        Ok(0)
    }
}

fn write(file: &mut File, bytes: &[u8], at: u64) -> io::Result<()> {
    io::Seek::seek(file, io::SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// A number of bytes as humanize_number(3) prints it.
fn amount(bytes: u64) -> String {
    let (mut number, mut unit) = (bytes, 0);
    while number >= 10_000 {
        number /= 1024;
        unit += 1;
    }
    format!("{number:>4} {:>2}", ["B", "kB", "MB", "GB", "TB"][unit])
}
