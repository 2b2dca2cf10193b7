//! Which strategy the next batch takes, where the log chose by itself.
//!
//! What was measured at open says little about a busy machine: a linked sync and a durable write
//! both end on a worker of the kernel, which waits for a processor like everyone else. A write and
//! then a sync ends on the ring thread and stays itself, so it is what everything else has to
//! beat, at open and from then on: of every [`PERIOD`] batches the last [`SAMPLE`] go that way,
//! and when they are not clearly slower than as many before them, all later ones do, until the
//! log is opened again.
//!
//! Pure: it is told how long a batch took.

use std::collections::VecDeque;
use std::time::Duration;

use crate::io::Strategy;

const BASE: Strategy = Strategy::WriteThenSync;

/// Batches between two comparisons.
const PERIOD: u32 = 256;

/// Batches of each that are compared.
const SAMPLE: usize = 8;

#[derive(Debug)]
pub(super) struct StrategySelector {
    now: Strategy,
    fixed: bool,
    batches: u32,
    of_now: VecDeque<Duration>,
    of_base: VecDeque<Duration>,
}

impl StrategySelector {
    /// Begins with `strategy`. One that was asked for is `fixed`.
    pub(super) fn new(strategy: Strategy, fixed: bool) -> StrategySelector {
        StrategySelector {
            now: strategy,
            fixed: fixed || strategy == BASE,
            batches: 0,
            of_now: VecDeque::with_capacity(SAMPLE + 1),
            of_base: VecDeque::with_capacity(SAMPLE + 1),
        }
    }

    /// The strategy that most batches take.
    pub(super) fn now(&self) -> Strategy {
        self.now
    }

    /// The strategy of the next batch.
    pub(super) fn next(&mut self) -> Strategy {
        if self.fixed {
            return self.now;
        }
        self.batches = (self.batches + 1) % PERIOD;
        if self.batches as usize >= PERIOD as usize - SAMPLE { BASE } else { self.now }
    }

    /// A batch took so long on the ring thread. Returns whether that changed the choice.
    pub(super) fn took(&mut self, strategy: Strategy, time: Duration) -> bool {
        if self.fixed {
            return false;
        }
        let times = if strategy == BASE { &mut self.of_base } else { &mut self.of_now };
        times.push_back(time);
        if times.len() > SAMPLE {
            times.pop_front();
        }
        if self.of_base.len() < SAMPLE || self.of_now.len() < SAMPLE {
            return false;
        }
        let (now, base) = (median(&self.of_now), median(&self.of_base));
        self.of_base.clear();
        if now < base.mul_f64(self.now.required_speedup()) {
            return false;
        }
        (self.now, self.fixed) = (BASE, true);
        true
    }
}

fn median(times: &VecDeque<Duration>) -> Duration {
    let mut sorted: Vec<_> = times.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `periods`, in which batches take what `time` says.
    fn run(
        selector: &mut StrategySelector,
        periods: u32,
        time: impl Fn(Strategy) -> u64,
    ) -> (u32, u32) {
        let (mut base, mut changes) = (0, 0);
        for _ in 0..periods * PERIOD {
            let strategy = selector.next();
            base += u32::from(strategy == BASE);
            changes += u32::from(selector.took(strategy, Duration::from_micros(time(strategy))));
        }
        (base, changes)
    }

    #[test]
    fn what_stays_clearly_faster_stays_chosen() {
        let mut selector = StrategySelector::new(Strategy::Dsync, false);
        let times = |strategy| if strategy == BASE { 100 } else { 40 };
        assert_eq!(run(&mut selector, 10, times), (10 * SAMPLE as u32, 0));
        assert_eq!(selector.now(), Strategy::Dsync);
    }

    #[test]
    fn what_is_no_longer_clearly_faster_is_left_for_good_at_the_next_comparison() {
        let mut selector = StrategySelector::new(Strategy::LinkedFsync, false);
        run(&mut selector, 1, |strategy| if strategy == BASE { 100 } else { 40 });
        assert_eq!(run(&mut selector, 1, |_| 100).1, 1);
        assert_eq!(selector.now(), BASE);
        let (base, changes) =
            run(&mut selector, 3, |strategy| if strategy == BASE { 9 } else { 1 });
        assert_eq!((base, changes), (3 * PERIOD, 0));
    }

    #[test]
    fn what_was_asked_for_never_changes() {
        let mut selector = StrategySelector::new(Strategy::Dsync, true);
        let times = |strategy| if strategy == Strategy::Dsync { 1000 } else { 1 };
        assert_eq!(run(&mut selector, 4, times), (0, 0));
    }
}
