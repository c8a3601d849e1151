//! Tenants: separate databases within one server, named by the header `X-Scope-OrgID`.

use crate::error::{Error, Result};

/// The name of a tenant. It becomes a path, so its alphabet is checked here and nowhere else:
/// Loki's (letters, digits and `!-_.*'()`), 1 to 150 bytes, never `.` or `..`.
///
/// Source: <https://grafana.com/docs/mimir/latest/configure/about-tenant-ids/>, which Loki shares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Box<str>);

/// The longest name of a tenant, in bytes.
pub const TENANT_BYTES_MAX: usize = 150;

impl Tenant {
    /// Checks a name.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() || name.len() > TENANT_BYTES_MAX {
            return Err(Error::invalid(format!(
                "tenant name has {} bytes, expected 1 to {TENANT_BYTES_MAX}",
                name.len()
            )));
        }
        if name == "." || name == ".." {
            return Err(Error::invalid(format!("tenant name `{name}` is not allowed")));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!-_.*'()".contains(c);
        if let Some(c) = name.chars().find(|&c| !allowed(c)) {
            return Err(Error::invalid(format!(
                "tenant name has the character {c:?}, expected letters, digits and !-_.*'()"
            )));
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    /// The tenant of requests that name none: `default`.
    fn default() -> Self {
        Self("default".into())
    }
}

impl std::fmt::Display for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Tenant;

    #[test]
    fn hostile_names_are_refused() {
        for name in ["", ".", "..", "a/b", "a\0b", "a b", "ä", "a|b", &"x".repeat(151)] {
            assert!(Tenant::new(name).is_err(), "{name:?}");
        }
        for name in ["a", "default", "...", "team-1_(x)!*'.", &"x".repeat(150)] {
            assert_eq!(Tenant::new(name).unwrap().as_str(), name);
        }
    }
}
