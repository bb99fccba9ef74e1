//! jail.conf(5): a reader that sees what jail(8) sees.
//!
//! The suite keeps no database, so what a jail is stands in jail.conf(5) and
//! nowhere else, written by hand as often as by `jail-clone`. Half a reader, or
//! asking `jail -e`, would not do: the first is wrong as soon as a file uses
//! a wildcard or a list, the second knows no positions, prints a list and a
//! value with a comma alike, and says nothing at all when one file is broken.
//! This is the whole grammar, ported from the scanner (jaillex.l), the grammar
//! (jailparse.y) and the resolver (config.c) of FreeBSD 15's usr.sbin/jail, and
//! it keeps the position of everything, so that one jail's block can be taken
//! out of a file without touching another byte.
//!
//! [`Config::load`] reads a file and what it includes. [`Config::resolve`]
//! gives one jail its parameters, after globals, wildcards, `+=` and variables.
//! [`export_line`] prints them as `jail -e` does. [`quote_literal`] and
//! [`quote_with_variables`] write values, [`cut`] removes a block, and
//! [`command_words`] says how jail(8) would run one of the exec commands.
//!
//! # Where this differs from jail(8)
//!
//! - The first error in a file ends the reading; jail(8) continues to find more.
//! - Names and values must be UTF-8. Comments may hold any bytes.
//! - A byte from 0x80 outside quotes and comments is a syntax error; on
//!   platforms with a signed char jail(8) stops reading there without a word.
//! - A list that is substituted whole (`$ips = a, b; ip4.addr = $ips;`) is
//!   expanded as meant and reported in [`Resolved::warnings`]: config.c takes
//!   the used-up variable from the wrong string and crashes.
//! - Blocks nested so deep that their name exceeds [`NAME_LIMIT`], and
//!   variables that multiply into more than [`EXPANSION_LIMIT`] bytes, are
//!   errors instead of a use of all memory.

mod command;
mod error;
mod export;
mod include;
mod lex;
mod parse;
mod resolve;
mod write;

pub use command::{Command, command_words};
pub use error::{Error, Position};
pub use export::export_line;
pub use include::{Files, UnderRoot, glob_match};
pub use parse::NAME_LIMIT;
pub use resolve::{EXPANSION_LIMIT, Param, Resolved};
pub use write::{cut, quote, quote_literal, quote_with_variables};

use parse::{Parser, Statement};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One `name { ... }` block of a configuration.
#[derive(Clone, Debug)]
pub struct Jail {
    name: String,
    position: Position,
    range: Range<usize>,
    statements: Vec<Statement>,
    /// Where the block stands among all blocks: wildcards before it are applied
    /// before its own parameters, those after it afterwards.
    sequence: usize,
}

impl Jail {
    /// The full name: that of a block inside another one is `outer.inner`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the block starts.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The file the block stands in, as jail(8) names it.
    pub fn file(&self) -> &Path {
        self.position.file()
    }

    /// The bytes of the block in its file, from the name to the closing brace.
    ///
    /// A jail has exactly one block: a second one of the same name is, to
    /// jail(8), a second jail (see [`Config::duplicates`]).
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The parameters and variables that its own block sets, in order, without those
    /// of files that it includes: the name, with `$` in front of a variable's, and the
    /// bytes from the name to the semicolon in its file.
    pub fn own_statements(&self) -> impl Iterator<Item = (String, Range<usize>)> + '_ {
        let is_own =
            |s: &&Statement| s.position.file() == self.file() && self.range.contains(&s.position.offset());
        self.statements.iter().filter(is_own).map(|s| {
            let sign = if s.is_variable { "$" } else { "" };
            (format!("{sign}{}", s.name), s.position.offset()..s.end)
        })
    }
}

/// Everything jail(8) reads from one configuration file and what it includes.
#[derive(Clone, Debug, Default)]
pub struct Config {
    files: Vec<Arc<Path>>,
    blocks: Vec<Jail>,
    /// The block that collects what stands outside of all blocks. It takes its
    /// place in the order of blocks when the first such parameter is read, and
    /// parameters far below it, in other files even, still land in it.
    globals: Option<usize>,
    /// Which blocks are wildcards; every jail asks for them.
    wild: Vec<usize>,
}

impl Config {
    /// Reads `path` and everything it includes.
    ///
    /// # Errors
    ///
    /// The first error in the order of reading: a file that cannot be read, a
    /// syntax error, a bad `.include`, text that is not UTF-8.
    pub fn load(files: &dyn Files, path: &Path) -> Result<Config, Error> {
        let mut config = Config::default();
        Parser::new(&mut config, files).file(path)?;
        Ok(config)
    }

    /// Reads one further file as if it were included at the end of the
    /// configuration, unless it has been read already.
    ///
    /// rc.d/jail may start a jail from a file of its own that jail.conf(5) does
    /// not include; this is how such a file joins the rest.
    ///
    /// # Errors
    ///
    /// As for [`Config::load`]; the configuration is then unchanged.
    pub fn load_more(&mut self, files: &dyn Files, path: &Path) -> Result<(), Error> {
        if self.files().any(|known| known == path) {
            return Ok(());
        }
        let mut more = self.clone();
        Parser::new(&mut more, files).file(path)?;
        *self = more;
        Ok(())
    }

    /// Reads `text` as if it were a file `name` included at the end of the
    /// configuration: to check a block before it is written.
    ///
    /// # Errors
    ///
    /// As for [`Config::load`]; the configuration is then unchanged. An
    /// `.include` in the text is an error, since there is nothing to read from.
    pub fn parse_more(&mut self, name: &Path, text: &[u8]) -> Result<(), Error> {
        let mut more = self.clone();
        Parser::new(&mut more, &Nothing).text(name, text)?;
        *self = more;
        Ok(())
    }

    /// The files read, in the order of reading, as jail(8) names them; one that
    /// is included twice stands here twice.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(AsRef::as_ref)
    }

    /// The jails, in the order of their blocks, which is that of `jail -e`;
    /// wildcard blocks are none.
    pub fn jails(&self) -> impl Iterator<Item = &Jail> {
        self.blocks.iter().filter(|block| !is_wild(&block.name))
    }

    /// Whether it says nothing at all: no jail, no parameter.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The first jail of that name.
    pub fn jail(&self, name: &str) -> Option<&Jail> {
        self.jails().find(|jail| jail.name == name)
    }

    /// Jails whose name an earlier block has as well. jail(8) keeps both, shows
    /// both, and does not define which one `jail -c NAME` starts.
    pub fn duplicates(&self) -> Vec<&Jail> {
        let mut seen = std::collections::HashSet::new();
        self.jails().filter(|jail| !seen.insert(jail.name())).collect()
    }

    /// The parameters of a jail of this configuration as jail(8) has them.
    pub fn resolve(&self, jail: &Jail) -> Resolved {
        resolve::resolve(jail, self.wild.iter().filter_map(|at| self.blocks.get(*at)))
    }
}

/// Files for text that may include none.
struct Nothing;

impl Files for Nothing {
    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Whether a block's name is a wildcard: has a component that is `*`.
fn is_wild(name: &str) -> bool {
    name.split('.').any(|component| component == "*")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<Config, Error> {
        let mut config = Config::default();
        config.parse_more(Path::new("f"), text.as_bytes())?;
        Ok(config)
    }

    fn read_back(written: &str) -> Vec<String> {
        let config = parsed(&format!("$v = 'the value';\nj {{ p = {written}; }}")).unwrap();
        let jail = config.resolve(config.jail("j").unwrap());
        assert_eq!(jail.errors, []);
        jail.get("p").unwrap().to_vec()
    }

    /// Text with much of what is special to the scanner, and no NUL, which no
    /// value can hold.
    fn text() -> impl Strategy<Value = String> {
        let special = prop::sample::select(vec![
            "$", "${", "}", "$v", "\\", "\"", "'", "\n", "/*", "*/", "//", "#", ";", ",", "=", "{", "0", "7",
            "x41", "\u{1}", "\u{7f}", "\u{e9}", " ", "\t",
        ]);
        let piece = prop_oneof![special.prop_map(str::to_owned), "[^\0]"];
        prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    /// A jail as a model: what is written and what must come out.
    type Statements = Vec<(usize, bool, Vec<String>)>;

    fn jails() -> impl Strategy<Value = Vec<Statements>> {
        let values = prop::collection::vec(text(), 0..3);
        let statement = (0usize..4, any::<bool>(), values);
        prop::collection::vec(prop::collection::vec(statement, 0..6), 0..5)
    }

    #[test]
    fn the_bytes_of_statements() {
        let text = "$a = 1;\nweb {\n\t$id = \"5\"; # note\n  allow.mount ;\n\texec.start += 'a;b',\n c;\n}\n";
        let config = parsed(text).unwrap();
        let found: Vec<(String, &str)> = config
            .jail("web")
            .unwrap()
            .own_statements()
            .map(|(name, range)| (name, text.get(range).unwrap()))
            .collect();
        let expected = [
            ("$id", "$id = \"5\";"),
            ("allow.mount", "allow.mount ;"),
            ("exec.start", "exec.start += 'a;b',\n c;"),
        ];
        assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text)));
    }

    proptest! {
        #[test]
        fn quoted_text_reads_back(text in text()) {
            prop_assert_eq!(read_back(&quote(&text)), [text.as_str()]);
            prop_assert_eq!(read_back(&quote_literal(&text)), [text.as_str()]);
            // As the name of a jail too.
            let config = parsed(&format!("{} {{ }}", quote(&text))).unwrap();
            prop_assert_eq!(config.blocks[0].name(), text);
        }

        #[test]
        fn quoted_text_with_variables_reads_back(
            parts in prop::collection::vec((text(), any::<bool>()), 0..5)
        ) {
            let mut written = String::new();
            let mut expected = String::new();
            for (text, variable) in parts {
                let text = text.replace('$', "");
                written += &text;
                expected += &text;
                if variable {
                    written += "${v}";
                    expected += "the value";
                }
            }
            prop_assert_eq!(read_back(&quote_with_variables(&written)), [expected]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            exercise(&bytes);
        }

        #[test]
        fn no_text_makes_it_panic(
            bytes in prop::collection::vec(
                prop::sample::select(b"\"'\\${}/*;=,+# \nab1.x\0\xff".to_vec()),
                0..60,
            )
        ) {
            exercise(&bytes);
        }

        #[test]
        fn a_written_configuration_is_read_as_meant(jails in jails()) {
            let mut text = String::from("# generated\n");
            let mut blocks = Vec::new();
            for (number, statements) in jails.iter().enumerate() {
                text += &format!("/* {number} */ ");
                let start = text.len();
                text += &format!("j{number} {{\n");
                for (name, append, values) in statements {
                    let values: Vec<_> = values.iter().map(|value| quote(value)).collect();
                    let sign = match (values.as_slice(), append) {
                        ([], _) => "",
                        (_, true) => " += ",
                        (_, false) => " = ",
                    };
                    text += &format!("\tp{name}{sign}{};\n", values.join(", "));
                }
                text += "}";
                blocks.push(start..text.len());
                text += "\n";
            }
            let config = parsed(&text).unwrap();
            prop_assert_eq!(config.jails().count(), jails.len());
            for ((jail, statements), block) in config.jails().zip(&jails).zip(blocks) {
                let mut model = vec![("name".to_owned(), vec![jail.name().to_owned()])];
                for (name, append, values) in statements {
                    let name = format!("p{name}");
                    match model.iter_mut().find(|(known, _)| *known == name) {
                        None => model.push((name, values.clone())),
                        Some((_, known)) if *append && !values.is_empty() => {
                            known.extend(values.clone());
                        }
                        Some((_, known)) => known.clone_from(values),
                    }
                }
                let resolved = config.resolve(jail);
                prop_assert_eq!(&resolved.errors, &[]);
                let params: Vec<_> = resolved
                    .params
                    .into_iter()
                    .map(|param| (param.name, param.values))
                    .collect();
                prop_assert_eq!(params, model);
                prop_assert_eq!(jail.range(), block);
            }
        }
    }

    /// Everything that can be done with a file.
    fn exercise(bytes: &[u8]) {
        let mut config = Config::default();
        let before = b"$v = 1; x = $w; \"*\" { y = ${name}; } j { } ";
        config.parse_more(Path::new("before"), before).unwrap();
        if let Err(error) = config.parse_more(Path::new("f"), bytes) {
            assert!(!error.to_string().is_empty());
        }
        for jail in config.jails() {
            let resolved = config.resolve(jail);
            export_line(&resolved, "|");
            for param in &resolved.params {
                param.values.iter().for_each(|value| {
                    command_words(value);
                });
                resolved.bool(&param.name);
            }
            if jail.file() == Path::new("f") {
                assert!(cut(bytes, jail.range()).len() < bytes.len());
            }
        }
    }
}
