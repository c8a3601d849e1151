//! Objects of the archive that end within a commit.

use super::at::seconds;
use super::*;
use crate::archive::{ArchiveOptions, Lines, Uploader, Watch};
use crate::wal::{Append, Frame, Publish, Threading, Wal, WalOptions};
use std::sync::Mutex;
use timberlog_types::{BatchBuilder, Seq};

const ID: &str = "0123456789abcdef0123456789abcdef";

/// The commit times of frames.
#[derive(Default)]
struct Told(Mutex<Vec<i64>>);

impl Publish for Told {
    fn publish(&self, frames: Vec<Frame>) {
        self.0.lock().unwrap().extend(frames.iter().map(|frame| frame.commit_time));
    }

    fn synced(&self, _: Seq) {}
}

impl Watch for Told {
    fn archived(&self, _: Seq, _: i64, _: u64, _: u64) {}

    fn line(&self, _: &str, _: Seq) {}

    fn must_stop(&self) -> bool {
        false
    }
}

/// Frames of a commit share their time: an object that ends between them does not know of all up to that.
#[test]
fn an_object_that_ends_within_a_commit_says_less_than_its_time() {
    let sim = Sim::new(41);
    let (env, store) = (sim.env(), MemoryStore::default());
    let told = Arc::new(Told::default());
    let options = WalOptions { threading: Threading::Stepped, ..WalOptions::new("/db/wal", ID) };
    let publish = Arc::clone(&told) as Arc<dyn Publish>;
    let (wal, _) = Wal::open(&env, options, 0, publish, &mut |_| Ok(()), &|_, _| {}).unwrap();
    let mut builder = BatchBuilder::new();
    let (stream, level) = (builder.stream("web", &[]).unwrap(), builder.level(None).unwrap());
    builder.finish_row(7, stream, level, &vec![b'x'; 8 << 20]).unwrap();
    let batch = Arc::new(builder.finish().unwrap());
    for batches in [2, 3] {
        for _ in 0..batches {
            let append = Append {
                tenant: tenants()[0].clone(),
                body: Arc::clone(&batch).into(),
                producer: None,
                done: Box::new(|result| assert!(result.is_ok())),
            };
            wal.append(append).unwrap();
        }
        assert_eq!(wal.step(), batches);
    }
    let times = told.0.lock().unwrap().clone();
    assert!(times[0] == times[1] && times[1] < times[2] && times[2] == times[3] && times[3] == times[4], "{times:?}");
    let archive = ArchiveOptions::new(Arc::new(store.clone()));
    let mut uploader = Uploader::open(&env, archive, Path::new("/db"), ID, 0).unwrap();
    seconds(&sim, 1);
    uploader.pass(&wal, 0, false, &*told).unwrap();
    let lines = Lines::read(&store, Some(ID)).unwrap();
    let parts: Vec<_> = lines.parts(ID, uploader.line()).map(|(_, part, _)| part.clone()).collect();
    assert!(parts.len() == 2 && parts[0].last_seq > 2 && parts[0].last_seq < 5, "{parts:?}");
    assert!(parts[0].time >= times[1] && parts[0].time < times[2] && parts[1].time >= times[4], "{parts:?}, {times:?}");
}
