//! Runs a file of questions and answers.

use super::memory::{Form, Memory};
use crate::ast::{Expr, MetricExpr};
use crate::evaluate::{EvaluateLimits, Steps, Value, evaluate};
use crate::{Labels, parse};

const SECOND: f64 = 1e9;

/// Asks every question of a file, and compares answers.
#[track_caller]
pub(super) fn run(file: &str) {
    let questions = questions(file);
    let mut failures = Vec::new();
    for question in &questions {
        for form in [Form::Points, Form::Totals] {
            let answer = question.ask(form);
            if !same(&answer, &question.expected) {
                failures.push(format!(
                    "line {}, {form:?}: {}\n  expected {:#?}\n  got {answer:#?}",
                    question.line, question.query, question.expected
                ));
            }
        }
    }
    assert!(!questions.is_empty(), "no question");
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), questions.len() * 2, failures.join("\n"));
}

/// The tree of a metric query.
#[track_caller]
pub(super) fn metric(query: &str) -> MetricExpr {
    match parse(query) {
        Ok(Expr::Metric(metric)) => metric,
        other => panic!("{query}: {other:?}"),
    }
}

struct Question {
    line: usize,
    query: String,
    steps: Steps,
    stored: Memory,
    expected: Vec<String>,
}

impl Question {
    /// The answer, one line for each element.
    fn ask(&self, form: Form) -> Vec<String> {
        let tree = match parse(&self.query) {
            Ok(Expr::Metric(tree)) => tree,
            Ok(Expr::Log(_)) => return vec!["! a log query".to_owned()],
            Err(error) => return vec![format!("! {error}")],
        };
        let mut leaves = Memory { form, ..self.stored.clone() };
        match evaluate(&tree, self.steps, &mut leaves, &EvaluateLimits::default()) {
            Err(error) => vec![format!("! {error}")],
            Ok(Value::Scalar { value, .. }) => vec![format!("= {value:?}")],
            Ok(Value::Vector(samples)) => samples
                .iter()
                .map(|sample| {
                    assert_eq!(sample.timestamp_ns, self.steps.start_ns);
                    format!("= {} {:?}", sample.labels, sample.value)
                })
                .collect(),
            Ok(Value::Matrix(series)) => series
                .iter()
                .map(|series| {
                    let points = series.points.iter();
                    let points: Vec<String> =
                        points.map(|&(at, value)| format!("{}:{value:?}", at as f64 / SECOND)).collect();
                    format!("= {} {}", series.labels, points.join(" "))
                })
                .collect(),
        }
    }
}

fn same(answer: &[String], expected: &[String]) -> bool {
    match expected {
        [error] if error.starts_with("! ") => {
            answer.len() == 1 && answer[0].starts_with("! ") && answer[0].contains(&error[2..])
        }
        _ => answer == expected,
    }
}

fn questions(file: &str) -> Vec<Question> {
    let mut stored = Memory::new(Form::Points);
    let mut steps = Steps { start_ns: 0, end_ns: 0, step_ns: 0 };
    let mut questions: Vec<Question> = Vec::new();
    for (line, text) in (1..).zip(file.lines()) {
        let (word, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        match word {
            "" | "#" => {}
            "clear" => stored.series.clear(),
            "store" => stored.series.push(series(rest)),
            "at" => steps = Steps { start_ns: ns(rest), end_ns: ns(rest), step_ns: 0 },
            "from" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                let [start, "to", end, "step", step] = words[..] else { panic!("line {line}: {text}") };
                steps = Steps { start_ns: ns(start), end_ns: ns(end), step_ns: ns(step) };
            }
            "ask" => {
                let (query, stored) = (rest.to_owned(), stored.clone());
                questions.push(Question { line, query, steps, stored, expected: Vec::new() });
            }
            "=" | "!" => {
                let question = questions.last_mut().expect("an answer comes after a question");
                question.expected.push(if word == "!" { format!("! {rest}") } else { canonical(rest) });
            }
            _ => panic!("line {line}: {text}"),
        }
    }
    questions
}

/// An element of an answer as [`Question::ask`] writes it.
fn canonical(text: &str) -> String {
    let Some(end) = text.rfind('}') else { return format!("= {:?}", number(text)) };
    let (labels, values) = text.split_at(end + 1);
    let values: Vec<String> = values
        .split_whitespace()
        .map(|value| match value.split_once(':') {
            Some((at, value)) => format!("{}:{:?}", number(at), number(value)),
            None => format!("{:?}", number(value)),
        })
        .collect();
    format!("= {} {}", labels_of(labels), values.join(" "))
}

fn series(text: &str) -> (Labels, Vec<(i64, f64)>) {
    let (labels, samples) = text.split_at(text.rfind('}').expect("labels") + 1);
    let mut points = Vec::new();
    for sample in samples.split_whitespace() {
        let (times, value) = sample.split_once(':').unwrap_or((sample, "1"));
        let (value, by) = value.split_once('+').filter(|(first, _)| !first.is_empty()).unwrap_or((value, "0"));
        let (start, step, count) = match times.split_once('+') {
            Some((start, repeat)) => {
                let (step, count) = repeat.split_once('*').expect("start+step*count");
                (ns(start), ns(step), count.parse().expect("a count"))
            }
            None => (ns(times), 0, 1_u32),
        };
        for index in 0..count {
            points.push((start + step * i64::from(index), number(value) + number(by) * f64::from(index)));
        }
    }
    (labels_of(labels), points)
}

fn labels_of(text: &str) -> Labels {
    let inside = text.trim().trim_start_matches('{').trim_end_matches('}');
    Labels::new(inside.split(", ").flat_map(|part| part.split("\",")).filter(|part| !part.trim().is_empty()).map(
        |part| {
            let (name, value) = part.split_once('=').expect("name=\"value\"");
            (name.trim().to_owned(), value.trim_matches('"').to_owned())
        },
    ))
}

fn ns(text: &str) -> i64 {
    (number(text) * SECOND).round() as i64
}

fn number(text: &str) -> f64 {
    match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        _ => text.parse().unwrap_or_else(|_| panic!("no number: {text}")),
    }
}
