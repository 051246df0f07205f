//! Dense numbers for names, and sets of such numbers.
//!
//! Owns the storage the scheduler's indexes share. Names are turned into numbers once, so that deciding compares and
//! hashes no strings.

use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A number a [`Table`] has given to one of its rows.
pub(crate) trait Key: Copy {
    /// The key of a row.
    fn from_row(row: u32) -> Self;
    /// The row of a key.
    fn row_number(self) -> usize;
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) struct $name(u32);

        impl Key for $name {
            fn from_row(row: u32) -> Self {
                Self(row)
            }

            fn row_number(self) -> usize {
                self.0 as usize
            }
        }
    };
}

key!(
    /// A unit that is known, placed, or unreadable.
    UnitKey
);
key!(
    /// A machine that is registered, or that metadata or placements name.
    MachineKey
);
key!(
    /// A pattern that some unit's `Conflicts=` declares.
    PatternKey
);
key!(
    /// A demand that several units make on a machine alike.
    ClassKey
);

/// Rows by number. A number is used again after its row was released, so nothing may keep a released key.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, T> {
    rows: Vec<T>,
    free: Vec<u32>,
    keys: PhantomData<fn(K)>,
}

impl<K: Key, T> Table<K, T> {
    pub(crate) fn new() -> Self {
        Self { rows: Vec::new(), free: Vec::new(), keys: PhantomData }
    }

    pub(crate) fn insert(&mut self, row: T) -> K {
        if let Some(free) = self.free.pop() {
            let key = K::from_row(free);
            self[key] = row;
            return key;
        }
        // A cluster of four thousand million names does not fit into any machine's memory.
        let key = K::from_row(u32::try_from(self.rows.len()).unwrap_or(u32::MAX));
        self.rows.push(row);
        key
    }

    /// Makes the key available again; its row stays until then.
    pub(crate) fn release_row(&mut self, key: K) {
        self.free.push(u32::try_from(key.row_number()).unwrap_or(u32::MAX));
    }

    /// Every row, released ones included.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.rows.iter_mut()
    }
}

#[allow(clippy::indexing_slicing, reason = "only the table makes keys, and it never shrinks")]
impl<K: Key, T> Index<K> for Table<K, T> {
    type Output = T;

    fn index(&self, key: K) -> &T {
        &self.rows[key.row_number()]
    }
}

#[allow(clippy::indexing_slicing, reason = "only the table makes keys, and it never shrinks")]
impl<K: Key, T> IndexMut<K> for Table<K, T> {
    fn index_mut(&mut self, key: K) -> &mut T {
        &mut self.rows[key.row_number()]
    }
}

/// A set of small numbers, one bit each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    pub(crate) fn as_words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn insert(&mut self, bit: u32) {
        let word = bit as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << (bit % 64);
        }
    }

    pub(crate) fn remove(&mut self, bit: u32) {
        if let Some(word) = self.words.get_mut(bit as usize / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.words.clear();
    }

    pub(crate) fn contains(&self, bit: u32) -> bool {
        self.words.get(bit as usize / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    pub(crate) fn unite_with(&mut self, other: &Self) {
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    pub(crate) fn intersect_with(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine &= theirs;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip(0u32..).flat_map(|(word, index)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                (rest != 0).then(|| {
                    let bit = rest.trailing_zeros();
                    rest &= rest - 1;
                    index * 64 + bit
                })
            })
        })
    }
}

impl FromIterator<u32> for Bits {
    fn from_iter<I: IntoIterator<Item = u32>>(bits: I) -> Self {
        let mut set = Self::default();
        for bit in bits {
            set.insert(bit);
        }
        set
    }
}
