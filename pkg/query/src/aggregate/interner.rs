//! Values as small numbers, given in the order in which they come. Code 0 means that a row has none.

use super::seed::Seed;
use hashbrown::HashTable;
use timberlog_types::{Value, ValueKind};

/// Values one behind the other, by code.
#[derive(Default)]
pub(super) struct Values {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// Gives codes to values.
#[derive(Default)]
pub(super) struct Interner {
    seed: Seed,
    codes: HashTable<u32>,
    values: Values,
}

impl Values {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The value of a code; none of 0.
    pub fn get(&self, code: u64) -> Option<&[u8]> {
        let index = usize::try_from(code).ok()?.checked_sub(1)?;
        let start = index.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        self.bytes.get(start..*self.ends.get(index)?)
    }

    pub fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.ends.push(self.bytes.len());
    }
}

impl Interner {
    /// A `null` counts as missing, as it does for `exists`.
    pub fn code_of(&mut self, value: Value<'_>) -> u32 {
        if value.kind == ValueKind::Null { 0 } else { self.code(value.text) }
    }

    pub fn code(&mut self, value: &[u8]) -> u32 {
        let Self { seed, codes, values } = self;
        let hash = seed.hash(value);
        if let Some(&code) = codes.find(hash, |&code| values.get(u64::from(code)) == Some(value)) {
            return code;
        }
        values.push(value);
        // There are at most as many as rows of a unit.
        let code = values.len() as u32;
        codes.insert_unique(hash, code, |&code| seed.hash(values.get(u64::from(code)).unwrap_or_default()));
        code
    }

    pub fn into_values(self) -> Values {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_have_one_code_that_gives_them_back() {
        let mut interner = Interner::default();
        let texts: Vec<String> = (0..1000).map(|n| (n % 300).to_string()).chain([String::new()]).collect();
        let codes: Vec<u32> = texts.iter().map(|text| interner.code(text.as_bytes())).collect();
        assert_eq!(interner.code(b"7"), 8);
        assert_eq!(interner.code_of(Value { kind: ValueKind::Null, text: b"null" }), 0);
        let values = interner.into_values();
        assert_eq!(values.len(), 301);
        for (text, code) in texts.iter().zip(codes) {
            assert_eq!(values.get(u64::from(code)), Some(text.as_bytes()));
        }
        assert_eq!((values.get(0), values.get(302)), (None, None));
    }
}
