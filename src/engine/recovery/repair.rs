//! The changes that a survey planned, in an order in which a crash between any two is harmless.

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

/// What a survey wants changed.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// First, keep these bytes of acknowledged records, which the rest cuts off.
    pub(crate) keep: Option<Keep>,
    /// Make a `state` whose first live record is this.
    pub(crate) create_state: Option<u64>,
    /// With this of the batches that are there.
    pub(crate) origin: Option<Origin>,
    /// Which is this, where nothing says otherwise.
    pub(crate) identity: Identity,
    /// Remove these files, in this order.
    pub(crate) remove: Vec<String>,
    /// Cut these files to these lengths.
    pub(crate) trim: Vec<(String, u64)>,
    /// Then remove this segment: nothing of it counts.
    pub(crate) remove_last: Option<String>,
    /// Then note that nothing behind this record exists: a cut was finished or damage tolerated.
    pub(crate) end_at: Option<u64>,
}

/// Carries the plan out.
pub(crate) fn apply(
    storage: &dyn Storage,
    shard: ShardId,
    plan: &Plan,
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

/// Notes what the log is, where it did not say so. One whose `state` can hardly be written any more
/// stays as it is.
fn adopt(file: &mut StateFile, identity: &Identity) -> Result<()> {
    let completed = identity.completed(file.current());
    if completed == *file.current() || file.require_generations().is_err() {
        return Ok(());
    }
    file.write(completed)?;
    file.settle()
}

/// Carries out all of the plan but the making of `state`.
pub(crate) fn carry_out(
    storage: &dyn Storage,
    plan: &Plan,
    state: Option<&mut StateFile>,
) -> Result<()> {
    for name in &plan.remove {
        storage.remove(name)?;
    }
    // Even if nothing was removed: a segment may have its name and not have it durably.
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

/// The state of a log that ends with `last_seq`: nothing in it testifies to a later record.
pub(crate) fn ended_at(state: &State, last_seq: u64) -> State {
    let mut state = State { cutting: false, ..state.clone() };
    if state.cuts.newest() != Some(last_seq) && !mutated("tolerate_without_a_cut") {
        // Damage was tolerated: from here on that is a cut like any other.
        state.cuts.add(last_seq);
    }
    state.clean &= state.last_seq <= last_seq;
    state.last_seq = state.last_seq.min(last_seq);
    if let Some(checkpoint) = &mut state.checkpoint {
        checkpoint.seq = checkpoint.seq.min(last_seq);
    }
    state
}
