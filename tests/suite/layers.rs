//! The layers of src/: commands, domain, system, formats, types. A file imports
//! only from its own layer or from one below, no command from another, and there
//! is no circle of imports. `cargo test --test suite layers -- --nocapture` prints the
//! sizes of it all.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From the lowest to the highest.
const LAYERS: [&str; 5] = ["types", "formats", "system", "domain", "commands"];

/// Lines of a file, without its tests, above which it should become two.
const LINES: usize = 600;

/// The sources by module, such as `system::zfs::action`. A folder's mod.rs is the
/// module of that folder.
type Sources = BTreeMap<String, String>;

/// The modules that each module imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn sources() -> Sources {
    fn read(directory: &Path, module: &[String], found: &mut Sources) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let mut module = module.to_vec();
            match path.file_stem().unwrap().to_str().unwrap() {
                "lib" => continue,
                "mod" => {}
                name => module.push(name.to_owned()),
            }
            match path.is_dir() {
                true => read(&path, &module, found),
                false => {
                    let twice = found.insert(module.join("::"), std::fs::read_to_string(&path).unwrap());
                    assert!(twice.is_none(), "{}", path.display());
                }
            }
        }
    }
    let mut found = Sources::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut found);
    found
}

/// The part of a source above its tests.
fn without_tests(source: &str) -> &str {
    source.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default()
}

/// One tree of a `use` declaration, or a path in an expression, as full paths.
fn paths(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "as" => break,
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
                for one in inner.split(is_comma).filter(|one| !one.is_empty()) {
                    paths(one, &path, found);
                }
                assert_eq!(at + 1, tokens.len(), "a group ends its path");
                return;
            }
            _ => {}
        }
    }
    found.push(path);
}

/// All paths of a source that begin with `crate`, `super` or `self`.
fn paths_of(stream: TokenStream, found: &mut Vec<Vec<String>>) {
    let tokens: Vec<TokenTree> = stream.into_iter().collect();
    let is_colon =
        |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    let mut at = 0;
    while at < tokens.len() {
        let starts = matches!(&tokens[at], TokenTree::Ident(word) if ["crate", "super", "self"].iter().any(|w| word == w))
            && is_colon(tokens.get(at + 1));
        if !starts {
            if let TokenTree::Group(group) = &tokens[at] {
                paths_of(group.stream(), found);
            }
            at += 1;
            continue;
        }
        let start = at;
        at += 1;
        while is_colon(tokens.get(at)) && is_colon(tokens.get(at + 1)) {
            at += 2;
            // A word, the group that ends a `use` declaration, or a type's own
            // `<`.
            if matches!(tokens.get(at), Some(TokenTree::Ident(_) | TokenTree::Group(_))) {
                at += 1;
            }
        }
        paths(&tokens[start..at], &[], found);
    }
}

fn imports(sources: &Sources) -> Imports {
    let mut imports = Imports::new();
    for (module, source) in sources {
        let mut found = Vec::new();
        paths_of(without_tests(source).parse().unwrap(), &mut found);
        let own: Vec<&str> = module.split("::").collect();
        let of_module = imports.entry(module.clone()).or_default();
        for path in &found {
            let mut words = path.iter().map(String::as_str).peekable();
            let mut base = match words.next() {
                Some("crate") => Vec::new(),
                Some("super") => own[..own.len() - 1].to_vec(),
                _ => own.clone(),
            };
            while words.next_if_eq(&"super").is_some() {
                base.pop();
            }
            base.extend(words);
            // What is behind the module is an item of it.
            let to = (1..=base.len()).rev().map(|n| base[..n].join("::")).find(|m| sources.contains_key(m));
            of_module.extend(to.filter(|to| to != module));
        }
    }
    imports
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| module.split("::").next() == Some(layer))
}

/// Whether one is the mod.rs of a folder that the other is in.
fn share_a_folder(one: &str, other: &str) -> bool {
    let is_in =
        |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with("::"));
    is_in(one, other) || is_in(other, one)
}

/// The modules of a circle that leads from `module` back to it.
fn circle(module: &str, imports: &Imports) -> Option<Vec<String>> {
    let (mut ways, mut seen) = (vec![vec![module.to_owned()]], BTreeSet::new());
    while let Some(way) = ways.pop() {
        let last = way.last()?;
        for next in imports.get(last).into_iter().flatten().filter(|next| !share_a_folder(last, next)) {
            if next == module {
                return Some(way);
            }
            if seen.insert(next.clone()) {
                ways.push([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

/// Names of public types, each with the modules that declare it. A file for one
/// kind of system declares what its counterpart does too.
fn public_types(sources: &Sources) -> BTreeMap<String, Vec<String>> {
    let mut types = BTreeMap::<String, Vec<String>>::new();
    for (module, source) in sources {
        for line in without_tests(source).lines() {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            if let ["pub", "struct" | "enum" | "trait" | "union" | "type", name, ..] = words[..] {
                types.entry(name.to_owned()).or_default().push(module.clone());
            }
        }
    }
    types
}

/// What is wrong with the layers, in words.
fn problems(sources: &Sources) -> Vec<String> {
    let imports = imports(sources);
    let mut problems = Vec::new();
    for (from, all) in &imports {
        let Some(own) = layer(from) else {
            problems.push(format!("{from} is in no layer"));
            continue;
        };
        for to in all {
            if layer(to).is_some_and(|other| other > own) {
                problems.push(format!("{from} imports from {to}, which is in a higher layer"));
            }
            let command = |module: &str| module.split("::").nth(1).unwrap_or_default().to_owned();
            // commands/mod.rs lists all of them.
            let listed = from == "commands" || ["", "common"].contains(&command(to).as_str());
            if to.starts_with("commands") && command(from) != command(to) && !listed {
                problems.push(format!("{from} imports from {to}, another command"));
            }
        }
        if let Some(way) = circle(from, &imports) {
            problems.push(format!("a circle of imports: {}", way.join(", ")));
        }
    }
    for (name, modules) in public_types(sources) {
        // Every module has its own `Result` for its own error.
        if modules.len() > 1 && name != "Result" {
            problems.push(format!("public type {name} is in {}", modules.join(" and ")));
        }
    }
    for (module, source) in sources {
        let lines = without_tests(source).lines().count();
        if lines > LINES {
            problems.push(format!("{module} has {lines} lines without its tests, more than {LINES}"));
        }
    }
    problems
}

#[test]
fn every_file_keeps_to_its_layer() {
    let sources = sources();
    let imports = imports(&sources);
    let lines: usize = sources.values().map(|source| source.lines().count()).sum();
    let arrows: usize = imports.values().map(BTreeSet::len).sum();
    println!("{} files, {lines} lines, {arrows} imports", sources.len());
    for layer in LAYERS {
        let of_layer = |module: &&String| module.split("::").next() == Some(layer);
        println!("  {layer}: {} files", sources.keys().filter(of_layer).count());
    }
    let found = problems(&sources);
    assert!(found.is_empty(), "{} problems:\n{}", found.len(), found.join("\n"));
    // A parser that reads nothing finds nothing.
    assert!(arrows > 400 && imports["commands::jail_clone"].contains("domain::layout"), "{arrows}");
}

#[test]
fn planted_arrows_are_seen() {
    let plant = |planted: &[(&str, &str)]| -> Vec<String> {
        let mut sources = sources();
        for (module, text) in planted {
            let source = sources.entry((*module).to_owned()).or_default();
            *source = format!("{text}\n{source}");
        }
        problems(&sources)
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(plant(&[]), none);
    for (module, text, expected) in [
        ("types::mac", "use crate::system::file;", "types::mac imports from system::file, which"),
        (
            "formats::vis",
            "fn f() { let _ = crate::domain::layout::MOVED; }",
            "formats::vis imports from domain",
        ),
        (
            "system::lock",
            "use super::super::{domain::{self, epair}, types};",
            "system::lock imports from domain::epair",
        ),
        (
            "commands::jail_list",
            "use super::jail_destroy;",
            "commands::jail_list imports from commands::jail_destroy",
        ),
        (
            "commands::jail_doctor::facts",
            "use crate::commands::jail_list::run;",
            "commands::jail_doctor::facts imports",
        ),
        (
            "domain::settings",
            "macro_rules! m { () => { crate::commands::common::run() } }",
            "domain::settings imports",
        ),
        (
            "types::twice",
            "pub struct JailName;",
            "public type JailName is in types::jail_name and types::twice",
        ),
        ("elsewhere", "", "elsewhere is in no layer"),
    ] {
        let found = plant(&[(module, text)]);
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{module} {text}: {found:?}");
    }
    let found =
        plant(&[("types::one", "use super::other::B;"), ("types::other", "use crate::types::one::A;")]);
    assert!(found.iter().any(|p| p == "a circle of imports: types::one, types::other"), "{found:?}");
    // A folder's mod.rs and its files may know each other.
    let folder = [("types::folder", "pub mod file; use file::A;"), ("types::folder::file", "use super::B;")];
    assert_eq!(plant(&folder), none);
    // Comments, texts and tests are no imports.
    let text = "// use crate::commands::common;\nconst T: &str = \"crate::commands::common\";";
    assert_eq!(plant(&[("types::text", text)]), none);
    assert_eq!(
        plant(&[("types::tests", "\n#[cfg(test)]\nmod tests { use crate::commands::common; }")]),
        none
    );
    let long = "fn f() {}\n".repeat(LINES + 1);
    assert!(plant(&[("types::long", &long)])[0].contains("more than 600"));
}
