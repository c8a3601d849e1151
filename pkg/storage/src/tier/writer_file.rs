//! `tier/writer.json`: who this data directory is when it writes to a bucket. Made once; a backup does not have it, so
//! that what is restored is another writer.

use serde::{Deserialize, Serialize};
use std::path::Path;
use timberlog_disk::{Env, Open};
use timberlog_types::{Error, ErrorKind, Result};

/// The file, in the data directory.
pub(crate) const PATH: &str = "tier/writer.json";
const FORMAT: u32 = 1;
const BYTES_MAX: u64 = 4096;

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    writer: String,
}

/// The writer's id: 32 hexadecimal digits.
pub(crate) fn read_or_create(env: &Env, data_dir: &Path) -> Result<String> {
    let path = data_dir.join(PATH);
    let failed = |error: std::io::Error| Error::io(format!("`{}`", path.display()), &error);
    match env.disk.open(&path, Open::Read) {
        Ok(file) => {
            let bytes = file.read_all(BYTES_MAX).map_err(failed)?;
            let damaged = || Error::corrupt(format!("`{}` is damaged: remove it to be another writer", path.display()));
            let file: File = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
            if file.format != FORMAT {
                let message = format!("`{}` was written by a newer program", path.display());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            let is_id = file.writer.len() == 32 && file.writer.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_id { Ok(file.writer) } else { Err(damaged()) }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut id = [0; 16];
            env.random.fill(&mut id);
            let file = File { format: FORMAT, writer: format!("{:032x}", u128::from_le_bytes(id)) };
            let mut bytes = serde_json::to_vec(&file).map_err(|error| Error::internal(error.to_string()))?;
            bytes.push(b'\n');
            let folder = data_dir.join("tier");
            env.disk.create_dir_all(&folder).map_err(failed)?;
            let temporary = data_dir.join(format!("{PATH}.tmp"));
            // A leftover of a crash.
            let _ = env.disk.remove_file(&temporary);
            timberlog_disk::atomic::write_new(&*env.disk, &temporary, &bytes).map_err(failed)?;
            env.disk.rename(&temporary, &path).and_then(|()| env.disk.sync_dir(&folder)).map_err(failed)?;
            Ok(file.writer)
        }
        Err(error) => Err(failed(error)),
    }
}
