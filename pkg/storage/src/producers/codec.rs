//! The producers file, version 1 (`manifest-spec.md`, "Producers"). Little-endian.
//!
//! | at | content |
//! |---|---|
//! | 0 | 8 bytes magic `F5 "TLPRD" 0D 0A` |
//! | 8 | u16 version, u16 zero, u32 number of producers |
//! | 16 | u64 bytes of all producers |
//! | 24 | producers, those quiet longest first |
//! | end − 4 | u32 CRC32C of everything before |
//!
//! A producer: u16 length, tenant; u16 length, name; u64 floor, u64 first sequence number, u64
//! newest sequence number, i64 newest commit time; u16 number of results; results by number,
//! ascending. A result: u64 number, u64 sequence number, i64 commit time, u32 accepted, u16 length,
//! refused.

use super::table::{Key, Known, Producers};
use super::{ProducerBatch, RESULTS_MAX, Stored};
use timberlog_disk::checksum::is_right;
use timberlog_types::{Error, Result, Seq, Tenant};

/// The version that is written, and the newest one that is read.
pub const PRODUCERS_VERSION: u16 = 1;
/// The longest file that is read.
pub const PRODUCERS_FILE_BYTES_MAX: u64 = 64 << 20;

const MAGIC: [u8; 8] = *b"\xF5TLPRD\r\n";
const HEADER_LEN: usize = 24;

impl<W> Producers<W> {
    /// The bytes of the file that a root with this `flushed_seq` names: batches behind it are left
    /// out, replay brings them back.
    pub fn encode(&self, flushed_seq: Seq) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        let mut count = 0_u32;
        self.for_each(&mut |key, known| {
            if known.first_seq <= flushed_seq {
                put_producer(&mut bytes, key, known, flushed_seq);
                count += 1;
            }
        });
        let body_len = (bytes.len() - HEADER_LEN) as u64;
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&PRODUCERS_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&count.to_le_bytes());
        bytes[16..24].copy_from_slice(&body_len.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the file.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are damaged, `Invalid` if a newer version wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let damaged = || Error::corrupt("producers file: checksum or layout mismatch");
        let (covered, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if !covered.starts_with(&MAGIC) || !is_right(u32::from_le_bytes(*crc), crc32c::crc32c(covered)) {
            return Err(damaged());
        }
        let mut reader = Reader(covered.get(MAGIC.len()..).ok_or_else(damaged)?);
        let version = reader.u16().ok_or_else(damaged)?;
        if version != PRODUCERS_VERSION {
            return Err(Error::invalid(format!(
                "producers file has version {version}, this TimberLog knows {PRODUCERS_VERSION}: use a newer one"
            )));
        }
        let producers = Self::default();
        reader.all(&mut |key, known| producers.restore(key, known)).ok_or_else(damaged)?;
        Ok(producers)
    }
}

fn put_producer(out: &mut Vec<u8>, (tenant, name): &Key, known: &Known, flushed_seq: Seq) {
    put_bytes(out, tenant.as_str().as_bytes());
    put_bytes(out, name.as_bytes());
    out.extend_from_slice(&known.floor.to_le_bytes());
    out.extend_from_slice(&known.first_seq.to_le_bytes());
    out.extend_from_slice(&known.newest_seq.min(flushed_seq).to_le_bytes());
    out.extend_from_slice(&known.newest_time.to_le_bytes());
    let results = || known.results.iter().filter(|(_, stored)| stored.seq <= flushed_seq);
    // At most `RESULTS_MAX`, and each length below is checked when it comes in.
    out.extend_from_slice(&(results().count() as u16).to_le_bytes());
    for (number, stored) in results() {
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&stored.seq.to_le_bytes());
        out.extend_from_slice(&stored.commit_time.to_le_bytes());
        out.extend_from_slice(&stored.accepted.to_le_bytes());
        put_bytes(out, &stored.refused);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Walks over bytes whose checksum is right; `None` where the layout is not.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn all(&mut self, found: &mut dyn FnMut(Key, Known)) -> Option<()> {
        self.u16()?;
        let count = self.u32()?;
        let len = self.u64()?;
        if usize::try_from(len).ok()? != self.0.len() {
            return None;
        }
        for _ in 0..count {
            let (key, known) = self.producer()?;
            found(key, known);
        }
        self.0.is_empty().then_some(())
    }

    fn producer(&mut self) -> Option<(Key, Known)> {
        let tenant = Tenant::new(self.text()?).ok()?;
        let name = ProducerBatch::new(self.text()?, 0).ok()?.producer;
        let mut known = Known {
            floor: self.u64()?,
            first_seq: self.u64()?,
            newest_seq: self.u64()?,
            newest_time: self.u64()?.cast_signed(),
            results: Default::default(),
        };
        let count = usize::from(self.u16()?);
        if count > RESULTS_MAX || known.first_seq == 0 {
            return None;
        }
        for _ in 0..count {
            let number = self.u64()?;
            if known.results.back().is_some_and(|(last, _)| *last >= number) {
                return None;
            }
            let stored = Stored {
                seq: self.u64()?,
                commit_time: self.u64()?.cast_signed(),
                accepted: self.u32()?,
                refused: self.bytes()?.to_vec(),
            };
            known.results.push_back((number, stored));
        }
        Some(((tenant, name.into()), known))
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}
