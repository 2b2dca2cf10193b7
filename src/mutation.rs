//! Deliberate bugs, to see that a test catches each: `scripts/mutations.sh` switches them on, one
//! at a time. A usual build has none of them.
//!
//! A bug is a name at the place that it breaks: `if !mutated("skip_sync")`.

/// Whether the bug of this name is switched on.
#[cfg(not(ringwal_mutations))]
pub(crate) const fn mutated(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is switched on, which the environment says: all of them are built
/// once.
#[cfg(ringwal_mutations)]
pub(crate) fn mutated(name: &str) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let on = NAME.get_or_init(|| std::env::var("RINGWAL_MUTATION").ok());
    on.as_deref() == Some(name)
}
