//! The grammar of jail.conf(5), after jailparse.y, and `.include`.

use super::include::{self, Files};
use super::lex::{Kind, Lexer, Token};
use super::{Config, Error, Jail, Position, is_wild};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// The longest name of a block inside other blocks. The kernel takes 255 bytes;
/// the limit only keeps a file of nothing but braces from using memory that
/// grows with the square of its size.
pub const NAME_LIMIT: usize = 4096;

/// MAX_INCLUDE_DEPTH of config.c.
const INCLUDE_DEPTH: usize = 32;

/// `name = value, ...;` and its like, as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub name: String,
    pub is_variable: bool,
    /// `+=` instead of `=`.
    pub append: bool,
    pub values: Vec<Vec<Piece>>,
    pub position: Position,
    /// Offset behind its semicolon.
    pub end: usize,
}

/// Part of a value. A value never holds an empty literal nor two in a row, so
/// the number of pieces says whether a variable stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Variable(String),
}

/// Reads files into a configuration.
pub(super) struct Parser<'a> {
    config: &'a mut Config,
    files: &'a dyn Files,
    depth: usize,
}

impl<'a> Parser<'a> {
    pub fn new(config: &'a mut Config, files: &'a dyn Files) -> Self {
        Parser { config, files, depth: 0 }
    }

    /// Reads one file at top level.
    pub fn file(&mut self, path: &Path) -> Result<(), Error> {
        self.read(path, None, None)
    }

    /// Reads text at top level.
    pub fn text(&mut self, name: &Path, text: &[u8]) -> Result<(), Error> {
        self.parse(name.into(), text, None)
    }

    fn read(&mut self, path: &Path, outer: Option<usize>, asked: Option<Position>) -> Result<(), Error> {
        let file: Arc<Path> = path.into();
        let text = self.files.read(path).map_err(|e| Error::read(Arc::clone(&file), asked, &e))?;
        self.parse(file, &text, outer)
    }

    /// The rules `conf`, `jail` and `param`. Blocks are kept on a stack of
    /// their own instead of the program's, which a file of braces would exhaust.
    ///
    /// `outer` is the block an `.include` stands in: what the file holds belongs
    /// to it.
    fn parse(&mut self, file: Arc<Path>, text: &[u8], outer: Option<usize>) -> Result<(), Error> {
        self.config.files.push(Arc::clone(&file));
        let mut lexer = Lexer::new(file, text);
        let mut open: Vec<usize> = Vec::new();
        loop {
            let token = lexer.next()?;
            let (name, is_variable) = match &token.kind {
                Kind::End if open.is_empty() => return Ok(()),
                Kind::Mark(b';') => continue,
                Kind::Mark(b'}') => {
                    let block = open.pop().ok_or_else(|| lexer.unexpected(&token))?;
                    if let Some(block) = self.config.blocks.get_mut(block) {
                        block.range.end = token.end;
                    }
                    continue;
                }
                Kind::Literal { bytes, joined: false } => (utf8(bytes, &lexer)?, false),
                Kind::Variable { bytes, joined: false } => (utf8(bytes, &lexer)?, true),
                _ => return Err(lexer.unexpected(&token)),
            };
            let inside = open.last().copied().or(outer);
            let position = lexer.position(&token);
            let next = lexer.next()?;
            if next.kind == Kind::Mark(b'{') && !is_variable {
                open.push(self.open(name, inside, position)?);
                continue;
            }
            let Values { values, append, bare, end } = values(&mut lexer, next)?;
            if bare && !is_variable && name == ".include" {
                self.include(&values, inside, lexer.here())?;
                continue;
            }
            self.add(Statement { name, is_variable, append, values, position, end }, inside);
        }
    }

    fn open(&mut self, name: String, inside: Option<usize>, position: Position) -> Result<usize, Error> {
        let parent = inside.and_then(|block| self.config.blocks.get(block));
        let name = match parent {
            None => name,
            Some(parent) if parent.name.len() + 1 + name.len() > NAME_LIMIT => {
                return Err(Error::NameTooLong { at: position });
            }
            Some(parent) => format!("{}.{name}", parent.name),
        };
        Ok(self.block(name, position))
    }

    fn block(&mut self, name: String, position: Position) -> usize {
        let sequence = self.config.blocks.len();
        if is_wild(&name) {
            self.config.wild.push(sequence);
        }
        self.config.blocks.push(Jail {
            name,
            range: position.offset..position.offset,
            position,
            statements: Vec::new(),
            sequence,
        });
        sequence
    }

    fn add(&mut self, statement: Statement, inside: Option<usize>) {
        let block = match inside.or(self.config.globals) {
            Some(block) => block,
            None => {
                let globals = self.block("*".to_owned(), statement.position.clone());
                self.config.globals = Some(globals);
                globals
            }
        };
        if let Some(block) = self.config.blocks.get_mut(block) {
            block.statements.push(statement);
        }
    }

    /// `.include "name", ...;`. jail(8) reads the files as soon as it has seen
    /// the semicolon, before it looks at what follows.
    fn include(&mut self, names: &[Vec<Piece>], inside: Option<usize>, at: Position) -> Result<(), Error> {
        for name in names {
            let name = match name.as_slice() {
                [] => "",
                [Piece::Literal(name)] => name,
                _ => return Err(Error::IncludeVariable { at }),
            };
            if self.depth >= INCLUDE_DEPTH {
                return Err(Error::IncludeDepth { at });
            }
            self.depth += 1;
            let target = beside(at.file(), name);
            let pattern = Path::new(OsStr::from_bytes(&target));
            if include::is_pattern(&target) {
                let found = self.files.glob(pattern).map_err(|e| Error::Glob {
                    at: at.clone(),
                    pattern: String::from_utf8_lossy(&target).into_owned(),
                    cause: e.to_string(),
                })?;
                for path in found {
                    self.read(&path, inside, Some(at.clone()))?;
                }
            } else {
                self.read(pattern, inside, Some(at.clone()))?;
            }
            self.depth -= 1;
        }
        Ok(())
    }
}

/// What follows a parameter's name, up to the semicolon.
struct Values {
    values: Vec<Vec<Piece>>,
    /// Whether they are appended.
    append: bool,
    /// Whether they follow without a sign, as `.include` wants it.
    bare: bool,
    /// Offset behind the semicolon.
    end: usize,
}

fn values(lexer: &mut Lexer, first: Token) -> Result<Values, Error> {
    let (append, bare, mut token) = match first.kind {
        Kind::Mark(b';') => {
            return Ok(Values { values: Vec::new(), append: false, bare: false, end: first.end });
        }
        Kind::Mark(b'=') => (false, false, lexer.next()?),
        Kind::Append => (true, false, lexer.next()?),
        _ => (false, true, first),
    };
    let mut values = Vec::new();
    loop {
        let mut value = Vec::new();
        // The literal in the making: UTF-8 is checked when it is complete, since
        // one character may come from several escapes.
        let mut literal = Vec::new();
        let mut started = false;
        loop {
            match token.kind {
                Kind::Literal { bytes, joined } if joined == started => literal.extend(bytes),
                Kind::Variable { bytes, joined } if joined == started => {
                    finish(&mut value, &mut literal, lexer)?;
                    value.push(Piece::Variable(utf8(&bytes, lexer)?));
                }
                _ if started => break,
                _ => return Err(lexer.unexpected(&token)),
            }
            started = true;
            token = lexer.next()?;
        }
        finish(&mut value, &mut literal, lexer)?;
        values.push(value);
        match token.kind {
            Kind::Mark(b',') => token = lexer.next()?,
            Kind::Mark(b';') => return Ok(Values { values, append, bare, end: token.end }),
            _ => return Err(lexer.unexpected(&token)),
        }
    }
}

fn finish(value: &mut Vec<Piece>, literal: &mut Vec<u8>, lexer: &Lexer) -> Result<(), Error> {
    if !literal.is_empty() {
        value.push(Piece::Literal(utf8(literal, lexer)?));
        literal.clear();
    }
    Ok(())
}

fn utf8(bytes: &[u8], lexer: &Lexer) -> Result<String, Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Error::NotUtf8 { at: lexer.here() }),
    }
}

/// The name as jail(8) makes it: a relative one is put behind everything up to
/// the last slash of the including file's name, byte for byte, since the result
/// shows in messages.
fn beside(file: &Path, name: &str) -> Vec<u8> {
    let file = file.as_os_str().as_bytes();
    let directory = match file.iter().rposition(|&b| b == b'/') {
        Some(slash) if !name.starts_with('/') => file.get(..=slash).unwrap_or_default(),
        _ => &[],
    };
    [directory, name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::jailconf::{Resolved, glob_match};
    use std::collections::BTreeMap;
    use std::io;
    use std::path::PathBuf;

    /// Files that exist only here.
    struct InMemory(BTreeMap<PathBuf, Vec<u8>>);

    impl Files for InMemory {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
            let paths = self.0.keys();
            Ok(paths.filter(|path| glob_match(pattern, path)).cloned().collect())
        }
    }

    fn load(files: &[(&str, &str)]) -> Result<Config, Error> {
        let files = files.iter().map(|(name, text)| (PathBuf::from(name), text.as_bytes().to_vec()));
        Config::load(&InMemory(files.collect()), Path::new("/etc/j"))
    }

    fn parsed(text: &[u8]) -> Result<Config, Error> {
        let mut config = Config::default();
        config.parse_more(Path::new("f"), text)?;
        Ok(config)
    }

    fn resolved(config: &Config, jail: &str) -> Resolved {
        config.resolve(config.jail(jail).unwrap())
    }

    #[test]
    fn text_must_be_utf8_except_in_comments() {
        for (text, line) in [
            (&b"a {\n b = '\xff'; }"[..], 2),
            (b"a { b = \"\xc3\n$x\xa9\"; }", 2),
            (b"\n'\xff' { }", 2),
            (b"${\xff} = 1;", 1),
            (b"a = \\377;", 1),
        ] {
            let error = parsed(text).unwrap_err();
            assert_eq!(error.to_string(), format!("f line {line}: not UTF-8"));
        }
        let config = parsed(b"# \xff\na { b = \\303\\251; c = '\xc3'\"\xa9\"; }").unwrap();
        let jail = resolved(&config, "a");
        assert_eq!(jail.scalar("b"), Some("\u{e9}"));
        assert_eq!(jail.scalar("c"), Some("\u{e9}"));
    }

    #[test]
    fn bytes_that_start_nothing_are_errors() {
        for text in [&b"a { }\n\xe9 b { }"[..], b"a { }\n\x07", b"a { }\n\x0c"] {
            let error = parsed(text).unwrap_err();
            assert!(matches!(&error, Error::Syntax { at, .. } if at.line() == 2));
        }
    }

    #[test]
    fn nothing_is_read_behind_a_nul() {
        let config = parsed(b"a { }\n\0b { } }").unwrap();
        assert_eq!(config.jails().count(), 1);
        let error = parsed(b"a {\n\0}").unwrap_err();
        assert_eq!(error.to_string(), "f: unexpected EOF");
    }

    #[test]
    fn braces_without_end() {
        let open = "a{".repeat(200_000);
        assert!(matches!(parsed(open.as_bytes()), Err(Error::NameTooLong { .. })));
        let text = "a{".repeat(1000) + &"}".repeat(1000);
        let config = parsed(text.as_bytes()).unwrap();
        let last = config.jails().last().unwrap();
        assert_eq!(last.range(), 1998..2001);
        assert_eq!(config.jail("a").unwrap().range(), 0..3000);
    }

    #[test]
    fn includes_go_32_levels_deep() {
        let chain = |levels: usize| {
            let mut files = BTreeMap::new();
            files.insert("/etc/j".into(), b".include \"i1\";".to_vec());
            for level in 1..levels {
                let text = format!(".include \"i{}\";", level + 1);
                files.insert(format!("/etc/i{level}").into(), text.into());
            }
            files.insert(format!("/etc/i{levels}").into(), b"a { }".to_vec());
            Config::load(&InMemory(files), Path::new("/etc/j"))
        };
        assert_eq!(chain(32).unwrap().jails().count(), 1);
        let error = chain(33).unwrap_err();
        assert_eq!(error.to_string(), "maximum include depth exceeded");
        assert_eq!(error.position().unwrap().file(), Path::new("/etc/i32"));
        // Only files within files count, not files next to each other.
        let many = ".include \"i\";".repeat(40);
        assert!(load(&[("/etc/j", &many), ("/etc/i", "")]).is_ok());
    }

    #[test]
    fn included_names_are_taken_as_jail_takes_them() {
        let config = load(&[
            ("/etc/j", ".include 'd/../x', \"d/*\"; y { .include '/z'; }"),
            ("/etc/d/../x", "x { }"),
            ("/etc/d/b", "b { }"),
            ("/etc/d/a", "a { .include 'c'; }"),
            ("/etc/d/c", "k = v; c { }"),
            ("/z", "z { }"),
        ])
        .unwrap();
        let names: Vec<_> = config.jails().map(Jail::name).collect();
        assert_eq!(names, ["x", "a", "a.c", "b", "c", "y", "y.z"]);
        assert_eq!(resolved(&config, "a").scalar("k"), Some("v"));
        // The second reading of the same file is at top level.
        assert_eq!(resolved(&config, "y.z").scalar("k"), Some("v"));
        assert_eq!(beside(Path::new("j"), "x"), b"x");
        assert_eq!(beside(Path::new("/etc//j"), "x"), b"/etc//x");
    }

    #[test]
    fn include_is_special_in_one_form_only() {
        for text in
            [".include = 'x'; a { }", ".include += 'x'; a { }", ".include; a { }", "${.include} 'x'; a { }"]
        {
            assert!(parsed(text.as_bytes()).is_ok(), "{text}");
        }
        let error = load(&[("/etc/j", "a;\n.include '/none', b$c;")]).unwrap_err();
        assert_eq!(error.to_string(), "/none: No such file or directory");
        assert_eq!(error.position().unwrap().line(), 2);
    }
}
