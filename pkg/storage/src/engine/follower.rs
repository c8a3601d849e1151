//! The follower: the thread of a node that shows what another one's bucket holds. It looks for a new root well within
//! the grace that objects have, and writes nothing anywhere.

use super::{Core, Storage, lock};
use crate::manifest::Manifest;
use crate::tier;
use crate::tier::TierPhase;
use std::path::Path;
use std::sync::Arc;
use timberlog_disk::Env;
use timberlog_types::{Error, ErrorKind, Result};

impl Storage {
    /// On a node that follows a bucket: takes over its newest root now; says whether there was a new one.
    pub fn follow(&self) -> Result<bool> {
        self.core.follow_once()
    }
}

/// The bucket that a node follows; its directory holds caches and no database.
pub(super) fn following(
    env: &Env,
    dir: &Path,
    store: &dyn crate::objects::ObjectStore,
) -> Result<(tier::Followed, Manifest)> {
    if crate::manifest::load(env, dir)?.is_some() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("`{}` holds a database: who follows a bucket needs a directory of its own", dir.display()),
        ));
    }
    let (followed, state) = tier::Followed::open(store)?;
    Ok((followed, Manifest::following(env, dir, state)))
}

impl Core {
    /// Whether this node follows a bucket.
    pub(super) fn follows(&self) -> bool {
        self.options.tier.as_ref().is_some_and(|tier| tier.follow)
    }

    /// # Errors
    /// `Invalid` on a node that follows a bucket.
    pub(super) fn check_writable(&self) -> Result<()> {
        match self.follows() {
            true => Err(Error::invalid(
                "this node follows a bucket (`--read-only`) and takes nothing: write to the node that owns it",
            )),
            false => Ok(()),
        }
    }

    /// The follower's thread.
    pub(super) fn run_follower(self: &Arc<Self>) {
        let Some(options) = self.options.tier.clone() else { return };
        // A reader must know of a root before what the one before it named is collected.
        let every = options.look_every.min(options.gc_grace / 2);
        while !self.tiering.wake.wait_for_work(every) {
            // What went wrong is told, and tried again.
            let _ = self.follow_once();
        }
    }

    /// Takes over the bucket's newest root; says whether there was a new one.
    pub(super) fn follow_once(&self) -> Result<bool> {
        let Some(options) = &self.options.tier else { return Err(Error::invalid("no object store is configured")) };
        let mut followed = lock(&self.tiering.followed);
        let Some(followed) = followed.as_mut() else { return Err(Error::invalid("this node follows no bucket")) };
        let refreshed = followed.refresh(&*options.store).and_then(|state| {
            let Some(state) = state else { return Ok(false) };
            let state = self.manifest.follow(state);
            let mut view = self.view.write();
            view.follow(state, &self.opener, &self.options.selectors).map(|()| true)
        });
        self.tiering.note_followed(followed.place(), refreshed.as_ref().err());
        refreshed
    }
}

impl super::tiering::Tiering {
    fn note_followed(&self, place: (u64, u64), error: Option<&Error>) {
        self.note_place(place);
        let phase = if error.is_some() { TierPhase::Failing } else { TierPhase::Following };
        if let Some(error) = error {
            tracing::warn!(%error, "the bucket cannot be followed now: what was read before is shown");
        }
        self.note_phase(phase, error.map(ToString::to_string));
    }
}
