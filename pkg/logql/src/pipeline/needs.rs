//! What a query needs of the lines it runs over: which labels parsers must find, which filters
//! decide early, which metadata is looked at.

use super::Wanted;
use super::label_filter::LabelTest;
use super::names::{NameId, Names};
use super::parse::Hints;
use super::stage::Step;
use super::unwrap::Unwrapping;
use crate::template::Fields;

const DUPLICATE_SUFFIX: &str = "_extracted";

/// See the module.
pub(super) struct Needs {
    pub(super) hints: Hints,
    pub(super) required: Vec<NameId>,
    pub(super) metadata: Wanted,
}

impl Needs {
    pub(super) fn new(steps: &[Step], unwrapping: Option<&Unwrapping>, wanted: &Wanted, names: &mut Names) -> Self {
        let mut looked_at = LookedAt::default();
        for step in steps {
            looked_at.add_step(step, names);
        }
        if let Some(unwrapping) = unwrapping {
            unwrapping.filters.iter().for_each(|filter| filter.names(&mut looked_at.by_parsers));
        }
        let metadata = looked_at.metadata(unwrapping, wanted, names);
        let Wanted::Names(groups) = wanted else {
            let hints = Hints { tests: tests(steps, unwrapping), ..Hints::default() };
            return Self { hints, required: Vec::new(), metadata };
        };
        let mut required = looked_at.by_parsers;
        required.extend(groups.iter().map(|name| names.intern(name)));
        required.extend(unwrapping.map(|unwrapping| unwrapping.name));
        let required = with_unsuffixed(required, names);
        let hints = Hints {
            no_labels: required.is_empty(),
            preserve_error: required.contains(&super::builder::ERROR),
            // As in Loki, filters decide early only where no label is grouped by.
            tests: if groups.is_empty() && !required.is_empty() { tests(steps, unwrapping) } else { Vec::new() },
        };
        Self { hints, required, metadata }
    }
}

/// Label filters that look at one label.
fn tests(steps: &[Step], unwrapping: Option<&Unwrapping>) -> Vec<(NameId, LabelTest)> {
    let of_steps = steps.iter().filter_map(|step| match step {
        Step::Label(test) => Some(test),
        _ => None,
    });
    // Several filters after `unwrap` are one combination, and that decides nothing early.
    let after = unwrapping.map_or(&[][..], |unwrapping| unwrapping.filters.as_slice());
    let after = if after.len() == 1 { after } else { &[] };
    of_steps.chain(after).filter_map(|test| Some((test.only_name()?, test.clone()))).collect()
}

/// The names, each once, and those with a suffix without it too: a parser decides whether it needs
/// a label before it knows that the name is taken.
fn with_unsuffixed(ids: Vec<NameId>, names: &mut Names) -> Vec<NameId> {
    let mut out: Vec<NameId> = Vec::with_capacity(ids.len());
    for id in ids {
        let text = names.text(id).to_owned();
        let plain = text.strip_suffix(DUPLICATE_SUFFIX).map(|plain| names.intern(plain));
        for id in std::iter::once(id).chain(plain) {
            if !names.text(id).is_empty() && !out.contains(&id) {
                out.push(id);
            }
        }
    }
    out
}

/// Labels that stages look at.
#[derive(Default)]
struct LookedAt {
    /// Those that count as required.
    by_parsers: Vec<NameId>,
    /// Others: a change in them shows, but parsers are not told.
    others: Vec<NameId>,
    /// A template uses all labels.
    all: bool,
}

impl LookedAt {
    fn add_step(&mut self, step: &Step, names: &mut Names) {
        match step {
            Step::Label(test) => test.names(&mut self.by_parsers),
            Step::LineFormat(template) => self.add_fields(template.fields(), names),
            Step::LabelFormat(templates) => {
                let (mut renamed, mut fields) = (Vec::new(), Vec::new());
                templates.each_field(|id| renamed.push(id), |named| fields.push(named));
                self.by_parsers.extend(renamed);
                fields.into_iter().for_each(|named| self.add_fields(named, names));
                self.others.extend(templates.set_names());
            }
            Step::Drop(picks) | Step::Keep(picks) => self.others.extend(picks.names()),
            Step::JsonPaths(paths) => self.others.extend(paths.names()),
            Step::LogfmtKeys(keys) => self.others.extend(keys.labels.iter().map(|&(label, _)| label)),
            Step::Line(_)
            | Step::Json
            | Step::Logfmt { .. }
            | Step::Regexp(_)
            | Step::Pattern(_)
            | Step::Unpack
            | Step::Decolorize(_) => {}
        }
    }

    fn add_fields(&mut self, fields: Fields, names: &mut Names) {
        match fields {
            Fields::Names(fields) => self.by_parsers.extend(fields.iter().map(|name| names.intern(name))),
            Fields::All => self.all = true,
        }
    }

    fn metadata(&self, unwrapping: Option<&Unwrapping>, wanted: &Wanted, names: &mut Names) -> Wanted {
        let Wanted::Names(groups) = wanted else { return Wanted::All };
        if self.all {
            return Wanted::All;
        }
        let mut ids: Vec<NameId> = self.by_parsers.iter().chain(&self.others).copied().collect();
        ids.extend(groups.iter().map(|name| names.intern(name)));
        ids.extend(unwrapping.map(|unwrapping| unwrapping.name));
        let ids = with_unsuffixed(ids, names);
        Wanted::Names(ids.iter().map(|&id| names.text(id).to_owned()).collect())
    }
}
