//! Where releases are fetched from.

use crate::types::release::Release;
use anyhow::bail;
use std::str::FromStr;
use thiserror::Error;

/// A processor that FreeBSD has tier 1 releases for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Arch {
    /// 64-bit x86.
    Amd64,
    /// 64-bit Arm.
    #[value(alias = "aarch64")]
    Arm64,
}

impl Arch {
    /// The one of this host.
    ///
    /// # Errors
    ///
    /// If it is another one: what is fetched for it would not run.
    pub fn of_host() -> anyhow::Result<Arch> {
        Arch::of(std::env::consts::ARCH)
    }

    /// The one that Rust calls so.
    fn of(name: &str) -> anyhow::Result<Arch> {
        match name {
            "x86_64" => Ok(Arch::Amd64),
            "aarch64" => Ok(Arch::Arm64),
            other => bail!("this host's processor is {other}; releases are fetched for amd64 and arm64 only"),
        }
    }

    /// The number of the processor in an ELF header, e_machine (freebsd-src:
    /// sys/sys/elf_common.h).
    pub fn elf_machine(self) -> u8 {
        match self {
            Arch::Amd64 => 62,
            Arch::Arm64 => 183,
        }
    }

    /// `uname -m`
    pub fn machine(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "arm64",
        }
    }

    /// `uname -p`
    pub fn processor(self) -> &'static str {
        match self {
            Arch::Amd64 => "amd64",
            Arch::Arm64 => "aarch64",
        }
    }
}

/// The URL of a mirror, or of the very directory that holds a release's sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror(String);

/// Where releases are that the mirrors no longer have. It serves no HTTPS.
const ARCHIVE: &str = "http://ftp-archive.freebsd.org/pub/FreeBSD-Archive/old-releases";

impl Default for Mirror {
    fn default() -> Mirror {
        Mirror("https://download.freebsd.org".into())
    }
}

/// Why a string is no mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a mirror is a URL like https://download.freebsd.org")]
pub struct BadMirror;

impl FromStr for Mirror {
    type Err = BadMirror;

    fn from_str(s: &str) -> Result<Mirror, BadMirror> {
        let rest = ["https://", "http://", "ftp://", "file://"].iter().find_map(|p| s.strip_prefix(p));
        let graphic = |rest: &str| rest.bytes().all(|b| b.is_ascii_graphic());
        match rest.map(|r| r.trim_end_matches('/')) {
            Some(rest) if !rest.is_empty() && graphic(rest) => Ok(Mirror(s.trim_end_matches('/').to_owned())),
            _ => Err(BadMirror),
        }
    }
}

impl Mirror {
    /// The URL of the directory that holds the sets of a release (freebsd-src:
    /// usr.sbin/bsdinstall/scripts/mirrorselect). A mirror whose URL ends in the
    /// release is that directory: archives of old releases are laid out in
    /// other ways.
    pub fn directory(&self, release: &Release, arch: Arch) -> String {
        if self.0.rsplit('/').next() == Some(release.as_str()) {
            return self.0.clone();
        }
        let kind = if release.is_snapshot() { "snapshots" } else { "releases" };
        format!("{}/{kind}/{}/{}/{release}", self.0, arch.machine(), arch.processor())
    }

    /// The URL of the directory of a release that is past its end of life and gone
    /// from the mirrors.
    pub fn archive(release: &Release, arch: Arch) -> String {
        format!("{ARCHIVE}/{}/{release}", arch.machine())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_processor_counts_as_another() {
        assert_eq!(Arch::of("x86_64").unwrap(), Arch::Amd64);
        assert_eq!(Arch::of("aarch64").unwrap(), Arch::Arm64);
        for other in ["riscv64", "powerpc64", "arm", "x86"] {
            let error = Arch::of(other).unwrap_err().to_string();
            assert!(error.contains(other), "{error}");
        }
    }

    fn directory(mirror: &str, release: &str, arch: Arch) -> String {
        mirror.parse::<Mirror>().unwrap().directory(&release.parse().unwrap(), arch)
    }

    #[test]
    fn paths_of_mirrors() {
        let main = Mirror::default();
        for (release, arch, expected) in [
            ("14.5", Arch::Amd64, "/releases/amd64/amd64/14.5-RELEASE"),
            ("15.0-RC1", Arch::Amd64, "/releases/amd64/amd64/15.0-RC1"),
            ("15.0-BETA2", Arch::Arm64, "/releases/arm64/aarch64/15.0-BETA2"),
            ("16.0-CURRENT", Arch::Arm64, "/snapshots/arm64/aarch64/16.0-CURRENT"),
        ] {
            let url = main.directory(&release.parse().unwrap(), arch);
            assert_eq!(url, format!("https://download.freebsd.org{expected}"));
        }
        assert_eq!(
            directory("http://ftp.de.freebsd.org/pub/FreeBSD/", "14.5", Arch::Amd64),
            "http://ftp.de.freebsd.org/pub/FreeBSD/releases/amd64/amd64/14.5-RELEASE"
        );
        let old = "http://ftp-archive.freebsd.org/pub/FreeBSD-Archive/old-releases/amd64/13.1-RELEASE";
        assert_eq!(directory(old, "13.1", Arch::Amd64), old);
        assert_eq!(Mirror::archive(&"13.1".parse().unwrap(), Arch::Amd64), old);
        for bad in
            ["", "download.freebsd.org", "https://", "https:///", "https://a b", "gopher://x", "http://x\n"]
        {
            assert!(bad.parse::<Mirror>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn architectures() {
        assert_eq!(clap::ValueEnum::from_str("aarch64", false), Ok(Arch::Arm64));
        assert_eq!(clap::ValueEnum::from_str("amd64", false), Ok(Arch::Amd64));
    }
}
