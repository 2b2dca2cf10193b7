//! The files of the crate, and which of them are there for tests alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::text::{blank, without_tests, words};

/// One file of the crate.
pub(crate) struct Source {
    /// From the crate's root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and characters blanked, line for line.
    pub(crate) code: String,
    /// Whether it is compiled for tests alone.
    pub(crate) is_test: bool,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let is_test =
            path.starts_with("tests/") || path.ends_with("/tests.rs") || path.contains("/tests/");
        Source { path: path.to_owned(), text: text.to_owned(), code: blank(text), is_test }
    }

    /// The code without its test modules.
    pub(crate) fn shipped(&self) -> String {
        if self.is_test { String::new() } else { without_tests(&self.code) }
    }

    pub(crate) fn complaint(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

pub(crate) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for top in ["src", "tests", "benches"] {
        collect(&root.join(top), &mut paths);
    }
    paths.sort();
    assert!(paths.len() > 10, "the source is not where it should be");
    let read = |path: &std::path::PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
        Source::new(&name, &fs::read_to_string(path).unwrap())
    };
    let mut sources: Vec<Source> = paths.iter().map(read).collect();
    let of_tests: BTreeSet<String> = sources.iter().flat_map(test_modules).collect();
    for source in &mut sources {
        source.is_test |= of_tests.contains(&source.path);
    }
    sources
}

/// The files of the modules that a file declares for tests alone.
fn test_modules(source: &Source) -> Vec<String> {
    let file = source.path.trim_end_matches(".rs");
    let dir = ["/lib", "/mod", "/main"].iter().find_map(|name| file.strip_suffix(name));
    let dir = dir.unwrap_or(file);
    let declared = source.code.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let after = after.trim_start().trim_start_matches("pub(crate) ");
        let (module, _) = after.strip_prefix("mod ")?.split_once(';')?;
        words(module).next().filter(|name| *name == module)
    });
    declared.map(|name| format!("{dir}/{name}.rs")).collect()
}

fn collect(dir: &Path, paths: &mut Vec<std::path::PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
