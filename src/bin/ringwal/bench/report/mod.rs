//! Reports of the measurements: tables for people, JSON for programs.

pub(crate) mod aged;
pub(crate) mod json;
pub(crate) mod results;
pub(crate) mod rows;
pub(crate) mod table;
