//! What libFuzzer is given to begin with, and all that it found worth keeping,
//! on every run of the tests. `make fuzz` looks for more.

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

/// Runs everything in the corpus of one target.
fn replay(target: &str) {
    let mut files: Vec<_> = fs::read_dir(corpus().join(target)).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{target}: hardly anything to run");
    for file in files {
        let input = fs::read(&file).unwrap();
        if let Err(panic) = std::panic::catch_unwind(|| fuzz::run(target, &input)) {
            eprintln!("{}", file.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn every_target_has_a_corpus() {
    let targets: BTreeSet<_> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names = |directory: &Path| -> BTreeSet<String> {
        fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names(&corpus()), targets);
    let programs: BTreeSet<_> = targets.iter().map(|t| format!("{t}.rs")).collect();
    assert_eq!(names(&corpus().with_file_name("targets")), programs);
}

macro_rules! replays {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target));
        })*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!([$(stringify!($target)),*], fuzz::TARGETS.map(|(name, _)| name));
        }
    };
}

replays!(archive arguments facts fstab jailconf links manifest mtree names quoting settings tar unpack zfs);

/// As long as the largest input that libFuzzer makes.
const LONG: usize = 64 << 10;

/// Long inputs of one thing over and over: where the time taken, or the memory,
/// grows with the square of the length, this takes minutes instead of a blink.
#[test]
fn nothing_takes_its_time() {
    let repeated = |piece: &str| piece.repeat(LONG / piece.len());
    let numbered = |piece: &str| {
        let mut text = String::new();
        let mut number = 0;
        while text.len() < LONG {
            text += &piece.replace('@', &number.to_string());
            number += 1;
        }
        text
    };
    let halves = |one: &str, other: &str| {
        let (mut one, mut other) = (numbered(one), numbered(other));
        one.truncate(one[..LONG / 2].rfind(';').unwrap_or(LONG / 2) + 1);
        other.truncate(other[..LONG / 2].rfind('}').unwrap_or(LONG / 2) + 1);
        one + &other
    };
    let line = |name: &str| format!("-rw-r--r-- 0 r w 1 Nov 23 14:02 {name}");
    for (target, input) in [
        ("archive", line(&repeated("a/"))),
        ("archive", line(&repeated("a/../"))),
        ("archive", line(&repeated(" -> "))),
        ("archive", format!("l{}", line(&repeated(" -> ")))),
        ("archive", repeated(&format!("{}\n", line(&"a/".repeat(400))))),
        ("archive", repeated(" ")),
        ("arguments", format!("\x06{}", repeated("-n\0"))),
        ("arguments", format!("\x06-{}", repeated("v"))),
        ("arguments", format!("\x03{}", repeated("-m/a:/b\0"))),
        ("arguments", format!("\x02{}", repeated("-ta\0"))),
        ("facts", numbered("a@=\"b\"\n")),
        ("facts", repeated("a ")),
        ("facts", repeated("a=")),
        ("fstab", repeated("/a /b c d\n")),
        ("fstab", repeated("\\040")),
        ("fstab", format!("/a:/b:{}", repeated("x,"))),
        ("fstab", repeated(",")),
        ("fstab", repeated(":")),
        ("jailconf", repeated("{")),
        ("jailconf", repeated("a{")),
        ("jailconf", repeated("a{}")),
        ("jailconf", numbered("a@{}")),
        ("jailconf", numbered("a@;")),
        ("jailconf", numbered("a@=$a;")),
        ("jailconf", format!("j{{{}}}", numbered("a@=$b;"))),
        ("jailconf", format!("j{{{}}}", repeated("a+=b;"))),
        ("jailconf", format!("j{{a={}b;}}", repeated("b,"))),
        ("jailconf", format!("j{{$b=c;a=\"{}\";}}", repeated("$b"))),
        (
            "jailconf",
            format!(
                "j{{$b={}c;a={}d;}}",
                repeated("b,").split_off(LONG / 2),
                repeated("$b,").split_off(LONG / 2)
            ),
        ),
        ("jailconf", format!("j{{{}}}", numbered("$a@=b;"))),
        ("jailconf", halves("a@;", "j@{}")),
        ("jailconf", halves("a@;", "*{}")),
        ("jailconf", halves("a@;", "*.j@{}")),
        (
            "jailconf",
            format!(
                "j{{{}}}",
                (0..LONG / 12).rev().map(|n| format!("$v{n}=$v{};", n + 1)).collect::<String>()
            ),
        ),
        (
            "jailconf",
            format!("j{{{}}}", (0..LONG / 12).map(|n| format!("$v{n}=$v{};", n + 1)).collect::<String>()),
        ),
        ("jailconf", repeated("\"")),
        ("jailconf", repeated("'")),
        ("jailconf", repeated("/*")),
        ("jailconf", repeated("/**/")),
        ("jailconf", repeated("#\n")),
        ("jailconf", repeated("\\")),
        ("jailconf", repeated("${")),
        ("jailconf", repeated("\"${a")),
        ("jailconf", format!("j{{a=\"{}", repeated("${a\\\\\" }"))),
        ("jailconf", format!("j{{a={};}}", repeated("'a'"))),
        ("jailconf", format!("j{{a={};}}", repeated("\"a$b\""))),
        ("jailconf", format!(".include \"{}\";", repeated("["))),
        ("jailconf", format!(".include \"{}\";", repeated("[a"))),
        ("jailconf", format!(".include \"/etc/{}b\";", repeated("*"))),
        ("jailconf", format!(".include \"/etc/{}b\";", repeated("*a"))),
        ("jailconf", repeated("a.")),
        (
            "jailconf",
            format!("{}{{}}{}{{}}", repeated("*.").split_off(LONG / 2), repeated("a.").split_off(LONG / 2)),
        ),
        (
            "jailconf",
            format!("{};{};j{{}}", repeated("a.").split_off(LONG / 2), repeated("a.no").split_off(LONG / 2)),
        ),
        ("links", format!("\0{}", repeated("../"))),
        ("links", format!("\0{}", repeated("a/"))),
        ("links", format!("\0{}{}", repeated("a/").split_off(LONG / 2), repeated("../").split_off(LONG / 2))),
        ("links", format!("\0{}", repeated("../etc/"))),
        ("manifest", numbered(&format!("@\t{}\t1\n", "0".repeat(64)))),
        ("manifest", repeated("\t")),
        ("mtree", repeated("a\n")),
        ("mtree", repeated("a/")),
        ("mtree", repeated("\\\n")),
        ("mtree", repeated("..\n")),
        ("mtree", repeated("type=dir ")),
        ("names", repeated("1")),
        ("names", repeated("a")),
        ("names", repeated("z/")),
        ("names", repeated(":")),
        ("names", repeated("-p1")),
        ("quoting", repeated("'")),
        ("quoting", repeated("\\")),
        ("quoting", repeated("\u{1}")),
        ("quoting", repeated("$")),
        ("settings", repeated("bsd_ver=14.5\n")),
        ("settings", repeated("\n")),
        ("settings", repeated("#")),
        ("settings", repeated("\\\n")),
        ("settings", format!("jail_dir={}", repeated("/a"))),
        ("settings", format!("jail_dir={}", repeated("\"/a\""))),
        ("settings", repeated("jail_dir=\"/a")),
        ("zfs", numbered("z/@\torigin\t-\t-\n")),
        ("zfs", repeated("z\tused\t1\t-\nz\torigin\ty\t-\n")),
        ("zfs", repeated("\t")),
    ] {
        fuzz::run(target, input.as_bytes());
    }
}
