//! What a flush of many partitions makes durable, and when.

use super::*;
use timberlog_disk::sim::Sim;

/// The steps of a kind on paths with a part, by their places.
fn places(trace: &[String], op: &str, part: &str) -> Vec<usize> {
    let is_one = |line: &str| line.split(' ').nth(1) == Some(op) && line.contains(part);
    (0..trace.len()).filter(|&place| is_one(&trace[place])).collect()
}

#[test]
fn segments_are_written_and_then_synced_and_named_only_then() {
    let sim = Sim::new(1);
    let options = Options { background: false, wal_file_bytes: 64 << 10, ..Options::new("/db") };
    let storage = Storage::open(options, sim.env(), Arc::new(Nobody), &Progress::default()).unwrap();
    let (day_ns, partitions) = (Day(1).range().start, 3 * 2);
    for tenant in ["a", "b", "c"] {
        // Two of each tenant's days.
        storage.append(&Tenant::new(tenant).unwrap(), batch(&[1, day_ns]), None).unwrap();
    }
    for _ in 0..2 {
        sim.disk.start_trace();
        storage.flush().unwrap();
        let trace = sim.disk.trace();
        let (written, synced) = (places(&trace, "Write", "/segments/"), places(&trace, "Sync", "/segments/"));
        let folders = places(&trace, "SyncDir", "/segments/");
        assert_eq!((synced.len(), folders.len()), (partitions, partitions), "{trace:#?}");
        assert!(written.last() < synced.first() && synced.last() < folders.first(), "{trace:#?}");
        let (nodes, nodes_synced) = (places(&trace, "Write", "/month-"), places(&trace, "Sync", "/month-"));
        assert!(folders.last() < nodes.first() && nodes.last() < nodes_synced.first(), "{trace:#?}");
        assert!(
            nodes_synced.len() == 3 && nodes_synced.last() < places(&trace, "Open", "/root-").first(),
            "{trace:#?}"
        );
        for tenant in ["a", "b", "c"] {
            storage.append(&Tenant::new(tenant).unwrap(), batch(&[1, day_ns]), None).unwrap();
        }
    }
}
