//! The house rules, as tests: layering, sizes, comments, and constructs banned from the source.
//!
//! Each rule is a function from source text to complaints. Each is also run on a sample that
//! breaks it, so that a rule that cannot fail is noticed.
//!
//! The source is read as text: comments, strings and characters are blanked out first, so that
//! words in them do not count as code.

// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use source::{Source, sources};
use text::{blank, functions, inline_modules, words};

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/text.rs"]
mod text;

/// The layers of ARCHITECTURE.md, lowest first. A module uses its own layer and those below.
const LAYERS: [&[&str]; 6] = [
    &[
        "buf",
        "clock",
        "error",
        "filesystem",
        "kind",
        "mutation",
        "replication",
        "seq",
        "sync",
        "sys",
        "wakers",
    ],
    &["format"],
    &["io"],
    &["segment"],
    &["engine"],
    &["datawal", "kv", "wal"],
];
/// The layer of the facades: they use what the crate root exports, and these modules.
const FACADE_LAYER: usize = 5;
const FACADE_MAY_USE: [&str; 7] =
    ["clock", "error", "format", "mutation", "replication", "sync", "wakers"];
/// Exceptions: a facade, and another module that it may use.
const FACADE_EXCEPTIONS: [(&str, &str); 2] = [
    // It hands on the names of segments, which are not the engine's to export.
    ("src/wal/segment.rs", "segment"),
    // It stands on the key-value log: its limits, and how it gives a complete thing its name.
    ("src/datawal/", "kv"),
];

/// Where `unsafe` may be, and nowhere else.
const UNSAFE_ISLANDS: [&str; 10] = [
    // The command sees only the public API, so it cannot use `src/sys.rs`.
    "src/bin/ringwal/util/system.rs",
    "src/buf.rs",
    "src/io/uring/",
    "src/sys.rs",
    "tests/allocations.rs",
    "tests/command/terminal.rs",
    "tests/fork.rs",
    "tests/kill/points.rs",
    "tests/limits/resource.rs",
    "tests/refused.rs",
];

const COLUMNS_MAX: usize = 100;
const FILE_LINES_WARN: usize = 450;
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Runs a rule on every file.
#[track_caller]
fn assert_tidy(rule: impl Fn(&Source) -> Vec<String>) {
    let complaints: Vec<String> = sources().iter().flat_map(rule).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Runs a rule on a sample and gives how many complaints there are.
fn complaints(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

// Layers.

#[test]
fn modules_use_their_own_layer_and_those_below() {
    let exports = root_exports(&fs::read_to_string("src/lib.rs").unwrap());
    assert!(exports.contains_key("Seq"), "{exports:?}");
    assert_tidy(|source| layering(source, &exports));

    let count = |path, text| complaints(|source| layering(source, &exports), path, text);
    assert_eq!(count("src/io/mod.rs", "use crate::engine::Log;"), 1);
    assert_eq!(count("src/io/mod.rs", "use crate::{error::Result, engine};"), 1);
    assert_eq!(count("src/io/uring/mod.rs", "fn f() { super::super::engine::f() }"), 1);
    assert_eq!(count("src/wal/mod.rs", "use crate::io::Strategy;"), 1);
    assert_eq!(count("src/wal/mod.rs", "use crate::{Seq, format, wal::dedup};"), 0);
    assert_eq!(count("src/kv/mod.rs", "use crate::wal::WalHandle;"), 1);
    assert_eq!(count("src/kv/mod.rs", "use crate::datawal::RecordLog;"), 1);
    assert_eq!(count("src/datawal/mod.rs", "use crate::{kv::KEY_BYTES_MAX, wal::x};"), 1);
    assert_eq!(count("src/format/mod.rs", "use crate::Seq; // crate::engine"), 0);
    assert_eq!(count("src/format/mod.rs", "use super::segment::name;"), 1);
    assert_eq!(count("src/sys.rs", "mod linux { use super::Filesystem; }"), 0);
    assert_eq!(count("src/sys.rs", "mod linux { use super::super::io; }"), 1);
    assert_eq!(count("src/segment/name.rs", "use super::spare; use crate::nowhere::x;"), 1);
}

fn layering(source: &Source, exports: &BTreeMap<String, String>) -> Vec<String> {
    let Some(module) = top_module(&source.path).filter(|_| !source.is_test) else {
        return Vec::new();
    };
    let Some(own) = layer(module) else {
        return vec![source.complaint(1, format!("{module} has no layer in tests/tidy.rs"))];
    };
    let code = source.shipped();
    let mut complaints = Vec::new();
    for (line, name) in root_paths(&source.path, &code) {
        let target = exports.get(&name).unwrap_or(&name);
        let allowed = match layer(target) {
            _ if target == module => true,
            _ if own == FACADE_LAYER => {
                exports.contains_key(&name)
                    || FACADE_MAY_USE.contains(&target.as_str())
                    || is_exception(&source.path, target)
            }
            Some(other) => other <= own,
            // A macro of the crate's root, or something this does not understand.
            None => false,
        };
        if !allowed {
            complaints.push(source.complaint(line, format!("{module} may not use {name}")));
        }
    }
    complaints
}

fn is_exception(path: &str, target: &str) -> bool {
    FACADE_EXCEPTIONS.iter().any(|(place, module)| path.starts_with(place) && target == *module)
}

/// The module right under the crate's root that a file belongs to.
fn top_module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let name = inside.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "bin", "manual"].contains(&name)).then_some(name)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The names that `lib.rs` re-exports, and their modules.
fn root_exports(text: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    let code = blank(text);
    for statement in code.split(';') {
        // What only the crate sees is there for the facades.
        let public = statement.split_once("pub use ");
        let found = public.or_else(|| statement.split_once("pub(crate) use "));
        let Some((_, path)) = found else { continue };
        let path = path.trim().trim_start_matches("crate::");
        let Some((module, rest)) = path.split_once("::") else { continue };
        for name in words(rest) {
            exports.insert(name.to_owned(), module.to_owned());
        }
    }
    exports
}

/// The first names of all paths that start at the crate's root, with their lines: `crate::x`,
/// `crate::{x, y::z}` and as many `super::` as lead there.
fn root_paths(path: &str, code: &str) -> Vec<(usize, String)> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    let depth = inside.split('/').filter(|part| *part != "mod").count();
    let modules = inline_modules(code);
    let mut found = Vec::new();
    let starts = code.match_indices("crate::").chain(code.match_indices("super::"));
    for (at, start) in starts {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c)) {
            continue;
        }
        let mut rest = &code[at + start.len()..];
        if start == "super::" {
            let nested = modules.iter().filter(|module| module.contains(&at)).count();
            let mut up = 1;
            while let Some(further) = rest.strip_prefix(start) {
                rest = further;
                up += 1;
            }
            if up < depth + nested {
                continue;
            }
        }
        let names = match rest.strip_prefix('{') {
            Some(group) => first_names(group),
            None => words(rest).next().into_iter().collect(),
        };
        let line = code[..at].matches('\n').count() + 1;
        found.extend(names.into_iter().map(|name| (line, name.to_owned())));
    }
    found.retain(|(_, name)| name != "super" && name != "self");
    found
}

/// The first name of each path in a braced group; `group` begins after its brace.
fn first_names(group: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                names.extend(words(&group[start..at]).next());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names
}

// Sizes.

#[test]
fn lines_are_at_most_100_columns() {
    assert_tidy(columns);
    assert_eq!(complaints(columns, "src/a.rs", &"é".repeat(101)), 1);
    assert_eq!(complaints(columns, "src/a.rs", &"é".repeat(100)), 0);
}

fn columns(source: &Source) -> Vec<String> {
    let lines = source.text.lines().zip(1..);
    let long = lines.filter(|(line, _)| line.chars().count() > COLUMNS_MAX);
    long.map(|(_, number)| source.complaint(number, "more than 100 columns")).collect()
}

#[test]
fn files_are_at_most_600_lines() {
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_WARN {
            println!("warning: {} has {lines} lines: is it still one thing?", source.path);
        }
    }
    assert_tidy(file_lines);
    assert_eq!(complaints(file_lines, "src/a.rs", &"\n".repeat(601)), 1);
    assert_eq!(complaints(file_lines, "src/a.rs", &"\n".repeat(600)), 0);
}

fn file_lines(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let long = lines > FILE_LINES_MAX;
    long.then(|| source.complaint(lines, "more than 600 lines")).into_iter().collect()
}

#[test]
fn functions_fit_a_screen() {
    assert_tidy(function_lines);
    let body = |lines| format!("fn f(x: [u8; 3]) -> u8 {{{}}}\nfn g();\n", "\n".repeat(lines));
    assert_eq!(complaints(function_lines, "src/a.rs", &body(70)), 1);
    assert_eq!(complaints(function_lines, "src/a.rs", &body(69)), 0);
}

fn function_lines(source: &Source) -> Vec<String> {
    let long = functions(&source.code)
        .into_iter()
        .filter(|function| function.body.matches('\n').count() + 1 > FUNCTION_LINES_MAX);
    long.map(|function| {
        source.complaint(function.line, format!("{} has more than 70 lines", function.name))
    })
    .collect()
}

// Banned and required constructs.

#[test]
fn shipped_code_gives_a_reason_where_it_may_panic() {
    assert_tidy(panics);
    assert_eq!(complaints(panics, "src/a.rs", "fn f() { x.unwrap(); }"), 1);
    assert_eq!(complaints(panics, "src/a.rs", "fn f() {\n\n x.expect(\"y\"); }"), 1);
    assert_eq!(complaints(panics, "src/a.rs", "x.expect(\"the caller checked\")"), 0);
    assert_eq!(complaints(panics, "src/a.rs", "// Proven above.\nlet y = x.unwrap();"), 0);
    assert_eq!(complaints(panics, "src/a.rs", "/// x.unwrap()\nfn f() {}"), 0);
    let tested = "#[cfg(test)]\nmod tests {\n fn f() {\n\n x.unwrap(); }\n}\n";
    assert_eq!(complaints(panics, "src/a.rs", tested), 0);
}

fn panics(source: &Source) -> Vec<String> {
    const WORDS_OF_A_REASON: usize = 3;
    let shipped = source.shipped();
    let lines: Vec<&str> = source.text.lines().collect();
    let mut complaints = Vec::new();
    for (code, index) in shipped.lines().zip(0..) {
        let may_panic = code.contains(".unwrap()") || code.contains(".expect(");
        let above = lines[..index].iter().rev().take(3);
        let commented = [lines[index]].iter().chain(above).any(|line| line.contains("//"));
        let message = lines[index].split_once(".expect(\"").map_or("", |(_, message)| message);
        if may_panic && !commented && words(message).count() < WORDS_OF_A_REASON {
            complaints.push(source.complaint(index + 1, "may panic, and nothing says why not"));
        }
    }
    complaints
}

#[test]
fn the_command_uses_its_streams_through_one_module() {
    assert_tidy(streams);
    let count = |path, text| complaints(streams, path, text);
    for text in [
        "fn f() { println!(); }",
        "fn f() { eprint!(x); }",
        "use std::io::{self, stdout};",
        "fn f() { io::stderr().lock(); }",
        "fn f() { std::io::stdin(); }",
        "fn f() { error.exit(); }",
        "fn f() { Args::parse(); }",
    ] {
        assert_eq!(count("src/bin/ringwal/a.rs", text), 1, "{text}");
    }
    assert_eq!(count("src/bin/ringwal/output/stream.rs", "fn f() { io::stdout(); }"), 0);
    assert_eq!(count("src/bin/ringwal/a.rs", "use crate::stream::stdout; fn f() { stdout(); }"), 0);
    let tested = "#[cfg(test)]\nmod tests {\n fn f() { println!(); }\n}\n";
    assert_eq!(count("src/bin/ringwal/a.rs", tested), 0);
}

/// Calls that panic, give up or end the process if a stream of the command fails.
fn streams(source: &Source) -> Vec<String> {
    const MODULE: &str = "src/bin/ringwal/output/stream.rs";
    const PRINTS: [&str; 7] =
        ["println!", "print!", "eprintln!", "eprint!", "dbg!", "error.exit()", "Args::parse()"];
    const NAMES: [&str; 3] = ["stdout", "stderr", "stdin"];
    if !source.path.starts_with("src/bin/ringwal/") || source.path == MODULE {
        return Vec::new();
    }
    let shipped = source.shipped();
    let lines = shipped.lines().zip(1..);
    let bad = lines.filter(|(line, _)| {
        let is_io = line.replace("Stdio::", "").contains("io::")
            && words(line).any(|word| NAMES.contains(&word));
        is_io || PRINTS.iter().any(|print| line.contains(print))
    });
    bad.map(|(_, number)| source.complaint(number, "streams are for stream.rs")).collect()
}

#[test]
fn unsafe_code_stays_on_its_islands() {
    assert_tidy(islands);
    assert_eq!(complaints(islands, "src/engine/mod.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(complaints(islands, "src/buf.rs", "fn f() { unsafe { g() } }"), 0);
    assert_eq!(complaints(islands, "src/a.rs", "#![deny(unsafe_code)] // unsafe"), 0);
}

fn islands(source: &Source) -> Vec<String> {
    if UNSAFE_ISLANDS.iter().any(|island| source.path.starts_with(island)) {
        return Vec::new();
    }
    let lines = source.code.lines().zip(1..);
    let outside = lines.filter(|(line, _)| words(line).any(|word| word == "unsafe"));
    outside.map(|(_, number)| source.complaint(number, "unsafe outside of its islands")).collect()
}

#[test]
fn unsafe_code_says_why_it_is_sound() {
    assert_tidy(soundness);
    assert_eq!(complaints(soundness, "src/buf.rs", "fn f() {\n unsafe { g() } }"), 1);
    assert_eq!(complaints(soundness, "src/buf.rs", "// SAFETY: so.\nunsafe { g() }"), 0);
    assert_eq!(complaints(soundness, "src/buf.rs", "unsafe impl Send for X {}"), 1);
    assert_eq!(complaints(soundness, "src/buf.rs", "/// # Safety\n///\n/// So.\nunsafe fn f()"), 0);
}

fn soundness(source: &Source) -> Vec<String> {
    const LINES_ABOVE: usize = 12;
    let lines: Vec<&str> = source.text.lines().collect();
    let mut complaints = Vec::new();
    for (code, index) in source.code.lines().zip(0..) {
        if !words(code).any(|word| word == "unsafe") {
            continue;
        }
        let near = &lines[usize::saturating_sub(index, LINES_ABOVE)..=index];
        if !near.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
            complaints.push(source.complaint(index + 1, "unsafe without a SAFETY comment"));
        }
    }
    complaints
}

#[test]
fn nothing_is_put_off() {
    assert_tidy(put_off);
    for marker in put_off_markers() {
        assert_eq!(complaints(put_off, "src/a.rs", &format!("// {marker} it")), 1, "{marker}");
    }
    assert_eq!(complaints(put_off, "src/a.rs", "// mastodon"), 0);
}

/// Put together here, so that this file does not contain them.
fn put_off_markers() -> [String; 4] {
    [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["for ", "now"]].map(|parts| parts.concat())
}

fn put_off(source: &Source) -> Vec<String> {
    let markers = put_off_markers();
    let lines = source.text.lines().zip(1..);
    let bad = lines.filter(|(line, _)| markers.iter().any(|marker| line.contains(marker)));
    bad.map(|(_, number)| source.complaint(number, "something is put off")).collect()
}

#[test]
fn every_file_says_what_it_is() {
    assert_tidy(module_docs);
    assert_eq!(complaints(module_docs, "src/a.rs", "use std::fs;\n//! Late.\n"), 1);
    assert_eq!(complaints(module_docs, "src/a/tests.rs", "use super::*;\n"), 0);
    assert_eq!(complaints(module_docs, "src/a.rs", "\n#![cfg(x)]\n//! Early.\n"), 0);
}

fn module_docs(source: &Source) -> Vec<String> {
    if source.is_test && source.path.starts_with("src/") {
        // The name of the case says what it tests.
        return Vec::new();
    }
    let mut lines = source.text.lines();
    let first = lines.find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    let documented = first.is_some_and(|line| line.starts_with("//!"));
    (!documented).then(|| source.complaint(1, "no module documentation")).into_iter().collect()
}

#[test]
fn every_test_can_fail() {
    let sources = sources();
    let asserting = asserting_functions(&sources);
    assert_tidy(|source| toothless(source, &asserting));

    let sample = "//! A.\n#[test]\nfn a() { f(); }\n#[test]\nfn b() { assert!(true); }\n\
                  fn g() { f(); assert_eq!(1, 1); }\n#[test]\nfn c() { g(); }\n";
    let sample = Source::new("tests/a.rs", sample);
    let known = asserting_functions(std::slice::from_ref(&sample));
    assert_eq!(toothless(&sample, &known).len(), 1);
}

fn toothless(source: &Source, asserting: &BTreeSet<String>) -> Vec<String> {
    let functions = functions(&source.code).into_iter();
    let bad = functions.filter(|function| {
        let attributes = function.attributes;
        let is_test = attributes.contains("#[test]") && !attributes.contains("should_panic");
        is_test && !can_fail(function.body, asserting)
    });
    bad.map(|function| source.complaint(function.line, format!("{} has no assert", function.name)))
        .collect()
}

fn can_fail(body: &str, asserting: &BTreeSet<String>) -> bool {
    words(body).any(|word| {
        word.contains("assert")
            || ["panic", "unreachable", "proptest"].contains(&word)
            || asserting.contains(word)
    })
}

/// The names of all functions that assert, by themselves or through others.
fn asserting_functions(sources: &[Source]) -> BTreeSet<String> {
    // Only calls in tests count: a library function with the name of a helper proves nothing.
    let bodies: Vec<_> = sources
        .iter()
        .filter(|source| source.is_test || source.code.contains("#[cfg(test)]"))
        .flat_map(|source| functions(&source.code))
        .filter(|function| !function.attributes.contains("#[test]"))
        .collect();
    let mut known = BTreeSet::new();
    loop {
        let before = known.len();
        for function in &bodies {
            if can_fail(function.body, &known) {
                known.insert(function.name.to_owned());
            }
        }
        if known.len() == before {
            return known;
        }
    }
}
