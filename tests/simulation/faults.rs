//! One fault at one call, once or for good, and its consequences.

use ringwal::{Error, SimFault, Strategy};

use crate::acts::Act;
use crate::life::Steps;
use crate::model::{Broken, ensure};
use crate::world::World;

pub(crate) const FAULTS: [SimFault; 13] = [
    SimFault::Errno(libc::EIO),
    SimFault::Errno(libc::ENOSPC),
    SimFault::Errno(libc::EDQUOT),
    SimFault::Errno(libc::EINTR),
    SimFault::NoDescriptor,
    SimFault::PowerCut,
    SimFault::ShortWrite,
    SimFault::Cancelled,
    SimFault::CutChain,
    SimFault::Enter(libc::EAGAIN),
    SimFault::Enter(libc::EBUSY),
    SimFault::Enter(libc::EINTR),
    SimFault::Enter(libc::EBADF),
];

/// Faults that must go unnoticed once they end.
pub(crate) const HARMLESS: [SimFault; 3] =
    [SimFault::Enter(libc::EAGAIN), SimFault::Enter(libc::EBUSY), SimFault::Enter(libc::EINTR)];

/// The state of a log before a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    Closed,
    PowerCut,
    Killed,
}

/// The acts during a fault: the log is opened, these acts follow, and it is closed.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) before: Before,
    acts: &'static [Act],
}

const fn scenario(name: &'static str, before: Before, acts: &'static [Act]) -> Scenario {
    Scenario { name, before, acts }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("the first opening", Before::Nothing, &[]),
    scenario("the first records", Before::Nothing, &[Act::Append, Act::Append, Act::Settle]),
    scenario("opening after a close", Before::Closed, &[]),
    scenario("opening after a power cut", Before::PowerCut, &[]),
    scenario("opening after a kill", Before::Killed, &[Act::Append]),
    scenario("appending in all forms", Before::Closed, &[Act::Append; 14]),
    scenario("many batches in flight", Before::Killed, {
        use Act::{Append, Flush, Run};
        &[Append, Run, Append, Append, Run, Append, Append, Append, Run, Flush, Append]
    }),
    scenario("rotating", Before::Closed, &[Act::Append, Act::Rotate, Act::Append, Act::Rotate]),
    scenario("truncating", Before::PowerCut, {
        use Act::{Append, Rotate, TruncateAfter, TruncateBefore};
        &[Append, Rotate, Append, TruncateBefore, Append, TruncateAfter, Append, TruncateBefore]
    }),
    scenario("checkpoints", Before::Closed, {
        use Act::{Append, Checkpoint, Flush};
        &[Checkpoint, Append, Flush, Checkpoint, Checkpoint]
    }),
    scenario("reading", Before::PowerCut, &[Act::Append, Act::Flush, Act::Read, Act::Read]),
];

/// The acts before a fault.
const PREPARATION: [Act; 16] = {
    use Act::{Append, Checkpoint, Flush, Rotate, Run, TruncateBefore};
    [
        Append,
        Run,
        Append,
        Append,
        Flush,
        Append,
        Rotate,
        Append,
        Checkpoint,
        Append,
        Flush,
        TruncateBefore,
        Append,
        Append,
        Run,
        Run,
    ]
};

impl World {
    /// An error must name the injected fault.
    pub(crate) fn check_cause(&self, error: &Error) -> Result<(), Broken> {
        let source = match error.root_cause() {
            Error::Io { source, .. } => source,
            Error::NoSpace { source, .. } => source.as_ref(),
            _ => return Err(format!("no cause: {error:?}")),
        };
        let says = |what| source.to_string().contains(what);
        let named = match self.fault {
            None => true,
            Some(SimFault::Errno(errno) | SimFault::Enter(errno)) => {
                source.raw_os_error() == Some(errno)
            }
            Some(SimFault::NoDescriptor) => source.raw_os_error() == Some(libc::EMFILE),
            Some(SimFault::PowerCut) => says("power"),
            Some(SimFault::ShortWrite) => says("only a part"),
            Some(SimFault::Cancelled | SimFault::CutChain) => says("cancelled"),
            Some(_) => false,
        };
        ensure!(named, "another cause: {error}");
        Ok(())
    }

    /// A log that was used before.
    pub(crate) fn prepare(&mut self, before: Before) -> Result<(), Broken> {
        if before == Before::Nothing {
            return Ok(());
        }
        self.rng = self.path.must();
        let builder = self.builder();
        self.log = Some(builder.open_sim(&self.disk).map_err(|error| error.to_string())?);
        self.take(&PREPARATION)?;
        if before == Before::Closed {
            self.close()?;
        }
        self.stop(before == Before::Killed)
    }

    fn take(&mut self, acts: &[Act]) -> Result<(), Broken> {
        for &act in acts {
            self.rng = self.path.must();
            self.act(act).map_err(|broken| format!("{act:?}: {broken}"))?;
            self.observe()?;
        }
        Ok(())
    }

    /// Opens, uses and closes a log in which only one call fails. Returns whether that call came
    /// at all.
    pub(crate) fn run_with(
        &mut self,
        scenario: &Scenario,
        (at, fault, for_good): (u64, SimFault, bool),
    ) -> Result<bool, Broken> {
        self.prepare(scenario.before)?;
        match for_good {
            true => self.disk.fail_from(at, fault),
            false => self.disk.fail_at(at, fault),
        }
        self.fault = Some(fault);
        self.queue_lost = matches!(fault, SimFault::Enter(_));
        self.faulty = for_good || !HARMLESS.contains(&fault);
        let mut struck = self.open_in_trouble()?;
        let log = self.log()?;
        if let Some(error) = self.model.check_reopened(&log, self.killed && !self.unclean)? {
            self.expect_failure("reader", &error)?;
        }
        drop(log);
        self.take(scenario.acts)?;
        self.check_settled(&self.log()?)?;
        self.close()?;
        self.observe()?;
        struck |= !self.disk.struck().is_empty();
        self.unclean |= struck && self.faulty;
        let killed = at.is_multiple_of(2) && !self.disk.is_off();
        self.disk.heal();
        self.stop(killed)?;
        (self.fault, self.faulty) = (None, false);
        self.check_afterwards()?;
        Ok(struck)
    }

    /// Opens the log; if that fails, opens it again without faults. Returns whether it failed.
    fn open_in_trouble(&mut self) -> Result<bool, Broken> {
        self.rng = self.path.must();
        let builder = self.builder();
        match builder.clone().open_sim(&self.disk) {
            Ok(log) => {
                self.log = Some(log);
                Ok(false)
            }
            Err(error) => {
                self.check_cause(&error)?;
                self.check_released()?;
                self.disk.heal();
                self.unclean = true;
                if self.disk.is_off() {
                    self.disk = self.disk.crash();
                    (self.unclean, self.killed) = (false, false);
                }
                let opened = builder.open_sim(&self.disk);
                self.log = Some(opened.map_err(|error| format!("all is well again: {error}"))?);
                Ok(true)
            }
        }
    }

    /// The log must open with all records, take new ones, and leave no files behind.
    fn check_afterwards(&mut self) -> Result<(), Broken> {
        self.rng = self.path.must();
        let builder = self.builder();
        let log = builder.open_sim(&self.disk).map_err(|error| format!("afterwards: {error}"))?;
        let ended = self.model.check_reopened(&log, self.killed && !self.unclean)?;
        ensure!(ended.is_none(), "afterwards: {ended:?}");
        log.append("it goes on").map_err(|error| format!("afterwards: {error}"))?;
        log.close().map_err(|error| format!("afterwards: {error}"))?;
        drop(log);
        self.check_released()?;
        let ours = |name: &String| name == "state" || name == "lock" || name.ends_with(".seg");
        let left: Vec<_> = self.disk.names().into_iter().filter(|name| !ours(name)).collect();
        ensure!(left.is_empty(), "left behind: {left:?}");
        Ok(())
    }
}

/// A world for a scenario; the seeds go through the strategies.
pub(crate) fn world(seed: u64) -> World {
    let mut world = World::new(seed, Steps::All);
    world.strategy = Some(Strategy::ALL[seed as usize % Strategy::ALL.len()]);
    world
}
