//! Log levels, and the many ways in which senders spell them.

/// The normalised level of a record. The order is the order of severity; `Unknown` comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// No level was sent, or one that we do not know.
    #[default]
    Unknown = 0,
    /// Finer than debug.
    Trace = 1,
    /// For developers.
    Debug = 2,
    /// Normal operation.
    Info = 3,
    /// Something to look at.
    Warn = 4,
    /// Something failed.
    Error = 5,
    /// The process or system cannot go on (`CRITICAL`, `PANIC`, `EMERG` and `ALERT` too).
    Fatal = 6,
}

/// Spellings, lowercase, with the level they mean.
const SPELLINGS: &[(&str, Level)] = &[
    ("info", Level::Info),
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("debug", Level::Debug),
    ("warning", Level::Warn),
    ("information", Level::Info),
    ("informational", Level::Info),
    ("inf", Level::Info),
    ("notice", Level::Info),
    ("err", Level::Error),
    ("eror", Level::Error),
    ("severe", Level::Error),
    ("wrn", Level::Warn),
    ("dbg", Level::Debug),
    ("trace", Level::Trace),
    ("trc", Level::Trace),
    ("verbose", Level::Trace),
    ("fatal", Level::Fatal),
    ("critical", Level::Fatal),
    ("crit", Level::Fatal),
    ("panic", Level::Fatal),
    ("alert", Level::Fatal),
    ("emerg", Level::Fatal),
    ("emergency", Level::Fatal),
    ("unknown", Level::Unknown),
    // pino and bunyan; the numbers of syslog are below 10, and mean the opposite order.
    ("10", Level::Trace),
    ("20", Level::Debug),
    ("30", Level::Info),
    ("40", Level::Warn),
    ("50", Level::Error),
    ("60", Level::Fatal),
];

/// Spellings of levels that Loki knows, whatever their case, and the levels that it makes of them.
/// Source: `pkg/distributor/field_detection.go` of Loki.
const DETECTED: [(&str, &str); 14] = [
    ("trace", "trace"),
    ("trc", "trace"),
    ("debug", "debug"),
    ("dbg", "debug"),
    ("info", "info"),
    ("inf", "info"),
    ("information", "info"),
    ("warn", "warn"),
    ("wrn", "warn"),
    ("warning", "warn"),
    ("error", "error"),
    ("err", "error"),
    ("critical", "critical"),
    ("fatal", "fatal"),
];

/// The level that Loki makes of a spelling; `None` if it does not know it.
pub fn detected(spelling: &[u8]) -> Option<&'static str> {
    DETECTED.iter().find(|(text, _)| text.as_bytes().eq_ignore_ascii_case(spelling)).map(|&(_, level)| level)
}

/// The spellings, whatever their case, of which [`detected`] makes this level.
pub fn detected_spellings(detected: &str) -> impl Iterator<Item = &'static str> {
    DETECTED.iter().filter(move |(_, level)| *level == detected).map(|&(text, _)| text)
}

/// The names under which senders of streams and structured metadata tell a level (Loki's protocol),
/// those that count first coming first.
pub const KEYS: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log.level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

impl Level {
    /// Every level, least severe first.
    pub const ALL: [Level; 7] =
        [Level::Unknown, Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

    /// The level that a spelling means, whatever its case; [`Level::Unknown`] for any other text.
    pub fn normalise(spelling: &str) -> Self {
        Self::parse(spelling).unwrap_or(Level::Unknown)
    }

    /// The level that a spelling means, whatever its case, or `None` for any other text.
    pub fn parse(spelling: &str) -> Option<Self> {
        let trimmed = spelling.trim();
        SPELLINGS.iter().find(|(text, _)| text.eq_ignore_ascii_case(trimmed)).map(|&(_, level)| level)
    }

    /// The level with this number, or `None`.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name: `unknown`, `trace`, `debug`, `info`, `warn`, `error` or `fatal`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::Unknown => "unknown",
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn spellings_are_normalised_whatever_their_case() {
        assert_eq!(Level::normalise("CRITICAL"), Level::Fatal);
        assert_eq!(Level::normalise("Warning"), Level::Warn);
        assert_eq!(Level::normalise("iNFo"), Level::Info);
        assert_eq!(Level::normalise("loud"), Level::Unknown);
        assert_eq!(Level::parse("loud"), None);
        assert_eq!(Level::parse("unknown"), Some(Level::Unknown));
    }

    #[test]
    fn the_numbers_of_pino_are_levels_and_no_others() {
        let found: Vec<Level> = ["10", "20", "30", "40", "50", "60"].map(Level::normalise).into();
        assert_eq!(found, Level::ALL[1..]);
        for other in ["0", "3", "7", "35", "70", "030", "30.0", "-30"] {
            assert_eq!(Level::parse(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_are_the_place_in_the_order() {
        for level in Level::ALL {
            assert_eq!(Level::from_u8(level as u8), Some(level));
            assert_eq!(Level::parse(level.as_str()), Some(level));
        }
        assert_eq!(Level::from_u8(7), None);
    }
}
