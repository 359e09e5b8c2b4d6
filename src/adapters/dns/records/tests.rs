//! Records as a resolver may send them.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, TXT};
use proptest::prelude::*;

use super::*;
use crate::config::Remote;

const DOMAIN: &str = "_minecraft._tcp.example.net";

fn settings(records: DnsRecords) -> config::Dns {
    config::Dns {
        domain: DOMAIN.into(),
        records,
        refresh_interval: Duration::from_secs(30),
        resolvers: Vec::new(),
        remote: Remote::default(),
    }
}

fn addresses() -> config::Dns {
    settings(DnsRecords::Addresses {
        ipv4: true,
        ipv6: true,
        port: 25_570,
    })
}

fn record(ttl: u32, data: RData) -> Record {
    Record::from_rdata(Name::from_ascii(DOMAIN).unwrap(), ttl, data)
}

fn srv(ttl: u32, priority: u16, weight: u16, port: u16, host: &str) -> Record {
    let target = Name::from_ascii(host).unwrap();
    record(ttl, RData::SRV(SRV::new(priority, weight, port, target)))
}

fn found(settings: &config::Dns, records: &[Record]) -> Found {
    targets(settings, records)
}

fn identifiers(found: &Found) -> Vec<&str> {
    found
        .targets
        .iter()
        .map(|target| target.identifier.as_str())
        .collect()
}

#[test]
fn srv_records_become_targets_by_priority_and_weight() {
    let records = [
        srv(60, 20, 0, 25_565, "spare.example.net."),
        srv(30, 10, 5, 25_566, "Light.Example.NET."),
        srv(90, 10, 50, 25_565, "heavy.example.net."),
    ];
    let found = found(&settings(DnsRecords::Srv), &records);
    assert_eq!(
        identifiers(&found),
        [
            "heavy.example.net:25565",
            "light.example.net:25566",
            "spare.example.net:25565"
        ]
    );
    assert_eq!(found.valid_for, Duration::from_secs(30));
    assert_eq!((found.unusable, found.problem.as_str()), (0, ""));
    let light = &found.targets[1];
    // The name as it is: nobody resolves it for a transfer.
    assert_eq!(
        (light.host.as_str(), light.port, light.priority),
        ("light.example.net", 25_566, 10)
    );
    let meta: Vec<_> = light
        .meta
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(meta, [("domain", DOMAIN), ("priority", "10"), ("weight", "5")]);
}

#[test]
fn addresses_become_targets_with_the_port_that_is_configured() {
    let records = [
        record(60, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
        record(60, RData::A(A(Ipv4Addr::new(10, 0, 0, 10)))),
        record(60, RData::A(A(Ipv4Addr::new(10, 0, 0, 9)))),
        record(
            5,
            RData::CNAME(CNAME(Name::from_ascii("lobby.example.net.").unwrap())),
        ),
    ];
    let found = found(&addresses(), &records);
    assert_eq!(identifiers(&found), ["10.0.0.9", "10.0.0.10", "::1"]);
    assert!(
        found
            .targets
            .iter()
            .all(|target| target.port == 25_570 && target.host == target.identifier)
    );
    assert_eq!(
        found.valid_for,
        Duration::from_secs(5),
        "the way to the records ends first"
    );
}

#[test]
fn leaves_out_what_no_player_can_be_sent_to_and_says_so() {
    let long = format!("{}.", ["a".repeat(63), "b".repeat(63), "c".repeat(20)].join("."));
    let with_a_space = Name::from_labels([b"a b".as_slice(), b"example"]).unwrap();
    let with_a_space = record(1, RData::SRV(SRV::new(0, 0, 1, with_a_space)));
    for (bad, told) in [
        (srv(1, 0, 0, 25_565, "."), "has the root as its target"),
        (srv(1, 0, 0, 0, "a.example.net."), "has no port"),
        (with_a_space, "has the address \"a\\\\040b.example\""),
        (srv(1, 0, 0, 1, &long), "has an identifier of"),
    ] {
        let good = srv(60, 0, 0, 25_565, "good.example.net.");
        let found = found(&settings(DnsRecords::Srv), &[bad, good]);
        assert_eq!(identifiers(&found), ["good.example.net:25565"]);
        assert_eq!(found.unusable, 1);
        assert!(found.problem.contains(told), "{}", found.problem);
        assert_eq!(
            found.valid_for,
            Duration::from_secs(60),
            "only targets' records count"
        );
    }
    for nobody in [
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(224, 0, 0, 1),
    ] {
        let found = found(&addresses(), &[record(1, RData::A(A(nobody)))]);
        assert_eq!((found.targets.len(), found.unusable), (0, 1));
    }
}

#[test]
fn takes_no_record_that_was_not_asked_for() {
    let text = record(1, RData::TXT(TXT::new(vec!["v=spf1".into()])));
    let address = record(1, RData::A(A(Ipv4Addr::LOCALHOST)));
    let service = srv(1, 0, 0, 1, "a.example.net.");
    let found_srv = found(&settings(DnsRecords::Srv), &[text.clone(), address]);
    assert_eq!((found_srv.targets.len(), found_srv.unusable), (0, 0));
    let found_addresses = found(&addresses(), &[text, service]);
    assert_eq!((found_addresses.targets.len(), found_addresses.unusable), (0, 0));
}

#[test]
fn one_server_in_several_records_is_one_target_with_its_best_rank() {
    let records = [
        srv(60, 10, 1, 25_565, "a.example.net."),
        srv(60, 5, 1, 25_565, "A.example.net."),
        srv(60, 5, 9, 25_565, "a.example.net."),
    ];
    let found = found(&settings(DnsRecords::Srv), &records);
    assert_eq!(identifiers(&found), ["a.example.net:25565"]);
    assert_eq!(
        (
            found.targets[0].priority,
            found.targets[0].meta["weight"].as_str()
        ),
        (5, "9")
    );
}

#[test]
fn bounds_targets_and_times() {
    let records: Vec<_> = (0..=TARGETS_MAX)
        .map(|n| srv(u32::MAX, 0, 0, 25_565, &format!("s{n}.example.net.")))
        .collect();
    let found = found(&settings(DnsRecords::Srv), &records);
    assert_eq!((found.targets.len(), found.unusable), (TARGETS_MAX, 1));
    assert_eq!(found.valid_for, VALID_MAX);
}

proptest! {
    #[test]
    fn the_order_of_records_changes_nothing(
        rows in prop::collection::vec((0_u16..3, 0_u16..3, 0_u16..3, "[a-c]{1,2}\\."), 0..12),
        turn in any::<prop::sample::Index>(),
    ) {
        let records: Vec<_> = rows
            .iter()
            .map(|(priority, weight, port, host)| srv(7, *priority, *weight, *port, host))
            .collect();
        let mut turned = records.clone();
        if !turned.is_empty() {
            turned.rotate_left(turn.index(records.len()));
            turned.reverse();
        }
        let settings = settings(DnsRecords::Srv);
        prop_assert_eq!(found(&settings, &records), found(&settings, &turned));
    }
}
