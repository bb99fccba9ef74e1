//! What is done to the host, and how it is chosen.

use super::world::*;

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Clone(&'static str, Option<u16>),
    Destroy(&'static str, bool),
    Start(&'static str, Option<Fault>),
    Stop(&'static str, Stopped),
    /// `jail -rc`.
    Restart(&'static str),
    /// `jail -rC`.
    Cleanup(&'static str),
    /// `jail -R`, perhaps with an open connection.
    Remove(&'static str, bool),
    /// The last connection of the dying jails of a name is closed.
    LetGo(&'static str),
    /// By hand, with the unit of the pair or without.
    Sweep(&'static str, Option<u16>),
    Up(&'static str, u16),
    Down(&'static str, u16),
    Doctor,
    List,
    /// With `-n`.
    Dry(Box<Op>),
    Foreign(Foreign),
    /// Every program that runs is killed in front of its nth effect.
    Killed(Box<Op>, u32),
    /// The nth effect of every program that runs fails.
    Failing(Box<Op>, &'static str, u32),
    /// jail(8) itself is killed in front of its nth step.
    JailKilled(Box<Op>, u32),
    Together(Vec<Op>),
}

/// What somebody else does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    MakePair(u16, Made),
    Describe(u16, Option<&'static str>),
    DestroyPair(u16),
    /// Root of the jail destroys its half, or describes it.
    DestroyInside(&'static str),
    DescribeInside(&'static str),
    LeaveBridge(u16),
    JoinOther(u16),
    Mount(&'static str, Mounted),
    /// Unmounts by force the nth of the mounts that have to do with the jail.
    Unmount(&'static str, u8),
    RemoveConf(&'static str),
    EditId(&'static str, u16),
    AddBlock(&'static str),
    BreakConf(&'static str),
    RemoveFstab(&'static str),
    SpoilFstab(&'static str),
    AddMount(&'static str),
    MendFstab(&'static str),
    /// A directory where the container would be, empty or not.
    MakeContainer(&'static str, bool),
    RemoveContainer(&'static str),
    Work(&'static str),
    FillPath(&'static str),
    EmptyPath(&'static str),
    RemovePath(&'static str),
}

/// What a pair of somebody else's is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Fresh,
    Up,
    Member,
    Tagged(&'static str),
    /// Without the group.
    Described(&'static str),
    Words,
    Grouped,
}

/// What somebody mounts, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    NullfsInside,
    NfsInside,
    TmpfsInside,
    TmpfsOnPath,
    ContainerElsewhere,
    Neighbour,
}

impl Op {
    /// The name under which it is counted.
    pub fn kind(&self) -> String {
        match self {
            Op::Start(_, Some(fault)) => format!("Start, failing at {fault:?}"),
            Op::Start(..) => "Start".into(),
            Op::Stop(_, how) => format!("Stop {how:?}"),
            Op::Remove(_, held) => format!("Remove behind our back{}", if *held { ", held" } else { "" }),
            Op::Destroy(_, force) => format!("Destroy{}", if *force { " -f" } else { "" }),
            Op::Clone(_, id) => format!("Clone{}", if id.is_none() { " with a free id" } else { "" }),
            Op::Dry(op) => format!("Dry {}", op.word()),
            Op::Killed(op, _) => format!("Killed {}", op.word()),
            Op::Failing(op, ..) => format!("Failing {}", op.word()),
            Op::JailKilled(op, _) => format!("jail(8) killed at {}", op.word()),
            Op::Together(ops) if Op::are_of_one_jail(ops) => {
                let mut words: Vec<String> = ops.iter().map(Op::word).collect();
                words.sort();
                format!("Together, of one jail: {}", words.join(" and "))
            }
            Op::Together(ops) => format!("Together, {} of them", ops.len()),
            Op::Foreign(foreign) => format!("Foreign {}", first_word(&format!("{foreign:?}"))),
            other => other.word(),
        }
    }

    /// Whether some of these are about the same jail; the doctor's are about all.
    pub fn are_of_one_jail(ops: &[Op]) -> bool {
        let mut jails: Vec<&str> = ops.iter().filter_map(Op::jail).collect();
        let all = jails.len();
        jails.sort_unstable();
        jails.dedup();
        jails.len() < all || ops.len() == 2 && all == 1 && ops.contains(&Op::Doctor)
    }

    pub fn word(&self) -> String {
        first_word(&format!("{self:?}"))
    }

    /// The jail that it is about.
    pub fn jail(&self) -> Option<&'static str> {
        match self {
            Op::Clone(jail, _)
            | Op::Destroy(jail, _)
            | Op::Start(jail, _)
            | Op::Stop(jail, _)
            | Op::Restart(jail)
            | Op::Cleanup(jail)
            | Op::Remove(jail, _)
            | Op::LetGo(jail)
            | Op::Sweep(jail, _)
            | Op::Up(jail, _)
            | Op::Down(jail, _) => Some(jail),
            Op::Dry(op) | Op::Killed(op, _) | Op::Failing(op, ..) | Op::JailKilled(op, _) => op.jail(),
            _ => None,
        }
    }

    /// The unit that it names.
    pub fn unit(&self) -> Option<u16> {
        match self {
            Op::Up(_, unit) | Op::Down(_, unit) | Op::Sweep(_, Some(unit)) => Some(*unit),
            _ => None,
        }
    }

    /// What it makes of the world, and what is said.
    pub fn expect(&self, world: &mut World) -> Verdict {
        match self {
            Op::Clone(jail, id) => world.clone_jail(jail, *id, &fstab_text(jail)),
            Op::Destroy(jail, force) => world.destroy(jail, *force),
            Op::Start(jail, fault) => world.start(jail, *fault),
            Op::Stop(jail, how) => world.stop(jail, *how),
            Op::Restart(jail) => world.restart(jail),
            Op::Cleanup(jail) => world.cleanup(jail),
            Op::Remove(jail, held) => world.bare_removal(jail, *held),
            Op::LetGo(jail) => {
                world.let_go(jail);
                Ok(())
            }
            Op::Sweep(jail, unit) => world.sweep(jail, *unit),
            Op::Up(jail, unit) => world.up(jail, *unit, true),
            Op::Down(jail, unit) => world.down(jail, *unit),
            Op::Doctor => {
                world.doctor();
                Ok(())
            }
            Op::List => Ok(()),
            Op::Dry(op) => op.expect(&mut world.clone()),
            Op::Killed(op, _) | Op::Failing(op, ..) | Op::JailKilled(op, _) => op.expect(world),
            Op::Foreign(foreign) => {
                foreign.happen(world);
                Ok(())
            }
            Op::Together(_) => Ok(()),
        }
    }
}

/// The names of all that can happen.
pub fn kinds() -> Vec<String> {
    let words = |prefix: &str, all: &str| -> Vec<String> {
        all.split_whitespace().map(|word| format!("{prefix}{word}")).collect()
    };
    let mut all: Vec<String> = FAULTS.iter().map(|fault| format!("Start, failing at {fault:?}")).collect();
    all.extend(words("", "Clone Destroy Doctor Down LetGo List Restart Cleanup Start Sweep Up"));
    let more =
        ["Clone with a free id", "Destroy -f", "Remove behind our back", "Remove behind our back, held"];
    all.extend(more.map(str::to_owned));
    all.extend(words("Stop ", "Plainly Held Refused"));
    all.extend(words("Dry ", "Clone Destroy Doctor Down Sweep Up"));
    all.extend(words("Killed ", "Clone Destroy Doctor Down Restart Start Stop Sweep Up"));
    all.extend(words("Failing ", "Clone Destroy Doctor Down Restart Start Stop Sweep Up"));
    all.extend(words("jail(8) killed at ", "Restart Start Stop"));
    all.extend(words(
        "Foreign ",
        "MakePair Describe DestroyPair DestroyInside DescribeInside LeaveBridge JoinOther Mount Unmount \
         RemoveConf EditId AddBlock BreakConf RemoveFstab SpoilFstab AddMount MendFstab MakeContainer \
         RemoveContainer Work FillPath EmptyPath RemovePath",
    ));
    all.extend(words("  at the same time: ", "Clone Destroy Doctor Down Restart Start Stop Sweep Up"));
    for both in
        ["Start and Start", "Start and Stop", "Start and Sweep", "Destroy and Start", "Doctor and Start"]
    {
        all.push(format!("Together, of one jail: {both}"));
    }
    for both in ["Start and Up", "Down and Start", "Up and Up", "Clone and Clone", "Stop and Stop"] {
        all.push(format!("Together, of one jail: {both}"));
    }
    all
}

fn first_word(text: &str) -> String {
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The fstab of a jail, as the recipe has it.
pub fn fstab_text(jail: &str) -> String {
    let (path, container) = (path(jail), container(jail));
    format!("{BASE} {path}/ nullfs ro 0 0\n{container} {path}/skeleton nullfs rw 0 0\n")
}

impl Foreign {
    /// What is there afterwards; what can't be done leaves all as it is.
    pub fn happen(&self, world: &mut World) {
        let file = |text: String| Node::File(text);
        match self {
            Foreign::MakePair(unit, made) => {
                if world.pairs.contains_key(unit) {
                    return;
                }
                let mut pair = Pair { groups: vec!["epair".into()], ..Pair::default() };
                match made {
                    Made::Fresh => {}
                    Made::Up => pair.up = true,
                    Made::Member => pair.bridge = Some(OTHER_BRIDGE.into()),
                    Made::Tagged(jail) => {
                        pair.groups.push("thinjail".into());
                        pair.described = Some(format!("jail:{jail}"));
                    }
                    Made::Described(jail) => pair.described = Some(format!("jail:{jail}")),
                    Made::Words => pair.described = Some("uplink".into()),
                    Made::Grouped => pair.groups.push("private".into()),
                }
                world.pairs.insert(*unit, pair);
            }
            Foreign::Describe(unit, text) => {
                if let Some(pair) = world.pairs.get_mut(unit) {
                    pair.described = text.map(str::to_owned);
                }
            }
            Foreign::DestroyPair(unit) => drop(world.pairs.remove(unit)),
            Foreign::DestroyInside(jail) => {
                let jid = world.running(jail).map(|j| j.jid);
                world.pairs.retain(|_, p| Some(p.b) != jid);
            }
            Foreign::DescribeInside(jail) => {
                let jid = world.running(jail).map(|j| j.jid);
                for pair in world.pairs.values_mut().filter(|p| Some(p.b) == jid) {
                    pair.b_described = Some("jail:db".into());
                }
            }
            Foreign::LeaveBridge(unit) => {
                if let Some(pair) = world.pairs.get_mut(unit) {
                    pair.bridge = None;
                }
            }
            Foreign::JoinOther(unit) => {
                if let Some(pair) = world.pairs.get_mut(unit) {
                    pair.bridge = Some(OTHER_BRIDGE.into());
                }
            }
            Foreign::Mount(jail, mounted) => {
                let (kind, from, on) = mounted.words(jail);
                if world.top(&on).is_some_and(|m| m.kind == kind) {
                    return;
                }
                world.mount(kind, &from, &on);
            }
            Foreign::Unmount(jail, nth) => {
                if let Some(id) = unmounted(world, jail, *nth) {
                    world.mounts.retain(|m| m.id != id);
                }
            }
            Foreign::RemoveConf(jail) => drop(world.files.remove(&conf(jail))),
            Foreign::EditId(jail, id) => {
                let Some(block) = world.block(jail) else { return };
                world.files.insert(block.file, file(conf_text(jail, *id, &block.ip.to_string())));
            }
            Foreign::AddBlock(jail) => {
                // One such block is enough: two would be the same jail twice.
                let Some(blocks) = world.blocks() else { return };
                let Some(block) = blocks.iter().find(|b| b.name == *jail) else { return };
                if let Some(Node::File(text)) = world.files.get(&block.file)
                    && !blocks.iter().any(|b| b.name == "extra")
                {
                    let text = format!("{text}{EXTRA}");
                    world.files.insert(block.file.clone(), file(text));
                }
            }
            Foreign::BreakConf(jail) => {
                if world.files.contains_key(&conf(jail)) {
                    world.files.insert(conf(jail), file(BROKEN.into()));
                }
            }
            Foreign::RemoveFstab(jail) => drop(world.files.remove(&fstab(jail))),
            Foreign::SpoilFstab(jail) => {
                if world.files.contains_key(&fstab(jail)) {
                    world.files.insert(fstab(jail), file(GARBAGE.into()));
                }
            }
            Foreign::AddMount(jail) => {
                if world.files.contains_key(&fstab(jail)) {
                    let line = format!("/nodata {}/mnt nullfs rw 0 0\n", path(jail));
                    world.files.insert(fstab(jail), file(fstab_text(jail) + &line));
                }
            }
            Foreign::MendFstab(jail) => {
                if world.files.contains_key(&conf(jail)) {
                    world.files.insert(fstab(jail), file(fstab_text(jail)));
                }
            }
            Foreign::MakeContainer(jail, empty) => {
                let container = container(jail);
                if !world.files.contains_key(&container) {
                    world.files.insert(container.clone(), Node::Directory);
                    if !empty {
                        world.files.insert(format!("{container}/theirs"), file("x\n".into()));
                    }
                }
            }
            Foreign::RemoveContainer(jail) => {
                let container = container(jail);
                if !world.mounts.iter().any(|m| is_below(&m.from, &container)) {
                    world.remove_tree(&container);
                }
            }
            Foreign::Work(jail) => {
                let root = format!("{}/root", container(jail));
                if world.is_dir(&root) {
                    world.files.insert(format!("{root}/work"), file("much\n".into()));
                }
            }
            Foreign::FillPath(jail) => {
                if world.is_dir(&path(jail)) && world.mounts_below(&path(jail)).next().is_none() {
                    world.files.insert(format!("{}/theirs", path(jail)), file("x\n".into()));
                }
            }
            Foreign::EmptyPath(jail) => {
                if world.mounts_below(&path(jail)).next().is_none() {
                    world.files.remove(&format!("{}/theirs", path(jail)));
                }
            }
            Foreign::RemovePath(jail) => {
                if world.is_empty_dir(&path(jail)) && world.mounts_below(&path(jail)).next().is_none() {
                    world.files.remove(&path(jail));
                }
            }
        }
    }
}

impl Mounted {
    /// Type, source and place.
    pub fn words(self, jail: &str) -> (&'static str, String, String) {
        let path = path(jail);
        match self {
            Mounted::NullfsInside => ("nullfs", DATA.into(), format!("{path}/mnt")),
            Mounted::NfsInside => ("nfs", "/server".into(), format!("{path}/mnt")),
            Mounted::TmpfsInside => ("tmpfs", "/tmpfs".into(), format!("{path}/mnt")),
            Mounted::TmpfsOnPath => ("tmpfs", "/tmpfs".into(), path),
            Mounted::ContainerElsewhere => ("nullfs", container(jail), format!("/mnt/{jail}")),
            Mounted::Neighbour => ("nfs", "/server".into(), format!("{path}2")),
        }
    }
}

/// The mount that somebody unmounts.
pub fn unmounted(world: &World, jail: &str, nth: u8) -> Option<i32> {
    let places = [path(jail), format!("{}2", path(jail)), format!("/mnt/{jail}")];
    let all: Vec<i32> = world
        .mounts
        .iter()
        .filter(|m| places.iter().any(|place| is_below(&m.on, place)))
        .map(|m| m.id)
        .collect();
    if all.is_empty() { None } else { Some(all[nth as usize % all.len()]) }
}

/// A sequence of numbers from a seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}

/// What happens next: mostly something that can be done in this world.
pub fn choose(dice: &mut Dice, world: &World, last: Option<&Op>) -> Op {
    // Killed is not broken: the same once more.
    if let Some(Op::Killed(op, _) | Op::Failing(op, ..) | Op::JailKilled(op, _)) = last
        && !dice.one_in(4)
    {
        return (**op).clone();
    }
    match dice.below(100) {
        0..58 => single(dice, world),
        58..71 => {
            let op = loop {
                let op = single(dice, world);
                if !matches!(op, Op::LetGo(_) | Op::Remove(..) | Op::List | Op::Stop(_, Stopped::Held)) {
                    break op;
                }
            };
            // Where something was left, rather what clears it.
            let leaked = JAILS.into_iter().find(|j| {
                let left = world.mounts_below(&path(j)).next().is_some()
                    || world.pairs.values().any(|p| p.belongs_to(j));
                left && world.running(j).is_none()
            });
            let op = match leaked {
                Some(jail) if dice.one_in(2) => {
                    let unit = unit_of(dice, world, jail);
                    [Op::Sweep(jail, None), Op::Down(jail, unit), Op::Doctor][dice.below(3) as usize].clone()
                }
                _ => op,
            };
            // What comes up rarely otherwise.
            let known: Vec<&'static str> = JAILS.into_iter().filter(|j| world.block(j).is_some()).collect();
            let op = match dice.below(12) {
                0 if !known.is_empty() => {
                    let jail = dice.pick(&known);
                    Op::Up(jail, unit_of(dice, world, jail))
                }
                1 if !known.is_empty() => Op::Restart(dice.pick(&known)),
                _ => op,
            };
            let through_jail = matches!(op, Op::Start(..) | Op::Stop(..) | Op::Restart(_) | Op::Cleanup(_));
            // A copy has some thirty effects, clearing away a few, behind what a
            // doctor asks.
            let most = match op {
                Op::Clone(..) | Op::Destroy(..) => 40,
                Op::Doctor => 10,
                Op::Sweep(..) | Op::Down(..) => 4,
                Op::Stop(..) | Op::Cleanup(_) => 2,
                _ => 12,
            };
            let at = 1 + dice.below(most) as u32;
            match dice.below(3) {
                0 if through_jail => Op::JailKilled(op.into(), 1 + dice.below(16) as u32),
                1 => Op::Failing(op.into(), dice.pick(&["ENOSPC", "EIO", "EACCES"]), at),
                _ => Op::Killed(op.into(), at),
            }
        }
        71..82 => together(dice, world),
        82..86 => loop {
            let op = single(dice, world);
            if matches!(
                op,
                Op::Clone(..) | Op::Destroy(..) | Op::Sweep(..) | Op::Up(..) | Op::Down(..) | Op::Doctor
            ) {
                break Op::Dry(op.into());
            }
        },
        _ => Op::Foreign(foreign(dice, world)),
    }
}

fn unit_of(dice: &mut Dice, world: &World, jail: &'static str) -> u16 {
    world.block(jail).map_or_else(|| dice.pick(&IDS), |b| b.id)
}

fn single(dice: &mut Dice, world: &World) -> Op {
    let jail = dice.pick(&JAILS);
    let (known, running) = (world.block(jail).is_some(), world.running(jail).is_some());
    let dying = world.jails.iter().any(|j| j.name == jail && j.dying);
    let leaked = !running && world.mounts_below(&path(jail)).next().is_some();
    let unit = unit_of(dice, world, jail);
    if dying && dice.one_in(6) {
        return Op::LetGo(jail);
    }
    let clone = |dice: &mut Dice| {
        let id = match dice.below(10) {
            0..6 => Some(IDS[JAILS.iter().position(|j| *j == jail).unwrap_or(0)]),
            6 => Some(101),
            7 => Some(dice.pick(&IDS)),
            _ => None,
        };
        Op::Clone(jail, id)
    };
    match (known, running) {
        (false, false) => match dice.below(20) {
            0..13 => clone(dice),
            13..16 => Op::Destroy(jail, dice.one_in(2)),
            16 => Op::Start(jail, None),
            17 => Op::Sweep(jail, dice.one_in(2).then_some(unit)),
            18 => Op::Doctor,
            _ => Op::List,
        },
        (_, true) => match dice.below(26) {
            0..6 => Op::Stop(jail, Stopped::Plainly),
            6..10 => Op::Stop(jail, Stopped::Held),
            10..12 => Op::Stop(jail, Stopped::Refused),
            12 => Op::Restart(jail),
            13 => Op::Cleanup(jail),
            14..18 => Op::Remove(jail, dice.one_in(2)),
            18 => Op::Start(jail, None),
            19 => Op::Sweep(jail, dice.one_in(2).then_some(unit)),
            20 => Op::Down(jail, unit),
            21 => Op::Up(jail, unit),
            22 => Op::Destroy(jail, true),
            23 => Op::Destroy(jail, false),
            24 => Op::Doctor,
            _ => clone(dice),
        },
        (true, false) => match dice.below(if leaked { 34 } else { 30 }) {
            0..10 => Op::Start(jail, None),
            10..17 => Op::Start(jail, Some(dice.pick(&FAULTS))),
            17 => Op::Restart(jail),
            18 => Op::Cleanup(jail),
            19 => Op::Stop(jail, Stopped::Plainly),
            20..22 => Op::Up(jail, unit),
            22 => Op::Down(jail, unit),
            23..26 => Op::Destroy(jail, dice.one_in(2)),
            26 => Op::Remove(jail, false),
            27 => Op::List,
            28 => clone(dice),
            29 => Op::Doctor,
            30..32 => Op::Doctor,
            _ => Op::Sweep(jail, dice.one_in(2).then_some(unit)),
        },
    }
}

/// Two or three at once: of different jails, or of one.
fn together(dice: &mut Dice, world: &World) -> Op {
    let fit = |op: &Op| !matches!(op, Op::Remove(_, true) | Op::LetGo(_) | Op::Stop(_, Stopped::Held));
    let one = |dice: &mut Dice| loop {
        let op = single(dice, world);
        if fit(&op) {
            break op;
        }
    };
    if dice.one_in(3) {
        // Rather of one that there is.
        let known: Vec<&'static str> = JAILS.into_iter().filter(|j| world.block(j).is_some()).collect();
        let jail = if known.is_empty() || dice.one_in(6) { dice.pick(&JAILS) } else { dice.pick(&known) };
        let unit = unit_of(dice, world, jail);
        let (start, stop) = (Op::Start(jail, None), Op::Stop(jail, Stopped::Plainly));
        let failing = Op::Start(jail, Some(dice.pick(&FAULTS)));
        let (sweep, clear) = (Op::Sweep(jail, None), Op::Sweep(jail, Some(unit)));
        let (up, down) = (Op::Up(jail, unit), Op::Down(jail, unit));
        let (clone, destroy) = (Op::Clone(jail, None), Op::Destroy(jail, true));
        let same = match world.running(jail).is_some() {
            false => vec![
                (&start, &start),
                (&start, &failing),
                (&start, &stop),
                (&start, &sweep),
                (&start, &clear),
                (&start, &destroy),
                (&start, &Op::Doctor),
                (&start, &up),
                (&start, &down),
                (&up, &up),
                (&up, &down),
                (&up, &sweep),
                (&failing, &sweep),
                (&clone, &clone),
                (&clone, &destroy),
                (&destroy, &destroy),
                (&Op::Doctor, &clone),
                (&Op::Doctor, &destroy),
                (&Op::Doctor, &sweep),
            ],
            true => vec![
                (&start, &stop),
                (&stop, &stop),
                (&stop, &sweep),
                (&stop, &down),
                (&stop, &Op::Doctor),
                (&stop, &destroy),
                (&destroy, &Op::Doctor),
            ],
        };
        let at = dice.below(same.len() as u64) as usize;
        return Op::Together(vec![same[at].0.clone(), same[at].1.clone()]);
    }
    if dice.one_in(6) {
        let mut free = JAILS.iter().copied().filter(|j| world.block(j).is_none());
        if let (Some(first), Some(second)) = (free.next(), free.next()) {
            return Op::Together(vec![Op::Clone(first, None), Op::Clone(second, None)]);
        }
    }
    let mut ops = vec![one(dice)];
    let most = if dice.one_in(3) { 3 } else { 2 };
    for _ in 0..12 {
        if ops.len() == most {
            break;
        }
        let op = one(dice);
        // Each of another jail; of those about none, one of a kind.
        let alike = |o: &Op| {
            o.jail().is_some() && o.jail() == op.jail() || o.kind() == op.kind() && op.jail().is_none()
        };
        if !ops.iter().any(alike) {
            ops.push(op);
        }
    }
    Op::Together(ops)
}

fn foreign(dice: &mut Dice, world: &World) -> Foreign {
    let jail = dice.pick(&JAILS);
    let unit = match dice.below(8) {
        0 => 50,
        1 => dice.pick(&IDS),
        _ => unit_of(dice, world, jail),
    };
    // Broken configurations keep everything from working, so mend them soon.
    if world.blocks().is_none() && !dice.one_in(4) {
        let broken = JAILS.iter().find(|j| world.files.get(&conf(j)) == Some(&Node::File(BROKEN.into())));
        return Foreign::RemoveConf(broken.unwrap_or(&jail));
    }
    // And what has no place there.
    if dice.one_in(3) {
        let there: Vec<&'static str> = JAILS
            .into_iter()
            .filter(|j| world.block(j).is_some() && !world.files.contains_key(&fstab(j)))
            .collect();
        if let Some(jail) = there.first() {
            return Foreign::MendFstab(jail);
        }
        let full = |j: &&'static str| world.files.contains_key(&format!("{}/theirs", path(j)));
        if let Some(jail) = JAILS.into_iter().find(full) {
            return Foreign::EmptyPath(jail);
        }
        let odd = |j: &&'static str| world.whose(unit_of(&mut Dice::new(0), world, j), j) == Whose::Foreign;
        if let Some(jail) = JAILS.into_iter().find(odd) {
            return Foreign::DestroyPair(unit_of(dice, world, jail));
        }
        let stays = |j: &&'static str| {
            world.running(j).is_none()
                && world.mounts.iter().any(|m| is_below(&m.on, &path(j)) || m.on == format!("/mnt/{j}"))
        };
        if let Some(jail) = JAILS.into_iter().find(stays) {
            return Foreign::Unmount(jail, dice.below(8) as u8);
        }
    }
    match dice.below(27) {
        0..3 => {
            let made = match dice.below(7) {
                0 => Made::Fresh,
                1 => Made::Up,
                2 => Made::Member,
                3 => Made::Tagged(dice.pick(&JAILS)),
                4 => Made::Words,
                5 => Made::Described(dice.pick(&JAILS)),
                _ => Made::Grouped,
            };
            Foreign::MakePair(unit, made)
        }
        3 => Foreign::Describe(unit, dice.pick(&[None, Some("jail:db"), Some("jail:web"), Some("uplink")])),
        4 => Foreign::DestroyPair(unit),
        5 => Foreign::DestroyInside(jail),
        6 => Foreign::DescribeInside(jail),
        7 => Foreign::LeaveBridge(unit),
        8 => Foreign::JoinOther(unit),
        9..12 => {
            use Mounted::*;
            let what = [NullfsInside, NfsInside, TmpfsInside, TmpfsOnPath, ContainerElsewhere, Neighbour];
            Foreign::Mount(jail, dice.pick(&what))
        }
        12..14 => Foreign::Unmount(jail, dice.below(8) as u8),
        14 => Foreign::RemoveConf(jail),
        15 => Foreign::EditId(jail, dice.pick(&IDS)),
        16 => Foreign::AddBlock(jail),
        17 => Foreign::BreakConf(jail),
        18 => Foreign::RemoveFstab(jail),
        19 => Foreign::SpoilFstab(jail),
        20 => Foreign::AddMount(jail),
        21 => Foreign::MakeContainer(jail, dice.one_in(2)),
        22 => Foreign::RemoveContainer(jail),
        23 => Foreign::Work(jail),
        24 => Foreign::FillPath(jail),
        25 => Foreign::EmptyPath(jail),
        _ => Foreign::RemovePath(jail),
    }
}
