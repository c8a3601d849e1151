//! The nodes as a root lists them, few bytes each: a root is written anew with every commit.
//!
//! Version 2 has one object for each tenant, `{"tenant": T, "nodes": [[month, version, CRC32C, length], …]}`;
//! a node's path follows from its version and CRC32C. Version 1 had one object for each node,
//! `{"tenant": T, "month": M, "file": F}`.

use super::MANIFEST_DIR;
use super::files::{Kind, node_path};
use super::format::MonthRef;
use super::model::FileRef;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Month, version of the root that the node was written for, CRC32C, length in bytes.
type Node<'a> = (&'a str, u64, u32, u64);

#[derive(Serialize)]
struct Written<'a> {
    tenant: &'a str,
    nodes: Vec<Node<'a>>,
}

#[derive(Deserialize)]
struct Read {
    tenant: String,
    /// Version 2.
    #[serde(default)]
    nodes: Option<Vec<(String, u64, u32, u64)>>,
    /// Version 1.
    #[serde(default)]
    month: Option<String>,
    #[serde(default)]
    file: Option<FileRef>,
}

pub(crate) fn serialize<S: Serializer>(months: &[MonthRef], serializer: S) -> Result<S::Ok, S::Error> {
    let tenants: Result<Vec<Written<'_>>, S::Error> =
        months.chunk_by(|a, b| a.tenant == b.tenant).map(written).collect();
    serializer.collect_seq(tenants?)
}

/// The nodes of one tenant.
fn written<E: serde::ser::Error>(months: &[MonthRef]) -> Result<Written<'_>, E> {
    let mut nodes = Vec::with_capacity(months.len());
    for MonthRef { month, file, .. } in months {
        let wrong = || E::custom(format_args!("node `{}` has another name than its kind", file.path));
        nodes.push((month.as_str(), version(file).ok_or_else(wrong)?, file.crc32c, file.len));
    }
    Ok(Written { tenant: months.first().map_or("", |month| &month.tenant), nodes })
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<MonthRef>, D::Error> {
    let mut months = Vec::new();
    for Read { tenant, nodes, month, file } in Vec::<Read>::deserialize(deserializer)? {
        match (nodes, month, file) {
            (Some(nodes), None, None) => months.extend(nodes.into_iter().map(|(month, version, crc32c, len)| {
                let file = FileRef { path: node_path(Kind::Month, version, crc32c), len, crc32c };
                MonthRef { tenant: tenant.clone(), month, file }
            })),
            (None, Some(month), Some(file)) => months.push(MonthRef { tenant, month, file }),
            _ => return Err(D::Error::custom(format_args!("nodes of tenant `{tenant}`: expected `nodes`"))),
        }
    }
    Ok(months)
}

/// The version in the name of a node; `None` if the name is not the one that its kind has. Roots name thousands of
/// nodes, so nothing is allocated.
fn version(file: &FileRef) -> Option<u64> {
    let name = file.path.strip_prefix(MANIFEST_DIR)?.strip_prefix("/month-")?.strip_suffix(".json")?;
    let (version, crc32c) = name.split_once('-')?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_kind = version.len() == 20
        && version.bytes().all(|byte| byte.is_ascii_digit())
        && crc32c.len() == 8
        && crc32c.bytes().all(is_hex)
        && u32::from_str_radix(crc32c, 16) == Ok(file.crc32c);
    version.parse().ok().filter(|_| is_kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Root(#[serde(with = "super")] Vec<MonthRef>);

    fn month(tenant: &str, month: &str, version: u64) -> MonthRef {
        let file = FileRef { path: node_path(Kind::Month, version, 0xab), len: 9, crc32c: 0xab };
        MonthRef { tenant: tenant.into(), month: month.into(), file }
    }

    #[test]
    fn nodes_are_one_entry_a_tenant_and_those_of_version_1_are_read() {
        let root = Root(vec![month("a", "2026-10", 7), month("a", "2026-11", 8), month("b", "2026-11", 8)]);
        let json = serde_json::to_string(&root).unwrap();
        assert_eq!(
            json,
            r#"[{"tenant":"a","nodes":[["2026-10",7,171,9],["2026-11",8,171,9]]},{"tenant":"b","nodes":[["2026-11",8,171,9]]}]"#
        );
        assert_eq!(serde_json::from_str::<Root>(&json).unwrap(), root);
        let old = r#"[{"tenant":"a","month":"2026-10","file":{"path":"manifest/month-00000000000000000007-000000ab.json","len":9,"crc32c":171}}]"#;
        assert_eq!(serde_json::from_str::<Root>(old).unwrap(), Root(vec![month("a", "2026-10", 7)]));
        for wrong in [
            r#"[{"tenant":"a"}]"#,
            r#"[{"tenant":"a","month":"2026-10"}]"#,
            r#"[{"tenant":"a","nodes":[["2026-10",7]]}]"#,
        ] {
            assert!(serde_json::from_str::<Root>(wrong).is_err(), "{wrong}");
        }
        let mut renamed = month("a", "2026-10", 7);
        renamed.file.path = "manifest/month-7.json".into();
        assert!(serde_json::to_string(&Root(vec![renamed])).is_err());
    }
}
