//! Gathers the fields of a block's rows, one field at a time, from the batches that hold them.
//!
//! A field that its batches hold densely, and that many rows have, is read by going over the rows.
//! Everything else goes through *cells*, one for each value, so that ten thousand rare fields cost
//! what their values cost.

use super::names::{Resolved, learnt};
use crate::error::SegmentError;
use timberlog_types::{Batch, FieldColumn, Value};

/// A batch that the block has rows of.
pub(crate) struct Used<'a> {
    pub(crate) batch: &'a Batch,
    pub(crate) resolved: &'a Resolved,
    pub(crate) rows: u32,
}

/// A row of the block: its batch, as an index into the used ones, and its row there.
#[derive(Clone, Copy)]
pub(crate) struct LocalRow {
    pub(crate) used: u32,
    pub(crate) row: u32,
}

/// A value: its row in the block, its batch, its field there, and its index in the field.
#[derive(Clone, Copy)]
struct Cell {
    row: u32,
    used: u32,
    field: u32,
    index: u32,
}

/// Buffers, kept between blocks.
#[derive(Default)]
pub(crate) struct Gather {
    dense: Groups,
    dense_items: Vec<(u32, u32)>,
    sparse: Groups,
    sparse_items: Vec<Cell>,
    cells: Vec<Cell>,
    rows: Vec<u32>,
    /// The rows of each used batch; filled when a field first needs it.
    rows_of: Vec<u32>,
    rows_of_starts: Vec<u32>,
}

/// Items by id, in their order: a counting sort.
#[derive(Default)]
struct Groups {
    ids: Vec<u32>,
    counts: Vec<u32>,
    touched: Vec<u32>,
    order: Vec<u32>,
}

impl Groups {
    fn clear(&mut self) {
        self.ids.clear();
        self.touched.clear();
    }

    fn push(&mut self, id: u32) {
        self.ids.push(id);
        if self.counts.len() <= id as usize {
            self.counts.resize(id as usize + 1, 0);
        }
        let count = &mut self.counts[id as usize];
        if *count == 0 {
            self.touched.push(id);
        }
        *count += 1;
    }

    /// Orders the items; `counts` are where each touched id ends, afterwards.
    fn sort(&mut self) {
        self.touched.sort_unstable();
        let mut start = 0;
        for &id in &self.touched {
            let count = &mut self.counts[id as usize];
            (*count, start) = (start, start + *count);
        }
        self.order.clear();
        self.order.resize(self.ids.len(), 0);
        for (item, &id) in self.ids.iter().enumerate() {
            let next = &mut self.counts[id as usize];
            // A block has less than 2^32 values.
            self.order[*next as usize] = item as u32;
            *next += 1;
        }
    }

    /// The ids with the ranges of their items in `order`; forgets the counts.
    fn ranges(&mut self) -> Vec<(u32, std::ops::Range<usize>)> {
        let mut start = 0;
        let mut ranges = Vec::with_capacity(self.touched.len());
        for &id in &self.touched {
            let end = std::mem::take(&mut self.counts[id as usize]) as usize;
            ranges.push((id, start..end));
            start = end;
        }
        ranges
    }
}

impl Gather {
    /// Calls `f` with the id, the rows (`None`: all) and the values of each field, by id. `ids` are those of the segment,
    /// of all that the rows name.
    pub(crate) fn fields<'a>(
        &mut self,
        used: &[Used<'a>],
        rows: &[LocalRow],
        ids: &[u32],
        mut f: impl FnMut(u32, Option<&[u32]>, &[Value<'a>]) -> Result<(), SegmentError>,
    ) -> Result<(), SegmentError> {
        self.collect_dense(used, ids);
        self.collect_sparse(used, rows, ids)?;
        self.rows_of_starts.clear();
        let (dense, sparse) = (self.dense.ranges(), self.sparse.ranges());
        let mut values: Vec<Value<'a>> = Vec::with_capacity(rows.len());
        let mut columns: Vec<Option<FieldColumn<'a>>> = vec![None; used.len()];
        let (mut dense, mut sparse) = (dense.into_iter().peekable(), sparse.into_iter().peekable());
        while let Some(id) = [dense.peek(), sparse.peek()].into_iter().flatten().map(|(id, _)| *id).min() {
            let of_dense = dense.next_if(|(other, _)| *other == id).map_or(0..0, |(_, range)| range);
            let of_sparse = sparse.next_if(|(other, _)| *other == id).map_or(0..0, |(_, range)| range);
            values.clear();
            let having: usize = of_dense.clone().map(|item| used[self.dense_item(item).0].rows as usize).sum();
            let is_all = if of_sparse.is_empty() && having * 4 >= rows.len() {
                for item in of_dense.clone() {
                    let (place, field) = self.dense_item(item);
                    columns[place] = Some(used[place].batch.field_at(field));
                }
                self.gather_rows(rows, &columns, having, &mut values);
                of_dense.for_each(|item| columns[self.dense_item(item).0] = None);
                having == rows.len()
            } else {
                self.gather_cells(used, rows, of_dense, of_sparse, &mut values);
                values.len() == rows.len()
            };
            f(id, (!is_all).then_some(&self.rows), &values)?;
        }
        Ok(())
    }

    fn dense_item(&self, item: usize) -> (usize, usize) {
        let (used, field) = self.dense_items[self.dense.order[item] as usize];
        (used as usize, field as usize)
    }

    fn collect_dense(&mut self, used: &[Used<'_>], ids: &[u32]) {
        self.dense.clear();
        self.dense_items.clear();
        for (place, batch) in used.iter().enumerate() {
            for (field, _) in batch.batch.fields().enumerate().filter(|(_, field)| field.is_dense()) {
                // Batches and fields are counted in 32 bits.
                self.dense.push(ids[batch.resolved.fields + field]);
                self.dense_items.push((place as u32, field as u32));
            }
        }
        self.dense.sort();
    }

    fn collect_sparse(&mut self, used: &[Used<'_>], rows: &[LocalRow], ids: &[u32]) -> Result<(), SegmentError> {
        self.sparse.clear();
        self.sparse_items.clear();
        if used.iter().any(|used| used.resolved.sparse.is_some()) {
            for (row, local) in rows.iter().enumerate() {
                let batch = &used[local.used as usize];
                let Some(sparse) = &batch.resolved.sparse else { continue };
                for &(field, index) in sparse.row(local.row) {
                    self.sparse.push(learnt(ids[batch.resolved.fields + field as usize])?);
                    self.sparse_items.push(Cell { row: row as u32, used: local.used, field, index });
                }
            }
        }
        self.sparse.sort();
        Ok(())
    }

    /// Reads a field by going over the rows.
    fn gather_rows<'a>(
        &mut self,
        rows: &[LocalRow],
        columns: &[Option<FieldColumn<'a>>],
        having: usize,
        values: &mut Vec<Value<'a>>,
    ) {
        self.rows.clear();
        if having == rows.len() {
            values.extend(
                rows.iter()
                    .filter_map(|local| columns[local.used as usize].map(|column| column.value(local.row as usize))),
            );
            return;
        }
        for (row, local) in rows.iter().enumerate() {
            if let Some(column) = columns[local.used as usize] {
                self.rows.push(row as u32);
                values.push(column.value(local.row as usize));
            }
        }
    }

    /// Reads a field by going over its values.
    fn gather_cells<'a>(
        &mut self,
        used: &[Used<'a>],
        rows: &[LocalRow],
        dense: std::ops::Range<usize>,
        sparse: std::ops::Range<usize>,
        values: &mut Vec<Value<'a>>,
    ) {
        let mut cells = std::mem::take(&mut self.cells);
        cells.clear();
        cells.extend(sparse.map(|item| self.sparse_items[self.sparse.order[item] as usize]));
        let is_sorted = dense.is_empty();
        for item in dense {
            let (place, field) = self.dense_item(item);
            for &row in self.rows_of(place, used, rows) {
                let index = rows[row as usize].row;
                cells.push(Cell { row, used: place as u32, field: field as u32, index });
            }
        }
        if !is_sorted {
            cells.sort_unstable_by_key(|cell| cell.row);
        }
        self.rows.clear();
        for cell in &cells {
            self.rows.push(cell.row);
            let batch = used[cell.used as usize].batch;
            values.push(batch.field_at(cell.field as usize).value(cell.index as usize));
        }
        self.cells = cells;
    }

    /// The rows of a used batch in the block.
    fn rows_of(&mut self, place: usize, used: &[Used<'_>], rows: &[LocalRow]) -> &[u32] {
        if self.rows_of_starts.is_empty() {
            self.rows_of_starts.push(0);
            let mut total = 0;
            for batch in used {
                total += batch.rows;
                self.rows_of_starts.push(total);
            }
            let mut next = self.rows_of_starts.clone();
            self.rows_of.clear();
            self.rows_of.resize(rows.len(), 0);
            for (row, local) in rows.iter().enumerate() {
                let next = &mut next[local.used as usize];
                self.rows_of[*next as usize] = row as u32;
                *next += 1;
            }
        }
        &self.rows_of[self.rows_of_starts[place] as usize..self.rows_of_starts[place + 1] as usize]
    }
}
