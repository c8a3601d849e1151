//! One file's data: what is durable, and what was done to it since.

use super::faults::Happened;
use super::time::Rng;

/// A change of a file's data.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, data } => write(content, *offset, data),
            Change::SetLen(len) => content.resize(*len, 0),
        }
    }
}

fn write(content: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(data);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// No sync yet.
    Open,
    /// A sync confirmed it; it waits only for earlier changes that none will confirm.
    Durable,
    /// Its sync failed: none will ever confirm it.
    Doomed,
}

#[derive(Clone, Debug)]
struct Pending {
    change: Change,
    fate: Fate,
}

/// A file without its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    /// What every crash leaves.
    durable: Vec<u8>,
    /// Changes since, in order.
    pending: Vec<Pending>,
    /// What is read: the durable content with every change.
    pub content: Vec<u8>,
    /// Open handles.
    pub handles: usize,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Luck {
    /// Everything is lost.
    None,
    /// Everything is kept.
    All,
    /// Each change by itself.
    Mixed,
}

impl Inode {
    pub fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.pending.push(Pending { change, fate: Fate::Open });
    }

    pub fn sync(&mut self) {
        for pending in self.pending.iter_mut().filter(|pending| pending.fate == Fate::Open) {
            pending.fate = Fate::Durable;
        }
        let confirmed = self.pending.iter().take_while(|pending| pending.fate == Fate::Durable).count();
        for pending in self.pending.drain(..confirmed) {
            pending.change.apply(&mut self.durable);
        }
    }

    pub fn sync_failed(&mut self) {
        for pending in self.pending.iter_mut().filter(|pending| pending.fate == Fate::Open) {
            pending.fate = Fate::Doomed;
        }
    }

    pub fn flip_bit(&mut self, bit: usize) -> bool {
        let mask = 1 << (bit % 8);
        let flip = |content: &mut Vec<u8>| content.get_mut(bit / 8).map(|byte| *byte ^= mask).is_some();
        flip(&mut self.durable) | flip(&mut self.content)
    }

    /// The file after a crash.
    pub fn recover(&self, luck: Luck, rng: &mut Rng, happened: &mut Happened) -> Self {
        let mut content = self.durable.clone();
        for Pending { change, fate } in &self.pending {
            match (fate, luck) {
                (Fate::Durable, _) => change.apply(&mut content),
                (_, Luck::All) => {
                    happened.count("changes kept without an fsync");
                    change.apply(&mut content);
                }
                (_, Luck::None) => happened.count("changes lost"),
                (_, Luck::Mixed) => survive(change, &mut content, rng, happened),
            }
        }
        Self { durable: content.clone(), pending: Vec::new(), content, handles: 0 }
    }
}

/// Applies what is left of one change.
fn survive(change: &Change, content: &mut Vec<u8>, rng: &mut Rng, happened: &mut Happened) {
    let drawn = rng.below(4);
    match (change, drawn) {
        (Change::SetLen(_), 2) | (_, 0) => happened.count("changes kept without an fsync"),
        (Change::SetLen(_), _) | (_, 1) => happened.count("changes lost"),
        _ => {}
    }
    match (change, drawn) {
        (_, 0) => change.apply(content),
        (Change::SetLen(_), kept) if kept % 2 == 0 => change.apply(content),
        (Change::SetLen(_), _) => {}
        (Change::Write { offset, data }, 1) => {
            // The length may be there without the data.
            if rng.percent(25) && content.len() < offset + data.len() {
                content.resize(offset + data.len(), 0);
            }
        }
        (Change::Write { offset, data }, _) => {
            let sector = if rng.percent(50) { 512 } else { 4096 };
            happened.count(if sector == 512 { "writes torn at 512 B" } else { "writes torn at 4 KiB" });
            let mut start = 0;
            while start < data.len() {
                let end = data.len().min((offset + start) / sector * sector + sector - offset);
                if rng.percent(50) {
                    write(content, offset + start, &data[start..end]);
                }
                start = end;
            }
            if rng.percent(25) && content.len() < offset + data.len() {
                content.resize(offset + data.len(), 0);
            }
        }
    }
}
