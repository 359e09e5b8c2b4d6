//! What a simulated shard is told to do, and within which bounds.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Sender;
use passage_proto::question::{LocalizeQuery, RewriteHost, Target};
use passage_proto::status::{StatusDocument, StatusReply};

use crate::ask::Asked;
use crate::choices::Choices;
use crate::engine::Settings;
use crate::feed::Candidate;
use crate::metrics::{AdapterType, Outlet};
use crate::pool::{Blueprint, Limits, ProxyProtocol, RateLimit, Untrusted};
use crate::route::{
    Authentication, Discovery, Localization, Localizer, Mode, RelayOptions, Remote, Route, StatusSource,
    Strategy,
};

const LIMITS: Limits = Limits {
    connections_per_shard: 10_000,
    connections_per_prefix: 0,
    logins_per_shard: 1_000,
    rsa_queue_per_shard: 1_000,
    handshake: Duration::from_secs(5),
    step: Duration::from_secs(8),
    dial: Duration::from_secs(3),
    relay_idle: Duration::from_secs(40),
    relay_gone: Duration::from_secs(60),
    relay_memory_per_shard: 64 * 1024 * 1024,
    receive_buffers_per_shard: 64,
    relay_pipes_per_shard: 4,
    backlog: 16,
};

/// The bound over a conversation.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The hosts that clients know, and what comes of a login there.
pub(super) const HOSTS: [(&str, Mode); 5] = [
    ("relay.example.net", Mode::Relay),
    ("asked.example.net", Mode::Relay),
    ("moved.example.net", Mode::Transfer),
    ("named.example.net", Mode::Relay),
    (SWORN, Mode::Transfer),
];

/// Where players are authenticated.
pub(super) const SWORN: &str = "sworn.example.net";

struct Words;

impl Localizer for Words {
    fn localize(&self, query: &LocalizeQuery) -> String {
        format!("\"{}\"", query.message.key)
    }
}

fn target(identifier: &str, host: &str, port: u16) -> Arc<Target> {
    Arc::new(Target {
        identifier: identifier.into(),
        host: host.into(),
        port,
        priority: 0,
        meta: BTreeMap::new(),
    })
}

pub(super) fn targets() -> Vec<Arc<Target>> {
    vec![
        target("one", "127.0.0.1", 7_001),
        target("two", "127.0.0.1", 7_002),
    ]
}

fn route(host: &str, mode: Mode) -> Route {
    let reply = StatusReply::new(&StatusDocument::default()).unwrap();
    let discovery = match host {
        "asked.example.net" => Discovery::Remote(Remote {
            adapter: 0,
            kind: AdapterType::Grpc,
            timeout: Duration::from_secs(5),
        }),
        "named.example.net" => {
            Discovery::Fixed([Candidate::from(target("named", "one.example.net", 7_003))].into())
        }
        _ => Discovery::Fixed(targets().into_iter().map(Candidate::from).collect()),
    };
    let authentication = match host {
        SWORN => Authentication::Remote {
            adapter: Remote {
                adapter: 1,
                kind: AdapterType::Mojang,
                timeout: Duration::from_secs(5),
            },
            client_must_authenticate: true,
        },
        _ => Authentication::Disabled,
    };
    Route {
        name: host.into(),
        mode,
        relay: RelayOptions {
            send_proxy_protocol: None,
            rewrite_host: RewriteHost::Keep,
        },
        status: StatusSource::Fixed(Arc::new(reply)),
        authentication,
        discovery,
        actions: Vec::new(),
        strategy: Strategy::LeastConnections,
        ejection: crate::ejection::Terms::default(),
        localization: words(),
        cookies: None,
    }
}

fn words() -> Localization {
    Localization {
        words: Arc::new(Words),
        remote: None,
    }
}

pub(super) fn blueprint(control: Sender<Asked>, telemetry: Outlet, choices: &mut Choices) -> Blueprint {
    let routes: Vec<Route> = HOSTS.iter().map(|(host, mode)| route(host, *mode)).collect();
    let rate = RateLimit {
        limit: 3,
        duration: Duration::from_secs(20),
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };
    Blueprint {
        addresses: Vec::new(),
        shards: NonZeroUsize::new(1),
        pin: false,
        routes: routes.into(),
        unknown_host: None,
        localization: words(),
        proxy_protocol: choices.once_in(3).then(|| balancer(choices)),
        rate_limit: choices.once_in(8).then_some(rate),
        limits: Limits {
            connections_per_shard: choices.one_of(&[10_000, 1, 2, 5]),
            connections_per_prefix: if choices.once_in(6) { 2 } else { 0 },
            logins_per_shard: choices.one_of(&[1_000, 1, 2]),
            rsa_queue_per_shard: choices.one_of(&[1_000, 4, 1]),
            ..LIMITS
        },
        max_packet_length: 10_000,
        timeout: TIMEOUT,
        auth_cookie_expiry: Duration::from_secs(3_600),
        control: control.into(),
        news: Vec::new(),
        telemetry,
        traces: None,
    }
}

/// Two of three clients may come through it.
fn balancer(choices: &mut Choices) -> ProxyProtocol {
    ProxyProtocol {
        allow_v1: !choices.once_in(4),
        allow_v2: !choices.once_in(4),
        trusted: vec!["192.0.2.0/31".parse().unwrap()],
        untrusted: choices.one_of(&[Untrusted::Direct, Untrusted::Reject]),
    }
}

pub(super) fn settings(choices: &mut Choices) -> Settings {
    Settings {
        entries: 8,
        completions: 16,
        buffers: choices.one_of(&[8, 1, 2, 64]),
        buffer_bytes: choices.one_of(&[4096, 128]),
        large_buffers: 2,
        large_buffer_bytes: 32 * 1024,
        pipes: choices.one_of(&[2, 0]),
        relay_memory: choices.one_of(&[64 << 20, 64 * 1024]),
    }
}
