//! Holds the simulated kernel against a recording of the real one.
//!
//! `tests/transcripts/ioctl.txt` has one line for each request made of a FreeBSD 15.0 kernel, with its result and errno,
//! and indented lines with what the kernel wrote back. Each is made of the simulated kernel here, in the same order and
//! on the same interfaces, and has to end alike. A line that is neither made again nor listed below with the reason is
//! a failure, and so is an entry of the list that has come to fit nothing.

#![cfg(not(target_os = "freebsd"))]

use std::collections::BTreeSet;
use std::path::Path;

use thinjail::system::kernel::simulated::{HOST, InterfaceKind, Simulated};
use thinjail::system::kernel::{Bridges, Errno, Interfaces, Jails, Result};
use thinjail::system::root::Root;
use thinjail::types::interface::{IfName, Mtu};
use thinjail::types::mac::Mac;

/// Requests that have no counterpart, and why.
const LISTED: &[(&str, &str)] = &[
    (
        "sizeof ifreq 32 ifdrv 40 ifbreq 80 ifbifconf 16 ifgroupreq 40",
        "there are no structures: requests are calls",
    ),
    ("SIOCGIFDESCR 3-byte buffer", "there are no buffers: a description comes whole"),
    ("SIOCSIFLLADDR multicast bit set", "the type of an address, Mac, holds no multicast address"),
    ("BRDGADD wrong length", "there are no structures whose length could be wrong"),
    ("kldload if_epair (built in or loaded)", "there are no modules: every driver is there"),
];

/// One recorded request.
struct Recorded {
    line: usize,
    request: String,
    errno: Option<Errno>,
    /// The indented lines that follow it.
    written_back: Vec<String>,
}

/// Reads the recording.
fn recorded() -> Vec<Recorded> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/ioctl.txt");
    let text = std::fs::read_to_string(file).expect("read the recording");
    let mut all: Vec<Recorded> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        if let Some(text) = line.strip_prefix("  ") {
            all.last_mut().expect("a request first").written_back.push(text.trim_end().into());
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let (request, errno) = match words.as_slice() {
            [request @ .., "0"] => (request, None),
            _ => {
                let end = words.iter().position(|word| *word == "-1").unwrap_or(words.len());
                let number = words.get(end + 2).and_then(|number| number.parse().ok());
                if let Some(number) = number {
                    let text = words[end + 3..].join(" ");
                    assert_eq!(
                        Errno(number).text(),
                        Some(text.as_str()),
                        "line {}: the text of {number}",
                        at + 1
                    );
                }
                (&words[..end], number.map(Errno))
            }
        };
        all.push(Recorded { line: at + 1, request: request.join(" "), errno, written_back: Vec::new() });
    }
    all
}

fn name(text: &str) -> IfName {
    text.parse().expect("the name of an interface")
}

/// What a request came to: what the real kernel writes back for it, line by line.
type Answer = Result<Vec<String>>;

fn nothing(result: Result<()>) -> Answer {
    result.map(|()| Vec::new())
}

/// The answer of BRDGGIFS and SIOCGIFGMEMB when they are asked for the size only.
fn needed(result: Result<Vec<IfName>>, each: usize) -> Answer {
    result.map(|names| vec![format!("needed {} bytes", names.len() * each)])
}

/// Makes a recorded request of the simulated kernel; none if it is not known how. `request` is the line of the
/// recording without its result.
fn make(kernel: &Simulated, request: &str) -> Option<Answer> {
    const SIZEOF_IFBREQ: usize = 80;
    const SIZEOF_IFG_REQ: usize = 16;
    let (a, b, bridge) = (name("epair40a"), name("epair40b"), name("igc0bridge"));
    let create = |what: &str| kernel.create(what).map(|made| vec![format!("name written back: {made}")]);
    let add = |bridge: &str, member: &IfName| nothing(kernel.add_member(&name(bridge), member));
    Some(match request {
        "SIOCIFCREATE2 epair40" => create("epair40"),
        "SIOCIFCREATE2 epair40 again" => create("epair40"),
        "SIOCIFCREATE2 epair40a (exists)" => create("epair40a"),
        "SIOCIFCREATE2 epair41a (absent)" => create("epair41a"),
        "SIOCIFCREATE2 epair (no unit)" => create("epair"),
        "SIOCIFCREATE2 epair40000" => create("epair40000"),
        "SIOCIFCREATE2 nosuch0" => create("nosuch0"),
        "SIOCIFDESTROY of the unnumbered one" => nothing(kernel.destroy(&name("epair0a"))),
        "SIOCIFDESTROY absent" => nothing(kernel.destroy(&name("epair0a"))),
        "SIOCIFDESTROY lo0" => nothing(kernel.destroy(&name("lo0"))),
        // The kernel says ENOMSG where the request for a description says that there is none.
        "SIOCGIFDESCR none set" => match kernel.description(&a) {
            Ok(None) => Err(thinjail::system::kernel::KernelError {
                request: "get description of",
                object: a.to_string(),
                errno: Errno::ENOMSG,
            }),
            other => other.map(|text| vec![format!("{text:?}")]),
        },
        "SIOCSIFDESCR jail:web" => nothing(kernel.describe(&a, "jail:web")),
        "SIOCGIFDESCR" => kernel.description(&a).map(|text| {
            let text = text.unwrap_or_default();
            // The length counts the NUL.
            vec![format!("text '{text}' length {} pointer set", text.len() + 1)]
        }),
        // 1100 bytes and the NUL.
        "SIOCSIFDESCR 1101 bytes" => nothing(kernel.describe(&a, &"x".repeat(1100))),
        "SIOCSIFDESCR absent" => nothing(kernel.describe(&name("nosuch0"), "x")),
        "SIOCGIFFLAGS" | "as nobody: SIOCGIFFLAGS" => {
            let of = if request == "SIOCGIFFLAGS" { &a } else { &bridge };
            // BROADCAST, RUNNING, SIMPLEX and MULTICAST, with which a new epair comes.
            kernel.is_up(of).map(|up| vec![format!("flags 0x{:08x}", 0x8842 | u32::from(up))])
        }
        "SIOCSIFFLAGS up" => nothing(kernel.set_up(&a, true)),
        "SIOCSIFMTU 9000 a" => nothing(kernel.set_mtu(&a, Mtu::new(9000).expect("an MTU"))),
        // Below what the type Mtu holds.
        "SIOCSIFMTU 10" => nothing(kernel.change(|state| state.set_mtu("epair40a", 10))),
        "SIOCGIFMTU b" => kernel.mtu(&b).map(|mtu| vec![format!("mtu {mtu}")]),
        "SIOCSIFLLADDR unicast" => {
            nothing(kernel.set_mac(&a, "02:11:22:33:44:55".parse::<Mac>().expect("an address")))
        }
        "BRDGADD igc0bridge epair40a" | "BRDGADD again" => add("igc0bridge", &a),
        "SIOCGIFMTU a after addm" => kernel.mtu(&a).map(|mtu| vec![format!("mtu {mtu}")]),
        "SIOCGIFMTU bridge" => kernel.mtu(&bridge).map(|mtu| vec![format!("mtu {mtu}")]),
        "BRDGADD absent member" => add("igc0bridge", &name("nosuch0")),
        "BRDGADD absent bridge" => add("nosuch0", &a),
        "BRDGADD on an epair as bridge" => add("epair40b", &a),
        "BRDGADD on lo0 as bridge" => add("lo0", &a),
        "BRDGADD member of another bridge" => {
            kernel.create("bridge7").expect("another bridge");
            let answer = add("bridge7", &a);
            kernel.destroy(&name("bridge7")).expect("destroy the other bridge");
            answer
        }
        "BRDGDEL not a member" => {
            nothing(kernel.change(|state| state.delete_member("igc0bridge", "epair40b")))
        }
        "BRDGGIFS len 0" => needed(kernel.bridge_members(&bridge), SIZEOF_IFBREQ),
        "BRDGGIFS with buffer" => kernel.bridge_members(&bridge).map(|members| {
            let names: String = members.iter().map(|name| format!(" {name}")).collect();
            vec![format!("{} members:{names}", members.len())]
        }),
        "SIOCSIFNAME epair40b -> web0" => nothing(kernel.rename(&b, &name("web0"))),
        "SIOCSIFNAME to a taken name" => nothing(kernel.rename(&name("web0"), &a)),
        "SIOCAIFGROUP thinjail" | "SIOCAIFGROUP again" => nothing(kernel.join_group(&a, "thinjail")),
        "SIOCAIFGROUP name ending in a digit" => nothing(kernel.join_group(&a, "thinjail1")),
        "SIOCGIFGMEMB thinjail (name=group, len 0)" => {
            needed(kernel.group_members("thinjail"), SIZEOF_IFG_REQ)
        }
        "SIOCGIFGMEMB absent group" => needed(kernel.group_members("nosuch"), SIZEOF_IFG_REQ),
        "SIOCSIFVNET absent jail" => nothing(kernel.change(|state| state.lend("web0", 4711))),
        // The kernel says ENOENT, and more in words, where the request for a jail says that there is none.
        "jail_get name=nosuch" => match kernel.running_jail("nosuch") {
            Ok(None) => Err(thinjail::system::kernel::KernelError {
                request: "get jail",
                object: "nosuch".into(),
                errno: Errno::ENOENT,
            }),
            other => other.map(|jail| vec![format!("{jail:?}")]),
        },
        "SIOCIFDESTROY epair40a" => nothing(kernel.destroy(&a)),
        "SIOCGIFFLAGS web0 after the other half was destroyed" => {
            kernel.is_up(&name("web0")).map(|up| vec![format!("up {up}")])
        }
        "as nobody: SIOCIFCREATE2" => create("epair40"),
        "as nobody: BRDGADD" => add("igc0bridge", &name("lo0")),
        _ => return None,
    })
}

/// What the recording does not tell of an answer that succeeded, because only the result was noted down.
const NOT_NOTED: &[&str] = &["as nobody: SIOCGIFFLAGS"];

#[test]
fn every_recorded_request_ends_alike() {
    let dir = tempfile::tempdir_in(crate::harness::scratch()).expect("a temporary directory");
    let kernel = Simulated::new(&Root::alternate(dir.path()).expect("a root"));
    kernel
        .change(|state| {
            let made = state.create("bridge")?;
            state.rename(HOST, &made, "igc0bridge")
        })
        .expect("the recorded host");

    let mut complaints = Vec::new();
    let mut listed = BTreeSet::new();
    for recorded in recorded() {
        if LISTED.iter().any(|(request, _)| *request == recorded.request) {
            listed.insert(recorded.request);
            continue;
        }
        let nobody = recorded.request.starts_with("as nobody: ");
        kernel
            .change(|state| {
                state.privileged = !nobody;
                Ok(())
            })
            .expect("change who asks");
        let Some(answer) = make(&kernel, &recorded.request) else {
            complaints
                .push(format!("line {}: neither made again nor listed: {}", recorded.line, recorded.request));
            continue;
        };
        let (errno, written_back) = match answer {
            Ok(_) if NOT_NOTED.contains(&recorded.request.as_str()) => (None, Vec::new()),
            Ok(lines) => (None, lines),
            // The text of a refused request for a jail is libjail's.
            Err(refused) => (Some(refused.errno), recorded.written_back.clone()),
        };
        if (errno, &written_back) != (recorded.errno, &recorded.written_back) {
            complaints.push(format!(
                "line {}: {}\ngot {errno:?} {written_back:?}\nrecorded {:?} {:?}",
                recorded.line, recorded.request, recorded.errno, recorded.written_back
            ));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
    for (request, reason) in LISTED {
        assert!(listed.contains(*request), "listed, but not recorded: {request}");
        assert!(!reason.is_empty(), "listed without a reason: {request}");
    }
}

/// A host with one jail whose root is mounted, as jail(8) makes it: the kernel and the path.
fn with_jail(dir: &Path) -> (Simulated, std::path::PathBuf) {
    let kernel = Simulated::new(&Root::alternate(dir).expect("a root"));
    let path = dir.join("zdata/jails/pg-1-nullfs-base");
    start(&kernel, &path);
    (kernel, path)
}

fn start(kernel: &Simulated, path: &Path) {
    kernel
        .change(|state| {
            state.mount("nullfs", Path::new("/base"), path)?;
            state.create_jail("pg-1", path)
        })
        .expect("start a jail");
}

/// Unmounts plainly or by force what was mounted last.
fn unmount(kernel: &Simulated, force: bool) -> std::result::Result<(), Errno> {
    kernel
        .change(|state| {
            let fsid = state.mounts.last().expect("a mount").fsid;
            state.unmount(fsid, force)
        })
        .map_err(|refused| refused.errno)
}

/// transcripts/thin-jail.txt: a jail stopped with an open connection keeps its root busy, and mounting it again is a
/// deadlock, until it is unmounted by force. A new jail of the name then runs next to the dying one, whose hold was on
/// the mount that is gone: stopped, it leaves nothing.
#[test]
fn a_dying_jail_holds_its_own_root_only() {
    let dir = tempfile::tempdir_in(crate::harness::scratch()).expect("a temporary directory");
    let (kernel, path) = with_jail(dir.path());
    kernel.change(|state| state.remove_jail("pg-1", true)).expect("stop with a connection");
    let again = kernel.change(|state| state.mount("nullfs", Path::new("/base"), &path));
    assert_eq!(again.map_err(|refused| refused.errno), Err(Errno::EDEADLK));
    assert_eq!(unmount(&kernel, false), Err(Errno::EBUSY));
    assert_eq!(unmount(&kernel, true), Ok(()));
    assert_eq!(kernel.state().expect("state").jails.len(), 1, "still dying");

    start(&kernel, &path);
    assert_eq!(kernel.running_jails().expect("jails").len(), 1);
    assert_eq!(kernel.state().expect("state").jails.len(), 2);
    kernel.change(|state| state.remove_jail("pg-1", false)).expect("stop without a connection");
    assert_eq!(unmount(&kernel, false), Ok(()), "the old jail holds a mount that is gone");
}

/// transcripts/ifconfig.txt: the b half of a pair comes into the group first.
#[test]
fn a_group_lists_the_b_half_first() {
    let dir = tempfile::tempdir_in(crate::harness::scratch()).expect("a temporary directory");
    let kernel = Simulated::new(&Root::alternate(dir.path()).expect("a root"));
    kernel.create("epair253").expect("a pair");
    assert_eq!(kernel.group_members("epair").expect("members"), [name("epair253b"), name("epair253a")]);
}

/// freebsd-src: sys/kern/kern_jail.c, sys/net/vnet.c; transcripts/jail.txt: what was lent returns when the jail is
/// gone, down, and an interface made by the host does not go with the jail.
#[test]
fn what_was_lent_returns() {
    let dir = tempfile::tempdir_in(crate::harness::scratch()).expect("a temporary directory");
    let (kernel, _) = with_jail(dir.path());
    kernel
        .change(|state| {
            state.create("epair5")?;
            let jid = state.jails[0].jid;
            state.lend("epair5b", jid)
        })
        .expect("lend");
    assert_eq!(kernel.is_up(&name("epair5b")).map_err(|refused| refused.errno), Err(Errno::ENXIO));
    kernel.change(|state| state.remove_jail("pg-1", false)).expect("stop");
    assert_eq!(kernel.is_up(&name("epair5b")), Ok(false));
    let state = kernel.state().expect("state");
    assert!(
        state.interfaces.iter().filter(|i| i.kind == InterfaceKind::Loopback).count() == 1,
        "the jail's lo0 is gone"
    );
}
