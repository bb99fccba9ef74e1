//! The base system's own programs: by absolute path, argument lists, a clean
//! environment, both streams captured.

use crate::formats::shell;
use crate::system::effect;
pub use crate::types::tool_error::{Outcome, ToolError};

use crate::system::root::Root;
use crate::system::signals;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

/// A program of the base system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// zfs(8)
    Zfs,
    /// sysrc(8)
    Sysrc,
    /// fetch(1)
    Fetch,
    /// tar(1)
    Tar,
    /// mount(8)
    Mount,
    /// umount(8)
    Umount,
    /// freebsd-update(8)
    FreebsdUpdate,
    /// pkg(8), the one program that base does not bring
    Pkg,
    /// certctl(8)
    Certctl,
    /// sh(1), for certctl(8) of a base older than 15
    Sh,
    /// pwd_mkdb(8)
    PwdMkdb,
    /// cap_mkdb(1)
    CapMkdb,
    /// services_mkdb(8)
    ServicesMkdb,
    /// sysctl(8)
    Sysctl,
    /// service(8)
    Service,
    /// kldstat(8)
    Kldstat,
    /// jail(8)
    Jail,
    /// devfs(8)
    Devfs,
    /// netstat(1)
    Netstat,
    /// ifconfig(8), for what needs an address
    Ifconfig,
    /// pfctl(8)
    Pfctl,
}

/// Environment variables by which a program reaches the network
/// (fetch(3)); the rest of the environment is kept from all of them.
const NETWORK: [&str; 13] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "HTTP_PROXY_AUTH",
    "FETCH_BIND_ADDRESS",
    "SSL_CA_CERT_FILE",
    "SSL_CA_CERT_PATH",
    "SSL_NO_VERIFY_PEER",
];

/// One of the two that a program writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Tool {
    /// Where the base system has it (freebsd-src: etc/mtree, hier(7)).
    pub fn path(self) -> &'static Path {
        Path::new(match self {
            Tool::Zfs => "/sbin/zfs",
            Tool::Sysrc => "/usr/sbin/sysrc",
            Tool::Fetch => "/usr/bin/fetch",
            Tool::Tar => "/usr/bin/tar",
            Tool::Mount => "/sbin/mount",
            Tool::Umount => "/sbin/umount",
            Tool::FreebsdUpdate => "/usr/sbin/freebsd-update",
            Tool::Pkg => "/usr/local/sbin/pkg",
            Tool::Certctl => "/usr/sbin/certctl",
            Tool::Sh => "/bin/sh",
            Tool::PwdMkdb => "/usr/sbin/pwd_mkdb",
            Tool::CapMkdb => "/usr/bin/cap_mkdb",
            Tool::ServicesMkdb => "/usr/sbin/services_mkdb",
            Tool::Sysctl => "/sbin/sysctl",
            Tool::Service => "/usr/sbin/service",
            Tool::Kldstat => "/sbin/kldstat",
            Tool::Jail => "/usr/sbin/jail",
            Tool::Devfs => "/sbin/devfs",
            Tool::Netstat => "/usr/bin/netstat",
            Tool::Ifconfig => "/sbin/ifconfig",
            Tool::Pfctl => "/sbin/pfctl",
        })
    }

    /// In the plain locale tar(1) makes `?` of what is not ASCII in a name.
    fn locale(self) -> &'static str {
        if self == Tool::Tar { "C.UTF-8" } else { "C" }
    }

    fn needs_network(self) -> bool {
        matches!(self, Tool::Fetch | Tool::FreebsdUpdate | Tool::Pkg)
    }
}

/// What a program that succeeded printed.
#[derive(Debug)]
pub struct Printed {
    /// Standard output.
    pub stdout: String,
    /// Standard error, its lines joined by `; `.
    pub stderr: String,
}

/// Where the programs are found.
#[derive(Clone, Debug)]
pub struct Tools {
    root: Root,
    stand_ins: Option<PathBuf>,
}

impl Tools {
    /// The base system's; `THINJAIL_TOOLS` puts stand-ins in their place, but
    /// only together with an alternate root, so that it is no way to have root
    /// run something else.
    pub fn new(root: &Root) -> Tools {
        let stand_ins = std::env::var_os("THINJAIL_TOOLS").filter(|_| root.is_alternate()).map(PathBuf::from);
        Tools { root: root.clone(), stand_ins }
    }

    /// Whether the programs describe and change another system than the one below
    /// the root.
    pub fn are_of_another_system(&self) -> bool {
        self.root.is_alternate() && self.stand_ins.is_none()
    }

    /// The command line of a call, for people.
    pub fn line<S: AsRef<OsStr>>(tool: Tool, arguments: &[S]) -> String {
        let words = std::iter::once(tool.path().as_os_str()).chain(arguments.iter().map(AsRef::as_ref));
        shell::line(words)
    }

    /// Runs a program that changes something.
    pub fn run<S: AsRef<OsStr>>(&self, tool: Tool, arguments: &[S]) -> Result<Printed, ToolError> {
        self.ask(tool, arguments)
    }

    /// The file that is started for a tool.
    pub fn program(&self, tool: Tool) -> PathBuf {
        match (&self.stand_ins, tool.path().file_name()) {
            (Some(directory), Some(name)) => directory.join(name),
            _ => tool.path().to_owned(),
        }
    }

    fn command<S: AsRef<OsStr>>(&self, tool: Tool, arguments: &[S]) -> Command {
        let mut command = Command::new(self.program(tool));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/sbin:/bin:/usr/sbin:/usr/bin")
            .env("LC_ALL", tool.locale())
            .env("HOME", "/")
            .stdin(Stdio::null());
        if tool.needs_network() {
            command.envs(NETWORK.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
            // freebsd-update(8) shows every list in a pager.
            command.env("PAGER", "/bin/cat");
        }
        if let Some(stand_ins) = &self.stand_ins {
            // Programs start others.
            command.env("THINJAIL_ROOT", self.root.path()).env("THINJAIL_TOOLS", stand_ins);
        }
        command
    }

    /// Runs a program that only reports something.
    pub fn ask<S: AsRef<OsStr>>(&self, tool: Tool, arguments: &[S]) -> Result<Printed, ToolError> {
        effect::program(|| Tools::line(tool, arguments), || self.output(tool, arguments))
    }

    /// The same for a program that reads its standard input.
    pub fn ask_with_input<S: AsRef<OsStr>>(
        &self,
        tool: Tool,
        arguments: &[S],
        input: &[u8],
    ) -> Result<Printed, ToolError> {
        let run = || {
            let mut command = self.command(tool, arguments);
            let fail =
                |e| ToolError { command: Tools::line(tool, arguments), outcome: Outcome::NotStarted(e) };
            let (from, to) = io::pipe().map_err(fail)?;
            command.stdin(from);
            // A pipe holds only so much; the program may also end without reading it.
            let input = input.to_owned();
            let writer = std::thread::spawn(move || feed(to, &input));
            let output = self.output_of(&mut command, tool, arguments);
            drop(command);
            let _ = writer.join();
            output
        };
        effect::program(|| Tools::line(tool, arguments), run)
    }

    /// The command line of a pipe between two calls, for people.
    pub fn pipe_line<S: AsRef<OsStr>>(from: (Tool, &[S]), to: (Tool, &[S])) -> String {
        format!("{} | {}", Tools::line(from.0, from.1), Tools::line(to.0, to.1))
    }

    /// Runs two programs, the second of which reads what the first one writes.
    /// `line` gets each line of the first one's standard error as it comes, and says
    /// whether it is a message.
    ///
    /// # Errors
    ///
    /// When either fails, with the messages of both.
    pub fn pipe<S: AsRef<OsStr>>(
        &self,
        from: (Tool, &[S]),
        to: (Tool, &[S]),
        line: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), ToolError> {
        effect::program(|| Tools::pipe_line(from, to), || self.piped(from, to, line))
    }

    #[expect(clippy::disallowed_methods, reason = "announced by pipe")]
    fn piped<S: AsRef<OsStr>>(
        &self,
        from: (Tool, &[S]),
        to: (Tool, &[S]),
        line: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<(), ToolError> {
        let fail = |outcome| ToolError { command: Tools::pipe_line(from, to), outcome };
        let not_started = |e| fail(Outcome::NotStarted(e));
        let (reader, writer) = io::pipe().map_err(not_started)?;
        let mut first = self.command(from.0, from.1);
        first.stdout(writer).stderr(Stdio::piped());
        let mut second = self.command(to.0, to.1);
        second.stdin(reader).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = first.spawn().map_err(not_started)?;
        // The second one sees the end only when no other process can write.
        drop(first);
        let second = std::thread::spawn(move || signals::output(&mut second));
        let mut messages = Vec::new();
        let read = child.stderr.take().map_or(Ok(()), |stderr| {
            each_line(BufReader::new(stderr), &mut |text| {
                if line(text) {
                    messages.extend_from_slice(text);
                    messages.push(b'\n');
                }
            })
        });
        let status = child.wait();
        let output = second.join().map_err(|_| io::Error::other("the thread that ran it ended"));
        read.map_err(not_started)?;
        let (status, output) = (status.map_err(not_started)?, output.flatten().map_err(not_started)?);
        if status.success() && output.status.success() {
            return Ok(());
        }
        let stderr = one_line(&[&output.stderr, messages.as_slice()].concat());
        let status = if output.status.success() { status } else { output.status };
        Err(fail(Outcome::Failed { status, stdout: String::new(), stderr }))
    }

    fn output<S: AsRef<OsStr>>(&self, tool: Tool, arguments: &[S]) -> Result<Printed, ToolError> {
        self.output_of(&mut self.command(tool, arguments), tool, arguments)
    }

    fn output_of<S: AsRef<OsStr>>(
        &self,
        command: &mut Command,
        tool: Tool,
        arguments: &[S],
    ) -> Result<Printed, ToolError> {
        let fail = |outcome| ToolError { command: Tools::line(tool, arguments), outcome };
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = signals::output(command).map_err(|e| fail(Outcome::NotStarted(e)))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = one_line(&output.stderr);
        if !output.status.success() {
            return Err(fail(Outcome::Failed { status: output.status, stdout, stderr }));
        }
        Ok(Printed { stdout, stderr })
    }

    /// Runs a program and passes on what it writes to one stream, line by line,
    /// as it comes.
    pub fn follow<S: AsRef<OsStr>>(
        &self,
        tool: Tool,
        arguments: &[S],
        stream: Stream,
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ToolError> {
        effect::program(|| Tools::line(tool, arguments), || self.followed(tool, arguments, stream, line))
    }

    #[expect(clippy::disallowed_methods, reason = "announced by follow")]
    fn followed<S: AsRef<OsStr>>(
        &self,
        tool: Tool,
        arguments: &[S],
        stream: Stream,
        line: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ToolError> {
        let fail = |outcome| ToolError { command: Tools::line(tool, arguments), outcome };
        let mut command = self.command(tool, arguments);
        match stream {
            Stream::Stdout => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
            // Where the lines are wanted, the messages are among them.
            Stream::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().map_err(|e| fail(Outcome::NotStarted(e)))?;
        let followed = follow(&mut child, stream, line).map_err(|e| fail(Outcome::NotStarted(e)));
        let status = child.wait().map_err(|e| fail(Outcome::NotStarted(e)))?;
        let stderr = followed?;
        if !status.success() {
            let stderr = one_line(&stderr);
            return Err(fail(Outcome::Failed { status, stdout: String::new(), stderr }));
        }
        Ok(())
    }

    /// Runs a program that makes a file grow, and ends it when the file has not
    /// grown for so long. Its standard error goes where ours does: it may show
    /// its own progress there.
    pub fn run_growing<S: AsRef<OsStr>>(
        &self,
        tool: Tool,
        arguments: &[S],
        file: &Path,
        stalled: Duration,
    ) -> Result<(), ToolError> {
        effect::program(|| Tools::line(tool, arguments), || self.grown(tool, arguments, file, stalled))
    }

    fn grown<S: AsRef<OsStr>>(
        &self,
        tool: Tool,
        arguments: &[S],
        file: &Path,
        stalled: Duration,
    ) -> Result<(), ToolError> {
        let fail = |outcome| ToolError { command: Tools::line(tool, arguments), outcome };
        let mut command = self.command(tool, arguments);
        command.stdout(Stdio::null());
        let shown = io::stderr().is_terminal();
        command.stderr(if shown { Stdio::inherit() } else { Stdio::piped() });
        let (output, stopped) =
            output_while_growing(&mut command, file, stalled).map_err(|e| fail(Outcome::NotStarted(e)))?;
        let mut stderr = one_line(&output.stderr);
        if stopped {
            stderr = format!("no progress for {} seconds", stalled.as_secs());
        }
        match output.status {
            status if status.success() => Ok(()),
            status => Err(fail(Outcome::Failed { status, stdout: String::new(), stderr })),
        }
    }
}

/// Runs a program to its end, or ends it when `file` has not grown for so long;
/// true if that was so.
#[expect(clippy::disallowed_methods, reason = "announced by run_growing")]
fn output_while_growing(command: &mut Command, file: &Path, stalled: Duration) -> io::Result<(Output, bool)> {
    let child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let (ended, wait) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let output = child.wait_with_output();
        let _ = ended.send(());
        output
    });
    let size = || std::fs::metadata(file).map_or(0, |m| m.len());
    let (mut last, mut stopped) = (size(), false);
    while wait.recv_timeout(stalled) == Err(RecvTimeoutError::Timeout) {
        let now = size();
        if now == last {
            stopped = true;
            // SIGINT it does not hear; it may be asked only once.
            let _ = kill_process(pid, Signal::TERM);
            break;
        }
        last = now;
    }
    let output = waiter.join().map_err(|_| io::Error::other("the thread that waited for it ended"))?;
    Ok((output?, stopped))
}

/// Reads both streams to their ends, so that neither blocks the program; gives
/// the last of what came on standard error.
fn follow(child: &mut Child, stream: Stream, line: &mut dyn FnMut(&[u8])) -> io::Result<Vec<u8>> {
    let stderr = child.stderr.take();
    let mut messages = Vec::new();
    match stream {
        Stream::Stdout => {
            let aside = std::thread::spawn(move || {
                let mut text = Vec::new();
                let _ = stderr.map(|e| e.take(1 << 16).read_to_end(&mut text));
                text
            });
            if let Some(stdout) = child.stdout.take() {
                each_line(BufReader::new(stdout), line)?;
            }
            messages = aside.join().unwrap_or_default();
        }
        Stream::Stderr => {
            if let Some(stderr) = stderr {
                each_line(BufReader::new(stderr), &mut |l| {
                    line(l);
                    messages.clear();
                    messages.extend_from_slice(l);
                })?;
            }
        }
    }
    Ok(messages)
}

fn each_line(mut from: impl BufRead, line: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = Vec::new();
    while from.read_until(b'\n', &mut buffer)? > 0 {
        line(buffer.strip_suffix(b"\n").unwrap_or(&buffer));
        buffer.clear();
    }
    Ok(())
}

/// Writes all of it, or as much as the reader wants.
#[expect(clippy::disallowed_methods, reason = "to a program that only reports something")]
fn feed(mut to: io::PipeWriter, input: &[u8]) {
    let _ = to.write_all(input);
}

/// Messages on one line.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_progress_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        let run = |command: &mut Command, stalled| {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            output_while_growing(command, &dir.path().join("file"), stalled).unwrap()
        };
        // No process will ever write to it.
        let (output, stopped) = run(Command::new("cat").arg(&fifo), Duration::from_millis(1));
        assert!(stopped && !output.status.success());
        let (output, stopped) = run(&mut Command::new("true"), Duration::from_secs(600));
        assert!(!stopped && output.status.success());
    }
}
