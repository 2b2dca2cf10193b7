//! Output, and how a command ends: streams, records, JSON, progress, failures.

pub(crate) mod exit;
pub(crate) mod json;
pub(crate) mod losses;
pub(crate) mod progress;
pub(crate) mod records;
pub(crate) mod refused;
pub(crate) mod stream;
