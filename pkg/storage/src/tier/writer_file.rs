//! `tier/writer.json`: who this data directory is when it writes to a bucket. Made once; a backup does not have it, so
//! that what is restored is another writer.

use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use timberlog_disk::{Env, Open};
use timberlog_types::{Error, ErrorKind, Result};

/// The file, in the data directory.
pub(crate) const PATH: &str = "tier/writer.json";
const FOLDER: &str = "tier";
const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    writer: String,
}

/// The writer's id: 32 hexadecimal digits. It survives a power loss from here on: who forgot it would be refused by its
/// own bucket.
pub(crate) fn read_or_create(env: &Env, data_dir: &Path) -> Result<String> {
    let path = data_dir.join(PATH);
    let failed = |error: std::io::Error| Error::io(format!("`{}`", path.display()), &error);
    let writer = match env.disk.open(&path, Open::Read) {
        Ok(file) => {
            let bytes = file.read_all(BYTES_MAX).map_err(failed)?;
            let damaged = || Error::corrupt(format!("`{}` is damaged: remove it to be another writer", path.display()));
            let file: File = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
            if file.format != FORMAT {
                let message = format!("`{}` was written by a newer program", path.display());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let is_id = file.writer.len() == 32 && file.writer.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_id { file.writer } else { return Err(damaged()) }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut id = [0; 16];
            env.random.fill(&mut id);
            format!("{:032x}", u128::from_le_bytes(id))
        }
        Err(error) => return Err(failed(error)),
    };
    // Also where it was found: whoever made it may have been killed before it was synced, and no later fsync makes up
    // for one that failed.
    write(env, data_dir, &path, &writer).map_err(failed)?;
    Ok(writer)
}

fn write(env: &Env, data_dir: &Path, path: &Path, writer: &str) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(&File { format: FORMAT, writer: writer.to_owned() })?;
    bytes.push(b'\n');
    env.disk.create_dir_all(&data_dir.join(FOLDER))?;
    timberlog_disk::atomic::write(&*env.disk, path, &bytes)?;
    env.disk.sync_dir(data_dir)
}
