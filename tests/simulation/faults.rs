//! One fault at one call, and what comes of it.

use ringwal::Error;

use crate::model::{Broken, ensure};
use crate::world::World;

/// What goes wrong at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Once(i32),
    ForGood(i32),
    PowerCut,
    /// The queue itself, at the n-th wait.
    Queue,
}

impl World {
    /// An error names what was made to fail.
    pub(crate) fn check_cause(&self, error: &Error) -> Result<(), Broken> {
        let Error::Io { source, .. } = error.root_cause() else {
            return Err(format!("no cause: {error:?}"));
        };
        match self.fault {
            Some(Fault::Once(errno) | Fault::ForGood(errno)) => {
                ensure!(source.raw_os_error() == Some(errno), "another cause: {error}");
            }
            Some(Fault::PowerCut) => {
                ensure!(source.to_string().contains("power"), "another cause: {error}");
            }
            Some(Fault::Queue) => {
                ensure!(source.to_string().contains("queue"), "another cause: {error}");
            }
            None => {}
        }
        Ok(())
    }

    /// One life of `steps` steps in which only the call number `at` fails, and what follows.
    /// Returns how many calls there were until the log was closed.
    pub(crate) fn run_with(&mut self, at: u64, fault: Fault, steps: u64) -> Result<u64, Broken> {
        self.fault = Some(fault);
        let mut log = None;
        for _ in 0..2 {
            let builder = self.builder();
            if self.disk.calls() == 0 {
                match fault {
                    Fault::Once(errno) => self.disk.fail_at(at, errno, false),
                    Fault::ForGood(errno) => self.disk.fail_at(at, errno, true),
                    Fault::PowerCut => self.disk.power_off_at(at),
                    Fault::Queue => self.disk.fail_queue_at(at),
                }
            }
            self.faulty = true;
            match builder.open_sim(&self.disk) {
                Ok(opened) => {
                    log = Some(opened);
                    break;
                }
                Err(error) => {
                    self.check_cause(&error)?;
                    self.disk.heal();
                    if self.disk.is_off() {
                        self.disk = self.disk.crash();
                    }
                }
            }
        }
        self.log = Some(log.ok_or("it cannot be opened, though all is well again")?);
        for _ in 0..steps {
            self.act()?;
            self.observe()?;
        }
        let log = self.log()?;
        self.check_settled(&log)?;
        let closed = log.close();
        closed.or_else(|error| self.expect_failure("close", &error))?;
        self.observe()?;
        let calls = self.disk.calls();
        drop(log);
        self.disk.heal();
        self.unclean = true;
        let after = if at.is_multiple_of(2) && !self.disk.is_off() {
            self.killed = true;
            self.disk.kill()
        } else {
            self.disk.crash()
        };
        self.log = None;
        self.disk = after;
        self.fault = None;
        let builder = self.builder();
        let log = builder.open_sim(&self.disk).map_err(|error| error.to_string())?;
        self.model.check_reopened(&log, false)?;
        log.append("it goes on").map_err(|error| error.to_string())?;
        log.close().map_err(|error| error.to_string())?;
        Ok(calls)
    }
}
