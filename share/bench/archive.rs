//! Writes archives of a base: whole ones, small ones, and ones that no one should unpack.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use lzma_rust2::{XzOptions, XzReader, XzWriter};
use sha2::{Digest, Sha256};

use super::contents::content;

const BLOCK: usize = 512;

/// What an entry has besides its name and its content.
#[derive(Clone, Copy)]
pub struct Meta<'a> {
    /// Permissions.
    pub mode: u32,
    /// Name and number.
    pub user: (&'a str, u32),
    /// Name and number.
    pub group: (&'a str, u32),
    /// Seconds since the epoch.
    pub time: u64,
    /// File flags as chflags(1) spells them; empty for none.
    pub flags: &'a str,
}

impl Meta<'_> {
    /// Of the base system: root:wheel, and an old time.
    pub fn new(mode: u32) -> Self {
        Meta { mode, user: ("root", 0), group: ("wheel", 0), time: 1_731_000_000, flags: "" }
    }
}

/// A tar archive in the making, in the format of bsdtar: ustar, and pax where that is not enough.
#[derive(Default)]
pub struct Tar {
    bytes: Vec<u8>,
    entries: usize,
}

impl Tar {
    /// Adds a directory. As bsdtar writes it, its name ends with a slash.
    pub fn directory(&mut self, path: &str, meta: Meta) {
        self.entry(&format!("{}/", path.trim_end_matches('/')), b'5', "", 0, (0, 0), &[], meta);
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, content: &[u8], meta: Meta) {
        self.entry(path, b'0', "", content.len() as u64, (0, 0), &[], meta);
        self.content(content);
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, text: &str, meta: Meta) {
        self.entry(path, b'2', text, 0, (0, 0), &[], meta);
    }

    /// Adds a hard link to an entry before it.
    pub fn hard_link(&mut self, path: &str, target: &str, meta: Meta) {
        self.entry(path, b'1', target, 0, (0, 0), &[], meta);
    }

    /// Adds a character device.
    pub fn device(&mut self, path: &str, major: u32, minor: u32, meta: Meta) {
        self.entry(path, b'3', "", 0, (major, minor), &[], meta);
    }

    /// Adds a FIFO.
    pub fn fifo(&mut self, path: &str, meta: Meta) {
        self.entry(path, b'6', "", 0, (0, 0), &[], meta);
    }

    /// Adds a file of that size that is nothing but a hole.
    pub fn sparse(&mut self, path: &str, size: u64, meta: Meta) {
        let map = b"1\n0\n0\n";
        let size = size.to_string();
        let records = [
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", path),
            ("GNU.sparse.realsize", &size),
        ];
        self.entry(path, b'0', "", BLOCK as u64, (0, 0), &records, meta);
        self.content(&[map.as_slice(), &[0; BLOCK]].concat()[..BLOCK]);
    }

    /// Adds a file that is said to be of that size, without its content: nothing can come after it.
    pub fn oversized(&mut self, path: &str, size: u64, meta: Meta) {
        self.entry(path, b'0', "", size, (0, 0), &[], meta);
    }

    /// The archive as it is.
    pub fn bytes(mut self) -> Vec<u8> {
        self.bytes.extend([0; 2 * BLOCK]);
        self.bytes
    }

    /// Writes the archive, compressed with xz.
    pub fn finish(self, file: &Path) -> io::Result<()> {
        compress(&self.bytes(), file)
    }

    /// Writes the archive as it is.
    pub fn finish_plain(self, file: &Path) -> io::Result<()> {
        fs::write(file, self.bytes())
    }

    /// How many entries there are by now.
    pub fn entries(&self) -> usize {
        self.entries
    }

    fn content(&mut self, content: &[u8]) {
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK), 0);
    }

    #[allow(clippy::too_many_arguments)]
    fn entry(
        &mut self,
        path: &str,
        kind: u8,
        link: &str,
        size: u64,
        device: (u32, u32),
        records: &[(&str, &str)],
        meta: Meta,
    ) {
        let mut pax = String::new();
        let mut record = |key: &str, value: &str| {
            // The length counts itself.
            let rest = key.len() + value.len() + 3;
            let length = rest + (rest + 2).to_string().len();
            pax += &format!("{length} {key}={value}\n");
        };
        records.iter().for_each(|(key, value)| record(key, value));
        if path.len() > 100 {
            record("path", path);
        }
        if link.len() > 100 {
            record("linkpath", link);
        }
        if size >= 1 << 33 {
            record("size", &size.to_string());
        }
        if !meta.flags.is_empty() {
            record("SCHILY.fflags", meta.flags);
        }
        if !pax.is_empty() {
            let name: String = path.chars().take(80).collect();
            self.header(
                &format!("PaxHeader/{}", name.trim_matches('/')),
                b'x',
                "",
                pax.len() as u64,
                (0, 0),
                meta,
            );
            self.content(pax.as_bytes());
        }
        self.header(path, kind, link, size, device, meta);
        self.entries += 1;
    }

    fn header(&mut self, path: &str, kind: u8, link: &str, size: u64, device: (u32, u32), meta: Meta) {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, most: usize, text: &str| {
            let bytes = &text.as_bytes()[..text.len().min(most)];
            block[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, 100, path);
        put(100, 8, &format!("{:06o} ", meta.mode));
        put(108, 8, &format!("{:06o} ", meta.user.1));
        put(116, 8, &format!("{:06o} ", meta.group.1));
        put(124, 12, &format!("{:011o} ", size.min((1 << 33) - 1)));
        put(136, 12, &format!("{:011o} ", meta.time));
        put(148, 8, "        ");
        put(156, 1, char::from(kind).encode_utf8(&mut [0; 4]));
        put(157, 100, link);
        put(257, 8, "ustar\x0000");
        put(265, 32, meta.user.0);
        put(297, 32, meta.group.0);
        put(329, 8, &format!("{:06o} ", device.0));
        put(337, 8, &format!("{:06o} ", device.1));
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.bytes.extend(block);
    }
}

/// Writes bytes to a file, compressed with xz.
pub fn compress(bytes: &[u8], file: &Path) -> io::Result<()> {
    let mut options = XzOptions::with_preset(0);
    // Speed, not size: what is compressed here has next to nothing in it.
    options.lzma_options.nice_len = 273;
    options.lzma_options.depth_limit = 1;
    let mut xz = XzWriter::new(io::BufWriter::new(File::create(file)?), options)?;
    xz.write_all(bytes)?;
    xz.finish()?.flush()
}

/// The line that a MANIFEST has for an archive.
pub fn manifest(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bytes = fs::read(file).expect("read the archive");
    let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let set = name.strip_suffix(".txz").unwrap_or(&name).replace('-', "_");
    let text = if set == "base" { "Base system (MANDATORY)".to_owned() } else { format!("{set} set") };
    format!("{name}\t{digest}\t{}\t{set}\t\"{text}\"\ton\n", count(&bytes))
}

/// How many entries tar(1) lists of an archive, as far as it can be read.
fn count(bytes: &[u8]) -> usize {
    let mut tar = Vec::new();
    let _ = XzReader::new(bytes, true).read_to_end(&mut tar);
    let (mut at, mut entries) = (0, 0);
    while let Some(header) = tar.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let digits = std::str::from_utf8(&header[124..135]).unwrap_or_default();
        let size = usize::from_str_radix(digits.trim_end_matches(['\0', ' ']), 8).unwrap_or(0);
        at = at.saturating_add(BLOCK).saturating_add(size.next_multiple_of(BLOCK));
        entries += usize::from(header[156] != b'x');
    }
    entries
}

/// The least that is a base: a few of its directories, files and links.
pub fn small(release: &str) -> Tar {
    let mut tar = Tar::default();
    tar.directory("./", Meta::new(0o755));
    for (directory, mode) in [
        ("bin", 0o755),
        ("boot", 0o755),
        ("dev", 0o555),
        ("etc", 0o755),
        ("etc/mtree", 0o755),
        ("etc/ssl", 0o755),
        ("etc/ssl/certs", 0o755),
        ("lib", 0o755),
        ("libexec", 0o755),
        ("media", 0o755),
        ("mnt", 0o755),
        ("proc", 0o555),
        ("rescue", 0o755),
        ("root", 0o750),
        ("sbin", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/bin", 0o755),
        ("usr/lib", 0o755),
        ("usr/local", 0o755),
        ("usr/sbin", 0o755),
        ("usr/share", 0o755),
        ("usr/share/certs", 0o755),
        ("usr/share/certs/trusted", 0o755),
        ("var", 0o755),
        ("var/db", 0o755),
        ("var/log", 0o755),
        ("var/run", 0o755),
    ] {
        tar.directory(&format!("./{directory}"), Meta::new(mode));
    }
    tar.directory("./var/empty", Meta { flags: "schg", ..Meta::new(0o555) });
    tar.file("./bin/freebsd-version", &content("bin/freebsd-version", release), Meta::new(0o555));
    tar.file("./bin/sh", b"bin/sh\n", Meta::new(0o555));
    tar.file("./lib/libc.so.7", b"lib/libc.so.7\n", Meta { flags: "schg", ..Meta::new(0o444) });
    tar.file("./libexec/ld-elf.so.1", b"libexec/ld-elf.so.1\n", Meta { flags: "schg", ..Meta::new(0o555) });
    tar.file("./sbin/init", b"sbin/init\n", Meta { flags: "schg", ..Meta::new(0o555) });
    tar.file("./usr/bin/uname", b"usr/bin/uname\n", Meta::new(0o555));
    tar.file("./usr/sbin/certctl", &content("usr/sbin/certctl", release), Meta::new(0o555));
    tar.file("./usr/share/certs/trusted/A.pem", b"a certificate\n", Meta::new(0o444));
    tar.link("./etc/ssl/certs/0a0a0a0a.0", "../../../usr/share/certs/trusted/A.pem", Meta::new(0o755));
    tar.link("./etc/rmt", "../usr/sbin/rmt", Meta::new(0o755));
    for (file, mode) in [("passwd", 0o644), ("master.passwd", 0o600), ("group", 0o644), ("services", 0o644)] {
        tar.file(&format!("./etc/{file}"), &content(&format!("etc/{file}"), release), Meta::new(mode));
    }
    tar
}

/// What can be wrong with an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// A file `../escaped`.
    Above,
    /// A file `/tmp/escaped`.
    Absolute,
    /// A link `trap` to `/tmp`, and a file `trap/escaped`.
    ThroughLink,
    /// A link `trap` to `..`, and a file `trap/escaped`: it leads out without being absolute.
    ThroughRelativeLink,
    /// A hard link `stolen` to `/etc/passwd`.
    HardLinkAbsolute,
    /// A hard link `stolen` to `../../x`.
    HardLinkAbove,
    /// A link `trap` to `/etc`, and a hard link `stolen` to `trap/passwd`.
    HardLinkThroughLink,
    /// A character device `dev/mem`.
    Device,
    /// A FIFO `var/run/fifo`.
    Fifo,
    /// A file of 10 GB with nothing in it.
    Sparse,
    /// A file that is said to have 10 GB, at the end.
    Oversized,
    /// A file whose name has a newline and what looks like another line of a listing.
    Newline,
    /// Cut off in the middle.
    Truncated,
    /// The end is missing, so that everything is there but the end.
    NoEnd,
    /// Nothing that is an archive.
    Noise,
    /// Nothing at all.
    Empty,
    /// Without bin/freebsd-version: no base.
    NoVersion,
}

impl Hostile {
    /// All of them.
    pub const ALL: &[Hostile] = &[
        Hostile::Above,
        Hostile::Absolute,
        Hostile::ThroughLink,
        Hostile::ThroughRelativeLink,
        Hostile::HardLinkAbsolute,
        Hostile::HardLinkAbove,
        Hostile::HardLinkThroughLink,
        Hostile::Device,
        Hostile::Fifo,
        Hostile::Sparse,
        Hostile::Oversized,
        Hostile::Newline,
        Hostile::Truncated,
        Hostile::NoEnd,
        Hostile::Noise,
        Hostile::Empty,
        Hostile::NoVersion,
    ];
}

/// Writes a small base in which that is wrong.
pub fn hostile(file: &Path, release: &str, what: Hostile) -> io::Result<()> {
    const HUGE: u64 = 10 << 30;
    let mut tar = small(release);
    let meta = Meta::new(0o644);
    match what {
        Hostile::Above => tar.file("../escaped", b"escaped\n", meta),
        Hostile::Absolute => tar.file("/tmp/escaped", b"escaped\n", meta),
        Hostile::ThroughLink => {
            tar.link("./trap", "/tmp", meta);
            tar.file("./trap/escaped", b"escaped\n", meta);
        }
        Hostile::ThroughRelativeLink => {
            tar.link("./trap", "..", meta);
            tar.file("./trap/escaped", b"escaped\n", meta);
        }
        Hostile::HardLinkAbsolute => tar.hard_link("./stolen", "/etc/passwd", meta),
        Hostile::HardLinkAbove => tar.hard_link("./stolen", "../../x", meta),
        Hostile::HardLinkThroughLink => {
            tar.link("./trap", "/etc", meta);
            tar.hard_link("./stolen", "./trap/passwd", meta);
        }
        Hostile::Device => tar.device("./dev/mem", 0, 13, meta),
        Hostile::Fifo => tar.fifo("./var/run/fifo", meta),
        Hostile::Sparse => tar.sparse("./var/huge", HUGE, meta),
        Hostile::Oversized => tar.oversized("./var/huge", HUGE, meta),
        Hostile::Newline => {
            let line = "-rw-r--r--  0 root   wheel       1 Jan  1 00:00 ./etc/ok";
            tar.file(&format!("./etc/two\n{line}"), b"x\n", meta);
        }
        Hostile::Truncated | Hostile::NoEnd => {
            tar.file("./boot/kernel", &noise(200_000), meta);
            tar.finish(file)?;
            let whole = fs::metadata(file)?.len();
            let kept = if what == Hostile::NoEnd { whole - 20 } else { whole / 2 };
            return File::options().write(true).open(file)?.set_len(kept);
        }
        Hostile::Noise => return fs::write(file, noise(5_000)),
        Hostile::Empty => return fs::write(file, ""),
        Hostile::NoVersion => {
            tar = Tar::default();
            tar.directory("./", Meta::new(0o755));
            tar.directory("./usr", Meta::new(0o755));
            tar.file("./usr/readme", b"documentation\n", meta);
        }
    }
    tar.finish(file)
}

/// Bytes without order, the same every time.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}
