//! What becomes of targets, whatever their resolver does.

mod responder;

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use self::responder::{Reply, Responder};
use super::*;
use crate::config::{DnsRecords, Remote};

const EVENTUALLY: Duration = Duration::from_secs(60);
const BOTH: DnsRecords = DnsRecords::Addresses {
    ipv4: true,
    ipv6: true,
    port: 25_565,
};

/// Asks `responder`, failing after `timeout` and without a breaker in between.
fn dns(responder: &Responder, records: DnsRecords, timeout: Duration) -> Dns {
    Dns::new(config::Dns {
        domain: "lobby.example.net".into(),
        records,
        refresh_interval: Duration::from_secs(30),
        resolvers: vec![responder.address],
        remote: Remote {
            timeout,
            retries: 0,
            breaker_failures: 0,
            ..Remote::default()
        },
    })
}

async fn refresh(dns: &Dns) -> Result<Refreshed, AskError> {
    let call = Call {
        deadline: Instant::now() + EVENTUALLY,
        trace: None,
    };
    dns.refresh(call).await
}

fn srv(port: u16, host: &str) -> (u32, RData) {
    (
        30,
        RData::SRV(SRV::new(1, 2, port, Name::from_ascii(host).unwrap())),
    )
}

fn a(last: u8) -> (u32, RData) {
    (30, RData::A(A(Ipv4Addr::new(10, 0, 0, last))))
}

fn identifiers(refreshed: &Refreshed) -> Vec<&str> {
    refreshed
        .targets
        .iter()
        .map(|target| target.identifier.as_str())
        .collect()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

#[test]
fn follows_the_records_of_a_name() {
    run(async {
        let responder = Responder::start(Reply::Records(vec![srv(1, "a.example.net.")])).await;
        let dns = dns(&responder, DnsRecords::Srv, EVENTUALLY);
        let first = refresh(&dns).await.unwrap();
        assert_eq!(identifiers(&first), ["a.example.net:1"]);
        assert_eq!(first.valid_for, Some(Duration::from_secs(30)));
        responder.say(Reply::Records(vec![
            srv(2, "b.example.net."),
            srv(1, "a.example.net."),
        ]));
        let second = refresh(&dns).await.unwrap();
        assert_eq!(identifiers(&second), ["a.example.net:1", "b.example.net:2"]);
        // Nothing is cached in between: whoever refreshes knows when.
        assert_eq!(responder.questions[0].load(Ordering::Relaxed), 2);
    });
}

#[test]
fn asks_over_tcp_for_what_does_not_fit_into_a_datagram() {
    run(async {
        let many = (0..600)
            .map(|n| srv(1, &format!("server-number-{n}.example.net.")))
            .collect();
        let responder = Responder::start(Reply::Truncated(many)).await;
        let dns = dns(&responder, DnsRecords::Srv, EVENTUALLY);
        assert_eq!(refresh(&dns).await.unwrap().targets.len(), 600);
        assert_eq!(responder.questions[1].load(Ordering::Relaxed), 1);
    });
}

#[test]
fn addresses_of_both_kinds_are_targets() {
    run(async {
        let both = vec![a(1), (9, RData::AAAA(AAAA(std::net::Ipv6Addr::LOCALHOST)))];
        let responder = Responder::start(Reply::Records(both)).await;
        let refreshed = refresh(&dns(&responder, BOTH, EVENTUALLY)).await.unwrap();
        assert_eq!(identifiers(&refreshed), ["10.0.0.1", "::1"]);
        assert_eq!(refreshed.valid_for, Some(Duration::from_secs(9)));
        // A name without addresses of one kind has those of the other one.
        responder.say(Reply::Records(vec![a(1)]));
        let only_ipv4 = refresh(&dns(&responder, BOTH, EVENTUALLY)).await.unwrap();
        assert_eq!(identifiers(&only_ipv4), ["10.0.0.1"]);
    });
}

#[test]
fn a_resolver_that_fails_says_nothing_about_the_targets() {
    run(async {
        let responder = Responder::start(Reply::Code(ResponseCode::ServFail)).await;
        let patient = dns(&responder, DnsRecords::Srv, EVENTUALLY);
        assert_eq!(refresh(&patient).await, Err(AskError::Failed));
        responder.say(Reply::Code(ResponseCode::Refused));
        assert_eq!(refresh(&patient).await, Err(AskError::Failed));
        // Half of an answer is none: the targets of the other half would be gone.
        responder.say(Reply::Partly(
            RecordType::AAAA,
            ResponseCode::ServFail,
            vec![a(1)],
        ));
        assert_eq!(
            refresh(&dns(&responder, BOTH, EVENTUALLY)).await,
            Err(AskError::Failed)
        );
        let hasty = dns(&responder, DnsRecords::Srv, Duration::from_millis(300));
        for reply in [Reply::Silence, Reply::Garbage] {
            responder.say(reply);
            assert_eq!(refresh(&hasty).await, Err(AskError::TimedOut));
        }
        responder.say(Reply::Records(vec![srv(1, "a.example.net.")]));
        assert_eq!(
            identifiers(&refresh(&patient).await.unwrap()),
            ["a.example.net:1"]
        );
    });
}

#[test]
fn asks_another_time_after_a_failure_that_may_have_passed() {
    run(async {
        let responder = Responder::start(Reply::Code(ResponseCode::ServFail)).await;
        let mut settings = dns(&responder, DnsRecords::Srv, EVENTUALLY).settings;
        settings.remote.retries = 2;
        assert_eq!(refresh(&Dns::new(settings)).await, Err(AskError::Failed));
        let questions = responder.questions[0].load(Ordering::Relaxed);
        assert!(questions >= 2, "{questions}");
    });
}

#[test]
fn a_name_without_records_has_no_targets() {
    run(async {
        let responder = Responder::start(Reply::Code(ResponseCode::NXDomain)).await;
        let dns = dns(&responder, DnsRecords::Srv, EVENTUALLY);
        let nothing = Refreshed {
            targets: Vec::new(),
            valid_for: None,
        };
        assert_eq!(refresh(&dns).await, Ok(nothing.clone()));
        responder.say(Reply::Records(Vec::new()));
        assert_eq!(refresh(&dns).await, Ok(nothing));
    });
}

fn found(identifiers: &[&str]) -> Found {
    let target = |identifier: &&str| {
        Arc::new(Target {
            identifier: (*identifier).into(),
            host: "10.0.0.1".into(),
            port: 25_565,
            priority: 0,
            meta: [].into(),
        })
    };
    Found {
        targets: identifiers.iter().map(target).collect(),
        valid_for: Duration::from_secs(1),
        unusable: 0,
        problem: String::new(),
    }
}

#[test]
fn targets_stay_for_a_moment_when_their_records_go() {
    let start = Instant::now();
    let mut known = Known::default();
    let mut at = |seconds: f64, answer: &[&str]| {
        let now = start + Duration::from_secs_f64(seconds);
        let refreshed = known.learn("lobby.example.net", found(answer), now);
        (refreshed.targets.len(), refreshed.valid_for.is_some())
    };
    assert_eq!(at(0.0, &["a", "b"]), (2, true));
    assert_eq!(at(1.0, &[]), (2, false));
    assert_eq!(at(10.9, &[]), (2, false));
    // One answer in between, and the time begins anew.
    assert_eq!(at(11.0, &["a"]), (1, true));
    assert_eq!(at(12.0, &[]), (1, false));
    assert_eq!(at(21.9, &[]), (1, false));
    assert_eq!(at(22.0, &[]), (0, false));
    assert_eq!(at(60.0, &[]), (0, false));
    assert_eq!(at(61.0, &["c"]), (1, true));
}
