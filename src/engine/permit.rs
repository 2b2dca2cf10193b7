//! Room in the queue for records that are still to come.

use std::fmt;

use crate::engine::Log;
use crate::engine::commit::queue::Room;
use crate::engine::options::{Durability, LogOptions};
use crate::engine::records::Records;
use crate::engine::ticket::Commit;
use crate::error::{Error, Result};
use crate::format::RECORD_HEAD_SIZE;

/// Room for records, from [`Log::reserve`](crate::Log::reserve). Dropped, it gives the room back.
///
/// ```
/// # fn block_on<T>(future: impl Future<Output = T>) -> T {
/// #     let mut future = std::pin::pin!(future);
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     loop {
/// #         if let std::task::Poll::Ready(done) = future.as_mut().poll(&mut context) {
/// #             return done;
/// #         }
/// #         std::thread::yield_now();
/// #     }
/// # }
/// use ringwal::Log;
///
/// let dir = tempfile::tempdir()?;
/// let log = Log::open(dir.path().join("log"))?;
/// let seq = block_on(async {
///     let permit = log.reserve(64).await?; // waits here if the disk is slower than the tasks
///     let order = "order 17 paid"; // decided only now
///     permit.submit(order)?.await
/// })?;
/// assert_eq!(log.durable_seq(), seq);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a permit that is dropped gives its room back"]
pub struct Permit<'a> {
    log: &'a Log,
    durability: Durability,
    room: Option<Room>,
}

impl<'a> Permit<'a> {
    pub(crate) fn new(log: &'a Log, durability: Durability, room: Room) -> Permit<'a> {
        Permit { log, durability, room: Some(room) }
    }

    /// The payload of one record of `bytes` bytes, if the log takes that.
    pub(crate) fn payload_of(bytes: usize, options: &LogOptions) -> Result<usize> {
        let limit = options.batch_payload_max() - RECORD_HEAD_SIZE;
        if bytes > limit {
            return Err(Error::RecordTooLarge { bytes: bytes as u64, limit: limit as u64 });
        }
        Ok(bytes + RECORD_HEAD_SIZE)
    }

    /// The bytes that it was asked for.
    pub fn bytes(&self) -> usize {
        self.room.map_or(0, |room| room.payload - RECORD_HEAD_SIZE)
    }

    /// Appends records and returns their ticket. It is not refused for room, and blocks only while
    /// an explicit rotation or truncation of the log's end is under way, for about two flushes.
    ///
    /// # Errors
    ///
    /// [`Error::RecordTooLarge`] for more bytes than were asked for: the room is given back. Else
    /// as [`Log::submit`](crate::Log::submit).
    pub fn submit(mut self, records: impl Records) -> Result<Commit> {
        let payload = records.payload(self.log.options())?;
        let at = self.log.at(self.durability);
        let Some(room) = self.room else { return at.submit_payload(&payload) };
        if payload.len() > room.payload {
            let (bytes, limit) = (payload.len() - RECORD_HEAD_SIZE, self.bytes());
            return Err(Error::RecordTooLarge { bytes: bytes as u64, limit: limit as u64 });
        }
        let commit = at.submit_with(&payload, room)?;
        // Now it is the record's.
        self.room = None;
        Ok(commit)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let shared = self.log.shared();
        if let Some(room) = self.room.take().filter(|_| !shared.is_forked()) {
            let mut queue = shared.queue();
            queue.drop_room(room);
            shared.announce_room(queue);
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}
