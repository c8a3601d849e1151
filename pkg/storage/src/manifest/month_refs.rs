//! The nodes as a root lists them, few bytes each: a root is written anew with every commit.
//!
//! Version 2 has one object for each tenant, `{"tenant": T, "nodes": [[month, version, CRC32C, length], …]}`;
//! a node's path follows from its version and CRC32C. Version 1 had one object for each node,
//! `{"tenant": T, "month": M, "file": F}`.
//!
//! A root is written with the [`Lists`] of the tenants: JSON that is made anew for those that changed only.

use super::MANIFEST_DIR;
use super::files::{Kind, node_path};
use super::format::MonthRef;
use super::model::{FileRef, Months};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use timberlog_types::{Error, Result as TimberlogResult, Tenant};

/// Month, version of the root that the node was written for, CRC32C, length in bytes.
type Node<'a> = (&'a str, u64, u32, u64);

#[derive(Serialize)]
struct Written<'a> {
    tenant: &'a str,
    nodes: Vec<Node<'a>>,
}

/// The nodes of a root, in a form that can be written.
pub(crate) trait Listed {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

impl Listed for Vec<MonthRef> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tenants: Result<Vec<Written<'_>>, S::Error> =
            self.chunk_by(|a, b| a.tenant == b.tenant).map(written).collect();
        serializer.collect_seq(tenants?)
    }
}

/// The entry of each tenant as it stands in a root.
pub(crate) struct Entries<'a>(Vec<&'a RawValue>);

impl Listed for Entries<'_> {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

/// The entries of the last root. A commit changes the nodes of few tenants; those of the others, thousands, are
/// neither looked at nor written out again.
#[derive(Default)]
pub(crate) struct Lists {
    /// Holding the nodes, it knows that they are the same: what is shared cannot change.
    tenants: BTreeMap<Tenant, (Arc<Months>, Box<RawValue>)>,
}

impl Lists {
    /// The entries of all tenants.
    ///
    /// # Errors
    /// `Internal` if a node has another name than its kind.
    pub(crate) fn of(&mut self, tenants: &BTreeMap<Tenant, Arc<Months>>) -> TimberlogResult<Entries<'_>> {
        self.tenants.retain(|tenant, _| tenants.contains_key(tenant));
        for (tenant, months) in tenants {
            if self.tenants.get(tenant).is_some_and(|(listed, _)| Arc::ptr_eq(listed, months)) {
                continue;
            }
            let reference = |(month, node): (&super::Month, &Arc<super::MonthNode>)| MonthRef {
                tenant: tenant.as_str().to_owned(),
                month: month.to_string(),
                file: node.file.clone(),
            };
            let references: Vec<MonthRef> = months.iter().map(reference).collect();
            let entry = written::<serde_json::Error>(&references)
                .and_then(|entry| serde_json::value::to_raw_value(&entry))
                .map_err(|error| Error::internal(error.to_string()))?;
            self.tenants.insert(tenant.clone(), (Arc::clone(months), entry));
        }
        Ok(Entries(self.tenants.values().map(|(_, entry)| &**entry).collect()))
    }
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

pub(crate) fn serialize<M: Listed, S: Serializer>(months: &M, serializer: S) -> Result<S::Ok, S::Error> {
    months.write(serializer)
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

pub(crate) fn deserialize<'de, M: From<Vec<MonthRef>>, D: Deserializer<'de>>(deserializer: D) -> Result<M, D::Error> {
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
    Ok(months.into())
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
    use crate::manifest::{Month, MonthNode};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Root(#[serde(with = "super")] Vec<MonthRef>);

    fn month(tenant: &str, month: &str, version: u64) -> MonthRef {
        let file = FileRef { path: node_path(Kind::Month, version, 0xab), len: 9, crc32c: 0xab };
        MonthRef { tenant: tenant.into(), month: month.into(), file }
    }

    /// The JSON of the lists, and which tenants' were written for it.
    fn json(lists: &mut Lists, tenants: &BTreeMap<Tenant, Arc<Months>>) -> (String, Vec<Tenant>) {
        let listed = |lists: &Lists, tenant: &Tenant| lists.tenants.get(tenant).map(|(_, entry)| entry.get().as_ptr());
        let before: Vec<_> = tenants.keys().map(|tenant| listed(lists, tenant)).collect();
        let json = serde_json::to_string(&Wrapped(lists.of(tenants).unwrap())).unwrap();
        let written = tenants.keys().zip(before).filter(|(tenant, before)| listed(lists, tenant) != *before);
        (json, written.map(|(tenant, _)| tenant.clone()).collect())
    }

    #[derive(Serialize)]
    struct Wrapped<'a>(#[serde(serialize_with = "super::serialize")] Entries<'a>);

    #[test]
    fn only_tenants_that_changed_are_written_out_again() {
        let tenant = |name: &str| Tenant::new(name).unwrap();
        let months = |version: u64| {
            let node = MonthNode { file: month("", "2026-11", version).file, partitions: BTreeMap::new() };
            Arc::new(Months::from([(Month::parse("2026-11").unwrap(), Arc::new(node))]))
        };
        let whole = |nodes: &[(&str, u64)]| {
            let nodes = nodes.iter().map(|(tenant, version)| month(tenant, "2026-11", *version)).collect();
            serde_json::to_string(&Root(nodes)).unwrap()
        };
        let mut lists = Lists::default();
        let mut tenants =
            BTreeMap::from([(tenant("a"), months(1)), (tenant("b"), months(2)), (tenant("c"), months(3))]);
        assert_eq!(json(&mut lists, &tenants).0, whole(&[("a", 1), ("b", 2), ("c", 3)]));
        tenants.insert(tenant("b"), months(4));
        let all = whole(&[("a", 1), ("b", 4), ("c", 3)]);
        assert_eq!(json(&mut lists, &tenants), (all.clone(), vec![tenant("b")]));
        assert_eq!(json(&mut lists, &tenants), (all, vec![]));
        tenants.remove(&tenant("a"));
        tenants.insert(tenant("d"), months(5));
        assert_eq!(json(&mut lists, &tenants), (whole(&[("b", 4), ("c", 3), ("d", 5)]), vec![tenant("d")]));
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
