//! The README files: what they refer to is there, what they tell to type is
//! understood, and the translation shows the same commands.

use clap::error::ErrorKind;
use std::fs;
use std::path::Path;
use thinjail::commands;
use thinjail::commands::jail_doctor::finding::KINDS;

const LANGUAGES: [&str; 2] = ["README.md", "README.zh-CN.md"];

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
        .unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The lines of commands, without comments and prompts. In front of the first
/// section there is a picture.
fn commands(text: &str) -> Vec<String> {
    let text = text.split_once("\n## ").map_or(text, |(_, sections)| sections);
    let lines = text.lines().filter_map(|l| l.strip_prefix("    "));
    let bare = lines.map(|l| l.split("  #").next().unwrap().trim_end().trim_start_matches("# ").to_owned());
    bare.filter(|l| !l.is_empty()).collect()
}

/// The words of each of our programs that is called in some text.
fn calls(text: &str) -> Vec<Vec<String>> {
    let ours = |word: &&str| commands::all().iter().any(|command| command.get_name() == *word);
    let code = commands(text).into_iter().chain(text.split('`').skip(1).step_by(2).map(str::to_owned));
    code.flat_map(|line| line.split(" && ").map(str::to_owned).collect::<Vec<_>>())
        .filter(|command| command.split_whitespace().next().as_ref().is_some_and(ours))
        .map(|command| command.split_whitespace().map(str::to_owned).collect())
        .collect()
}

#[test]
fn files_that_are_named_exist() {
    for file in
        LANGUAGES.into_iter().chain(["CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/promises.md"])
    {
        let text = read(file);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).parent().unwrap().join(link);
            assert!(link.starts_with("https://") || path.exists(), "{file}: {link}");
        }
        // And makes that are told of.
        let makefile = read("Makefile");
        for target in text.split("`make ").skip(1).filter_map(|rest| rest.split(['`', ' ', ';']).next()) {
            assert!(makefile.contains(&format!("\n{target}:")), "{file}: make {target}");
        }
    }
}

#[test]
fn every_command_is_understood() {
    for file in LANGUAGES {
        let calls = calls(&read(file));
        assert!(calls.len() > 30, "{file}: only {}", calls.len());
        for call in calls.iter().filter(|call| call.len() > 1) {
            let program = commands::all().into_iter().find(|command| command.get_name() == call[0]).unwrap();
            // In running text, operands may be left out, and words may stand for any value.
            let may_be = [
                ErrorKind::DisplayHelp,
                ErrorKind::DisplayVersion,
                ErrorKind::MissingRequiredArgument,
                ErrorKind::ValueValidation,
            ];
            if let Err(error) = program.try_get_matches_from(call) {
                assert!(may_be.contains(&error.kind()), "{file}: {error}");
            }
        }
    }
}

#[test]
fn all_programs_are_told_of() {
    for file in LANGUAGES {
        let text = read(file);
        for program in commands::all() {
            let name = program.get_name();
            assert!(text.contains(&format!("\n| `{name}` | ")), "{file}: {name}");
        }
        assert!(KINDS.len() > 60, "CONTRIBUTING.md says some seventy");
    }
}

#[test]
fn the_translation_has_the_same_commands_and_sections() {
    let [english, chinese] = LANGUAGES.map(read);
    assert_eq!(commands(&english), commands(&chinese));
    let levels = |text: &str| -> Vec<usize> {
        text.lines()
            .filter(|l| l.starts_with('#'))
            .map(|l| l.len() - l.trim_start_matches('#').len())
            .collect()
    };
    assert_eq!(levels(&english), levels(&chinese));
    let code = |text: &str| -> Vec<String> {
        let mut all: Vec<String> = text
            .lines()
            .filter(|l| l.starts_with("### `"))
            .map(|l| l.split('`').nth(1).unwrap().into())
            .collect();
        all.extend(calls(text).into_iter().map(|call| call.join(" ")));
        all.sort();
        all
    };
    assert_eq!(code(&english), code(&chinese));
}
