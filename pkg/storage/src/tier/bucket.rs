//! The bucket: what of a database is in an object store, under roots of its own.
//!
//! | object | content | may change |
//! |---|---|---|
//! | `manifest/<version, 20 digits>.json` | a root ([`format`]) | never |
//! | `manifest/month-<version>-<CRC32C>.json` | a node, in the form of those of a data directory | never |
//! | `manifest/deletes-<version>-<CRC32C>.json` | the tombstones of a root | never |
//! | `segments/<tenant>/<day>/<id>.log`, `.index` | a segment | never, once a root names it |
//!
//! The newest root says what the bucket holds. A root is put only if its version is not there, and names the
//! epoch of its writer: whoever claims a bucket commits a root of the next epoch, and every earlier writer finds
//! that out with its next commit and stops. One prefix belongs to one writer; a bucket may have many prefixes.
//! A newest root that is damaged stops everyone: an older one has neither the deletes nor the records that came behind
//! it, so going on from it is what a person decides ([`Writer::claim_version`]), or the owner of a manifest that
//! names them all ([`Writer::claim`]). Either commits above all that is there.
//! This module never deletes an object (see [`super::gc`]) and never decides what goes to the bucket.

pub(crate) mod format;
mod load;
mod writer;

pub(crate) use load::{damaged, fetch, load, load_whole, read_root, roots};
pub(crate) use writer::{Change, Claim, Writer};

use crate::deletes::Tombstone;
use crate::manifest::{FileRef, Months, Partition, SegmentEntry};
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_types::{Day, Seq, Tenant};

/// What begins the keys of roots and nodes.
pub(crate) const MANIFEST: &str = "manifest/";
/// What begins the keys of segments.
pub(crate) const SEGMENTS: &str = "segments/";

/// What a bucket holds at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BucketState {
    /// 0: no root was ever put.
    pub(crate) version: u64,
    /// Raised by each writer that claims the bucket.
    pub(crate) epoch: u64,
    /// Who wrote the root: 32 random hexadecimal digits of a data directory.
    pub(crate) writer: String,
    /// Whose segments these are.
    pub(crate) database_id: String,
    /// The version of the writer's own manifest that this follows; for people.
    pub(crate) manifest_version: u64,
    /// No record of a segment or tombstone has a higher number.
    pub(crate) flushed_seq: Seq,
    /// When it was committed, by the writer's clock; for people.
    pub(crate) commit_time: i64,
    /// The segments, all of them cold.
    pub(crate) tenants: BTreeMap<Tenant, Arc<Months>>,
    /// The deletes that may hide rows of them.
    pub(crate) tombstones: Arc<Vec<Tombstone>>,
    /// The object that holds the tombstones.
    pub(crate) deletes: Option<FileRef>,
    /// The root.
    pub(crate) root: Option<FileRef>,
}

impl BucketState {
    /// A bucket without a root.
    pub(crate) fn empty(database_id: String) -> Self {
        Self {
            version: 0,
            epoch: 0,
            writer: String::new(),
            database_id,
            manifest_version: 0,
            flushed_seq: 0,
            commit_time: 0,
            tenants: BTreeMap::new(),
            tombstones: Arc::default(),
            deletes: None,
            root: None,
        }
    }

    /// Every partition, by tenant and day.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&Tenant, Day, &Arc<Partition>)> {
        self.tenants.iter().flat_map(|(tenant, months)| {
            months
                .values()
                .flat_map(move |node| node.partitions.iter().map(move |(day, partition)| (tenant, *day, partition)))
        })
    }

    /// Every segment.
    pub(crate) fn segments(&self) -> impl Iterator<Item = (&Tenant, Day, &Arc<SegmentEntry>)> {
        self.partitions()
            .flat_map(|(tenant, day, partition)| partition.segments.iter().map(move |entry| (tenant, day, entry)))
    }

    /// One day of one tenant.
    pub(crate) fn partition(&self, tenant: &Tenant, day: Day) -> Option<&Arc<Partition>> {
        self.tenants.get(tenant)?.get(&crate::manifest::Month::of(day))?.partitions.get(&day)
    }

    /// The keys of all that the root names, and its own.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let nodes = self.tenants.values().flat_map(|months| months.values()).map(|node| &node.file);
        let objects = self.segments().flat_map(|(_, _, entry)| entry.objects());
        nodes.chain(objects).chain(&self.deletes).chain(&self.root).map(|file| file.path.as_str())
    }
}
