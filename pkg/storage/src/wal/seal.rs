//! Sealing the end of a WAL: the frames behind a root, copied into one WAL file that stands by
//! itself, for a backup. Reads the folder only; the writer may go on meanwhile.

use super::files;
use super::format::{
    self, FILE_HEADER_LEN, FILE_UNIT, FRAMES_AT, FileHeader, FrameHead, HEADER_COPY_AT, decode_header, encode_head,
};
use super::recover;
use super::replay::{self, Content, Event};
use super::scan::{Step, Walk, Window, read_header};
use super::types::Frame;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::{Disk, File};
use timberlog_types::{Error, Result, Seq};

/// The most bytes of a sealed end: it is held in memory. The buffer, which holds the same records,
/// is smaller by default.
pub const SEALED_BYTES_MAX: usize = 256 << 20;

/// Frames without a gap, as one WAL file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The number of the first frame.
    pub first_seq: Seq,
    /// The number of the last frame.
    pub last_seq: Seq,
    /// The file.
    pub bytes: Vec<u8>,
}

/// The frames behind `flushed_seq`, up to `until` or to the end; `None` if there are none.
///
/// # Errors
/// `Corrupt` if a frame is damaged or missing, `Invalid` if they are too long or of another
/// database.
pub fn seal(
    disk: &dyn Disk,
    dir: &Path,
    database_id: &str,
    flushed_seq: Seq,
    until: Option<Seq>,
    salt: u64,
) -> Result<Option<Sealed>> {
    let id = u128::from_str_radix(database_id, 16).map_err(|_| Error::corrupt("the database id is no number"))?;
    let id = id.to_be_bytes();
    let listing = files::list(disk, dir)?;
    let plan = replay::plan(disk, dir, &listing, Some(id), flushed_seq)?;
    let until = until.unwrap_or(plan.end_seq.saturating_sub(1));
    let first_seq = flushed_seq.saturating_add(1);
    if until < first_seq {
        return Ok(None);
    }
    if let Some(damage) = replay::missing_before(&plan.files, flushed_seq) {
        return Err(Error::corrupt(damage.to_string()));
    }
    let mut bytes = vec![0; FRAMES_AT as usize];
    let mut next = first_seq;
    for file in plan.files.iter().filter(|file| file.end_seq > first_seq && file.first_seq <= until) {
        replay::read(disk, dir, file, flushed_seq, &mut |event| match event {
            Event::Damage(damage) if damage.lost.is_none_or(|(first, _)| first > until) => Ok(()),
            Event::Damage(damage) => Err(Error::corrupt(damage.to_string())),
            Event::Frame(content) if content.located.head.seq == next && next <= until => {
                next += 1;
                append(&mut bytes, salt, &content)
            }
            Event::Frame(_) => Ok(()),
        })?;
    }
    if next <= until {
        return Err(Error::corrupt(format!("the WAL ends with batch {}, expected up to {until}", next - 1)));
    }
    let len = bytes.len().next_multiple_of(FILE_UNIT as usize);
    bytes.resize(len, 0);
    let len_units = u32::try_from(len as u64 / FILE_UNIT).map_err(|_| too_long())?;
    let header = FileHeader { database_id: id, first_seq, salt, commit_time: i64::MIN, len_units }.encode();
    for at in [0, HEADER_COPY_AT as usize] {
        if let Some(place) = bytes.get_mut(at..at + FILE_HEADER_LEN) {
            place.copy_from_slice(&header);
        }
    }
    Ok(Some(Sealed { first_seq, last_seq: until, bytes }))
}

/// The commit time of the last frame, in a folder or before it; `i64::MIN` if the folder does not say.
///
/// # Errors
/// `Invalid` if it is of another database; I/O errors.
pub fn last_commit_time(disk: &dyn Disk, dir: &Path, database_id: &str, flushed_seq: Seq) -> Result<i64> {
    let id = u128::from_str_radix(database_id, 16).map_err(|_| Error::corrupt("the database id is no number"))?;
    let listing = files::list(disk, dir)?;
    Ok(replay::plan(disk, dir, &listing, Some(id.to_be_bytes()), flushed_seq)?.commit_time)
}

fn too_long() -> Error {
    Error::invalid(format!(
        "the WAL holds more than {SEALED_BYTES_MAX} bytes that are in no segment: start a server on the directory, \
         which flushes them, and back up then"
    ))
}

/// Writes a frame under the salt of the sealed file.
fn append(out: &mut Vec<u8>, salt: u64, content: &Content<'_>) -> Result<()> {
    let Content { located, tenant, producer, payload } = content;
    if out.len() + located.head.frame_len() as usize > SEALED_BYTES_MAX {
        return Err(too_long());
    }
    let payload_crc = format::payload_crc(tenant, producer.as_ref(), payload);
    // What stands before it was written with it, and is under the checksum of the whole file.
    let head = FrameHead { payload_crc, synced_seq: located.head.seq.saturating_sub(1), ..located.head };
    encode_head(out, salt, head, tenant, producer.as_ref());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(format::FRAME_ALIGN as usize), 0);
    Ok(())
}

/// Reads a sealed file: every frame from `first_seq` to `last_seq`, in order.
///
/// # Errors
/// `Corrupt` if a frame is missing or damaged, and what `found` answers.
pub fn read_sealed(
    file: Arc<dyn File>,
    database_id: &str,
    (first_seq, last_seq): (Seq, Seq),
    found: &mut dyn FnMut(Frame) -> Result<()>,
) -> Result<()> {
    let mut window = Window::new(file, "sealed")?;
    let header = read_header(&mut window)?.header;
    let header = header.map_err(|_| Error::corrupt("the header of the sealed WAL cannot be read"))?;
    let is_right = u128::from_be_bytes(header.database_id) == u128::from_str_radix(database_id, 16).unwrap_or(0);
    if !is_right || header.first_seq != first_seq || window.len() < header.len() {
        return Err(Error::corrupt("the sealed WAL is not the one of this backup"));
    }
    let mut walk = Walk::new(window, &header);
    for seq in first_seq..=last_seq {
        let damaged = |what: &str| Error::corrupt(format!("batch {seq} of the sealed WAL: {what}"));
        let located = match walk.next()? {
            Step::Frame(located) if located.head.seq == seq => located,
            _ => return Err(damaged("damaged or missing")),
        };
        let (header, payload) = walk.content(&located)?;
        let (tenant, producer) = decode_header(header).ok_or_else(|| damaged("its header cannot be decoded"))?;
        let frame = recover::decode(Content { located, tenant, producer, payload }).map_err(|what| damaged(&what))?;
        found(frame)?;
    }
    Ok(())
}
