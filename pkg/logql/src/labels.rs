//! Label sets as answers carry them: sorted by name, each name once.

use std::fmt;

/// Where a label of a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A label of the stream.
    Stream,
    /// A field of the record (structured metadata).
    Metadata,
    /// What a stage of the pipeline found or made.
    Parsed,
}

/// A label and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// The name.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
    /// Where it comes from.
    pub origin: Origin,
}

/// A label set: sorted by name (bytes), each name once; without empty values, but for those of
/// [`Labels::with_empty`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// A set of these; of one name the last counts, and an empty value is no label.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut labels = Self::default();
        for (name, value) in pairs {
            labels.set(&name, &value);
        }
        labels
    }

    /// A set of these, empty values included: a stage may give a line a label that is empty. Of one
    /// name the last counts.
    pub fn with_empty(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        // Stable: the last of one name is kept by turning the pairs round.
        pairs.reverse();
        pairs.dedup_by(|later, kept| later.0 == kept.0);
        pairs.reverse();
        Self(pairs)
    }

    /// The value of a label, or the empty text.
    pub fn get(&self, name: &str) -> &str {
        match self.find(name) {
            Ok(at) => self.0.get(at).map_or("", |(_, value)| value),
            Err(_) => "",
        }
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) {
        match (self.find(name), value.is_empty()) {
            (Ok(at), true) => drop(self.0.remove(at)),
            (Ok(at), false) => {
                if let Some((_, old)) = self.0.get_mut(at) {
                    value.clone_into(old);
                }
            }
            (Err(_), true) => {}
            (Err(at), false) => self.0.insert(at, (name.to_owned(), value.to_owned())),
        }
    }

    /// Keeps the labels for whose name `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// The pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| other.as_str().cmp(name))
    }
}

impl fmt::Display for Labels {
    /// `{a="b", c="d"}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={}", crate::units::quote(value))?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_go_does() {
        let labels = Labels::new([("a".to_owned(), "\u{7f}\u{1}é'\"\n".to_owned())]);
        assert_eq!(labels.to_string(), r#"{a="\x7f\x01é'\"\n"}"#);
    }

    #[test]
    fn of_one_name_the_last_counts() {
        let pairs = [("b", "1"), ("a", ""), ("b", "2"), ("c", "3"), ("b", "")];
        let owned = || pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(Labels::new(owned()).to_string(), r#"{c="3"}"#);
        assert_eq!(Labels::with_empty(owned()).to_string(), r#"{a="", b="", c="3"}"#);
    }
}
