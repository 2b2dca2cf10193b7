//! The kinds of standard output and error, and the output that arrives there.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read, Seek, Write};
use std::process::{Command, Stdio};
use std::thread;

use crate::terminal::{do_not_block, terminal};

/// The kind of a command's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sink {
    Terminal,
    File,
    /// A pipe whose reader is gone.
    ClosedPipe,
    /// A pipe that is full when the command begins, and does not block; it is read when the
    /// command waits for it.
    FullPipe,
    /// A device that has no room for anything.
    FullDevice,
}

impl Sink {
    pub(crate) const ALL: [Sink; 5] =
        [Sink::Terminal, Sink::File, Sink::ClosedPipe, Sink::FullPipe, Sink::FullDevice];

    /// Whether everything that is written comes out.
    pub(crate) fn is_whole(self) -> bool {
        matches!(self, Sink::Terminal | Sink::File | Sink::FullPipe)
    }

    fn open(self) -> (Stdio, Source) {
        match self {
            Sink::Terminal => {
                let (person, program) = terminal();
                (Stdio::from(program), Source::Terminal(person))
            }
            Sink::File => {
                let file = tempfile::tempfile().unwrap();
                (Stdio::from(file.try_clone().unwrap()), Source::File(file))
            }
            Sink::ClosedPipe => (Stdio::from(io::pipe().unwrap().1), Source::Nothing),
            Sink::FullPipe => {
                let (reader, mut writer) = io::pipe().unwrap();
                do_not_block(&writer);
                let filled = fill(&mut writer);
                (Stdio::from(writer), Source::Pipe(reader, filled))
            }
            Sink::FullDevice => {
                let device = File::options().write(true).open("/dev/full").unwrap();
                (Stdio::from(device), Source::Nothing)
            }
        }
    }
}

/// Fills a pipe; gives with how many bytes.
fn fill(writer: &mut impl Write) -> usize {
    let mut filled = 0;
    // The last ones go in one by one.
    for piece in [4096, 1] {
        loop {
            match writer.write(&[b'.'; 4096][..piece]) {
                Ok(written) => filled += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    filled
}

/// The other end of a command's stream.
enum Source {
    Terminal(File),
    File(File),
    Pipe(PipeReader, usize),
    Nothing,
}

impl Source {
    /// Reads until the command `pid` has ended.
    fn read(self, pid: u32) -> String {
        let mut bytes = Vec::new();
        match self {
            Source::Nothing => {}
            Source::File(_) => unreachable!("it is read when the command has ended"),
            Source::Terminal(mut person) => {
                // At the end of the program a terminal fails.
                let _ended = person.read_to_end(&mut bytes);
                bytes.retain(|&byte| byte != b'\r');
            }
            Source::Pipe(mut reader, filled) => {
                wait_until_it_waits(pid);
                reader.read_to_end(&mut bytes).unwrap();
                bytes.drain(..filled);
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Returns once a process waits for a descriptor, or has ended.
#[cfg(target_os = "linux")]
fn wait_until_it_waits(pid: u32) {
    #[cfg(target_arch = "x86_64")]
    const WAITS: libc::c_long = libc::SYS_poll;
    #[cfg(not(target_arch = "x86_64"))]
    const WAITS: libc::c_long = libc::SYS_ppoll;
    let waits = format!("{WAITS} ");
    loop {
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return };
        let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim().chars().next());
        if state.is_none_or(|state| "ZX".contains(state)) {
            return;
        }
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return };
        for task in tasks.flatten() {
            match std::fs::read_to_string(task.path().join("syscall")) {
                Ok(call) if call.starts_with(&waits) => return,
                Err(error) if error.kind() == ErrorKind::PermissionDenied => return,
                _ => {}
            }
        }
        thread::yield_now();
    }
}

#[cfg(not(target_os = "linux"))]
fn wait_until_it_waits(_pid: u32) {}

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Done {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command with these as its standard output and error.
pub(crate) fn run_into(mut command: Command, stdout: Sink, stderr: Sink) -> Done {
    let ((out, out_source), (err, err_source)) = (stdout.open(), stderr.open());
    let mut child = command.stdout(out).stderr(err).spawn().unwrap();
    // It holds the ends that the child has.
    drop(command);
    let pid = child.id();
    let read = |source: Source| match source {
        Source::File(file) => (None, Some(file)),
        source => (Some(thread::spawn(move || source.read(pid))), None),
    };
    let (out, err) = (read(out_source), read(err_source));
    let code = child.wait().unwrap().code();
    let [stdout, stderr] = [out, err].map(|(reading, file)| match (reading, file) {
        (Some(reading), _) => reading.join().unwrap(),
        (None, Some(mut file)) => {
            let mut text = String::new();
            file.rewind().unwrap();
            file.read_to_string(&mut text).unwrap();
            text
        }
        (None, None) => String::new(),
    });
    Done { code, stdout, stderr }
}
