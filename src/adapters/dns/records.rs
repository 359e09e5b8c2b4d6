//! From the records of an answer to targets: checked, bounded, each once, and always in the same order.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{RData, Record};
use passage_proto::question::Target;

use crate::adapters::targets::{TARGETS_MAX, checked_one};
use crate::config::{self, DnsRecords};

/// Longest time that records are believed, whatever their TTL says.
pub(super) const VALID_MAX: Duration = Duration::from_secs(3_600);

/// What is in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// By priority, then by weight (the heaviest first), then by name.
    pub(super) targets: Vec<Arc<Target>>,
    /// How long they are good: the shortest TTL among the records.
    pub(super) valid_for: Duration,
    /// Records that are no targets.
    pub(super) unusable: usize,
    /// What is wrong with one of those, to be read after "a record …"; empty if there are none.
    pub(super) problem: String,
}

/// Makes targets of the records that are asked for and leaves all others out.
pub(super) fn targets<'a>(settings: &config::Dns, records: impl IntoIterator<Item = &'a Record>) -> Found {
    let domain = &settings.domain;
    let mut found = BTreeMap::new();
    let mut ttl = None::<u32>;
    let mut wrong = Vec::new();
    for record in records {
        let target = match (&record.data, settings.records) {
            (RData::SRV(service), DnsRecords::Srv) => named(domain, service),
            (RData::A(address), DnsRecords::Addresses { port, .. }) => {
                addressed(domain, address.0.into(), port)
            }
            (RData::AAAA(address), DnsRecords::Addresses { port, .. }) => {
                addressed(domain, address.0.into(), port)
            }
            // The names that lead here: they are believed no longer than their own TTL.
            (RData::CNAME(_), _) => {
                ttl = Some(ttl.map_or(record.ttl, |least| least.min(record.ttl)));
                continue;
            }
            _ => continue,
        };
        match target {
            Ok((rank, target)) => {
                ttl = Some(ttl.map_or(record.ttl, |least| least.min(record.ttl)));
                found.entry(rank).or_insert(target);
            }
            Err(problem) => wrong.push(problem),
        }
    }
    let mut all = each_once(found);
    if all.len() > TARGETS_MAX {
        wrong.push(format!(
            "is one of {} targets, of which only {TARGETS_MAX} are used",
            all.len()
        ));
        all.truncate(TARGETS_MAX);
    }
    Found {
        targets: all,
        valid_for: Duration::from_secs(ttl.unwrap_or(0).into()).min(VALID_MAX),
        unusable: wrong.len(),
        // The same problem for the same set of records, in whichever order they come.
        problem: wrong.into_iter().min().unwrap_or_default(),
    }
}

/// Where a target stands among the others: equal ranks are the same target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: u16,
    /// The heaviest first.
    lightness: u16,
    address: Option<IpAddr>,
    identifier: String,
}

fn named(domain: &str, service: &SRV) -> Result<(Rank, Arc<Target>), String> {
    if service.target.is_root() {
        return Err("has the root as its target: no such service (RFC 2782)".into());
    }
    // What no host name has is escaped here, and then refused.
    let host = service
        .target
        .to_ascii()
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let meta = [
        ("domain", domain.to_owned()),
        ("priority", service.priority.to_string()),
        ("weight", service.weight.to_string()),
    ];
    let target = checked_one(Target {
        identifier: format!("{host}:{}", service.port),
        host,
        port: service.port,
        priority: service.priority.into(),
        meta: meta.map(|(key, value)| (key.to_owned(), value)).into(),
    })?;
    let rank = Rank {
        priority: service.priority,
        lightness: u16::MAX - service.weight,
        address: None,
        identifier: target.identifier.clone(),
    };
    Ok((rank, target))
}

fn addressed(domain: &str, address: IpAddr, port: u16) -> Result<(Rank, Arc<Target>), String> {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return Err(format!("has the address {address}, which is no host's"));
    }
    let target = checked_one(Target {
        identifier: address.to_string(),
        host: address.to_string(),
        port,
        priority: 0,
        meta: [("domain".to_owned(), domain.to_owned())].into(),
    })?;
    let rank = Rank {
        priority: 0,
        lightness: 0,
        address: Some(address),
        identifier: target.identifier.clone(),
    };
    Ok((rank, target))
}

/// A server that several records name is one target, with the best of their ranks.
fn each_once(ranked: BTreeMap<Rank, Arc<Target>>) -> Vec<Arc<Target>> {
    let mut seen = HashSet::new();
    ranked
        .into_values()
        .filter(|target| seen.insert(target.identifier.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
