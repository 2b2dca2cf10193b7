//! Deliberate bugs. `scripts/mutations.sh` switches them on one at a time, to see that a test
//! catches each. A normal build has none of them.
//!
//! A bug is a condition with a name, at the line that it breaks: `if !mutated("skip_sync")`.

/// Whether the bug of this name is switched on.
#[cfg(not(ringwal_mutations))]
pub(crate) const fn mutated(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is switched on. The environment names it, so that one build serves
/// all bugs.
#[cfg(ringwal_mutations)]
pub(crate) fn mutated(name: &str) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let on = NAME.get_or_init(|| std::env::var("RINGWAL_MUTATION").ok());
    on.as_deref() == Some(name)
}
