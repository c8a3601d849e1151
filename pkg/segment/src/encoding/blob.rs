//! Bytes, compressed where that shrinks them.
//!
//! | bytes | content |
//! |---|---|
//! | varint | length before compression, times two, plus 1 if compressed |
//! | varint, only if compressed | length in the file |
//! | n | the bytes, or one zstd frame |

use super::Input;
use super::input::put_varint;
use crate::error::SegmentError;
use std::cell::RefCell;

/// Below this, zstd's own header eats what it gains.
const COMPRESS_BYTES_MIN: usize = 48;

/// Compresses at one level; keeps its context and buffer.
pub(crate) struct Compressor {
    zstd: Option<zstd::bulk::Compressor<'static>>,
    out: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new(level: i32) -> Self {
        // Without a context (no memory) everything is stored as it is.
        Self { zstd: zstd::bulk::Compressor::new(level).ok(), out: Vec::new() }
    }

    /// The bytes as a zstd frame, if that is shorter.
    pub(crate) fn compress(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        if bytes.len() < COMPRESS_BYTES_MIN {
            return None;
        }
        let bound = zstd::zstd_safe::compress_bound(bytes.len());
        if self.out.len() < bound {
            self.out.resize(bound, 0);
        }
        let len = self.zstd.as_mut()?.compress_to_buffer(bytes, self.out.as_mut_slice()).ok()?;
        if len < bytes.len() { self.out.get(..len) } else { None }
    }
}

/// Decompresses a whole frame of a known length, which the caller has compared with a limit.
pub(crate) fn decompress(frame: &[u8], len: usize) -> Result<Vec<u8>, SegmentError> {
    thread_local! {
        static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    let bytes = ZSTD.with_borrow_mut(|zstd| {
        if zstd.is_none() {
            *zstd = zstd::bulk::Decompressor::new().ok();
        }
        zstd.as_mut().and_then(|zstd| zstd.decompress(frame, len).ok())
    });
    bytes.filter(|bytes| bytes.len() == len).ok_or(SegmentError::corrupt("compressed bytes are damaged"))
}

pub(crate) fn encode(bytes: &[u8], compressor: &mut Compressor, out: &mut Vec<u8>) {
    let len = (bytes.len() as u64) << 1;
    match compressor.compress(bytes) {
        Some(frame) => {
            put_varint(out, len | 1);
            put_varint(out, frame.len() as u64);
            out.extend_from_slice(frame);
        }
        None => {
            put_varint(out, len);
            out.extend_from_slice(bytes);
        }
    }
}

pub(crate) fn decode(input: &mut Input<'_>, len_max: usize) -> Result<Vec<u8>, SegmentError> {
    let head = input.varint()?;
    let len = usize::try_from(head >> 1)
        .ok()
        .filter(|&len| len <= len_max)
        .ok_or(SegmentError::corrupt("length is above its limit"))?;
    if head & 1 == 0 {
        return Ok(input.take(len)?.to_vec());
    }
    let stored = input.count(input.len())?;
    decompress(input.take(stored)?, len)
}
