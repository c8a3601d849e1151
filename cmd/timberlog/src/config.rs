//! Flags, environment, configuration file: a flag wins over the environment, the environment over
//! the file, the file over the default.
//!
//! The file is YAML: the long names of the flags of `serve` without their dashes, `data-dir: /var/lib/timberlog`. Its
//! settings are turned into flags in front of the real ones, so that each setting is defined,
//! checked and documented in one place.

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use timberlog_types::Error;

/// The flag that names the file, and its environment variable.
const FLAG: &str = "--config";
const VARIABLE: &str = "TIMBERLOG_CONFIG";
/// A configuration file is a page, not a book.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Parses the command line, with the configuration file behind it.
pub fn arguments<T: Parser>() -> Result<T> {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if words.get(1).is_some_and(|command| command == "serve")
        && let Some(path) = file(&words)
    {
        let settings = read(Path::new(&path))?;
        let known = T::command().find_subcommand("serve").cloned().unwrap_or_default();
        let flags =
            flags(&settings, &known).with_context(|| format!("configuration file `{}`", Path::new(&path).display()))?;
        words.splice(2..2, flags);
    }
    Ok(T::try_parse_from(words)?)
}

/// The file that the command line or the environment names.
fn file(words: &[OsString]) -> Option<OsString> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == FLAG {
            return words.next().cloned();
        }
        if let Some(path) = word.to_str().and_then(|word| word.strip_prefix(FLAG)?.strip_prefix('=')) {
            return Some(path.into());
        }
    }
    std::env::var_os(VARIABLE).filter(|path| !path.is_empty())
}

/// Settings by name.
pub type Settings = BTreeMap<String, serde_json::Value>;

fn read(path: &Path) -> Result<Settings> {
    let doing = || format!("read configuration file `{}`", path.display());
    let io = |error: std::io::Error| Error::io(doing(), &error);
    if std::fs::metadata(path).map_err(io)?.len() > FILE_BYTES_MAX {
        return Err(Error::invalid(format!("{}: longer than {FILE_BYTES_MAX} bytes", doing())).into());
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    settings(&text).map_err(|error| Error::invalid(format!("{}: {error}", doing())).into())
}

/// The settings of a file. Only `true` and `false` are booleans, as in YAML 1.2: `compaction: off` names one of the words that
/// the flag takes, and an index may be of a field `n`.
pub fn settings(text: &str) -> std::result::Result<Settings, serde_saphyr::Error> {
    if text.trim().is_empty() {
        return Ok(Settings::new());
    }
    serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: true })
}

/// The settings as flags, without those that the environment sets.
pub fn flags(settings: &Settings, known: &clap::Command) -> Result<Vec<OsString>> {
    let mut flags = Vec::new();
    for (name, value) in settings {
        let argument = known
            .get_arguments()
            .find(|argument| argument.get_long() == Some(name) && name != "config")
            .ok_or_else(|| Error::invalid(format!("unknown setting `{name}`; `timberlog serve --help` lists them")))?;
        if argument.get_env().is_some_and(|variable| std::env::var_os(variable).is_some()) {
            continue;
        }
        let takes_value = argument.get_action().takes_values();
        // A setting that is not cut at commas is a flag for each item.
        let is_repeated = matches!(argument.get_action(), clap::ArgAction::Append);
        match value {
            serde_json::Value::Array(items) if is_repeated && argument.get_value_delimiter() != Some(',') => {
                for item in items {
                    flags.push(format!("--{name}={}", text(name, item)?).into());
                }
            }
            value if takes_value => flags.push(format!("--{name}={}", text(name, value)?).into()),
            value if switch(name, value)? => flags.push(format!("--{name}").into()),
            _ => {}
        }
    }
    Ok(flags)
}

/// Whether a flag without a value is set, in the words of YAML 1.1 too.
fn switch(name: &str, value: &serde_json::Value) -> Result<bool> {
    match text(name, value)?.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Ok(true),
        "false" | "no" | "off" => Ok(false),
        _ => Err(Error::invalid(format!("setting `{name}`: expected true or false")).into()),
    }
}

fn text(name: &str, value: &serde_json::Value) -> Result<String> {
    use serde_json::Value;
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Array(items) => {
            let items: Result<Vec<String>> = items.iter().map(|item| text(name, item)).collect();
            Ok(items?.join(","))
        }
        Value::Null | Value::Object(_) => {
            Err(anyhow!(Error::invalid(format!("setting `{name}`: expected a text, a number or a list"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(Parser)]
    struct Serve {
        #[arg(long, value_parser = ["on", "off"])]
        compaction: Option<String>,
        #[arg(long, value_delimiter = ',')]
        index: Vec<String>,
        #[arg(long)]
        demo: bool,
        #[arg(long)]
        read_only: bool,
    }

    #[test]
    fn words_that_are_no_booleans_of_yaml_stay_words() {
        let settings = settings("compaction: off\nindex: [n, on, No]\ndemo: yes\nread-only: off\n").unwrap();
        let flags = flags(&settings, &Serve::command()).unwrap();
        assert_eq!(flags, ["--compaction=off", "--demo", "--index=n,on,No"]);
        let wrong = super::settings("demo: maybe").unwrap();
        let said = super::flags(&wrong, &Serve::command()).unwrap_err().to_string();
        assert!(said.contains("setting `demo`: expected true or false"), "{said}");
    }
}
