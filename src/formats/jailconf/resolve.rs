//! From statements to the parameters of one jail, after load_config() and
//! add_param() in config.c.

use super::parse::{Piece, Statement};
use super::{Error, Jail, Position};
use std::collections::{HashMap, VecDeque};

/// The most bytes that substitution may add to the parameters of one jail.
/// Twenty variables, each the one before it twice, make a million bytes; forty
/// would make a million million.
pub const EXPANSION_LIMIT: usize = 1 << 24;

/// What a value counts beyond its bytes, so that lists of empty values cannot
/// multiply either.
const VALUE_COST: usize = 64;

/// The parameters jail(8) knows by name. A variable may not
/// have the name of one of these; with any other parameter it clashes only if
/// both are set.
const KNOWN: [&str; 45] = [
    "allow.dying",
    "command",
    "depend",
    "exec.clean",
    "exec.consolelog",
    "exec.fib",
    "exec.jail_user",
    "exec.poststart",
    "exec.poststop",
    "exec.prepare",
    "exec.prestart",
    "exec.prestop",
    "exec.release",
    "exec.created",
    "exec.start",
    "exec.stop",
    "exec.system_jail_user",
    "exec.system_user",
    "exec.timeout",
    "interface",
    "ip_hostname",
    "mount",
    "mount.devfs",
    "mount.fdescfs",
    "mount.procfs",
    "mount.fstab",
    "stop.timeout",
    "vnet.interface",
    "zfs.dataset",
    "allow.chflags",
    "allow.mount",
    "allow.raw_sockets",
    "allow.set_hostname",
    "allow.socket_af",
    "allow.sysvipc",
    "devfs_ruleset",
    "host.hostname",
    "ip4.addr",
    "ip6.addr",
    "jid",
    "name",
    "path",
    "persist",
    "securelevel",
    "vnet",
];

/// One parameter or variable of a jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The name, as the last statement about it spells it: `allow.nomount` and
    /// `allow.mount` are one parameter.
    pub name: String,
    /// The values; none for a parameter that only stands there, as a boolean
    /// does.
    pub values: Vec<String>,
    /// Whether it is a `$variable`, which jail(8) uses and forgets.
    pub is_variable: bool,
    /// Whether part of the values could not be resolved and is missing from
    /// them.
    pub is_bad: bool,
    /// The statement that set it last; where it has been appended to, the first
    /// statement that counts. For the implied `name` or `jid`, the block.
    pub position: Position,
}

/// The parameters of one jail as jail(8) has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The name of the jail's block.
    pub jail: String,
    /// Parameters and variables in the order jail(8) keeps them, which is that
    /// of `jail -e` and of the kernel's view.
    pub params: Vec<Param>,
    /// What is wrong with this jail. jail(8) starts none that has an error, but
    /// the other parameters are resolved nevertheless.
    pub errors: Vec<Error>,
    /// What is right by the manual and fails all the same.
    pub warnings: Vec<Error>,
}

impl Resolved {
    /// The values of a parameter, if it is set and could be resolved; empty for
    /// one without a value. The name must be spelled as in the file; see
    /// [`Resolved::bool`] for booleans.
    ///
    /// A value with a hole in it is not used: a path that lacks its last part names
    /// another directory.
    pub fn get(&self, name: &str) -> Option<&[String]> {
        self.find(|param| !param.is_variable && param.name == name)
    }

    /// The value that counts where only one can: the last.
    pub fn scalar(&self, name: &str) -> Option<&str> {
        self.get(name)?.last().map(String::as_str)
    }

    /// The value of `$name`, if it is set, could be resolved and is one value.
    pub fn var(&self, name: &str) -> Option<&str> {
        match self.find(|param| param.is_variable && param.name == name)? {
            [value] => Some(value),
            _ => None,
        }
    }

    /// A boolean parameter, if it is set, under its plain name or with `no`
    /// before its last component.
    ///
    /// After bool_param(): no value, `true` and numbers other than 0 are true,
    /// anything else is false, and a name with `no` turns it round.
    pub fn bool(&self, name: &str) -> Option<bool> {
        let param =
            self.params.iter().find(|param| !param.is_variable && equal_options(&param.name, name))?;
        if param.is_bad {
            return None;
        }
        let last = param.name.rsplit('.').next().unwrap_or_default();
        let value = match param.values.last() {
            None => true,
            Some(value) => value.eq_ignore_ascii_case("true") || number(value).0,
        };
        Some(value != last.starts_with("no"))
    }

    fn find(&self, wanted: impl Fn(&Param) -> bool) -> Option<&[String]> {
        let param = self.params.iter().find(|param| wanted(param))?;
        (!param.is_bad).then_some(param.values.as_slice())
    }
}

/// A value on its way: what is settled, then what is not, which starts with a
/// variable.
#[derive(Clone, Debug, Default)]
struct Text {
    done: String,
    rest: VecDeque<Piece>,
}

impl Text {
    fn new(pieces: &[Piece]) -> Text {
        let mut text = Text { done: String::new(), rest: pieces.iter().cloned().collect() };
        text.settle();
        text
    }

    fn variable(&self) -> Option<&str> {
        match self.rest.front() {
            Some(Piece::Variable(name)) => Some(name),
            _ => None,
        }
    }

    /// Puts a value in the place of the first variable.
    fn substitute(&mut self, value: &str) {
        self.rest.pop_front();
        self.done.push_str(value);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(Piece::Literal(text)) = self.rest.front() {
            self.done.push_str(text);
            self.rest.pop_front();
        }
    }
}

/// A parameter on its way.
#[derive(Clone, Debug)]
struct Entry {
    name: String,
    is_variable: bool,
    is_immutable: bool,
    is_bad: bool,
    /// The round in which it was last taken up; see [`Resolver::variables`].
    round: usize,
    values: Vec<Text>,
    position: Position,
}

impl Entry {
    fn is_settled(&self) -> bool {
        self.values.iter().all(|text| text.rest.is_empty())
    }
}

struct Resolver<'a> {
    jail: &'a str,
    /// In the order in which they were first set.
    entries: Vec<Entry>,
    /// Where in `entries` those are that may be one parameter, by [`stem`].
    /// Looking through all of them for each would take the square of their
    /// number, and that for every jail.
    stems: HashMap<String, Vec<usize>>,
    /// All entries in the order of `jail -e`.
    order: Vec<usize>,
    /// Those that were taken up in this round.
    taken: Vec<usize>,
    errors: Vec<Error>,
    warnings: Vec<Error>,
    /// What is left of [`EXPANSION_LIMIT`].
    budget: usize,
}

/// Resolves one jail, given the wildcard blocks in their order.
pub(super) fn resolve<'a>(jail: &Jail, wild: impl Iterator<Item = &'a Jail>) -> Resolved {
    let mut resolver = Resolver {
        jail: &jail.name,
        entries: Vec::new(),
        stems: HashMap::new(),
        order: Vec::new(),
        taken: Vec::new(),
        errors: Vec::new(),
        warnings: Vec::new(),
        budget: EXPANSION_LIMIT,
    };
    resolver.imply(if is_jid(&jail.name) { "jid" } else { "name" }, jail);
    let mut own = Some(&jail.statements);
    for block in wild {
        if jail.sequence < block.sequence {
            own.take().into_iter().flatten().for_each(|s| resolver.add(s));
        }
        if wild_match(&jail.name, &block.name) {
            block.statements.iter().for_each(|s| resolver.add(s));
        }
    }
    own.into_iter().flatten().for_each(|s| resolver.add(s));
    // A jail that is named by a number has that for its name as well, unless it
    // has been given another.
    let named = |entry: &Entry| !entry.is_variable && equal_options(&entry.name, "name");
    if resolver.first("name", named).is_none() {
        resolver.imply("name", jail);
    }
    resolver.variables();
    resolver.finish()
}

impl Resolver<'_> {
    fn push(&mut self, entry: Entry) {
        let at = self.entries.len();
        self.stems.entry(stem(&entry.name)).or_default().push(at);
        self.order.push(at);
        self.entries.push(entry);
    }

    /// The first entry that can be one parameter with `name` and is wanted.
    fn first(&self, name: &str, wanted: impl Fn(&Entry) -> bool) -> Option<usize> {
        let alike = self.stems.get(&stem(name))?;
        alike.iter().copied().find(|at| self.entries.get(*at).is_some_and(&wanted))
    }

    /// A parameter that follows from the name of the block.
    fn imply(&mut self, name: &str, jail: &Jail) {
        self.push(Entry {
            name: name.to_owned(),
            is_variable: false,
            is_immutable: true,
            is_bad: false,
            round: 0,
            values: vec![Text { done: jail.name.clone(), rest: VecDeque::new() }],
            position: jail.position.clone(),
        });
    }

    /// Takes up one statement: sets, replaces or appends.
    fn add(&mut self, statement: &Statement) {
        let values = statement.values.iter().map(|value| Text::new(value));
        let clash = || Error::NameClash {
            jail: self.jail.to_owned(),
            name: statement.name.clone(),
            at: statement.position.clone(),
        };
        let same = self.first(&statement.name, |entry| equal_options(&entry.name, &statement.name));
        if let Some(entry) = same.and_then(|at| self.entries.get_mut(at)) {
            if entry.is_variable != statement.is_variable {
                self.errors.push(clash());
            } else if entry.is_immutable {
                self.errors.push(Error::Redefined {
                    jail: self.jail.to_owned(),
                    name: entry.name.clone(),
                    at: statement.position.clone(),
                });
            } else {
                entry.name.clone_from(&statement.name);
                if !statement.append || statement.values.is_empty() {
                    entry.values.clear();
                    entry.position = statement.position.clone();
                }
                entry.values.extend(values);
            }
            return;
        }
        let known = KNOWN.iter().find(|known| equal_options(&statement.name, known));
        if known.is_some() && statement.is_variable {
            // It stays all the same, and later statements clash with it.
            self.errors.push(clash());
        }
        self.push(Entry {
            name: statement.name.clone(),
            is_variable: statement.is_variable,
            is_immutable: !statement.is_variable
                && known.is_some_and(|known| matches!(*known, "name" | "jid")),
            is_bad: false,
            round: 0,
            values: values.collect(),
            position: statement.position.clone(),
        });
    }

    /// Substitutes variables, one parameter a round.
    ///
    /// A parameter that is referred to and not settled is moved before the one
    /// that refers to it and taken up first, in the same round; meeting it again
    /// in that round means a loop. The move is seen in the order of `jail -e`.
    fn variables(&mut self) {
        let mut round = 0;
        let mut at = 0;
        while let Some(&entry) = self.order.get(at) {
            round += 1;
            self.taken.clear();
            self.take_up(entry, round);
            while let Some(first) = self.order.get(at).copied().and_then(|entry| self.settle(entry, round)) {
                // Entries before this one are all settled, so `first` is not
                // among them and `at` still points at the right place.
                if let Some(place) = self.order.iter().position(|entry| *entry == first) {
                    self.order.remove(place);
                    self.order.insert(at, first);
                }
            }
            at += 1;
        }
    }

    fn take_up(&mut self, at: usize, round: usize) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.round = round;
            self.taken.push(at);
        }
    }

    /// The entry of exactly that name; of several, which changing the spelling
    /// can make, the first in order.
    fn named(&self, name: &str) -> Option<usize> {
        let alike = self.stems.get(&stem(name))?;
        let is = |at: &usize| self.entries.get(*at).is_some_and(|entry| entry.name == name);
        let mut found = alike.iter().copied().filter(is);
        match (found.next(), found.next()) {
            (Some(first), Some(_)) => {
                self.order.iter().copied().find(|at| alike.contains(at) && is(at)).or(Some(first))
            }
            (first, _) => first,
        }
    }

    /// Settles one entry as far as possible. If another must come first, returns
    /// that.
    fn settle(&mut self, at: usize, round: usize) -> Option<usize> {
        let mut index = 0;
        loop {
            let entry = self.entries.get(at)?;
            let text = entry.values.get(index)?;
            let Some(variable) = text.variable() else {
                index += 1;
                continue;
            };
            let target = self.named(variable);
            let target = match target.and_then(|target| Some((target, self.entries.get(target)?))) {
                Some((target, found)) if !found.values.is_empty() => {
                    if !found.is_bad && found.round != round && !found.is_settled() {
                        self.take_up(target, round);
                        return Some(target);
                    }
                    Some(found)
                }
                _ => None,
            };
            match self.substitution(entry, text, variable, target, round) {
                Ok(values) => {
                    if values.len() > 1 {
                        self.warnings.push(Error::ListSubstituted {
                            jail: self.jail.to_owned(),
                            param: entry.name.clone(),
                            variable: variable.to_owned(),
                            at: entry.position.clone(),
                        });
                    }
                    let cost = cost(values.iter());
                    self.budget = self.budget.saturating_sub(cost);
                    if let Some(entry) = self.entries.get_mut(at) {
                        index += replace(&mut entry.values, index, values);
                    }
                }
                Err(error) => {
                    self.errors.extend(error);
                    // Whatever waits for this value is lost with it.
                    for taken in &self.taken {
                        if let Some(entry) = self.entries.get_mut(*taken) {
                            entry.is_bad = true;
                        }
                    }
                    let entry = self.entries.get_mut(at)?;
                    entry.values.get_mut(index)?.substitute("");
                }
            }
        }
    }

    /// The values to put in the place of a variable, or why not; without a
    /// reason when the variable is bad itself and has been reported.
    fn substitution(
        &self,
        entry: &Entry,
        text: &Text,
        variable: &str,
        target: Option<&Entry>,
        round: usize,
    ) -> Result<Vec<String>, Option<Error>> {
        let jail = self.jail.to_owned();
        let param = entry.name.clone();
        let variable = variable.to_owned();
        let at = entry.position.clone();
        let Some(target) = target else {
            return Err(Some(Error::NotFound { jail, param, variable, at }));
        };
        if target.is_bad {
            return Err(None);
        }
        if target.round == round {
            return Err(Some(Error::Loop { jail, param, variable, at }));
        }
        if target.values.len() > 1 && (!text.done.is_empty() || text.rest.len() > 1) {
            return Err(Some(Error::ArrayInline { jail, param, variable, at }));
        }
        if cost(target.values.iter().map(|text| &text.done)) > self.budget {
            return Err(Some(Error::TooLong { jail, param, at }));
        }
        Ok(target.values.iter().map(|text| text.done.clone()).collect())
    }

    fn finish(self) -> Resolved {
        let mut entries: Vec<Option<Entry>> = self.entries.into_iter().map(Some).collect();
        let in_order = self.order.into_iter().filter_map(|at| entries.get_mut(at)?.take());
        let params = in_order.map(|entry| Param {
            name: entry.name,
            values: entry.values.into_iter().map(|text| text.done).collect(),
            is_variable: entry.is_variable,
            is_bad: entry.is_bad,
            position: entry.position,
        });
        Resolved {
            jail: self.jail.to_owned(),
            params: params.collect(),
            errors: self.errors,
            warnings: self.warnings,
        }
    }
}

fn cost<'a>(values: impl Iterator<Item = &'a String>) -> usize {
    values.map(|value| value.len() + VALUE_COST).sum()
}

/// Puts the first of `values` in the place of the first variable of text
/// `index`, the others behind that text. Returns how many were put behind.
fn replace(texts: &mut Vec<Text>, index: usize, values: Vec<String>) -> usize {
    let mut values = values.into_iter();
    let first = values.next().unwrap_or_default();
    if let Some(text) = texts.get_mut(index) {
        text.substitute(&first);
    }
    let behind: Vec<Text> = values.map(|done| Text { done, rest: VecDeque::new() }).collect();
    let count = behind.len();
    let next = texts.len().min(index + 1);
    texts.splice(next..next, behind);
    count
}

/// Whether a block's name is a jid: strtol(3) takes all of it and gives a
/// number other than 0.
fn is_jid(name: &str) -> bool {
    number(name) == (true, true)
}

/// strtol(3), as far as it is asked here: whether the number is other than 0,
/// and whether the text ends with it.
fn number(text: &str) -> (bool, bool) {
    let blank = |b: char| matches!(b, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
    let text = text.trim_start_matches(blank);
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = text.len() - rest.len();
    let nonzero = text.bytes().take(digits).any(|b| b != b'0');
    (nonzero, digits > 0 && rest.is_empty())
}

/// What names have in common that are one parameter: the name without any `no`
/// before a component.
fn stem(name: &str) -> String {
    let mut stem = String::with_capacity(name.len());
    for component in name.split('.') {
        stem.push_str(component.trim_start_matches("no"));
        stem.push('.');
    }
    stem
}

/// Whether two names are one parameter: `allow.mount` and `allow.nomount`.
///
/// After equalopts(), which allows the `no` before any component as long as the
/// components before it are equal.
fn equal_options(mut one: &str, mut two: &str) -> bool {
    if one == two {
        return true;
    }
    loop {
        if one.strip_prefix("no") == Some(two) || two.strip_prefix("no") == Some(one) {
            return true;
        }
        match (one.split_once('.'), two.split_once('.')) {
            (Some((head, one_rest)), Some((other, two_rest))) if head == other => {
                one = one_rest;
                two = two_rest;
            }
            _ => return false,
        }
    }
}

/// Whether a wildcard applies to a jail, after wild_jail_match(): a `*` stands
/// for one component, a final one for all that are left.
fn wild_match(jail: &str, wild: &str) -> bool {
    let (mut jail, mut wild) = (jail, wild);
    while let (Some((name, jail_rest)), Some((pattern, wild_rest))) =
        (jail.split_once('.'), wild.split_once('.'))
    {
        if name != pattern && pattern != "*" {
            return false;
        }
        jail = jail_rest;
        wild = wild_rest;
    }
    jail == wild || wild == "*"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::jailconf::{Config, is_wild};
    use std::path::Path;

    fn resolved(text: &str, jail: &str) -> Resolved {
        let mut config = Config::default();
        config.parse_more(Path::new("f"), text.as_bytes()).unwrap();
        config.resolve(config.jail(jail).unwrap())
    }

    #[test]
    fn options_with_and_without_no() {
        for (one, two, expected) in [
            ("persist", "persist", true),
            ("nopersist", "persist", true),
            ("allow.nomount", "allow.mount", true),
            ("allow.nomount.zfs", "allow.mount.nozfs", false),
            ("allow.mount.zfs", "allow.mount.nozfs", true),
            ("noallow.mount", "allow.mount", true),
            ("allow.mount", "allow.mount.zfs", false),
            ("a.nob", "c.b", false),
            ("nonoa", "noa", true),
            ("nonoa", "a", false),
            ("no", "", true),
        ] {
            assert_eq!(equal_options(one, two), expected, "{one} {two}");
            assert_eq!(equal_options(two, one), expected, "{two} {one}");
            assert!(!expected || stem(one) == stem(two), "{one} {two}");
        }
    }

    #[test]
    fn wildcards() {
        for (name, expected) in
            [("*", true), ("a.*", true), ("*.a", true), ("a*", false), ("a.*b", false), ("", false)]
        {
            assert_eq!(is_wild(name), expected, "{name}");
        }
        for (jail, wild, expected) in [
            ("a", "*", true),
            ("a.b", "*", true),
            ("a.b", "a.*", true),
            ("a.b.c", "a.*", true),
            ("a", "a.*", false),
            ("a.b", "*.b", true),
            ("a.b.c", "*.b", false),
            ("a.b.c", "*.b.*", true),
            ("ab.c", "a.*", false),
        ] {
            assert_eq!(wild_match(jail, wild), expected, "{jail} {wild}");
        }
    }

    #[test]
    fn jids() {
        for (name, expected) in [
            ("5", true),
            ("010", true),
            ("-3", true),
            ("+3", true),
            (" 3", true),
            ("99999999999999999999", true),
            ("0", false),
            ("00", false),
            ("5x", false),
            ("5 ", false),
            ("", false),
            ("-", false),
        ] {
            assert_eq!(is_jid(name), expected, "{name:?}");
        }
    }

    #[test]
    fn booleans() {
        for (value, expected) in [
            ("p;", true),
            ("p = 1;", true),
            ("p = -1;", true),
            ("p = TRUE;", true),
            ("p = '2x';", true),
            ("p = 0;", false),
            ("p = yes;", false),
            ("p = '';", false),
            ("nop;", false),
            ("nop = 0;", true),
            ("p; nop; p = 1, 0;", false),
        ] {
            let jail = resolved(&format!("j {{ {value} }}"), "j");
            assert_eq!(jail.bool("p"), Some(expected), "{value}");
        }
        assert_eq!(resolved("j { p = $x; }", "j").bool("p"), None);
    }

    #[test]
    fn variables_cannot_multiply_without_end() {
        for (seed, twice) in [("xx", "\"$v@$v@\""), ("'', ''", "$v@, $v@")] {
            let mut text = format!("j {{ fine = 1; $v0 = {seed}; ");
            for i in 0..60 {
                let twice = twice.replace('@', &i.to_string());
                text += &format!("$v{} = {twice}; ", i + 1);
            }
            let jail = resolved(&(text + "x = $v60; }"), "j");
            let long = |error: &Error| matches!(error, Error::TooLong { .. });
            assert!(!jail.errors.is_empty() && jail.errors.iter().all(long));
            assert_eq!(jail.get("x"), None);
            assert_eq!(jail.scalar("fine"), Some("1"));
        }
    }

    #[test]
    fn a_position_is_that_of_the_statement_in_force() {
        let text = "x = 1;\nx += 2;\ny = 1;\nj {\ny = 2;\ny += 3;\n}\n";
        let jail = resolved(text, "j");
        let lines: Vec<_> =
            jail.params.iter().map(|param| (param.name.as_str(), param.position.line())).collect();
        assert_eq!(lines, [("name", 4), ("x", 1), ("y", 5)]);
    }
}
