//! The reports of a run: printed lines, the time series, its bounds and its plot.

pub(crate) mod bounds;
pub(crate) mod lines;
pub(crate) mod plot;
pub(crate) mod time_series;
