//! The values of a field in a block: which rows have one, and what it is.
//!
//! A column with a dictionary answers a filter by one look at each entry, and counts by code. The
//! entries are (kind, text) pairs, each once.

use super::Codes;
use timberlog_types::{RowSet, Value, ValueKind};

/// The values of a field in a block.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueColumn {
    pub(crate) rows: usize,
    pub(crate) presence: Presence,
    pub(crate) values: Values,
}

/// Which rows have a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Presence {
    /// All.
    All,
    /// These, ascending.
    Rows(Vec<u32>),
    /// Those of a bitmap; how many stand before each of its words.
    Bitmap(RowSet, Vec<u32>),
}

/// The values, in the order of their rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Values {
    /// Each by its entry in a dictionary.
    Dictionary { kinds: Kinds, texts: Texts, codes: Codes },
    /// Each by itself.
    Direct { kinds: Kinds, texts: Texts },
}

/// What kind each text is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kinds {
    /// All the same.
    One(ValueKind),
    /// Each its own.
    Each(Vec<ValueKind>),
}

/// Texts, one behind the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Texts {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<u32>,
}

/// The distinct values of a column.
#[derive(Clone, Copy, Debug)]
pub struct Dictionary<'a> {
    kinds: &'a Kinds,
    texts: &'a Texts,
}

impl Texts {
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        &self.bytes[start..self.ends[index] as usize]
    }
}

impl Kinds {
    #[inline]
    pub(crate) fn get(&self, index: usize) -> ValueKind {
        match self {
            Self::One(kind) => *kind,
            Self::Each(kinds) => kinds[index],
        }
    }
}

impl<'a> Dictionary<'a> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.texts.ends.len()
    }

    /// Never: a column has a value.
    pub fn is_empty(&self) -> bool {
        self.texts.ends.is_empty()
    }

    /// An entry.
    ///
    /// # Panics
    /// If there is no such entry.
    pub fn get(&self, code: usize) -> Value<'a> {
        Value { kind: self.kinds.get(code), text: self.texts.get(code) }
    }

    /// The entries, by code.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Value<'a>> + use<'a> {
        let dictionary = *self;
        (0..dictionary.len()).map(move |code| dictionary.get(code))
    }
}

impl ValueColumn {
    /// The number of rows of the block, with a value or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Dictionary { codes, .. } => codes.len(),
            Values::Direct { texts, .. } => texts.ends.len(),
        }
    }

    /// Never: a field without a value has no column.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every row has a value.
    pub fn is_dense(&self) -> bool {
        matches!(self.presence, Presence::All)
    }

    /// The rows that have a value (of whatever kind, `Null` too).
    pub fn present(&self) -> RowSet {
        match &self.presence {
            Presence::All => RowSet::all(self.rows),
            Presence::Rows(rows) => {
                let mut set = RowSet::none(self.rows);
                rows.iter().for_each(|&row| set.insert(row as usize));
                set
            }
            Presence::Bitmap(set, _) => set.clone(),
        }
    }

    /// The index of a row's value among the values; `None` if it has none.
    #[inline]
    pub fn index_of(&self, row: usize) -> Option<usize> {
        match &self.presence {
            Presence::All => (row < self.rows).then_some(row),
            Presence::Rows(rows) => rows.binary_search(&u32::try_from(row).ok()?).ok(),
            Presence::Bitmap(set, before) => {
                let word = *set.words().get(row / 64)?;
                let bit = row % 64;
                let below = word & ((1 << bit) - 1);
                (word >> bit & 1 == 1).then(|| before[row / 64] as usize + below.count_ones() as usize)
            }
        }
    }

    /// A value by its index.
    ///
    /// # Panics
    /// If there is no such index.
    #[inline]
    pub fn value(&self, index: usize) -> Value<'_> {
        match &self.values {
            Values::Dictionary { kinds, texts, codes } => {
                let code = codes.get(index);
                Value { kind: kinds.get(code), text: texts.get(code) }
            }
            Values::Direct { kinds, texts } => Value { kind: kinds.get(index), text: texts.get(index) },
        }
    }

    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<Value<'_>> {
        self.index_of(row).map(|index| self.value(index))
    }

    /// Calls `f` with each row that has a value, and the index of its value; rows ascend.
    #[inline]
    pub fn for_each_row(&self, mut f: impl FnMut(usize, usize)) {
        match &self.presence {
            Presence::All => (0..self.rows).for_each(|row| f(row, row)),
            Presence::Rows(rows) => rows.iter().enumerate().for_each(|(index, &row)| f(row as usize, index)),
            Presence::Bitmap(set, _) => set.iter().enumerate().for_each(|(index, row)| f(row, index)),
        }
    }

    /// Calls `f` with each row that has a value, and the value; rows ascend.
    pub fn for_each(&self, mut f: impl FnMut(usize, Value<'_>)) {
        self.for_each_row(|row, index| f(row, self.value(index)));
    }

    /// The distinct values, if the column is coded by a dictionary; a constant column is.
    pub fn dictionary(&self) -> Option<Dictionary<'_>> {
        match &self.values {
            Values::Dictionary { kinds, texts, .. } => Some(Dictionary { kinds, texts }),
            Values::Direct { .. } => None,
        }
    }

    /// The codes of the values (not of the rows, unless [`ValueColumn::is_dense`]): indexes into
    /// the dictionary.
    pub fn codes(&self) -> Option<&Codes> {
        match &self.values {
            Values::Dictionary { codes, .. } => Some(codes),
            Values::Direct { .. } => None,
        }
    }

    /// The dictionary code of a row's value; `None` if the row has none or there is no dictionary.
    #[inline]
    pub fn code(&self, row: usize) -> Option<usize> {
        self.codes().and_then(|codes| self.index_of(row).map(|index| codes.get(index)))
    }

    /// The rows whose value satisfies a test; `missing` is the answer for rows without a value.
    /// A dictionary's entries are tested once each.
    pub fn select(&self, missing: bool, mut test: impl FnMut(Value<'_>) -> bool) -> RowSet {
        let hits = match &self.values {
            Values::Dictionary { codes, .. } => {
                let marked: Vec<bool> =
                    self.dictionary().map(|entries| entries.iter().map(&mut test).collect()).unwrap_or_default();
                if marked.iter().all(|&mark| !mark) { RowSet::none(codes.len()) } else { codes.select(&marked) }
            }
            Values::Direct { texts, .. } => RowSet::from_fn(texts.ends.len(), |index| test(self.value(index))),
        };
        self.spread(hits, missing)
    }

    /// How many rows have each entry of the dictionary, by code, and behind them how many have no
    /// value; of all rows, or only of those `within`. `None` without a dictionary.
    pub fn count_by_code(&self, within: Option<&RowSet>) -> Option<Vec<u64>> {
        let codes = self.codes()?;
        let entries = self.dictionary()?.len();
        let mut counts = vec![0; entries + 1];
        match (&self.presence, within) {
            (_, None) => codes.count(None, &mut counts[..entries]),
            (Presence::All, within) => codes.count(within, &mut counts[..entries]),
            (_, Some(within)) => self.for_each_row(|row, index| {
                if within.contains(row) {
                    counts[codes.get(index)] += 1;
                }
            }),
        }
        let asked = within.map_or(self.rows, RowSet::count) as u64;
        counts[entries] = asked - counts[..entries].iter().sum::<u64>();
        Some(counts)
    }

    /// Makes a set of rows of a set of value indexes.
    fn spread(&self, values: RowSet, missing: bool) -> RowSet {
        if self.is_dense() {
            return values;
        }
        let mut rows = RowSet::none(self.rows);
        self.for_each_row(|row, index| {
            if values.contains(index) != missing {
                rows.insert(row);
            }
        });
        if missing {
            rows.invert();
        }
        rows
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        let texts = |texts: &Texts| texts.bytes.len() + texts.ends.len() * 4;
        let kinds = |kinds: &Kinds| if let Kinds::Each(kinds) = kinds { kinds.len() } else { 0 };
        let presence = match &self.presence {
            Presence::All => 0,
            Presence::Rows(rows) => rows.len() * 4,
            Presence::Bitmap(set, _) => set.words().len() * 12,
        };
        size_of::<Self>()
            + presence
            + match &self.values {
                Values::Dictionary { kinds: k, texts: t, codes } => kinds(k) + texts(t) + codes.memory_bytes(),
                Values::Direct { kinds: k, texts: t } => kinds(k) + texts(t),
            }
    }
}
