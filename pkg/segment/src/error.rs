//! What can go wrong with a segment, and where in it.

use crate::message::MessageError;
use std::borrow::Cow;
use std::fmt;
use timberlog_types::{Error, ErrorKind};

/// Where in a segment something is wrong; what is not known is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The segment's id.
    pub segment: Option<Box<str>>,
    /// The number of the block.
    pub block: Option<u32>,
    /// The column, or the section of the file.
    pub column: Option<Box<str>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(segment) = &self.segment {
            write!(f, "segment `{segment}`: ")?;
        }
        if let Some(block) = self.block {
            write!(f, "block {block}: ")?;
        }
        if let Some(column) = &self.column {
            write!(f, "{column}: ")?;
        }
        Ok(())
    }
}

/// Why a segment cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Bytes do not match their checksum or their format.
    #[error("{place}{what}")]
    Corrupt {
        /// Where.
        place: Place,
        /// What does not fit.
        what: Cow<'static, str>,
    },
    /// An encoding that this version of the program does not know.
    #[error(
        "{place}encoding {tag} version {version} is not known to segment format {}, a newer TimberLog wrote it",
        crate::FORMAT_VERSION
    )]
    UnknownEncoding {
        /// Where.
        place: Place,
        /// The encoding's tag.
        tag: u8,
        /// The encoding's version.
        version: u8,
    },
    /// A file of a format that this version of the program does not know.
    #[error("{place}segment format {version} is not known, this TimberLog reads format {}", crate::FORMAT_VERSION)]
    UnknownFormat {
        /// Where.
        place: Place,
        /// The file's format.
        version: u32,
    },
    /// More than the format can hold was to be written.
    #[error("{what} is {len}, the format holds at most {max}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        len: u64,
        /// How large it may be.
        max: u64,
    },
    /// The file could not be read or written.
    #[error("{place}{doing}: {source}")]
    Io {
        /// Where.
        place: Place,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SegmentError {
    /// Bytes that do not match their checksum or format, at a place that the caller knows.
    pub fn corrupt(what: impl Into<Cow<'static, str>>) -> Self {
        Self::Corrupt { place: Place::default(), what: what.into() }
    }

    pub(crate) fn io(doing: &'static str, source: std::io::Error) -> Self {
        Self::Io { place: Place::default(), doing, source }
    }

    fn place_mut(&mut self) -> Option<&mut Place> {
        match self {
            Self::Corrupt { place, .. }
            | Self::UnknownEncoding { place, .. }
            | Self::UnknownFormat { place, .. }
            | Self::Io { place, .. } => Some(place),
            Self::TooLarge { .. } => None,
        }
    }

    /// Says which segment it is, if that is not said yet.
    #[must_use]
    pub fn in_segment(mut self, id: &str) -> Self {
        if let Some(place) = self.place_mut() {
            place.segment.get_or_insert_with(|| id.into());
        }
        self
    }

    /// Says which block it is, if that is not said yet.
    #[must_use]
    pub fn in_block(mut self, block: u32) -> Self {
        if let Some(place) = self.place_mut() {
            place.block.get_or_insert(block);
        }
        self
    }

    /// Says which column or section it is, if that is not said yet.
    #[must_use]
    pub fn in_column(mut self, column: impl fmt::Display) -> Self {
        if let Some(place) = self.place_mut() {
            place.column.get_or_insert_with(|| column.to_string().into());
        }
        self
    }
}

impl From<MessageError> for SegmentError {
    fn from(error: MessageError) -> Self {
        Self::corrupt(error.0)
    }
}

impl From<SegmentError> for Error {
    fn from(error: SegmentError) -> Self {
        match &error {
            SegmentError::Io { place, doing, source } => Error::io(format!("{place}{doing}"), source),
            SegmentError::TooLarge { .. } => Error::new(ErrorKind::Invalid, error.to_string()),
            _ => Error::corrupt(error.to_string()),
        }
    }
}
