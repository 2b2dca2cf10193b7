//! Measures the cost of an aged log beside that of a young one; their turns are interleaved.
//!
//! ```text
//! old    fill to age N ─────────── │ append    append    │ usage │ open    open    │ half, quarter
//! young  fill to age 1 ─           │   append    append  │ usage │   open    open  │
//! ```
//!
//! The age of a log is the total appended to it, as a multiple of its live bytes: the caller keeps
//! truncating from the front, as a service with checkpoints does.
//!
//! 1. Each log has a process of its own (`process`), so its memory, descriptors and CPU time are
//!    separate. The process stays open until its usage is read: anything that grows with every
//!    append has had the whole age to grow.
//! 2. A young log was filled once and truncated a little, so it recycles segments like the old one;
//!    a log that was never truncated writes more.
//! 3. A ratio compares an old and a young log whose turns are seconds apart and alternate in order.
//!    Both append, truncate and open the same amounts.
//! 4. Each time a log is opened, every live record is compared, and truncated records must be gone
//!    (`check`).
//! 5. The oldest log is then truncated to a half and to a quarter and reopened, which shows how the
//!    time to open depends on the live bytes.
//!
//! Closing is not measured.

mod check;
mod child;
pub(crate) mod plan;
mod process;
pub(crate) mod protocol;
pub(crate) mod results;

use std::path::Path;

use crate::bench::aged::child::Child;
use crate::bench::aged::results::{Aged, AgedRound, Part};
use crate::bench::scratch::remove_dir;
use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

pub(crate) use plan::Plan;
pub(crate) use process::run as run_process;
pub(crate) use results::{AgedResult, AgedRow};

/// Turns of appending; together they append as much as is live.
const TURNS: usize = 4;
/// Turns of opening.
const OPENINGS: usize = 3;
/// The oldest log is truncated to its live records divided by these.
const CUTS: [u64; 2] = [2, 4];

/// Measures a log of the given age beside a young one, both in new directories in `dir` that are
/// removed afterwards.
pub(crate) fn measure(
    setting: &Setting<'_>,
    dir: &Path,
    plan: &Plan,
    (run, age): (u64, u64),
) -> Result<AgedRound, Failure> {
    let dirs = [dir.join("old"), dir.join("young")];
    let start = |at: usize| Child::start(&dirs[at], 2 * run + at as u64, plan.size);
    let mut pair = [start(0)?, start(1)?];
    for (child, age) in pair.iter_mut().zip([age, 1]) {
        fill(setting, child, plan, age)?;
    }
    let piece = plan.live_records() / TURNS as u64;
    // This is the first truncation of the young log; from then on both recycle segments.
    interleaved(setting, &mut pair, 1, |child| child.append(piece))?;
    let [old_appends, young_appends] =
        interleaved(setting, &mut pair, TURNS, |child| child.append(piece))?;
    let looks = [pair[0].usage()?, pair[1].usage()?];
    let [old_openings, young_openings] = interleaved(setting, &mut pair, OPENINGS, Child::reopen)?;
    let [mut old, mut young] = pair;
    let mut parts = Vec::new();
    if age == plan.oldest() {
        for share in CUTS {
            old.keep(plan.live_records() / share)?;
            let openings = (0..OPENINGS).map(|_| old.reopen()).collect::<Result<_, _>>()?;
            parts.push(Part { share, openings });
        }
    }
    old.finish()?;
    young.finish()?;
    for dir in &dirs {
        remove_dir(dir)?;
    }
    let [old_look, young_look] = looks;
    Ok(AgedRound {
        old: Aged { appends: old_appends, usage: old_look, openings: old_openings },
        young: Aged { appends: young_appends, usage: young_look, openings: young_openings },
        parts,
    })
}

/// Appends until the log has reached the age.
fn fill(setting: &Setting<'_>, child: &mut Child, plan: &Plan, age: u64) -> Result<(), Failure> {
    let mut left = age * plan.live_records();
    while left > 0 {
        // A run can be stopped between two pieces.
        if setting.stop.is_stopped() {
            return Err(stopped(setting));
        }
        let piece = left.min(plan.piece_records());
        child.append(piece)?;
        left -= piece;
    }
    Ok(())
}

/// Runs an action on both logs in turns; the order alternates.
fn interleaved<L, T>(
    setting: &Setting<'_>,
    pair: &mut [L; 2],
    turns: usize,
    mut act: impl FnMut(&mut L) -> Result<T, Failure>,
) -> Result<[Vec<T>; 2], Failure> {
    let mut found = [Vec::new(), Vec::new()];
    for turn in 0..turns {
        for at in [turn % 2, (turn + 1) % 2] {
            if setting.stop.is_stopped() {
                return Err(stopped(setting));
            }
            found[at].push(act(&mut pair[at])?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::RefCell;
    use std::time::Duration;

    use crate::bench::args::tests::parse;
    use crate::bench::machine::Device;
    use crate::bench::machine::cache_drop::CacheDrop;
    use crate::util::signal::Stop;

    #[test]
    fn both_have_their_turn_in_changing_order_until_it_is_stopped() {
        let (args, stop) = (parse(&[]), Stop::new());
        let device = Device::below(Path::new("."));
        let (engine, duration) = (&args.engine, Duration::ZERO);
        let cache_drop = CacheDrop::Advised;
        let setting = Setting { engine, device: &device, stop: &stop, duration, cache_drop };
        let order = RefCell::new(String::new());
        let act = |name: &mut char| {
            order.borrow_mut().push(*name);
            Ok(order.borrow().len())
        };
        let found = interleaved(&setting, &mut ['o', 'y'], 3, act).unwrap();
        assert_eq!((&**order.borrow(), found), ("oyyooy", [vec![1, 4, 5], vec![2, 3, 6]]));
        stop.stop("SIGINT");
        let stopped = interleaved(&setting, &mut ['o', 'y'], 1, act);
        assert!(matches!(stopped, Err(Failure::Stopped("SIGINT"))));
    }
}
