//! What a WAL folder holds, as of the last crash: which frames count, which are damage, which are
//! a torn tail.
//!
//! The end of every file but the newest is known: the next one's first number. In the newest one a
//! bad frame above every `synced_seq` of the frames behind it is where the log ends; one at or
//! below is corruption. Reading is done in two passes: [`plan`] decides, [`read`] delivers.

use super::files::{self, Listing};
use super::format::{FileHeader, NoHeader, decode_header};
use super::meta::{self, META_NAME, Reach};
use super::scan::{Located, Step, Walk, Window, extent, read_header};
use super::types::{Damage, TornTail};
use crate::producers::ProducerBatch;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::Path;
use timberlog_disk::{Disk, Open};
use timberlog_types::{Error, Result, Seq, Tenant};

/// A file and the frames that count in it.
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) first_seq: Seq,
    /// The number behind the last frame that counts.
    pub(super) end_seq: Seq,
    /// Whether it is the last one.
    pub(super) is_newest: bool,
    pub(super) len: u64,
    /// `None` if it cannot be read.
    pub(super) header: Option<FileHeader>,
    /// Damage known before its frames are read.
    pub(super) damages: Vec<Damage>,
}

/// What counts in a folder.
pub(super) struct Plan {
    pub(super) files: Vec<Planned>,
    /// The number behind the last frame that counts.
    pub(super) end_seq: Seq,
    pub(super) torn_tail: Option<TornTail>,
    /// Bytes of the newest file whose frames nothing proves to be on disk.
    pub(super) unproven: Option<Range<u64>>,
    /// The commit time that the newest file knows of.
    pub(super) commit_time: i64,
}

/// Reads the headers, and the newest file whole.
pub(super) fn plan(
    disk: &dyn Disk,
    dir: &Path,
    listing: &Listing,
    database_id: Option<[u8; 16]>,
    flushed_seq: Seq,
) -> Result<Plan> {
    let mut files = Vec::with_capacity(listing.files.len());
    for (index, (first_seq, name)) in listing.files.iter().enumerate() {
        let next = listing.files.get(index + 1).map(|(next, _)| *next);
        let mut planned = Planned {
            name: name.clone(),
            first_seq: *first_seq,
            end_seq: next.unwrap_or(*first_seq),
            is_newest: next.is_none(),
            len: 0,
            header: None,
            damages: Vec::new(),
        };
        planned.read_header(disk, dir, database_id)?;
        files.push(planned);
    }
    let mut plan =
        Plan { files, end_seq: flushed_seq.saturating_add(1), torn_tail: None, unproven: None, commit_time: i64::MIN };
    if let Some(newest) = plan.files.last_mut() {
        let survey = survey(disk, dir, newest, flushed_seq)?;
        newest.end_seq = survey.end_seq;
        plan.end_seq = plan.end_seq.max(survey.end_seq);
        plan.torn_tail = survey.torn_tail;
        plan.unproven = survey.unproven;
        plan.commit_time = survey.commit_time;
    }
    Ok(plan)
}

impl Planned {
    fn open(&self, disk: &dyn Disk, dir: &Path) -> Result<Window> {
        let opened = disk.open(&dir.join(&self.name), Open::Read);
        Window::new(
            opened.map_err(|error| Error::io(format_args!("open WAL file `{}`", self.name), &error))?,
            &self.name,
        )
    }

    fn read_header(&mut self, disk: &dyn Disk, dir: &Path, database_id: Option<[u8; 16]>) -> Result<()> {
        let mut window = self.open(disk, dir)?;
        self.len = window.len();
        let read = read_header(&mut window)?;
        for at in read.damaged_at {
            self.damages.push(self.damage(at, None, "file header checksum mismatch"));
        }
        match read.header {
            Ok(header) if header.first_seq != self.first_seq => {
                let what = format!("its header says that it begins with batch {}", header.first_seq);
                self.damages.push(self.damage(0, None, what));
            }
            Ok(header) if database_id.is_some_and(|id| id != header.database_id) => {
                return Err(Error::invalid(format!("WAL file `{}` is of another database", self.name)));
            }
            Ok(header) => {
                let len = header.len();
                self.header = Some(header);
                if self.is_cut() {
                    // It was that long on disk before it had its name: no crash makes it shorter.
                    let what = format!(
                        "the file ends here, {len} bytes were reserved: it was cut off, and with it any batches that stood behind"
                    );
                    self.damages.push(self.damage(self.len, None, what));
                }
            }
            Err(NoHeader::Damaged) => {}
            Err(NoHeader::Newer(version)) => {
                return Err(Error::invalid(format!(
                    "WAL file `{}` has format version {version}, this TimberLog knows {}: use a newer one",
                    self.name,
                    super::VERSION
                )));
            }
        }
        Ok(())
    }

    /// Whether the file is shorter than it was made.
    pub(super) fn is_cut(&self) -> bool {
        self.header.as_ref().is_some_and(|header| self.len < header.len())
    }

    pub(super) fn damage(&self, offset: u64, lost: Option<(Seq, Seq)>, what: impl Into<String>) -> Damage {
        Damage { file: self.name.clone(), offset, lost, what: what.into() }
    }
}

struct Survey {
    end_seq: Seq,
    torn_tail: Option<TornTail>,
    unproven: Option<Range<u64>>,
    commit_time: i64,
}

/// Finds the end of the log in the newest file.
fn survey(disk: &dyn Disk, dir: &Path, file: &Planned, flushed_seq: Seq) -> Result<Survey> {
    let Some(header) = &file.header else {
        return Ok(Survey { end_seq: file.first_seq, torn_tail: None, unproven: None, commit_time: i64::MIN });
    };
    let mut walk = Walk::new(file.open(disk, dir)?, header);
    // Every frame before this file was synced before the file was made.
    let mut proven = flushed_seq.max(file.first_seq.saturating_sub(1));
    let mut gaps: Vec<(Seq, u64)> = Vec::new();
    let mut unproven: VecDeque<(Seq, Range<u64>, i64)> = VecDeque::new();
    let mut commit_time = header.commit_time;
    let (end_offset, end_expected) = loop {
        match walk.next()? {
            Step::Frame(located) => {
                let head = located.head;
                // A frame cannot prove itself.
                proven = proven.max(head.synced_seq.min(head.seq.saturating_sub(1)));
                unproven.push_back((head.seq, extent(&located), head.commit_time));
                while unproven.front().is_some_and(|(seq, _, _)| *seq <= proven) {
                    commit_time = unproven.pop_front().map_or(commit_time, |(_, _, time)| commit_time.max(time));
                }
            }
            Step::Gap { offset, first, .. } => gaps.push((first, offset)),
            Step::End { offset, expected, .. } => break (offset, expected),
        }
    };
    // The first place where a frame should stand that nothing says was ever written whole.
    let torn = gaps.into_iter().find(|(seq, _)| *seq > proven);
    let (end_seq, end_offset) = torn.unwrap_or((end_expected.max(proven + 1), end_offset));
    unproven.retain(|(seq, _, _)| *seq < end_seq);
    commit_time = unproven.iter().map(|(_, _, time)| *time).fold(commit_time, i64::max);
    let range = match (unproven.front(), unproven.back()) {
        (Some((_, first, _)), Some((_, last, _))) => Some(first.start..last.end),
        _ => None,
    };
    // Where a file was cut off is no torn tail: that is reported as damage.
    let is_torn = !file.is_cut() && (torn.is_some() || walk.is_frame_torn_at(end_offset)?);
    let torn_tail = is_torn.then(|| TornTail { file: file.name.clone(), offset: end_offset, seq: end_seq });
    Ok(Survey { end_seq, torn_tail, unproven: range, commit_time })
}

/// A frame's content as it stands in the file.
pub(super) struct Content<'a> {
    pub(super) located: Located,
    pub(super) tenant: Tenant,
    pub(super) producer: Option<ProducerBatch>,
    pub(super) payload: &'a [u8],
}

/// What [`read`] tells of.
pub(super) enum Event<'a> {
    Frame(Content<'a>),
    Damage(Damage),
}

/// Reads the frames of a planned file that count, and tells what is damaged. Frames up to
/// `flushed_seq` are checked, and given too; damage that hits only them loses nothing.
pub(super) fn read(
    disk: &dyn Disk,
    dir: &Path,
    file: &Planned,
    flushed_seq: Seq,
    found: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<()> {
    for damage in &file.damages {
        found(Event::Damage(damage.clone()))?;
    }
    let lost = |first: Seq, end: Seq| {
        let first = first.max(flushed_seq.saturating_add(1));
        (first < end).then(|| (first, end - 1))
    };
    let Some(header) = &file.header else {
        let what = "neither copy of its header can be read, so none of its frames";
        return found(Event::Damage(file.damage(0, lost(file.first_seq, file.end_seq), what)));
    };
    let mut walk = Walk::new(file.open(disk, dir)?, header);
    while walk.position().1 < file.end_seq {
        match walk.next()? {
            Step::Frame(located) if located.head.seq >= file.end_seq => break,
            Step::Frame(located) => {
                let (header, payload) = walk.content(&located)?;
                let event = match decode_header(header) {
                    Some((tenant, producer)) => Event::Frame(Content { located, tenant, producer, payload }),
                    None => {
                        let seq = located.head.seq;
                        Event::Damage(file.damage(located.offset, lost(seq, seq + 1), "frame header cannot be decoded"))
                    }
                };
                found(event)?;
            }
            Step::Gap { offset, first, last, what } => {
                let end = last.saturating_add(1).min(file.end_seq);
                found(Event::Damage(file.damage(offset, lost(first, end), what)))?;
                if end == file.end_seq {
                    break;
                }
            }
            Step::End { offset, expected, what } => {
                let lost = lost(expected, file.end_seq);
                // All that should follow is flushed, and its file may be gone before this one is: a crash or a failed
                // removal ends a truncation anywhere.
                if lost.is_some() || file.is_newest {
                    found(Event::Damage(file.damage(offset, lost, what)))?;
                }
                break;
            }
        }
    }
    Ok(())
}

/// Frames that should come before the first file and are not there.
pub(super) fn missing_before(files: &[Planned], flushed_seq: Seq) -> Option<Damage> {
    let first = files.first()?;
    let expected = flushed_seq.saturating_add(1);
    (first.first_seq > expected)
        .then(|| first.damage(0, Some((expected, first.first_seq - 1)), "the file before it is missing"))
}

/// A newest file, or the end of one, that `wal.meta` knows of and that is not there.
pub(super) fn missing_newest(listing: &Listing, meta: meta::Read, plan: &Plan) -> Option<Damage> {
    let meta::Read::Whole(meta) = meta else { return None };
    let lost = |last: Seq| (plan.end_seq <= last).then_some((plan.end_seq, last));
    match meta.reach {
        Reach::Unknown => None,
        Reach::Newest(first_seq) => {
            let name = files::name_of(first_seq);
            let is_there = listing.files.last().is_some_and(|(newest, _)| *newest >= first_seq);
            // Set aside by an earlier start, which has reported it.
            let is_aside = listing.damaged.iter().any(|damaged| damaged.strip_suffix(files::DAMAGED) == Some(&name));
            let what =
                format!("the file is missing, and with it the batches from {first_seq} on: `{META_NAME}` knows of it");
            (!is_there && !is_aside).then(|| Damage { file: name, offset: 0, lost: lost(first_seq - 1), what })
        }
        Reach::Closed(last_seq) => lost(last_seq).map(|lost| Damage {
            file: plan.files.last().map_or_else(|| files::name_of(plan.end_seq), |file| file.name.clone()),
            offset: plan.files.last().map_or(0, |file| file.len),
            lost: Some(lost),
            what: format!("the log ends here, `{META_NAME}` says that it was closed behind batch {last_seq}"),
        }),
    }
}
