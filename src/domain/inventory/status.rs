//! What is known of a jail and of a template.

use crate::domain::base_version::Version;
use crate::domain::configured::JailResources;
use crate::domain::fstab::{FstabEntry, FstabProblem};
use crate::domain::template;
use crate::system::kernel::RunningJail;
use crate::system::zfs::Dataset;
use crate::types::jail_name::JailName;
use crate::types::release::Release;
use anyhow::Result;
use std::fs::FileType;
use std::net::IpAddr;

/// What is known of something that may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence<T> {
    /// It is there.
    Present(T),
    /// It is not.
    Absent,
    /// Where it would be could not be read.
    Unknown,
}

impl<T> Presence<T> {
    /// It, if it is known to be there.
    pub fn there(&self) -> Option<&T> {
        match self {
            Presence::Present(it) => Some(it),
            _ => None,
        }
    }

    /// Whether it is known not to be there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Presence::Absent)
    }
}

/// The dataset of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerDataset {
    /// Its name.
    pub dataset: Dataset,
    /// The full name of the snapshot it is a clone of.
    pub origin: Option<String>,
    /// Whose it is by [`crate::domain::container::OWNER_PROPERTY`], set on this dataset itself.
    pub owner: Option<String>,
    /// Whether it is mounted.
    pub mounted: bool,
    /// Where it is or would be mounted: a real path, or `none` or `legacy`.
    pub mountpoint: String,
    /// The bytes it takes beyond what it shares with its origin.
    pub used: Option<u64>,
}

/// The fstab of a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fstab {
    /// The mounts, each with its line.
    pub entries: Vec<(usize, FstabEntry)>,
    /// What jail(8) would choke on.
    pub findings: Vec<FstabProblem>,
    /// The release whose base the first line mounts, if it is one of the
    /// layout's.
    pub release: Option<Release>,
}

/// One jail. It is known by any one of these.
#[derive(Clone, Debug)]
pub struct JailStatus {
    /// Its name.
    pub name: JailName,
    /// Its block in jail.conf(5), the first one if there are more.
    pub configuration: Presence<JailResources>,
    /// Its own addresses, without those that the common part of the
    /// configuration mentions and without the gateways.
    pub addresses: Vec<IpAddr>,
    /// Its fstab in the layout.
    pub fstab: Presence<Fstab>,
    /// What is at its path in the layout.
    pub path: Presence<FileType>,
    /// What is at the place of its container.
    pub directory: Presence<FileType>,
    /// The dataset of its container; absent under directory storage.
    pub dataset: Presence<ContainerDataset>,
    /// The jail that runs under its name; a dying one does not count.
    pub running: Presence<RunningJail>,
    /// The release and the name of the snapshot that its container is a clone
    /// of, if that is one of a skeleton of the layout.
    pub origin: Option<(Release, String)>,
}

impl JailStatus {
    /// The release it stands on: that of its container, or else of its fstab.
    pub fn release(&self) -> Option<&Release> {
        let of_fstab = || self.fstab.there().and_then(|f| f.release.as_ref());
        self.origin.as_ref().map(|(release, _)| release).or_else(of_fstab)
    }

    /// Whether its dataset is marked as its own.
    pub fn is_marked(&self) -> bool {
        self.dataset.there().is_some_and(|d| d.owner.as_deref() == Some(self.name.as_str()))
    }
}

/// A part of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JailPart {
    /// Its block in jail.conf(5).
    Configuration,
    /// Its container.
    Container,
    /// Its path.
    Path,
    /// Its fstab.
    Fstab,
}

impl JailPart {
    /// What it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            JailPart::Configuration => "configuration",
            JailPart::Container => "container",
            JailPart::Path => "path",
            JailPart::Fstab => "fstab",
        }
    }
}

/// A snapshot of a skeleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkeletonSnapshot {
    /// The part behind the `@`.
    pub name: String,
    /// Rises with age: the transaction group it was taken in.
    pub created: u64,
}

/// A template, or part of one.
#[derive(Clone, Debug)]
pub struct TemplateStatus {
    /// Its release.
    pub release: Release,
    /// What is at the place of its base.
    pub base: Presence<FileType>,
    /// What is at the place of its skeleton.
    pub skeleton: Presence<FileType>,
    /// What the base says of itself, or why it does not.
    pub version: Result<Version, String>,
    /// The snapshots of the skeleton, oldest first, those of others among them;
    /// none under directory storage.
    pub snapshots: Presence<Vec<SkeletonSnapshot>>,
    /// Whether its destruction was begun: the base has another name.
    pub is_destroying: bool,
}

impl TemplateStatus {
    /// The snapshot that new jails are cloned from.
    pub fn newest(&self) -> Option<&SkeletonSnapshot> {
        self.snapshots.there()?.iter().rfind(|s| template::is_ours(&s.name))
    }
}

/// How what a jail has of its own compares with the base it runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateAge {
    /// It was made of the newest.
    Current,
    /// The template has been updated since.
    Behind {
        /// The newest snapshot, by its name; `None` when the update of the base
        /// took none.
        snapshot: Option<String>,
        /// What the base says of itself.
        version: Option<Version>,
    },
    /// Unknown.
    Unknown,
}
