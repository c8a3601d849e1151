//! Field values: text, and what kind of thing the text is.

/// What a field's text is. Numbers keep their text, so `1.0` and `1` and a 30-digit integer come
/// back as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ValueKind {
    /// Text.
    String = 0,
    /// A JSON number.
    Number = 1,
    /// `true` or `false`.
    Bool = 2,
    /// JSON `null`; its text is empty, and `exists` is false for it.
    Null = 3,
    /// The text of a JSON array.
    Json = 4,
}

impl ValueKind {
    /// The kind with this number, or `None`.
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::String,
            1 => Self::Number,
            2 => Self::Bool,
            3 => Self::Null,
            4 => Self::Json,
            _ => return None,
        })
    }
}

/// A field's value: its kind and its text (UTF-8 by construction; readers of files check before
/// they show it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// What the text is.
    pub kind: ValueKind,
    /// The text.
    pub text: &'a [u8],
}
