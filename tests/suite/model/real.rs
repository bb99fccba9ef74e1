//! The simulated host: does what an operation says, with the real programs, and
//! says what is there.

use super::common_bin::bin;
use super::op::*;
use super::world::*;
use crate::harness::host::Host;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use thinjail::system::kernel::simulated::{HOST, InterfaceKind, Simulated, State};
use thinjail::system::root::Root;

const JAIL_CONF: &str = include_str!("../../../share/examples/jail.conf");
const SIGKILL: i32 = 9;

/// What came of one program.
#[derive(Debug)]
pub struct Said {
    pub program: String,
    pub done: bool,
    pub killed: bool,
    pub stdout: String,
    pub stderr: String,
}

pub struct Real {
    stage: Host,
    kernel: Simulated,
}

impl Real {
    pub fn new() -> Real {
        let stage = Host::directory();
        for directory in ["mnt", "data", "server"] {
            fs::create_dir_all(stage.path(directory)).unwrap();
        }
        for fault in FAULTS {
            stage.write(&conf_of(Some(fault)), &text_of(fault));
        }
        let refusing = JAIL_CONF.replace("/bin/sh /etc/rc.shutdown jail", "/usr/bin/false");
        stage.write("/etc/jail.conf.refuses", &refusing);
        stage.write("/etc/rc.conf", "jail_enable=\"YES\"\n");
        // What a first clone makes once and for all.
        let skeleton = stage.path("/zdata/jails/templates/14.5-RELEASE-skeleton");
        let copy = stage.path("/zdata/jails/templates/14.5-RELEASE-skeleton@base");
        thinjail::system::tree::copy(&skeleton, &copy).unwrap();
        stage.write("/etc/bad.fstab", "/nodata /mnt nullfs rw 0 0\n");
        let root = Root::alternate(&stage.root()).unwrap();
        let kernel = Simulated::new(&root);
        // Somebody else's jail with a pair, a bridge and a mount.
        kernel
            .change(|s| {
                s.create(OTHER_BRIDGE)?;
                s.create("epair60")?;
                s.add_member(super::world::BRIDGE, "epair60a")?;
                s.mount("nullfs", Path::new("/thick"), &root.host_path(Path::new("/thick")))?;
                let jid = s.create_jail("thick", &root.host_path(Path::new("/thick")))?;
                s.lend("epair60b", jid)
            })
            .unwrap();
        Real { stage, kernel }
    }

    fn state(&self) -> State {
        self.kernel.state().unwrap()
    }

    fn inside(&self, path: &Path) -> String {
        match path.strip_prefix(self.stage.root()) {
            Ok(below) => format!("/{}", below.display()),
            Err(_) => path.display().to_string(),
        }
    }

    /// The templates, which nothing may change.
    pub fn templates(&self) -> BTreeMap<String, Node> {
        let mut files = BTreeMap::new();
        self.walk("/zdata/jails/templates", &mut files);
        files
    }

    pub fn skeleton(&self) -> BTreeMap<String, Node> {
        let top = "/zdata/jails/templates/14.5-RELEASE-skeleton";
        let mut files = BTreeMap::new();
        self.walk(top, &mut files);
        files.into_iter().map(|(path, node)| (path[top.len() + 1..].to_owned(), node)).collect()
    }

    fn walk(&self, top: &str, files: &mut BTreeMap<String, Node>) {
        for entry in fs::read_dir(self.stage.path(top)).into_iter().flatten() {
            let entry = entry.unwrap();
            let path = format!("{top}/{}", entry.file_name().to_str().unwrap());
            if path == "/zdata/jails/templates" && top == "/zdata/jails" {
                continue;
            }
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                self.walk(&path, files);
                files.insert(path, Node::Directory);
            } else if kind.is_symlink() {
                let text = fs::read_link(entry.path()).unwrap().display().to_string();
                files.insert(path, Node::Link(text));
            } else {
                let text = fs::read(entry.path()).unwrap();
                files.insert(path, Node::File(String::from_utf8_lossy(&text).into_owned()));
            }
        }
    }

    /// Everything that is there.
    pub fn observe(&self, skeleton: &BTreeMap<String, Node>) -> World {
        let state = self.state();
        let mut world = World::default();
        world.skeleton.clone_from(skeleton);
        for top in ["/etc", "/usr/local/etc", "/zdata/jails"] {
            self.walk(top, &mut world.files);
        }
        for jail in &state.jails {
            let (jid, name, dying, root) = (jail.jid, jail.name.clone(), jail.dying, jail.root);
            world.jails.push(Jail { jid, name, dying, root });
        }
        for mount in &state.mounts {
            let (id, kind) = (mount.fsid, mount.kind.clone());
            let (from, on) = (self.inside(&mount.from), self.inside(&mount.on));
            world.mounts.push(Mount { id, kind, from, on });
        }
        let bridge_of = |id: u32| {
            let holds =
                |k: &InterfaceKind| matches!(k, InterfaceKind::Bridge(_, members) if members.contains(&id));
            state.interfaces.iter().find(|i| holds(&i.kind)).map(|i| i.name.clone())
        };
        let mut macs = BTreeMap::new();
        for i in &state.interfaces {
            let is = |half: &str, unit: &u16| i.name == format!("epair{unit}{half}");
            match &i.kind {
                InterfaceKind::Epair(unit) if is("a", unit) && i.vnet == HOST => {
                    let pair = world.pairs.entry(*unit).or_default();
                    (pair.described, pair.groups) = (i.description.clone(), i.groups.clone());
                    (pair.up, pair.bridge) = (i.up, bridge_of(i.id));
                }
                InterfaceKind::Epair(unit) if is("b", unit) => {
                    let pair = world.pairs.entry(*unit).or_default();
                    (pair.b, pair.b_up, pair.b_described) = (i.vnet, i.up, i.description.clone());
                }
                // A jail's own.
                _ if i.home != HOST => {}
                kind => {
                    let kind = match kind {
                        InterfaceKind::Bridge(unit, _) => format!("bridge {unit}"),
                        other => format!("{other:?}"),
                    };
                    let line = format!(
                        "interface {} {kind} in {} up {} mtu {} {:?} {:?} in {:?}",
                        i.name,
                        i.vnet,
                        i.up,
                        i.mtu,
                        i.description,
                        i.groups,
                        bridge_of(i.id)
                    );
                    world.odd.insert(line);
                }
            }
            if matches!(i.kind, InterfaceKind::Epair(_)) && macs.insert(i.mac, i.name.clone()).is_some() {
                world.odd.insert(format!("two interfaces with the address {:?}", i.mac));
            }
        }
        world
    }

    /// Does it; what each program said, in the order of the operations.
    pub fn perform(&self, op: &Op, world: &World) -> Vec<Said> {
        match op {
            Op::Foreign(foreign) => {
                self.happen(foreign, world);
                Vec::new()
            }
            Op::Together(ops) => {
                let children: Vec<Child> = ops.iter().map(|op| self.spawn(op, None)).collect();
                children
                    .into_iter()
                    .zip(ops)
                    .map(|(c, op)| self.end(op, c.wait_with_output().unwrap()))
                    .collect()
            }
            Op::Killed(inner, at) => {
                let inject = ("THINJAIL_INJECT", format!("kill@{at}"));
                vec![self.end(inner, self.spawn(inner, Some(inject)).wait_with_output().unwrap())]
            }
            Op::Failing(inner, errno, at) => {
                let inject = ("THINJAIL_INJECT", format!("{errno}@{at}"));
                vec![self.end(inner, self.spawn(inner, Some(inject)).wait_with_output().unwrap())]
            }
            Op::JailKilled(inner, at) => {
                self.stage.fault_with("kill-jail", &format!("{}\n{at}\n", inner.jail().unwrap_or_default()));
                let said = self.end(inner, self.spawn(inner, None).wait_with_output().unwrap());
                self.stage.clear_fault("kill-jail");
                vec![said]
            }
            Op::Stop(jail, Stopped::Held) | Op::Remove(jail, true) => {
                self.stage.fault_with("held-connection", &format!("{jail}\n"));
                let said = self.end(op, self.spawn(op, None).wait_with_output().unwrap());
                self.stage.clear_fault("held-connection");
                vec![said]
            }
            _ => vec![self.end(op, self.spawn(op, None).wait_with_output().unwrap())],
        }
    }

    fn words(&self, op: &Op) -> Vec<String> {
        let line = match op {
            Op::Clone(jail, id) => {
                let id = id.map(|id| format!(" {id}")).unwrap_or_default();
                format!("jail-clone {jail}{id}")
            }
            Op::Destroy(jail, force) => format!("jail-destroy -y{} {jail}", if *force { "f" } else { "" }),
            Op::Start(jail, fault) => format!("jail -f {} -c {jail}", conf_of(*fault)),
            Op::Stop(jail, Stopped::Refused) => format!("jail -f /etc/jail.conf.refuses -r {jail}"),
            Op::Stop(jail, _) => format!("jail -r {jail}"),
            Op::Restart(jail) => format!("jail -rc {jail}"),
            Op::Cleanup(jail) => format!("jail -rC {jail}"),
            Op::Remove(jail, _) => format!("jail -R {jail}"),
            Op::LetGo(jail) => format!("jail standin-let-go {jail}"),
            Op::Sweep(jail, None) => format!("jail-sweep {jail} {}", path(jail)),
            Op::Sweep(jail, Some(unit)) => format!("jail-sweep {jail} {} epair{unit}", path(jail)),
            Op::Up(jail, unit) => format!("jail-epair-up -b {BRIDGE} {jail} epair{unit}"),
            Op::Down(jail, unit) => format!("jail-epair-down {jail} epair{unit}"),
            Op::Doctor => "jail-doctor -x".into(),
            Op::List => "jail-list --json".into(),
            Op::Dry(op) => {
                let mut words = self.words(op);
                words.insert(1, "-n".into());
                return words;
            }
            _ => unreachable!("{op:?} is no program"),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    fn spawn(&self, op: &Op, more: Option<(&str, String)>) -> Child {
        let words = self.words(op);
        let program = match words[0].as_str() {
            "jail" => self.stage.tools().join("jail"),
            ours => bin(ours),
        };
        let mut command = self.stage.prepare(Command::new(program));
        command.args(&words[1..]).envs(more).env("PATH", "/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn end(&self, op: &Op, output: Output) -> Said {
        Said {
            program: self.words(op).remove(0),
            done: output.status.success(),
            killed: output.status.signal() == Some(SIGKILL),
            stdout: self.stage.strip(&output.stdout),
            stderr: self.stage.strip(&output.stderr),
        }
    }

    /// Somebody else does something; what can't be done is not.
    fn happen(&self, foreign: &Foreign, world: &World) {
        let a = |unit: &u16| format!("epair{unit}a");
        let change = |change: &dyn Fn(&mut State) -> thinjail::system::kernel::Result<()>| {
            // Refused is refused.
            let _ = self.kernel.change(|s| change(s));
        };
        let up = |s: &mut State, name: &str| {
            s.interfaces.iter_mut().filter(|i| i.name == name).for_each(|i| i.up = true);
        };
        match foreign {
            Foreign::MakePair(unit, made) => change(&|s| {
                s.create(&format!("epair{unit}"))?;
                match made {
                    Made::Fresh => Ok(()),
                    Made::Up => {
                        up(s, &a(unit));
                        Ok(())
                    }
                    Made::Member => s.add_member(OTHER_BRIDGE, &a(unit)),
                    Made::Tagged(jail) => {
                        s.join_group(&a(unit), "thinjail")?;
                        s.describe(HOST, &a(unit), &format!("jail:{jail}"))
                    }
                    Made::Described(jail) => s.describe(HOST, &a(unit), &format!("jail:{jail}")),
                    Made::Words => s.describe(HOST, &a(unit), "uplink"),
                    Made::Grouped => s.join_group(&a(unit), "private"),
                }
            }),
            Foreign::Describe(unit, text) => {
                change(&|s| s.describe(HOST, &a(unit), text.unwrap_or_default()))
            }
            Foreign::DestroyPair(unit) => change(&|s| s.destroy(HOST, &a(unit))),
            Foreign::DestroyInside(jail) | Foreign::DescribeInside(jail) => {
                let state = self.state();
                let Some(jail) = state.jails.iter().find(|j| j.name == *jail && !j.dying) else { return };
                let inside = state.interfaces.iter().filter(|i| i.vnet == jail.jid && i.home == HOST);
                for i in inside {
                    change(&|s| match foreign {
                        Foreign::DestroyInside(_) => s.destroy(jail.jid, &i.name),
                        _ => s.describe(jail.jid, &i.name, "jail:db"),
                    });
                }
            }
            Foreign::LeaveBridge(unit) => {
                change(&|s| s.delete_member(BRIDGE, &a(unit)));
                change(&|s| s.delete_member(OTHER_BRIDGE, &a(unit)));
            }
            Foreign::JoinOther(unit) => {
                change(&|s| s.delete_member(BRIDGE, &a(unit)));
                change(&|s| s.add_member(OTHER_BRIDGE, &a(unit)));
            }
            Foreign::Mount(jail, mounted) => {
                let (kind, from, on) = mounted.words(jail);
                if world.top(&on).is_none_or(|m| m.kind != kind) {
                    let (from, on) = (self.stage.path(&from), self.stage.path(&on));
                    change(&|s| s.mount(kind, &from, &on));
                }
            }
            Foreign::Unmount(jail, nth) => {
                if let Some(id) = unmounted(world, jail, *nth) {
                    let at = world.mounts.iter().position(|m| m.id == id).unwrap();
                    let fsid = self.state().mounts[at].fsid;
                    change(&|s| s.unmount(fsid, true));
                }
            }
            _ => self.change_files(foreign, world),
        }
    }

    /// Brings the files to where the model has them: the model says what
    /// somebody writes.
    fn change_files(&self, foreign: &Foreign, world: &World) {
        let mut after = world.clone();
        foreign.happen(&mut after);
        for path in world.files.keys().rev().filter(|p| !after.files.contains_key(*p)) {
            let real = self.stage.path(path);
            match world.files[path] {
                Node::Directory => fs::remove_dir(&real).unwrap(),
                _ => fs::remove_file(&real).unwrap(),
            }
        }
        for (path, node) in &after.files {
            match node {
                _ if world.files.get(path) == Some(node) => {}
                Node::Directory => fs::create_dir(self.stage.path(path)).unwrap(),
                Node::File(text) => fs::write(self.stage.path(path), text).unwrap(),
                Node::Link(_) => unreachable!("nobody makes links"),
            }
        }
    }
}

fn conf_of(fault: Option<Fault>) -> String {
    match fault {
        None => "/etc/jail.conf".into(),
        Some(fault) => format!("/etc/jail.conf.{fault:?}"),
    }
}

/// The common part with something in it that fails.
fn text_of(fault: Fault) -> String {
    let with = |from: &str, to: &str| {
        assert!(JAIL_CONF.contains(from), "{from}");
        JAIL_CONF.replace(from, to)
    };
    let stop = "exec.stop     =";
    let more = |line: &str| with(stop, &format!("{line}\n{stop}"));
    match fault {
        Fault::Prepare => more("exec.prepare += \"/usr/bin/false\";"),
        Fault::Mount => more("mount += \"/nodata /mnt nullfs rw 0 0\";"),
        Fault::Fstab => more("mount.fstab += \"/etc/bad.fstab\";"),
        Fault::Bridge => with("\"igc0bridge\"", "\"nobridge\""),
        Fault::Prestart => more("exec.prestart += \"/usr/bin/false\";"),
        Fault::Created => more("exec.created = \"/usr/bin/false\";"),
        Fault::Interface => with("vnet.interface = \"${epair}b\"", "vnet.interface = \"nosuch0\""),
        Fault::Address => with("inet ${ip} up", "inet not-an-address up"),
        Fault::Rc => with("\"/bin/sh /etc/rc\"", "\"/usr/bin/false\""),
        Fault::Poststart => more("exec.poststart = \"/usr/bin/false\";"),
        Fault::Former => unreachable!("made by jail -rc"),
    }
}
