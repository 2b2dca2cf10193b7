//! The command `ringwal`: its exit codes, its streams, its JSON, and the limits of its process.
//!
//! The feature `cli` builds it. `ringwal help COMMAND` lists the options of a command; this chapter
//! has the rules for all commands, on which scripts can rely.
//!
//! # Exit codes
//!
//! ```text
//! Exit codes, the same for every command:
//!   0  Done. This includes: a torn tail, which was never acknowledged; append or soak ended early
//!      by a signal; standard output or error closed by its reader.
//!   1  Failed. Damaged log; failing or full disk; refused backend; log in use; input that cannot
//!      be read or does not have the stated framing; standard output or error fails; the reader of
//!      acknowledgements is gone; soak found a broken invariant; a signal ended bench.
//!   2  The request is wrong, and nothing was changed. Unknown option or value out of range; not a
//!      log, a missing shard, a log of a newer version or, for append, of a kind other than raw; a
//!      path that does not exist or cannot be read; a new directory that is not empty.
//! ```
//!
//! `append` appends to raw logs only: one of its records would make an event log or a key-value log
//! useless. `dump`, `verify` and `recover` accept every kind, and `dump` prints the events of an
//! event log unless `--format` or `--framing` is given.
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
//! Standard output carries data, standard error carries messages for people. Either may be a
//! terminal, a file, a pipe or a device.
//!
//! - *A closed pipe* (`ringwal dump LOG | head`): the rest is dropped, and the exit code is as if
//!   it had been printed. Acknowledgements are the exception: `append --acks` stops, makes the
//!   appended records durable, and exits 1.
//! - *A non-blocking stream* (`O_NONBLOCK`, as other programs leave it behind): the command waits
//!   until it is ready. The same holds for standard input.
//! - *A failing stream*, as on a full disk: exit code 1, and a message if it can be printed
//!   anywhere. `soak` first runs to its end, and `bench --json` writes its file.
//!
//! # Moving from the crate datawal
//!
//! `ringwal import --from datawal DIR NEWDIR` copies the records of a directory of `.dwal` files,
//! as the crate datawal 0.1 writes it, to a new log: every valid record, in order. Rotations are
//! not kept. NEWDIR appears under its name once all of it is durable. DIR is not changed, and its
//! lock is held during the import. NEWDIR opens with `ringwal::datawal`, and also with
//! [`kv`](super::kv) if all of its records are puts and deletes of keys. The report goes to
//! standard error:
//!
//! ```text
//! imported 3 records of 2 files: 3 puts, 0 deletes, 0 raw
//! left behind: 33 bytes of old/00000002.dwal, from byte 30 on: a record ends early, ...
//! ```
//!
//! The rules are those of datawal. In the last file, a record that is cut short or does not match
//! its checksum ends the file, and the exit code is 0. Any other damage is refused, as datawal
//! refuses to open such a directory: exit code 1, with the file and the byte, and no NEWDIR. With
//! `--up-to-damage`, the records before the damage are imported. The report lists everything left
//! behind, file by file, with the number of complete records in it. A crash leaves no complete
//! records behind, unless datawal appended after a torn tail. datawal does not show those either,
//! so look at them before you remove the old directory.
//!
//! # Numbers in JSON
//!
//! `dump --format jsonl` and `--format events`, `verify --json` and `bench --json` write numbers so
//! that every reader recovers the exact value, even `jq` and JavaScript, in which every number is a
//! 64-bit float:
//!
//! | value | written as | example |
//! |---|---|---|
//! | an integer up to 2^53 - 1 | a number | `"seq":42` |
//! | a larger one | a string of its decimal digits | `"timestamp_nanos":"1700000000000000001"` |
//! | a weight | the shortest number that yields its 32 bits | `0.1`, `-0.0`, `1e20` |
//! | an infinity | a string | `"inf"`, `"-inf"` |
//! | a NaN | a string; with its bits, if not 0x7fc00000 | `"NaN"`, `"NaN:0xffc00001"` |
//! | an unavailable figure of `bench` | `null` | |
//!
//! A reader of integers should accept both forms: `BigInt(it)` in JavaScript and `int(it)` in
//! Python do; `tonumber` in `jq` gives up exactness. The lines that a key-value log exports have no
//! numbers: keys and values are base64 ([`kv`](super::kv)).
//!
//! `verify --json` prints an object even if there is no report. Its `verdict` is one of `clean`,
//! `torn-tail`, `stale`, `corrupt`, `not-a-log`, `unsupported-version` and `unreadable`; the last
//! three come with `path` and `message`.
//!
//! # Measuring
//!
//! `ringwal bench DIR` measures a log on the file system of DIR beside two things that it could be
//! replaced with, in the same round and under the same load:
//!
//! - *The raw limits*: one write and fdatasync at a time (`x-floor`), and one direct write of all
//!   that is outstanding (`x-ideal`). `--floors false` leaves them out.
//! - *The log by hand* (`x-hand`, `x-hand-p99`): what an engineer writes in an afternoon instead of
//!   taking a library. Records are framed with a length and a CRC32C, and written with pwrite and
//!   fdatasync to one file of zeros. Threads that wait (`--mode blocking`, `batch`) share a buffer
//!   with a mutex and condition variables, and one of them writes for all. Tickets and tasks
//!   (`async`, `tasks`) have a channel, a writer thread and a oneshot for each record.
//!   `--by-hand false` leaves it out.
//!
//! Both logs are read back after each measurement, and every record that was acknowledged is
//! compared; a record that differs fails the run. Ratios are made within a round; the table has the
//! medians of the rounds and their ranges.
//!
//! ```text
//! ringwal bench --mode tasks --threads 64,1000,16000 --size 100    tasks, on --workers threads
//! ringwal bench --threads 64,256 --size 100 --grow                 prepared, and growing
//! ringwal bench --threads 16 --size 100 --beside-std --hogs 2      std backend; a busy machine
//! ```
//!
//! The column `segments` says what was there when the time started. `prepared`: the log has its
//! segments (the active one and `--spare-segments`), and the file by hand as many bytes of zeros; a
//! run that needs more makes them while it is measured, on both sides. `growing`: neither has
//! anything. `x-prepared` is the one beside the other. `x-first` is the time of the first append to
//! the new log, as a multiple of a write and fdatasync. With `--beside-std`, `x-std` is the log
//! beside itself on the std backend, and `x-hand-std` that one beside the log by hand.
//!
//! # Signals
//!
//! The first SIGINT, SIGTERM or SIGHUP ends `append`, `bench` and `soak` cleanly: appended records
//! become durable and are acknowledged, the log is closed, `bench` removes its directory. A second
//! SIGINT or SIGTERM ends the process at once. A SIGHUP that is ignored when the command starts
//! stays ignored (`nohup`).
//!
//! # Limits of the process
//!
//! The *file-size limit* (`ulimit -f`) ends a process with the signal SIGXFSZ, unless the process
//! ignores it. The command ignores it and names the limit in its message. The library does not
//! change the signals of its process: a program that uses it under such a limit should ignore
//! SIGXFSZ. It then gets [`NoSpace`](crate::Error::NoSpace) if a segment cannot be created, or an
//! [`Io`](crate::Error::Io) that ends the open log ([`durability`](super::durability)).
//!
//! *Descriptors* (`ulimit -n`): a log uses about a dozen, and keeps up to 64 segments open for
//! reading, fewer if descriptors are scarce. A hundred are enough to dump, recover and open a log
//! of any number of segments.
