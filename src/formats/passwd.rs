//! The tables of users and groups: merged by record, not by line.
//!
//! What a release adds to passwd(5) and group(5) stands next to what a jail
//! adds, so that merging lines would find conflicts where there are none, and
//! would give one number to two users without a word.

use crate::formats::diff::{self, MergedText, Side, TextConflict};
use std::collections::{BTreeMap, BTreeSet};

/// Which table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// master.passwd(5): ten fields, the uid third.
    MasterPasswd,
    /// group(5): four fields, the gid third, and last the members.
    Group,
}

impl Table {
    fn fields(self) -> usize {
        match self {
            Table::MasterPasswd => 10,
            Table::Group => 4,
        }
    }

    /// The field that is a list joined by commas.
    fn list(self) -> Option<usize> {
        (self == Table::Group).then_some(3)
    }
}

/// The field that is the uid or gid.
const NUMBER: usize = 2;

/// A record, by its fields; the first one is the name.
type Record<'a> = Vec<&'a [u8]>;

enum Line<'a> {
    Record(Record<'a>),
    /// A comment, an empty line, or what no record of this table is.
    Other(&'a [u8]),
}

struct Parsed<'a> {
    lines: Vec<Line<'a>>,
    records: BTreeMap<&'a [u8], Record<'a>>,
    others: BTreeSet<&'a [u8]>,
}

/// `None` when a name is listed twice: then records cannot be distinguished.
fn parse(table: Table, text: &[u8]) -> Option<Parsed<'_>> {
    let mut parsed = Parsed { lines: Vec::new(), records: BTreeMap::new(), others: BTreeSet::new() };
    for line in text.split(|b| *b == b'\n') {
        let fields: Record = line.split(|b| *b == b':').collect();
        if line.starts_with(b"#") || fields.len() != table.fields() || fields[0].is_empty() {
            parsed.others.insert(line);
            parsed.lines.push(Line::Other(line));
        } else {
            if parsed.records.insert(fields[0], fields.clone()).is_some() {
                return None;
            }
            parsed.lines.push(Line::Record(fields));
        }
    }
    // What is behind the last newline.
    if text.ends_with(b"\n") || text.is_empty() {
        parsed.lines.pop();
    }
    Some(parsed)
}

/// A record of the result: one, or what each side would have in its place.
enum Outcome {
    One(Vec<u8>),
    Either(Option<Vec<u8>>, Option<Vec<u8>>),
}

/// Merges what the jail and the release made of the same table. `None` when one
/// of them cannot be read as such a table.
pub fn merge(table: Table, ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Option<MergedText> {
    let (a, o, t) = (parse(table, ancestor)?, parse(table, ours)?, parse(table, theirs)?);
    let mut outcomes: Vec<(&[u8], Outcome)> = Vec::new();
    // In the release's order, and what only the jail has behind it.
    for line in &t.lines {
        match line {
            Line::Other(text) => outcomes.push((b"", Outcome::One(text.to_vec()))),
            Line::Record(record) => {
                let name = record[0];
                let outcome = one(table, a.records.get(name), o.records.get(name), Some(record));
                outcomes.extend(outcome.map(|outcome| (name, outcome)));
            }
        }
    }
    for line in &o.lines {
        match line {
            Line::Other(text) if a.others.contains(text) || t.others.contains(text) => {}
            Line::Other(text) => outcomes.push((b"", Outcome::One(text.to_vec()))),
            Line::Record(record) if t.records.contains_key(record[0]) => {}
            Line::Record(record) => {
                let outcome = one(table, a.records.get(record[0]), Some(record), None);
                outcomes.extend(outcome.map(|outcome| (record[0], outcome)));
            }
        }
    }
    let (mine, other) = (apart(&outcomes, Side::Ours, [&o, &t]), apart(&outcomes, Side::Theirs, [&o, &t]));
    Some(match (mine, other) {
        (None, None) => written(&outcomes),
        (mine, other) => {
            let note = mine.as_ref().or(other.as_ref()).map(|(_, note)| note.clone()).unwrap_or_default();
            let text = |side, lines: Option<(Vec<u8>, String)>| {
                lines.map_or_else(|| of_side(&outcomes, side), |(lines, _)| lines)
            };
            match diff::merge(b"", &text(Side::Ours, mine), &text(Side::Theirs, other)) {
                MergedText::Conflict(conflict) => MergedText::Conflict(conflict.with_note(note)),
                clean => clean,
            }
        }
    })
}

fn joined(record: &Record) -> Vec<u8> {
    record.join(&b':')
}

/// One record, changed or not; `None` when it was removed.
fn one(
    table: Table,
    ancestor: Option<&Record>,
    ours: Option<&Record>,
    theirs: Option<&Record>,
) -> Option<Outcome> {
    let side = |record: Option<&Record>| record.map(joined);
    if ours == theirs || ours == ancestor {
        return side(theirs).map(Outcome::One);
    }
    if theirs == ancestor {
        return side(ours).map(Outcome::One);
    }
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return Some(Outcome::Either(side(ours), side(theirs)));
    };
    let (mut with_ours, mut with_theirs) = (Vec::new(), Vec::new());
    for at in 0..table.fields() {
        let before = ancestor.map(|record| record[at]);
        let (mine, other) = (ours[at], theirs[at]);
        let decided = if mine == other || before == Some(mine) {
            Some(other.to_vec())
        } else if before == Some(other) {
            Some(mine.to_vec())
        } else if table.list() == Some(at) {
            Some(list(before.unwrap_or_default(), mine, other))
        } else {
            None
        };
        with_ours.push(decided.clone().unwrap_or_else(|| mine.to_vec()));
        with_theirs.push(decided.unwrap_or_else(|| other.to_vec()));
    }
    let (with_ours, with_theirs) = (with_ours.join(&b':'), with_theirs.join(&b':'));
    Some(if with_ours == with_theirs {
        Outcome::One(with_ours)
    } else {
        Outcome::Either(Some(with_ours), Some(with_theirs))
    })
}

/// Merges lists: what one side added is there, what one side removed is not.
fn list(ancestor: &[u8], ours: &[u8], theirs: &[u8]) -> Vec<u8> {
    let members = |text| <[u8]>::split(text, |b| *b == b',').filter(|m: &&[u8]| !m.is_empty());
    let is_in = |member: &[u8], text| members(text).any(|m| m == member);
    let kept = members(theirs).filter(|m| is_in(m, ours) || !is_in(m, ancestor));
    let added = members(ours).filter(|m| !is_in(m, theirs) && !is_in(m, ancestor));
    kept.chain(added).collect::<Vec<_>>().join(&b',')
}

fn number(record: &[u8]) -> Option<&[u8]> {
    record.split(|b| *b == b':').nth(NUMBER).filter(|n| !n.is_empty())
}

/// The lines of one side's result.
fn lines_of<'a>(outcomes: &'a [(&'a [u8], Outcome)], side: Side) -> Vec<(&'a [u8], Vec<u8>)> {
    let of = |outcome: &Outcome| match (outcome, side) {
        (Outcome::One(line), _) => Some(line.clone()),
        (Outcome::Either(ours, _), Side::Ours) => ours.clone(),
        (Outcome::Either(_, theirs), Side::Theirs) => theirs.clone(),
    };
    outcomes.iter().filter_map(|(name, outcome)| Some((*name, of(outcome)?))).collect()
}

fn of_side(outcomes: &[(&[u8], Outcome)], side: Side) -> Vec<u8> {
    lines_of(outcomes, side).into_iter().flat_map(|(_, line)| [line, vec![b'\n']].concat()).collect()
}

/// The result that one side would have, if two records in it would share a
/// number that they have in neither table: then that side's stands, and what the
/// other side brought is as this side has it. `None` when there is no conflict.
fn apart(outcomes: &[(&[u8], Outcome)], side: Side, tables: [&Parsed; 2]) -> Option<(Vec<u8>, String)> {
    let own = tables[usize::from(side == Side::Theirs)];
    let has = |table: &Parsed, name: &[u8], number: &[u8]| {
        table.records.get(name).is_some_and(|record| record[NUMBER] == number)
    };
    let mut lines = lines_of(outcomes, side);
    let clash = |lines: &[(&[u8], Vec<u8>)]| -> Vec<usize> {
        let mut sharing: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for (at, (_, line)) in lines.iter().enumerate().filter(|(_, (name, _))| !name.is_empty()) {
            sharing.entry(number(line).unwrap_or_default()).or_default().push(at);
        }
        let foreign = |(shared, places): (&[u8], Vec<usize>)| {
            let all = |table: &&Parsed| places.iter().all(|at| has(table, lines[*at].0, shared));
            let fine = shared.is_empty() || tables.iter().any(all);
            places.into_iter().filter(move |at| !fine && !has(own, lines[*at].0, shared)).collect::<Vec<_>>()
        };
        sharing.into_iter().flat_map(foreign).collect()
    };
    let mut note = None;
    loop {
        let mut foreign = clash(&lines);
        if foreign.is_empty() {
            break;
        }
        foreign.sort_unstable();
        note = note.or_else(|| Some(shared_by(&lines, foreign[0])));
        for at in foreign.into_iter().rev() {
            match own.records.get(lines[at].0).map(joined).filter(|line| *line != lines[at].1) {
                Some(line) => lines[at].1 = line,
                None => drop(lines.remove(at)),
            }
        }
    }
    note.map(|note| (lines.into_iter().flat_map(|(_, line)| [line, vec![b'\n']].concat()).collect(), note))
}

/// Who has the number of the record at `at`, in words.
fn shared_by(lines: &[(&[u8], Vec<u8>)], at: usize) -> String {
    let shared = number(&lines[at].1);
    let of = |(name, line): &(&[u8], Vec<u8>)| {
        (!name.is_empty() && number(line) == shared).then(|| String::from_utf8_lossy(name).into_owned())
    };
    let names: Vec<String> = lines.iter().filter_map(of).collect();
    format!(
        "{} would have the number {}",
        names.join(" and "),
        String::from_utf8_lossy(shared.unwrap_or_default())
    )
}

fn written(outcomes: &[(&[u8], Outcome)]) -> MergedText {
    let (mut text, mut conflicts) = (Vec::new(), false);
    let marker = TextConflict::marker_for(outcomes.iter().flat_map(|(_, outcome)| match outcome {
        Outcome::One(line) => [Some(line.as_slice()), None],
        Outcome::Either(ours, theirs) => [ours.as_deref(), theirs.as_deref()],
    }));
    let mut put = |line: &[u8]| {
        text.extend_from_slice(line);
        text.push(b'\n');
    };
    for (_, outcome) in outcomes {
        match outcome {
            Outcome::One(line) => put(line),
            Outcome::Either(ours, theirs) => {
                conflicts = true;
                let [begin, between, end] = TextConflict::marks(marker);
                put(&begin);
                ours.iter().for_each(|line| put(line));
                put(&between);
                theirs.iter().for_each(|line| put(line));
                put(&end);
            }
        }
    }
    if conflicts {
        MergedText::Conflict(TextConflict::of_lines(text, marker))
    } else {
        MergedText::Clean(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn users(ancestor: &str, ours: &str, theirs: &str) -> MergedText {
        let full = |text: &str| text.replace('~', ":0:0::/:/bin/sh").into_bytes();
        merge(Table::MasterPasswd, &full(ancestor), &full(ours), &full(theirs)).unwrap()
    }

    fn clean(merged: MergedText) -> String {
        match merged {
            MergedText::Clean(text) => String::from_utf8(text).unwrap().replace(":0:0::/:/bin/sh", "~"),
            MergedText::Conflict(conflict) => panic!("{}", String::from_utf8_lossy(conflict.marked())),
        }
    }

    fn decided(merged: &MergedText, side: Side) -> String {
        let MergedText::Conflict(conflict) = merged else { panic!("{merged:?}") };
        String::from_utf8(conflict.decided(side)).unwrap().replace(":0:0::/:/bin/sh", "~")
    }

    const BEFORE: &str = "# c\nroot:*:0:0:~\nnobody:*:65534:65534:~\n";

    #[test]
    fn both_add_behind_the_last_one() {
        let ours = format!("{BEFORE}bob:x:1001:1001:~\n");
        let theirs = "# d\nroot:*:0:0:~\n_new:*:845:845:~\nnobody:*:65534:65534:~\n";
        assert_eq!(clean(users(BEFORE, &ours, theirs)), format!("{theirs}bob:x:1001:1001:~\n"));
    }

    #[test]
    fn fields_of_one_record() {
        let ours = BEFORE.replace("root:*:", "root:$6$x:");
        let theirs = BEFORE.replace("root:*:0:0:~", "root:*:0:0::0:0:Charlie:/root:/bin/sh");
        let expect = BEFORE.replace("root:*:0:0:~", "root:$6$x:0:0::0:0:Charlie:/root:/bin/sh");
        assert_eq!(clean(users(BEFORE, &ours, &theirs)), expect);
        // Both another password.
        let merged = users(BEFORE, &ours, &BEFORE.replace("root:*:", "root:!:"));
        assert_eq!(decided(&merged, Side::Ours), ours);
        assert_eq!(decided(&merged, Side::Theirs), BEFORE.replace("root:*:", "root:!:"));
    }

    #[test]
    fn removed() {
        let without = "# c\nroot:*:0:0:~\n";
        assert_eq!(clean(users(BEFORE, without, BEFORE)), without);
        assert_eq!(clean(users(BEFORE, BEFORE, without)), without);
        let changed = BEFORE.replace("nobody:*", "nobody:!");
        let merged = users(BEFORE, &changed, without);
        assert_eq!(decided(&merged, Side::Ours), changed);
        assert_eq!(decided(&merged, Side::Theirs), without);
    }

    #[test]
    fn no_number_twice() {
        let ours = format!("{BEFORE}bob:x:845:845:~\n");
        let theirs = format!("{BEFORE}_new:*:845:845:~\n");
        let merged = users(BEFORE, &ours, &theirs);
        assert_eq!(decided(&merged, Side::Ours), ours);
        assert_eq!(decided(&merged, Side::Theirs), theirs);
        let MergedText::Conflict(conflict) = &merged else { panic!() };
        assert_eq!(conflict.note(), Some("_new and bob would have the number 845"));
        // root and toor share theirs on purpose.
        let toor = format!("{BEFORE}toor:*:0:0:~\n");
        assert_eq!(clean(users(BEFORE, &toor, BEFORE)), toor);
        assert_eq!(clean(users(&toor, &toor, &toor)), toor);
    }

    #[test]
    fn members() {
        let group = |ancestor: &str, ours: &str, theirs: &str| {
            let text = |members: &str| format!("wheel:*:0:{members}\n").into_bytes();
            clean(merge(Table::Group, &text(ancestor), &text(ours), &text(theirs)).unwrap())
        };
        assert_eq!(group("root", "root,bob", "root,_x"), "wheel:*:0:root,_x,bob\n");
        assert_eq!(group("root,a", "root", "root,a,b"), "wheel:*:0:root,b\n");
        assert_eq!(group("", "bob", "_x"), "wheel:*:0:_x,bob\n");
    }

    #[test]
    fn what_is_no_table() {
        let twice = b"a:*:1:\na:*:2:\n";
        assert!(merge(Table::Group, b"", twice, b"").is_none());
        // What no record is, is kept.
        let Some(MergedText::Clean(text)) = merge(Table::Group, b"", b"+\nno record\n", b"# t\n") else {
            panic!()
        };
        assert_eq!(text, b"# t\n+\nno record\n");
    }

    fn table() -> impl Strategy<Value = Vec<u8>> {
        let record = (prop::sample::select(vec!["a", "b", "c", "d", "e"]), 0..6_u8, "[xy]?");
        prop::collection::vec(record, 0..6).prop_map(|records| {
            let mut names = BTreeSet::new();
            let fresh = records.into_iter().filter(|(name, ..)| names.insert(*name));
            fresh
                .map(|(name, gid, member)| format!("{name}:*:{gid}:{member}\n"))
                .collect::<String>()
                .into_bytes()
        })
    }

    proptest! {
        #[test]
        fn laws(ancestor in table(), ours in table(), theirs in table()) {
            let merged = |a: &[u8], o: &[u8], t: &[u8]| merge(Table::Group, a, o, t).unwrap();
            prop_assert_eq!(merged(&ancestor, &ancestor, &theirs), MergedText::Clean(theirs.clone()));
            prop_assert_eq!(merged(&ancestor, &theirs, &theirs), MergedText::Clean(theirs.clone()));
            let texts = match merged(&ancestor, &ours, &theirs) {
                MergedText::Clean(text) => vec![text],
                MergedText::Conflict(c) => vec![c.decided(Side::Ours), c.decided(Side::Theirs)],
            };
            let records = |text: &[u8]| -> Vec<(Vec<u8>, Vec<u8>)> {
                let parsed = parse(Table::Group, text).unwrap();
                parsed.records.values().map(|r| (r[0].to_vec(), r[NUMBER].to_vec())).collect()
            };
            let (of_ours, of_theirs) = (records(&ours), records(&theirs));
            for text in texts {
                let result = records(&text);
                for one in &result {
                    for other in result.iter().filter(|other| other.0 > one.0 && other.1 == one.1) {
                        let both = |all: &[(Vec<u8>, Vec<u8>)]| all.contains(one) && all.contains(other);
                        prop_assert!(both(&of_ours) || both(&of_theirs), "{:?} {:?}", one, other);
                    }
                }
            }
        }
    }
}
