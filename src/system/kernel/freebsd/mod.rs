//! FreeBSD's kernel, by system call.
//!
//! What is passed to interfaces is in the module `requests`.

mod bridge;

use super::requests::*;
use super::{Errno, Interfaces, Jails, Kernel, KernelError, Mount, Mounts, Process, Result, RunningJail};
use crate::types::interface::{IfName, Mtu};
use crate::types::mac::Mac;
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::mem::{size_of, zeroed};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

unsafe extern "C" {
    /// kldload(2), which the libc crate lacks (its kld_load is libutil's).
    fn kldload(file: *const c_char) -> c_int;
}

const IFF_UP: u16 = 1;
const AF_LINK: u8 = 18;

/// The kernel, through one socket of the host's vnet.
#[derive(Debug)]
pub struct FreeBsd {
    socket: OwnedFd,
}

fn last_errno() -> Errno {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

fn refused(request: &'static str, object: &str) -> KernelError {
    KernelError { request, object: object.to_owned(), errno: last_errno() }
}

fn name_field(name: &str) -> [u8; 16] {
    let mut field = [0; 16];
    // An IfName and every name made here has at most 15 bytes.
    for (to, from) in field.iter_mut().zip(name.bytes().take(15)) {
        *to = from;
    }
    field
}

fn name_from(field: &[u8; 16]) -> Option<IfName> {
    let end = field.iter().position(|b| *b == 0)?;
    std::str::from_utf8(&field[..end]).ok()?.parse().ok()
}

impl IfReq {
    fn new(name: &IfName) -> IfReq {
        IfReq { name: name_field(name.as_str()), data: IfReqData { address: [0; 16] } }
    }
}

impl FreeBsd {
    /// Opens the socket that all requests go through.
    pub fn open() -> Result<FreeBsd> {
        // SAFETY: socket(2) takes no pointers.
        let fd = unsafe { libc::socket(libc::AF_LOCAL, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(refused("open", "a socket"));
        }
        // SAFETY: fd is open and owned by this value only.
        Ok(FreeBsd { socket: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// One ioctl(2).
    fn ioctl<T>(
        &self,
        number: Request<T>,
        request: &'static str,
        object: &str,
        argument: &mut T,
    ) -> Result<()> {
        // SAFETY: the number was made from the size of T, so the kernel reads and
        // writes one T, and pointers inside it are set by the callers to buffers
        // that outlive the call.
        if unsafe { libc::ioctl(self.socket.as_raw_fd(), number.number(), ptr::from_mut(argument)) } < 0 {
            return Err(refused(request, object));
        }
        Ok(())
    }

    fn create_once(&self, name: &str) -> Result<IfName> {
        let mut request = IfReq { name: name_field(name), data: IfReqData { address: [0; 16] } };
        self.ioctl(SIOCIFCREATE2, "create", name, &mut request)?;
        name_from(&request.name).ok_or_else(|| KernelError {
            request: "read the name of",
            object: name.to_owned(),
            errno: Errno::EINVAL,
        })
    }
}

/// Loads a kernel module, unless it already exists: another process may have
/// loaded it a moment ago.
fn load_module(name: &'static CStr) -> Result<()> {
    // SAFETY: name is a NUL-terminated string.
    if unsafe { kldload(name.as_ptr()) } >= 0 {
        return Ok(());
    }
    match last_errno() {
        Errno::EEXIST => Ok(()),
        errno => Err(KernelError { request: "load", object: name.to_string_lossy().into_owned(), errno }),
    }
}

impl Interfaces for FreeBsd {
    fn create(&self, name: &str) -> Result<IfName> {
        super::create_with_module(name, || self.create_once(name), load_module)
    }

    fn destroy(&self, name: &IfName) -> Result<()> {
        self.ioctl(SIOCIFDESTROY, "destroy", name.as_str(), &mut IfReq::new(name))
    }

    fn rename(&self, name: &IfName, to: &IfName) -> Result<()> {
        let mut new = name_field(to.as_str());
        let mut request = IfReq::new(name);
        request.data.pointer = new.as_mut_ptr().cast();
        self.ioctl(SIOCSIFNAME, "rename", name.as_str(), &mut request)
    }

    fn is_up(&self, name: &IfName) -> Result<bool> {
        let mut request = IfReq::new(name);
        self.ioctl(SIOCGIFFLAGS, "look at", name.as_str(), &mut request)?;
        // SAFETY: SIOCGIFFLAGS fills the flags.
        Ok(unsafe { request.data.flags }[0] & IFF_UP != 0)
    }

    fn set_up(&self, name: &IfName, up: bool) -> Result<()> {
        let (mut request, what) = (IfReq::new(name), super::up_or_down(up));
        self.ioctl(SIOCGIFFLAGS, what, name.as_str(), &mut request)?;
        // SAFETY: SIOCGIFFLAGS filled both halves of the flags, and
        // SIOCSIFFLAGS replaces all of them, so they go back as they came.
        let flags = unsafe { &mut request.data.flags };
        flags[0] = if up { flags[0] | IFF_UP } else { flags[0] & !IFF_UP };
        self.ioctl(SIOCSIFFLAGS, what, name.as_str(), &mut request)
    }

    fn mtu(&self, name: &IfName) -> Result<u32> {
        let mut request = IfReq::new(name);
        self.ioctl(SIOCGIFMTU, "get mtu of", name.as_str(), &mut request)?;
        // SAFETY: SIOCGIFMTU fills the mtu.
        Ok(u32::try_from(unsafe { request.data.mtu }).unwrap_or(0))
    }

    fn set_mtu(&self, name: &IfName, mtu: Mtu) -> Result<()> {
        let mut request = IfReq::new(name);
        // At most 65535, so it fits.
        request.data.mtu = mtu.bytes() as i32;
        self.ioctl(SIOCSIFMTU, "set mtu of", name.as_str(), &mut request)
    }

    fn set_mac(&self, name: &IfName, mac: Mac) -> Result<()> {
        let mut request = IfReq::new(name);
        let mut address = [0; 16];
        (address[0], address[1]) = (6, AF_LINK);
        address[2..8].copy_from_slice(&mac.bytes());
        request.data.address = address;
        self.ioctl(SIOCSIFLLADDR, "set address of", name.as_str(), &mut request)
    }

    fn description(&self, name: &IfName) -> Result<Option<String>> {
        // net.ifdescr_maxlen is 1024 unless it was raised; a description
        // that does not fit was not set by thinjail, but it must not look absent.
        let mut text = vec![0u8; 1024];
        loop {
            let mut request = IfReq::new(name);
            request.data.buffer = IfReqBuffer { length: text.len(), pointer: text.as_mut_ptr().cast() };
            match self.ioctl(SIOCGIFDESCR, "get description of", name.as_str(), &mut request) {
                Err(e) if e.errno == Errno::ENOMSG => return Ok(None),
                other => other?,
            }
            // SAFETY: SIOCGIFDESCR fills the buffer's length, and the pointer
            // with NULL when the text did not fit.
            let answer = unsafe { request.data.buffer };
            if answer.pointer.is_null() && answer.length > text.len() {
                text.resize(answer.length, 0);
                continue;
            }
            let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
            return Ok(Some(String::from_utf8_lossy(&text[..end]).into_owned()));
        }
    }

    fn describe(&self, name: &IfName, text: &str) -> Result<()> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        let mut request = IfReq::new(name);
        request.data.buffer = IfReqBuffer { length: bytes.len(), pointer: bytes.as_mut_ptr().cast() };
        self.ioctl(SIOCSIFDESCR, "describe", name.as_str(), &mut request)
    }

    fn join_group(&self, name: &IfName, group: &str) -> Result<()> {
        let mut request = IfGroupReq {
            name: name_field(name.as_str()),
            length: 0,
            group: IfGroupReqData { group: name_field(group) },
        };
        self.ioctl(SIOCAIFGROUP, "set group of", name.as_str(), &mut request)
    }

    fn group_members(&self, group: &str) -> Result<Vec<IfName>> {
        const REQUEST: &str = "list group";
        let mut request =
            IfGroupReq { name: name_field(group), length: 0, group: IfGroupReqData { group: [0; 16] } };
        self.ioctl(SIOCGIFGMEMB, REQUEST, group, &mut request)?;
        loop {
            // Some room for what joins between the two calls.
            let mut members = vec![[0u8; 16]; request.length as usize / 16 + 8];
            request.name = name_field(group);
            request.length = (members.len() * 16) as u32;
            request.group.members = members.as_mut_ptr();
            match self.ioctl(SIOCGIFGMEMB, REQUEST, group, &mut request) {
                // More joined than there was room for: ask for the size again.
                Err(e) if e.errno == Errno::EINVAL => {
                    request.length = 0;
                    self.ioctl(SIOCGIFGMEMB, REQUEST, group, &mut request)?;
                }
                other => {
                    other?;
                    members.truncate(request.length as usize / 16);
                    return Ok(members.iter().filter_map(name_from).collect());
                }
            }
        }
    }

    fn groups(&self, name: &IfName) -> Result<Vec<String>> {
        const REQUEST: &str = "list groups of";
        let mut request = IfGroupReq {
            name: name_field(name.as_str()),
            length: 0,
            group: IfGroupReqData { group: [0; 16] },
        };
        self.ioctl(SIOCGIFGROUP, REQUEST, name.as_str(), &mut request)?;
        // Some room for groups joined between the two calls; more is EINVAL.
        let mut groups = vec![[0u8; 16]; request.length as usize / 16 + 8];
        request.length = (groups.len() * 16) as u32;
        request.group.members = groups.as_mut_ptr();
        self.ioctl(SIOCGIFGROUP, REQUEST, name.as_str(), &mut request)?;
        let names = groups.iter().map(|g| String::from_utf8_lossy(text_of(g)).into_owned());
        Ok(names.filter(|g| !g.is_empty()).collect())
    }

    fn addresses(&self) -> Result<Vec<(String, IpAddr)>> {
        let mut all = Vec::new();
        each_address(&mut |name, address| {
            let address = match address {
                Address::Ip(address) if super::is_of_the_network(&address) => address,
                _ => return,
            };
            all.push((name, address));
        })?;
        Ok(all)
    }

    fn ethernet_addresses(&self) -> Result<Vec<(String, Option<[u8; 6]>)>> {
        let mut all = Vec::new();
        each_address(&mut |name, address| {
            if let Address::Link(address) = address {
                all.push((name, address));
            }
        })?;
        Ok(all)
    }
}

/// One address of an interface.
enum Address {
    /// Of the network layer.
    Ip(IpAddr),
    /// Of the link, which every interface has one of; its Ethernet address.
    Link(Option<[u8; 6]>),
}

/// Passes over all addresses of all interfaces, once.
fn each_address(each: &mut dyn FnMut(String, Address)) -> Result<()> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: getifaddrs(3) sets the pointer to a list of its own.
    if unsafe { libc::getifaddrs(&mut first) } < 0 {
        return Err(refused("list", "addresses"));
    }
    let mut next = first;
    while !next.is_null() {
        // SAFETY: next is an element of the list, which is freed below.
        let element = unsafe { &*next };
        next = element.ifa_next;
        if element.ifa_addr.is_null() {
            continue;
        }
        // SAFETY: the name is a NUL-terminated string of the list's.
        let name = unsafe { CStr::from_ptr(element.ifa_name) }.to_string_lossy().into_owned();
        // SAFETY: an address that is there has the size its family says.
        let address = unsafe {
            match i32::from((*element.ifa_addr).sa_family) {
                libc::AF_INET => {
                    let address = &*element.ifa_addr.cast::<libc::sockaddr_in>();
                    Address::Ip(IpAddr::from(address.sin_addr.s_addr.to_ne_bytes()))
                }
                libc::AF_INET6 => {
                    let address = &*element.ifa_addr.cast::<libc::sockaddr_in6>();
                    Address::Ip(IpAddr::from(address.sin6_addr.s6_addr))
                }
                libc::AF_LINK => {
                    let link = &*element.ifa_addr.cast::<libc::sockaddr_dl>();
                    // The name stands before the address.
                    let from = usize::from(link.sdl_nlen);
                    let bytes = link.sdl_data.get(from..from + usize::from(link.sdl_alen));
                    let bytes: Vec<u8> = bytes.unwrap_or_default().iter().map(|c| *c as u8).collect();
                    Address::Link(bytes.try_into().ok())
                }
                _ => continue,
            }
        };
        each(name, address);
    }
    // SAFETY: the list came from getifaddrs and is not used any longer.
    unsafe { libc::freeifaddrs(first) };
    Ok(())
}

fn path_from(field: &[c_char]) -> PathBuf {
    let bytes: Vec<u8> = field.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
    PathBuf::from(OsStr::from_bytes(&bytes))
}

impl Mounts for FreeBsd {
    fn mounts(&self) -> Result<Vec<Mount>> {
        const MNT_NOWAIT: c_int = 2;
        // SAFETY: a null buffer asks for the number of file systems.
        let count = unsafe { libc::getfsstat(ptr::null_mut(), 0, MNT_NOWAIT) };
        let mut room = usize::try_from(count).map_err(|_| refused("list", "the mount table"))? + 16;
        loop {
            // SAFETY: a statfs of zeros is valid.
            let mut table: Vec<libc::statfs> = vec![unsafe { zeroed() }; room];
            let bytes = table.len() * size_of::<libc::statfs>();
            // SAFETY: the buffer has the size that is given.
            let got = unsafe { libc::getfsstat(table.as_mut_ptr(), bytes as libc::c_long, MNT_NOWAIT) };
            let got = usize::try_from(got).map_err(|_| refused("list", "the mount table"))?;
            if got >= room {
                // The buffer was filled: there may be more.
                room *= 2;
                continue;
            }
            return Ok(table[..got]
                .iter()
                .map(|fs| Mount {
                    // SAFETY: fsid_t is two ints, whose fields libc keeps private.
                    fsid: unsafe { std::mem::transmute::<libc::fsid_t, [i32; 2]>(fs.f_fsid) },
                    kind: path_from(&fs.f_fstypename).display().to_string(),
                    from: path_from(&fs.f_mntfromname),
                    on: path_from(&fs.f_mntonname),
                })
                .filter(|mount| !mount.is_snapshot())
                .collect());
        }
    }

    fn unmount(&self, mount: &Mount, force: bool) -> Result<()> {
        const MNT_BYFSID: c_int = 0x0800_0000;
        const MNT_FORCE: c_int = 0x0008_0000;
        let id = format!("FSID:{}:{}\0", mount.fsid[0], mount.fsid[1]);
        let flags = MNT_BYFSID | if force { MNT_FORCE } else { 0 };
        // SAFETY: id ends in a NUL.
        if unsafe { libc::unmount(id.as_ptr().cast(), flags) } < 0 {
            return Err(refused("unmount", &mount.on.display().to_string()));
        }
        Ok(())
    }
}

fn text_of(buffer: &[u8]) -> &[u8] {
    &buffer[..buffer.iter().position(|b| *b == 0).unwrap_or(buffer.len())]
}

impl FreeBsd {
    /// jail_get(2) with one key given as an int or a string, asking for id,
    /// name and path. Dying jails are found only with the flag JAIL_DYING.
    fn jail_get(&self, key: &CStr, value: &mut [u8], flags: c_int) -> Result<Option<RunningJail>> {
        let mut jid: c_int = 0;
        let mut name = [0u8; 256];
        let mut path = [0u8; 1024];
        let mut message = [0u8; 256];
        let word = |text: &CStr| libc::iovec {
            iov_base: text.as_ptr().cast_mut().cast(),
            iov_len: text.to_bytes_with_nul().len(),
        };
        let room =
            |buffer: &mut [u8]| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut vector = vec![word(key), room(value), word(c"errmsg"), room(&mut message)];
        // A parameter may be named once; the key of a look-up by name is one.
        if key != c"jid" {
            vector.push(word(c"jid"));
            vector
                .push(libc::iovec { iov_base: ptr::from_mut(&mut jid).cast(), iov_len: size_of::<c_int>() });
        }
        if key != c"name" {
            vector.extend([word(c"name"), room(&mut name)]);
        }
        vector.extend([word(c"path"), room(&mut path)]);
        // SAFETY: every element points to a live buffer of the length it names;
        // jail_get writes within those lengths.
        let found = unsafe { libc::jail_get(vector.as_mut_ptr(), vector.len() as u32, flags) };
        if found < 0 {
            let e = refused("look up jail", &String::from_utf8_lossy(text_of(value)));
            return if e.errno == Errno::ENOENT { Ok(None) } else { Err(e) };
        }
        let name = if key == c"name" { text_of(value) } else { text_of(&name) };
        Ok(Some(RunningJail {
            jid: found,
            name: String::from_utf8_lossy(name).into_owned(),
            path: Path::new(OsStr::from_bytes(text_of(&path))).to_owned(),
        }))
    }
}

impl FreeBsd {
    fn jails(&self, flags: c_int) -> Result<Vec<RunningJail>> {
        let mut jails = Vec::new();
        let mut last: c_int = 0;
        while let Some(jail) = self.jail_get(c"lastjid", &mut last.to_ne_bytes(), flags)? {
            last = jail.jid;
            jails.push(jail);
        }
        Ok(jails)
    }
}

impl Jails for FreeBsd {
    fn running_jails(&self) -> Result<Vec<RunningJail>> {
        self.jails(0)
    }

    fn dying_jails(&self) -> Result<Vec<RunningJail>> {
        const JAIL_DYING: c_int = 0x08;
        let running = self.jails(0)?;
        let mut all = self.jails(JAIL_DYING)?;
        all.retain(|jail| !running.iter().any(|r| r.jid == jail.jid));
        Ok(all)
    }

    fn running_jail(&self, name: &str) -> Result<Option<RunningJail>> {
        let Ok(name) = CString::new(name) else { return Ok(None) };
        self.jail_get(c"name", &mut name.into_bytes_with_nul(), 0)
    }

    fn process(&self, pid: i32) -> Result<Option<Process>> {
        // SAFETY: a kinfo_proc of zeros is valid.
        let mut info: libc::kinfo_proc = unsafe { zeroed() };
        let mut length = size_of::<libc::kinfo_proc>();
        let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PID, pid];
        // SAFETY: info has room for length bytes, and length is ours.
        let status = unsafe {
            libc::sysctl(
                name.as_ptr(),
                name.len() as u32,
                ptr::from_mut(&mut info).cast(),
                &mut length,
                ptr::null(),
                0,
            )
        };
        if status < 0 {
            return match last_errno() {
                Errno::ESRCH => Ok(None),
                errno => Err(KernelError { request: "look up process", object: pid.to_string(), errno }),
            };
        }
        if length == 0 {
            return Ok(None);
        }
        Ok(Some(Process {
            pid,
            command: path_from(&info.ki_comm).display().to_string(),
            started: info.ki_start.tv_sec * 1_000_000 + info.ki_start.tv_usec,
        }))
    }

    fn os_release(&self) -> Result<String> {
        text_node(c"kern.osrelease")
    }

    fn host_uuid(&self) -> Result<Option<String>> {
        Ok(super::usable_uuid(&text_node(c"kern.hostuuid")?))
    }
}

/// A short text of sysctl(3).
fn text_node(name: &CStr) -> Result<String> {
    let mut text = [0u8; 256];
    let mut length = text.len();
    // SAFETY: name ends in a NUL, text has room for length bytes, and length is
    // ours.
    let status =
        unsafe { libc::sysctlbyname(name.as_ptr(), text.as_mut_ptr().cast(), &mut length, ptr::null(), 0) };
    if status < 0 {
        return Err(refused("read", &name.to_string_lossy()));
    }
    Ok(String::from_utf8_lossy(text_of(&text)).into_owned())
}

impl Kernel for FreeBsd {}
