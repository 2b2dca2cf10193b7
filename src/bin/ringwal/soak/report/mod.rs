//! What a run reports: lines, the time series, its bounds and its picture.

pub(crate) mod bounds;
pub(crate) mod lines;
pub(crate) mod plot;
pub(crate) mod time_series;
