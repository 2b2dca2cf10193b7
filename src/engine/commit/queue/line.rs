//! The line of those who wait for room, in the order in which they came.
//!
//! Whoever waits, thread or task, has a ticket and a waker. Only the first may take a buffer, so
//! only the first is woken when there is room; it wakes the next when it leaves.

use std::collections::BTreeMap;
use std::task::Waker;

#[derive(Debug, Default)]
pub(crate) struct Line {
    /// By ticket. A waker is `None` once it was taken to be woken.
    waiting: BTreeMap<u64, Option<Waker>>,
    last: u64,
}

impl Line {
    /// Joins at the end; the waker is called when it is this one's turn.
    pub(crate) fn join(&mut self) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, None);
        self.last
    }

    /// Whether somebody else comes before the one with this ticket, or without any.
    pub(crate) fn is_behind(&self, ticket: Option<u64>) -> bool {
        self.waiting.first_key_value().is_some_and(|(first, _)| Some(*first) != ticket)
    }

    /// What to wake when it is the turn of this ticket. The waker that it replaces is returned, to
    /// be dropped without a lock.
    pub(crate) fn wait(&mut self, ticket: u64, waker: Waker) -> Option<Waker> {
        self.waiting.insert(ticket, Some(waker)).flatten()
    }

    /// Leaves the line; the waker is to be dropped without a lock.
    pub(crate) fn leave(&mut self, ticket: u64) -> Option<Waker> {
        self.waiting.remove(&ticket).flatten()
    }

    /// The waker of the first, to be woken without a lock.
    pub(crate) fn first(&mut self) -> Option<Waker> {
        self.waiting.first_entry()?.get_mut().take()
    }

    /// All wakers, to be woken without a lock.
    pub(crate) fn all(&mut self) -> Vec<Waker> {
        self.waiting.values_mut().filter_map(Option::take).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_woken_and_then_the_next() {
        let mut line = Line::default();
        assert!(!line.is_behind(None));
        let (one, two) = (line.join(), line.join());
        assert!(line.is_behind(None) && line.is_behind(Some(two)) && !line.is_behind(Some(one)));
        assert!(line.first().is_none(), "it is awake");
        assert!(line.wait(one, Waker::noop().clone()).is_none());
        assert!(line.wait(two, Waker::noop().clone()).is_none());
        assert!(line.first().is_some() && line.first().is_none());
        assert!(line.leave(one).is_none() && !line.is_behind(Some(two)));
        assert_eq!(line.all().len(), 1);
        assert!(line.leave(two).is_none() && line.is_empty());
    }
}
