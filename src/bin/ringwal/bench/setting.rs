//! What all measurements of a run share.

use std::time::Duration;

use crate::bench::machine::Device;
use crate::bench::machine::cache_drop::CacheDrop;
use crate::options::engine::EngineArgs;
use crate::output::exit::Failure;
use crate::util::signal::Stop;

/// What all measurements of a run share.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    pub(crate) engine: &'a EngineArgs,
    pub(crate) device: &'a Device,
    pub(crate) stop: &'a Stop,
    pub(crate) duration: Duration,
    pub(crate) cache_drop: CacheDrop,
}

impl<'a> Setting<'a> {
    /// The same, for the time before something is measured: what was there before it, discards
    /// and throttling among it, should have passed.
    pub(crate) fn warm_up(&self) -> Setting<'a> {
        Setting { duration: (self.duration / 4).min(WARM_UP_MAX), ..*self }
    }
}

const WARM_UP_MAX: Duration = Duration::from_millis(500);

/// The failure that says who stopped it.
pub(crate) fn stopped(setting: &Setting<'_>) -> Failure {
    Failure::Stopped(setting.stop.reason().unwrap_or("a signal"))
}
