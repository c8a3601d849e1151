//! Finds the distinct values of a list, in the order of their first appearance.

use timberlog_types::Value;
use xxhash_rust::xxh3::xxh3_64;

/// The distinct values of a list, and which of them each value is. Keeps its memory.
#[derive(Default)]
pub(crate) struct Distinct {
    /// Open addressing: generation in the high half, entry in the low half.
    slots: Vec<u64>,
    generation: u32,
    /// For each distinct value, where in the list it first stands.
    pub(crate) firsts: Vec<u32>,
    /// XXH3-64 of the text of each distinct value.
    pub(crate) hashes: Vec<u64>,
    /// For each value, the index of its distinct value.
    pub(crate) codes: Vec<u32>,
    /// How often neighbours differ, plus one.
    pub(crate) runs: usize,
}

/// How many values are looked at before it may be found that hardly any repeats.
const GIVE_UP_EVERY: usize = 1024;

impl Distinct {
    /// Looks at a list. Returns `false`, with less than all of it done, once hardly any value
    /// repeats.
    pub(crate) fn find(&mut self, values: &[Value<'_>]) -> bool {
        self.start(values.len());
        let mask = (values.len() * 2).next_power_of_two().max(8) - 1;
        let mut last: Option<(Value<'_>, u32)> = None;
        for (index, &value) in values.iter().enumerate() {
            if let Some((same, code)) = last
                && same == value
            {
                self.codes.push(code);
                continue;
            }
            if index % GIVE_UP_EVERY == 0 && index > 0 && self.firsts.len() * 8 > index * 7 {
                return false;
            }
            self.runs += 1;
            let code = self.entry(values, index, value, mask);
            self.codes.push(code);
            last = Some((value, code));
        }
        values.len() < 64 || self.firsts.len() * 8 <= values.len() * 7
    }

    fn start(&mut self, len: usize) {
        self.firsts.clear();
        self.hashes.clear();
        self.codes.clear();
        self.runs = 0;
        let slots = (len * 2).next_power_of_two().max(8);
        self.generation = self.generation.wrapping_add(1);
        if self.slots.len() < slots || self.generation == 0 {
            let slots = slots.max(self.slots.len());
            self.slots.clear();
            self.slots.resize(slots, 0);
            self.generation = 1;
        }
    }

    fn entry(&mut self, values: &[Value<'_>], index: usize, value: Value<'_>, mask: usize) -> u32 {
        let hash = xxh3_64(value.text);
        // Cutting the hash off is meant: any of its bits will do.
        let mut slot = hash as usize & mask;
        loop {
            let found = self.slots[slot];
            if (found >> 32) as u32 != self.generation {
                // A block has less than 2^32 rows.
                let code = self.firsts.len() as u32;
                self.slots[slot] = u64::from(self.generation) << 32 | u64::from(code);
                self.firsts.push(index as u32);
                self.hashes.push(hash);
                return code;
            }
            let code = found as u32;
            if self.hashes[code as usize] == hash && values[self.firsts[code as usize] as usize] == value {
                return code;
            }
            slot = (slot + 1) & mask;
        }
    }
}
