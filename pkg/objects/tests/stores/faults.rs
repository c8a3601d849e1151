//! S3 with faults between: what is tried again, what is noticed, and when the store is left alone.

use std::time::{Duration, Instant};

use timberlog_disk::Env;
use timberlog_objects::{S3Options, S3Store};
use timberlog_storage::objects::ObjectStore;
use timberlog_types::ErrorKind;

use crate::conformance::{bytes, file_of};
use crate::proxy::{Fault, Proxy};
use crate::server::{self, BUCKET, Server};

/// A server and the way to it.
pub struct Setting {
    _server: Server,
    pub proxy: Proxy,
}

impl Setting {
    pub fn new() -> Self {
        let server = Server::start();
        let proxy = Proxy::start(server.address);
        Self { _server: server, proxy }
    }

    pub fn options(&self) -> S3Options {
        server::options(&self.proxy.endpoint())
    }

    fn store(&self, options: &S3Options) -> S3Store {
        S3Store::new(BUCKET, "p", options, &Env::real()).unwrap()
    }
}

#[test]
fn what_may_pass_is_tried_again() {
    let setting = Setting::new();
    let store = setting.store(&setting.options());
    let body = bytes(200_000, 1);
    let mut retries = 0;
    let faults = [
        (Fault::Answer(500, "InternalError"), 2),
        (Fault::Answer(503, "SlowDown"), 4),
        (Fault::Answer(503, "ServiceUnavailable"), 1),
        (Fault::Reset, 2),
        (Fault::AnswerLost, 2),
    ];
    for (fault, times) in faults {
        for method in ["PUT", "GET", "HEAD", "DELETE"] {
            setting.proxy.fault(method, "/p/again", fault.clone(), times);
        }
        store.put("again", &body).unwrap();
        assert!(store.get("again").unwrap() == body);
        assert_eq!(store.head("again").unwrap().unwrap().size, 200_000);
        store.delete(&["again".into()]).unwrap();
        retries += 4 * times as u64;
        assert_eq!(store.figures().retries, retries, "{fault:?}");
    }
    for fault in [Fault::Truncated, Fault::ResetInBody] {
        store.put("again", &body).unwrap();
        setting.proxy.fault("GET", "/p/again", fault.clone(), 2);
        assert!(store.get("again").unwrap() == body, "{fault:?}");
        setting.proxy.fault("GET", "/p/again", fault.clone(), 2);
        assert!(store.get_range("again", 10..150_000).unwrap() == body[10..150_000], "{fault:?}");
        setting.proxy.fault("GET", "list-type", fault.clone(), 1);
        assert_eq!(crate::conformance::keys(&store, ""), ["again"], "{fault:?}");
        retries += 5;
        assert_eq!(store.figures().retries, retries, "{fault:?}");
    }
    let figures = store.figures();
    assert_eq!((figures.failures, figures.breaker_opened), (0, 0));
    assert_eq!(figures.bytes_put, 7 * 200_000);
}

#[test]
fn what_will_not_pass_is_said_at_once() {
    let setting = Setting::new();
    let store = setting.store(&setting.options());
    setting.proxy.fault("PUT", "/p/refused", Fault::Answer(403, "AccessDenied"), 1);
    let error = store.put("refused", b"x").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    for part in ["s3://timberlog-tests/p", "`refused`", "AccessDenied", "permission"] {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!((store.figures().retries, store.figures().failures), (0, 1));
    let mut options = setting.options();
    options.retries.tries = 2;
    let store = setting.store(&options);
    setting.proxy.fault("PUT", "/p/again", Fault::Answer(500, "InternalError"), 2);
    let error = store.put("again", b"x").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
}

#[test]
fn a_body_that_is_not_the_stored_one_is_never_returned() {
    let setting = Setting::new();
    let mut options = setting.options();
    options.retries.breaker_failures = 1000;
    let store = setting.store(&options);
    let body = bytes(50_000, 1);
    store.put("body", &body).unwrap();
    setting.proxy.fault("GET", "/p/body", Fault::DamagedAnswer, 1);
    assert!(store.get("body").unwrap() == body, "its checksum was not compared");
    setting.proxy.fault("GET", "/p/body", Fault::DamagedAnswer, 100);
    assert_eq!(store.get("body").unwrap_err().kind, ErrorKind::Corrupt);
    setting.proxy.heal();
    setting.proxy.fault("GET", "/p/body", Fault::Truncated, 100);
    assert_eq!(store.get("body").unwrap_err().kind, ErrorKind::Unavailable);
    setting.proxy.heal();
    // And on the way there: the server is told the checksum.
    setting.proxy.fault("PUT", "/p/sent", Fault::DamagedRequest, 100);
    assert!(store.put("sent", &body).is_err());
    assert_eq!(store.head("sent").unwrap(), None);
}

#[test]
fn a_request_that_hangs_is_ended_and_tried_again() {
    let setting = Setting::new();
    let mut options = setting.options();
    options.retries.try_timeout = Duration::from_secs(1);
    let store = setting.store(&options);
    let body = bytes(50_000, 1);
    store.put("slow", &body).unwrap();
    for fault in [Fault::Hang, Fault::HangInBody] {
        setting.proxy.fault("GET", "/p/slow", fault, 1);
        let start = Instant::now();
        assert!(store.get("slow").unwrap() == body);
        assert!(start.elapsed() >= Duration::from_secs(1));
    }
    // One for each, and for each that was slow by itself.
    let tries = setting.proxy.requests("GET").len() as u64;
    assert_eq!(store.figures().retries, tries - 2);
    assert!(tries >= 4, "{tries}");
    options.retries.total_timeout = Duration::from_millis(500);
    options.retries.tries = 1000;
    let store = setting.store(&options);
    setting.proxy.fault("GET", "/p/slow", Fault::Hang, 1000);
    let error = store.get("slow").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    assert!(store.figures().retries <= 2, "no try begins after the total time-out");
}

#[test]
fn a_conditional_put_whose_answer_was_lost_knows_its_own_bytes() {
    let setting = Setting::new();
    let store = setting.store(&setting.options());
    assert!(store.probe().unwrap());
    setting.proxy.fault("PUT", "/p/one", Fault::AnswerLost, 1);
    assert!(store.put_if_absent("one", b"mine").unwrap(), "stored by the first try, refused by the second");
    setting.proxy.fault("PUT", "/p/two", Fault::AnswerLost, 100);
    assert!(store.put_if_absent("two", b"mine").unwrap(), "every answer was lost");
    setting.proxy.heal();
    setting.proxy.fault("PUT", "/p/one", Fault::AnswerLost, 1);
    assert!(!store.put_if_absent("one", b"yours").unwrap(), "in doubt, and somebody else's");
    setting.proxy.fault("PUT", "/p/three", Fault::Reset, 100);
    assert_eq!(store.put_if_absent("three", b"mine").unwrap_err().kind, ErrorKind::Unavailable);
    setting.proxy.heal();
    setting.proxy.fault("PUT", "/p/three", Fault::Answer(409, "ConditionalRequestConflict"), 2);
    assert!(store.put_if_absent("three", b"mine").unwrap());
}

#[test]
fn a_store_without_conditional_puts_is_found_out() {
    let setting = Setting::new();
    // It takes whatever is put.
    setting.proxy.fault("PUT", "probe", Fault::Answer(200, ""), 2);
    let store = setting.store(&setting.options());
    assert!(!store.probe().unwrap() && !store.has_atomic_put_if_absent());
    store.put("a", b"first").unwrap();
    assert!(!store.put_if_absent("a", b"second").unwrap(), "it looks before it puts");
    assert!(store.put_if_absent("b", b"second").unwrap());
    // It does not know them, or may not be written to.
    for (status, code) in [(501, "NotImplemented"), (403, "AccessDenied")] {
        setting.proxy.fault("PUT", "probe", Fault::Answer(status, code), 2);
        let store = setting.store(&setting.options());
        assert!(!store.probe().unwrap(), "{code}");
        assert_eq!(store.get("a").unwrap(), b"first");
        setting.proxy.heal();
    }
    let names = crate::conformance::keys(&setting.store(&setting.options()), "");
    assert_eq!(names, ["a", "b"], "probes are cleaned up");
    setting.proxy.fault("PUT", "probe", Fault::Answer(403, "SignatureDoesNotMatch"), 100);
    setting.proxy.fault("GET", "list-type", Fault::Answer(403, "SignatureDoesNotMatch"), 100);
    assert_eq!(setting.store(&setting.options()).probe().unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_store_that_fails_is_left_alone_and_comes_back() {
    let setting = Setting::new();
    let mut options = setting.options();
    options.retries.breaker_failures = 4;
    options.retries.breaker_pause = Duration::from_millis(400);
    options.retries.tries = 2;
    let store = setting.store(&options);
    store.put("a", b"content").unwrap();
    setting.proxy.fault("GET", "", Fault::Reset, usize::MAX);
    for _ in 0..2 {
        assert_eq!(store.get("a").unwrap_err().kind, ErrorKind::Unavailable);
    }
    let tried = setting.proxy.requests("GET").len();
    assert!(store.figures().breaker_open);
    let error = store.get("a").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("s3://timberlog-tests/p") && error.message.contains("in a row"), "{error}");
    assert_eq!(setting.proxy.requests("GET").len(), tried, "it was not asked");
    assert_eq!(store.figures().refused, 1);
    setting.proxy.heal();
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.get("a").is_err() {
        assert!(Instant::now() < deadline, "it never came back");
        std::thread::yield_now();
    }
    let figures = store.figures();
    assert_eq!((figures.breaker_open, figures.breaker_opened), (false, 1));
}

#[test]
fn an_upload_survives_faults_and_leaves_nothing_when_it_cannot() {
    let setting = Setting::new();
    let store = setting.store(&setting.options());
    let content = bytes((16 << 20) + 5, 1);
    let file = file_of(&content);
    let len = content.len() as u64;
    setting.proxy.fault("POST", "uploads", Fault::Answer(503, "SlowDown"), 1);
    setting.proxy.fault("PUT", "partNumber=2", Fault::Answer(500, "InternalError"), 2);
    setting.proxy.fault("PUT", "partNumber=3", Fault::Reset, 1);
    setting.proxy.fault("PUT", "partNumber=1", Fault::AnswerLost, 1);
    store.put_file("long", &*file, len, &|_| ()).unwrap();
    assert!(store.get("long").unwrap() == content);
    assert_eq!(store.figures().retries, 5);
    // The upload was completed, and the answer lost.
    setting.proxy.fault("POST", "uploadId", Fault::AnswerLost, 1);
    setting.proxy.fault("POST", "uploadId", Fault::Answer(404, "NoSuchUpload"), 1);
    store.put_file("lost", &*file, len, &|_| ()).unwrap();
    assert!(store.get("lost").unwrap() == content);
    assert_eq!(setting.proxy.requests("DELETE").len(), 0);
    // A part that never arrives whole.
    setting.proxy.fault("PUT", "partNumber=2", Fault::DamagedRequest, 100);
    assert!(store.put_file("never", &*file, len, &|_| ()).is_err());
    assert_eq!(store.head("never").unwrap(), None);
    let aborted = setting.proxy.requests("DELETE");
    assert!(aborted.len() == 1 && aborted[0].contains("uploadId"), "{aborted:?}");
}

#[test]
fn a_secret_is_in_no_log_line_and_no_error() {
    #[derive(Clone, Default)]
    struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // The requests are made on threads of the store's own; no other test of this binary looks at logs.
    tracing_subscriber::util::SubscriberInitExt::init(subscriber);
    let setting = Setting::new();
    let store = setting.store(&setting.options());
    store.put("a", b"content").unwrap();
    store.get("a").unwrap();
    let wrong = server::options_with_secret(&setting.proxy.endpoint(), "another-secret");
    let error = setting.store(&wrong).put("a", b"content").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    let text = String::from_utf8_lossy(&lines.0.lock().unwrap()).into_owned();
    assert!(text.len() > 1000, "something was logged");
    for secret in [server::SECRET, "another-secret"] {
        assert!(!text.contains(secret) && !error.message.contains(secret));
    }
}
