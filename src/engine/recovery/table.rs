//! The decision tables of recovery: facts in, decision out. No file, no clock.
//!
//! Exactly one row matches each combination of facts; a test walks them all. The facts of the
//! *tail* describe the place where the valid batches end: in the last segment, or in an earlier one
//! that the next does not continue. A loss is *proven* if a witness says that the missing records
//! were durable. The manual's chapter `recovery` lists the rows for users.
//!
//! ```text
//! row    end        later batch  later seg.  state proves  policy     verdict   action
//! R-A1   OfFile     none         no          no            any        Clean     keep
//! R-A2   Blank      none         no          no            any        Clean     keep
//! R-A3   Limit      none         no          no            any        Clean     keep
//! R-B1   Stale      none         no          no            any        Stale     cut
//! R-B2   Damaged    none         no          no            any        TornTail  cut
//! R-B3   any        unproven     no          no            any        TornTail  cut
//! R-C1   any        any          yes         any           any        Corrupt   refuse
//! R-C2   any        proves       no          any           any        Corrupt   refuse
//! R-C3   any        not proves   no          checkpoint    (*)        Corrupt   refuse
//! R-C4   any        not proves   no          only close    (*)        Corrupt   refuse
//! R-C5   OtherLog   not proves   no          no            any        Corrupt   refuse
//! R-C6   Emptied    not proves   no          no            (*)        Corrupt   refuse
//! R-D1   any        none         no          checkpoint    Tolerate   Corrupt   tolerate
//! R-D2   any        none         no          only close    Tolerate   Corrupt   tolerate
//! R-D3   Emptied    none         no          no            Tolerate   Corrupt   tolerate
//!
//! (*) Strict, or there is something valid: an unproven later batch behind the damage, or a
//!     segment of another log. `any` end of R-B3 is any but OtherLog.
//! ```

use crate::error::Witness;

use super::report::{RecoveryPolicy, Verdict};

/// How the valid batches end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// At the last record that may count; what follows is void.
    Limit,
    /// At the end of the file, or there is no file.
    OfFile,
    /// Zeros follow, up to the end of the file.
    Blank,
    /// The file has no bytes at all, although every segment has some before it gets its name.
    Emptied,
    /// A batch of an earlier life of the file follows.
    Stale,
    /// Bytes follow that are no batch, or none that could come next.
    Damaged,
    /// Before the first batch: the segment belongs to another log.
    OtherLog,
}

/// Valid batches behind the end, in the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    None,
    /// No later batch says that the missing records were durable: they were in flight together.
    Unproven,
    /// A later batch says that the missing records were durable, or is one that no crash can leave.
    Proves,
}

/// The facts about a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TailFacts {
    pub(crate) end: End,
    pub(crate) later_batch: Later,
    /// There is a later segment, and it does not continue this one.
    pub(crate) later_segment: bool,
    /// The checkpoint covers the first missing record.
    pub(crate) checkpoint_proves: bool,
    /// The last durable number in `state` covers the first missing record.
    pub(crate) close_proves: bool,
    pub(crate) policy: RecoveryPolicy,
}

/// What to do with a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TailAction {
    /// Keep all batches, and trim blank or void bytes behind them.
    Keep,
    /// Cut off bytes that were never acknowledged, and count them.
    Cut,
    /// Cut off acknowledged records, as the policy allows, and report it.
    Tolerate(Witness),
    /// Change nothing, and fail.
    Refuse(Witness),
}

/// A row of the table of tails.
#[derive(Debug)]
pub(crate) struct TailRow {
    pub(crate) name: &'static str,
    matches: fn(&TailFacts) -> bool,
    pub(crate) verdict: Verdict,
    pub(crate) action: TailAction,
}

impl TailFacts {
    /// The row for these facts.
    pub(crate) fn classify(&self) -> &'static TailRow {
        let row = TAIL_ROWS.iter().find(|row| (row.matches)(self));
        row.expect("a row for every combination of facts")
    }

    fn is_unproven(&self) -> bool {
        self.end != End::Emptied && self.only_end_proves()
    }

    /// Whether nothing proves a loss, except perhaps the end itself.
    fn only_end_proves(&self) -> bool {
        !self.later_segment && self.later_batch != Later::Proves && !self.state_proves()
    }

    fn is_emptied(&self) -> bool {
        self.end == End::Emptied && self.only_end_proves()
    }

    fn state_proves(&self) -> bool {
        self.checkpoint_proves || self.close_proves
    }

    fn ends_last(&self, end: End) -> bool {
        self.end == end && self.later_batch == Later::None && self.is_unproven()
    }

    fn is_for_state(&self) -> bool {
        !self.later_segment && self.later_batch != Later::Proves && self.state_proves()
    }

    fn may_tolerate(&self) -> bool {
        self.policy == RecoveryPolicy::TolerateTail
            && self.later_batch == Later::None
            && self.end != End::OtherLog
    }
}

const fn row(
    name: &'static str,
    verdict: Verdict,
    action: TailAction,
    matches: fn(&TailFacts) -> bool,
) -> TailRow {
    TailRow { name, matches, verdict, action }
}

const TAIL_ROWS: [TailRow; 15] = [
    row("R-A1", Verdict::Clean, TailAction::Keep, |f| f.ends_last(End::OfFile)),
    row("R-A2", Verdict::Clean, TailAction::Keep, |f| f.ends_last(End::Blank)),
    row("R-A3", Verdict::Clean, TailAction::Keep, |f| f.ends_last(End::Limit)),
    row("R-B1", Verdict::Stale, TailAction::Cut, |f| f.ends_last(End::Stale)),
    row("R-B2", Verdict::TornTail, TailAction::Cut, |f| f.ends_last(End::Damaged)),
    row("R-B3", Verdict::TornTail, TailAction::Cut, |f| {
        f.later_batch == Later::Unproven && f.end != End::OtherLog && f.is_unproven()
    }),
    row("R-C1", Verdict::Corrupt, TailAction::Refuse(Witness::LaterSegment), |f| f.later_segment),
    row("R-C2", Verdict::Corrupt, TailAction::Refuse(Witness::LaterBatch), |f| {
        !f.later_segment && f.later_batch == Later::Proves
    }),
    row("R-C3", Verdict::Corrupt, TailAction::Refuse(Witness::Checkpoint), |f| {
        f.is_for_state() && f.checkpoint_proves && !f.may_tolerate()
    }),
    row("R-C4", Verdict::Corrupt, TailAction::Refuse(Witness::CleanClose), |f| {
        f.is_for_state() && !f.checkpoint_proves && !f.may_tolerate()
    }),
    row("R-C5", Verdict::Corrupt, TailAction::Refuse(Witness::Itself), |f| {
        f.end == End::OtherLog && f.is_unproven()
    }),
    row("R-C6", Verdict::Corrupt, TailAction::Refuse(Witness::Itself), |f| {
        f.is_emptied() && !f.may_tolerate()
    }),
    row("R-D1", Verdict::Corrupt, TailAction::Tolerate(Witness::Checkpoint), |f| {
        f.is_for_state() && f.checkpoint_proves && f.may_tolerate()
    }),
    row("R-D2", Verdict::Corrupt, TailAction::Tolerate(Witness::CleanClose), |f| {
        f.is_for_state() && !f.checkpoint_proves && f.may_tolerate()
    }),
    row("R-D3", Verdict::Corrupt, TailAction::Tolerate(Witness::Itself), |f| {
        f.is_emptied() && f.may_tolerate()
    }),
];

/// The `state` file, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateSeen {
    Valid,
    Missing,
    Unreadable,
}

/// The segments of a directory without a `state`, by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SegmentsSeen {
    None,
    /// Stand-alone batches only: files that were written without an engine need no `state`.
    StandAlone,
    /// An engine wrote at least one of them, so there was a `state`.
    Salted,
    /// One does not begin like a batch: it is damaged, or no segment.
    Unknown,
}

/// The facts about a directory, before a segment is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirFacts {
    pub(crate) state: StateSeen,
    pub(crate) segments: SegmentsSeen,
    /// There is a file that belongs to no log.
    pub(crate) foreign: bool,
    pub(crate) policy: RecoveryPolicy,
}

/// What to do with a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DirAction {
    /// Use the log with its state.
    Use,
    /// Begin a new log.
    Begin,
    /// Create a state for segments that need none.
    Adopt,
    /// Create a state for segments that lost theirs, as the policy allows.
    Tolerate,
    /// Fail: the state is lost.
    Refuse,
    /// Fail: the directory holds no log.
    NotALog,
}

type DirRow = (&'static str, fn(&DirFacts) -> bool, DirAction);

impl DirFacts {
    /// The label of the row for these facts, and its action.
    pub(crate) fn classify(&self) -> (&'static str, DirAction) {
        let row = DIR_ROWS.iter().find(|row| row.1(self));
        let &(name, _, action) = row.expect("a row for every combination of facts");
        (name, action)
    }

    fn lacks_state(&self, segments: SegmentsSeen) -> bool {
        self.state == StateSeen::Missing && self.segments == segments
    }
}

const DIR_ROWS: [DirRow; 8] = [
    ("S-1", |f| f.state == StateSeen::Valid, DirAction::Use),
    ("S-2", |f| f.state == StateSeen::Unreadable, DirAction::Refuse),
    ("S-3", |f| f.lacks_state(SegmentsSeen::None) && !f.foreign, DirAction::Begin),
    ("S-4", |f| f.lacks_state(SegmentsSeen::None) && f.foreign, DirAction::NotALog),
    ("S-5", |f| f.lacks_state(SegmentsSeen::StandAlone), DirAction::Adopt),
    (
        "S-6",
        |f| f.lacks_state(SegmentsSeen::Salted) && f.policy == RecoveryPolicy::Strict,
        DirAction::Refuse,
    ),
    (
        "S-7",
        |f| f.lacks_state(SegmentsSeen::Salted) && f.policy == RecoveryPolicy::TolerateTail,
        DirAction::Tolerate,
    ),
    ("S-8", |f| f.lacks_state(SegmentsSeen::Unknown), DirAction::Refuse),
];

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: [RecoveryPolicy; 2] = [RecoveryPolicy::Strict, RecoveryPolicy::TolerateTail];
    const ENDS: [End; 7] = [
        End::Limit,
        End::OfFile,
        End::Blank,
        End::Emptied,
        End::Stale,
        End::Damaged,
        End::OtherLog,
    ];
    const LATERS: [Later; 3] = [Later::None, Later::Unproven, Later::Proves];

    fn all_tails() -> Vec<TailFacts> {
        let mut all = Vec::new();
        for end in ENDS {
            for later_batch in LATERS {
                for policy in POLICIES {
                    for bits in 0..8 {
                        all.push(TailFacts {
                            end,
                            later_batch,
                            later_segment: bits & 1 != 0,
                            checkpoint_proves: bits & 2 != 0,
                            close_proves: bits & 4 != 0,
                            policy,
                        });
                    }
                }
            }
        }
        all
    }

    /// Whether these facts prove that acknowledged records are gone; written apart from the rows.
    fn is_proven(facts: &TailFacts) -> bool {
        matches!(facts.end, End::Emptied | End::OtherLog)
            || facts.later_segment
            || facts.later_batch == Later::Proves
            || facts.checkpoint_proves
            || facts.close_proves
    }

    #[test]
    fn exactly_one_row_matches_every_tail() {
        assert_eq!(all_tails().len(), 7 * 3 * 2 * 8);
        for facts in all_tails() {
            let rows: Vec<_> =
                TAIL_ROWS.iter().filter(|row| (row.matches)(&facts)).map(|r| r.name).collect();
            assert_eq!(rows.len(), 1, "{facts:?}: {rows:?}");
        }
    }

    #[test]
    fn every_row_matches_some_tail() {
        for row in &TAIL_ROWS {
            assert!(all_tails().iter().any(|facts| (row.matches)(facts)), "{}", row.name);
        }
    }

    #[test]
    fn the_verdict_is_corrupt_exactly_if_something_is_proven() {
        for facts in all_tails() {
            let row = facts.classify();
            assert_eq!(row.verdict == Verdict::Corrupt, is_proven(&facts), "{facts:?}");
        }
    }

    #[test]
    fn nothing_proven_is_dropped_under_the_strict_policy() {
        for facts in all_tails().iter().filter(|facts| facts.policy == RecoveryPolicy::Strict) {
            let is_refused = matches!(facts.classify().action, TailAction::Refuse(_));
            assert_eq!(is_refused, is_proven(facts), "{facts:?}");
        }
    }

    #[test]
    fn nothing_with_valid_data_behind_it_is_tolerated() {
        for facts in all_tails() {
            let is_last = facts.later_batch == Later::None
                && !facts.later_segment
                && facts.end != End::OtherLog;
            let tolerates = matches!(facts.classify().action, TailAction::Tolerate(_));
            let asked = facts.policy == RecoveryPolicy::TolerateTail;
            assert_eq!(tolerates, asked && is_last && is_proven(&facts), "{facts:?}");
        }
    }

    #[test]
    fn the_witness_is_one_that_testifies() {
        for facts in all_tails() {
            let testifies = match facts.classify().action {
                TailAction::Keep | TailAction::Cut => continue,
                TailAction::Tolerate(witness) | TailAction::Refuse(witness) => match witness {
                    Witness::LaterSegment => facts.later_segment,
                    Witness::LaterBatch => facts.later_batch == Later::Proves,
                    Witness::Checkpoint => facts.checkpoint_proves,
                    Witness::CleanClose => facts.close_proves,
                    Witness::Itself => matches!(facts.end, End::Emptied | End::OtherLog),
                },
            };
            assert!(testifies, "{facts:?}");
        }
    }

    #[test]
    fn the_policy_changes_nothing_about_what_is_not_proven() {
        for facts in all_tails().into_iter().filter(|facts| !is_proven(facts)) {
            let rows = POLICIES.map(|policy| TailFacts { policy, ..facts }.classify().name);
            assert_eq!(rows[0], rows[1], "{facts:?}");
        }
    }

    #[test]
    fn exactly_one_row_matches_every_directory() {
        let states = [StateSeen::Valid, StateSeen::Missing, StateSeen::Unreadable];
        use SegmentsSeen::{None, Salted, StandAlone, Unknown};
        let contents = [None, StandAlone, Salted, Unknown];
        let mut used = std::collections::BTreeSet::new();
        for state in states {
            for segments in contents {
                for foreign in [false, true] {
                    for policy in POLICIES {
                        let facts = DirFacts { state, segments, foreign, policy };
                        let rows: Vec<_> =
                            DIR_ROWS.iter().filter(|row| row.1(&facts)).map(|row| row.0).collect();
                        assert_eq!(rows.len(), 1, "{facts:?}: {rows:?}");
                        used.insert(rows[0]);
                        let begins = facts.classify().1 == DirAction::Begin;
                        let is_empty = state == StateSeen::Missing
                            && segments == SegmentsSeen::None
                            && !foreign;
                        assert_eq!(begins, is_empty, "a log begins only where nothing is");
                    }
                }
            }
        }
        assert_eq!(used.len(), DIR_ROWS.len(), "every row is used");
    }
}
