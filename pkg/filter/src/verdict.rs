//! What can be said about a filter without reading a row.

/// What is known of a filter for all rows of a block, batch or segment together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No row matches.
    Never,
    /// Rows must be looked at.
    Maybe,
    /// Every row matches.
    Always,
}

impl Verdict {
    /// Every row or none.
    pub fn of(every: bool) -> Self {
        if every { Self::Always } else { Self::Never }
    }

    /// What is known of the opposite.
    pub fn negate(self) -> Self {
        match self {
            Self::Never => Self::Always,
            Self::Maybe => Self::Maybe,
            Self::Always => Self::Never,
        }
    }

    /// What is known if each row behaves like one of `verdicts`, each of which occurs.
    pub fn of_parts(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let mut verdicts = verdicts.into_iter();
        let Some(first) = verdicts.next() else { return Self::Maybe };
        if first != Self::Maybe && verdicts.all(|verdict| verdict == first) { first } else { Self::Maybe }
    }
}
