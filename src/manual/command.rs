//! The command `ringwal`: its exit codes, its streams, its JSON, and the limits of its process.
//!
//! It comes with the feature `cli`. `ringwal help COMMAND` has all options; here is what holds for
//! all of them, so that scripts can rely on it.
//!
//! # Exit codes
//!
//! ```text
//! Exit codes, the same for every command:
//!   0  Done. Also: a torn tail, which was never acknowledged; a signal that ended append or soak
//!      early; standard output or error that nobody reads any more.
//!   1  Failed. Damaged log; failing or full disk; refused backend; log in use; input that cannot
//!      be read or is not framed as stated; standard output or error that fails; acknowledgements
//!      that nobody reads any more; a broken invariant of soak; a bench that a signal ended.
//!   2  The request is wrong, and nothing was changed: option unknown or out of range; not a log, a
//!      shard that is not there, a log of a newer version or, to append, of another kind than raw;
//!      a path that is not there or may not be read; a new directory that is not empty.
//! ```
//!
//! `append` appends to raw logs only: a record of its would make an event log or a key-value log
//! useless. `dump`, `verify` and `recover` take all of them, and `dump` prints events of an event
//! log unless `--format` or `--framing` is given.
//!
//! Damage is told whatever was asked for. `dump` prints what is before it, names it on standard
//! error and exits 1, also with `--limit` and `--from`: so `ringwal dump LOG > copy && rm -r LOG`
//! removes nothing that the copy lacks. `append` and `recover` with
//! `--recovery tolerate-tail` say what they cut off; as that was asked for, they exit 0. Each later
//! `append`, `dump`, `recover`, `verify` and `backup` of that log says so again, until
//! `ringwal recover --acknowledge-loss LOG`.
//!
//! # Streams
//!
//! Standard output carries data, standard error everything for people. Either may be a terminal, a
//! file, a pipe or a device.
//!
//! - *Nobody reads it any more* (`ringwal dump LOG | head`): the rest is left out, and the exit
//!   code is what it would have been. Acknowledgements are the exception: `append --acks` stops,
//!   makes durable what was appended, and exits 1.
//! - *It does not block* (`O_NONBLOCK`, as other programs leave it behind): it is waited for. So is
//!   standard input.
//! - *It fails*, as on a full disk: exit code 1, and a message as far as there is somewhere to say
//!   it. `soak` goes on to its end first, and `bench --json` writes its file.
//!
//! # Moving from the crate datawal
//!
//! `ringwal import --from datawal DIR NEWDIR` writes the records of a directory of `.dwal` files,
//! as the crate datawal 0.1 leaves it, to a new log: every record that is valid there, in its
//! order. Rotations are not kept. NEWDIR has its name when all of it is durable; DIR stays as it
//! is, and its lock is held meanwhile. NEWDIR opens with `ringwal::datawal`, and also with
//! [`kv`](super::kv) if all of its records are puts and deletes of keys. What it says goes to
//! standard error:
//!
//! ```text
//! imported 3 records of 2 files: 3 puts, 0 deletes, 0 raw
//! left behind: 33 bytes of old/00000002.dwal, from byte 30 on: a record ends early, ...
//! ```
//!
//! The rules are those of datawal: in the last file, a record that is cut short or does not match
//! its checksum ends it, and the exit code is 0. Any other damage is refused, as datawal refuses to
//! open there: exit code 1, with the file and the byte, and there is no NEWDIR. Asked again with
//! `--up-to-damage`, it takes what comes before. Whatever is left behind is told, file by file,
//! with the whole records that lie in it. A crash leaves none of those, unless datawal has appended
//! after a torn tail: it does not show them, either, so look at them before the old directory goes.
//!
//! # Numbers in JSON
//!
//! `dump --format jsonl` and `--format events`, `verify --json` and `bench --json` write numbers so
//! that every reader gets them back as they were, also `jq` and JavaScript, in which every number
//! is a 64-bit float:
//!
//! | what | is written as | for instance |
//! |---|---|---|
//! | an integer up to 2^53 - 1 | a number | `"seq":42` |
//! | a larger one | a string of its decimal digits | `"timestamp_nanos":"1700000000000000001"` |
//! | a weight | the shortest number that gives its 32 bits back | `0.1`, `-0.0`, `1e20` |
//! | an infinity | a string | `"inf"`, `"-inf"` |
//! | a NaN | a string; with its bits, if not 0x7fc00000 | `"NaN"`, `"NaN:0xffc00001"` |
//! | a figure of `bench` that could not be had | `null` | |
//!
//! Who reads an integer takes either form: `tonumber` in `jq` gives up exactness, `BigInt(it)` in
//! JavaScript and `int(it)` in Python take both. The lines that a key-value log exports have no
//! numbers: keys and values are base64 ([`kv`](super::kv)).
//!
//! `verify --json` prints an object also where there is no report. Its `verdict` is one of `clean`,
//! `torn-tail`, `stale`, `corrupt`, `not-a-log`, `unsupported-version` and `unreadable`; the last
//! three come with `path` and `message`.
//!
//! # Signals
//!
//! The first SIGINT, SIGTERM or SIGHUP ends `append`, `bench` and `soak` in order: what was
//! appended is durable and acknowledged, the log is closed, a `bench` removes its directory. A
//! second SIGINT or SIGTERM ends the process at once. A SIGHUP that is ignored when the command
//! starts stays ignored (`nohup`).
//!
//! # Limits of the process
//!
//! The *file-size limit* (`ulimit -f`) ends a process by the signal SIGXFSZ, unless it ignores
//! that. The command ignores it, and says that the limit is what is short. A library changes no
//! signals of its process: who uses this one under such a limit ignores SIGXFSZ, and then gets
//! [`NoSpace`](crate::Error::NoSpace) where a segment cannot be made, or an
//! [`Io`](crate::Error::Io) that ends the open log ([`durability`](super::durability)).
//!
//! *Descriptors* (`ulimit -n`): a log takes about a dozen, and keeps up to 64 segments open to read
//! from, fewer where descriptors are short. A log of any number of segments is dumped, recovered
//! and opened with a hundred.
