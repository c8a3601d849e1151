//! Reading: files or standard input, unpacked, in pieces of whole lines, on a thread of its own.
//!
//! Memory is bounded: few pieces wait, and a line that no record can be is skipped, not kept.

use anyhow::Result;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use timberlog_types::Error;

/// The longest line; a record may have 16 MiB.
const LINE_BYTES_MAX: usize = 17 << 20;
/// Bytes that are read at once.
const READ_BYTES: usize = 256 << 10;
/// Pieces that wait for the other side.
const PIECES_WAITING_MAX: usize = 4;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file, or standard input.
pub struct Input {
    path: Option<PathBuf>,
    /// For people.
    pub name: String,
    /// Its bytes, if that is known.
    pub len: Option<u64>,
}

/// Part of a file.
pub enum Piece {
    /// Whole lines, the last one without its newline.
    Lines { bytes: Vec<u8>, first: u64 },
    /// A line that is too long for any record.
    TooLong { line: u64 },
    /// There is no more.
    End,
}

/// Looks at every input before the first is read, so that a wrong name stores nothing.
pub fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>> {
    paths.iter().map(|path| input(path)).collect()
}

fn input(path: &Path) -> Result<Input> {
    if path.as_os_str() == "-" {
        return Ok(Input { path: None, name: "standard input".to_owned(), len: None });
    }
    let file = open(path)?;
    let found = file.metadata().map_err(|error| Error::io(format!("read `{}`", path.display()), &error))?;
    if found.is_dir() {
        return Err(Error::invalid(format!("`{}` is a folder, expected a file", path.display())).into());
    }
    let len = found.is_file().then_some(found.len());
    Ok(Input { path: Some(path.to_owned()), name: path.display().to_string(), len })
}

fn open(path: &Path) -> Result<File> {
    Ok(File::open(path).map_err(|error| Error::io(format!("open `{}`", path.display()), &error))?)
}

/// Why a [`Piece::TooLong`] is refused.
pub fn too_long() -> String {
    format!("the line is longer than {LINE_BYTES_MAX} bytes")
}

/// A file being read.
pub struct Reader {
    pieces: Receiver<Result<Piece, Error>>,
}

impl Reader {
    /// Starts to read; `bytes_read` counts bytes of the file, before it is unpacked.
    pub fn start(input: &Input, bytes_read: Arc<AtomicU64>) -> Result<Self> {
        let source: Box<dyn Read + Send> = match &input.path {
            Some(path) => Box::new(open(path)?),
            None => Box::new(std::io::stdin()),
        };
        let (sender, pieces) = sync_channel(PIECES_WAITING_MAX);
        let name = input.name.clone();
        let thread = std::thread::Builder::new().name("timberlog-read".into());
        let spawned = thread.spawn(move || {
            let end = unpack(Counted { source, bytes_read }).and_then(|source| read(source, &sender));
            // The other side is gone only if it has failed, and has said so.
            let _ = match end {
                Ok(()) => sender.send(Ok(Piece::End)),
                Err(error) => sender.send(Err(Error::io(format!("read {name}"), &error))),
            };
        });
        spawned.map_err(|error| Error::io("start a thread", &error))?;
        Ok(Self { pieces })
    }

    /// The next piece; `None` if nothing came within `wait`.
    pub fn next(&self, wait: Option<Duration>) -> Result<Option<Piece>> {
        let piece = match wait {
            Some(wait) => self.pieces.recv_timeout(wait),
            None => self.pieces.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match piece {
            Ok(piece) => Ok(Some(piece?)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(Error::internal("the reading thread ended").into()),
        }
    }
}

struct Counted {
    source: Box<dyn Read + Send>,
    bytes_read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(buf)?;
        self.bytes_read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// The text of what may be packed.
fn unpack(source: Counted) -> std::io::Result<Box<dyn Read>> {
    let mut source = BufReader::with_capacity(READ_BYTES, source);
    let magic = source.fill_buf()?;
    if magic.starts_with(&GZIP_MAGIC) {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(source)))
    } else if magic.starts_with(&ZSTD_MAGIC) {
        Ok(Box::new(zstd::Decoder::with_buffer(source)?))
    } else {
        Ok(Box::new(source))
    }
}

/// Cuts a stream into pieces of whole lines; each is sent as soon as it is there.
fn read(mut source: impl Read, pieces: &SyncSender<Result<Piece, Error>>) -> std::io::Result<()> {
    let mut chunk = vec![0; READ_BYTES];
    let mut rest: Vec<u8> = Vec::new();
    let (mut line, mut skipping) = (1_u64, false);
    let gone = |_| std::io::Error::other("nobody listens");
    loop {
        let read = match source.read(&mut chunk) {
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut bytes = chunk.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            if !rest.is_empty() {
                pieces.send(Ok(Piece::Lines { bytes: rest, first: line })).map_err(gone)?;
            }
            return Ok(());
        }
        if skipping {
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { continue };
            bytes = bytes.get(end + 1..).unwrap_or_default();
            (line, skipping) = (line + 1, false);
        }
        if let Some(end) = bytes.iter().rposition(|&byte| byte == b'\n') {
            let (whole, begun) = bytes.split_at(end + 1);
            rest.extend_from_slice(&whole[..end]);
            let lines = rest.iter().filter(|&&byte| byte == b'\n').count() as u64 + 1;
            pieces.send(Ok(Piece::Lines { bytes: std::mem::take(&mut rest), first: line })).map_err(gone)?;
            line += lines;
            bytes = begun;
        }
        rest.extend_from_slice(bytes);
        if rest.len() > LINE_BYTES_MAX {
            pieces.send(Ok(Piece::TooLong { line })).map_err(gone)?;
            (rest, skipping) = (Vec::new(), true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives out its bytes in portions of `portion`.
    struct Portions<'a>(&'a [u8], usize);

    impl Read for Portions<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            let portion = self.1.min(buf.len());
            self.0.read(&mut buf[..portion])
        }
    }

    fn lines(text: &[u8], portion: usize) -> Vec<(u64, Vec<u8>)> {
        let (sender, pieces) = sync_channel(1000);
        read(Portions(text, portion), &sender).unwrap();
        drop(sender);
        let mut found = Vec::new();
        for piece in pieces {
            match piece.unwrap() {
                Piece::Lines { bytes, first } => {
                    found.extend((first..).zip(bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec)));
                }
                Piece::TooLong { line } => found.push((line, b"too long".to_vec())),
                Piece::End => {}
            }
        }
        found
    }

    #[test]
    fn every_line_has_its_number_however_the_bytes_come() {
        for portion in [1, 2, 3, 5, 100] {
            let found = lines(b"one\n\nthree\nfour", portion);
            let expected = [(1, &b"one"[..]), (2, b""), (3, b"three"), (4, b"four")];
            assert_eq!(found, expected.map(|(number, line)| (number, line.to_vec())), "{portion}");
            assert_eq!(lines(b"one\n", portion), [(1, b"one".to_vec())]);
        }
        assert!(lines(b"", 1).is_empty());
    }

    #[test]
    fn an_endless_line_is_skipped_and_counted() {
        let mut text = b"one\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 2 * READ_BYTES));
        text.extend(b"\nthree\n");
        let found = lines(&text, usize::MAX);
        assert_eq!(found, [(1, b"one".to_vec()), (2, b"too long".to_vec()), (3, b"three".to_vec())]);
    }
}
