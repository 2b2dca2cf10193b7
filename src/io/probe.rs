//! Tries io_uring in the log's directory: sets a ring up, writes a small file through it, and
//! measures the strategies against each other.
//!
//! The file is written with zeros first, as segments are, so that what is measured is the
//! overwrite of a written block. It is removed whatever comes of the probe.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::filesystem::Filesystem;
use crate::io::backend::{Refusal, fills};
use crate::io::refuse::{RefuseAt, refused_by_test};
use crate::io::uring::{SetupRefused, UringQueue, open_for_commits};
use crate::io::{
    Access, AlignedBuf, BUF_ALIGN, Backend, BackendKind, Blocks, FileId, IoQueue, Op, QueueOptions,
    Storage, Strategy,
};
use crate::mutation::mutated;
use crate::sys;

/// The ring's queue and what it can do, or `None` with the reasons in `refused`.
///
/// # Errors
///
/// What the storage fails with when the file to try with cannot be made.
pub(super) fn uring(
    storage: &Arc<dyn Storage>,
    options: &QueueOptions,
    (filesystem, blocks): (&Filesystem, Option<Blocks>),
    name: &str,
    refused: &mut Vec<Refusal>,
) -> Result<Option<(Box<dyn IoQueue>, Backend)>> {
    let fill = fills(blocks);
    let wanted = wanted(options.strategy, filesystem, fill, refused);
    let file = match ProbeFile::new(storage, name) {
        Ok(file) => file,
        // What only helps to choose does not fail an open.
        Err(error) if error.is_shortage() && !mutated("fail_open_for_the_trial") => {
            let advice = "once there is room, open the log again to have it tried".to_owned();
            refused.push(Refusal::new("the test file for io_uring", &answer_of(error), advice));
            return Ok(untried(storage, options, (filesystem, blocks), refused));
        }
        Err(error) => return Err(error),
    };
    let mut unit = None;
    if options.direct_io {
        match direct_unit(storage, filesystem, name) {
            Ok(found) => unit = Some(found),
            Err((answer, advice)) => refused.push(Refusal::new("direct I/O", &answer, advice)),
        }
    }
    let mut found = attempt(storage, options, (&wanted, name, unit), refused);
    if found.is_none() && unit.take().is_some() && only_direct_was_refused(refused) {
        found = attempt(storage, options, (&wanted, name, None), refused);
    }
    drop(file);
    let Some((queue, strategy, measured, reason)) = found else { return Ok(None) };
    let backend = Backend {
        kind: BackendKind::Uring,
        strategy,
        direct_io: unit.is_some(),
        unit_bytes: unit.unwrap_or_else(|| filesystem.cached_unit()),
        blocks,
        fill,
        filesystem: filesystem.name.clone(),
        ring_flags: queue.ring_flags(),
        refused: Vec::new(),
        measured,
        reason,
    };
    Ok(Some((Box::new(queue), backend)))
}

/// Without a probe: nothing if the choice is free, because std always works; if io_uring was asked
/// for, a ring that does only what every file system can, plain writes and syncs.
fn untried(
    storage: &Arc<dyn Storage>,
    options: &QueueOptions,
    (filesystem, blocks): (&Filesystem, Option<Blocks>),
    refused: &mut Vec<Refusal>,
) -> Option<(Box<dyn IoQueue>, Backend)> {
    if options.kind != BackendKind::Uring {
        return None;
    }
    let queue = match UringQueue::new(storage.clone(), options.depth, false) {
        Ok(queue) => queue,
        Err(SetupRefused { step, source }) => {
            refused.push(Refusal::new(step, &source, advice(&source)));
            return None;
        }
    };
    let backend = Backend {
        kind: BackendKind::Uring,
        strategy: Strategy::WriteThenSync,
        direct_io: false,
        unit_bytes: filesystem.cached_unit(),
        blocks,
        fill: fills(blocks),
        filesystem: filesystem.name.clone(),
        ring_flags: queue.ring_flags(),
        refused: Vec::new(),
        measured: Vec::new(),
        reason: "as there was no room to try another".to_owned(),
    };
    Some((Box::new(queue), backend))
}

/// What refuses to set a ring up, if anything does. Touches no file.
pub(super) fn set_up_refusal(storage: &Arc<dyn Storage>) -> Option<Refusal> {
    let SetupRefused { step, source } = UringQueue::new(storage.clone(), 1, false).err()?;
    Some(Refusal::new(step, &source, advice(&source)))
}

/// A file of zeros that is gone when this is dropped.
struct ProbeFile<'a> {
    storage: &'a Arc<dyn Storage>,
    name: &'a str,
}

impl<'a> ProbeFile<'a> {
    fn new(storage: &'a Arc<dyn Storage>, name: &'a str) -> Result<ProbeFile<'a>> {
        // Whatever has this name is the leftover of a crash. If it cannot be removed, creating
        // the new one says so.
        let _absent = storage.remove(name);
        let file = storage.open(name, Access::Create)?;
        let probe = ProbeFile { storage, name };
        file.write_zeros(0, TRIAL_BYTES)?;
        file.sync()?;
        Ok(probe)
    }
}

impl Drop for ProbeFile<'_> {
    fn drop(&mut self) {
        // A leftover is a spare by its name; the next open removes it.
        let _leftover = self.storage.remove(self.name);
    }
}

/// The unit of direct writes here, or who refuses them and what to do.
fn direct_unit(
    storage: &Arc<dyn Storage>,
    filesystem: &Filesystem,
    name: &str,
) -> std::result::Result<u64, (Arc<io::Error>, String)> {
    let buffered = "writes go through the page cache, with the same promise".to_owned();
    let unsupported =
        |why: String| (io::Error::new(io::ErrorKind::Unsupported, why).into(), buffered.clone());
    if let Some(source) = refused_by_test(RefuseAt::DirectWrite) {
        return Err((source.into(), buffered));
    }
    let file = match open_for_commits(&**storage, name, true) {
        Ok(file) => file,
        Err(Error::Io { source, .. }) => return Err((source, buffered)),
        Err(other) => return Err(unsupported(other.to_string())),
    };
    let mut unit = BUF_ALIGN as u64;
    match sys::direct_alignment(&file) {
        _ if filesystem.copy_on_write => {
            return Err(unsupported(format!("{} copies on write", filesystem.name)));
        }
        Some(known) if known.offset == 0 || known.mem == 0 => {
            return Err(unsupported(format!("{} does not do it here", filesystem.name)));
        }
        Some(known) if known.mem as usize > BUF_ALIGN => {
            let why = format!("it needs memory at multiples of {} bytes", known.mem);
            return Err(unsupported(why));
        }
        Some(known) => unit = unit.max(u64::from(known.offset)),
        None if filesystem.direct_known => {}
        None => {
            return Err(unsupported(format!("{} does not tell its alignment", filesystem.name)));
        }
    }
    if unit > TRIAL_BYTES / 2 {
        return Err(unsupported(format!("its unit of {unit} bytes is too large")));
    }
    let zeros = AlignedBuf::zeroed(unit as usize);
    std::os::unix::fs::FileExt::write_all_at(&file, &zeros, 0)
        .map_err(|source| (source.into(), buffered.clone()))?;
    Ok(unit)
}

/// The strategies to try: the one asked for, or all. Where dsync may not keep its promise it is
/// left out.
fn wanted(
    asked: Option<Strategy>,
    filesystem: &Filesystem,
    fill: bool,
    refused: &mut Vec<Refusal>,
) -> Vec<Strategy> {
    let doubt = doubt_of_dsync(filesystem, fill);
    match (asked, doubt) {
        (Some(Strategy::Dsync), Some((why, advice))) => {
            let answer = io::Error::new(io::ErrorKind::Unsupported, why);
            refused.push(Refusal::new("the strategy dsync", &answer, advice.to_owned()));
            vec![Strategy::LinkedFsync]
        }
        (Some(asked), _) => vec![asked],
        (None, Some(_)) => vec![Strategy::LinkedFsync, Strategy::WriteThenSync],
        (None, None) => Strategy::ALL.to_vec(),
    }
}

/// Why a write with `RWF_DSYNC` may be reported durable here before it is, and what to do.
///
/// It is offered on file systems of which it is known that they sync after such a write, around
/// the page cache and through it, and on those in memory, where nothing is durable anyway. Others
/// ignore the flag: 9p and cifs do on direct writes. With FUSE it comes to the server, and the
/// kernel sends no sync after it; many servers never look at it. Before Linux 6.7, ext4 forgot the
/// new length of a file that a direct one extends; filled segments are never extended.
fn doubt_of_dsync(filesystem: &Filesystem, fill: bool) -> Option<(&'static str, &'static str)> {
    match filesystem.name.as_str() {
        "ext4" if !fill => Some((
            "ext4 before Linux 6.7 loses the length of files that such writes extend",
            "have segments filled beforehand to use it",
        )),
        known if DSYNC_HOLDS.contains(&known) || mutated("dsync_everywhere") => None,
        _ => Some((
            "this file system is not known to make such a write durable before it completes",
            "a linked sync is used instead",
        )),
    }
}

/// Where a write with `RWF_DSYNC` is known to be durable when it completes.
const DSYNC_HOLDS: [&str; 6] = ["ext4", "xfs", "btrfs", "f2fs", "tmpfs", "ramfs"];

type Found = (UringQueue, Strategy, Vec<(Strategy, Duration)>, String);

/// Sets a ring up and writes through it.
fn attempt(
    storage: &Arc<dyn Storage>,
    options: &QueueOptions,
    (wanted, name, unit): (&[Strategy], &str, Option<u64>),
    refused: &mut Vec<Refusal>,
) -> Option<Found> {
    let mut refuse =
        |step: String, source: &io::Error| refused.push(Refusal::new(step, source, advice(source)));
    let mut queue = match UringQueue::new(storage.clone(), options.depth, unit.is_some()) {
        Ok(queue) => queue,
        Err(SetupRefused { step, source }) => {
            refuse(step, &source);
            return None;
        }
    };
    match open_for_commits(&**storage, name, unit.is_some()) {
        Ok(file) => queue.adopt(TRIAL_FILE, name, file),
        Err(error) => {
            refuse("opening the test file".to_owned(), &answer_of(error));
            return None;
        }
    }
    let mut probe = Writes { queue: &mut queue, unit: unit.unwrap_or(BUF_ALIGN as u64), next: 0 };
    let mut usable = Vec::new();
    let started = Instant::now();
    for &strategy in wanted {
        if probe.queue.has_failed() {
            return None;
        }
        match probe.write(strategy) {
            Ok(took) => usable.push((strategy, vec![took])),
            Err(error) => {
                let step = format!("an io_uring test write by the strategy {strategy}");
                refuse(step, &answer_of(error));
            }
        }
    }
    let &(only, _) = usable.first()?;
    if let &[single] = wanted {
        queue.release(TRIAL_FILE);
        let reason = if options.strategy == Some(single) { "as asked for" } else { "instead" };
        return Some((queue, single, Vec::new(), reason.to_owned()));
    }
    while started.elapsed() < MEASURE_FOR && usable[0].1.len() <= ROUNDS {
        for (strategy, times) in &mut usable {
            // A failure here comes after a success: not a refusal but a fault, which the first
            // real write will meet as well.
            if let Ok(took) = probe.write(*strategy) {
                times.push(took);
            }
        }
    }
    queue.release(TRIAL_FILE);
    if queue.has_failed() {
        refuse("measuring".to_owned(), &io::Error::other("the ring failed meanwhile"));
        return None;
    }
    let measured: Vec<(Strategy, Duration)> =
        usable.into_iter().map(|(strategy, times)| (strategy, median(times))).collect();
    let (strategy, reason) = choose(&measured).unwrap_or((only, String::new()));
    Some((queue, strategy, measured, reason))
}

struct Writes<'a> {
    queue: &'a mut UringQueue,
    unit: u64,
    next: u64,
}

impl Writes<'_> {
    /// Writes one unit durably; returns how long it took.
    fn write(&mut self, strategy: Strategy) -> Result<Duration> {
        if let Some(source) = refused_by_test(RefuseAt::TestWrite) {
            return Err(Error::io("write", "", source));
        }
        let offset = self.next * self.unit % TRIAL_BYTES;
        self.next += 1;
        let len = self.unit as usize;
        let buf = AlignedBuf::zeroed(len);
        let started = Instant::now();
        let sync = Some(strategy);
        self.queue.submit(self.next, Op::Write { file: TRIAL_FILE, offset, buf, len, sync });
        let mut done = Vec::new();
        while done.is_empty() {
            self.queue.wait(None, &mut done)?;
        }
        let took = started.elapsed();
        done.into_iter().try_for_each(|completion| completion.result)?;
        Ok(took)
    }
}

fn answer_of(error: Error) -> Arc<io::Error> {
    match error {
        Error::Io { source, .. } => source,
        other => io::Error::other(other.to_string()).into(),
    }
}

fn only_direct_was_refused(refused: &[Refusal]) -> bool {
    let last = refused.last();
    last.is_some_and(|last| last.step.contains("test") && last.errno == Some(libc::EINVAL))
}

// The first write of a strategy also starts threads and warms caches, so it counts only when
// there is no other.
fn median(mut times: Vec<Duration>) -> Duration {
    if times.len() > 1 {
        times.remove(0);
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The strategy for these medians, and why.
///
/// Write-then-sync is the one to beat, by [`Strategy::required_speedup`]: it has no hand-over to a
/// worker thread and stays itself when all processors are busy. The engine compares again while it
/// runs.
fn choose(measured: &[(Strategy, Duration)]) -> Option<(Strategy, String)> {
    let of = |wanted| measured.iter().find(|&&(strategy, _)| strategy == wanted).map(|m| m.1);
    let Some(base) = of(Strategy::WriteThenSync) else {
        let &(strategy, _) = measured.iter().min_by_key(|(_, median)| *median)?;
        return Some((strategy, "the fastest that works here".to_owned()));
    };
    let better = |strategy: Strategy| {
        let limit = base.mul_f64(strategy.required_speedup());
        of(strategy).filter(|median| *median < limit).map(|median| (strategy, median))
    };
    let winner = [better(Strategy::LinkedFsync), better(Strategy::Dsync)]
        .into_iter()
        .flatten()
        .min_by_key(|&(_, median)| median);
    Some(match winner {
        Some((strategy, _)) => (strategy, "clearly the fastest when measured at open".to_owned()),
        None => {
            let reason = "as no other was clearly faster when measured at open";
            (Strategy::WriteThenSync, reason.to_owned())
        }
    })
}

/// What to do about an answer of the kernel.
fn advice(source: &io::Error) -> String {
    let fallback = "appends work all the same through std";
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
            match sysctl.as_deref().map(str::trim) {
                Ok("1") => "sysctl kernel.io_uring_disabled is 1: it is allowed to members of the \
                            group kernel.io_uring_group and to CAP_SYS_ADMIN only; join it or set \
                            the sysctl to 0"
                    .to_owned(),
                Ok("2") => {
                    "sysctl kernel.io_uring_disabled is 2: it is off for everyone; set it to 0"
                        .to_owned()
                }
                other => format!(
                    "sysctl kernel.io_uring_disabled is {}, so a seccomp filter refuses it, as \
                     those of containers do: allow io_uring_setup, io_uring_enter and \
                     io_uring_register there",
                    other.unwrap_or("absent")
                ),
            }
        }
        Some(libc::ENOSYS) => "the kernel or the sandbox has no io_uring (a container's seccomp \
                               filter and gVisor answer this too): allow io_uring_setup, \
                               io_uring_enter and io_uring_register"
            .to_owned(),
        Some(libc::ENOMEM) => {
            "raise the limit on locked memory (ulimit -l, LimitMEMLOCK=) or lower the depth"
                .to_owned()
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "raise the limit on open files (ulimit -n, LimitNOFILE=)".to_owned()
        }
        Some(libc::EOPNOTSUPP) => {
            format!("the platform or the file system does not support it; {fallback}")
        }
        Some(libc::EINVAL) => format!("the kernel may be too old (5.11 is the least); {fallback}"),
        _ => fallback.to_owned(),
    }
}

/// The number of the probe's file in the queue; engines count from the other end.
const TRIAL_FILE: FileId = FileId::MAX;
const TRIAL_BYTES: u64 = 1 << 17;
const ROUNDS: usize = 8;
const MEASURE_FOR: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn us(linked: u64, dsync: u64, then_sync: u64) -> Vec<(Strategy, Duration)> {
        let medians = [linked, dsync, then_sync].map(Duration::from_micros);
        Strategy::ALL.into_iter().zip(medians).collect()
    }

    #[test]
    fn write_then_sync_stays_unless_another_is_clearly_faster() {
        let cases = [
            ("all alike", us(100, 100, 100), Strategy::WriteThenSync),
            ("linked somewhat faster", us(75, 100, 100), Strategy::WriteThenSync),
            ("linked twice as fast", us(45, 100, 100), Strategy::LinkedFsync),
            ("dsync somewhat faster", us(100, 60, 100), Strategy::WriteThenSync),
            ("dsync twice as fast", us(100, 40, 100), Strategy::Dsync),
            ("both better, dsync best", us(70, 40, 100), Strategy::Dsync),
            ("both better, linked best", us(30, 40, 100), Strategy::LinkedFsync),
        ];
        for (name, medians, expected) in cases {
            assert_eq!(choose(&medians).unwrap().0, expected, "{name}");
        }
    }

    #[test]
    fn without_write_then_sync_the_fastest_is_taken() {
        let mut medians = us(30, 20, 10);
        medians.pop();
        assert_eq!(choose(&medians).unwrap().0, Strategy::Dsync);
        assert_eq!(choose(&[]), None);
    }

    #[test]
    fn the_first_time_counts_only_when_it_is_alone() {
        let ms = Duration::from_millis;
        assert_eq!(median(vec![ms(9)]), ms(9));
        assert_eq!(median(vec![ms(9), ms(1), ms(3), ms(2)]), ms(2));
    }

    #[test]
    fn dsync_is_offered_only_where_it_is_known_to_hold() {
        let on = |name: &str| Filesystem {
            name: name.to_owned(),
            copy_on_write: false,
            direct_known: true,
            block_bytes: 4096,
        };
        let mut refused = Vec::new();
        let dsync = Some(Strategy::Dsync);
        assert_eq!(wanted(dsync, &on("ext4"), true, &mut refused), [Strategy::Dsync]);
        assert_eq!(wanted(dsync, &on("xfs"), false, &mut refused), [Strategy::Dsync]);
        assert!(refused.is_empty());
        assert!(!wanted(None, &on("ext4"), false, &mut refused).contains(&Strategy::Dsync));
        assert!(refused.is_empty());
        assert_eq!(wanted(dsync, &on("ext4"), false, &mut refused), [Strategy::LinkedFsync]);
        assert_eq!(refused.len(), 1);
        for (name, count) in ["fuse", "cifs", "smb2", "nfs", "unknown (0x1021997)"].iter().zip(2..)
        {
            assert!(!wanted(None, &on(name), true, &mut refused).contains(&Strategy::Dsync));
            assert_eq!(wanted(dsync, &on(name), true, &mut refused), [Strategy::LinkedFsync]);
            assert_eq!(refused.len(), count, "{name}");
        }
    }

    #[test]
    fn every_refusal_has_advice() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EMFILE, libc::EINVAL, 5] {
            assert!(!advice(&io::Error::from_raw_os_error(errno)).is_empty());
        }
    }
}
