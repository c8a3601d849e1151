//! A set of the rows of one batch or block: the result of evaluating a filter.

/// A set of row numbers below a fixed count, as a bitmap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    rows: usize,
}

impl RowSet {
    /// No row of `rows`.
    pub fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)], rows }
    }

    /// Every row of `rows`.
    pub fn all(rows: usize) -> Self {
        let mut set = Self { words: vec![u64::MAX; rows.div_ceil(64)], rows };
        set.trim();
        set
    }

    /// The rows for which `test` holds.
    pub fn from_fn(rows: usize, mut test: impl FnMut(usize) -> bool) -> Self {
        let mut set = Self::none(rows);
        for (index, word) in set.words.iter_mut().enumerate() {
            let start = index * 64;
            for bit in 0..(rows - start).min(64) {
                *word |= u64::from(test(start + bit)) << bit;
            }
        }
        set
    }

    /// How many rows there are, in the set or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many rows are in the set.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no row is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Whether every row is in the set.
    pub fn is_full(&self) -> bool {
        self.count() == self.rows
    }

    /// Whether a row is in the set.
    pub fn contains(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// Adds a row.
    pub fn insert(&mut self, row: usize) {
        debug_assert!(row < self.rows);
        self.words[row / 64] |= 1 << (row % 64);
    }

    /// Takes a row out.
    pub fn remove(&mut self, row: usize) {
        self.words[row / 64] &= !(1 << (row % 64));
    }

    /// Adds the rows from `start` to before `end`.
    pub fn insert_range(&mut self, start: usize, end: usize) {
        debug_assert!(start <= end && end <= self.rows);
        for row in start..end {
            if row % 64 == 0 && row + 64 <= end {
                break;
            }
            self.insert(row);
        }
        let first = start.next_multiple_of(64);
        let mut row = first;
        while row + 64 <= end {
            self.words[row / 64] = u64::MAX;
            row += 64;
        }
        for row in row.max(start)..end {
            self.insert(row);
        }
    }

    /// Keeps the rows that are in both sets.
    pub fn intersect(&mut self, other: &Self) {
        debug_assert_eq!(self.rows, other.rows);
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Adds the rows of the other set.
    pub fn union(&mut self, other: &Self) {
        debug_assert_eq!(self.rows, other.rows);
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word |= other);
    }

    /// Takes the rows of the other set out.
    pub fn subtract(&mut self, other: &Self) {
        debug_assert_eq!(self.rows, other.rows);
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Exchanges what is in the set for what is not.
    pub fn invert(&mut self) {
        self.words.iter_mut().for_each(|word| *word = !*word);
        self.trim();
    }

    /// The rows of the set, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| Bits(word).map(move |bit| index * 64 + bit))
    }

    /// The rows as 64-bit words, the first row in the lowest bit; bits behind the last row are 0.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    fn trim(&mut self) {
        if !self.rows.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.rows % 64)) - 1;
        }
    }
}

/// The set bits of a word.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = self.0.trailing_zeros();
        (bit < 64).then(|| {
            self.0 &= self.0 - 1;
            bit as usize
        })
    }
}

impl DoubleEndedIterator for Bits {
    fn next_back(&mut self) -> Option<usize> {
        let bit = 63_u32.checked_sub(self.0.leading_zeros())?;
        self.0 &= !(1 << bit);
        Some(bit as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::RowSet;

    #[test]
    fn sets_behave_like_sets_at_every_size() {
        for rows in [0, 1, 63, 64, 65, 130] {
            assert_eq!(RowSet::all(rows).count(), rows);
            assert!(RowSet::none(rows).is_empty());
            let thirds = RowSet::from_fn(rows, |row| row % 3 == 0);
            let mut rest = thirds.clone();
            rest.invert();
            assert_eq!(thirds.iter().collect::<Vec<_>>(), (0..rows).step_by(3).collect::<Vec<_>>());
            assert_eq!(thirds.iter().rev().collect::<Vec<_>>(), (0..rows).step_by(3).rev().collect::<Vec<_>>());
            rest.union(&thirds);
            assert!(rest.is_full());
            rest.subtract(&thirds);
            rest.intersect(&thirds);
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn ranges_are_inserted_whole() {
        for start in 0..140 {
            for end in start..140 {
                let mut set = RowSet::none(140);
                set.insert_range(start, end);
                assert_eq!(set.iter().collect::<Vec<_>>(), (start..end).collect::<Vec<_>>());
            }
        }
    }
}
