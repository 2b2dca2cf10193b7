//! Recovery as a whole, for opening, verifying and backups: scan, classify, and only then repair.

use std::time::Instant;

use crate::engine::recovery::identity::{Identity, Mode};
use crate::engine::recovery::recovered::{OnBatch, Recovered, list};
use crate::engine::recovery::report::RecoveryPolicy;
use crate::engine::recovery::scan::DirScan;
use crate::engine::recovery::{lost, repair};
use crate::error::Result;
use crate::format::State;
use crate::io::Storage;
use crate::replication::ShardId;

/// Recovers a shard's log, and calls `on_batch` for every batch that counts, in order.
pub(crate) fn recover(
    storage: &dyn Storage,
    shard: ShardId,
    policy: RecoveryPolicy,
    identity: &Identity,
    mode: Mode,
    on_batch: &mut OnBatch<'_>,
) -> Result<Recovered> {
    recover_showing(storage, shard, policy, identity, mode, &mut |_| Ok(()), on_batch)
}

/// [`recover`], and calls `on_state` with the state that counts before the first batch.
pub(crate) fn recover_showing(
    storage: &dyn Storage,
    shard: ShardId,
    policy: RecoveryPolicy,
    identity: &Identity,
    mode: Mode,
    on_state: &mut dyn FnMut(&State) -> Result<()>,
    on_batch: &mut OnBatch<'_>,
) -> Result<Recovered> {
    let start = Instant::now();
    let names = list(storage)?;
    let scan = DirScan::new(storage, shard, policy, identity, mode, names)?;
    on_state(scan.state())?;
    let (plan, mut recovered) = scan.run(on_batch)?;
    if mode == Mode::Repair {
        if let Some(keep) = &plan.keep {
            let kept = lost::keep(storage, shard, keep)?;
            if !recovered.report.losses.contains(&kept) {
                recovered.report.losses.push(kept);
            }
        }
        repair::apply(storage, shard, &plan, &mut recovered.state)?;
        if let Some(state) = &recovered.state {
            recovered.report.set_identity(state.current());
        }
    }
    recovered.report.elapsed = start.elapsed();
    Ok(recovered)
}
