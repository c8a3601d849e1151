//! What every store must do, whatever it is made of.

use std::cell::Cell;
use std::path::Path;
use std::sync::Barrier;

use timberlog_disk::{Disk, Env, File, Open};
use timberlog_storage::objects::{ObjectMeta, ObjectStore};
use timberlog_types::{Error, ErrorKind};

use crate::Quirks;

/// Keys that a URL or a signature could get wrong.
const ODD_KEYS: [&str; 5] = ["odd/a b", "odd/a+b=c&d", "odd/100%25", "odd/größe/ſ", "odd/#hash?query"];

pub fn check(store: &dyn ObjectStore, quirks: Quirks) {
    whole_objects(store, quirks);
    ranges(store);
    conditional_puts(store, quirks);
    files(store);
    odd_keys(store);
    signed_urls(store);
}

pub fn bytes(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A file of a simulated disk, so that it costs no real one.
pub fn file_of(content: &[u8]) -> std::sync::Arc<dyn File> {
    let disk = timberlog_disk::sim::Sim::new(1).disk;
    let file = disk.open(Path::new("file"), Open::CreateNew).unwrap();
    file.write_all_at(content, 0).unwrap();
    file
}

fn kind_of<T: std::fmt::Debug>(result: timberlog_types::Result<T>) -> ErrorKind {
    let error = result.unwrap_err();
    assert!(error.message.contains("://") || error.kind == ErrorKind::Invalid, "no store is named: {error}");
    error.kind
}

pub fn keys(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let mut each = |object: ObjectMeta| {
        keys.push(object.key);
        Ok(())
    };
    store.list(prefix, &mut each).unwrap();
    keys
}

fn whole_objects(store: &dyn ObjectStore, quirks: Quirks) {
    assert_eq!(store.head("whole/a").unwrap(), None);
    assert_eq!(kind_of(store.get("whole/a")), ErrorKind::NotFound);
    for body in [b"first".to_vec(), Vec::new(), bytes(300_000, 1)] {
        store.put("whole/a", &body).unwrap();
        assert_eq!(store.get("whole/a").unwrap(), body);
        let size = body.len() as u64;
        let found = store.head("whole/a").unwrap().unwrap();
        assert_eq!((found.key.as_str(), found.size), ("whole/a", size));
        let age_ns = Env::real().clock.now_ns() - found.modified_ns;
        // Only a simulated disk does not say when.
        let may_be_silent = found.modified_ns == 0 && store.describe() == "file:///store";
        assert!(may_be_silent || (-5_000_000_000..60_000_000_000).contains(&age_ns), "{found:?}");
    }
    if quirks == Quirks::None {
        assert_eq!(store.head("whole").unwrap(), None, "what is only a prefix is no object");
        assert_eq!(kind_of(store.get("whole")), ErrorKind::NotFound);
        assert_eq!(kind_of(store.get("whole/a/b")), ErrorKind::NotFound);
    }
    for key in ["", "/a", "a/", "../a", "a//b", "a\n"] {
        assert_eq!(kind_of(store.put(key, b"x")), ErrorKind::Invalid);
        assert_eq!(kind_of(store.get(key)), ErrorKind::Invalid);
        assert_eq!(kind_of(store.put_if_absent(key, b"x")), ErrorKind::Invalid);
    }
    store.delete(&["whole/a".into(), "whole/never".into()]).unwrap();
    store.delete(&["whole/a".into()]).unwrap();
    assert_eq!(store.head("whole/a").unwrap(), None);
}

fn ranges(store: &dyn ObjectStore) {
    let body = bytes(100_000, 2);
    store.put("range/a", &body).unwrap();
    for (start, end) in [(0, 1), (0, 100_000), (99_999, 100_000), (5, 5), (1234, 56_789)] {
        assert_eq!(store.get_range("range/a", start..end).unwrap(), body[start as usize..end as usize]);
    }
    assert_eq!(kind_of(store.get_range("range/a", 0..100_001)), ErrorKind::Corrupt);
    assert_eq!(kind_of(store.get_range("range/a", 200_000..200_001)), ErrorKind::Corrupt);
    assert_eq!(kind_of(store.get_range("range/b", 0..1)), ErrorKind::NotFound);
    assert_eq!(kind_of(store.get_range("range/b", 0..0)), ErrorKind::NotFound);
    assert_eq!(kind_of(store.get_range("range/a", 0..u64::MAX)), ErrorKind::Invalid);
}

fn conditional_puts(store: &dyn ObjectStore, quirks: Quirks) {
    assert!(store.has_atomic_put_if_absent());
    assert!(store.put_if_absent("once/a", b"mine").unwrap());
    assert!(!store.put_if_absent("once/a", b"yours").unwrap());
    assert_eq!(store.get("once/a").unwrap(), b"mine");
    if quirks == Quirks::OfTestServer {
        return;
    }
    let writers: Vec<String> = (0..8).map(|writer| format!("writer {writer}")).collect();
    for round in 0..5 {
        let key = format!("race/{round}");
        let start = Barrier::new(writers.len());
        let winners: Vec<&String> = std::thread::scope(|scope| {
            let race = |writer: &str| {
                start.wait();
                store.put_if_absent(&key, writer.as_bytes()).unwrap()
            };
            let running: Vec<_> = writers.iter().map(|writer| (writer, scope.spawn(move || race(writer)))).collect();
            running.into_iter().filter_map(|(writer, run)| run.join().unwrap().then_some(writer)).collect()
        });
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(store.get(&key).unwrap(), winners[0].as_bytes());
    }
}

fn files(store: &dyn ObjectStore) {
    for (key, len) in [("file/empty", 0), ("file/short", 70_000), ("file/long", (12 << 20) + 7)] {
        let content = bytes(len + 10, 3);
        let told = Cell::new(0);
        let progress = |bytes| told.set(told.get() + bytes);
        store.put_file(key, &*file_of(&content), len as u64, &progress).unwrap();
        assert_eq!(told.get(), len as u64);
        assert_eq!(store.head(key).unwrap().unwrap().size, len as u64);
        assert!(store.get(key).unwrap() == content[..len], "{key}");
    }
    // Piece by piece: in order, no more than was asked for, and only as long as it is wanted.
    let whole = store.get("file/long").unwrap();
    let mut read = Vec::new();
    let mut each = |bytes: &[u8]| {
        read.extend_from_slice(bytes);
        Ok(())
    };
    store.read("file/long", 12 << 20, &mut each).unwrap();
    assert!(read == whole[..12 << 20]);
    let mut pieces = 0;
    let mut refuse = |_: &[u8]| {
        pieces += 1;
        Err(Error::new(ErrorKind::Conflict, "enough"))
    };
    assert_eq!(store.read("file/long", 12 << 20, &mut refuse).unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(pieces, 1);
    assert_eq!(kind_of(store.read("file/short", 70_001, &mut |_| Ok(()))), ErrorKind::Corrupt);
    assert_eq!(kind_of(store.read("file/missing", 1, &mut |_| Ok(()))), ErrorKind::NotFound);
    // One that need not be settled at once is there at once all the same.
    store.put_file_unsettled("file/soon", &*file_of(b"soon"), 4, &|_| ()).unwrap();
    assert_eq!(store.get("file/soon").unwrap(), b"soon");
    store.settle(&["file/soon".to_owned()]).unwrap();
    store.delete(&["file/soon".to_owned()]).unwrap();
    // A file that is shorter than said leaves nothing.
    for len in [100, 12 << 20] {
        assert!(store.put_file("file/none", &*file_of(b"short"), len, &|_| ()).is_err());
        assert_eq!(store.head("file/none").unwrap(), None);
    }
    assert_eq!(keys(store, "file/"), ["file/empty", "file/long", "file/short"]);
}

fn odd_keys(store: &dyn ObjectStore) {
    for key in ODD_KEYS {
        store.put(key, key.as_bytes()).unwrap();
        assert_eq!(store.get(key).unwrap(), key.as_bytes(), "{key}");
        assert!(store.head(key).unwrap().is_some(), "{key}");
    }
    let mut sorted = ODD_KEYS.map(String::from);
    sorted.sort();
    assert_eq!(keys(store, "odd/"), sorted);
    store.delete(&sorted).unwrap();
    assert_eq!(keys(store, "odd/"), Vec::<String>::new());
}

fn signed_urls(store: &dyn ObjectStore) {
    use std::io::{Read, Write};
    store.put("signed/a b", b"for anybody").unwrap();
    let Some(url) = store.presign_get("signed/a b", std::time::Duration::from_secs(60)).unwrap() else { return };
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let answer = |path: &str| {
        let mut socket = std::net::TcpStream::connect(host).unwrap();
        write!(socket, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let signed = answer(path);
    assert!(signed.starts_with("HTTP/1.1 200") && signed.ends_with("for anybody"), "{signed}");
    let unsigned = answer(path.split_once('?').unwrap().0);
    assert!(unsigned.starts_with("HTTP/1.1 403"), "{unsigned}");
}

/// Listing more than a page, and deleting as much.
pub fn check_listing(store: &dyn ObjectStore) {
    let mut expected: Vec<String> = (0..1_040).map(|number| format!("many/{:03}/{number:04}", number % 7)).collect();
    expected.push("many-more".into());
    std::thread::scope(|scope| {
        for part in expected.chunks(130) {
            scope.spawn(move || part.iter().for_each(|key| store.put(key, b"x").unwrap()));
        }
    });
    expected.sort();
    assert_eq!(keys(store, "many"), expected);
    assert_eq!(keys(store, "many-"), ["many-more"]);
    let of_three: Vec<&String> = expected.iter().filter(|key| key.starts_with("many/003/00")).collect();
    assert_eq!(keys(store, "many/003/00").iter().collect::<Vec<_>>(), of_three);
    assert_eq!(keys(store, "many/nothing/"), Vec::<String>::new());
    let mut seen = 0;
    let stopped = store.list("many/", &mut |_| {
        seen += 1;
        if seen == 3 { Err(timberlog_types::Error::new(ErrorKind::Closed, "enough")) } else { Ok(()) }
    });
    assert_eq!((stopped.unwrap_err().kind, seen), (ErrorKind::Closed, 3));
    store.delete(&expected).unwrap();
    assert_eq!(keys(store, "many"), Vec::<String>::new());
}
