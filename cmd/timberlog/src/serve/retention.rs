//! The flags that say how long records are kept, and when deletes are final.

use anyhow::Result;
use bytesize::ByteSize;
use clap::Args;
use std::str::FromStr;
use std::time::Duration;
use timberlog_db::query::logql::delete_text;
use timberlog_db::{Options, RetentionRule};
use timberlog_types::{Error, Tenant};

/// How long records are kept; without a flag for ever.
#[derive(Args)]
pub struct Retention {
    /// Remove records that are older: 30d, 12h. Without this and without rules records are kept for ever
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_RETENTION")]
    retention: Option<humantime::Duration>,
    /// A rule of its own, as often as needed: 'tenant=acme;age=90d', 'selector={service="debug-tool"};age=1d'. A tenant's
    /// rule stands for `--retention`; one with a selector only shortens. In the environment one a line
    #[arg(long = "retention-rule", value_name = "RULE", env = "TIMBERLOG_RETENTION_RULE", value_delimiter = '\n')]
    rules: Vec<Rule>,
    /// Remove the oldest days, whatever their tenant, when the segments take more than this
    #[arg(long, value_name = "SIZE", env = "TIMBERLOG_RETENTION_BYTES")]
    retention_bytes: Option<ByteSize>,
    /// How long a delete can be cancelled: only then are its records removed from the files. They are hidden at once
    #[arg(long, value_name = "TIME", env = "TIMBERLOG_DELETE_CANCEL_PERIOD", default_value = "0s")]
    delete_cancel_period: humantime::Duration,
}

/// A rule as a flag says it.
#[derive(Clone)]
pub struct Rule(RetentionRule);

impl Retention {
    /// Puts them into the settings of a database.
    pub fn apply(&self, options: Options) -> Result<Options> {
        let all = self.retention.map(|age| RetentionRule { tenant: None, selector: None, age: *age });
        let retention: Vec<RetentionRule> =
            all.into_iter().chain(self.rules.iter().map(|rule| rule.0.clone())).collect();
        let is_general = |rule: &&RetentionRule| rule.selector.is_none();
        let mut tenants: Vec<_> = retention.iter().filter(is_general).map(|rule| &rule.tenant).collect();
        tenants.sort_unstable();
        if let Some([twice, _]) = tenants.array_windows().find(|[a, b]| a == b) {
            let of = twice.as_ref().map_or("every tenant".to_owned(), |tenant| format!("tenant `{tenant}`"));
            return Err(Error::invalid(format!("--retention and --retention-rule: two ages for {of}")).into());
        }
        if retention.iter().any(|rule| rule.age < Duration::from_secs(1)) {
            return Err(Error::invalid("--retention and the age of a --retention-rule must be 1s at least").into());
        }
        let retention_bytes = self.retention_bytes.map(|size| size.as_u64());
        if retention_bytes == Some(0) {
            return Err(Error::invalid("--retention-bytes must be above 0").into());
        }
        Ok(Options { retention, retention_bytes, delete_cancel_period: *self.delete_cancel_period, ..options })
    }
}

impl FromStr for Rule {
    type Err = String;

    /// `tenant=…;selector=…;age=…` in any order; a `;` within quotes belongs to a selector.
    fn from_str(text: &str) -> Result<Self, String> {
        let (mut tenant, mut selector, mut age) = (None, None, None);
        for part in parts(text) {
            let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}`: expected name=value"))?;
            let value = value.trim();
            let is_second = match name.trim() {
                "tenant" => tenant.replace(Tenant::new(value).map_err(|error| error.to_string())?).is_some(),
                "selector" => selector.replace(delete_text(value).map_err(|error| error.to_string())?).is_some(),
                "age" => {
                    let parsed = humantime::parse_duration(value).map_err(|error| format!("age `{value}`: {error}"))?;
                    age.replace(parsed).is_some()
                }
                other => return Err(format!("`{other}`: expected `tenant`, `selector` or `age`")),
            };
            if is_second {
                return Err(format!("`{}` stands twice", name.trim()));
            }
        }
        let age = age.ok_or("expected `age=…`, as in `tenant=acme;age=90d`")?;
        if tenant.is_none() && selector.is_none() {
            return Err("expected `tenant=…` or `selector=…` too; `--retention` is for all".to_owned());
        }
        Ok(Self(RetentionRule { tenant, selector, age }))
    }
}

/// The parts between `;`, but for those within quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut quote, mut is_escaped) = (None, false);
    let is_end = |c: char| {
        if is_escaped {
            is_escaped = false;
            return false;
        }
        match (quote, c) {
            (None, '"' | '`') => quote = Some(c),
            (Some('"'), '\\') => is_escaped = true,
            (Some(open), c) if open == c => quote = None,
            (None, ';') => return true,
            _ => {}
        }
        false
    };
    text.split(is_end).map(str::trim).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_name_a_tenant_or_a_selector_and_an_age() {
        let rule = |text: &str| text.parse::<Rule>().map(|rule| rule.0);
        let of = |tenant: Option<&str>, selector: Option<&str>, days: u64| RetentionRule {
            tenant: tenant.map(|name| Tenant::new(name).unwrap()),
            selector: selector.map(str::to_owned),
            age: Duration::from_secs(days * 86_400),
        };
        assert_eq!(rule("tenant=acme;age=90d").unwrap(), of(Some("acme"), None, 90));
        assert_eq!(rule(r#" age = 1d ; selector = {a="b"} "#).unwrap(), of(None, Some(r#"{a="b"}"#), 1));
        let text = r#"selector={a="b;\";"} |= `;`;tenant=x;age=1d"#;
        assert_eq!(rule(text).unwrap(), of(Some("x"), Some(r#"{a="b;\";"} |= ";""#), 1));
        for (text, expected) in [
            ("", "expected `age=…`"),
            ("age=1d", "expected `tenant=…` or `selector=…` too"),
            ("tenant=acme", "expected `age=…`"),
            ("tenant=a/b;age=1d", "tenant"),
            ("tenant=a;tenant=b;age=1d", "`tenant` stands twice"),
            ("tenant=a;age=soon", "age `soon`"),
            ("30d", "expected name=value"),
            ("tenant=a;days=3;age=1d", "`days`: expected"),
            (r#"selector={a="b"} | json;age=1d"#, "`| json` is none of these"),
            ("selector={};age=1d", "at least one"),
        ] {
            let error = rule(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
