//! What earlier openings cut away because they were told to tolerate damage: every command that
//! opens or reads the log tells it until it is acknowledged.

use ringwal::{Log, Recovery};

use crate::output::exit::Failure;
use crate::output::stream::say;

/// Tells the losses where the whole report is not printed.
pub(crate) fn tell_losses(found: &Recovery) -> Result<(), Failure> {
    for loss in &found.losses {
        say(format_args!("lost:     not acknowledged: {loss}"))?;
    }
    hint(found)
}

/// Says how to acknowledge them, if there are any.
pub(crate) fn hint(found: &Recovery) -> Result<(), Failure> {
    match found.losses.is_empty() {
        true => Ok(()),
        false => {
            say("          until they are acknowledged: ringwal recover --acknowledge-loss DIR")
        }
    }
}

/// Acknowledges them, and says how many there were.
pub(crate) fn acknowledge(log: &Log) -> Result<(), Failure> {
    let count = log.acknowledge_loss()?;
    say(format_args!(
        "acknowledged: {count} losses, kept as lost-*.seen until somebody removes them"
    ))
}
