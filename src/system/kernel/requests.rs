//! Numbers and structures of requests to interfaces, as freebsd-src has them:
//! sys/sys/ioccom.h, sys/sys/sockio.h, sys/net/if.h, sys/net/if_bridgevar.h.
//!
//! They are those of 15.0 on LP64 platforms, which 13 and 14 share (old ABI). The
//! kernel answers EINVAL to a structure of another size, so the size is a part
//! of the number, and both are asserted below.

use core::ffi::{c_ulong, c_void};
use core::marker::PhantomData;
use core::mem::size_of;

/// A request of ioctl(2) that passes a `T`: its number holds the size of that.
pub(super) struct Request<T> {
    number: c_ulong,
    passes: PhantomData<T>,
}

impl<T> Request<T> {
    /// _IOW: the kernel reads the structure.
    const fn to_kernel(number: u8) -> Request<T> {
        Request::new(0x8000_0000, number)
    }

    /// _IOWR: the kernel reads it and writes its answer there.
    const fn there_and_back(number: u8) -> Request<T> {
        Request::new(0xc000_0000, number)
    }

    const fn new(direction: c_ulong, number: u8) -> Request<T> {
        let size = size_of::<T>() as c_ulong;
        // IOCPARM_MASK
        assert!(size <= 0x1fff);
        let number = direction | size << 16 | (b'i' as c_ulong) << 8 | number as c_ulong;
        Request { number, passes: PhantomData }
    }

    /// The number for ioctl(2).
    pub(super) const fn number(&self) -> c_ulong {
        self.number
    }
}

pub(super) const SIOCSIFFLAGS: Request<IfReq> = Request::to_kernel(16);
pub(super) const SIOCGIFFLAGS: Request<IfReq> = Request::there_and_back(17);
pub(super) const SIOCSIFNAME: Request<IfReq> = Request::to_kernel(40);
pub(super) const SIOCSIFDESCR: Request<IfReq> = Request::to_kernel(41);
pub(super) const SIOCGIFDESCR: Request<IfReq> = Request::there_and_back(42);
pub(super) const SIOCGIFMTU: Request<IfReq> = Request::there_and_back(51);
pub(super) const SIOCSIFMTU: Request<IfReq> = Request::to_kernel(52);
pub(super) const SIOCSIFLLADDR: Request<IfReq> = Request::to_kernel(60);
pub(super) const SIOCIFDESTROY: Request<IfReq> = Request::to_kernel(121);
pub(super) const SIOCSDRVSPEC: Request<IfDrv> = Request::to_kernel(123);
pub(super) const SIOCGDRVSPEC: Request<IfDrv> = Request::there_and_back(123);
pub(super) const SIOCIFCREATE2: Request<IfReq> = Request::there_and_back(124);
pub(super) const SIOCAIFGROUP: Request<IfGroupReq> = Request::to_kernel(135);
pub(super) const SIOCGIFGROUP: Request<IfGroupReq> = Request::there_and_back(136);
pub(super) const SIOCGIFGMEMB: Request<IfGroupReq> = Request::there_and_back(138);

/// struct ifreq; the union as its largest member, a pair of words.
#[repr(C)]
pub(super) struct IfReq {
    pub(super) name: [u8; 16],
    pub(super) data: IfReqData,
}

#[repr(C)]
pub(super) union IfReqData {
    pub(super) flags: [u16; 2],
    pub(super) mtu: i32,
    pub(super) pointer: *mut c_void,
    pub(super) buffer: IfReqBuffer,
    pub(super) address: [u8; 16],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct IfReqBuffer {
    pub(super) length: usize,
    pub(super) pointer: *mut c_void,
}

/// struct ifdrv.
#[repr(C)]
pub(super) struct IfDrv {
    pub(super) name: [u8; 16],
    pub(super) command: c_ulong,
    pub(super) length: usize,
    pub(super) data: *mut c_void,
}

/// struct ifbreq. `pvid` is padding before 15.0.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct IfBReq {
    pub(super) name: [u8; 16],
    pub(super) flags: u32,
    /// From ifbr_stpflags to ifbr_addrcnt.
    pub(super) spanning_tree: [u32; 5],
    pub(super) address_limit: u32,
    pub(super) exceeded: u32,
    pub(super) pvid: u16,
    pub(super) rest: [u16; 15],
}

/// struct ifbrparam; its union as the largest member.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct IfBrParam {
    pub(super) value: u32,
}

/// struct ifbifconf.
#[repr(C)]
pub(super) struct IfBIfConf {
    pub(super) length: u32,
    pub(super) requests: *mut IfBReq,
}

/// struct ifbareq.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct IfBaReq {
    pub(super) name: [u8; 16],
    pub(super) expire: c_ulong,
    pub(super) flags: u8,
    pub(super) address: [u8; 6],
    pub(super) vlan: u16,
}

/// struct ifbaconf.
#[repr(C)]
pub(super) struct IfBaConf {
    pub(super) length: u32,
    pub(super) requests: *mut IfBaReq,
}

/// struct ifgroupreq.
#[repr(C)]
pub(super) struct IfGroupReq {
    pub(super) name: [u8; 16],
    pub(super) length: u32,
    pub(super) group: IfGroupReqData,
}

#[repr(C)]
pub(super) union IfGroupReqData {
    pub(super) group: [u8; 16],
    pub(super) members: *mut [u8; 16],
}

const _: () = assert!(
    size_of::<IfReq>() == 32
        && size_of::<IfDrv>() == 40
        && size_of::<IfBReq>() == 80
        && core::mem::offset_of!(IfBReq, address_limit) == 40
        && core::mem::offset_of!(IfBReq, pvid) == 48
        && size_of::<IfBrParam>() == 4
        && size_of::<IfBIfConf>() == 16
        && size_of::<IfBaReq>() == 40
        && size_of::<IfBaConf>() == 16
        && size_of::<IfGroupReq>() == 40
);

#[cfg(test)]
mod tests {
    use super::*;

    /// What the C compiler makes of the macros on FreeBSD 15.0.
    #[test]
    fn the_numbers_are_those_of_the_headers() {
        for (ours, theirs) in [
            (SIOCSIFFLAGS.number(), 0x8020_6910),
            (SIOCGIFFLAGS.number(), 0xc020_6911),
            (SIOCSIFNAME.number(), 0x8020_6928),
            (SIOCSIFDESCR.number(), 0x8020_6929),
            (SIOCGIFDESCR.number(), 0xc020_692a),
            (SIOCGIFMTU.number(), 0xc020_6933),
            (SIOCSIFMTU.number(), 0x8020_6934),
            (SIOCSIFLLADDR.number(), 0x8020_693c),
            (SIOCIFDESTROY.number(), 0x8020_6979),
            (SIOCSDRVSPEC.number(), 0x8028_697b),
            (SIOCGDRVSPEC.number(), 0xc028_697b),
            (SIOCIFCREATE2.number(), 0xc020_697c),
            (SIOCAIFGROUP.number(), 0x8028_6987),
            (SIOCGIFGROUP.number(), 0xc028_6988),
            (SIOCGIFGMEMB.number(), 0xc028_698a),
        ] {
            assert_eq!(ours, theirs, "{theirs:#x}");
        }
    }
}
