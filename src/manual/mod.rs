//! The manual, in chapters. The page of [`format`](mod@crate::format) describes the bytes on disk.

pub mod backends;
pub mod backup;
pub mod command;
pub mod damage;
pub mod durability;
pub mod kv;
pub mod recovery;
pub mod soak;
pub mod testing;
pub mod tuning;
