//! The first manifest of a data directory that takes a bucket over: nodes and a root that name what is in the object
//! store, and the pointer. And the state of a node that only follows a bucket.

use super::commit::{self, Next};
use super::files::{self, MoveError};
use super::model::{FileRef, MonthNode, Months, State};
use super::month_refs::Lists;
use super::{MANIFEST_DIR, Manifest, ManifestOptions, Reclaim, Writer, invariants};
use crate::deletes::{Deletes, DeletesEdit, Tombstone};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use timberlog_disk::Env;
use timberlog_types::{Error, Result, Seq, Tenant};

/// What a bucket holds, as a manifest names it.
pub(crate) struct Adopted {
    pub(crate) version: u64,
    pub(crate) database_id: String,
    pub(crate) flushed_seq: Seq,
    pub(crate) tenants: BTreeMap<Tenant, Arc<Months>>,
    pub(crate) tombstones: Vec<Tombstone>,
    /// The clock of retention, in ns since 1970 UTC.
    pub(crate) clock_ns: i64,
    pub(crate) root: Option<FileRef>,
}

impl Adopted {
    /// The state that names it.
    pub(crate) fn state(self) -> State {
        let edit = DeletesEdit { add: self.tombstones, now_ns: self.clock_ns, ..DeletesEdit::default() };
        let deletes = Deletes::default().apply(&edit, self.flushed_seq).unwrap_or_default();
        State {
            version: self.version,
            database_id: self.database_id,
            flushed_seq: self.flushed_seq,
            tenants: self.tenants,
            producers: None,
            deletes: Arc::new(deletes),
            clock_ns: self.clock_ns,
            unreachable: Vec::new(),
            lost_roots: Vec::new(),
            root: self.root.unwrap_or_else(|| MonthNode::unwritten().file),
            chain_start: self.version,
        }
    }

    /// Writes it as the first version of a directory that holds no database.
    pub(crate) fn write(self, env: &Env, data_dir: &Path) -> Result<State> {
        let state = Self { version: 1, ..self }.state();
        for (tenant, months) in &state.tenants {
            for node in months.values() {
                invariants::check_node(tenant, node, state.flushed_seq)
                    .map_err(|reason| Error::corrupt(format!("tenant `{tenant}`: {reason}")))?;
            }
        }
        let folder = data_dir.join(MANIFEST_DIR);
        env.disk
            .create_dir_all(&folder)
            .map_err(|error| Error::io(format!("create `{}`", folder.display()), &error))?;
        let nodes =
            state.tenants.iter().flat_map(|(tenant, months)| months.keys().map(|month| (tenant.clone(), *month)));
        let mut next = Next { changed: nodes.collect(), deletes_changed: !state.deletes.entries.is_empty(), state };
        commit::write_files(env, data_dir, None, &mut next, &mut Lists::default(), &mut Vec::new())?;
        files::move_pointer(env, data_dir, &commit::pointer(&next.state)).map_err(|error| match error {
            MoveError::Before(error) | MoveError::Unknown(error) => error,
        })?;
        Ok(next.state)
    }
}

impl Manifest {
    /// The manifest of a node that follows a bucket: there is nothing on disk, and nothing is ever committed.
    pub(crate) fn following(env: &Env, data_dir: &Path, state: State) -> Self {
        let reclaim = Reclaim::default();
        let state = Arc::new(state);
        let writer = Writer {
            poisoned: Some("this node follows a bucket and writes nothing".to_owned()),
            history_damaged: false,
            pinned: vec![(state.version, Arc::downgrade(&state))],
            pins: Vec::new(),
            lists: Lists::default(),
            reclaim,
        };
        Self {
            env: env.clone(),
            data_dir: data_dir.to_path_buf(),
            options: ManifestOptions::default(),
            state: RwLock::new(state),
            writer: Mutex::new(writer),
            failure: OnceLock::new(),
        }
    }

    /// Takes over the next state of the bucket that is followed.
    pub(crate) fn follow(&self, state: State) -> Arc<State> {
        let state = Arc::new(state);
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&state);
        state
    }
}
