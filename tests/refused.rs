//! A kernel that refuses io_uring, at each of its three system calls: the behaviour of `auto` and
//! the error of `uring`.
//!
//! The refusal is real: the command runs under a seccomp filter, as in a container that forbids
//! io_uring.

#![cfg(all(target_os = "linux", feature = "cli", feature = "uring"))]
// The filter is installed between fork and exec, by system calls that have no safe wrapper.
#![allow(unsafe_code)]
// Helpers of tests may unwrap, too; clippy.toml reaches only the tests themselves.
#![allow(clippy::unwrap_used)]

mod command;

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use command::{new_dir, run, stderr};

/// A system call, the kernel's answer, and the names of that error in a message.
struct Refusal {
    call: libc::c_long,
    errno: i32,
    name: &'static str,
}

const SETUP: [Refusal; 3] = [
    Refusal { call: libc::SYS_io_uring_setup, errno: libc::EPERM, name: "EPERM" },
    Refusal { call: libc::SYS_io_uring_setup, errno: libc::ENOSYS, name: "ENOSYS" },
    Refusal { call: libc::SYS_io_uring_setup, errno: libc::ENOMEM, name: "ENOMEM" },
];
const LATER: [Refusal; 2] = [
    Refusal { call: libc::SYS_io_uring_enter, errno: libc::EPERM, name: "EPERM" },
    Refusal { call: libc::SYS_io_uring_register, errno: libc::EPERM, name: "EPERM" },
];

#[test]
fn auto_goes_on_without_io_uring_and_names_the_errno() {
    for refusal in &SETUP {
        let (_parent, dir) = new_dir();
        let said = append_under(refusal, "auto", &dir);
        assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
        assert_names(refusal, &said);
        assert_eq!(said.stdout.iter().filter(|byte| **byte == b'\n').count(), 20);
        assert_eq!(dump_lines(&dir), 20);
    }
}

#[test]
fn auto_keeps_its_promise_whatever_call_is_refused() {
    for refusal in &LATER {
        let (_parent, dir) = new_dir();
        let said = append_under(refusal, "auto", &dir);
        assert_eq!(said.status.code(), Some(0), "{}: {}", refusal.call, stderr(&said));
        assert_eq!(dump_lines(&dir), 20, "{}", refusal.call);
    }
}

#[test]
fn uring_says_what_was_refused_and_creates_nothing() {
    for refusal in &SETUP {
        let (_parent, dir) = new_dir();
        let said = append_under(refusal, "uring", &dir);
        assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
        assert!(stderr(&said).contains("io_uring"), "{}", stderr(&said));
        assert_names(refusal, &said);
        assert!(said.stdout.is_empty());
        assert!(!dir.exists(), "it made {}", dir.display());
    }
}

#[test]
fn a_refused_backend_leaves_a_log_as_it_was() {
    let (_parent, dir) = new_dir();
    assert_eq!(append_under(&SETUP[0], "auto", &dir).status.code(), Some(0));
    let before = contents(&dir);
    assert_eq!(append_under(&SETUP[0], "uring", &dir).status.code(), Some(1));
    assert_eq!(contents(&dir), before);
}

/// Appends 20 records in a process for which the refusal holds.
fn append_under(refusal: &Refusal, backend: &str, dir: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringwal"));
    command.arg("append").arg(dir).args(["--generate", "20", "--acks", "--backend", backend]);
    command.stdin(Stdio::null());
    let (call, errno) = (refusal.call, refusal.errno);
    // SAFETY: between fork and exec the closure makes two system calls and nothing else: it takes
    // no lock and allocates nothing.
    unsafe { command.pre_exec(move || refuse(call, errno)) };
    command.output().expect("a child under a seccomp filter")
}

/// Lets the system call `call` fail with `errno` from now on, in this process and after exec.
fn refuse(call: libc::c_long, errno: i32) -> io::Result<()> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        // The system call's number is the first field of the filter's input.
        step(LOAD, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, call as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: this option takes plain numbers.
    let unprivileged = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if unprivileged != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `filter` and the steps it points to live until the call returns.
    let installed =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    if installed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asserts that standard error names the errno, by its name, its number or its text.
#[track_caller]
fn assert_names(refusal: &Refusal, output: &Output) {
    let said = stderr(output);
    let text = io::Error::from_raw_os_error(refusal.errno).to_string();
    assert!(said.contains(refusal.name) || said.contains(&text), "{}: {said}", refusal.name);
}

fn dump_lines(dir: &Path) -> usize {
    let output = run(&["dump"], dir);
    output.stdout.iter().filter(|byte| **byte == b'\n').count()
}

/// All files of a directory, sorted by name.
fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        // The process that last locked the log does not matter.
        .filter(|(name, _)| name != "lock")
        .collect();
    files.sort();
    files
}
