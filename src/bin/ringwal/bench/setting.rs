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
    /// The same setting with a shorter duration, for the time before a measurement: effects of
    /// earlier work, such as discards and throttling, should have ended.
    pub(crate) fn warm_up(&self) -> Setting<'a> {
        Setting { duration: (self.duration / 4).min(WARM_UP_MAX), ..*self }
    }
}

const WARM_UP_MAX: Duration = Duration::from_millis(500);

/// The failure of a run that a signal stopped.
pub(crate) fn stopped(setting: &Setting<'_>) -> Failure {
    Failure::Stopped(setting.stop.reason().unwrap_or("a signal"))
}
