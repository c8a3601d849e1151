//! A running server as the source of a backup, through its admin API. A server that is restarted
//! meanwhile still holds the pin: what fails is tried again for a while.

use serde_json::json;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use timberlog_client::Client;
use timberlog_disk::File;
use timberlog_storage::backup::{Pinned, Source};
use timberlog_storage::manifest::FileRef;
use timberlog_types::{Error, ErrorKind, Result, Tenant};

/// How long the server may not answer before the backup gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// A request for bytes, and the flush that comes before the pin.
const TIMEOUT: Duration = Duration::from_secs(60);
const PIN_TIMEOUT: Duration = Duration::from_secs(600);
/// What is asked for at once.
const PART_BYTES: u64 = 8 << 20;

/// A pinned server.
pub struct RemoteSource {
    client: Client,
    pinned: Pinned,
}

impl RemoteSource {
    /// Pins what a server holds.
    pub fn pin(addr: &str, include_cold: bool) -> Result<Self> {
        let client = Client::new(addr, Tenant::default(), PIN_TIMEOUT)?;
        let answer = client.post("/api/v1/admin/backup/pin", &json!({ "include_cold": include_cold }))?;
        let pinned = serde_json::from_value(answer)
            .map_err(|error| Error::internal(format!("the server's answer is no pin: {error}")))?;
        Ok(Self { client: Client::new(addr, Tenant::default(), TIMEOUT)?, pinned })
    }
}

impl Drop for RemoteSource {
    fn drop(&mut self) {
        // It ends by itself.
        let _ = self.client.post("/api/v1/admin/backup/release", &json!({ "id": self.pinned.id }));
    }
}

/// Tries again while the server does not answer, starts or is overloaded, when it asks for that.
fn patiently<T>(what: &dyn Fn() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    loop {
        match what() {
            Err(error)
                if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Overloaded { .. })
                    && !error.message.contains("any more")
                    && started.elapsed() < PATIENCE =>
            {
                let left = PATIENCE.saturating_sub(started.elapsed());
                std::thread::sleep(error.retry_after().unwrap_or_default().min(left).max(PAUSE));
            }
            other => return other,
        }
    }
}

fn part(client: &Client, id: &str, path: &str, offset: u64, len: u64) -> Result<Vec<u8>> {
    let ask = json!({ "id": id, "path": path, "offset": offset, "len": len });
    let bytes = patiently(&|| client.bytes("/api/v1/admin/backup/file", &ask))?;
    if bytes.len() as u64 > len {
        return Err(Error::internal("the server answered more bytes than were asked for"));
    }
    Ok(bytes)
}

impl Source for RemoteSource {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn open(&self, file: &FileRef) -> Result<Arc<dyn File>> {
        Ok(Arc::new(RemoteFile {
            client: self.client.clone(),
            pin: self.pinned.id.clone(),
            path: file.path.clone(),
            len: file.len,
            window: Mutex::default(),
        }))
    }

    fn wal(&self) -> Result<Vec<u8>> {
        let len = self.pinned.wal.as_ref().map_or(0, |wal| wal.len);
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let read = part(&self.client, &self.pinned.id, "wal", bytes.len() as u64, PART_BYTES)?;
            if read.is_empty() {
                break;
            }
            bytes.extend_from_slice(&read);
        }
        Ok(bytes)
    }

    fn renew(&self) -> Result<()> {
        let ask = json!({ "id": self.pinned.id });
        patiently(&|| self.client.post("/api/v1/admin/backup/renew", &ask)).map(drop)
    }
}

/// A file of a server. Short reads go through one window.
struct RemoteFile {
    client: Client,
    pin: String,
    path: String,
    len: u64,
    window: Mutex<(u64, Vec<u8>)>,
}

impl RemoteFile {
    fn get(&self, offset: u64, len: u64) -> io::Result<Vec<u8>> {
        let len = len.min(PART_BYTES).min(self.len.saturating_sub(offset));
        let bytes = part(&self.client, &self.pin, &self.path, offset, len).map_err(|error| {
            let kind =
                if error.kind == ErrorKind::Unavailable { io::ErrorKind::WouldBlock } else { io::ErrorKind::Other };
            io::Error::new(kind, error)
        })?;
        if bytes.is_empty() && len > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

fn read_only() -> io::Error {
    io::ErrorKind::Unsupported.into()
}

impl File for RemoteFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset >= self.len || buf.is_empty() {
            return Ok(0);
        }
        if buf.len() as u64 >= PART_BYTES / 2 {
            let bytes = self.get(offset, buf.len() as u64)?;
            buf[..bytes.len()].copy_from_slice(&bytes);
            return Ok(bytes.len());
        }
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if offset < window.0 || offset >= window.0 + window.1.len() as u64 {
            *window = (offset, self.get(offset, PART_BYTES)?);
        }
        let at = usize::try_from(offset - window.0).map_err(io::Error::other)?;
        let rest = window.1.get(at..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(read_only())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}
