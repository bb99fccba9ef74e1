//! What should be: a host with its jails as plain data, and what every program
//! and jail(8) make of it. Nothing of the library is used here.

use std::collections::{BTreeMap, BTreeSet};

/// The jails that come and go. One name and one path begin like another's.
pub const JAILS: [&str; 4] = ["web", "web2", "db", "pg-1"];
/// Their ids, where one is given.
pub const IDS: [u16; 4] = [10, 11, 12, 13];

pub const BRIDGE: &str = "igc0bridge";
/// Somebody else's.
pub const OTHER_BRIDGE: &str = "bridge9";
pub const BASE: &str = "/zdata/jails/templates/14.5-RELEASE-base";
pub const CONF_DIR: &str = "/etc/jail.conf.d";
pub const DATA: &str = "/data";
/// Second block that somebody adds to a jail's file.
pub const EXTRA: &str = "extra {\n$id = \"77\";\n$ip = \"192.168.7.77/24\";\n}\n";
/// What is no jail.conf(5).
pub const BROKEN: &str = "broken {\n";
pub const GARBAGE: &str = "garbage\n";

pub fn path(jail: &str) -> String {
    format!("/zdata/jails/{jail}-nullfs-base")
}

pub fn fstab(jail: &str) -> String {
    format!("{}.fstab", path(jail))
}

pub fn conf(jail: &str) -> String {
    format!("{CONF_DIR}/{jail}.conf")
}

pub fn container(jail: &str) -> String {
    format!("/zdata/jails/containers/{jail}")
}

/// Where it is noted what a container is a copy of.
pub fn origin(jail: &str) -> String {
    format!("{}.origin", container(jail))
}

const ORIGIN: &str = "14.5-RELEASE-skeleton@base\n";

/// The names under which a jail's file, fstab, container and its origin are
/// prepared.
pub fn temporary(jail: &str) -> [String; 4] {
    [
        format!("{CONF_DIR}/.{jail}.conf.thinjail"),
        format!("/zdata/jails/.{jail}-nullfs-base.fstab.thinjail"),
        format!("/zdata/jails/containers/.{jail}.thinjail"),
        format!("/zdata/jails/containers/.{jail}.origin.thinjail"),
    ]
}

/// A jail's file; `ip` is the last part of its address.
pub fn conf_text(jail: &str, id: u16, ip: &str) -> String {
    format!("{jail} {{\n\t$id = \"{id}\";\n\t$ip = \"192.168.7.{ip}/24\";\n}}\n")
}

/// That address in what jail-clone writes.
pub const OF_ID: &str = "${id}";

/// Something in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    Directory,
    File(String),
    Link(String),
}

/// Whether a path is another or lies below it.
pub fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[derive(Clone, Debug)]
pub struct Jail {
    pub jid: i32,
    pub name: String,
    pub dying: bool,
    /// The mount that it holds as its root.
    pub root: Option<i32>,
}

#[derive(Clone, Debug)]
pub struct Mount {
    pub id: i32,
    pub kind: String,
    pub from: String,
    pub on: String,
}

/// The pair of one unit, under the kernel's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    pub described: Option<String>,
    pub groups: Vec<String>,
    pub up: bool,
    pub bridge: Option<String>,
    /// The jid of the vnet that the b half is in; 0 is the host.
    pub b: i32,
    pub b_up: bool,
    pub b_described: Option<String>,
}

/// The interface group of all pairs that jail-epair-up(8) makes.
const GROUP: &str = "thinjail";

impl Pair {
    /// Description and group together are the proof.
    pub fn belongs_to(&self, jail: &str) -> bool {
        self.described.as_deref() == Some(&format!("jail:{jail}")) && self.groups.iter().any(|g| g == GROUP)
    }
}

/// What a pair is to a jail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whose {
    Nobodys,
    Ours,
    /// As a run killed between making and tagging leaves it.
    Untagged,
    Foreign,
}

#[derive(Clone, Debug, Default)]
pub struct World {
    pub jails: Vec<Jail>,
    pub mounts: Vec<Mount>,
    pub pairs: BTreeMap<u16, Pair>,
    pub files: BTreeMap<String, Node>,
    /// What is there besides and never changes.
    pub odd: BTreeSet<String>,
    /// What a new container has, by the path below it.
    pub skeleton: BTreeMap<String, Node>,
    next: i32,
}

/// Where a start fails (jail(8), the table of startcommands).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Prepare,
    Mount,
    Fstab,
    Bridge,
    Prestart,
    Created,
    Interface,
    Address,
    Rc,
    Poststart,
    /// Not a configuration that fails, but `jail -rc` of 15.0.
    Former,
}

pub const FAULTS: [Fault; 10] = [
    Fault::Prepare,
    Fault::Mount,
    Fault::Fstab,
    Fault::Bridge,
    Fault::Prestart,
    Fault::Created,
    Fault::Interface,
    Fault::Address,
    Fault::Rc,
    Fault::Poststart,
];

/// How a stop goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    Plainly,
    /// With an open connection: the jail stays dying.
    Held,
    /// exec.stop fails, so it does not stop.
    Refused,
}

/// Done, or a part of the message.
pub type Verdict = Result<(), &'static str>;

/// What a jail's block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub name: String,
    pub id: u16,
    pub ip: u16,
    /// The file it stands in.
    pub file: String,
}

impl World {
    fn fresh(&mut self) -> i32 {
        let all = self.mounts.iter().map(|m| m.id).chain(self.jails.iter().map(|j| j.jid));
        self.next = self.next.max(all.max().unwrap_or(0)) + 1;
        self.next
    }

    /// Every line of the world, with jails told by their names: those of one
    /// name in the order of their starts.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.odd.iter().cloned().collect();
        let mut jails: Vec<&Jail> = self.jails.iter().collect();
        jails.sort_by_key(|j| j.jid);
        let label = |jid: i32| match jails.iter().position(|j| j.jid == jid) {
            None if jid == 0 => "the host".to_owned(),
            None => format!("vnet {jid}"),
            Some(at) => {
                let earlier = jails[..at].iter().filter(|j| j.name == jails[at].name).count();
                format!("{}#{earlier}", jails[at].name)
            }
        };
        for jail in &jails {
            let root = jail.root.and_then(|id| self.mounts.iter().find(|m| m.id == id));
            let (label, state) = (label(jail.jid), if jail.dying { "dying" } else { "running" });
            lines.push(format!("jail {label} {state}, root {:?}", root.map(|m| (&m.kind, &m.from, &m.on))));
        }
        for (unit, pair) in &self.pairs {
            let Pair { described, groups, up, bridge, b, b_up, b_described } = pair;
            let b = label(*b);
            lines.push(format!(
                "pair {unit}: described {described:?}, groups {groups:?}, up {up}, in {bridge:?}; b in {b}, up {b_up}, described {b_described:?}"
            ));
        }
        lines.extend(self.mounts.iter().map(|m| format!("mount {} {} on {}", m.kind, m.from, m.on)));
        lines.extend(self.files.iter().map(|(path, what)| format!("{path}: {what:?}")));
        lines
    }

    pub fn running(&self, name: &str) -> Option<&Jail> {
        self.jails.iter().find(|j| j.name == name && !j.dying)
    }

    pub fn is_dir(&self, path: &str) -> bool {
        self.files.get(path) == Some(&Node::Directory)
    }

    pub fn below(&self, top: &str) -> impl Iterator<Item = (&String, &Node)> {
        self.files.iter().filter(move |(path, _)| is_below(path, top))
    }

    pub fn mounts_below<'a>(&'a self, top: &'a str) -> impl Iterator<Item = &'a Mount> {
        self.mounts.iter().filter(move |m| is_below(&m.on, top))
    }

    pub fn is_empty_dir(&self, path: &str) -> bool {
        self.is_dir(path) && self.below(path).count() == 1
    }

    pub fn remove_tree(&mut self, top: &str) {
        self.files.retain(|path, _| !is_below(path, top));
    }

    pub fn add_tree(&mut self, top: &str) {
        self.files.insert(top.into(), Node::Directory);
        for (path, what) in self.skeleton.clone() {
            self.files.insert(format!("{top}/{path}"), what);
        }
    }

    /// Whether a container is as it was when it was made.
    pub fn is_pristine(&self, container: &str) -> bool {
        let own = |path: &String| path[container.len()..].trim_start_matches('/').to_owned();
        let tree: BTreeMap<String, Node> = self
            .below(container)
            .filter(|(path, _)| *path != container)
            .map(|(path, what)| (own(path), what.clone()))
            .collect();
        self.is_dir(container) && tree == self.skeleton
    }

    /// All blocks that jail.conf(5) has; none if one file is no jail.conf(5).
    pub fn blocks(&self) -> Option<Vec<Block>> {
        let mut blocks = Vec::new();
        for (path, what) in &self.files {
            let Node::File(text) = what else { continue };
            if !path.starts_with(CONF_DIR) || !path.ends_with(".conf") {
                continue;
            }
            if text.contains(BROKEN) {
                return None;
            }
            let part = |at: usize, line| str::split(line, ['"', '.', '/']).nth(at);
            for lines in text.lines().collect::<Vec<_>>().windows(3) {
                if let Some(name) = lines[0].strip_suffix(" {") {
                    // $id = "10"; and $ip = "192.168.7.10/24";
                    let id = part(1, lines[1])?.parse().ok()?;
                    let ip = match part(4, lines[2])? {
                        OF_ID => id,
                        other => other.parse().ok()?,
                    };
                    blocks.push(Block { name: name.into(), id, ip, file: path.clone() });
                }
            }
        }
        Some(blocks)
    }

    pub fn block(&self, jail: &str) -> Option<Block> {
        self.blocks()?.into_iter().find(|b| b.name == jail)
    }

    /// What a pair of that unit is to a jail: tagged as its own, or untouched,
    /// or somebody else's.
    pub fn whose(&self, unit: u16, jail: &str) -> Whose {
        let Some(pair) = self.pairs.get(&unit) else { return Whose::Nobodys };
        let untouched = pair.b == 0
            && !pair.up
            && !pair.b_up
            && pair.bridge.is_none()
            && pair.groups.iter().all(|g| ["epair", GROUP].contains(&g.as_str()))
            && pair.b_described.is_none();
        match &pair.described {
            Some(_) if pair.belongs_to(jail) => Whose::Ours,
            Some(_) => Whose::Foreign,
            None if untouched => Whose::Untagged,
            None => Whose::Foreign,
        }
    }

    // The kernel.

    pub fn top(&self, on: &str) -> Option<&Mount> {
        self.mounts.iter().rev().find(|m| m.on == on)
    }

    pub fn mount(&mut self, kind: &str, from: &str, on: &str) {
        let id = self.fresh();
        self.mounts.push(Mount { id, kind: kind.into(), from: from.into(), on: on.into() });
    }

    /// umount(8) of what is uppermost there, as jail(8) runs it.
    fn umount(&mut self, on: &str, kind: &str) -> bool {
        let Some(at) = self.mounts.iter().rposition(|m| m.on == on) else { return false };
        let is_root = self.jails.iter().any(|j| j.root == Some(self.mounts[at].id));
        let covered = self.mounts[at + 1..].iter().any(|m| is_below(&m.on, on));
        let fine = self.mounts[at].kind == kind && !covered && !is_root;
        if fine {
            self.mounts.remove(at);
        }
        fine
    }

    /// jail_remove(2).
    pub fn remove(&mut self, name: &str, held: bool) {
        let Some(jail) = self.jails.iter_mut().find(|j| j.name == name && !j.dying) else { return };
        jail.dying = true;
        let jid = jail.jid;
        if !held {
            self.gone(jid);
        }
    }

    fn gone(&mut self, jid: i32) {
        self.jails.retain(|j| j.jid != jid);
        for pair in self.pairs.values_mut().filter(|p| p.b == jid) {
            (pair.b, pair.b_up) = (0, false);
        }
    }

    pub fn let_go(&mut self, name: &str) {
        let dying = self.jails.iter().filter(|j| j.dying && j.name == name);
        for jid in dying.map(|j| j.jid).collect::<Vec<_>>() {
            self.gone(jid);
        }
    }

    // The hooks.

    pub fn up(&mut self, jail: &str, unit: u16, bridge_there: bool) -> Verdict {
        match self.whose(unit, jail) {
            Whose::Foreign => return Err("pair "),
            Whose::Nobodys => {}
            _ if self.running(jail).is_some() => return Err("is in use by jail"),
            Whose::Ours | Whose::Untagged => {}
        }
        if !bridge_there {
            return Err("does not exist");
        }
        let pair = Pair {
            described: Some(format!("jail:{jail}")),
            groups: vec!["epair".into(), GROUP.into()],
            up: true,
            bridge: Some(BRIDGE.into()),
            ..Pair::default()
        };
        self.pairs.insert(unit, pair);
        Ok(())
    }

    pub fn down(&mut self, jail: &str, unit: u16) -> Verdict {
        match self.whose(unit, jail) {
            Whose::Nobodys => Ok(()),
            Whose::Foreign => Err("not destroyed"),
            Whose::Untagged => Err("has no description"),
            Whose::Ours if self.running(jail).is_some() => Err("is in use by jail"),
            Whose::Ours => {
                self.pairs.remove(&unit);
                Ok(())
            }
        }
    }

    fn down_all(&mut self, jail: &str) {
        self.pairs.retain(|_, p| !p.belongs_to(jail));
    }

    /// What a sweep would unmount, in order, whether anything of somebody else's
    /// stays, and whether something of ours has to stay under it.
    fn to_unmount(&self, jail: &str) -> Result<(Vec<i32>, bool, bool), &'static str> {
        let path = path(jail);
        let (mut all, mut left, mut blocked) = (Vec::new(), false, false);
        let below: Vec<&Mount> = self.mounts_below(&path).collect();
        if !self.is_dir(&path) || below.is_empty() {
            return Ok((all, left, blocked));
        }
        if below.iter().any(|m| m.on == path && m.kind != "nullfs") {
            return Err("it is itself where");
        }
        if !below.iter().any(|m| m.on == path) && !self.is_empty_dir(&path) {
            return Err("not the empty directory of a thin jail");
        }
        let mut stay: Vec<&str> = Vec::new();
        for mount in below.iter().rev() {
            if stay.iter().any(|on| is_below(on, &mount.on)) {
                blocked = true;
            } else if ["nullfs", "devfs", "tmpfs"].contains(&mount.kind.as_str()) {
                all.push(mount.id);
            } else {
                left = true;
                stay.push(&mount.on);
            }
        }
        Ok((all, left, blocked))
    }

    pub fn sweep(&mut self, jail: &str, unit: Option<u16>) -> Verdict {
        if self.running(jail).is_some() {
            return Ok(());
        }
        let (all, _, blocked) = self.to_unmount(jail)?;
        self.mounts.retain(|m| !all.contains(&m.id));
        match unit {
            None => self.down_all(jail),
            // A foreign one is not in the way as yet.
            Some(unit) => drop(self.down(jail, unit)),
        }
        if blocked { Err("still mounted") } else { Ok(()) }
    }

    // jail(8).

    /// The lines of a jail's fstab: source and place; none for one that cannot
    /// be understood.
    fn fstab_lines(&self, jail: &str) -> Option<Vec<Option<(String, String)>>> {
        let Node::File(text) = self.files.get(&fstab(jail))? else { return None };
        let fields = |line: &str| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.next()?.trim_end_matches('/').to_owned()))
        };
        Some(text.lines().map(fields).collect())
    }

    pub fn start(&mut self, jail: &str, fault: Option<Fault>) -> Verdict {
        let Some(blocks) = self.blocks() else { return Err("jail: ") };
        let Some(block) = blocks.into_iter().find(|b| b.name == jail) else { return Err("not found") };
        let Some(lines) = self.fstab_lines(jail) else { return Err("mount.fstab") };
        if self.running(jail).is_some() {
            return Err("already exists");
        }
        let path = path(jail);
        self.sweep(jail, Some(block.id))?;
        let mut done: Vec<(String, &str)> = Vec::new();
        let steps = self.go_up(jail, &block, lines, fault, &mut done);
        if steps.is_err() {
            // Interface, jail and mounts are taken back, nothing else.
            if let Some(jid) = self.running(jail).map(|j| j.jid) {
                self.gone(jid);
            }
            for (on, kind) in done.into_iter().rev() {
                self.umount(&on, kind);
            }
        }
        let _ = path;
        steps
    }

    fn go_up(
        &mut self,
        jail: &str,
        block: &Block,
        lines: Vec<Option<(String, String)>>,
        fault: Option<Fault>,
        done: &mut Vec<(String, &'static str)>,
    ) -> Verdict {
        let path = path(jail);
        let meets = |point: Fault, text: &'static str| if fault == Some(point) { Err(text) } else { Ok(()) };
        meets(Fault::Prepare, "/usr/bin/false: failed")?;
        meets(Fault::Mount, "/nodata")?;
        for line in lines {
            let Some((from, on)) = line else { return Err("missing information") };
            if on == path && !self.is_dir(&path) || on != path && self.top(&path).is_none() {
                return Err("No such file or directory");
            }
            if from != BASE && !self.is_dir(&from) {
                return Err("No such file or directory");
            }
            self.mount("nullfs", &from, &on);
            done.push((on, "nullfs"));
        }
        meets(Fault::Fstab, "/nodata")?;
        let dev = format!("{path}/dev");
        self.mount("devfs", "devfs", &dev);
        done.push((dev, "devfs"));
        self.up(jail, block.id, fault != Some(Fault::Bridge))?;
        meets(Fault::Prestart, "/usr/bin/false: failed")?;
        let (jid, root) = (self.fresh(), self.top(&path).map(|m| m.id));
        self.jails.push(Jail { jid, name: jail.into(), dying: false, root });
        meets(Fault::Created, "/usr/bin/false: failed")?;
        meets(Fault::Interface, "nosuch0")?;
        meets(Fault::Former, "not found")?;
        if let Some(pair) = self.pairs.get_mut(&block.id) {
            (pair.b, pair.b_up) = (jid, false);
        }
        meets(Fault::Address, "not-an-address")?;
        if let Some(pair) = self.pairs.get_mut(&block.id) {
            pair.b_up = true;
        }
        meets(Fault::Rc, "/usr/bin/false: failed")?;
        meets(Fault::Poststart, "/usr/bin/false: failed")
    }

    pub fn stop(&mut self, jail: &str, how: Stopped) -> Verdict {
        let Some(blocks) = self.blocks() else { return Err("jail: ") };
        let Some(block) = blocks.into_iter().find(|b| b.name == jail) else {
            // A bare removal, without any hook.
            return self.bare_removal(jail, how == Stopped::Held);
        };
        let Some(lines) = self.fstab_lines(jail) else { return Err("mount.fstab") };
        if self.running(jail).is_none() {
            return Err("not found");
        }
        if how == Stopped::Refused {
            return Err("/usr/bin/false: failed");
        }
        self.remove(jail, how == Stopped::Held);
        self.clear_up(jail, &block, lines)
    }

    fn clear_up(&mut self, jail: &str, block: &Block, lines: Vec<Option<(String, String)>>) -> Verdict {
        let mut verdict = self.down(jail, block.id);
        if !self.umount(&format!("{}/dev", path(jail)), "devfs") {
            verdict = verdict.and(Err("jail: "));
        }
        for line in lines.into_iter().rev() {
            if !line.is_some_and(|(_, on)| self.umount(&on, "nullfs")) {
                verdict = verdict.and(Err("jail: "));
            }
        }
        let swept = self.sweep(jail, Some(block.id));
        verdict.and(swept)
    }

    /// `jail -rC`.
    pub fn cleanup(&mut self, jail: &str) -> Verdict {
        let Some(blocks) = self.blocks() else { return Err("jail: ") };
        if self.running(jail).is_some() {
            return self.stop(jail, Stopped::Plainly);
        }
        let Some(block) = blocks.into_iter().find(|b| b.name == jail) else { return Err("not found") };
        let Some(lines) = self.fstab_lines(jail) else { return Err("mount.fstab") };
        self.clear_up(jail, &block, lines)
    }

    /// `jail -rc`.
    pub fn restart(&mut self, jail: &str) -> Verdict {
        if self.running(jail).is_some() {
            let known = self.block(jail).is_some();
            self.stop(jail, Stopped::Plainly)?;
            if !known {
                return Ok(());
            }
            // That of 15.0 hands the interface to the jid that the jail had.
            return self.start(jail, Some(Fault::Former));
        }
        self.start(jail, None)
    }

    /// `jail -R`.
    pub fn bare_removal(&mut self, jail: &str, held: bool) -> Verdict {
        if self.running(jail).is_none() {
            return Err("not found");
        }
        self.remove(jail, held);
        Ok(())
    }

    // The administrator's programs.

    pub fn clone_jail(&mut self, jail: &str, id: Option<u16>, fstab_text: &str) -> Verdict {
        let Some(blocks) = self.blocks() else { return Err("jail.conf") };
        if blocks.iter().any(|b| b.name == jail) {
            return Err("is already configured");
        }
        let taken = |id: u16| blocks.iter().any(|b| b.id == id || b.ip == id);
        let id = match id {
            Some(101) => return Err("is the gateway"),
            Some(id) if taken(id) => return Err("is used by jail"),
            Some(id) if self.whose(id, jail) == Whose::Foreign => return Err("is not free"),
            Some(id) => id,
            None => {
                (1..).find(|id| !taken(*id) && self.whose(*id, jail) != Whose::Foreign).unwrap_or_default()
            }
        };
        let container = container(jail);
        let there = self.files.contains_key(&container);
        if there && !self.is_pristine(&container) {
            return Err("not a pristine copy");
        }
        if self.files.contains_key(&path(jail)) && !self.is_empty_dir(&path(jail)) {
            return Err("the directory is not empty");
        }
        let fstab_line = Node::File(fstab_text.into());
        let old_fstab = self.files.get(&fstab(jail)).cloned();
        if old_fstab.as_ref().is_some_and(|old| *old != fstab_line) {
            return Err("with different contents");
        }
        if self.files.contains_key(&conf(jail)) {
            return Err("already exists");
        }
        let [conf_temp, fstab_temp, aside, origin_temp] = temporary(jail);
        if !there {
            self.remove_tree(&aside);
            self.add_tree(&container);
        }
        if !self.files.contains_key(&origin(jail)) {
            self.files.remove(&origin_temp);
            self.files.insert(origin(jail), Node::File(ORIGIN.into()));
        }
        self.files.insert(path(jail), Node::Directory);
        if old_fstab.is_none() {
            self.files.remove(&fstab_temp);
            self.files.insert(fstab(jail), fstab_line);
        }
        self.files.remove(&conf_temp);
        self.files.insert(conf(jail), Node::File(conf_text(jail, id, OF_ID)));
        Ok(())
    }

    pub fn destroy(&mut self, jail: &str, force: bool) -> Verdict {
        let running = self.running(jail).is_some();
        if running && !force {
            return Err("is running");
        }
        self.check_destroy(jail, force, running)?;
        if running {
            let _ = self.stop(jail, Stopped::Plainly);
            if self.running(jail).is_some() {
                return Err("still running");
            }
            self.check_destroy(jail, force, false)?;
        }
        if let Some(block) = self.block(jail) {
            let rest = matches!(&self.files[&block.file], Node::File(text) if text.ends_with(EXTRA));
            match rest {
                true => self.files.insert(block.file, Node::File(EXTRA.into())),
                false => self.files.remove(&block.file),
            };
        }
        self.remove_tree(&container(jail));
        self.files.remove(&origin(jail));
        self.files.remove(&fstab(jail));
        self.files.remove(&path(jail));
        for temporary in temporary(jail) {
            self.remove_tree(&temporary);
        }
        self.down_all(jail);
        Ok(())
    }

    fn check_destroy(&self, jail: &str, force: bool, running: bool) -> Verdict {
        let container = container(jail);
        if !running {
            if self.mounts_below(&path(jail)).next().is_some() {
                return Err("mounted on");
            }
            if self.mounts.iter().any(|m| is_below(&m.from, &container)) {
                return Err("mounted on");
            }
        }
        let Some(blocks) = self.blocks() else { return Err("jail.conf") };
        let block = blocks.iter().find(|b| b.name == jail);
        if let Some(block) = block {
            let more = blocks.iter().any(|b| b.file == block.file && b.name != jail);
            if more && !force {
                return Err("contains more than jail");
            }
        }
        let lines = self.fstab_lines(jail);
        let fstab_there = lines.is_some();
        if let Some(lines) = &lines {
            let own = (container.clone(), format!("{}/skeleton", path(jail)));
            if !lines.iter().any(|l| l.as_ref() == Some(&own)) {
                return Err("not the fstab of jail");
            }
        }
        let there = self.files.contains_key(&container);
        if there && !fstab_there && !self.is_pristine(&container) {
            return Err("no fstab shows");
        }
        if !running && self.files.contains_key(&path(jail)) && !self.is_empty_dir(&path(jail)) {
            return Err("not empty although");
        }
        let left = temporary(jail).iter().chain([&origin(jail)]).any(|t| self.files.contains_key(t));
        let pairs = !running && self.pairs.values().any(|p| p.belongs_to(jail));
        if block.is_none()
            && !there
            && !fstab_there
            && !self.files.contains_key(&path(jail))
            && !left
            && !pairs
        {
            return Err("does not exist: no configuration");
        }
        Ok(())
    }

    /// `jail-doctor -x`: what failed and killed runs left goes.
    pub fn doctor(&mut self) {
        self.doctor_but(&[], false);
    }

    /// The same while others have some jails in hand, which are left alone, or
    /// prepare a jail's files, which keeps it from all that looks like those.
    pub fn doctor_but(&mut self, in_hand: &[&str], jails_are_made: bool) {
        for jail in JAILS {
            for temporary in temporary(jail).iter().filter(|_| !jails_are_made) {
                self.remove_tree(temporary);
            }
            if self.running(jail).is_some() || in_hand.contains(&jail) {
                continue;
            }
            if let Ok((all, false, false)) = self.to_unmount(jail)
                && !all.is_empty()
            {
                self.mounts.retain(|m| !all.contains(&m.id));
            }
            self.down_all(jail);
        }
    }
}
