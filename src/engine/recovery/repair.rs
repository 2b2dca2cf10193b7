//! The repair: carries out the changes that a scan planned, in an order in which a crash between
//! any two is harmless.

use super::identity::Identity;
use super::lost::Keep;
use crate::engine::state_file::StateFile;
use crate::error::{Error, Result};
use crate::format::{STATE_BYTES, State};
use crate::io::{Access, Storage};
use crate::mutation::mutated;
use crate::replication::ShardId;
use crate::segment::name::state_name;
use crate::segment::reader::Origin;

/// The changes that a scan planned.
#[derive(Debug, Default)]
pub(crate) struct RepairPlan {
    /// First, keep these bytes of acknowledged records; the next steps cut them off.
    pub(crate) keep: Option<Keep>,
    /// Create a `state` whose first live record is this one.
    pub(crate) create_state: Option<u64>,
    /// The origin that a new `state` takes over from the batches.
    pub(crate) origin: Option<Origin>,
    /// The identity that `state` gets where it has none.
    pub(crate) identity: Identity,
    /// Remove these files, in this order.
    pub(crate) remove: Vec<String>,
    /// Cut these files to these lengths.
    pub(crate) trim: Vec<(String, u64)>,
    /// Then remove this segment: none of its records counts.
    pub(crate) remove_last: Option<String>,
    /// Then note that the log ends with this record: a cut was finished or damage tolerated.
    pub(crate) end_at: Option<u64>,
}

/// Carries the plan out.
pub(crate) fn apply(
    storage: &dyn Storage,
    shard: ShardId,
    plan: &RepairPlan,
    state: &mut Option<StateFile>,
) -> Result<()> {
    if let Some(first_seq) = plan.create_state {
        let no_space = |error: Error| {
            error.or_no_space(storage.dir().join(state_name(shard)), STATE_BYTES as u64)
        };
        let created = StateFile::create(storage, shard, plan.origin, first_seq, &plan.identity);
        *state = Some(created.map_err(no_space)?);
    }
    if let Some(file) = state {
        file.settle()?;
    }
    carry_out(storage, plan, state.as_mut())?;
    match state {
        Some(file) => adopt(file, &plan.identity),
        None => Ok(()),
    }
}

/// Notes the log's kind and label if `state` lacks them. A log that has almost used up its
/// generations of `state` stays as it is.
fn adopt(file: &mut StateFile, identity: &Identity) -> Result<()> {
    let completed = identity.completed(file.current());
    if completed == *file.current() || file.require_generations().is_err() {
        return Ok(());
    }
    file.write(completed)?;
    file.settle()
}

/// Carries out the plan, except for creating `state`. `truncate_after` uses it as well.
pub(crate) fn carry_out(
    storage: &dyn Storage,
    plan: &RepairPlan,
    state: Option<&mut StateFile>,
) -> Result<()> {
    for name in &plan.remove {
        storage.remove(name)?;
    }
    // Also if nothing was removed: a segment may have its name, but not durably.
    if !mutated("show_unsynced_names") {
        storage.sync_dir()?;
    }
    for (name, bytes) in &plan.trim {
        if mutated("keep_torn_tail") {
            continue;
        }
        let file = storage.open(name, Access::Write)?;
        file.set_bytes(*bytes)?;
        file.sync()?;
    }
    if let Some(name) = &plan.remove_last {
        storage.remove(name)?;
        storage.sync_dir()?;
    }
    if let (Some(last_seq), Some(file)) = (plan.end_at, state) {
        let state = ended_at(file.current(), last_seq);
        if state != *file.current() {
            file.write(state)?;
            file.settle()?;
        }
    }
    Ok(())
}

/// The state of a log that ends with `last_seq`: it is no evidence of any later record.
pub(crate) fn ended_at(state: &State, last_seq: u64) -> State {
    let mut state = State { cutting: false, ..state.clone() };
    if state.cuts.newest() != Some(last_seq) && !mutated("tolerate_without_a_cut") {
        // Damage was tolerated. From here on it is a cut like any other.
        state.cuts.add(last_seq);
    }
    state.clean &= state.last_seq <= last_seq;
    state.last_seq = state.last_seq.min(last_seq);
    if let Some(checkpoint) = &mut state.checkpoint {
        checkpoint.seq = checkpoint.seq.min(last_seq);
    }
    debug_assert!(state.last_seq <= last_seq && super::tail::checkpoint_seq(&state) <= last_seq);
    state
}
