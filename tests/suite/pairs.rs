//! Every pair of programs at once: one is stopped in front of one of its effects,
//! the other runs from its beginning until it ends or waits for a lock, and the
//! first continues. What comes out is what one of the two orders gives, or what one
//! of them alone gives when the other was refused.
//!
//! A sample in `make check`; THINJAIL_FAULTS=all tries more places.
#![cfg(all(feature = "inject", not(target_os = "freebsd")))]

use crate::harness::bin;
use crate::harness::host;
use crate::harness::pristine;
use crate::harness::rules;
use crate::harness::small;
use crate::harness::state;

use bin::bin;
use host::{Host, Storage};
use pristine::Pristine;
use state::{difference, state};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

/// The jail `moved` was moved from 14.5 to 15.0, and has its pair; there are
/// leftovers of a killed run too.
const PROGRAMS: [&str; 15] = [
    "jail-clone new 30",
    "jail-clone other 31",
    "jail-destroy -y web",
    "jail-mkfstab web",
    "jail-rebase -k theirs web 15.0",
    "jail-rebase -y --commit moved",
    "jail-rebase -y --revert moved",
    "skel-fixcerts -a /zdata/jails/containers/web",
    "skel-split 14.5",
    "skel-update -y 14.5",
    "skel-destroy -y --unused",
    "jail-doctor -x",
    "jail-sweep web /zdata/jails/web-nullfs-base epair10",
    "jail-epair-up -b igc0bridge web epair10",
    "jail-epair-down moved epair20",
];

/// Pairs that once went wrong, and where: they are in every sample.
const ONCE_WRONG: [(&str, &str, usize); 1] = [("jail-destroy -y web", "jail-rebase -k theirs web 15.0", 5)];

/// What a killed run left.
const LEFT: &str = ".gone.conf.thinjail";

struct Scene {
    stage: Host,
    pristine: Pristine,
    log: PathBuf,
    /// Where a program that is stopped is waited for.
    wait: PathBuf,
    here: File,
    go: File,
    blocked: File,
}

/// What happens while two programs run.
enum Event {
    Here,
    Blocked,
    First(Output),
    Second(Output),
}

impl Scene {
    fn new(storage: Storage) -> Scene {
        let stage = small::moved_jail(storage);
        stage.ok("jail-epair-up -M none -b igc0bridge moved epair20");
        stage.write(&format!("/etc/jail.conf.d/{LEFT}"), "gone {");
        let beside = |name: &str| stage.root().with_file_name(name);
        let (log, wait) = (beside("log"), beside("wait"));
        fs::create_dir(&wait).unwrap();
        let fifo = |name: &str| {
            let path = wait.join(name);
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
            // For both, so that nobody waits for the other end.
            File::options().read(true).write(true).open(path).unwrap()
        };
        let (here, go, blocked) = (fifo("here"), fifo("go"), fifo("blocked"));
        let pristine = Pristine::of(&stage);
        Scene { stage, pristine, log, wait, here, go, blocked }
    }

    fn restore(&self) {
        self.pristine.restore(&self.stage);
    }

    fn command(&self, line: &str) -> Command {
        let mut words = line.split(' ');
        let mut command = self.stage.prepare(Command::new(bin(words.next().unwrap())));
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn check(&self, line: &str, output: &Output) {
        let words: Vec<&str> = line.split(' ').collect();
        rules::hold(words[0], &words[1..], &output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{line}: {}", output.status);
    }

    fn alone(&self, line: &str) -> Output {
        let output = self.command(line).output().unwrap();
        self.check(line, &output);
        output
    }

    /// How many effects a program has.
    fn effects(&self, line: &str) -> usize {
        self.restore();
        let _ = fs::remove_file(&self.log);
        self.command(line).env("THINJAIL_INJECT_LOG", &self.log).output().unwrap();
        fs::read_to_string(&self.log).unwrap_or_default().lines().count()
    }

    /// Empties a FIFO of what a former run left in it.
    fn drain(&self, name: &str) {
        use std::os::unix::fs::OpenOptionsExt;
        let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut fifo =
            File::options().read(true).write(true).custom_flags(flags).open(self.wait.join(name)).unwrap();
        while fifo.read(&mut [0; 16]).is_ok_and(|got| got > 0) {}
    }

    /// Runs both, the first stopped in front of that effect; what they said.
    fn both(&self, first: &str, at: usize, second: &str) -> [Output; 2] {
        self.restore();
        ["here", "go", "blocked"].iter().for_each(|name| self.drain(name));
        let (tell, events) = channel();
        let listen = |fifo: &File, event: Event, tell: &Sender<Event>| {
            let (mut fifo, tell) = (fifo.try_clone().unwrap(), tell.clone());
            std::thread::spawn(move || {
                fifo.read_exact(&mut [0]).unwrap();
                let _ = tell.send(event);
            })
        };
        let start = |mut command: Command, event: fn(Output) -> Event, tell: &Sender<Event>| {
            let child = command.env("THINJAIL_WAIT", &self.wait).spawn().unwrap();
            let tell = tell.clone();
            std::thread::spawn(move || {
                let _ = tell.send(event(child.wait_with_output().unwrap()));
            });
        };
        let here = listen(&self.here, Event::Here, &tell);
        let blocked = listen(&self.blocked, Event::Blocked, &tell);
        let mut command = self.command(first);
        command.env("THINJAIL_INJECT", format!("wait@{at}"));
        start(command, Event::First, &tell);
        let (mut outputs, mut started, mut stopped) = ([None, None], false, false);
        while outputs.iter().any(Option::is_none) {
            match events.recv().unwrap() {
                Event::Here => stopped = true,
                // It has to wait for the first.
                Event::Blocked => {}
                Event::First(output) => outputs[0] = Some(output),
                Event::Second(output) => outputs[1] = Some(output),
            }
            if !started {
                started = true;
                start(self.command(second), Event::Second, &tell);
            } else if stopped {
                stopped = false;
                (&self.go).write_all(b"x").unwrap();
            }
        }
        // Those that heard nothing.
        for (thread, fifo) in [(here, &self.here), (blocked, &self.blocked)] {
            if !thread.is_finished() {
                let _ = { fifo }.write_all(b"x");
            }
            thread.join().unwrap();
        }
        let [one, two] = outputs.map(Option::unwrap);
        self.check(first, &one);
        self.check(second, &two);
        [one, two]
    }

    /// The state after some programs, one after the other.
    fn after(&self, lines: &[&str]) -> Vec<String> {
        self.restore();
        lines.iter().for_each(|line| drop(self.alone(line)));
        state(&self.stage)
    }

    /// The state, but for leftovers that a doctor clears away, or leaves when
    /// somebody is working.
    fn state(&self, lines: &[&str]) -> Vec<String> {
        let mut now = state(&self.stage);
        if lines.contains(&"jail-doctor -x") {
            now.retain(|line| !line.contains(LEFT));
        }
        now
    }
}

/// One pair, the first stopped at some places; what is wrong.
fn pair(scene: &Scene, first: &str, second: &str, places: &[usize]) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut orders: Vec<(&str, Vec<String>)> = Vec::new();
    for at in places {
        let outputs = scene.both(first, *at, second);
        let told = outputs.map(|o| format!("{} {}", o.status, scene.stage.strip(&o.stderr)));
        let now = scene.state(&[first, second]);
        let mut nearest: Option<String> = None;
        for (order, lines) in [
            ("first, second", &[first, second][..]),
            ("second, first", &[second, first][..]),
            ("first", &[first][..]),
            ("second", &[second][..]),
        ] {
            if !orders.iter().any(|(known, _)| *known == order) {
                let mut after = scene.after(lines);
                if [first, second].contains(&"jail-doctor -x") {
                    after.retain(|line| !line.contains(LEFT));
                }
                orders.push((order, after));
            }
            let (_, expected) = orders.iter().find(|(known, _)| *known == order).unwrap();
            match difference(expected, &now) {
                None => {
                    nearest = None;
                    break;
                }
                Some(d) if nearest.as_ref().is_none_or(|n| d.len() < n.len()) => {
                    nearest = Some(format!("{order}: {d}"));
                }
                Some(_) => {}
            }
        }
        if let Some(nearest) = nearest {
            flaws.push(format!("{first} (stopped at {at}), {second}: {told:?}: {nearest}"));
        }
    }
    flaws
}

#[test]
fn every_pair_of_programs() {
    let all = std::env::var("THINJAIL_FAULTS").is_ok_and(|v| v == "all");
    let mut work = Vec::new();
    for (i, _) in PROGRAMS.iter().enumerate() {
        for (j, _) in PROGRAMS.iter().enumerate() {
            for (k, storage) in [Storage::Directory, Storage::Zfs].into_iter().enumerate() {
                // Of the sample each pair is on one of the two, and stopped once.
                let once = ONCE_WRONG.iter().any(|(a, b, _)| (*a, *b) == (PROGRAMS[i], PROGRAMS[j]));
                if all || once || (i + j) % 2 == k {
                    work.push((i, j, storage));
                }
            }
        }
    }
    let next = AtomicUsize::new(0);
    let flaws = Mutex::new(Vec::new());
    let tried = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get()).min(8);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let scenes = [Storage::Directory, Storage::Zfs].map(|storage| (storage, Scene::new(storage)));
                let effects: Vec<Vec<usize>> = scenes
                    .iter()
                    .map(|(_, scene)| PROGRAMS.iter().map(|line| scene.effects(line)).collect())
                    .collect();
                while let Some((i, j, storage)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let at = scenes.iter().position(|(s, _)| s == storage).unwrap();
                    let count = effects[at][*i].max(1);
                    let places: Vec<usize> = match all {
                        true => (1..=count).step_by(count.div_ceil(12)).collect(),
                        false => vec![(i * 31 + j * 17) % count + 1],
                    };
                    let once = ONCE_WRONG.iter().filter(|(a, b, _)| (*a, *b) == (PROGRAMS[*i], PROGRAMS[*j]));
                    let places: Vec<usize> = places.into_iter().chain(once.map(|(.., at)| *at)).collect();
                    tried.fetch_add(places.len(), Ordering::Relaxed);
                    let found = pair(&scenes[at].1, PROGRAMS[*i], PROGRAMS[*j], &places);
                    flaws.lock().unwrap().extend(found.into_iter().map(|f| format!("{storage:?}: {f}")));
                }
            });
        }
    });
    let flaws = flaws.into_inner().unwrap();
    println!("{} pairs, {} places", work.len(), tried.into_inner());
    assert!(flaws.is_empty(), "{} flaws:\n{}", flaws.len(), flaws.join("\n"));
}
