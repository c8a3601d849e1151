//! What was seen, as Markdown tables and as JSON, and what of it is not what it must be.

use crate::dashboards::PANELS;
use crate::disk;
use crate::figures::{Latencies, Seen};
use crate::steady::Phase;
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;

/// What appends may take at their 99th percentile, in ms.
const APPEND_P99_MAX_MS: f64 = 100.0;
/// By how much memory may be higher in the last third of the mixed load than in the second.
const MEMORY_GROWTH_MAX: f64 = 1.1;

/// Everything that was seen.
pub struct Report {
    json: Value,
    /// Records that were lost, errors that are no back-pressure.
    wrong: Vec<String>,
    /// Aims that were missed.
    missed: Vec<String>,
    flooded: u64,
}

impl Report {
    pub fn new(machine: Value, ceiling: f64) -> Self {
        let json = json!({"version": env!("CARGO_PKG_VERSION"), "machine": machine, "ceiling": ceiling, "beside": []});
        Self { json, wrong: Vec::new(), missed: Vec::new(), flooded: 0 }
    }

    /// What the disk does by itself: an append cannot be faster.
    pub fn disk(&mut self, seen: &Seen) {
        let all = seen.all();
        println!(
            "\nThe disk alone, {}: p50 {:.1} ms, p99 {:.1} ms, max {:.0} ms.",
            disk::WHAT,
            all.p50,
            all.p99,
            all.max
        );
        self.json["disk"] = json!({"p50_ms": all.p50, "p99_ms": all.p99, "max_ms": all.max});
    }

    /// The mixed load: minute by minute, and panel by panel.
    pub fn mixed(&mut self, phase: Phase) {
        println!(
            "| minute | appends p50 | p99 | max | queries | p50 | p99 | max | memory | server CPU |\n\
             |---|---|---|---|---|---|---|---|---|---|"
        );
        let queries = phase.queries();
        let mut minutes = Vec::new();
        for minute in 0..(phase.seconds / 60.0).ceil().max(1.0) as u32 {
            let (from, to) = (minute as f32 * 60.0, (minute + 1) as f32 * 60.0);
            let (appends, asked) = (phase.appends.between(from, to), queries.between(from, to));
            let (memory, cpu) = phase.used(from, to);
            println!(
                "| {} | {} | {} | {} | {memory:.0} MB | {cpu:.2} cores |",
                minute + 1,
                ms(appends),
                asked.count,
                ms(asked)
            );
            minutes.push(json!({"memory_mb": memory, "cpu_cores": cpu, "appends_p99_ms": appends.p99,
                "queries_p99_ms": asked.p99}));
        }
        println!("| all | {} | {} | {} | | |", ms(phase.appends.all()), queries.all().count, ms(queries.all()));
        let rate = phase.acknowledged as f64 / phase.seconds;
        println!("\n{} records were acknowledged, {rate:.0} a second.\n", phase.acknowledged);
        println!("| panel | answers | p50 | p99 | max | put off | errors |\n|---|---|---|---|---|---|---|");
        for (name, seen) in PANELS.iter().zip(&phase.panels) {
            let all = seen.all();
            println!("| {name} | {} | {} | {} | {} |", all.count, ms(all), seen.put_off, seen.failed());
        }
        println!(
            "| appends | {} | {} | {} | {} |",
            phase.appends.all().count,
            ms(phase.appends.all()),
            phase.appends.put_off,
            phase.appends.failed()
        );
        self.errors("the mixed load", &phase);
        self.aim("p99 of appends under the mixed load", phase.appends.all().p99, APPEND_P99_MAX_MS, "ms");
        let third = phase.seconds as f32 / 3.0;
        let (second, last) = (phase.used(third, 2.0 * third).0, phase.used(2.0 * third, f32::MAX).0);
        self.aim("memory in the last third beside the second", last / second.max(1.0), MEMORY_GROWTH_MAX, "×");
        let panels: Vec<Value> =
            PANELS.iter().zip(&phase.panels).map(|(name, seen)| json!({"panel": name, "seen": seen.json()})).collect();
        self.json["mixed"] = json!({"seconds": phase.seconds, "acknowledged": phase.acknowledged,
            "appends": phase.appends.json(), "queries": queries.json(), "panels": panels, "minutes": minutes});
    }

    /// The head of the table of disturbers.
    pub fn begin_beside(&self) {
        println!(
            "| beside | appends p50 alone | beside | p99 alone | beside | | max beside | queries p50 alone | beside | p99 alone | beside | \
             | memory | put off |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
        );
    }

    /// A disturber.
    pub fn beside(&mut self, name: &str, alone: Phase, beside: Phase) {
        let of = |phase: &Phase| (phase.appends.all(), phase.queries().all());
        let ((appends, asked), (appends_beside, asked_beside)) = (of(&alone), of(&beside));
        let times = |before: Latencies, then: Latencies| then.p99 / before.p99.max(0.001);
        let put_off = beside.appends.put_off + beside.queries().put_off;
        println!(
            "| {name} | {:.1} | {:.1} | {:.1} | {:.1} | × {:.1} | {:.0} ms | {:.1} | {:.1} | {:.1} | {:.1} | × {:.1} | {:.0} MB | {put_off} |",
            appends.p50,
            appends_beside.p50,
            appends.p99,
            appends_beside.p99,
            times(appends, appends_beside),
            appends_beside.max,
            asked.p50,
            asked_beside.p50,
            asked.p99,
            asked_beside.p99,
            times(asked, asked_beside),
            beside.used(f32::MIN, f32::MAX).0,
        );
        eprintln!("{name}: {}", beside.disturbed.said);
        self.errors(&format!("alone, before {name}"), &alone);
        self.errors(&format!("beside {name}"), &beside);
        self.aim(&format!("p99 of appends beside {name}"), appends_beside.p99, APPEND_P99_MAX_MS, "ms");
        self.flooded += beside.disturbed.acknowledged;
        let json = |phase: &Phase| json!({"appends": phase.appends.json(), "queries": phase.queries().json()});
        let row = json!({"name": name, "alone": json(&alone), "beside": json(&beside), "appends_p99": times(appends, appends_beside),
            "queries_p99": times(asked, asked_beside), "disturber": beside.disturbed.said});
        if let Some(rows) = self.json["beside"].as_array_mut() {
            rows.push(row);
        }
    }

    /// Records of the tenant that floods that were acknowledged.
    pub fn flooded(&self) -> u64 {
        self.flooded
    }

    /// Notes a number that is not what it must be.
    pub fn check(&mut self, what: &str, found: u64, expected: u64) {
        if found == expected {
            println!("\n{what}: {found}, all of them.");
        } else {
            self.wrong.push(format!("{what}: {found}, expected {expected}"));
        }
    }

    /// Says what is wrong and what was missed, and writes the JSON.
    pub fn end(mut self, path: Option<&Path>) -> ExitCode {
        self.missed.iter().for_each(|what| println!("\nMISSED: {what}"));
        self.wrong.iter().for_each(|what| println!("\nWRONG: {what}"));
        (self.json["wrong"], self.json["missed"]) = (json!(self.wrong), json!(self.missed));
        if let Some(path) = path {
            let text = serde_json::to_string_pretty(&self.json).expect("JSON");
            std::fs::write(path, text + "\n").unwrap_or_else(|error| panic!("write `{}`: {error}", path.display()));
        }
        if self.wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn aim(&mut self, what: &str, is: f64, most: f64, unit: &str) {
        if is > most {
            self.missed.push(format!("{what}: {is:.2} {unit}, the aim is {most} {unit}"));
        }
    }

    fn errors(&mut self, when: &str, phase: &Phase) {
        let queries = phase.queries();
        let of = |what: &str, seen: &Seen| -> Vec<String> {
            seen.errors.iter().map(|(words, count)| format!("{when}: {count} {what}: {words}")).collect()
        };
        self.wrong.extend(of("appends", &phase.appends));
        self.wrong.extend(of("queries", &queries));
    }
}

impl Phase {
    /// The peak of resident memory in MB, and the cores that the server kept busy, within a time of the phase in s.
    fn used(&self, from: f32, to: f32) -> (f64, f64) {
        let within: Vec<_> = self.samples.iter().filter(|(at, _, _)| (from..to).contains(at)).collect();
        let memory = within.iter().map(|(_, bytes, _)| *bytes).max().unwrap_or(0);
        let cores = match (within.first(), within.last()) {
            (Some(first), Some(last)) if last.0 > first.0 => (last.2 - first.2) / f64::from(last.0 - first.0),
            _ => 0.0,
        };
        (memory as f64 / 1e6, cores)
    }
}

fn ms(latencies: Latencies) -> String {
    format!("{:.1} ms | {:.1} ms | {:.0} ms", latencies.p50, latencies.p99, latencies.max)
}
