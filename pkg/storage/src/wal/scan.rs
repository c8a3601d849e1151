//! Reads the frames of one file in order, and finds the next whole one behind damage.
//!
//! Knows nothing of other files, nor which damage matters: that is `replay`.

use super::format::{
    Claimed, FILE_HEADER_LEN, FRAME_ALIGN, FRAME_FIXED_LEN, FRAME_MAGIC, FRAMES_AT, FileHeader, FrameHead,
    HEADER_COPY_AT, NoHeader,
};
use std::ops::Range;
use std::sync::Arc;
use timberlog_disk::{File, checksum};
use timberlog_types::{Error, Result, Seq};

/// Read at once, unless a frame is longer.
const WINDOW_BYTES: usize = 1 << 20;

/// A window that moves forward over a file.
pub(super) struct Window {
    file: Arc<dyn File>,
    name: String,
    len: u64,
    bytes: Vec<u8>,
    start: u64,
}

impl Window {
    pub(super) fn new(file: Arc<dyn File>, name: &str) -> Result<Self> {
        let len = file.len().map_err(|error| Error::io(format_args!("WAL file `{name}`: length"), &error))?;
        Ok(Self { file, name: name.to_owned(), len, bytes: Vec::new(), start: 0 })
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes of the file; `None` if it ends before.
    fn get(&mut self, offset: u64, len: usize) -> Result<Option<&[u8]>> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        if !self.holds(offset, len) {
            self.fill(offset, len)?;
        }
        let at = (offset - self.start) as usize;
        Ok(self.bytes.get(at..at + len))
    }

    fn holds(&self, offset: u64, len: usize) -> bool {
        offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64
    }

    /// Moves to `offset`, keeping what is there of it already.
    fn fill(&mut self, offset: u64, len: usize) -> Result<()> {
        let end = self.start + self.bytes.len() as u64;
        let kept = if offset >= self.start && offset < end {
            self.bytes.drain(..(offset - self.start) as usize);
            self.bytes.len()
        } else {
            self.bytes.clear();
            0
        };
        self.start = offset;
        // Both are within the file, whose frames have a limit.
        let wanted = (len.max(WINDOW_BYTES) as u64).min(self.len - offset) as usize;
        self.bytes.resize(wanted, 0);
        let read = self.file.read_exact_at(&mut self.bytes[kept..], offset + kept as u64);
        if let Err(error) = read {
            self.bytes.clear();
            return Err(Error::io(format_args!("WAL file `{}`: read at byte {offset}", self.name), &error));
        }
        Ok(())
    }
}

/// The header of a file: its copy if it is damaged itself.
pub(super) struct ReadHeader {
    pub(super) header: Result<FileHeader, NoHeader>,
    /// Where a damaged one stands.
    pub(super) damaged_at: Vec<u64>,
}

pub(super) fn read_header(window: &mut Window) -> Result<ReadHeader> {
    let mut found: Result<FileHeader, NoHeader> = Err(NoHeader::Damaged);
    let mut damaged_at = Vec::new();
    for at in [0, HEADER_COPY_AT] {
        let bytes = window.get(at, FILE_HEADER_LEN)?.and_then(|bytes| bytes.first_chunk());
        match bytes.map_or(Err(NoHeader::Damaged), FileHeader::decode) {
            Ok(header) => found = found.or(Ok(header)),
            Err(NoHeader::Newer(version)) => found = found.or(Err(NoHeader::Newer(version))),
            Err(NoHeader::Damaged) => damaged_at.push(at),
        }
    }
    Ok(ReadHeader { header: found, damaged_at })
}

/// A frame whose checksums are right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Located {
    pub(super) offset: u64,
    pub(super) head: FrameHead,
}

/// What stands at an offset.
enum At {
    Whole(FrameHead),
    /// The head is right, the payload is not.
    BadPayload(FrameHead),
    Bad,
}

/// What comes next in a file.
pub(super) enum Step {
    Frame(Located),
    /// Frames `first` to `last` should stand at `offset` and do not; a whole one follows.
    Gap {
        offset: u64,
        first: Seq,
        last: Seq,
        what: &'static str,
    },
    /// No whole frame with a number of `expected` or more stands at or behind `offset`.
    End {
        offset: u64,
        expected: Seq,
        what: &'static str,
    },
}

/// Walks over the frames of a file.
pub(super) struct Walk {
    window: Window,
    salt: u64,
    offset: u64,
    expected: Seq,
    /// Found behind a gap, to be given next.
    found: Option<Located>,
}

impl Walk {
    pub(super) fn new(window: Window, header: &FileHeader) -> Self {
        Self { window, salt: header.salt, offset: FRAMES_AT, expected: header.first_seq, found: None }
    }

    /// Begins at a frame in the middle of a file.
    pub(super) fn from_place(window: Window, salt: u64, offset: u64, expected: Seq) -> Self {
        Self { window, salt, offset, expected, found: None }
    }

    /// Where the next frame should stand, and its number.
    pub(super) fn position(&self) -> (u64, Seq) {
        (self.offset, self.expected)
    }

    pub(super) fn next(&mut self) -> Result<Step> {
        if let Some(located) = self.found.take() {
            return Ok(self.pass(located));
        }
        let offset = self.offset;
        let (mut from, what) = match self.at(offset)? {
            At::Whole(head) if head.seq == self.expected => return Ok(self.pass(Located { offset, head })),
            // Taken up again by the search, as what follows the gap.
            At::Whole(_) => (offset, "another batch stands where this one should"),
            At::BadPayload(head) => (offset + head.frame_len(), "payload checksum mismatch"),
            At::Bad => (offset + FRAME_ALIGN, "frame checksum mismatch"),
        };
        loop {
            let Some(candidate) = self.find_magic(from)? else {
                return Ok(Step::End { offset, expected: self.expected, what });
            };
            match self.at(candidate)? {
                At::Whole(head) if head.seq >= self.expected => {
                    let located = Located { offset: candidate, head };
                    if head.seq == self.expected {
                        return Ok(self.pass(located));
                    }
                    self.found = Some(located);
                    return Ok(Step::Gap { offset, first: self.expected, last: head.seq - 1, what });
                }
                At::BadPayload(head) => from = candidate + head.frame_len(),
                At::Whole(_) | At::Bad => from = candidate + FRAME_ALIGN,
            }
        }
    }

    /// A frame's bincode header and payload; it must be the one just given.
    pub(super) fn content(&mut self, located: &Located) -> Result<(&[u8], &[u8])> {
        let head_len = located.head.head_len();
        let len = head_len + located.head.payload_len as usize;
        let bytes = self.window.get(located.offset, len)?.unwrap_or_default();
        Ok((bytes.get(FRAME_FIXED_LEN..head_len).unwrap_or_default(), bytes.get(head_len..).unwrap_or_default()))
    }

    /// All bytes of a frame; it must be the one just given.
    pub(super) fn frame(&mut self, located: &Located) -> Result<&[u8]> {
        let len = usize::try_from(located.head.frame_len()).unwrap_or(usize::MAX);
        Ok(self.window.get(located.offset, len)?.unwrap_or_default())
    }

    /// Whether half a frame stands here. (Half a head looks like anything else.)
    pub(super) fn is_frame_torn_at(&mut self, offset: u64) -> Result<bool> {
        Ok(matches!(self.at(offset)?, At::BadPayload(_)))
    }

    fn pass(&mut self, located: Located) -> Step {
        self.offset = located.offset + located.head.frame_len();
        self.expected = located.head.seq.saturating_add(1);
        Step::Frame(located)
    }

    fn at(&mut self, offset: u64) -> Result<At> {
        let fixed = self.window.get(offset, FRAME_FIXED_LEN)?.and_then(|bytes| bytes.first_chunk());
        let Some(claimed) = fixed.and_then(Claimed::parse) else { return Ok(At::Bad) };
        let salt = self.salt;
        let Some(head_bytes) = self.window.get(offset, claimed.head_len())? else { return Ok(At::Bad) };
        let Some(head) = claimed.check(salt, head_bytes)? else { return Ok(At::Bad) };
        let body = self.window.get(offset + head.head_len() as u64, head.body_len())?;
        Ok(match body {
            Some(body) if checksum::is_right(head.payload_crc, crc32c::crc32c(body)) => At::Whole(head),
            _ => At::BadPayload(head),
        })
    }

    /// The next place at or behind `from` that begins like a frame.
    fn find_magic(&mut self, from: u64) -> Result<Option<u64>> {
        let step = FRAME_ALIGN as usize;
        let mut at = from;
        loop {
            let left = self.window.len().saturating_sub(at).min(WINDOW_BYTES as u64) as usize;
            let Some(bytes) = self.window.get(at, left - left % step)?.filter(|bytes| !bytes.is_empty()) else {
                return Ok(None);
            };
            if let Some(index) = bytes.chunks_exact(step).position(|bytes| bytes.starts_with(&FRAME_MAGIC)) {
                return Ok(Some(at + (index * step) as u64));
            }
            at += bytes.len() as u64;
        }
    }
}

/// The bytes of a frame within its file.
pub(super) fn extent(located: &Located) -> Range<u64> {
    located.offset..located.offset + located.head.frame_len()
}
