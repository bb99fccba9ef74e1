//! What trees cost: copying and comparing one against tar(1) and diff(1), and
//! how time and memory grow with the number of entries.

use super::basetree::{self, Certificates};
use super::{fresh, median, peak, row, timed};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const CHILD: &str = "--tree";

/// What a user would run for a verified copy; diff(1) sees no owners, modes,
/// times, flags or hard links.
const THEIRS: &str = "mkdir \"$1\" && tar -C \"$0\" -cf - . | tar -C \"$1\" -xpf - && \
                      diff -r --no-dereference \"$0\" \"$1\"";

/// Whether this process was started only to work on a tree: `--tree copy FROM
/// TO`, `--tree remove TREE`. If so, that is done. To be asked first of all.
pub fn child() -> bool {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_none_or(|a| a != CHILD) {
        return false;
    }
    let tree = Path::new(&arguments[2]);
    if arguments[1] == "remove" {
        thinjail::system::tree::remove(tree).expect("remove");
        return true;
    }
    let to = Path::new(&arguments[3]);
    thinjail::system::tree::copy(tree, to).expect("copy");
    assert_eq!(thinjail::system::tree::difference(tree, to).expect("compare"), None);
    true
}

fn ours(job: &str, trees: &[&Path]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.arg(CHILD).arg(job).args(trees);
    command
}

/// Measures everything and prints one row for each.
pub fn run() {
    against_tar("the base, 6,900 entries", 9, |tree| {
        fs::create_dir(tree).expect("tree");
        basetree::split(&tree.join("base"), &tree.join("skeleton"), Certificates::Links).expect("tree");
    });
    against_tar("450 MB in 9,000 files", 3, large);
    for (shape, each) in [("in one directory", usize::MAX), ("100 a directory", 100)] {
        let mut first = None;
        for number in [10_000, 30_000, 100_000] {
            growth(number, each, shape, &mut first);
        }
    }
}

fn against_tar(what: &str, runs: usize, build: impl FnOnce(&Path)) {
    let dir = fresh();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    build(&from);
    let copy = ours("copy", &[&from, &to]);
    let mut tar = Command::new("sh");
    tar.args(["-c", THEIRS]).arg(&from).arg(&to);
    let (mut times, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        times.push(timed(&mut ours("copy", &[&from, &to])));
        remove(&to);
        theirs.push(timed(&mut tar));
        remove(&to);
    }
    let memory = peak(&copy);
    remove(&to);
    let their_memory = peak(&tar);
    remove(&to);
    let (time, theirs) = (median(times), median(theirs));
    let ratio = time.as_secs_f64() / theirs.as_secs_f64();
    row(&format!("copy+compare : tar|tar+diff, {what}"), time, theirs, &format!("{ratio:.2}"), &memory);
    println!("{:<54}{:>43}", "  (tar|tar+diff itself)", their_memory);
}

fn remove(tree: &Path) {
    assert!(ours("remove", &[tree]).status().expect("start").success());
}

/// As the files of a base lie: most are small, a few make most of the bytes.
fn large(tree: &Path) {
    let mut block = vec![0u8; 1 << 20];
    let mut state = 1u32;
    block.fill_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    for number in 0..9_000usize {
        let directory = tree.join(format!("d{}", number % 90));
        fs::create_dir_all(&directory).expect("tree");
        let size = match number % 100 {
            0 => 4_000_000 - number * 10,
            1..10 => 80_000 + number,
            _ => 500 + number % 4_000,
        };
        let mut file = File::create(directory.join(number.to_string())).expect("tree");
        for start in (0..size).step_by(block.len()) {
            file.write_all(&block[..block.len().min(size - start)]).expect("tree");
        }
    }
}

/// Copy, comparison and removal, against the same number of entries at the
/// first size.
fn growth(number: usize, each: usize, shape: &str, first: &mut Option<f64>) {
    let dir = fresh();
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    for entry in 0..number {
        let directory = from.join(format!("d{}", entry / each));
        if entry.is_multiple_of(each) {
            fs::create_dir_all(&directory).expect("tree");
        }
        let path = directory.join(format!("a file {entry}"));
        // Every tenth has a second name.
        if entry % 10 == 9 {
            fs::hard_link(directory.join(format!("a file {}", entry - 1)), path).expect("tree");
        } else {
            fs::write(path, entry.to_string()).expect("tree");
        }
    }
    let memory = peak(&ours("copy", &[&from, &to]));
    let remove_memory = peak(&ours("remove", &[&to]));
    let time = timed(&mut ours("copy", &[&from, &to])) + timed(&mut ours("remove", &[&to]));
    let per_entry = time.as_secs_f64() / number as f64;
    let against = *first.get_or_insert(per_entry);
    row(
        &format!("{number} {shape} : linear"),
        time,
        Duration::from_secs_f64(against * number as f64),
        &format!("{:.2}", per_entry / against),
        &format!("{memory}, {remove_memory}"),
    );
}
