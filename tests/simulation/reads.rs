//! Reads that return wrong bytes: they are never shown as right ones, and no record with a later
//! witness disappears because of them.

use std::ops::Range;

use ringwal::format::{Place, decode};
use ringwal::{Error, Log, RecoveryPolicy, Seq, SimDisk, SimFault};

use crate::faults::{SCENARIOS, Scenario};
use crate::life::Steps;
use crate::model::{Broken, ensure};
use crate::world::World;

pub(crate) const WRONG_READS: [SimFault; 3] =
    [SimFault::RottenRead, SimFault::StaleRead, SimFault::MisdirectedRead];

/// The outcome of opening a log while one read is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// There was no such read.
    Nothing,
    /// All acknowledged records are shown.
    Whole,
    /// An error names the damage.
    Corrupt,
    /// The records that are not shown have no later witness.
    Shorter,
    /// The wrong bytes hit the newest state, so that it looks like an unfinished one.
    State,
}

/// The last segment, by its name and its bytes.
#[derive(Default)]
struct LastSegment {
    name: String,
    first_seq: u64,
    content: Vec<u8>,
}

impl LastSegment {
    fn of(disk: &SimDisk) -> LastSegment {
        let last = disk.names().into_iter().rfind(|name| name.ends_with(".seg"));
        let Some(name) = last else { return LastSegment::default() };
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        let content = disk.content(&name).unwrap_or_default();
        LastSegment { first_seq: digits.parse().unwrap(), content, name }
    }

    /// The greatest watermark in the batches outside these bytes.
    fn stated_outside(&self, bytes: Range<usize>) -> u64 {
        let (mut at, mut stated, mut salt) = (0, 0, None);
        let mut next_seq = self.first_seq;
        let place = Place { log: None, segment: self.first_seq };
        while let Some(rest) = self.content.get(at..) {
            let Ok(batch) = decode(rest, Some(&place)) else { break };
            let header = batch.header();
            let end = at + header.frame_bytes() as usize;
            // A batch of an earlier use of the file follows.
            if header.first_seq != next_seq || *salt.get_or_insert(header.salt) != header.salt {
                break;
            }
            if end <= bytes.start || bytes.end <= at {
                stated = stated.max(header.durable_seq);
            }
            (at, next_seq) = (end, header.last_seq() + 1);
        }
        stated
    }
}

impl World {
    /// The last record that something later than itself proves to have been durable, with these
    /// bytes of the last segment gone.
    fn witnessed(&self, last: &LastSegment, struck: &str) -> u64 {
        let before_last = last.first_seq.saturating_sub(1);
        let stated = match struck.rsplit_once(" of ").and_then(|(_, at)| at.split_once("..")) {
            Some((from, to)) if struck.contains(&last.name) && !self.model.was_cut => {
                last.stated_outside(from.parse().unwrap()..to.parse().unwrap())
            }
            _ => 0,
        };
        let checkpoint = self.model.checkpoint.as_ref().map_or(0, |mark| mark.0);
        let closed = if self.closed { self.model.last() } else { 0 };
        let proven = before_last.max(stated).max(checkpoint).max(closed);
        proven.min(self.model.maybe_cut.unwrap_or(u64::MAX))
    }

    /// Opens a copy of the disk strictly while one of its reads is wrong.
    pub(crate) fn look(
        &mut self,
        index: u64,
        fault: SimFault,
        for_good: bool,
    ) -> Result<Seen, Broken> {
        let copy = self.disk.fork();
        match for_good {
            true => copy.fail_from(index, fault),
            false => copy.fail_at(index, fault),
        }
        let last_segment = LastSegment::of(&copy);
        let builder = || Log::builder("sim").recovery(RecoveryPolicy::Strict);
        let opened = builder().open_sim(&copy);
        let Some(struck) = copy.struck().pop() else { return Ok(Seen::Nothing) };
        self.figures.wrong_reads += 1;
        if struck.contains("state") {
            return self.look_without_state(&struck, opened);
        }
        let log = match opened {
            Ok(log) => log,
            // A record that states another version, read for the beginning of its segment, is
            // refused as well.
            Err(error @ (Error::Corrupt(_) | Error::UnsupportedVersion { .. })) => {
                let (path, range) = match &error {
                    Error::Corrupt(damage) => (&damage.path, damage.first_seq..=damage.last_seq),
                    Error::UnsupportedVersion { path, .. } => (path, Seq::FIRST..=Seq::FIRST),
                    _ => return Err(error.to_string()),
                };
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let is_there = copy.names().iter().any(|known| *known == name) || name == "sim";
                ensure!(is_there, "{struck}: damage in {name}, which is not there");
                ensure!(!range.is_empty(), "{struck}: {error}");
                // Nothing was changed: with correct reads, the log is whole.
                copy.heal();
                let log = builder().open_sim(&copy);
                let log = log.map_err(|error| format!("{struck}, then healed: {error}"))?;
                let mut model = self.model.clone();
                let ended = model.check_reopened(&log, self.killed && !self.unclean)?;
                ensure!(ended.is_none(), "{struck}, then healed: {ended:?}");
                return Ok(Seen::Corrupt);
            }
            Err(error) => return Err(format!("{struck}: {error}")),
        };
        let (last, witnessed) = (log.appended_seq().get(), self.witnessed(&last_segment, &struck));
        let mut model = self.model.clone();
        model.settle_restart(&log);
        ensure!(last <= model.last(), "{struck}: {last} of {} records", model.last());
        ensure!(last >= witnessed, "{struck}: {last} records, {witnessed} are proven");
        let reader = log.reader().map_err(|error| format!("{struck}: {error}"))?;
        match model.check_records(&log, reader).map_err(|why| format!("{struck}: {why}"))? {
            Some(Error::Corrupt(_)) => Ok(Seen::Corrupt),
            Some(error) => Err(format!("{struck}: {error}")),
            None if last < model.acked => Ok(Seen::Shorter),
            None => Ok(Seen::Whole),
        }
    }

    /// What was opened after the newest state was read wrong: with the state before it, which
    /// knows nothing of the last truncation or checkpoint, or not at all.
    fn look_without_state(
        &self,
        struck: &str,
        opened: ringwal::Result<Log>,
    ) -> Result<Seen, Broken> {
        match opened {
            // The records of a forgotten cut are there again.
            Ok(_) if self.model.was_cut => {}
            Ok(log) => {
                let reader = log.reader().map_err(|error| format!("{struck}: {error}"))?;
                let ended = self.model.check_records(&log, reader);
                match ended.map_err(|why| format!("{struck}: {why}"))? {
                    None | Some(Error::Corrupt(_)) => {}
                    Some(error) => return Err(format!("{struck}: {error}")),
                }
            }
            Err(Error::Corrupt(_)) => {}
            Err(error) => return Err(format!("{struck}: {error}")),
        }
        Ok(Seen::State)
    }

    /// Reads all records, and one by its position, while a read is wrong.
    pub(crate) fn read_wrongly(&mut self, log: &Log) -> Result<(), Broken> {
        let fault = self.rng.pick(&WRONG_READS);
        let index = self.rng.below(4);
        self.tell(|| format!("{fault} at {index} of reading"));
        match self.rng.percent(50) {
            true => self.disk.fail_from(index, fault),
            false => self.disk.fail_at(index, fault),
        }
        let reader = log.reader().map_err(|error| format!("reader: {error}"))?;
        let outcome = self.model.check_records(log, reader)?;
        // Only the batch around a record has its sequence number.
        if fault == SimFault::RottenRead
            && let Some(&place) = self.places.last()
        {
            match log.read(place) {
                Ok(record) => {
                    let expected = self.model.records.get(place.seq().get() as usize - 1);
                    let same = expected.is_some_and(|expected| expected == record.data());
                    ensure!(same, "{fault}: {place:?} has other bytes");
                }
                Err(Error::Corrupt(_) | Error::Truncated { .. }) => {}
                Err(error) => return Err(format!("{fault}: {error}")),
            }
        }
        self.disk.heal();
        match outcome {
            None | Some(Error::Corrupt(_)) => Ok(()),
            Some(error) => Err(format!("{fault}: {error}")),
        }
    }
}

/// Makes every read of an opening wrong once, in every way. Returns how often each outcome came.
pub(crate) fn try_all(seed: u64, counts: &mut [u64; 5]) -> Result<(), Broken> {
    for Scenario { name, before, .. } in SCENARIOS {
        let mut world = World::new(seed, Steps::All);
        world.prepare(*before)?;
        for (fault, for_good) in WRONG_READS.into_iter().flat_map(|f| [(f, false), (f, true)]) {
            for index in 0.. {
                let seen = world.look(index, fault, for_good);
                let seen = seen.map_err(|broken| format!("{name}, read {index}: {broken}"))?;
                counts[seen as usize] += 1;
                if seen == Seen::Nothing {
                    break;
                }
            }
        }
    }
    Ok(())
}
