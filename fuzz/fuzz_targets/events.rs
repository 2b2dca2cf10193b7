//! Fuzzes the event log's reader. What is asserted is in `tests/fuzz/targets.rs`.

#![no_main]
#![allow(dead_code, reason = "the other targets")]

#[path = "../../tests/fuzz/files.rs"]
mod files;
#[path = "../../tests/fuzz/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|input: &[u8]| targets::events(input));
