//! Every sentence of SPEC "Routes" and "Modes of a route".

use passage_proto::cookie::CookieKeys;
use passage_proto::question::{LoginPlan, Purpose, RoutePlan, RouteQuery};
use passage_proto::status::StatusDocument;

use super::*;
use crate::metrics::AdapterType;

/// Shows the keys of messages.
struct Mute;

impl Localizer for Mute {
    fn localize(&self, query: &LocalizeQuery) -> String {
        query.message.key.to_string()
    }
}

fn mute() -> Localization {
    Localization {
        words: Arc::new(Mute),
        remote: None,
    }
}

fn route(name: &str) -> Route {
    Route {
        name: name.into(),
        mode: Mode::Transfer,
        relay: RelayOptions {
            send_proxy_protocol: None,
            rewrite_host: RewriteHost::Keep,
        },
        status: StatusSource::Fixed(Arc::new(StatusReply::new(&StatusDocument::default()).unwrap())),
        authentication: Authentication::Disabled,
        discovery: Discovery::Fixed(Arc::new([])),
        actions: Vec::new(),
        strategy: Strategy::Fixed,
        ejection: Terms::default(),
        localization: mute(),
        cookies: None,
    }
}

fn table(names: &[&str]) -> Result<Routes, Vec<RouteError>> {
    Routes::new(names.iter().map(|name| route(name)).collect(), None, mute())
}

fn found<'a>(table: &'a Routes, hostname: &str) -> Option<&'a str> {
    table
        .find(hostname)
        .and_then(|at| table.route(at))
        .map(|route| &*route.name)
}

#[test]
fn the_first_match_wins_but_an_exact_name_beats_a_pattern() {
    let table = table(&[
        "*.example.net",
        r"/^eu[0-9]+\.example\.net$/",
        "eu1.example.net",
        "*",
    ])
    .unwrap();
    assert_eq!(found(&table, "eu1.example.net"), Some("eu1.example.net"));
    assert_eq!(
        found(&table, "eu2.example.net"),
        Some("*.example.net"),
        "the glob stands before the expression"
    );
    assert_eq!(found(&table, "example.org"), Some("*"));
    assert_eq!(found(&table, ""), Some("*"), "legacy pings name no host");
}

#[test]
fn a_name_without_a_route_has_none() {
    let table = table(&["play.example.net", r"/^eu[0-9]+\.example\.net$/"]).unwrap();
    assert_eq!(found(&table, "example.org"), None);
    assert_eq!(found(&table, "eu.example.net"), None);
    assert_eq!(found(&table, ""), None);
}

#[test]
fn all_bad_routes_are_named_at_once() {
    let errors = table(&[
        "a.example.net",
        "b example",
        "A.example.net.",
        "*.net",
        "*.net",
        "/x/",
    ])
    .err()
    .unwrap();
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 4, "{texts:#?}");
    assert!(
        texts[0].starts_with("route 2 (\"b example\"): ' ' cannot be in a host name"),
        "{}",
        texts[0]
    );
    assert_eq!(
        texts[1],
        "route 3 (\"A.example.net.\"): route 1 has the same host name; remove one of them"
    );
    assert_eq!(
        texts[2],
        "route 5 (\"*.net\"): route 4 has the same host name; remove one of them"
    );
    assert!(texts[3].contains("not anchored"), "{}", texts[3]);
}

/// Ten thousand exact names are found as fast as ten; with a scan this would be a thousandfold.
#[test]
fn exact_names_cost_the_same_however_many_there_are() {
    let names = |count: usize| {
        (0..count)
            .map(|n| format!("r{n}.example.net"))
            .collect::<Vec<_>>()
    };
    let time = |count: usize| {
        let names = names(count);
        let table = table(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        let last = &names[count - 1];
        let run = || {
            let start = std::time::Instant::now();
            for _ in 0..2_000 {
                assert_eq!(table.find(std::hint::black_box(last)), Some(count - 1));
            }
            start.elapsed()
        };
        (0..5).map(|_| run()).min().unwrap()
    };
    assert!(time(10_000) < time(10) * 50);
}

fn plan(route: &Route, purpose: Purpose, protocol: i32) -> RoutePlan {
    let key: Arc<[u8]> = Arc::new([1, 2, 3]);
    route.plan(
        &RouteQuery {
            hostname: "play.example.net".into(),
            protocol,
            purpose,
        },
        &key,
    )
}

fn login(route: &Route, protocol: i32) -> RoutePlan {
    plan(route, Purpose::Login, protocol)
}

#[test]
fn transfer_needs_a_client_that_can_be_transferred() {
    let route = route("*");
    for protocol in [766, 767, 775, 777, 5_000, 0x4000_00ff] {
        assert!(
            matches!(login(&route, protocol), RoutePlan::Transfer(_)),
            "{protocol}"
        );
    }
    for protocol in [765, 47, 4, 0, -1, i32::MIN] {
        let RoutePlan::Refuse(refusal) = login(&route, protocol) else {
            panic!("{protocol} is not refused")
        };
        assert_eq!(refusal.message.key, "disconnect_version");
        assert_eq!(refusal.message.params, [("version", "1.20.5".to_owned())]);
    }
}

#[test]
fn relay_takes_every_version_and_auto_takes_what_the_client_can() {
    let relay = Route {
        mode: Mode::Relay,
        ..route("*")
    };
    let auto = Route {
        mode: Mode::Auto,
        ..route("*")
    };
    for protocol in [4, 47, 765, 766, 777] {
        assert!(
            matches!(login(&relay, protocol), RoutePlan::Relay(_)),
            "{protocol}"
        );
    }
    assert!(matches!(login(&auto, 765), RoutePlan::Relay(_)));
    assert!(matches!(login(&auto, 766), RoutePlan::Transfer(_)));
}

#[test]
fn a_relayed_handshake_is_rewritten_as_the_route_says() {
    let rewrite_host = RewriteHost::Literal("inner.example.net".into());
    let relay = RelayOptions {
        send_proxy_protocol: None,
        rewrite_host: rewrite_host.clone(),
    };
    let route = Route {
        mode: Mode::Relay,
        relay,
        ..route("*")
    };
    assert!(matches!(login(&route, 47), RoutePlan::Relay(plan) if plan.rewrite_host == rewrite_host));
}

#[test]
fn a_login_is_encrypted_only_where_something_needs_it() {
    let transfer = |authentication, cookies| {
        let route = Route {
            authentication,
            cookies,
            ..route("*")
        };
        match login(&route, 767) {
            RoutePlan::Transfer(plan) => plan,
            other => panic!("{other:?}"),
        }
    };
    let needs = |plan: &LoginPlan| {
        (
            plan.encrypt,
            plan.client_must_authenticate,
            plan.cookies.is_some(),
        )
    };
    let keys = || Some(Arc::new(CookieKeys::new(b"0123456789abcdef", None).unwrap()));
    let remote = |client_must_authenticate| Authentication::Remote {
        adapter: Remote {
            adapter: 0,
            kind: AdapterType::Mojang,
            timeout: Duration::from_secs(10),
        },
        client_must_authenticate,
    };
    assert_eq!(
        needs(&transfer(Authentication::Disabled, None)),
        (false, false, false)
    );
    assert_eq!(
        needs(&transfer(Authentication::Disabled, keys())),
        (true, false, true)
    );
    assert_eq!(needs(&transfer(remote(true), None)), (true, true, false));
    assert_eq!(needs(&transfer(remote(false), keys())), (true, false, true));
}
