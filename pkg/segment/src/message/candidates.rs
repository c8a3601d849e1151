//! Candidates: the templates seen in a block while its messages are cut, and which of them stay.

use super::cut::Variable;
use super::encode::SCRATCH_MAX;
use xxhash_rust::xxh3::xxh3_64;

/// The most templates that a block keeps.
pub(super) const TEMPLATES_MAX: usize = 4096;
/// A template with fewer rows is not kept: its rows are rare.
const ROWS_MIN: u32 = 8;
const TABLE: usize = 2 * TEMPLATES_MAX;
const NONE: u32 = u32::MAX;

/// The templates seen in a block, found by hash and confirmed byte by byte.
#[derive(Default)]
pub(super) struct Candidates {
    table: Vec<u32>,
    pub(super) list: Vec<Candidate>,
    pub(super) keys: Vec<u8>,
    /// Each candidate's variables, row by row.
    pub(super) variables: Vec<Vec<Variable>>,
    /// The chosen ones, in the order of their ids.
    pub(super) kept: Vec<u32>,
}

pub(super) struct Candidate {
    hash: u64,
    pub(super) key: (u32, u32),
    pub(super) rows: u32,
    pub(super) slots: u32,
    /// The length of its rows together.
    text_len: usize,
    /// 0 if it is not kept.
    pub(super) id: u32,
}

impl Candidates {
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.table.resize(TABLE, NONE);
        self.list.clear();
        self.keys.clear();
        self.kept.clear();
    }

    pub(super) fn shrink(&mut self) {
        let capacity: usize = self.variables.iter().map(Vec::capacity).sum();
        if capacity * size_of::<Variable>() > SCRATCH_MAX {
            self.variables = Vec::new();
        }
    }

    /// Adds a row to its template; `None` if there are too many templates.
    #[inline]
    pub(super) fn add(&mut self, text_len: usize, key: &[u8], variables: &[Variable]) -> Option<u32> {
        let hash = xxh3_64(key);
        let mut place = hash as usize % TABLE;
        loop {
            let index = self.table[place];
            let Some(candidate) = self.list.get_mut(index as usize) else { break };
            if candidate.hash == hash && self.keys[candidate.key.0 as usize..candidate.key.1 as usize] == *key {
                candidate.rows += 1;
                candidate.text_len += text_len;
                self.variables[index as usize].extend_from_slice(variables);
                return Some(index);
            }
            place = (place + 1) % TABLE;
        }
        if self.list.len() == TEMPLATES_MAX {
            return None;
        }
        let index = self.list.len() as u32;
        let start = self.keys.len() as u32;
        self.keys.extend_from_slice(key);
        let key = (start, self.keys.len() as u32);
        self.list.push(Candidate { hash, key, rows: 1, slots: variables.len() as u32, text_len, id: 0 });
        match self.variables.get_mut(index as usize) {
            Some(kept) => {
                kept.clear();
                kept.extend_from_slice(variables);
            }
            None => self.variables.push(variables.to_vec()),
        }
        self.table[place] = index;
        Some(index)
    }

    /// Keeps the templates that have enough rows; none if most of the text would be in rare rows
    /// anyhow, and little in variables.
    pub(super) fn choose(&mut self, text_len: usize) {
        let (mut kept_len, mut variables_len) = (0, 0);
        for (index, candidate) in self.list.iter_mut().enumerate() {
            if candidate.rows >= ROWS_MIN {
                self.kept.push(index as u32);
                candidate.id = self.kept.len() as u32;
                let statics = (candidate.key.1 - candidate.key.0 - candidate.slots) as usize * candidate.rows as usize;
                variables_len += candidate.text_len.saturating_sub(statics);
                kept_len += candidate.text_len;
            }
        }
        if kept_len < text_len / 2 && variables_len < text_len / 8 {
            self.keep_none();
        }
    }

    pub(super) fn keep_none(&mut self) {
        self.kept.clear();
        self.list.iter_mut().for_each(|candidate| candidate.id = 0);
    }
}
