//! One command, killed before each of its calls that change files (or some of them): its environment, places
//! to run in, and the walk. Knows nothing of what the commands do.

use crate::preload::library;
use crate::server::{Data, copy, timberlog};
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// How many steps of a command are walked without `TIMBERLOG_KILL_STEPS=all`.
const SAMPLES: u64 = 7;
/// How often a command is run again that a store which fails has ended.
const TRIES: usize = 20;

/// A command's environment: it counts its steps, and ends before one of them.
pub struct Kill {
    library: PathBuf,
    counter: PathBuf,
    /// 0: never.
    at: u64,
    /// Connections to this port are steps too; 0: none are.
    port: Cell<u16>,
}

impl Kill {
    fn new(library: PathBuf, place: &Data, at: u64) -> Self {
        let counter = beside(place, "count");
        std::fs::write(&counter, [0; 8]).expect("written");
        Self { library, counter, at, port: Cell::new(0) }
    }

    /// Counts requests to an object store, too: each has a connection to this port.
    pub fn count_requests(&self, port: u16) {
        self.port.set(port);
    }

    /// What the process must find in its environment.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        [
            ("LD_PRELOAD", text(&self.library)),
            ("KILL_COUNT", text(&self.counter)),
            ("KILL_AT", self.at.to_string()),
            ("KILL_PORT", self.port.get().to_string()),
        ]
    }

    /// Steps so far, also of a process that is gone.
    pub fn steps(&self) -> u64 {
        let bytes = std::fs::read(&self.counter).expect("the counter");
        u64::from_ne_bytes(bytes.try_into().expect("8 bytes"))
    }

    /// Whether its time has come.
    pub fn has_killed(&self) -> bool {
        self.at > 0 && self.steps() >= self.at
    }

    /// Runs a command to its end; whether it ended well. It may end otherwise only by the kill.
    pub fn run(&self, arguments: &[&str]) -> bool {
        let output = timberlog(arguments).envs(self.environment()).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || self.has_killed(), "{arguments:?}: {} {said}", output.status);
        output.status.success()
    }

    /// Runs a command against a store that fails, until it ended well or was killed. Nothing else may end it but what
    /// the store did; whether it ended well.
    pub fn run_again(&self, arguments: &[&str]) -> bool {
        let mut said = String::new();
        for _ in 0..TRIES {
            let output = timberlog(arguments).envs(self.environment()).output().expect("the binary runs");
            if output.status.success() || self.has_killed() {
                return output.status.success();
            }
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(said.contains("s3://"), "{arguments:?}: {} {said}", output.status);
        }
        panic!("{arguments:?} fails {TRIES} times: {said}");
    }
}

/// A path beside the data directory that goes with it.
pub fn beside(place: &Data, name: &str) -> PathBuf {
    place.path().with_file_name(name)
}

fn copy_of(base: &Data) -> Data {
    let place = Data::new();
    copy(base.path().parent().expect("a folder"), place.path().parent().expect("a folder"));
    place
}

/// `steps` is what one whole run took; threads make another one take a few more or less.
fn chosen(steps: u64, samples: u64) -> Vec<u64> {
    match std::env::var("TIMBERLOG_KILL_STEPS").as_deref() {
        Ok("all") => (1..=steps).collect(),
        Ok(only) => vec![only.parse().expect("TIMBERLOG_KILL_STEPS: `all` or a step")],
        // The middles of equal parts: not the same places in each scenario.
        Err(_) => (0..samples).map(|part| steps * (2 * part + 1) / (2 * samples) + 1).collect(),
    }
}

/// Runs a command on a copy of `base`, once whole, and then killed before its steps; `check` gets the place behind it
/// and what `run` says.
pub fn walk<T>(name: &str, base: &Data, run: impl Fn(&Data, &Kill) -> T, check: impl Fn(&Data, T)) {
    walk_some(SAMPLES, name, base, run, check);
}

/// The same, and how many steps are walked without `TIMBERLOG_KILL_STEPS=all`.
pub fn walk_some<T>(samples: u64, name: &str, base: &Data, run: impl Fn(&Data, &Kill) -> T, check: impl Fn(&Data, T)) {
    let Some(library) = library("kill_at") else { return };
    let once = |at: u64| {
        let place = copy_of(base);
        let kill = Kill::new(library.clone(), &place, at);
        let told = run(&place, &kill);
        let steps = kill.steps();
        check(&place, told);
        steps
    };
    eprintln!("{name}: a whole run");
    let steps = once(0);
    assert!(steps > 5, "{name}: only {steps} steps: the library does not see what the binary does");
    let chosen = chosen(steps, samples);
    for &at in &chosen {
        eprintln!("{name}: killed at step {at} of {steps} (TIMBERLOG_KILL_STEPS={at} does only this one)");
        once(at);
    }
    eprintln!("{name}: {} of {steps} steps walked", chosen.len());
}
