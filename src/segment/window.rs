//! The part of a file that a scan has in memory, and slices of it that readers share.
//!
//! ```text
//! file    |........| batch | batch | batch.....|.....................|
//! window           ^start          [ carried   |  read next          ]
//! ```
//!
//! 1. If a batch crosses the end of the window, its bytes are carried to the front, and the next
//!    piece is read after them. So a scan reads every byte of a file once, in pieces of
//!    [`WINDOW_BYTES`].
//! 2. A slice shares the window's memory, which then does not change. While a slice lives, the
//!    window allocates new memory for the next piece; otherwise it uses its own again. So a scan
//!    whose slices are dropped allocates nothing.
//! 3. The window holds one piece and the carried bytes: at most the current batch and one piece
//!    more. Its memory is at most twice that.
//!
//! Threading: a window has one owner; slices may go to any thread.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::Result;
use crate::io::StorageFile;

/// The bytes of one read.
pub(crate) const WINDOW_BYTES: usize = 1 << 20;

/// A part of a file in memory.
#[derive(Default)]
pub(crate) struct Window {
    bytes: Arc<Vec<u8>>,
    /// The offset of `bytes[0]` in the file.
    start: u64,
    /// Whether all bytes were read from the file since this was set to false, with none carried.
    pub(crate) fresh: bool,
}

impl Window {
    /// Makes the window hold `len` bytes from `at` on, or fewer if the file ends. `left` is the
    /// number of bytes from `at` to the end of the file.
    pub(crate) fn load(
        &mut self,
        file: &dyn StorageFile,
        at: u64,
        len: usize,
        left: u64,
    ) -> Result<()> {
        let held = self.after(at).len();
        if held >= len {
            return Ok(());
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let size = len.max(left.min(held + WINDOW_BYTES));
        self.fresh |= held == 0;
        let bytes = self.carry(held, size);
        let read = match file.read_at(&mut bytes[held..], at + held as u64) {
            Ok(read) => read,
            Err(error) => {
                bytes.clear();
                return Err(error);
            }
        };
        bytes.truncate(held + read);
        self.start = at;
        Ok(())
    }

    /// The window's memory, resized to `size`, with its last `held` bytes moved to the front.
    fn carry(&mut self, held: usize, size: usize) -> &mut Vec<u8> {
        let from = self.bytes.len() - held;
        let is_large = self.bytes.capacity() > 2 * size.max(WINDOW_BYTES);
        match Arc::get_mut(&mut self.bytes).filter(|_| !is_large) {
            Some(bytes) if from > 0 => bytes.copy_within(from.., 0),
            Some(_) => {}
            None => {
                // The allocator zeroes the memory, which often costs nothing.
                let mut bytes = vec![0; size];
                bytes[..held].copy_from_slice(&self.bytes[from..]);
                self.bytes = Arc::new(bytes);
            }
        }
        let bytes = Arc::make_mut(&mut self.bytes);
        bytes.resize(size, 0);
        bytes
    }

    /// The bytes in the window from `at` on.
    pub(crate) fn after(&self, at: u64) -> &[u8] {
        let skip = at.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.bytes.get(skip..)).unwrap_or(&[])
    }

    /// A shared slice of the `len` bytes at `at`, if the window holds them.
    pub(crate) fn slice(&self, at: u64, len: usize) -> Option<Slice> {
        let at = usize::try_from(at.checked_sub(self.start)?).ok()?;
        let is_held = at.checked_add(len).is_some_and(|end| end <= self.bytes.len());
        is_held.then(|| Slice { bytes: Arc::clone(&self.bytes), at, len })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties the window. Slices keep their bytes.
    pub(crate) fn forget(&mut self) {
        match Arc::get_mut(&mut self.bytes) {
            Some(bytes) => bytes.clear(),
            None => self.bytes = Arc::default(),
        }
        self.fresh = false;
    }

    /// The size of its memory.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Bytes of a file, in the memory of the window that read them. Clones share that memory.
#[derive(Clone)]
pub(crate) struct Slice {
    bytes: Arc<Vec<u8>>,
    at: usize,
    len: usize,
}

impl Slice {
    /// All of `bytes` from `at` on.
    pub(crate) fn after(bytes: Vec<u8>, at: usize) -> Slice {
        let len = bytes.len() - at;
        Slice { bytes: Arc::new(bytes), at, len }
    }

    /// The bytes from `from` on, as a vector of their own. They stay in their memory if it is not
    /// shared and they fill at least half of it; otherwise they are copied.
    pub(crate) fn into_vec_after(self, from: usize) -> Vec<u8> {
        let (start, end) = (self.at + from.min(self.len), self.at + self.len);
        match Arc::try_unwrap(self.bytes) {
            Ok(mut bytes) if bytes.capacity() / 2 <= end - start => {
                bytes.truncate(end);
                bytes.drain(..start);
                bytes
            }
            Ok(bytes) => bytes[start..end].to_vec(),
            Err(bytes) => bytes[start..end].to_vec(),
        }
    }
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.at..self.at + self.len]
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::mem::Memory;
    use crate::io::{Access, Storage};

    const LEN: usize = 3 * WINDOW_BYTES + 1000;

    fn content() -> Vec<u8> {
        (0..LEN).map(|at| (at % 251) as u8).collect()
    }

    fn file(bytes: Vec<u8>) -> Box<dyn StorageFile> {
        let memory = Memory::default();
        memory.put("file", bytes);
        memory.open("file", Access::Read).unwrap()
    }

    fn load(window: &mut Window, file: &dyn StorageFile, at: usize, len: usize) {
        window.load(file, at as u64, len, (LEN - at) as u64).unwrap();
    }

    #[test]
    fn bytes_of_a_batch_over_the_end_are_carried_and_not_read_again() {
        let (file, content) = (file(content()), content());
        let mut window = Window::default();
        load(&mut window, &*file, 0, 64);
        assert_eq!(window.after(0).len(), WINDOW_BYTES);
        assert!(window.fresh);
        window.fresh = false;
        let at = WINDOW_BYTES - 10;
        load(&mut window, &*file, at, 64);
        assert_eq!(window.after(at as u64), &content[at..2 * WINDOW_BYTES]);
        assert!(!window.fresh, "a part of it was there before");
        load(&mut window, &*file, 2 * WINDOW_BYTES, 64);
        assert_eq!(window.after(2 * WINDOW_BYTES as u64).len(), WINDOW_BYTES);
        assert!(window.fresh);
        load(&mut window, &*file, LEN - 1500, 1500);
        assert_eq!(window.after((LEN - 1500) as u64), &content[LEN - 1500..]);
    }

    #[test]
    fn a_slice_stays_as_it_is_while_the_window_goes_on() {
        let (file, content) = (file(content()), content());
        let mut window = Window::default();
        load(&mut window, &*file, 0, 64);
        let slice = window.slice(100, 50).unwrap();
        let again = slice.clone();
        assert!(window.slice(100, WINDOW_BYTES).is_none(), "it does not hold all of it");
        load(&mut window, &*file, WINDOW_BYTES - 10, 64);
        assert_eq!(
            window.after(WINDOW_BYTES as u64 - 10)[..64],
            content[WINDOW_BYTES - 10..][..64]
        );
        window.forget();
        assert!(window.is_empty());
        assert_eq!((&slice[..], &again[..]), (&content[100..150], &content[100..150]));
    }

    #[test]
    fn memory_that_is_not_shared_is_used_again() {
        let file = file(content());
        let mut window = Window::default();
        load(&mut window, &*file, 0, 64);
        load(&mut window, &*file, WINDOW_BYTES, 64);
        let address = window.after(WINDOW_BYTES as u64).as_ptr();
        for at in [2 * WINDOW_BYTES, 0, WINDOW_BYTES] {
            assert!(window.slice(at as u64, 1).is_none(), "it is not there yet");
            let held = window.start + 5;
            assert_eq!(window.slice(held, 9).unwrap()[..], *window.after(held)[..9].to_vec());
            load(&mut window, &*file, at, 64);
            assert_eq!(window.after(at as u64).as_ptr(), address);
        }
        let kept = window.slice(WINDOW_BYTES as u64, 1).unwrap();
        load(&mut window, &*file, 0, 64);
        assert_ne!(window.after(0).as_ptr(), address);
        assert_eq!(kept.as_ptr(), address);
    }

    #[test]
    fn unshared_bytes_are_moved_and_others_are_copied() {
        for (len, from) in [(100, 8), (100, 0), (100, 100), (10_000, 8)] {
            let bytes: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let address = bytes.as_ptr();
            let slice = Slice::after(bytes.clone(), 8);
            let shared = slice.clone();
            let copied = slice.into_vec_after(from);
            assert_ne!(copied.as_ptr(), address);
            let expected = bytes.get(8 + from..).unwrap_or(&[]);
            assert_eq!(copied, expected);
            assert_eq!(shared.into_vec_after(from), expected);
        }
        let large = vec![1; 1000];
        let address = large.as_ptr();
        assert_eq!(Slice::after(large.clone(), 8).into_vec_after(2), [1; 990]);
        let moved = Slice::after(large, 8).into_vec_after(2);
        assert_eq!((moved.as_ptr(), moved.len()), (address, 990));
        let small = Slice { bytes: Arc::new(vec![7; 1 << 20]), at: 5, len: 3 };
        let alone = small.into_vec_after(0);
        assert!(alone == [7; 3] && alone.capacity() < 100, "it does not keep the rest");
    }

    #[test]
    fn a_window_that_grew_for_one_batch_shrinks_again() {
        let file = file(vec![1; 20 << 20]);
        let mut window = Window::default();
        window.load(&*file, 0, 16 << 20, 20 << 20).unwrap();
        assert!(window.capacity() >= 16 << 20);
        window.load(&*file, 16 << 20, 64, 4 << 20).unwrap();
        assert_eq!(window.after(16 << 20).len(), WINDOW_BYTES);
        assert!(window.capacity() <= 4 * WINDOW_BYTES);
    }
}
