//! The manual, in chapters. The bytes on disk are described where they are made, in
//! [`format`](mod@crate::format).

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
