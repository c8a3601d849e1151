//! Small numbers, one a row: indexes into a dictionary, as wide as the dictionary needs.

use timberlog_types::RowSet;

/// Small numbers, one a row. Whoever makes them checks that each is below the dictionary's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Codes {
    /// Below 256.
    U8(Vec<u8>),
    /// Below 65,536.
    U16(Vec<u16>),
    /// Any.
    U32(Vec<u32>),
}

impl Codes {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(codes) => codes.len(),
            Self::U16(codes) => codes.len(),
            Self::U32(codes) => codes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A code.
    ///
    /// # Panics
    /// If there is no such index.
    #[inline]
    pub fn get(&self, index: usize) -> usize {
        match self {
            Self::U8(codes) => usize::from(codes[index]),
            Self::U16(codes) => usize::from(codes[index]),
            Self::U32(codes) => codes[index] as usize,
        }
    }

    /// Calls `f` with each code, in order.
    #[inline]
    pub fn for_each(&self, mut f: impl FnMut(usize)) {
        match self {
            Self::U8(codes) => codes.iter().for_each(|&code| f(usize::from(code))),
            Self::U16(codes) => codes.iter().for_each(|&code| f(usize::from(code))),
            Self::U32(codes) => codes.iter().for_each(|&code| f(code as usize)),
        }
    }

    /// Adds to `counts`, by code, how often each code occurs; in all rows, or only those `within`.
    /// Codes beyond `counts` are not counted.
    pub fn count(&self, within: Option<&RowSet>, counts: &mut [u64]) {
        if let (Self::U8(codes), None) = (self, within) {
            return count_bytes(codes, counts);
        }
        let mut add = |code: usize| {
            if let Some(count) = counts.get_mut(code) {
                *count += 1;
            }
        };
        match within {
            None => self.for_each(add),
            Some(rows) => rows.iter().take_while(|&row| row < self.len()).for_each(|row| add(self.get(row))),
        }
    }

    /// The indexes whose code is marked; codes beyond `marked` are not.
    pub fn select(&self, marked: &[bool]) -> RowSet {
        let is_marked = |code: usize| marked.get(code).copied().unwrap_or(false);
        match self {
            Self::U8(codes) => RowSet::from_fn(codes.len(), |row| is_marked(usize::from(codes[row]))),
            Self::U16(codes) => RowSet::from_fn(codes.len(), |row| is_marked(usize::from(codes[row]))),
            Self::U32(codes) => RowSet::from_fn(codes.len(), |row| is_marked(codes[row] as usize)),
        }
    }

    /// Bytes of memory held.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::U8(codes) => codes.len(),
            Self::U16(codes) => codes.len() * 2,
            Self::U32(codes) => codes.len() * 4,
        }
    }
}

/// Counts in four tables by turns: one table would wait for itself where neighbours are equal.
fn count_bytes(codes: &[u8], counts: &mut [u64]) {
    let mut tables = [[0_u32; 256]; 4];
    // A block has less than 2^32 rows, so no count overflows.
    let mut fours = codes.chunks_exact(4);
    for four in &mut fours {
        for (table, &code) in tables.iter_mut().zip(four) {
            table[usize::from(code)] += 1;
        }
    }
    fours.remainder().iter().for_each(|&code| tables[0][usize::from(code)] += 1);
    for (code, count) in counts.iter_mut().take(256).enumerate() {
        *count += tables.iter().map(|table| u64::from(table[code])).sum::<u64>();
    }
}
