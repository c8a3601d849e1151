//! Reads frames of a WAL folder by their numbers while the writer goes on: for the archive.
//!
//! A reader remembers where it ended, so that it reads each byte about once. Frames leave it as they
//! stand, whatever their kind; only their first checksum is made anew, under the salt 0, so that
//! frames of several files stand behind each other. It reads only, and only what is synced: what
//! stands behind the last synced frame is anybody's guess.

use super::files;
use super::format::{FRAMES_AT, resalt};
use super::recover;
use super::replay::Content;
use super::scan::{Located, Step, Walk, Window, read_header};
use super::types::Frame;
use crate::wal::format::decode_header;
use std::path::PathBuf;
use std::sync::Arc;
use timberlog_disk::{Disk, File, Open};
use timberlog_types::{Error, ErrorKind, Result, Seq};

/// Frames without a gap, one behind the other, as they are archived.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// The number of the first frame.
    pub first_seq: Seq,
    /// The number of the last frame.
    pub last_seq: Seq,
    /// When the last frame was committed, in ns.
    pub commit_time: i64,
    /// The frames.
    pub bytes: Vec<u8>,
}

/// Where a reader ended.
struct Place {
    first_seq: Seq,
    salt: u64,
    next: Seq,
    offset: u64,
}

/// A reader of one folder.
pub struct Reader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    database_id: [u8; 16],
    place: Option<Place>,
}

impl Reader {
    /// Reads the folder of a database.
    ///
    /// # Errors
    /// `Invalid` if the id is none.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, database_id: &str) -> Result<Self> {
        let id = u128::from_str_radix(database_id, 16).map_err(|_| Error::invalid("the database id is no number"))?;
        Ok(Self { disk, dir, database_id: id.to_be_bytes(), place: None })
    }

    /// The frames from `next` to `until`, which are synced: as many as `bytes_max` takes, at least one.
    ///
    /// # Errors
    /// `Corrupt` if a frame is damaged or gone; I/O errors.
    pub fn read(&mut self, next: Seq, until: Seq, bytes_max: usize) -> Result<Run> {
        let mut run = Run { first_seq: next, last_seq: next.saturating_sub(1), ..Run::default() };
        let files = files::list(&*self.disk, &self.dir)?.files;
        let mut begin = files.partition_point(|(first_seq, _)| *first_seq <= next);
        let gone = |seq: Seq| Error::corrupt(format!("batch {seq} is not in the WAL any more"));
        begin = begin.checked_sub(1).ok_or_else(|| gone(next))?;
        for (index, (first_seq, name)) in files.iter().enumerate().skip(begin) {
            // What stands behind the first number of the next file does not count.
            let end = files.get(index + 1).map_or(Seq::MAX, |(next, _)| *next);
            let is_full = self.read_file(*first_seq, name, end, until, bytes_max, &mut run)?;
            if is_full || run.last_seq >= until {
                return Ok(run);
            }
            if run.last_seq.saturating_add(1) != end {
                break;
            }
        }
        Err(gone(run.last_seq.saturating_add(1)))
    }

    /// Adds frames of one file; returns whether the run is full.
    fn read_file(
        &mut self,
        first_seq: Seq,
        name: &str,
        end: Seq,
        until: Seq,
        bytes_max: usize,
        run: &mut Run,
    ) -> Result<bool> {
        let damaged = |seq: Seq| Error::corrupt(format!("batch {seq} in WAL file `{name}` is damaged"));
        let opened = self.disk.open(&self.dir.join(name), Open::Read);
        let opened = opened.map_err(|error| Error::io(format_args!("open WAL file `{name}`"), &error))?;
        let mut window = Window::new(opened, name)?;
        let header = read_header(&mut window)?.header.map_err(|_| damaged(first_seq))?;
        if header.database_id != self.database_id || header.first_seq != first_seq {
            return Err(damaged(first_seq));
        }
        let wanted = run.last_seq.saturating_add(1);
        let is_place =
            |place: &Place| place.first_seq == first_seq && place.salt == header.salt && place.next == wanted;
        let mut walk = match self.place.take().filter(is_place) {
            Some(place) => Walk::from_place(window, header.salt, place.offset, place.next),
            None => Walk::new(window, &header),
        };
        while run.last_seq < until && run.last_seq.saturating_add(1) < end {
            let wanted = run.last_seq.saturating_add(1);
            let located = match walk.next()? {
                Step::Frame(located) if located.head.seq == wanted => located,
                Step::Frame(located) if located.head.seq < wanted => continue,
                Step::Gap { last, .. } if last < wanted => continue,
                _ => return Err(damaged(wanted)),
            };
            let len = usize::try_from(located.head.frame_len()).unwrap_or(usize::MAX);
            if !run.bytes.is_empty() && run.bytes.len().saturating_add(len) > bytes_max {
                self.place = Some(Place { first_seq, salt: header.salt, next: wanted, offset: located.offset });
                return Ok(true);
            }
            let begin = run.bytes.len();
            run.bytes.extend_from_slice(walk.frame(&located)?);
            resalt(run.bytes.get_mut(begin..).unwrap_or_default(), 0, located.head.head_len());
            run.last_seq = wanted;
            run.commit_time = located.head.commit_time;
        }
        let (offset, next) = walk.position();
        self.place = Some(Place { first_seq, salt: header.salt, next, offset });
        Ok(false)
    }
}

/// The bytes of the files that hold frames above `archived_seq`, the rest of those files included.
pub fn waiting_bytes(disk: &dyn Disk, dir: &std::path::Path, archived_seq: Seq, last_seq: Seq) -> Result<u64> {
    if last_seq <= archived_seq {
        return Ok(0);
    }
    let files = files::list(disk, dir)?.files;
    let held = files.partition_point(|(first_seq, _)| *first_seq <= archived_seq.saturating_add(1));
    let mut bytes: u64 = 0;
    for (_, name) in files.iter().skip(held.saturating_sub(1)) {
        let len = disk.open(&dir.join(name), Open::Read).and_then(|file| file.len());
        let len = len.map_err(|error| Error::io(format_args!("WAL file `{name}`: length"), &error))?;
        bytes = bytes.saturating_add(len.saturating_sub(FRAMES_AT));
    }
    Ok(bytes)
}

/// Gives the frames of a run in order: each from `first_seq` to `last_seq`, and nothing else.
///
/// # Errors
/// `Corrupt` if that is not what it holds, and what `found` answers.
pub fn read_run(
    file: Arc<dyn File>,
    (first_seq, last_seq): (Seq, Seq),
    found: &mut dyn FnMut(Frame) -> Result<()>,
) -> Result<()> {
    let window = Window::new(file, "archived")?;
    let len = window.len();
    let mut walk = Walk::from_place(window, 0, 0, first_seq);
    for seq in first_seq..=last_seq {
        let damaged = |what: &str| Error::corrupt(format!("archived batch {seq}: {what}"));
        let located: Located = match walk.next()? {
            Step::Frame(located) if located.head.seq == seq => located,
            _ => return Err(damaged("damaged or missing")),
        };
        let (header, payload) = walk.content(&located)?;
        let (tenant, producer) = decode_header(header).ok_or_else(|| damaged("its header cannot be decoded"))?;
        let frame = recover::decode(Content { located, tenant, producer, payload }).map_err(|what| damaged(&what))?;
        found(frame)?;
    }
    if walk.position().0 != len {
        return Err(Error::new(ErrorKind::Corrupt, "bytes behind the last archived batch"));
    }
    Ok(())
}
