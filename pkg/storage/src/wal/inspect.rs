//! The files of a WAL, looked at without opening a database: for `inspect` and `verify`.

use super::files;
use super::format::KIND_DELETE;
use super::meta::{self, META_NAME};
use super::recover;
use super::replay::{self, Content, Event};
use super::types::{Damage, TornTail};
use std::path::Path;
use timberlog_disk::Disk;
use timberlog_types::{Result, Seq, Tenant};

/// A frame, without its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameInfo {
    /// The file's name within the folder.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Bytes in the file, headers and padding included.
    pub bytes: u64,
    /// The batch's number.
    pub seq: Seq,
    /// When it was committed, in ns.
    pub commit_time: i64,
    /// The highest number known to be on disk when it was written.
    pub synced_seq: Seq,
    /// Whose records these are.
    pub tenant: Tenant,
    /// Whether it is a delete, or the cancellation of one, and not a batch.
    pub is_delete: bool,
    /// Records.
    pub rows: u32,
    /// The producer's name and number.
    pub producer: Option<(String, u64)>,
}

/// Something found in the files, in order of sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inspected {
    /// A file begins.
    File {
        /// Its name within the folder.
        name: String,
        /// Its length in bytes.
        bytes: u64,
        /// The number of its first frame.
        first_seq: Seq,
    },
    /// A frame whose checksums are right.
    Frame(FrameInfo),
    /// Damage.
    Damage(Damage),
    /// The end of the log after a crash; not damage.
    TornTail(TornTail),
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Files.
    pub files: usize,
    /// Whole frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records in them.
    pub rows: u64,
    /// Damage, that of files set aside included.
    pub damages: Vec<Damage>,
    /// The end of the log after a crash; not damage.
    pub torn_tail: Option<TornTail>,
}

/// Tells what is in a WAL folder: reads only, and every checksum is checked. Frames up to
/// `flushed_seq` may be gone, as truncation removes their files; `None` if the manifest is unknown.
///
/// # Errors
/// I/O errors, `Invalid` for a newer format, and what `found` answers. Damage is no error.
pub fn inspect(
    disk: &dyn Disk,
    dir: &Path,
    flushed_seq: Option<Seq>,
    found: &mut dyn FnMut(Inspected) -> Result<()>,
) -> Result<()> {
    walk(disk, dir, flushed_seq, &mut |seen| match seen {
        Seen::Other(inspected) => found(inspected),
        Seen::Frame(info, _) => found(Inspected::Frame(info)),
    })
}

/// Checks every frame of a WAL folder, the layout of its records included.
///
/// # Errors
/// I/O errors, and `Invalid` for a newer format. Damage is no error.
pub fn verify(disk: &dyn Disk, dir: &Path, flushed_seq: Option<Seq>) -> Result<Verification> {
    let mut verification = Verification::default();
    walk(disk, dir, flushed_seq, &mut |seen| {
        match seen {
            Seen::Other(Inspected::File { .. }) => verification.files += 1,
            Seen::Other(Inspected::Damage(damage)) => verification.damages.push(damage),
            Seen::Other(Inspected::TornTail(tail)) => verification.torn_tail = Some(tail),
            Seen::Other(Inspected::Frame(_)) => {}
            Seen::Frame(info, content) => {
                verification.bytes += info.bytes;
                match recover::decode(content) {
                    Ok(frame) => {
                        verification.frames += 1;
                        verification.rows += frame.body.rows() as u64;
                    }
                    Err(what) => {
                        let FrameInfo { file, offset, seq, .. } = info;
                        verification.damages.push(Damage { file, offset, lost: Some((seq, seq)), what });
                    }
                }
            }
        }
        Ok(())
    })?;
    Ok(verification)
}

enum Seen<'a> {
    Frame(FrameInfo, Content<'a>),
    Other(Inspected),
}

fn walk(
    disk: &dyn Disk,
    dir: &Path,
    flushed_seq: Option<Seq>,
    found: &mut dyn FnMut(Seen<'_>) -> Result<()>,
) -> Result<()> {
    let mut damage = |damage| found(Seen::Other(Inspected::Damage(damage)));
    let meta = meta::read(disk, dir)?;
    if meta == meta::Read::Damaged {
        let what = "checksum mismatch".to_owned();
        damage(Damage { file: META_NAME.to_owned(), offset: 0, lost: None, what })?;
    }
    let listing = files::list(disk, dir)?;
    for file in &listing.damaged {
        let what = "an earlier start found damage and set the file aside".to_owned();
        damage(Damage { file: file.clone(), offset: 0, lost: None, what })?;
    }
    let first_seq = listing.files.first().map_or(1, |(first_seq, _)| *first_seq);
    let is_flush_known = flushed_seq.is_some();
    let flushed_seq = flushed_seq.unwrap_or(first_seq.saturating_sub(1));
    let plan = replay::plan(disk, dir, &listing, None, flushed_seq)?;
    if let Some(missing) = replay::missing_before(&plan.files, flushed_seq) {
        damage(missing)?;
    }
    if let Some(missing) = replay::missing_newest(&listing, meta, &plan).filter(|_| is_flush_known) {
        damage(missing)?;
    }
    for file in &plan.files {
        let (name, first_seq) = (file.name.clone(), file.first_seq);
        found(Seen::Other(Inspected::File { name, bytes: file.len, first_seq }))?;
        replay::read(disk, dir, file, flushed_seq, &mut |event| match event {
            Event::Damage(damage) => found(Seen::Other(Inspected::Damage(damage))),
            Event::Frame(content) => found(Seen::Frame(info(&file.name, &content), content)),
        })?;
    }
    plan.torn_tail.map_or(Ok(()), |tail| found(Seen::Other(Inspected::TornTail(tail))))
}

fn info(file: &str, content: &Content<'_>) -> FrameInfo {
    let head = content.located.head;
    FrameInfo {
        file: file.to_owned(),
        offset: content.located.offset,
        bytes: head.frame_len(),
        seq: head.seq,
        commit_time: head.commit_time,
        synced_seq: head.synced_seq,
        tenant: content.tenant.clone(),
        is_delete: head.kind == KIND_DELETE,
        rows: head.rows,
        producer: content.producer.as_ref().map(|batch| (batch.producer.clone(), batch.number)),
    }
}
