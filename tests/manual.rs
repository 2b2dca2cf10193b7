//! The manual names tests and scripts: they have to be there.

#![allow(clippy::unwrap_used, reason = "the helpers of a test file are tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PROMISES: &str = "src/manual/promises.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table of promises, cell by cell, without its head.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join(PROMISES)).unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    let rows: Vec<Vec<String>> =
        text.lines().filter(|line| line.starts_with('|')).map(cells).collect();
    rows[2..].to_vec()
}

/// The text between backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names of all tests.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut dirs = vec![root().join("src"), root().join("tests")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                names.extend(tests_in(&path));
            }
        }
    }
    names
}

/// The functions of a file that have a test's attribute, also inside of `proptest!`.
fn tests_in(path: &PathBuf) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let behind = text.split("#[test]").skip(1);
    let name = |code: &str| Some(code.split_once("fn ")?.1.split_once('(')?.0.trim().to_owned());
    behind.filter_map(name).collect()
}

#[test]
fn every_test_and_script_in_the_table_of_promises_exists() {
    let tests = tests();
    for row in rows() {
        for name in quoted(&row[4]) {
            let exists = match name.strip_prefix("scripts/") {
                Some(_) => root().join(&name).is_file(),
                None => tests.contains(&name),
            };
            assert!(exists, "promise {} is said to be held by {name}, which is not there", row[1]);
        }
    }
    assert!(!tests.contains("no_such_test"));
}

#[test]
fn each_of_the_promises_is_held_by_something() {
    let rows = rows();
    let numbers: Vec<_> = rows.iter().map(|row| row[1].clone()).collect();
    let expected: Vec<_> = (1..=23).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected);
    for row in rows {
        assert!(!quoted(&row[4]).is_empty(), "promise {} has no test", row[1]);
    }
}
