//! Messages to syslogd(8).
//!
//! rc.d/jail throws away what hooks print on success and all that stop hooks
//! print, so warnings and failures go here as well. Sending never waits and
//! never fails the program: a host without syslogd must be able to stop jails.

use crate::formats::printable;
use crate::system::root::Root;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// How much a message matters: the syslog(3) priorities used, facility daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something was not done that should have been.
    Error,
    /// Something was done that an administrator should know of.
    Warning,
}

const SOCKETS: [&str; 3] = ["/var/run/logpriv", "/var/run/log", "/dev/log"];

/// Sends one line, tagged with the program's name and process id.
pub fn send(root: &Root, program: &str, severity: Severity, message: &str) {
    const DAEMON: u8 = 3 << 3;
    let priority = DAEMON | if severity == Severity::Error { 3 } else { 4 };
    // syslogd(8) adds the time if it is missing.
    let line = format!("<{priority}>{program}[{}]: {}", std::process::id(), printable::line(message));
    let Ok(socket) = UnixDatagram::unbound() else { return };
    if socket.set_nonblocking(true).is_err() {
        return;
    }
    for path in SOCKETS {
        if socket.send_to(line.as_bytes(), root.host_path(Path::new(path))).is_ok() {
            return;
        }
    }
}
