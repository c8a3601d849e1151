//! A plan as a tree: what pruned what, and what is left to read.

use crate::output::{Form, say};
use crate::units;
use anyhow::Result;
use serde_json::Value;
use timberlog_db::filter::Filter;
use timberlog_db::language::print_short;

/// Segments that are drawn.
const SEGMENTS_MAX: usize = 100;

/// Prints what `POST /api/v1/query` explains; `title` is what was asked, if that is not the filter.
pub fn print(plan: &Value, title: Option<String>, form: Form) -> Result<()> {
    match form {
        Form::Json => say!("{}", serde_json::to_string_pretty(plan)?),
        Form::Jsonl => say!("{plan}"),
        Form::Text | Form::Raw => tree(plan, title).iter().for_each(|line| say!("{line}")),
    }
    Ok(())
}

/// A line and the lines below it.
struct Node(String, Vec<Node>);

fn tree(plan: &Value, title: Option<String>) -> Vec<String> {
    let mut below = steps(&plan["steps"]);
    let batches = plan["batches"].as_u64().unwrap_or(0);
    below.push(Node(format!("memory: {}", counted(batches, "batch", "batches")), Vec::new()));
    let segments: Vec<&Value> = plan["segments"].as_array().into_iter().flatten().collect();
    // Those that are read are what one looks for.
    let (left, pruned): (Vec<&Value>, Vec<&Value>) = segments.iter().partition(|segment| segment["pruned"].is_null());
    let drawn = left.iter().chain(&pruned).take(SEGMENTS_MAX);
    below.extend(drawn.map(|segment| self::segment(segment)));
    if segments.len() > SEGMENTS_MAX {
        below.push(Node(
            format!("and {} segments more", units::count((segments.len() - SEGMENTS_MAX) as u64)),
            Vec::new(),
        ));
    }
    for missing in plan["missing"].as_array().into_iter().flatten() {
        below.push(Node(format!("cannot be read: {}", text(missing)), Vec::new()));
    }
    let (blocks, rows) = (plan["blocks"].as_u64().unwrap_or(0), plan["rows"].as_u64().unwrap_or(0));
    let reads = format!("reads at most {} with {}", counted(blocks, "block", "blocks"), units::records(rows));
    below.push(Node(reads, Vec::new()));
    if let Some(gets) = plan["object_gets"].as_u64().filter(|&gets| gets > 0) {
        let bytes = units::bytes(plan["object_bytes"].as_u64().unwrap_or(0));
        let requests = counted(gets, "request", "requests");
        below.push(Node(format!("asks the object store at most {requests} for {bytes}"), Vec::new()));
    }
    let mut lines = vec![title.unwrap_or_else(|| filter(&plan["filter"]))];
    draw(&below, "", &mut lines);
    lines
}

/// The filter as the short form says it, else as JSON.
fn filter(json: &Value) -> String {
    let short = serde_json::from_value::<Filter>(json.clone()).ok().and_then(|filter| print_short(&filter));
    match short {
        Some(short) if short.is_empty() => "every record".to_owned(),
        Some(short) => short,
        None => json.to_string(),
    }
}

fn segment(segment: &Value) -> Node {
    let (rows, of) = (segment["rows"].as_u64().unwrap_or(0), text(&segment["partition"]));
    let head = format!("segment {} of {of}, {}", text(&segment["id"]), units::records(rows));
    if let Some(pruned) = segment["pruned"].as_str() {
        return Node(format!("{head}: left out, {pruned}"), Vec::new());
    }
    let blocks = segment["blocks"].as_array().map_or(0, Vec::len) as u64;
    Node(format!("{head}: {} left", counted(blocks, "block", "blocks")), steps(&segment["steps"]))
}

fn steps(steps: &Value) -> Vec<Node> {
    let steps: Vec<&Value> = steps.as_array().into_iter().flatten().collect();
    let cells = |step: &Value| {
        let number = |key: &str| units::count(step[key].as_u64().unwrap_or(0));
        (text(&step["step"]).to_owned(), format!("{} → {}", number("before"), number("after")))
    };
    let cells: Vec<(String, String)> = steps.iter().map(|step| cells(step)).collect();
    let width =
        |of: fn(&(String, String)) -> &String| cells.iter().map(|cell| of(cell).chars().count()).max().unwrap_or(0);
    let (names, numbers) = (width(|cell| &cell.0), width(|cell| &cell.1));
    let line = |(step, (name, change)): (&&Value, &(String, String))| {
        Node(format!("{name:names$}  {change:<numbers$}  {}", text(&step["reason"])), Vec::new())
    };
    steps.iter().zip(&cells).map(line).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", units::count(number), if number == 1 { one } else { many })
}

fn draw(nodes: &[Node], indent: &str, lines: &mut Vec<String>) {
    for (index, Node(line, below)) in nodes.iter().enumerate() {
        let (branch, beside) = if index + 1 == nodes.len() { ("└─", "   ") } else { ("├─", "│  ") };
        lines.push(format!("{indent}{branch} {line}"));
        draw(below, &format!("{indent}{beside}"), lines);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_drawn_with_what_pruned_what() {
        let plan = json!({
            "filter": {"field": "level", "eq": "error"},
            "steps": [{"step": "segments", "reason": "time", "before": 12, "after": 1},
                      {"step": "blocks", "reason": "indexes", "before": 1500, "after": 1}],
            "segments": [
                {"id": "A", "partition": "2026-11-20", "rows": 5, "pruned": "no record in the range", "steps": [], "blocks": []},
                {"id": "B", "partition": "2026-11-21", "rows": 55020, "pruned": null, "blocks": [7],
                 "steps": [{"step": "index level", "reason": "level is error", "before": 12, "after": 1}]}],
            "batches": 2, "blocks": 1, "rows": 4096, "missing": ["segment `C`: gone"],
        });
        assert_eq!(
            tree(&plan, None).join("\n"),
            "level=error\n\
             ├─ segments  12 → 1     time\n\
             ├─ blocks    1,500 → 1  indexes\n\
             ├─ memory: 2 batches\n\
             ├─ segment B of 2026-11-21, 55,020 records: 1 block left\n\
             │  └─ index level  12 → 1  level is error\n\
             ├─ segment A of 2026-11-20, 5 records: left out, no record in the range\n\
             ├─ cannot be read: segment `C`: gone\n\
             └─ reads at most 1 block with 4,096 records"
        );
        assert_eq!(filter(&json!(true)), "every record");
    }
}
