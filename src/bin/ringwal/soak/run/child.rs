//! A writer in a process of its own, so that it can be killed.
//!
//! ```text
//! this process ── operations, framed ──► standard input of the writer ─► its store
//!              ◄── 56 bytes for each ─── standard output, after it is done
//! ```
//!
//! | at | bytes | operation | | at | bytes | reply |
//! |---|---|---|---|---|---|---|
//! | 0 | 1 | kind: put, delete, get, fsync, compact | | 0 | 8 | bit 0: a value, bit 1: was there |
//! | 1 | 4 | bytes of the key | | 8 | 16 | digest of the value |
//! | 5 | 4 | bytes of the value | | 24 | 8 | nanoseconds |
//! | 9 | | the key, the value | | 32 | 24 | the totals |
//!
//! 1. A reply is written when its operation is done, before the next one starts. So at most one
//!    unanswered operation has happened, in part or in full.
//! 2. The writer ends cleanly when its standard input ends.
//! 3. Signals from the terminal reach the parent only: the writer has its own process group.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode};

use ringwal::kv::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::output::exit::Failure;
use crate::output::stream::{stdin, stdout};
use crate::soak::args::{StoreArgs, WriterArgs};
use crate::soak::run::writer::{Reply, Totals, Writer, open_store};
use crate::soak::workload::Op;
use crate::soak::workload::oracle::{Key, ValueDigest};
use crate::util::process::{own_program, start_piped};

const HEAD_BYTES: usize = 9;
const REPLY_BYTES: usize = 56;

/// Runs the writer: `ringwal soak-writer`.
pub(crate) fn run(args: &WriterArgs) -> Result<ExitCode, Failure> {
    let mut writer = Writer::new(open_store(&args.dir, &args.store)?);
    let mut input = BufReader::with_capacity(64 << 10, stdin());
    // Unbuffered: a buffer would hold back replies.
    let mut output = stdout();
    while let Some(op) = read_op(&mut input).map_err(Failure::Input)? {
        let reply = writer.execute(&op)?;
        let written = output.write_all(&encode(&reply)).and_then(|()| output.flush());
        written.map_err(Failure::Output)?;
    }
    writer.close()?;
    Ok(ExitCode::SUCCESS)
}

/// The parent's handle on a writer process.
pub(crate) struct ChildWriter {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl ChildWriter {
    pub(crate) fn start(dir: &Path, args: &StoreArgs) -> Result<ChildWriter, Failure> {
        let failed = |error| Failure::Setup("process of a writer", error);
        let mut command = Command::new(own_program().map_err(failed)?);
        command.arg("soak-writer").arg(dir);
        command.args(["--backend", args.backend.name()]);
        command.args(["--segment-bytes", &args.segment_bytes.to_string()]);
        let (child, input, output) = start_piped(command).map_err(failed)?;
        Ok(ChildWriter { child, input: Some(input), output })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends an operation; blocks while the pipe is full.
    pub(crate) fn send(&mut self, op: &Op) -> Result<(), Failure> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let sent = write_op(input, op);
        sent.map_err(|_| self.ended())
    }

    /// The next reply; `None` if there are no more.
    pub(crate) fn reply(&mut self) -> Result<Option<Reply>, Failure> {
        let mut bytes = [0; REPLY_BYTES];
        match self.output.read_exact(&mut bytes) {
            Ok(()) => Ok(Some(decode(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Failure::Setup("replies of a writer", error)),
        }
    }

    /// Kills the writer, whatever it is doing. Replies already written can still be read.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        let killed = self.child.kill();
        killed.map_err(|error| Failure::Setup("kill of a writer", error))
    }

    /// Signals the end of the operations.
    pub(crate) fn finish(&mut self) {
        self.input = None;
    }

    /// Waits for the process. An end that was not requested is an error.
    pub(crate) fn wait(mut self, killed: bool) -> Result<(), Failure> {
        self.input = None;
        let status = self.child.wait();
        let status = status.map_err(|error| Failure::Setup("end of a writer", error))?;
        // On Unix, a killed process has no exit code.
        let as_asked = if killed { status.code().is_none() || cfg!(not(unix)) } else { false };
        if status.success() || as_asked {
            return Ok(());
        }
        Err(Failure::Invariant(format!("the writer process ended unexpectedly, {status}")))
    }

    /// The failure of a writer process that ended unexpectedly.
    pub(crate) fn ended(&mut self) -> Failure {
        self.input = None;
        let status = self.child.wait().map_or_else(|error| error.to_string(), |it| it.to_string());
        Failure::Invariant(format!("the writer process ended unexpectedly, {status}"))
    }
}

impl Drop for ChildWriter {
    fn drop(&mut self) {
        // After a failure, nothing waits for its remaining work. Killing an ended process does
        // nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_op(out: &mut impl Write, op: &Op) -> io::Result<()> {
    let (kind, value) = match op {
        Op::Put { value, .. } => (0, &value[..]),
        Op::Delete { .. } => (1, &[][..]),
        Op::Get { .. } => (2, &[][..]),
        Op::Fsync => (3, &[][..]),
        Op::Compact => (4, &[][..]),
    };
    let key = op.key().map_or(&[][..], |key| key);
    let mut frame = Vec::with_capacity(HEAD_BYTES + key.len() + value.len());
    frame.push(kind);
    frame.extend_from_slice(&(key.len() as u32).to_le_bytes());
    frame.extend_from_slice(&(value.len() as u32).to_le_bytes());
    frame.extend_from_slice(key);
    frame.extend_from_slice(value);
    out.write_all(&frame)
}

/// Reads the next operation; `None` at the end of the input.
fn read_op(input: &mut impl Read) -> io::Result<Option<Op>> {
    let mut kind = [0];
    if input.read(&mut kind)? == 0 {
        return Ok(None);
    }
    let mut length = || {
        let mut bytes = [0; 4];
        input.read_exact(&mut bytes).map(|()| u32::from_le_bytes(bytes) as usize)
    };
    let (key_bytes, value_bytes) = (length()?, length()?);
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "it is not an operation of a soak");
    if key_bytes > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
        return Err(invalid());
    }
    let (mut key, mut value) = (vec![0; key_bytes], vec![0; value_bytes]);
    input.read_exact(&mut key)?;
    input.read_exact(&mut value)?;
    let key = Key::from(key);
    match kind[0] {
        0 => Ok(Some(Op::Put { key, value })),
        1 => Ok(Some(Op::Delete { key })),
        2 => Ok(Some(Op::Get { key })),
        3 => Ok(Some(Op::Fsync)),
        4 => Ok(Some(Op::Compact)),
        _ => Err(invalid()),
    }
}

fn encode(reply: &Reply) -> [u8; REPLY_BYTES] {
    let flags = u64::from(reply.value.is_some()) | u64::from(reply.was_there) << 1;
    let Totals { rotations, compactions, written_bytes } = reply.totals;
    let mut bytes = [0; REPLY_BYTES];
    bytes[..8].copy_from_slice(&flags.to_le_bytes());
    bytes[8..24].copy_from_slice(&reply.value.unwrap_or_default().0.to_le_bytes());
    for (at, number) in [reply.nanos, rotations, compactions, written_bytes].iter().enumerate() {
        bytes[24 + 8 * at..][..8].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8; REPLY_BYTES]) -> Reply {
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let digest = u128::from(number(16)) << 64 | u128::from(number(8));
    Reply {
        value: (number(0) & 1 != 0).then_some(ValueDigest(digest)),
        was_there: number(0) & 2 != 0,
        nanos: number(24),
        totals: Totals {
            rotations: number(32),
            compactions: number(40),
            written_bytes: number(48),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_and_answers_come_through_as_they_were() {
        let key = Key::from(&b"key"[..]);
        let ops = [
            Op::Put { key: key.clone(), value: vec![7; 1000] },
            Op::Delete { key: key.clone() },
            Op::Get { key },
            Op::Fsync,
            Op::Compact,
        ];
        let mut bytes = Vec::new();
        ops.iter().for_each(|op| write_op(&mut bytes, op).unwrap());
        let mut input = &bytes[..];
        for op in ops {
            assert_eq!(read_op(&mut input).unwrap(), Some(op));
        }
        assert_eq!(read_op(&mut input).unwrap(), None);
        assert!(read_op(&mut &[9, 0, 0, 0, 0, 0, 0, 0, 0][..]).is_err());
        assert!(read_op(&mut &[0, 255, 255, 255, 255, 0, 0, 0, 0][..]).is_err());

        for value in [None, Some(ValueDigest(u128::MAX - 5))] {
            let totals = Totals { rotations: 1, compactions: 2, written_bytes: u64::MAX };
            let reply = Reply { value, was_there: value.is_none(), nanos: 3, totals };
            assert_eq!(decode(&encode(&reply)), reply);
        }
    }
}
