//! The recorded conversations: what real clients send, and the world that they meet.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use passage_proto::packet::handshake::Intent;
use passage_proto::packet::login;
use passage_proto::packet::login::PluginResponse;
use passage_proto::question::{AskError, RewriteHost, RoutePlan};
use passage_proto::session::ProxyExpectation;
use uuid::Uuid;

use crate::client::{Client, Event, KEEP_ALIVE_ID};
use crate::cookies::{alices_cookie, cookie_of, forged_cookie};
use crate::world::{ALICE, BIRTH, MALLORY, World, keys, refusal, setup};

/// One conversation.
pub(crate) struct Recording {
    pub(crate) name: &'static str,
    pub(crate) world: World,
    pub(crate) script: Vec<Event>,
}

pub(crate) const VISIT: &[u8] =
    br#"{"id":"7b5b9b1e-26a5-4b5c-9d5e-0c1d5f1f2a3b","server_address":"play.example.net",
"server_port":25565,"extra":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#;

/// All of them.
pub(crate) static ALL: LazyLock<Vec<Recording>> = LazyLock::new(|| {
    [
        pings(),
        proxied(),
        logins(),
        refusals(),
        relays(),
        faults(),
        login_faults(),
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// The one of that name.
pub(crate) fn named(name: &str) -> &'static Recording {
    ALL.iter().find(|recording| recording.name == name).unwrap()
}

fn pings() -> Vec<Recording> {
    let modern = || Client::new(770).handshake("Play.Example.net.", Intent::Status);
    let unknown_host = World::nowhere();
    let silent = World {
        status: None,
        ..World::nowhere()
    };
    vec![
        record("status", World::status(), modern().status_request().ping(42)),
        record(
            "status_without_ping",
            World::status(),
            modern().status_request().hang_up(),
        ),
        record(
            "status_timeout_after_response",
            World::status(),
            modern().status_request().wait(secs(31)),
        ),
        record("ping_only", World::status(), modern().ping(-1)),
        record(
            "status_for_no_route",
            unknown_host,
            modern().status_request().ping(1),
        ),
        record("silence_for_no_route", silent, modern().status_request()),
        record("hung_up_before_status", World::status(), modern().hang_up()),
        record(
            "legacy_plain",
            World::status(),
            Client::new(0).raw(&[0xFE]).wait(secs(1)),
        ),
        record(
            "legacy_versioned",
            World::status(),
            Client::new(0).raw(&[0xFE, 0x01]).wait(secs(1)),
        ),
        record(
            "legacy_ping_host",
            World::status(),
            Client::new(0).raw(&legacy_ping_host()),
        ),
    ]
}

fn proxied() -> Vec<Recording> {
    vec![
        record(
            "proxy_v1_status",
            World::status().behind_a_proxy(),
            Client::new(770)
                .raw(b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 25565\r\n")
                .handshake("play.example.net", Intent::Status)
                .status_request()
                .ping(7),
        ),
        record(
            "proxy_v1_unknown_status",
            World::status().behind_a_proxy(),
            Client::new(770)
                .raw(b"PROXY UNKNOWN\r\n")
                .handshake("play.example.net", Intent::Status)
                .ping(7),
        ),
        record(
            "proxy_v2_status",
            World::status().behind_a_proxy(),
            Client::new(770)
                .raw(&proxy_v2(
                    0x21,
                    &[203, 0, 113, 9, 198, 51, 100, 1, 0x9C, 0x40, 0x63, 0xDD],
                ))
                .handshake("play.example.net", Intent::Status)
                .ping(7),
        ),
        record(
            "proxy_v2_local_status",
            World::status().behind_a_proxy(),
            Client::new(770)
                .raw(&proxy_v2(0x20, &[]))
                .handshake("play.example.net", Intent::Status)
                .ping(7),
        ),
    ]
}

fn logins() -> Vec<Recording> {
    let mut logins: Vec<_> = [
        ("login_766", 766),
        ("login_767", 767),
        ("login_770", 770),
        ("login_775", 775),
        ("login_776", 776),
        ("login_777", 777),
        ("login_newer", 9_999),
    ]
    .into_iter()
    .map(|(name, protocol)| record(name, World::transfer(), login(protocol)))
    .collect();
    logins.extend([
        record("login_without_encryption", World::open_transfer(), {
            start(770, Intent::Login).session_cookie(None).acknowledged()
        }),
        record(
            "transfer_with_cookies",
            World::transfer(),
            arrival(&alices_cookie()),
        ),
        record("login_with_a_trace", traced(), login(770)),
        record(
            "transfer_with_a_trace_that_goes_on",
            traced(),
            arrival(&alices_cookie()),
        ),
        record("transfer_with_cookies_unencrypted", cookies_in_clear(), {
            start(777, Intent::Transfer)
                .session_cookie(Some(VISIT))
                .authentication_cookie(Some(&alices_cookie()))
                .acknowledged()
        }),
        record("transfer_without_cookies", World::transfer(), {
            enter(
                start(770, Intent::Transfer)
                    .session_cookie(None)
                    .authentication_cookie(None),
            )
        }),
        record(
            "transfer_with_forged_cookie",
            World::transfer(),
            arrival(&forged_cookie()),
        ),
        record(
            "transfer_with_expired_cookie",
            World::transfer(),
            arrival(&cookie_of(BIRTH - 21_601, setup().peer)),
        ),
        record("transfer_from_another_address", World::transfer(), {
            arrival(&cookie_of(BIRTH, SocketAddr::from(([192, 0, 2, 2], 50_000))))
        }),
        record(
            "keep_alive",
            World {
                target: None,
                ..World::transfer()
            },
            {
                login(770)
                    .wait(secs(16))
                    .keep_alive(KEEP_ALIVE_ID)
                    .wait(secs(15))
                    .hang_up()
            },
        ),
    ]);
    logins
}

fn refusals() -> Vec<Recording> {
    let no = |key, cause| Some(Err(refusal(key, cause)));
    let unknown = World {
        profile: Some(Err(refusal("disconnect_not_authenticated", AskError::Denied))),
        ..World::transfer()
    };
    let no_target = World {
        target: no("disconnect_no_target", AskError::Denied),
        ..World::transfer()
    };
    let banned = World {
        target: no("disconnect_filtered", AskError::Denied),
        ..World::relay(RewriteHost::Keep)
    };
    let closed = World {
        plan: Some(RoutePlan::Refuse(refusal(
            "disconnect_overloaded",
            AskError::Overloaded,
        ))),
        ..World::status()
    };
    vec![
        record("login_for_no_route", World::nowhere(), start(770, Intent::Login)),
        record(
            "old_client_for_no_route",
            World::nowhere(),
            start(47, Intent::Login),
        ),
        record(
            "login_too_old_for_transfer",
            World::transfer(),
            start(765, Intent::Login),
        ),
        record("login_refused_by_plan", closed.clone(), start(770, Intent::Login)),
        record(
            "ping_refused_by_plan",
            closed,
            Client::new(770).handshake("a", Intent::Status).ping(1),
        ),
        record("not_authenticated", unknown, login(770)),
        record("no_target", no_target.clone(), login(770)),
        record("no_target_in_a_hurry", no_target.clone(), {
            let entered = start(770, Intent::Login)
                .session_cookie(None)
                .encryption_response()
                .acknowledged();
            entered.wait(secs(1))
        }),
        record(
            "no_words",
            World {
                speaks: false,
                ..no_target
            },
            login(770).wait(secs(3)),
        ),
        record("relay_refused", banned, start(763, Intent::Login)),
    ]
}

fn relays() -> Vec<Recording> {
    let forge = |world| {
        let client = Client::new(340).handshake("Mods.Example.net\0FML2\0", Intent::Login);
        (
            world,
            client.login_start("Alice", ALICE).raw(b"and whatever follows"),
        )
    };
    let (keep, kept) = forge(World::relay(RewriteHost::Keep));
    let (to_target, renamed) = forge(World::relay(RewriteHost::Target));
    let (to_literal, literal) = forge(World::relay(RewriteHost::Literal("fixed.example".to_owned())));
    vec![
        record("relay_keep", keep, kept),
        record("relay_target", to_target, renamed),
        record("relay_literal", to_literal, literal),
        record(
            "relay_of_the_newest",
            World::relay(RewriteHost::Keep),
            start(777, Intent::Transfer),
        ),
        record(
            "relay_of_an_unknown_login_start",
            World::relay(RewriteHost::Keep),
            {
                Client::new(764)
                    .handshake("play.example.net", Intent::Login)
                    .raw(b"\x07\x00\x05Alice")
            },
        ),
    ]
}

fn faults() -> Vec<Recording> {
    let modern = || Client::new(770).handshake("play.example.net", Intent::Status);
    let strict = World {
        setup: passage_proto::session::Setup {
            proxy: ProxyExpectation::Required { v1: false, v2: true },
            ..setup()
        },
        ..World::status()
    };
    vec![
        record(
            "two_requests",
            World::status(),
            modern().status_request().status_request(),
        ),
        record(
            "intent_four",
            World::status(),
            Client::new(0).raw(b"\x07\x00\x00\x01a\x00\x00\x04"),
        ),
        record(
            "negative_length",
            World::status(),
            Client::new(0).raw(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        ),
        record("empty_frame", World::status(), Client::new(0).raw(&[0, 0])),
        record("proxy_header_missing", strict.clone(), modern()),
        record(
            "proxy_version_refused",
            strict,
            Client::new(0).raw(b"PROXY UNKNOWN\r\n"),
        ),
        record(
            "http_request",
            World::status(),
            Client::new(0).raw(b"GET / HTTP/1.1\r\n"),
        ),
        record(
            "proxy_header_unexpected",
            World::status(),
            Client::new(0).raw(b"PROXY UNKNOWN\r\n"),
        ),
    ]
}

fn login_faults() -> Vec<Recording> {
    let transfer = World::transfer;
    vec![
        record("cookie_of_another_key", transfer(), {
            start(770, Intent::Login).login_cookie("minecraft:other", None)
        }),
        record("plugin_response_in_login", transfer(), {
            let response = PluginResponse {
                message_id: 1,
                data: None,
            };
            start(770, Intent::Login).login(login::Serverbound::PluginResponse(response))
        }),
        record("token_of_another_connection", transfer(), {
            start(770, Intent::Login)
                .session_cookie(None)
                .encryption_response_with(&[0; 4])
        }),
        record(
            "acknowledged_before_success",
            transfer(),
            start(770, Intent::Login).acknowledged(),
        ),
        record(
            "keep_alive_out_of_the_blue",
            World {
                target: None,
                ..transfer()
            },
            login(770).keep_alive(1),
        ),
        record("empty_name", transfer(), {
            Client::new(770)
                .handshake("a", Intent::Login)
                .login_start("", Uuid::nil())
        }),
    ]
}

/// A shard that records the trace of what it does.
fn traced() -> World {
    World {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"),
        ..World::transfer()
    }
}

/// A whole login of Alice's without cookies.
fn login(protocol: i32) -> Client {
    enter(start(protocol, Intent::Login).session_cookie(None))
}

/// A login as Mallory, with a visit and somebody's authentication cookie.
fn arrival(cookie: &[u8]) -> Client {
    arrive("Mallory", MALLORY, cookie)
}

/// A login as anybody with that cookie.
pub(crate) fn arrival_of(name: &str, id: Uuid, cookie: &[u8]) -> Vec<Event> {
    arrive(name, id, cookie).script()
}

fn arrive(name: &str, id: Uuid, cookie: &[u8]) -> Client {
    let start = start_as(name, id, 770, Intent::Transfer);
    enter(
        start
            .session_cookie(Some(VISIT))
            .authentication_cookie(Some(cookie)),
    )
}

fn start(protocol: i32, intent: Intent) -> Client {
    start_as("Alice", ALICE, protocol, intent)
}

fn start_as(name: &str, id: Uuid, protocol: i32, intent: Intent) -> Client {
    Client::new(protocol)
        .handshake("play.example.net", intent)
        .login_start(name, id)
}

fn enter(client: Client) -> Client {
    client
        .encryption_response()
        .acknowledged()
        .brand()
        .client_information("de_de")
}

fn cookies_in_clear() -> World {
    let mut world = World::open_transfer();
    if let Some(RoutePlan::Transfer(plan)) = &mut world.plan {
        plan.cookies = Some(keys());
    }
    world
}

fn proxy_v2(version_and_command: u8, addresses: &[u8]) -> Vec<u8> {
    let family = if addresses.is_empty() { 0x00 } else { 0x11 };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([version_and_command, family]);
    header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    header.extend_from_slice(addresses);
    header
}

fn legacy_ping_host() -> Vec<u8> {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    let host = utf16("Play.Example.net");
    let mut ping = vec![0xFE, 0x01, 0xFA, 0x00, 0x0B];
    ping.extend(utf16("MC|PingHost"));
    ping.extend(u16::try_from(7 + host.len()).unwrap().to_be_bytes());
    ping.push(78);
    ping.extend(u16::try_from(host.len() / 2).unwrap().to_be_bytes());
    ping.extend(host);
    ping.extend(25_565_i32.to_be_bytes());
    ping
}

fn record(name: &'static str, world: World, client: Client) -> Recording {
    Recording {
        name,
        world,
        script: client.script(),
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
