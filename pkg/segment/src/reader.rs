//! Reads a segment's `.log`. Every byte that is given out was checked against its CRC32C.

mod decode;
mod ends;
mod filter_group;
mod rebuild;
mod verify;

use crate::chunk::{self, CHUNK_BYTES_MAX, CHUNK_HEADER};
use crate::column::Column;
use crate::directory::{BlockMeta, ColumnKey, ColumnMeta, Directory, RedbPages, codec};
use crate::encoding::Input;
use crate::error::SegmentError;
use crate::layout::{self, FILTER_BYTES_MAX, FILTER_HEADER, HEADER_FIXED, Identity, Section, TRAILER, Trailer};
use std::ops::Range;
use std::sync::Arc;
use timberlog_disk::{File, checksum};
use timberlog_types::{Batch, BatchBuilder};

pub use ends::{Ends, read_ends};
pub use filter_group::FilterGroup;

/// An open segment: its file and its directory.
pub struct SegmentReader {
    file: Arc<dyn File>,
    len: u64,
    directory: Directory,
    redb_pages: Option<RedbPages>,
}

/// Something wrong in a segment.
#[derive(Debug)]
pub struct Damage {
    /// What and where.
    pub error: SegmentError,
    /// The block whose rows are lost to it, if it is one block's damage.
    pub block: Option<u32>,
}

/// The end of the file that is read first: trailer and, mostly, the whole footer.
const TAIL_BYTES: u64 = 32 << 10;

impl SegmentReader {
    /// Opens a segment: checks trailer, footer and header.
    pub fn open(file: Arc<dyn File>) -> Result<Self, SegmentError> {
        Self::open_with_tail(file, TAIL_BYTES)
    }

    /// Opens a segment whose last `tail_bytes` are cheap to read, and the ones before them are not: nothing but the header
    /// and these is read, if they hold the footer.
    pub fn open_with_tail(file: Arc<dyn File>, tail_bytes: u64) -> Result<Self, SegmentError> {
        let len = file.len().map_err(|error| SegmentError::io("read the length", error))?;
        let identity = read_identity(&file, len).map_err(|error| error.in_column("header"))?;
        let (trailer, footer) = read_footer(&file, len, tail_bytes).map_err(|error| {
            let error = if matches!(error, SegmentError::Corrupt { .. }) { error.in_column("footer") } else { error };
            error.in_segment(&identity.segment_id)
        })?;
        let (directory, redb_pages) = parse_footer(&footer, &trailer, identity)?;
        Ok(Self { file, len, directory, redb_pages })
    }

    /// What the segment holds.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The checksums of the `.redb`'s pages, if the segment has one.
    pub fn redb_pages(&self) -> Option<&RedbPages> {
        self.redb_pages.as_ref()
    }

    /// Reads and decodes a column of a block. A field that no record of the block has gives an error:
    /// ask [`BlockMeta::column`] first.
    pub fn column(&self, block: u32, key: ColumnKey) -> Result<Column, SegmentError> {
        self.read_column(block, key).map_err(|error| self.place(error.in_block(block), key))
    }

    /// Decodes a column of a block from the bytes of its [place](Self::column_place), which somebody else has read.
    pub fn column_of(&self, block: u32, key: ColumnKey, chunk: Vec<u8>) -> Result<Column, SegmentError> {
        let decoded = self.block(block).and_then(|meta| self.decode(meta, key, chunk));
        decoded.map_err(|error| self.place(error.in_block(block), key))
    }

    /// Where the bytes of a column of a block are in the file.
    pub fn column_place(&self, block: u32, key: ColumnKey) -> Option<Range<u64>> {
        let meta = self.directory.blocks.get(block as usize)?;
        let column = meta.column(key)?;
        let start = meta.offset + u64::from(column.offset);
        Some(start..start + u64::from(column.len))
    }

    fn read_column(&self, block: u32, key: ColumnKey) -> Result<Column, SegmentError> {
        let meta = self.block(block)?;
        let column = meta.column(key).ok_or(SegmentError::corrupt("the block has no such column"))?;
        check_len(column.len as usize, CHUNK_HEADER + CHUNK_BYTES_MAX)?;
        let chunk = self.read(meta.offset + u64::from(column.offset), column.len as usize)?;
        self.decode(meta, key, chunk)
    }

    pub(crate) fn decode(&self, meta: &BlockMeta, key: ColumnKey, chunk: Vec<u8>) -> Result<Column, SegmentError> {
        let encoding = chunk::check(meta.number, key, &chunk)?;
        decode::column(key, encoding, chunk, CHUNK_HEADER, meta.rows as usize, &self.directory)
    }

    /// The token filter of a column of a block, as it was given to the writer.
    pub fn filter(&self, block: u32, key: ColumnKey) -> Result<Option<Vec<u8>>, SegmentError> {
        self.read_filter(block, key).map_err(|error| self.place(error.in_block(block), key))
    }

    fn read_filter(&self, block: u32, key: ColumnKey) -> Result<Option<Vec<u8>>, SegmentError> {
        let Some(place) = self.block(block)?.column(key).and_then(|column| column.filter) else { return Ok(None) };
        check_len(place.len as usize, FILTER_HEADER + FILTER_BYTES_MAX)?;
        filter_of(block, key, self.read(place.offset, place.len as usize)?).map(Some)
    }

    /// The token filter of a column of a block from the bytes of its [place](Self::filter_place), which somebody else has
    /// read.
    pub fn filter_of(&self, block: u32, key: ColumnKey, unit: Vec<u8>) -> Result<Vec<u8>, SegmentError> {
        filter_of(block, key, unit).map_err(|error| self.place(error.in_block(block), key))
    }

    /// Where the bytes of the token filter of a column of a block are in the file, if it has one.
    pub fn filter_place(&self, block: u32, key: ColumnKey) -> Option<Range<u64>> {
        let place = self.directory.blocks.get(block as usize)?.column(key)?.filter?;
        Some(place.offset..place.offset + u64::from(place.len))
    }

    /// A block's records as a batch, in the block's order: for compaction and repair.
    pub fn read_block_as_batch(&self, block: u32) -> Result<Batch, SegmentError> {
        self.read_block_with(block, &mut BatchBuilder::new())
    }

    /// The same with the buffers of a builder, for who reads many blocks. What is in it is forgotten.
    pub fn read_block_with(&self, block: u32, builder: &mut BatchBuilder) -> Result<Batch, SegmentError> {
        let place = |error: SegmentError| error.in_block(block).in_segment(&self.directory.segment_id);
        let meta = self.block(block).map_err(place)?;
        let bytes = self.read_block(meta).map_err(place)?;
        let mut columns = rebuild::Columns::default();
        for column in &meta.columns {
            let chunk = chunk_of(&bytes, column);
            let decoded = self.decode(meta, column.key, chunk.to_vec());
            columns.push(column.key, decoded.map_err(|error| self.place(error.in_block(block), column.key))?);
        }
        columns.into_batch(meta.rows as usize, &self.directory, builder).map_err(place)
    }

    /// The bytes of a whole block; its header is checked, its chunks are not.
    fn read_block(&self, meta: &BlockMeta) -> Result<Vec<u8>, SegmentError> {
        let bytes = self.read(meta.offset, meta.len as usize)?;
        // Less columns than bytes.
        layout::check_block_header(&bytes, meta.number, meta.rows, meta.columns.len() as u32, meta.len)?;
        Ok(bytes)
    }

    /// Reads everything and reports every damage.
    pub fn verify(&self, report: &mut dyn FnMut(Damage)) {
        verify::verify(self, report);
    }

    /// Bytes of memory held, about.
    pub fn memory_bytes(&self) -> usize {
        self.directory.memory_bytes() + self.redb_pages.as_ref().map_or(0, |pages| pages.crcs.len() * 4)
    }

    fn block(&self, block: u32) -> Result<&BlockMeta, SegmentError> {
        self.directory.blocks.get(block as usize).ok_or(SegmentError::corrupt("there is no such block"))
    }

    /// Reads bytes of the file; a length beyond the file allocates nothing.
    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, SegmentError> {
        read(&self.file, self.len, offset, len)
    }

    fn place(&self, error: SegmentError, key: ColumnKey) -> SegmentError {
        let error = error.in_segment(&self.directory.segment_id);
        match key {
            ColumnKey::Field(id) => match self.directory.field_names.get(id as usize) {
                Some(name) => error.in_column(format_args!("column of field `{name}`")),
                None => error.in_column(key),
            },
            key => error.in_column(key),
        }
    }
}

fn filter_of(block: u32, key: ColumnKey, mut unit: Vec<u8>) -> Result<Vec<u8>, SegmentError> {
    layout::check_filter(block, key, &unit)?;
    unit.drain(..FILTER_HEADER);
    Ok(unit)
}

/// The bytes of a column's chunk in its block; the directory was checked to stay inside.
fn chunk_of<'b>(block: &'b [u8], column: &ColumnMeta) -> &'b [u8] {
    let start = column.offset as usize;
    block.get(start..start.saturating_add(column.len as usize)).unwrap_or_default()
}

fn check_len(len: usize, max: usize) -> Result<(), SegmentError> {
    if len > max { Err(SegmentError::corrupt("length is above its limit")) } else { Ok(()) }
}

fn read(file: &Arc<dyn File>, file_len: u64, offset: u64, len: usize) -> Result<Vec<u8>, SegmentError> {
    if offset.checked_add(len as u64).is_none_or(|end| end > file_len) {
        return Err(SegmentError::corrupt("lies beyond the end of the file"));
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).map_err(|error| SegmentError::io("read", error))?;
    Ok(bytes)
}

fn read_identity(file: &Arc<dyn File>, len: u64) -> Result<Identity, SegmentError> {
    let header = read_header_bytes(file, len)?;
    let (fixed, rest) =
        header.split_first_chunk::<HEADER_FIXED>().ok_or(SegmentError::corrupt("file is shorter than its header"))?;
    layout::read_header(fixed, rest)
}

fn read_header_bytes(file: &Arc<dyn File>, len: u64) -> Result<Vec<u8>, SegmentError> {
    let mut fixed = [0; HEADER_FIXED];
    fixed.copy_from_slice(&read(file, len, 0, HEADER_FIXED)?);
    read(file, len, 0, HEADER_FIXED + layout::header_rest(&fixed)?)
}

fn read_footer(file: &Arc<dyn File>, len: u64, tail_bytes: u64) -> Result<(Trailer, Vec<u8>), SegmentError> {
    let tail_len = usize::try_from(len.min(tail_bytes).max(TRAILER as u64)).unwrap_or(TRAILER);
    let start = len.checked_sub(tail_len as u64).ok_or(SegmentError::corrupt("file is shorter than its trailer"))?;
    let tail = read(file, len, start, tail_len)?;
    let at = tail.len().checked_sub(TRAILER).ok_or(SegmentError::corrupt("file is shorter than its trailer"))?;
    let trailer = layout::read_trailer(&tail[at..], len)?;
    // The limit on the footer's length was checked.
    let footer_len = trailer.footer_len as usize;
    let footer = match at.checked_sub(footer_len) {
        Some(start) => tail[start..at].to_vec(),
        None => read(file, len, trailer.footer_offset, footer_len)?,
    };
    if !checksum::is_right(trailer.footer_crc, crc32c::crc32c(&footer)) {
        return Err(SegmentError::corrupt("checksum mismatch"));
    }
    Ok((trailer, footer))
}

fn parse_footer(
    footer: &[u8],
    trailer: &Trailer,
    identity: Identity,
) -> Result<(Directory, Option<RedbPages>), SegmentError> {
    let Identity { segment_id, tenant } = identity;
    let place = |error: SegmentError| error.in_segment(&segment_id).in_column("footer");
    let (mut directory, mut streams, mut pages) = (None, None, None);
    let mut input = Input::new(footer);
    while input.len() > 0 {
        let (number, content) = layout::take_section(&mut input).map_err(place)?;
        match number {
            n if n == Section::Directory as u8 => directory = Some(codec::decode(&content).map_err(place)?),
            n if n == Section::Streams as u8 => streams = Some(content),
            n if n == Section::RedbPages as u8 => pages = Some(codec::decode_pages(&content).map_err(place)?),
            _ => {}
        }
    }
    let (Some(mut directory), Some(streams)) = (directory, streams) else {
        return Err(place(SegmentError::corrupt("a section is missing")));
    };
    directory.streams = codec::decode_streams(&streams, directory.services.len()).map_err(place)?;
    check_places(&directory, trailer.footer_offset).map_err(place)?;
    directory.segment_id = segment_id;
    directory.tenant = tenant;
    Ok((directory, pages))
}

/// Blocks, filters and streams that the directory names are inside of the file and the table.
fn check_places(directory: &Directory, end: u64) -> Result<(), SegmentError> {
    for block in &directory.blocks {
        let filters = block.columns.iter().filter_map(|column| column.filter);
        let mut ends =
            filters.map(|filter| filter.offset + u64::from(filter.len)).chain([block.offset + u64::from(block.len)]);
        let streams = block.streams.last().map_or(0, |&(_, last)| last as usize);
        if ends.any(|place| place > end) || streams >= directory.streams.len() {
            return Err(SegmentError::corrupt("directory points outside of the segment"));
        }
    }
    Ok(())
}
