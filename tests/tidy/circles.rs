//! No circles of imports, counted over files.
//!
//! A file that imports another stands above it. So `a` may not import `b` while `b`, directly or
//! through others, imports `a`: neither can then be read, tested or moved without the other.
//!
//! 1. An import is a path that starts at `crate`, `super`, `self` or a child module, in a `use`
//!    or in the code. Test modules are left out, and so is `mod x;`, which imports nothing.
//! 2. To hand a name on is no import, unless the file uses it itself. The import of a name that is
//!    handed on counts as one of the file that defines it: `crate::Seq` is `src/seq.rs`, not
//!    `src/lib.rs`.
//! 3. A parent counts as every other file: a child that uses what its parent defines, and that
//!    the parent uses, is a circle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::source::{Source, sources};
use crate::text::{inline_modules, words};

/// The files that each file imports, with the line of the first import of each.
type Imports = BTreeMap<String, BTreeMap<String, usize>>;

/// The root files of the crates under `src/`, the command first: its folder is inside the other.
const ROOTS: [(&str, &str); 2] =
    [("src/bin/ringwal/", "src/bin/ringwal/main.rs"), ("src/", "src/lib.rs")];

/// A builder opens its handle, and the handle begins with its builder: natural pairs, which stay.
const PAIRS: [(&str, &str); 4] = [
    ("src/engine/options.rs", "src/engine/log.rs"),
    ("src/kv/builder.rs", "src/kv/handle.rs"),
    ("src/kv/builder.rs", "src/kv/reader.rs"),
    ("src/wal/builder.rs", "src/wal/handle.rs"),
];

#[test]
fn no_file_imports_one_that_imports_it() {
    let sources = sources();
    let imports = imports(&sources);
    let edges: usize = imports.values().map(BTreeMap::len).sum();
    assert!(edges > 500, "only {edges} imports were found");
    let complaints = complaints(&imports, &PAIRS);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// The parts of the command, lowest first. A file imports its own part and those below it, so no
/// command imports another.
const COMMAND: [&[&str]; 6] = [
    &["util"],
    &["options"],
    &["output"],
    &["append", "backup", "bench", "dump", "import", "recover", "soak", "verify"],
    &["cli"],
    &["main"],
];

#[test]
fn no_command_imports_another() {
    let complaints = between_commands(&imports(&sources()));
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));

    let count = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|file| format!("src/bin/ringwal/{file}.rs"));
        between_commands(&Imports::from([(from, BTreeMap::from([(to, 1)]))])).len()
    };
    assert_eq!(count("dump", "output/records"), 0);
    assert_eq!(count("soak/run/mod", "soak/args"), 0);
    assert_eq!(count("dump", "verify"), 1);
    assert_eq!(count("soak/args", "bench/args"), 1);
    assert_eq!(count("util/signal", "output/stream"), 1);
    assert_eq!(count("dump", "unknown"), 1);
}

fn between_commands(imports: &Imports) -> Vec<String> {
    let part = |file: &str| {
        let inside = file.strip_prefix("src/bin/ringwal/")?;
        Some(inside.split('/').next()?.trim_end_matches(".rs").to_owned())
    };
    let layer = |part: &str| COMMAND.iter().position(|parts| parts.contains(&part));
    let mut complaints = Vec::new();
    for (from, targets) in imports {
        for (to, line) in targets {
            let Some((own, other)) = part(from).zip(part(to)) else { continue };
            let is_below = layer(&other).zip(layer(&own)).is_some_and(|(other, own)| other < own);
            if own != other && !is_below {
                complaints.push(format!("{from}:{line}: {own} may not use {other}"));
            }
        }
    }
    complaints
}

/// The complaints: circles that are not allowed, and exceptions that are not needed.
fn complaints(imports: &Imports, allowed: &[(&str, &str)]) -> Vec<String> {
    let mut without = imports.clone();
    for (from, to) in allowed {
        if let Some(targets) = without.get_mut(*from) {
            targets.remove(*to);
        }
    }
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for from in without.keys() {
        if let Some(circle) = way(&without, from, from)
            && seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>())
        {
            complaints.push(format!("a circle of imports: {}", shown(&without, &circle)));
        }
    }
    for (from, to) in allowed {
        let is_import = imports.get(*from).is_some_and(|targets| targets.contains_key(*to));
        if !is_import || way(&without, to, from).is_none() {
            complaints
                .push(format!("{from} -> {to} closes no circle any more: remove it from PAIRS"));
        }
    }
    complaints
}

/// The shortest way from one file to another over at least one import, both ends included.
fn way(imports: &Imports, from: &str, to: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(file) = next.pop_front() {
        for target in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
            if before.contains_key(target.as_str()) {
                continue;
            }
            before.insert(target, file);
            if target != to {
                next.push_back(target);
                continue;
            }
            let mut way = vec![to.to_owned()];
            let mut at = file;
            while at != from {
                way.push(at.to_owned());
                at = before[at];
            }
            way.push(from.to_owned());
            way.reverse();
            return Some(way);
        }
    }
    None
}

fn shown(imports: &Imports, way: &[String]) -> String {
    let steps =
        way.windows(2).map(|pair| format!("{}:{} -> ", pair[0], imports[&pair[0]][&pair[1]]));
    steps.collect::<String>() + way.last().map_or("", String::as_str)
}

// Which file a path leads to.

/// A module that has a file of its own.
struct Module<'a> {
    file: &'a str,
    /// The names that it brings into scope with `use`, and the paths that they stand for.
    names: BTreeMap<String, Vec<String>>,
}

/// The modules of one crate, by their paths.
type Modules<'a> = BTreeMap<Vec<String>, Module<'a>>;

fn imports(sources: &[Source]) -> Imports {
    let mut imports = Imports::new();
    for (folder, root) in ROOTS {
        let is_own = |source: &&Source| {
            let of_first = ROOTS.iter().find(|(folder, _)| source.path.starts_with(folder));
            !source.is_test && of_first.is_some_and(|(first, _)| *first == folder)
        };
        let files: Vec<(Vec<String>, &str, String)> = sources
            .iter()
            .filter(is_own)
            .map(|source| {
                (module_path(&source.path, folder, root), &*source.path, source.shipped())
            })
            .collect();
        let mut modules = Modules::new();
        for (path, file, _) in &files {
            modules.insert(path.clone(), Module { file, names: BTreeMap::new() });
        }
        let mut imported = Vec::new();
        for (own, file, code) in &files {
            for Path { line, name, target, is_handed_on } in paths(own, code, &modules) {
                if !is_handed_on {
                    imported.push((*file, line, target.clone()));
                }
                if let Some((name, module)) = name.zip(modules.get_mut(own)) {
                    module.names.insert(name, target);
                }
            }
        }
        for (file, line, target) in imported {
            let Some(found) = defining_file(&modules, &target) else { continue };
            if found != file {
                let targets = imports.entry(file.to_owned()).or_default();
                targets.entry(found.to_owned()).or_insert(line);
            }
        }
    }
    imports
}

/// `src/io/uring/mod.rs` is `[io, uring]`.
fn module_path(file: &str, folder: &str, root: &str) -> Vec<String> {
    if file == root {
        return Vec::new();
    }
    let inside = file.trim_start_matches(folder).trim_end_matches(".rs");
    inside.split('/').filter(|part| *part != "mod").map(str::to_owned).collect()
}

/// The file that defines the target of a path: through modules and re-exports.
fn defining_file<'a>(modules: &Modules<'a>, path: &[String]) -> Option<&'a str> {
    /// More names than that do not stand for each other.
    const HANDED_ON_MAX: usize = 8;
    let mut path = path.to_vec();
    for _ in 0..HANDED_ON_MAX {
        let depth = (0..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
        let module = &modules[&path[..depth]];
        let handed_on = path.get(depth).and_then(|name| module.names.get(name));
        match handed_on {
            Some(target) if *target != path[..=depth] => {
                path = [target, &path[depth + 1..]].concat();
            }
            _ => return Some(module.file),
        }
    }
    None
}

/// A path into the crate that a file has.
struct Path {
    line: usize,
    /// The name that a `use` at the top of the file gives it.
    name: Option<String>,
    /// From the crate's root.
    target: Vec<String>,
    /// Whether it is `pub use` of a name that the file does not use itself.
    is_handed_on: bool,
}

/// All paths into the crate that a file has.
fn paths(own: &[String], code: &str, modules: &Modules<'_>) -> Vec<Path> {
    let inline = inline_modules(code);
    let mut found = Vec::new();
    let mut outside = String::new();
    let mut rest = 0;
    while let Some((at, is_use)) = next_path(code, rest) {
        let end = path_end(code, at, is_use);
        outside.push_str(&code[rest..if is_use { at } else { end }]);
        let nested = inline.iter().filter(|module| module.contains(&at)).count();
        let line = code[..at].matches('\n').count() + 1;
        let before = code[rest..at].rsplit([';', '}']).next().unwrap_or_default();
        let is_handed_on = is_use && words(before).any(|word| word == "pub");
        for (path, name) in expand(&code[at..end]) {
            let Some(target) = from_root(own, nested, &path, modules) else { continue };
            let name = name.filter(|_| is_use && nested == 0);
            found.push(Path { line, name, target, is_handed_on });
        }
        rest = end;
    }
    outside.push_str(&code[rest..]);
    let used: BTreeSet<&str> = words(&outside).collect();
    for path in &mut found {
        path.is_handed_on &= path.name.as_ref().is_some_and(|name| !used.contains(&**name));
    }
    found
}

/// Where the next path begins at or after `from`: that of a `use`, or another one of two names.
fn next_path(code: &str, from: usize) -> Option<(usize, bool)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut at = from;
    while at < code.len() {
        let start = at + code[at..].find(is_part)?;
        let length = code[start..].find(|c| !is_part(c)).unwrap_or(code.len() - start);
        let word = &code[start..start + length];
        if word == "use" {
            let path = start + length;
            return Some((path + code[path..].len() - code[path..].trim_start().len(), true));
        }
        if word.contains("::") && !word.starts_with("::") {
            return Some((start, false));
        }
        at = start + length;
    }
    None
}

fn path_end(code: &str, at: usize, is_use: bool) -> usize {
    let is_end = |c: char| match is_use {
        true => c == ';',
        false => !(c.is_alphanumeric() || c == '_' || c == ':'),
    };
    code[at..].find(is_end).map_or(code.len(), |length| at + length)
}

/// The single paths of a path with groups, each with the name that it has afterwards.
fn expand(text: &str) -> Vec<(Vec<String>, Option<String>)> {
    let Some(open) = text.find('{') else {
        let (path, name) = match text.split_once(" as ") {
            Some((path, name)) => (path, Some(name.trim().to_owned())),
            None => (text, None),
        };
        let path: Vec<String> = words(path).map(str::to_owned).collect();
        let name = name.or_else(|| path.last().cloned());
        return vec![(path, name)];
    };
    let prefix: Vec<String> = words(&text[..open]).map(str::to_owned).collect();
    let mut found = Vec::new();
    for part in parts(&text[open + 1..]) {
        for (mut path, name) in expand(part) {
            let is_self = path.last().is_some_and(|last| last == "self");
            let name = name.filter(|name| name != "self").or_else(|| prefix.last().cloned());
            if is_self {
                path.pop();
            }
            found.push(([&prefix[..], &path].concat(), name));
        }
    }
    found
}

/// The parts of a group that begins after its brace.
fn parts(group: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '}' if depth == 0 => {
                parts.push(&group[start..at]);
                break;
            }
            ',' if depth == 0 => {
                parts.push(&group[start..at]);
                start = at + 1;
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// A path from the crate's root, if it leads into the crate. `nested` is how many modules inside
/// the file of module `own` it stands in.
fn from_root(
    own: &[String],
    nested: usize,
    path: &[String],
    modules: &Modules<'_>,
) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" | "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            let rest = path.iter().skip_while(|part| ["self", "super"].contains(&part.as_str()));
            let kept = (own.len() + nested).checked_sub(up)?.min(own.len());
            Some(own[..kept].iter().chain(rest).cloned().collect())
        }
        first => {
            let child = [own, &[first.to_owned()]].concat();
            modules.contains_key(&child).then(|| [own, path].concat())
        }
    }
}

#[test]
fn circles_are_found_through_parents_groups_and_names_handed_on() {
    let found = |files: &[(&str, &str)], allowed: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        complaints(&imports(&files), allowed)
    };
    let (a, b) = ("src/a.rs", "src/b.rs");
    let pair = [(a, "use crate::b::B;"), (b, "use crate::{a::{self, A}, c};")];
    assert_eq!(found(&pair, &[]), ["a circle of imports: src/a.rs:1 -> src/b.rs:1 -> src/a.rs"]);
    assert_eq!(found(&pair, &[(a, b)]), Vec::<String>::new());
    let once = [(a, "use crate::b::B;"), (b, "")];
    assert_eq!(found(&once, &[]), Vec::<String>::new());
    assert_eq!(found(&once, &[(a, b)]).len(), 1, "an exception that is not needed");
    assert_eq!(found(&pair, &[(a, b), (b, "src/c.rs")]).len(), 1);

    let parent = ("src/x/mod.rs", "mod y;\nfn f() { y::g() }\npub use y::Y;");
    assert_eq!(found(&[parent, ("src/x/y.rs", "use super::f;")], &[]).len(), 1);
    assert_eq!(found(&[parent, ("src/x/y.rs", "use crate::x::Y;")], &[]).len(), 0);
    assert_eq!(found(&[("src/x.rs", "mod y;"), ("src/x/y.rs", "use super::f;")], &[]).len(), 0);
    let nested = "mod z { use super::g; use super::super::f; }";
    assert_eq!(found(&[parent, ("src/x/y.rs", nested)], &[]).len(), 1);
    assert_eq!(found(&[parent, ("src/x/y.rs", "mod z { use super::g; }")], &[]).len(), 0);
    let tested = "#[cfg(test)]\nmod tests { use crate::a::A; }";
    assert_eq!(found(&[(a, "use crate::b::B;"), (b, tested)], &[]).len(), 0);
    let through_root = [("src/lib.rs", "pub use b::B as C;"), (a, "use crate::C;"), (b, "")];
    assert_eq!(found(&through_root, &[]).len(), 0);
    let again = [through_root[0], through_root[1], (b, "fn f(a: crate::a::A) {}")];
    assert_eq!(found(&again, &[]).len(), 1);
    let command = [("src/bin/ringwal/a.rs", "use crate::b::B;"), (b, "use crate::a::A;"), (a, "")];
    assert_eq!(found(&command, &[]).len(), 0, "the command is a crate of its own");
}
