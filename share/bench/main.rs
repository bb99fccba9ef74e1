//! What the programs cost, as ratios against what a user would run instead,
//! in the same run on the same machine.

mod basetree;
#[cfg(not(target_os = "freebsd"))]
mod list;
#[cfg(not(target_os = "freebsd"))]
mod rebase;
mod tree;

use basetree::Certificates;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
#[cfg(not(target_os = "freebsd"))]
use thinjail::system::{kernel::simulated::Simulated, root::Root};

/// Runs of each command; the median counts.
const RUNS: usize = 15;

fn main() {
    if tree::child() {
        return;
    }
    let mut arguments = std::env::args_os().skip(1);
    // Peak memory of one child: in a process that has no other children.
    if arguments.next().is_some_and(|a| a == "--peak") {
        let mut command = Command::new(arguments.next().expect("a program"));
        let status = command.args(arguments).stdout(Stdio::null()).status().expect("start");
        assert!(status.success(), "{command:?}: {status}");
        println!("{}", peak_of_children());
        return;
    }
    let built = std::env::current_exe().expect("own path");
    let built = built.parent().and_then(Path::parent).expect("target directory").to_owned();
    println!("medians, in {}", place().display());
    println!("{:<54}{:>10}{:>10}{:>8}{:>15}", "", "ours", "theirs", "ratio", "peak KiB");
    #[cfg(not(target_os = "freebsd"))]
    epair(&built);
    fixcerts(&built);
    growth(&built);
    clone(&built);
    #[cfg(not(target_os = "freebsd"))]
    list::run(&built);
    #[cfg(not(target_os = "freebsd"))]
    rebase::run(&built);
    tree::run();
}

#[allow(unsafe_code)]
fn peak_of_children() -> i64 {
    // SAFETY: getrusage(2) fills the structure it is given.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage);
        usage
    };
    usage.ru_maxrss
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Runs `command` once and gives its time; it must succeed.
fn timed(command: &mut Command) -> Duration {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("start");
    let time = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    time
}

fn peak(command: &Command) -> String {
    let mut wrapped = Command::new(std::env::current_exe().expect("own path"));
    wrapped.arg("--peak").arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let output = wrapped.output().expect("start");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn row(what: &str, ours: Duration, theirs: Duration, by: &str, peak: &str) {
    let ms = |d: Duration| format!("{:.2} ms", d.as_secs_f64() * 1e3);
    println!("{what:<54}{:>10}{:>10}{by:>8}{peak:>15}", ms(ours), ms(theirs));
}

/// Where to work: in memory where the system has such a place, so that it is
/// the programs that are measured and not a disk and its journal. TMPDIR names
/// another.
fn place() -> PathBuf {
    let memory = || Some(PathBuf::from("/dev/shm")).filter(|p| p.is_dir());
    std::env::var_os("TMPDIR").map(PathBuf::from).or_else(memory).unwrap_or_else(std::env::temp_dir)
}

fn fresh() -> tempfile::TempDir {
    tempfile::tempdir_in(place()).expect("a temporary directory")
}

/// A hook as a whole process against a process that does nothing; on the
/// simulated kernel.
#[cfg(not(target_os = "freebsd"))]
fn epair(built: &Path) {
    let dir = fresh();
    let root = Root::alternate(dir.path()).expect("root");
    Simulated::new(&root)
        .change(|s| {
            s.create("bridge0")?;
            Ok(())
        })
        .expect("a bridge");
    let command = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(built.join(program));
        command.args(arguments).env("THINJAIL_ROOT", dir.path());
        command
    };
    let up = ["-b", "bridge0", "web", "epair5"];
    let (mut ups, mut downs, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RUNS * 10 {
        ups.push(timed(&mut command("jail-epair-up", &up)));
        downs.push(timed(&mut command("jail-epair-down", &["web", "epair5"])));
        nothing.push(timed(&mut Command::new("/usr/bin/true")));
    }
    let nothing = median(nothing);
    for (what, times, arguments) in
        [("jail-epair-up", ups, &up[..]), ("jail-epair-down", downs, &["web", "epair5"][..])]
    {
        let time = median(times);
        let ratio = time.as_secs_f64() / nothing.as_secs_f64();
        let peak = peak(&command(what, arguments));
        row(&format!("{what} : /usr/bin/true"), time, nothing, &format!("{ratio:.2}"), &peak);
    }
}

/// The links of FreeBSD 14 against the loop that articles print.
fn fixcerts(built: &Path) {
    const LOOP: &str =
        "cd \"$1/etc/ssl\" && for f in certs/* untrusted/*; do ln -sf \"../$(readlink \"$f\")\" \"$f\"; done";
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let mut memory = String::new();
    for run in 0..RUNS.min(7) {
        let dir = fresh();
        let (base, skeleton) =
            (dir.path().join("14.2-RELEASE-base"), dir.path().join("14.2-RELEASE-skeleton"));
        basetree::split(&base, &skeleton, Certificates::Links).expect("tree");
        let mut command = Command::new(built.join("skel-fixcerts"));
        command.arg(&skeleton);
        if run == 0 {
            memory = peak(&command);
            let status = Command::new("sh").args(["-c", LOOP, "sh"]).arg(&skeleton).status().expect("sh");
            assert!(status.success());
            continue;
        }
        ours.push(timed(&mut command));
        theirs.push(timed(Command::new("sh").args(["-c", LOOP, "sh"]).arg(&skeleton)));
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let times = theirs.as_secs_f64() / ours.as_secs_f64();
    row("skel-fixcerts : ln(1) in a loop, 193 links", ours, theirs, &format!("1/{times:.0}"), &memory);
}

fn many_links(dir: &Path, number: usize) -> PathBuf {
    let (base, skeleton) = (dir.join("14.2-RELEASE-base"), dir.join("14.2-RELEASE-skeleton"));
    let certs = skeleton.join("etc/ssl/certs");
    fs::create_dir_all(base.join("usr/share/certs/trusted")).expect("tree");
    fs::create_dir_all(&certs).expect("tree");
    for n in 0..number {
        fs::write(base.join(format!("usr/share/certs/trusted/{n}.pem")), "").expect("tree");
        symlink(format!("../../../usr/share/certs/trusted/{n}.pem"), certs.join(format!("{n}.0")))
            .expect("tree");
    }
    skeleton
}

/// Time and memory from 200 links to 200,000.
fn growth(built: &Path) {
    let mut first: Option<f64> = None;
    for number in [200, 2_000, 20_000, 200_000] {
        let dir = fresh();
        let skeleton = many_links(dir.path(), number);
        let mut command = Command::new(built.join("skel-fixcerts"));
        command.arg(&skeleton);
        let time = timed(&mut command);
        let each = time.as_secs_f64() / number as f64;
        let against = first.get_or_insert(each);
        let dir = fresh();
        let skeleton = many_links(dir.path(), number);
        let memory = peak(Command::new(built.join("skel-fixcerts")).arg(&skeleton));
        let theirs = Duration::from_secs_f64(*against * number as f64);
        row(
            &format!("skel-fixcerts, {number} links : linear"),
            time,
            theirs,
            &format!("{:.2}", each / *against),
            &memory,
        );
    }
}

/// A jail under directory storage against a plain copy of its skeleton.
fn clone(built: &Path) {
    let dir = fresh();
    let root = dir.path();
    let jails = root.join("zdata/jails");
    let templates = jails.join("templates");
    let (base, skeleton) = (templates.join("14.2-RELEASE-base"), templates.join("14.2-RELEASE-skeleton"));
    basetree::split(&base, &skeleton, Certificates::Links).expect("tree");
    // A skeleton with packages in it: what a user's template comes to.
    for n in 0..6_000 {
        let directory = skeleton.join(format!("usr/local/share/p{}", n / 100));
        fs::create_dir_all(&directory).expect("tree");
        fs::write(directory.join(format!("f{n}")), vec![b'x'; 1 + n % 20_000]).expect("tree");
    }
    for directory in ["etc/jail.conf.d", "usr/local/etc"] {
        fs::create_dir_all(root.join(directory)).expect("tree");
    }
    fs::create_dir_all(jails.join("containers")).expect("tree");
    fs::create_dir_all(jails.join("copies")).expect("tree");
    let settings = "jail_dir=/zdata/jails\nbsd_ver=14.2\njail_net=10.0.0.0/16\n";
    fs::write(root.join("usr/local/etc/thinjail.conf"), settings).expect("settings");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let clone = |name: &str| {
        let mut command = Command::new(built.join("jail-clone"));
        command.env("THINJAIL_ROOT", root).arg(name);
        command
    };
    for run in 0..RUNS.min(9) {
        theirs.push(timed(
            Command::new("cp").arg("-a").arg(&skeleton).arg(jails.join(format!("copies/c{run}"))),
        ));
        ours.push(timed(&mut clone(&format!("j{run}"))));
    }
    let memory = peak(&clone("last"));
    let theirs_memory = peak(Command::new("cp").arg("-a").arg(&skeleton).arg(jails.join("copies/last")));
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    row("jail-clone : cp -a, directory storage", ours, theirs, &format!("{ratio:.2}"), &memory);
    println!("{:<54}{:>43}", "  (cp -a itself)", theirs_memory);
}
