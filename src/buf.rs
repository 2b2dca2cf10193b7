//! Aligned buffers: the memory that direct I/O reads and writes. An unsafe island.
//!
//! Direct I/O needs memory that starts at a multiple of the device's alignment, which no safe
//! allocation of the standard library promises. [`AlignedBuf`] is such an allocation of a fixed
//! size; it dereferences to its bytes. [`BufPool`] reuses a bounded number of them.
//!
//! Invariants:
//! 1. `ptr` comes from the global allocator with exactly `layout`, and is freed with it once.
//! 2. All `layout.size()` bytes are initialised: the allocation is zeroed and never shrinks.
//!
//! Threading: a buffer has one owner and moves freely between threads. It does not know about I/O
//! in flight: code that passes its address to the kernel keeps the buffer until the kernel is done.
//! A queue of [`crate::io`] takes the buffer and returns it with the result.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The alignment of every buffer in bytes. It covers the logical block of every common device.
pub const BUF_ALIGN: usize = 4096;

const _: () = assert!(BUF_ALIGN.is_power_of_two());

/// A zeroed, fixed-size allocation that starts at a multiple of [`BUF_ALIGN`].
///
/// ```
/// # #[cfg(feature = "internals")] {
/// use ringwal::io::AlignedBuf;
///
/// let mut buf = AlignedBuf::zeroed(8192);
/// buf[0] = 7;
/// assert_eq!(buf.len(), 8192);
/// assert_eq!(buf.as_ptr() as usize % 4096, 0);
/// # }
/// ```
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the buffer owns its allocation exclusively, as `Box<[u8]>` does.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads plain bytes.
unsafe impl Sync for AlignedBuf {}

impl AlignedBuf {
    /// A buffer of `bytes` zero bytes, rounded up to a multiple of [`BUF_ALIGN`] other than zero.
    ///
    /// # Panics
    ///
    /// If `bytes` exceeds `isize::MAX`. Aborts, as all allocations do, when memory is exhausted.
    pub fn zeroed(bytes: usize) -> AlignedBuf {
        let size = bytes.max(1).next_multiple_of(BUF_ALIGN);
        let layout = Layout::from_size_align(size, BUF_ALIGN).expect("a size below isize::MAX");
        // SAFETY: `layout` has a size of at least BUF_ALIGN, so it is not zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        match NonNull::new(ptr) {
            Some(ptr) => AlignedBuf { ptr, layout },
            None => handle_alloc_error(layout),
        }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: invariant 1, and nothing can use the buffer after its drop.
        unsafe { dealloc(self.ptr.as_ptr(), self.layout) }
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: invariant 2; the borrow of `self` keeps writers out.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: invariant 2; the exclusive borrow of `self` keeps everyone else out.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.layout.size()) }
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuf").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A bounded pool of buffers.
///
/// Buffers of the usual capacity are reused; a larger one is allocated when it is needed and freed
/// when it comes back. The bytes in use stay within the limit. The exception: while no buffer is in
/// use, one of any size is granted, so that a record larger than the limit can pass alone.
#[derive(Debug)]
pub(crate) struct BufPool {
    /// Sizes of buffers are multiples of this.
    unit: usize,
    capacity: usize,
    limit_bytes: usize,
    lent_bytes: usize,
    free: Vec<AlignedBuf>,
}

impl BufPool {
    /// A pool of buffers of `capacity` bytes, of which at most `limit_bytes` are in use at once.
    /// Each buffer has room for its content and the padding to a multiple of `unit`, a power of
    /// two.
    pub(crate) fn new(capacity: usize, limit_bytes: usize, unit: usize) -> BufPool {
        let unit = unit.max(BUF_ALIGN);
        let capacity = capacity.next_multiple_of(unit);
        BufPool { unit, capacity, limit_bytes, lent_bytes: 0, free: Vec::new() }
    }

    /// A buffer of at least `bytes`, beside `held` bytes that are for others: of the usual size, or
    /// a smaller one where there is no room for that. `None` while the limit is reached. Its
    /// content is arbitrary.
    pub(crate) fn take(&mut self, bytes: usize, held: usize) -> Option<AlignedBuf> {
        let size = match self.has_room(bytes, held) {
            true => self.usual_size(bytes),
            false if self.has_small_room(bytes, held) => bytes.next_multiple_of(self.unit),
            false => return None,
        };
        self.lent_bytes += size;
        match self.free.pop() {
            Some(buf) if size == self.capacity => Some(buf),
            other => {
                self.free.extend(other);
                Some(AlignedBuf::zeroed(size))
            }
        }
    }

    fn usual_size(&self, bytes: usize) -> usize {
        bytes.next_multiple_of(self.unit).max(self.capacity)
    }

    /// Whether there is a buffer of the usual size for `bytes`, beside `held` bytes.
    pub(crate) fn has_room(&self, bytes: usize, held: usize) -> bool {
        let used = self.lent_bytes + held;
        used == 0 || used + self.usual_size(bytes) <= self.limit_bytes
    }

    /// Whether there is a buffer that is just large enough for `bytes`, beside `held` bytes.
    pub(crate) fn has_small_room(&self, bytes: usize, held: usize) -> bool {
        let used = self.lent_bytes + held;
        used == 0 || used + bytes.next_multiple_of(self.unit) <= self.limit_bytes
    }

    /// Takes a buffer back.
    pub(crate) fn give_back(&mut self, buf: AlignedBuf) {
        self.lent_bytes -= buf.len();
        if buf.len() == self.capacity {
            self.free.push(buf);
        }
    }

    /// The bytes in use.
    pub(crate) fn lent_bytes(&self) -> usize {
        self.lent_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_zeroed_and_rounded_up() {
        for bytes in [0, 1, 4096, 4097, 1 << 20] {
            let buf = AlignedBuf::zeroed(bytes);
            assert_eq!(buf.as_ptr() as usize % BUF_ALIGN, 0);
            assert!(buf.len() >= bytes.max(1) && buf.len().is_multiple_of(BUF_ALIGN));
            assert!(buf.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn the_pool_lends_up_to_its_limit_and_reuses_what_comes_back() {
        let mut pool = BufPool::new(4096, 8192, 512);
        let first = pool.take(10, 0).unwrap();
        let first_address = first.as_ptr();
        let _second = pool.take(10, 0).unwrap();
        assert!(pool.take(10, 0).is_none());
        pool.give_back(first);
        assert_eq!(pool.take(10, 0).unwrap().as_ptr(), first_address);
    }

    #[test]
    fn buffers_have_room_for_the_padding_of_a_large_unit() {
        let mut pool = BufPool::new(5000, 1 << 20, 64 << 10);
        for bytes in [1, 5000, 70_000] {
            let buf = pool.take(bytes, 0).unwrap();
            assert_eq!(buf.len(), bytes.next_multiple_of(64 << 10));
            pool.give_back(buf);
        }
    }

    #[test]
    fn one_buffer_larger_than_the_limit_is_granted_when_nothing_else_is_lent() {
        let mut pool = BufPool::new(4096, 8192, 512);
        let small = pool.take(10, 0).unwrap();
        assert!(pool.take(100_000, 0).is_none());
        pool.give_back(small);
        let large = pool.take(100_000, 0).unwrap();
        assert!(large.len() >= 100_000);
        pool.give_back(large);
        assert_eq!(pool.lent_bytes(), 0);
    }
}
