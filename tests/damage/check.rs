//! Opens a damaged log in every way, and compares the outcome with the model.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringwal::io::{Access, SimDisk, Storage};
use ringwal::wal::format::EventRecord;
use ringwal::wal::reader::recover;
use ringwal::wal::{WalConfig, WalHandle};
use ringwal::{
    BackendKind, Builder, Corruption, CorruptionKind, Error, Log, Recovery, RecoveryPolicy,
    Strategy, Verdict,
};
use tempfile::TempDir;

use crate::kinds::{Edit, keeps_names};
use crate::model::{
    Files, SLOT, Shape, Unit, lay_out, scratch, segment_name, segment_number, slots,
};

/// The outcome for a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// An error names the damage.
    Refused,
    /// All acknowledged records are there.
    Harmless,
    /// The damaged bytes, and all behind them, were cut off as a torn tail: there was no evidence.
    TornTail,
    /// All records are there, but the older slot of `state` counts: a truncation, a checkpoint or
    /// a clean close is undone. The report says so.
    Told,
    /// The same with a whole `state` file of an earlier time; no evidence contradicts it.
    Older,
}

pub(crate) const OUTCOMES: [Outcome; 5] =
    [Outcome::Refused, Outcome::Told, Outcome::Harmless, Outcome::TornTail, Outcome::Older];

type Records = Vec<(u64, Vec<u8>)>;
type Check<T> = Result<T, String>;

/// Opens damaged logs of one shape.
pub(crate) struct Checker<'a> {
    shape: &'a Shape,
    sister: &'a Shape,
    /// The directory of every simulated disk.
    dir: PathBuf,
    /// Where damaged event logs are opened, which need real files.
    root: TempDir,
}

/// A damaged log, from the model's point of view.
struct Case<'a> {
    edit: &'a Edit,
    files: &'a Files,
    /// The first batch that is not as it was.
    lost: Option<&'a Unit>,
    /// Whether `state` is older than the newest one.
    is_older: bool,
    known_seq: u64,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(shape: &'a Shape, sister: &'a Shape) -> Checker<'a> {
        let root = scratch();
        fs::create_dir(root.path().join("wal")).unwrap();
        let dir = SimDisk::new(0).dir().to_path_buf();
        Checker { shape, sister, dir, root }
    }

    /// Checks every claim on one damaged log.
    pub(crate) fn check(&self, edit: &Edit, files: &Files) -> Check<Outcome> {
        let case = self.case(edit, files);
        let disk = disk_of(files);
        let seen = builder().verify_sim(&disk);
        is_unchanged(&case, &disk, "verify")?;
        let opened = builder().open_sim(&disk);
        self.agrees(&seen, &opened)?;
        let strict = match opened {
            Ok(log) => {
                let records = read(&log)?;
                let report = log.recovery().clone();
                let outcome = self.accepted(&case, &records, &report)?;
                goes_on(&disk, log, &records)?;
                Ok((outcome, records))
            }
            Err(error) => {
                is_unchanged(&case, &disk, "a refused open")?;
                Err(self.refused(&case, &error)?)
            }
        };
        let disk = disk_of(files);
        let tolerant = builder().recovery(RecoveryPolicy::TolerateTail).open_sim(&disk);
        let shown = match tolerant {
            Ok(log) => {
                let records = read(&log)?;
                self.tolerated(&case, &records, log.recovery(), &strict)?;
                Some(records)
            }
            Err(error) => {
                is_unchanged(&case, &disk, "a refused tolerant open")?;
                self.refused(&case, &error)?;
                ensure(strict.is_err(), || format!("only tolerant open refuses: {error}"))?;
                None
            }
        };
        if self.shape.is_event_log {
            self.events(files, shown.as_ref())?;
        }
        Ok(strict.map_or(Outcome::Refused, |(outcome, _)| outcome))
    }

    fn case<'c>(&self, edit: &'c Edit, files: &'c Files) -> Case<'c>
    where
        'a: 'c,
    {
        let is_intact = |unit: &&Unit| !self.is_intact(files, unit);
        let counting = self.shape.counting(files.get("state"));
        let newest = self.shape.counting(self.shape.files.get("state"));
        Case {
            edit,
            files,
            lost: self.shape.units.iter().find(is_intact),
            is_older: counting.map(|c| c.generation) != newest.map(|n| n.generation),
            known_seq: counting.map_or(0, |c| c.known_seq),
        }
    }

    /// Whether a batch lies where it lay, with its bytes.
    fn is_intact(&self, files: &Files, unit: &Unit) -> bool {
        let name = segment_name(unit.segment);
        let bytes = |files: &Files| files.get(&name)?.get(unit.start..unit.end).map(<[u8]>::to_vec);
        bytes(files) == bytes(&self.shape.files)
    }

    /// The evidence that this batch had been acknowledged: each batch was appended after the one
    /// before it was acknowledged, a segment is named after all before it, and `state` notes it.
    fn witness(&self, case: &Case<'_>, unit: &Unit) -> Option<String> {
        let later_segment =
            |name: &&String| segment_number(name).is_some_and(|first| first > unit.segment);
        if let Some(name) = case.files.keys().find(later_segment) {
            return Some(format!("segment {name}"));
        }
        if case.known_seq >= *unit.live.start() {
            return Some(format!("state, which was told of {}", case.known_seq));
        }
        self.valid_behind(case, unit)
    }

    /// A batch behind this one that is whole.
    fn valid_behind(&self, case: &Case<'_>, unit: &Unit) -> Option<String> {
        let mut later =
            self.shape.units.iter().filter(|later| later.live.start() > unit.live.end());
        let found = later.find(|later| self.is_intact(case.files, later))?;
        Some(format!("the batch at byte {} of {}", found.start, segment_name(found.segment)))
    }

    /// A log that was opened: all of it, or all before a damaged batch without a witness.
    fn accepted(&self, case: &Case<'_>, shown: &Records, report: &Recovery) -> Check<Outcome> {
        let outcome = self.compare(case, shown)?;
        ensure(report.records == shown.len() as u64, || format!("{report}"))?;
        ensure(report.tolerated.is_none(), || format!("tolerated without being asked: {report}"))?;
        ensure(self.tells_of_state(case, report), || format!("state is not told of: {report}"))?;
        let Some(unit) = case.lost.filter(|_| self.is_missing(shown)) else {
            let is_told = outcome == Outcome::Older && report.state_torn;
            return Ok(if is_told { Outcome::Told } else { outcome });
        };
        if let Some(witness) = self.witness(case, unit) {
            return Err(format!("{:?} vanished although {witness} testifies to it", unit.live));
        }
        let name = segment_name(unit.segment);
        let left = case.files.get(&name).and_then(|bytes| bytes.get(unit.start..)).unwrap_or(&[]);
        let is_told = report.cut_at == Some((self.dir.join(&name), unit.start as u64))
            && report.bytes_cut == left.len() as u64;
        let is_blank = left.iter().all(|&byte| byte == 0);
        ensure(is_blank || is_told, || format!("the cut is not told: {report}"))?;
        Ok(outcome)
    }

    /// Whether the last record is missing.
    fn is_missing(&self, shown: &Records) -> bool {
        shown.last().map_or(0, |(seq, _)| *seq) < self.shape.last_seq()
    }

    /// Whether the report mentions a slot that no longer holds a state.
    fn tells_of_state(&self, case: &Case<'_>, report: &Recovery) -> bool {
        let state = &case.files["state"];
        let known = [self.shape, self.sister].map(|shape| &shape.slots);
        let is_known = |slot: &[u8]| known.into_iter().flatten().any(|write| write.bytes == slot);
        let is_blank = |slot: &[u8]| slot.len() == SLOT && slot.iter().all(|&byte| byte == 0);
        let slots = slots(state);
        if slots.into_iter().any(is_blank) {
            // The second slot of a new log is blank.
            return true;
        }
        report.state_torn != slots.into_iter().all(is_known)
    }

    /// The acknowledged records that are shown. No others may be, and missing records may
    /// only begin at a damaged batch.
    fn compare(&self, case: &Case<'_>, shown: &Records) -> Check<Outcome> {
        let mut outcome = Outcome::Harmless;
        for pair in shown.windows(2) {
            ensure(pair[0].0 + 1 == pair[1].0, || format!("{} then {}", pair[0].0, pair[1].0))?;
        }
        for (seq, data) in shown {
            if self.shape.records.get(seq) == Some(data) {
                continue;
            }
            let was_once = self.shape.ever.get(seq).is_some_and(|ever| ever.contains(data));
            ensure(was_once && case.is_older, || format!("record {seq} is made up"))?;
            outcome = Outcome::Older;
        }
        let last = shown.last().map_or(0, |(seq, _)| *seq);
        let is_shown =
            |seq: &u64| shown.first().is_some_and(|(first, _)| first <= seq) && *seq <= last;
        let missing: Vec<u64> =
            self.shape.records.keys().copied().filter(|seq| !is_shown(seq)).collect();
        let Some(&first) = missing.first() else {
            let is_harmless = outcome == Outcome::Harmless && case.is_older;
            return Ok(if is_harmless { Outcome::Older } else { outcome });
        };
        let Some(unit) = case.lost else {
            return Err(format!("{missing:?} vanished, and no batch was damaged"));
        };
        ensure(
            first >= *unit.live.start() && *missing.last().unwrap() == self.shape.last_seq(),
            || format!("{missing:?} vanished, but the damage begins with {}", unit.live.start()),
        )?;
        Ok(Outcome::TornTail)
    }

    /// Checks that an error names the lost records, and has a reason.
    fn refused(&self, case: &Case<'_>, error: &Error) -> Check<()> {
        let Error::Corrupt(found) = error else {
            return Err(format!("not told as damage: {error}"));
        };
        if found.kind == CorruptionKind::StateUnreadable {
            let is_lost = self.shape.counting(case.files.get("state")).is_none();
            return ensure(is_lost, || format!("state was readable: {error}"));
        }
        self.names_the_loss(case, found).map_err(|what| format!("{what}: {error}"))
    }

    fn names_the_loss(&self, case: &Case<'_>, found: &Corruption) -> Check<()> {
        let (first, last) = (found.first_seq.get(), found.last_seq.get());
        ensure(first <= last, || "an empty range".to_owned())?;
        if case.is_older || !keeps_names(case.edit) {
            // In that case it is open which of the files is wrong.
            return ensure(found.path.starts_with(&self.dir), || "another path".to_owned());
        }
        let Some(unit) = case.lost else { return Err("a false alarm".to_owned()) };
        if matches!(case.edit, Edit::CopyOfSister { .. }) {
            return ensure(first >= *unit.live.start(), || "it begins earlier".to_owned());
        }
        let is_first = first == *unit.live.start() && last <= self.shape.last_seq();
        ensure(is_first, || format!("lost from {} on", unit.live.start()))?;
        if found.path == self.dir {
            return ensure(found.kind == CorruptionKind::SegmentMissing, || "no file".to_owned());
        }
        let name = segment_name(unit.segment);
        let before =
            self.shape.units.iter().filter(|u| u.segment == unit.segment && u.end <= unit.start);
        let least = before.map(|unit| unit.end).max().unwrap_or(0) as u64;
        let is_there = (least..=unit.start as u64).contains(&found.offset);
        ensure(is_there && found.path == self.dir.join(&name), || {
            format!("the place is byte {} of {name}", unit.start)
        })
    }

    /// `verify` and a strict `open` must agree.
    fn agrees(&self, seen: &ringwal::Result<Recovery>, opened: &ringwal::Result<Log>) -> Check<()> {
        let is_same = match (seen, opened) {
            (Ok(seen), Ok(log)) => {
                let found = log.recovery();
                let key = |r: &Recovery| {
                    (r.verdict, r.rule, r.records, r.first_seq, r.last_seq, r.bytes_cut)
                };
                seen.corruption.is_none() && key(seen) == key(found) && seen.cut_at == found.cut_at
            }
            (Ok(seen), Err(Error::Corrupt(found))) => {
                seen.verdict == Verdict::Corrupt && seen.corruption.as_ref() == Some(found)
            }
            (Err(seen), Err(found)) => seen.to_string() == found.to_string(),
            _ => false,
        };
        ensure(is_same, || format!("verify says {seen:?}, open says {opened:?}"))
    }

    /// `TolerateTail` drops no records with valid ones behind them, and reports those it drops.
    fn tolerated(
        &self,
        case: &Case<'_>,
        shown: &Records,
        report: &Recovery,
        strict: &Result<(Outcome, Records), ()>,
    ) -> Check<()> {
        if let Ok((_, expected)) = strict {
            return ensure(shown == expected, || "the policy changes a log that opens".to_owned());
        }
        let lost = report.tolerated.as_ref().ok_or("tolerated in silence")?;
        self.compare(case, shown)?;
        let Some(unit) = case.lost.filter(|_| self.is_missing(shown)) else {
            let is_state = lost.kind == CorruptionKind::StateUnreadable || case.is_older;
            return ensure(is_state, || format!("nothing is lost, and yet: {report}"));
        };
        if let Some(valid) = self.valid_behind(case, unit) {
            return Err(format!("{:?} was dropped in front of {valid}", unit.live));
        }
        let is_state = lost.kind == CorruptionKind::StateUnreadable;
        let first = lost.first_seq.get();
        ensure(is_state || first == *unit.live.start(), || format!("lost from {first}: {report}"))
    }

    /// The event log, which tolerates damage at its end, shows what the engine shows.
    fn events(&self, files: &Files, shown: Option<&Records>) -> Check<()> {
        let dir = self.root.path().join("wal");
        lay_out(&dir, files);
        let read = recover(&dir).map_err(|error| format!("recover: {error}"))?;
        let bytes = |event| EventRecord::from(event).to_bytes().to_vec();
        let all: Vec<_> = (read.first_seq..).zip(read.events.iter().copied().map(bytes)).collect();
        let config = WalConfig {
            dir: self.root.path().to_path_buf(),
            dedup_window: Duration::ZERO,
            ..WalConfig::default()
        };
        let builder = WalHandle::builder(config).backend(BackendKind::Std).spare_segments(0);
        match (builder.strategy(Some(Strategy::WriteThenSync)).open(), shown) {
            (Ok((_, replayed, report)), Some(shown)) => {
                ensure(all == *shown, || format!("recover shows other events: {report}"))?;
                let after = read.after_checkpoint();
                ensure(replayed == after, || format!("open replays others: {report}"))
            }
            (Err(Error::Corrupt(_)), None) => self.compare_prefix(&all),
            (opened, _) => Err(format!("the event log says {opened:?}, the engine {shown:?}")),
        }
    }

    /// The records read from a refused log must be ones that were written.
    fn compare_prefix(&self, read: &Records) -> Check<()> {
        let is_known = |(seq, data): &(u64, Vec<u8>)| {
            let ever = [self.shape.ever.get(seq), self.sister.ever.get(seq)];
            ever.into_iter().flatten().any(|ever| ever.contains(data))
        };
        ensure(read.iter().all(is_known), || "the reader makes events up".to_owned())
    }
}

fn builder() -> Builder {
    Log::builder("sim").kind(None).segment_bytes(32 * 1024)
}

/// A disk with these files.
fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new(0);
    for (name, bytes) in files {
        let file = disk.open(name, Access::Create).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
    }
    disk.sync_dir().unwrap();
    disk.sync_parent().unwrap();
    disk
}

fn is_unchanged(case: &Case<'_>, disk: &SimDisk, after: &str) -> Check<()> {
    let mut names = disk.list().unwrap();
    names.retain(|name| name != "lock");
    let is_same =
        |(name, bytes): (&String, &Arc<Vec<u8>>)| disk.content(name).as_ref() == Some(bytes);
    let is_unchanged = names.len() == case.files.len() && case.files.iter().all(is_same);
    ensure(is_unchanged, || format!("{after} changed the directory"))
}

/// A log that was opened takes records and shows the same again, also after a power cut.
fn goes_on(disk: &SimDisk, log: Log, shown: &Records) -> Check<()> {
    let seq = log.append("more").map_err(|error| error.to_string())?;
    let disk = disk.crash();
    drop(log);
    let again = builder().open_sim(&disk).map_err(|error| format!("reopened: {error}"))?;
    let mut expected = shown.clone();
    expected.push((seq.get(), b"more".to_vec()));
    let found = read(&again)?;
    ensure(found == expected, || "a second recovery shows something else".to_owned())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Check<()> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn read(log: &Log) -> Check<Records> {
    let reader = log.reader().map_err(|error| error.to_string())?;
    let record = |record: ringwal::Result<ringwal::Record>| {
        let record = record.map_err(|error| format!("an opened log cannot be read: {error}"))?;
        Ok((record.seq().get(), record.into_data()))
    };
    reader.map(record).collect()
}
