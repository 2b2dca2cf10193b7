//! Which strategies the probe tries, and which of them it chooses.

use std::io;
use std::time::Duration;

use crate::filesystem::Filesystem;
use crate::io::{Refusal, Strategy};
use crate::mutation::mutated;

/// The strategies to try: the one asked for, or all of them. `Dsync` is left out where it may not
/// keep its promise.
pub(super) fn wanted(
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

/// Why a write with `RWF_DSYNC` may complete before it is durable on this file system, and what to
/// do about it; `None` if it is safe.
///
/// The flag is trusted on file systems that are known to sync after such a write, both around the
/// page cache and through it, and on those in memory, where nothing is durable anyway. Others
/// ignore it: 9p and cifs do for direct writes. FUSE passes it to the server without a sync after
/// it, and many servers ignore it. Before Linux 6.7, ext4 lost the new length of a file that such a
/// direct write extended; a filled segment is never extended.
fn doubt_of_dsync(filesystem: &Filesystem, fill: bool) -> Option<(&'static str, &'static str)> {
    match filesystem.name.as_str() {
        "ext4" if !fill => Some((
            "ext4 before Linux 6.7 loses the length of files that such writes extend",
            "let segments be filled beforehand to use it",
        )),
        known if DSYNC_HOLDS.contains(&known) || mutated("dsync_everywhere") => None,
        _ => Some((
            "this file system is not known to make such a write durable before it completes",
            "a linked sync is used instead",
        )),
    }
}

/// The file systems on which a write with `RWF_DSYNC` is known to be durable when it completes.
const DSYNC_HOLDS: [&str; 6] = ["ext4", "xfs", "btrfs", "f2fs", "tmpfs", "ramfs"];

/// The median without the first write, which also starts threads and warms caches. It counts only
/// if there is no other.
pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    if times.len() > 1 {
        times.remove(0);
    }
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The strategy for these medians, and why.
///
/// Another strategy must beat write-then-sync by [`Strategy::required_speedup`]: write-then-sync
/// hands nothing to a worker thread and keeps its speed when all processors are busy. The engine
/// compares again while it runs.
pub(super) fn choose(measured: &[(Strategy, Duration)]) -> Option<(Strategy, String)> {
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
}
