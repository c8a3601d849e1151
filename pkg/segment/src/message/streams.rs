//! Streams: the payload as a directory of byte streams, each stored or compressed by itself.
//!
//! Owns the outermost layer of the format and every limit on sizes. Nothing is allocated for a
//! stream before its length was held against [`STREAM_BYTES_MAX`] and against what its compressed
//! bytes could possibly hold.

use super::MessageError;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::OnceLock;

/// The version of the payload's format.
pub(super) const VERSION: u8 = 1;

/// The streams by their place in the directory.
pub(super) const TEMPLATES: usize = 0;
pub(super) const IDS: usize = 1;
pub(super) const HIGH_IDS: usize = 2;
/// The plane whose bytes have `n` significant bits is stream `PLANES + n - 1`.
pub(super) const PLANES: usize = 3;
pub(super) const FULL_PLANE: usize = PLANES + 7;
pub(super) const STRINGS: usize = 11;
pub(super) const LENGTHS: usize = 12;
pub(super) const RARE: usize = 13;
pub(super) const RARE_LENGTHS: usize = 14;
pub(super) const STATICS: usize = 15;
pub(super) const COUNT: usize = 16;

/// The most bytes a stream may decompress to: more than a block of one record of the largest batch.
const STREAM_BYTES_MAX: usize = 512 << 20;
/// A zstd block of 4 bytes stands for at most 128 KiB.
const EXPANSION_MAX: usize = 32 << 10;
/// Shorter streams gain nothing from a frame.
const COMPRESS_MIN: usize = 32;

/// Streams on their way into a payload.
pub(super) struct StreamWriter {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    level: i32,
    frame: Vec<u8>,
    body: Vec<u8>,
}

impl StreamWriter {
    pub(super) fn new(level: i32) -> Self {
        Self { compressor: None, level, frame: Vec::new(), body: Vec::new() }
    }

    /// Appends a payload of these streams to `out`.
    pub(super) fn write(&mut self, streams: &[Vec<u8>; COUNT], out: &mut Vec<u8>) {
        self.body.clear();
        out.push(VERSION);
        for stream in streams {
            let before = self.body.len();
            if !self.compress(stream) {
                self.body.extend_from_slice(stream);
            }
            put_varint(out, stream.len() as u64);
            put_varint(out, (self.body.len() - before) as u64);
        }
        out.extend_from_slice(&self.body);
    }

    /// The length `bytes` would have in a frame of their own.
    pub(super) fn compressed_len(&mut self, bytes: &[u8]) -> usize {
        let before = self.body.len();
        let len = if self.compress(bytes) { self.body.len() - before } else { bytes.len() };
        self.body.truncate(before);
        len
    }

    /// Gives memory back that an unusually large block has taken.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.frame.clear();
        self.frame.shrink_to(bytes_max);
        self.body.clear();
        self.body.shrink_to(bytes_max);
    }

    /// Appends `bytes` compressed, unless that does not make them shorter.
    fn compress(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() < COMPRESS_MIN {
            return false;
        }
        if self.compressor.is_none() {
            // A level out of range or no memory: streams are stored, which is as correct.
            self.compressor = zstd::bulk::Compressor::new(self.level).ok();
            if let Some(compressor) = &mut self.compressor {
                let _ = compressor.set_parameter(zstd::zstd_safe::CParameter::ContentSizeFlag(false));
            }
        }
        let Some(compressor) = &mut self.compressor else { return false };
        self.frame.clear();
        self.frame.reserve(zstd::zstd_safe::compress_bound(bytes.len()));
        let fits = matches!(compressor.compress_to_buffer(bytes, &mut self.frame), Ok(len) if len < bytes.len());
        if fits {
            self.body.extend_from_slice(&self.frame);
        }
        fits
    }
}

/// The streams of a payload; each is decompressed when it is first asked for, and kept.
pub(super) struct Streams {
    payload: Vec<u8>,
    directory: [Entry; COUNT],
    open: [OnceLock<Box<[u8]>>; COUNT],
}

#[derive(Clone, Default)]
struct Entry {
    raw: usize,
    stored: Range<usize>,
}

impl Streams {
    pub(super) fn open(payload: Vec<u8>) -> Result<Self, MessageError> {
        let mut bytes = Bytes(&payload);
        if bytes.u8()? != VERSION {
            return Err(MessageError("unknown version"));
        }
        let mut directory: [Entry; COUNT] = Default::default();
        let mut end = 0_usize;
        for entry in &mut directory {
            entry.raw = bytes.length(STREAM_BYTES_MAX)?;
            let stored = bytes.length(entry.raw)?;
            if entry.raw > stored.saturating_mul(EXPANSION_MAX) {
                return Err(MessageError("stream longer than its frame can hold"));
            }
            entry.stored = end..end.saturating_add(stored);
            end = entry.stored.end;
        }
        if bytes.0.len() != end {
            return Err(MessageError("length of the streams"));
        }
        let base = payload.len() - end;
        for entry in &mut directory {
            entry.stored = entry.stored.start + base..entry.stored.end + base;
        }
        Ok(Self { payload, directory, open: Default::default() })
    }

    /// The length of a stream.
    pub(super) fn len(&self, stream: usize) -> usize {
        self.directory.get(stream).map_or(0, |entry| entry.raw)
    }

    /// Whether a stream was decompressed.
    #[cfg(test)]
    pub(super) fn is_open(&self, stream: usize) -> bool {
        self.open[stream].get().is_some()
    }

    /// Bytes of memory once every stream is decompressed.
    pub(super) fn memory_bytes(&self) -> usize {
        let streams = self.directory.iter().filter(|entry| entry.raw != entry.stored.len());
        self.payload.capacity() + streams.map(|entry| entry.raw).sum::<usize>() + size_of::<Self>()
    }

    /// Bytes of memory held now.
    pub(super) fn held_bytes(&self) -> usize {
        let open = self.open.iter().filter_map(OnceLock::get);
        self.payload.capacity() + open.map(|bytes| bytes.len()).sum::<usize>() + size_of::<Self>()
    }

    /// A stream's bytes.
    pub(super) fn get(&self, stream: usize) -> Result<&[u8], MessageError> {
        let (Some(entry), Some(open)) = (self.directory.get(stream), self.open.get(stream)) else {
            return Err(MessageError("no such stream"));
        };
        let stored = self.payload.get(entry.stored.clone()).ok_or(MessageError("length of the streams"))?;
        if stored.len() == entry.raw {
            return Ok(stored);
        }
        if let Some(bytes) = open.get() {
            return Ok(bytes);
        }
        let bytes = decompress(stored, entry.raw)?;
        Ok(open.get_or_init(|| bytes))
    }
}

fn decompress(frame: &[u8], len: usize) -> Result<Box<[u8]>, MessageError> {
    thread_local! {
        static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    const BROKEN: MessageError = MessageError("broken frame");
    DECOMPRESSOR.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Decompressor::new().ok();
        }
        let decompressor = slot.as_mut().ok_or(MessageError("no memory to decompress"))?;
        let mut bytes = Vec::with_capacity(len);
        let written = decompressor.decompress_to_buffer(frame, &mut bytes).map_err(|_| BROKEN)?;
        if written != len || bytes.len() != len { Err(BROKEN) } else { Ok(bytes.into_boxed_slice()) }
    })
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A walk over untrusted bytes.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

const SHORT: MessageError = MessageError("cut short");

impl<'a> Bytes<'a> {
    pub(super) fn u8(&mut self) -> Result<u8, MessageError> {
        let (&first, rest) = self.0.split_first().ok_or(SHORT)?;
        self.0 = rest;
        Ok(first)
    }

    pub(super) fn varint(&mut self) -> Result<u64, MessageError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(MessageError("number too large"))
    }

    /// A length that may not exceed `max`.
    pub(super) fn length(&mut self, max: usize) -> Result<usize, MessageError> {
        let value = self.varint()?;
        usize::try_from(value).ok().filter(|&len| len <= max).ok_or(MessageError("length out of range"))
    }
}
