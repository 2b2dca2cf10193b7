//! The oracle: the content that the store should have, as a digest of the value of each key.
//!
//! It holds keys and digests, not values, so the number of keys bounds its memory. Picking a key
//! depends on the previous operations only, never on the order of a hash table.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The first 16 bytes of the BLAKE3 hash of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ValueDigest(pub(crate) u128);

impl ValueDigest {
    pub(crate) fn of(value: &[u8]) -> ValueDigest {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(value).as_bytes()[..16]);
        ValueDigest(u128::from_le_bytes(bytes))
    }
}

impl fmt::Display for ValueDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_le_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A shared key.
pub(crate) type Key = Arc<[u8]>;

/// The keys that the store should hold.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    keys: Vec<Key>,
    /// The index of a key in `keys`, and the digest of its value.
    places: HashMap<Key, (usize, ValueDigest)>,
}

impl Oracle {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<ValueDigest> {
        self.places.get(key).map(|(_, digest)| *digest)
    }

    pub(crate) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Picks an existing key by number.
    pub(crate) fn pick(&self, drawn: u64) -> Option<&Key> {
        let at = drawn.checked_rem(self.keys.len() as u64)?;
        self.keys.get(at as usize)
    }

    /// Sets or removes the value of a key. Returns the previous value.
    pub(crate) fn set(&mut self, key: &Key, digest: Option<ValueDigest>) -> Option<ValueDigest> {
        let Some(digest) = digest else {
            let (at, before) = self.places.remove(key)?;
            self.keys.swap_remove(at);
            if let Some(moved) = self.keys.get(at)
                && let Some(place) = self.places.get_mut(moved)
            {
                place.0 = at;
            }
            return Some(before);
        };
        if let Some(place) = self.places.get_mut(key) {
            return Some(std::mem::replace(&mut place.1, digest));
        }
        self.places.insert(Arc::clone(key), (self.keys.len(), digest));
        self.keys.push(Arc::clone(key));
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_and_go_and_every_one_can_be_picked() {
        let mut oracle = Oracle::default();
        let keys: Vec<Key> = (0..10_u8).map(|n| Arc::from([n])).collect();
        for key in &keys {
            assert_eq!(oracle.set(key, Some(ValueDigest(1))), None);
        }
        assert_eq!(oracle.set(&keys[3], Some(ValueDigest(2))), Some(ValueDigest(1)));
        assert_eq!(oracle.set(&keys[3], None), Some(ValueDigest(2)));
        assert_eq!(oracle.set(&keys[3], None), None);
        assert_eq!(oracle.set(&keys[9], None), Some(ValueDigest(1)));
        let picked: std::collections::BTreeSet<_> =
            (0..8).filter_map(|drawn| oracle.pick(drawn)).collect();
        assert_eq!((picked.len(), oracle.len()), (8, 8));
        assert!(!picked.contains(&keys[3]) && !picked.contains(&keys[9]));
        assert!(picked.iter().all(|key| oracle.get(key) == Some(ValueDigest(1))));
        assert_eq!(Oracle::default().pick(1), None);
    }
}
