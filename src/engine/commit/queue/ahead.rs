//! What the queue knows of how segments grow, and of how many are held ready; see `spares`.

/// How many times as long as the one before it a segment may be.
pub(super) const GROWTH: u64 = 16;

/// How long segments are, and how many are held ready.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The longest so far.
    pub(super) grown_bytes: u64,
    /// Segments that were begun since the last rest.
    pub(super) taken_bytes: u64,
    /// As many segments as the last burst used.
    pub(super) last_burst: usize,
    /// An append waits for what is being prepared.
    pub(super) is_awaited: bool,
}
