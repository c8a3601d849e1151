//! The rules of retention by age, compiled.

use super::RetentionRule;
use crate::compaction::purge::RULES_MAX;
use crate::deletes::Selectors;
use crate::hidden::{Hide, Upto};
use std::sync::Arc;
use timberlog_filter::Compiled;
use timberlog_types::{Error, Result, Tenant, TimeRange};

/// Rules that are ready to be asked.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    tenant: Option<Tenant>,
    selector: Option<Selector>,
    age_ns: i64,
}

#[derive(Debug)]
struct Selector {
    filter: Arc<Compiled>,
    text: String,
}

impl Rules {
    /// Compiles rules.
    ///
    /// # Errors
    /// `Invalid` if there are too many, or a selector is refused.
    pub(crate) fn new(rules: &[RetentionRule], selectors: &Selectors) -> Result<Self> {
        if rules.len() >= RULES_MAX {
            return Err(Error::invalid(format!("{} rules of retention, limit {}", rules.len(), RULES_MAX - 1)));
        }
        let compile = |rule: &RetentionRule| -> Result<Rule> {
            let selector = rule.selector.as_ref().map(|selector| -> Result<Selector> {
                Ok(Selector { filter: selectors.compile(selector)?, text: selector.clone() })
            });
            let age_ns = i64::try_from(rule.age.as_nanos()).unwrap_or(i64::MAX);
            Ok(Rule { tenant: rule.tenant.clone(), selector: selector.transpose()?, age_ns })
        };
        Ok(Self { rules: rules.iter().map(compile).collect::<Result<_>>()? })
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The time before which all records of a tenant are expired.
    pub(crate) fn cutoff(&self, tenant: &Tenant, clock_ns: i64) -> Option<i64> {
        let plain = |of: Option<&Tenant>| {
            let ages = self.rules.iter().filter(|rule| rule.selector.is_none() && rule.tenant.as_ref() == of);
            ages.map(|rule| rule.age_ns).min()
        };
        plain(Some(tenant)).or_else(|| plain(None)).map(|age_ns| clock_ns.saturating_sub(age_ns))
    }

    /// What the rules with a selector hide of a tenant, each with its place among the rules.
    pub(crate) fn hides(&self, tenant: &Tenant, clock_ns: i64) -> impl Iterator<Item = (usize, Arc<Hide>)> {
        self.rules.iter().enumerate().filter_map(move |(place, rule)| {
            let selector = rule.selector.as_ref()?;
            if rule.tenant.as_ref().is_some_and(|of| of != tenant) {
                return None;
            }
            let end = clock_ns.saturating_sub(rule.age_ns).saturating_sub(1);
            let (filter, selector) = (Arc::clone(&selector.filter), selector.text.clone());
            let range = TimeRange { start: i64::MIN, end };
            let name = format!("retention {selector}");
            Some((place, Arc::new(Hide { filter, selector, range, name, upto: Upto::Always })))
        })
    }
}
