//! Texts that two sides changed: three-way merging by lines, and unified diffs.
//!
//! diffy does both, in the manner of diff3(1) and `git merge-file`. Base's own
//! diff3(1) would be a process for every file, and differs between releases.

use diffy::{ConflictStyle, DiffOptions, IncompleteHunkStyle, MergeOptions};

/// More bytes than this are not merged line by line.
pub const LARGEST: usize = 1 << 20;

/// Nor are more lines: two texts with nothing in common take time by the square
/// of their lines, and one of them is the jail's.
const MOST_LINES: usize = 20_000;

/// How long the lines are that mark a conflict, unless a text has such lines.
const MARKER: usize = 7;

/// One of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Side {
    /// What the jail has.
    Ours,
    /// What the release brings.
    Theirs,
}

/// What became of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MergedText {
    /// Both sides' changes are in it.
    Clean(Vec<u8>),
    /// Both sides changed the same lines.
    Conflict(TextConflict),
}

/// A text with conflicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextConflict {
    marked: Vec<u8>,
    marker: usize,
    /// Whether each side's last line is complete.
    complete: [bool; 2],
    note: Option<String>,
}

/// Whether contents can be merged by lines.
pub fn is_text(contents: &[u8]) -> bool {
    contents.len() <= LARGEST
        && !contents.contains(&0)
        && contents.iter().filter(|b| **b == b'\n').count() <= MOST_LINES
}

/// Merges what both sides made of the same ancestor.
pub fn merge(ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> MergedText {
    // A marker must differ from the lines of the texts.
    let marker = TextConflict::marker_for([ancestor, ours, theirs].into_iter().map(Some));
    let mut options = MergeOptions::new();
    options.set_conflict_marker_length(marker);
    options.set_conflict_style(ConflictStyle::Diff3);
    options.set_incomplete_hunk_style(IncompleteHunkStyle::Git);
    match options.merge_bytes(ancestor, ours, theirs) {
        Ok(text) => MergedText::Clean(text),
        Err(marked) => {
            let complete = [ours, theirs].map(|text| text.is_empty() || text.ends_with(b"\n"));
            MergedText::Conflict(TextConflict { marked, marker, complete, note: None })
        }
    }
}

/// The longest run of a marker's character that begins a line.
fn longest_mark(text: &[u8]) -> usize {
    let run = |line: &[u8]| match line.first() {
        Some(c @ (b'<' | b'|' | b'=' | b'>')) => line.iter().take_while(|b| *b == c).count(),
        _ => 0,
    };
    text.split(|b| *b == b'\n').map(run).max().unwrap_or_default()
}

/// Where a line of a marked text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Agreed,
    Of(Side),
    Ancestor,
}

impl TextConflict {
    /// The length of markers that no line of a text looks like.
    pub fn marker_for<'a>(texts: impl Iterator<Item = Option<&'a [u8]>>) -> usize {
        texts.flatten().map(longest_mark).max().map_or(MARKER, |longest| MARKER.max(longest + 1))
    }

    /// The lines that begin a conflict, part its sides, and end it.
    pub fn marks(marker: usize) -> [Vec<u8>; 3] {
        [(b'<', " ours"), (b'=', ""), (b'>', " theirs")]
            .map(|(mark, label)| [vec![mark; marker], label.into()].concat())
    }

    /// A text of complete lines that has such markers.
    pub fn of_lines(marked: Vec<u8>, marker: usize) -> TextConflict {
        TextConflict { marked, marker, complete: [true, true], note: None }
    }

    /// The same, with words on what it is about.
    pub fn with_note(self, note: String) -> TextConflict {
        TextConflict { note: Some(note), ..self }
    }

    /// What it is about, if there is more to say than which lines.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The text with conflict markers, for an editor.
    pub fn marked(&self) -> &[u8] {
        &self.marked
    }

    /// Whether an edited text has conflict markers left.
    pub fn is_marked(&self, edited: &[u8]) -> bool {
        edited.split_inclusive(|b| *b == b'\n').any(|line| self.mark(line).is_some())
    }

    /// How many places conflict.
    pub fn places(&self) -> usize {
        let begins = |line: &&[u8]| self.mark(line) == Some(b'<');
        self.marked.split_inclusive(|b| *b == b'\n').filter(begins).count()
    }

    /// The text with every conflict decided for one side.
    pub fn decided(&self, side: Side) -> Vec<u8> {
        let (mut text, mut part) = (Vec::new(), Part::Agreed);
        let mut last = Part::Agreed;
        for line in self.marked.split_inclusive(|b| *b == b'\n') {
            match self.mark(line) {
                Some(b'<') => part = Part::Of(Side::Ours),
                Some(b'|') => part = Part::Ancestor,
                Some(b'=') => part = Part::Of(Side::Theirs),
                Some(_) => part = Part::Agreed,
                None if part == Part::Agreed || part == Part::Of(side) => {
                    text.extend_from_slice(line);
                    last = part;
                }
                None => {}
            }
        }
        // The marker behind an incomplete line made it a complete one.
        let complete = self.complete[usize::from(side == Side::Theirs)];
        let at_the_end = self.marked.split_inclusive(|b| *b == b'\n').next_back();
        let ends_in_conflict = at_the_end.is_some_and(|line| self.mark(line) == Some(b'>'));
        if ends_in_conflict && !complete && last == Part::Of(side) && text.ends_with(b"\n") {
            text.pop();
        }
        text
    }

    /// The character of a line that is a marker.
    fn mark(&self, line: &[u8]) -> Option<u8> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let first = *line.first()?;
        let label: &[u8] = match first {
            b'<' => b" ours",
            b'|' => b" original",
            b'=' => b"",
            b'>' => b" theirs",
            _ => return None,
        };
        let run = line.iter().take_while(|b| **b == first).count();
        (run == self.marker && line[run..] == *label).then_some(first)
    }
}

/// A unified diff under the given names; empty when nothing differs.
pub fn unified(names: [&str; 2], old: &[u8], new: &[u8]) -> Vec<u8> {
    if old == new {
        return Vec::new();
    }
    let mut options = DiffOptions::new();
    options.set_original_filename(names[0].to_owned()).set_modified_filename(names[1].to_owned());
    options.create_patch_bytes(old, new).to_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn conflict(ancestor: &str, ours: &str, theirs: &str) -> TextConflict {
        match merge(ancestor.as_bytes(), ours.as_bytes(), theirs.as_bytes()) {
            MergedText::Conflict(conflict) => conflict,
            MergedText::Clean(text) => panic!("{}", String::from_utf8_lossy(&text)),
        }
    }

    #[test]
    fn changes_apart_from_each_other() {
        let merged = merge(b"a\nb\nc\nd\ne\n", b"A\nb\nc\nd\ne\n", b"a\nb\nc\nd\nE\n");
        assert_eq!(merged, MergedText::Clean(b"A\nb\nc\nd\nE\n".to_vec()));
    }

    #[test]
    fn the_same_lines() {
        let both = conflict("x=1\ny\n", "x=2\ny\n", "x=3\ny\nz\n");
        assert_eq!(both.places(), 1);
        assert_eq!(both.decided(Side::Ours), b"x=2\ny\nz\n");
        assert_eq!(both.decided(Side::Theirs), b"x=3\ny\nz\n");
        assert!(both.is_marked(both.marked()) && !both.is_marked(b"x=2\n====\n"));
    }

    #[test]
    fn incomplete_last_lines() {
        let both = conflict("a", "b", "c\n");
        assert_eq!(both.decided(Side::Ours), b"b");
        assert_eq!(both.decided(Side::Theirs), b"c\n");
        let both = conflict("a\n", "b", "c");
        assert_eq!(both.decided(Side::Ours), b"b");
        assert_eq!(both.decided(Side::Theirs), b"c");
    }

    #[test]
    fn texts_with_lines_like_markers() {
        let both = conflict("=======\nx\n", "=======\ny\n<<<<<<< ours\n", "=======\nz\n");
        assert_eq!(both.decided(Side::Ours), b"=======\ny\n<<<<<<< ours\n");
        assert_eq!(both.decided(Side::Theirs), b"=======\nz\n");
    }

    #[test]
    fn what_is_no_text() {
        assert!(is_text(b"") && is_text("ä\n".as_bytes()) && is_text(b"\xff\n"));
        assert!(!is_text(b"a\0b") && !is_text(&[b'x'; LARGEST + 1]) && !is_text(&[b'\n'; MOST_LINES + 1]));
    }

    #[test]
    fn differences() {
        let patch_text = unified(["a/x", "b/x"], b"1\n2\n", b"1\n3\n");
        assert_eq!(String::from_utf8(patch_text).unwrap(), "--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n 1\n-2\n+3\n");
        assert!(unified(["a", "b"], b"1\n", b"1\n").is_empty());
    }

    /// A text of few different lines, so that sides meet.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let line = prop::sample::select(vec!["a\n", "b\n", "c\n", "d\n", "\n", "=======\n"]);
        (prop::collection::vec(line, 0..12), prop::option::of(prop::sample::select(vec!["a", "e"])))
            .prop_map(|(lines, last)| (lines.concat() + last.unwrap_or_default()).into_bytes())
    }

    proptest! {
        #[test]
        fn laws(ancestor in text(), ours in text(), theirs in text()) {
            prop_assert_eq!(merge(&ancestor, &ours, &ancestor), MergedText::Clean(ours.clone()));
            prop_assert_eq!(merge(&ancestor, &ancestor, &theirs), MergedText::Clean(theirs.clone()));
            prop_assert_eq!(merge(&ancestor, &ours, &ours), MergedText::Clean(ours.clone()));
            if let MergedText::Conflict(conflict) = merge(&ancestor, &ours, &theirs) {
                prop_assert!(conflict.places() > 0);
                for side in [Side::Ours, Side::Theirs] {
                    prop_assert!(!conflict.is_marked(&conflict.decided(side)));
                }
            }
        }

        #[test]
        fn a_diff_leads_there(old in text(), new in text()) {
            let patch_text = unified(["a", "b"], &old, &new);
            prop_assert_eq!(patch_text.is_empty(), old == new);
            if old != new {
                let patch = diffy::Patch::from_bytes(&patch_text).unwrap();
                prop_assert_eq!(diffy::apply_bytes(&old, &patch).unwrap(), new);
            }
        }
    }

    /// `git merge-file` as an oracle, where there is one: where it merges without
    /// a conflict, so do we, and with the same result.
    #[test]
    fn as_git_merges() {
        if Command::new("git").arg("--version").output().is_err() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
        // Edits of a text whose lines all differ leave only one way to see them.
        let edits = prop::collection::vec((0..30_usize, 0..4_u8), 0..4);
        let apply = |edits: &[(usize, u8)], who: &str| {
            let mut lines: Vec<String> = (0..30).map(|n| format!("line {n}\n")).collect();
            for (at, what) in edits {
                match what {
                    0 => lines[*at].clear(),
                    1 => lines[*at] = format!("{who} {at}\n"),
                    2 => lines[*at].push_str(&format!("{who} behind {at}\n")),
                    _ => lines[*at] = format!("both {at}\n"),
                }
            }
            lines.concat().into_bytes()
        };
        runner
            .run(&(edits.clone(), edits), |(ours, theirs)| {
                let texts = [apply(&[], ""), apply(&ours, "ours"), apply(&theirs, "theirs")];
                let file = |name: &str| dir.path().join(name);
                for (name, text) in ["a", "o", "t"].iter().zip(&texts) {
                    std::fs::write(file(name), text).unwrap();
                }
                let git = |more: &[&str]| {
                    let mut command = Command::new("git");
                    command.args(["merge-file", "-p", "-q"]).args(more);
                    command.args([file("o"), file("a"), file("t")]).output().unwrap()
                };
                let plain = git(&[]);
                match merge(&texts[0], &texts[1], &texts[2]) {
                    MergedText::Clean(text) => {
                        prop_assert!(plain.status.success());
                        prop_assert_eq!(text, plain.stdout);
                    }
                    MergedText::Conflict(conflict) => {
                        prop_assert!(!plain.status.success());
                        prop_assert_eq!(conflict.decided(Side::Ours), git(&["--ours"]).stdout);
                        prop_assert_eq!(conflict.decided(Side::Theirs), git(&["--theirs"]).stdout);
                    }
                }
                Ok(())
            })
            .unwrap();
    }
}
