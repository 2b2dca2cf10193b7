//! Measures what a log costs after a long life beside what a young one costs, by turns.
//!
//! ```text
//! old    fill to age N ─────────── │ append    append    │ look │ open    open    │ half, quarter
//! young  fill to age 1 ─           │   append    append  │ look │   open    open  │
//! ```
//!
//! The age of a log is what was appended to it in its life, as a multiple of its live bytes: the
//! caller truncates from the front all the time, as a service with checkpoints does.
//!
//! 1. Each log is a process of its own (`life`), so that its memory, its descriptors and its
//!    processor time are its own. It stays open until it is looked at: what grows with every
//!    append has the whole life to grow in.
//! 2. A young log was filled once and truncated a little, so that it recycles segments as the old
//!    one does: a log that was never truncated writes more.
//! 3. A ratio is that of an old and a young log whose turns are within seconds of each other and
//!    change order; both append, truncate and open the same amounts.
//! 4. Each time a log is opened, every live record is compared, and what was truncated has to be
//!    gone (`check`).
//! 5. The log of the greatest age is then cut to a half and to a quarter, by truncation, and opened
//!    again: that is how the time to open depends on what is live.
//!
//! It does not measure the close.

mod check;
mod child;
pub(crate) mod plan;
mod process;
pub(crate) mod protocol;
pub(crate) mod results;

use std::path::Path;

use crate::bench::aged::child::Child;
use crate::bench::aged::results::{Aged, AgedRound, Part};
use crate::bench::baseline::files::remove_dir;
use crate::bench::setting::{Setting, stopped};
use crate::output::exit::Failure;

pub(crate) use plan::Plan;
pub(crate) use process::run as run_process;
pub(crate) use results::{AgedResult, AgedRow};

/// Turns of appending; all of them together append as much as is live.
const TURNS: usize = 4;
/// Turns of opening.
const OPENINGS: usize = 3;
/// What the oldest log is cut to: its live records, divided by these.
const CUTS: [u64; 2] = [2, 4];

/// Measures a log of an age beside a young one, both in new directories in `dir`, which go.
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
    // The young log truncates for the first time, too: from then on both recycle segments.
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

/// Appends until the log has the age.
fn fill(setting: &Setting<'_>, child: &mut Child, plan: &Plan, age: u64) -> Result<(), Failure> {
    let mut left = age * plan.live_records();
    while left > 0 {
        // Between two pieces it can be stopped.
        if setting.stop.is_stopped() {
            return Err(stopped(setting));
        }
        let piece = left.min(plan.piece_records());
        child.append(piece)?;
        left -= piece;
    }
    Ok(())
}

/// Lets both do the same by turns; who is first in one turn is second in the next.
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
