//! Several paths looked for in one walk over a JSON text.
//!
//! Follows the walk of the parser that Loki uses, because it decides what is found in texts that
//! are not quite JSON: the depth is counted by the braces met, arrays are entered only where a path
//! has an index, and a text that ends early gives what was found until then, without an error.

use super::super::scan::{JsonError, Kind, Value, block_end, skip_space, string_end, unescape, value};

/// What a walk meets.
pub(super) enum Found<'a> {
    /// The value of the path with this index.
    Value(usize, Value<'a>),
    /// Something that is not JSON.
    Malformed(JsonError),
}

type Path = Vec<Vec<u8>>;

/// Gives the value of each path that is found.
pub(super) fn each_path(data: &[u8], paths: &[Path], found: &mut dyn FnMut(Found<'_>)) {
    let depth_max = paths.iter().map(Vec::len).max().unwrap_or_default();
    let walk = Walk { data, paths, done: vec![false; paths.len()], above: vec![Vec::new(); depth_max], level: 0 };
    // A text that ends early is no error.
    let _ = walk.run(found);
}

struct Walk<'a, 'p> {
    data: &'a [u8],
    paths: &'p [Path],
    done: Vec<bool>,
    /// The keys on the way to where the walk is.
    above: Vec<Vec<u8>>,
    level: isize,
}

impl Walk<'_, '_> {
    /// `None`: the walk ended before the end of the text.
    fn run(mut self, found: &mut dyn FnMut(Found<'_>)) -> Option<()> {
        let mut at = 0;
        while let Some(&byte) = self.data.get(at) {
            match byte {
                b'"' => at = self.string(at, found)?,
                b'{' => self.level += 1,
                b'}' | b']' => self.level -= 1,
                b'[' => at = self.array(at, found)?,
                _ => {}
            }
            at += 1;
        }
        Some(())
    }

    fn all_done(&self) -> bool {
        self.done.iter().all(|&done| done)
    }

    /// A string at an offset, which is a key if a colon follows. The answer is the last offset that
    /// is dealt with.
    fn string(&mut self, at: usize, found: &mut dyn FnMut(Found<'_>)) -> Option<usize> {
        let data = self.data;
        let (end, escaped) = string_end(data, at + 1)?;
        let colon = skip_space(data, end + 1)?;
        if data.get(colon) != Some(&b':') {
            return Some(colon - 1);
        }
        let key = data.get(at + 1..end)?;
        let mut plain = Vec::new();
        let key = if escaped {
            unescape(key, &mut plain).ok()?;
            plain.as_slice()
        } else {
            key
        };
        let mut matched = false;
        if isize::try_from(self.above.len()).is_ok_and(|depth_max| depth_max >= self.level) {
            let Some(level) = usize::try_from(self.level).ok().filter(|&level| level > 0) else {
                found(Found::Malformed(JsonError::Malformed));
                return None;
            };
            if let Some(above) = self.above.get_mut(level - 1) {
                above.clear();
                above.extend_from_slice(key);
            }
            matched = self.key(level, data.get(colon + 1..)?, found);
            if self.all_done() {
                return None;
            }
        }
        if !matched && skip_space(data, colon + 1).is_none() {
            // Nothing follows: only whether the colon was read matters, and it was.
            return None;
        }
        Some(colon)
    }

    /// Gives the value behind a key to the paths that it is the last of.
    fn key(&mut self, level: usize, behind: &[u8], found: &mut dyn FnMut(Found<'_>)) -> bool {
        let mut matched = false;
        for (index, path) in self.paths.iter().enumerate() {
            let done = self.done.get_mut(index).filter(|done| !**done);
            let Some(done) = done.filter(|_| path.len() == level && self.above.get(..level) == Some(path)) else {
                continue;
            };
            matched = true;
            *done = true;
            found(match value(behind) {
                Ok(value) => Found::Value(index, value),
                Err(error) => Found::Malformed(error),
            });
        }
        matched
    }

    /// An array at an offset: entered if a path has an index here, else skipped.
    fn array(&mut self, at: usize, found: &mut dyn FnMut(Found<'_>)) -> Option<usize> {
        let data = self.data.get(at..)?;
        let Ok(level) = usize::try_from(self.level) else {
            found(Found::Malformed(JsonError::Malformed));
            return None;
        };
        let mut wanted = Vec::new();
        for (index, path) in self.paths.iter().enumerate() {
            let open = !self.done.get(index).copied().unwrap_or(true);
            if let Some(element) = path.get(level).and_then(|key| element_number(key))
                && open
                && self.above.get(..level) == path.get(..level)
            {
                wanted.push((index, element));
            }
        }
        if wanted.is_empty() {
            return Some(at + block_end(data, b'[', b']')? - 1);
        }
        self.level += 1;
        let mut number = 0;
        let end = each_element(data, |element, _| {
            for &(index, _) in wanted.iter().filter(|&&(_, wanted)| wanted == number) {
                if let Some(done) = self.done.get_mut(index) {
                    *done = true;
                }
                let rest = self.paths.get(index).and_then(|path| path.get(level + 1..)).unwrap_or_default();
                let Some(inner) = search(element.text, rest).and_then(|at| element.text.get(at..)) else { continue };
                found(match element.kind {
                    Kind::String => Found::Value(index, Value { text: inner, ..*element }),
                    _ => match value(inner) {
                        Ok(value) => Found::Value(index, value),
                        Err(error) => Found::Malformed(error),
                    },
                });
            }
            number += 1;
        });
        if self.all_done() {
            return None;
        }
        Some((at + end).saturating_sub(1))
    }
}

/// The number in `[3]`; 0 if it is none, as Go answers.
fn element_number(key: &[u8]) -> Option<usize> {
    let inner = key.strip_prefix(b"[").filter(|inner| inner.len() > 1)?;
    let digits = inner.get(..inner.len() - 1)?;
    Some(std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or_default())
}

/// Gives the elements of an array with the offset of each one's text, and answers the offset where
/// the walk over them ended: at the bracket, unless one is malformed.
fn each_element(data: &[u8], mut element: impl FnMut(&Value<'_>, usize)) -> usize {
    let Some(mut at) = skip_space(data, 0).map(|open| open + 1) else { return 0 };
    match skip_space(data, at) {
        Some(first) => at = first,
        None => return at,
    }
    if data.get(at) == Some(&b']') {
        return at;
    }
    loop {
        let Ok(value) = value(data.get(at..).unwrap_or_default()) else { return at };
        element(&value, (at + value.end).saturating_sub(value.text.len()));
        at += value.end;
        match skip_space(data, at) {
            Some(next) => at = next,
            None => return at,
        }
        if data.get(at) != Some(&b',') {
            return at;
        }
        at += 1;
    }
}

/// The offset behind the keys of a path, looked for in a value.
fn search(data: &[u8], path: &[Vec<u8>]) -> Option<usize> {
    if path.is_empty() {
        return Some(0);
    }
    let wanted = isize::try_from(path.len()).ok()?;
    let (mut found, mut level, mut last_matched) = (0isize, 0isize, true);
    let mut at = 0;
    while let Some(&byte) = data.get(at) {
        match byte {
            b'"' => {
                let (end, escaped) = string_end(data, at + 1)?;
                let colon = skip_space(data, end + 1)?;
                if data.get(colon) != Some(&b':') {
                    at = colon;
                    continue;
                }
                if level < 1 || level > wanted {
                    return None;
                }
                let key = data.get(at + 1..end)?;
                let mut plain = Vec::new();
                if escaped {
                    unescape(key, &mut plain).ok()?;
                }
                let key = if escaped { plain.as_slice() } else { key };
                let asked = usize::try_from(level - 1).ok().and_then(|index| path.get(index))?;
                last_matched = asked == key;
                if last_matched && found == level - 1 {
                    found += 1;
                    if found == wanted {
                        return Some(colon + 1);
                    }
                }
                at = colon;
            }
            b'{' if last_matched => level += 1,
            b'{' => at += block_end(data.get(at..)?, b'{', b'}')? - 1,
            b'}' => {
                level -= 1;
                if level == found {
                    found -= 1;
                }
            }
            b'[' => {
                let index = usize::try_from(level).ok().filter(|_| found == level);
                let element = index.and_then(|index| path.get(index)).filter(|key| key.first() == Some(&b'['));
                let rest = data.get(at..)?;
                if let (Some(element), Some(index)) = (element, index) {
                    return search_element(rest, element, path.get(index + 1..)?).map(|inner| at + inner);
                }
                at += block_end(rest, b'[', b']')? - 1;
            }
            b':' => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

/// [`search`] in one element of an array.
fn search_element(data: &[u8], element: &[u8], path: &[Vec<u8>]) -> Option<usize> {
    if element.len() < 3 || element.last() != Some(&b']') {
        return None;
    }
    let wanted: usize = std::str::from_utf8(element.get(1..element.len() - 1)?).ok()?.parse().ok()?;
    let mut number = 0;
    let mut range = None;
    each_element(data, |value, start| {
        if number == wanted {
            // A string is looked at with its quotes.
            range = Some(match value.kind {
                Kind::String => (start.saturating_sub(2), value.text.len() + 2),
                _ => (start, value.text.len()),
            });
        }
        number += 1;
    });
    let (start, length) = range?;
    search(data.get(start..start + length)?, path).map(|inner| start + inner)
}
