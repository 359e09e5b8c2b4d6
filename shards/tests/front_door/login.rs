//! Logins that end in a transfer, or in words that the player can read.

use std::time::Duration;

use super::client::{Client, Fields, LOGIN, MODERN, TRANSFER, handshake, login_start, packet, prefixed};
use super::player::{End, Player, SECRET, player};
use super::world::{Counts, HOST, Plan, World, cookie_keys, premium, route, target};
use passage_proto::question::{AskError, Message, Refusal};
use passage_shards::ask::{RemoteAnswer, RemoteQuestion};
use passage_shards::metrics::AdapterType;
use passage_shards::route::{Authentication, Remote, Route};
use passage_shards::rsa;

pub(crate) const MOJANG: Authentication = mojang_within(Duration::from_secs(10));

const fn mojang_within(timeout: Duration) -> Authentication {
    Authentication::Remote {
        adapter: Remote {
            adapter: 3,
            kind: AdapterType::Mojang,
            timeout,
        },
        client_must_authenticate: true,
    }
}

fn hub() -> Route {
    route("*", &[target("hub", "hub.example.net", 25570)])
}

#[test]
fn an_unauthenticated_player_is_transferred_without_encryption() {
    let world = World::start(vec![hub()]);
    let mut alice = player("Alice");
    assert_eq!(
        alice.log_in(&world, LOGIN),
        End::Transfer("hub.example.net".into(), 25570)
    );
    assert!(!alice.announced && alice.authentication.is_none());
    assert!(
        alice
            .session
            .is_some_and(|cookie| cookie.windows(4).any(|window| window == b"\"id\""))
    );
    let (id, name) = alice.welcomed.unwrap();
    assert_eq!((&*name, id[6] >> 4), ("Alice", 3), "an offline-mode UUID");
    let counts = world.end();
    assert_eq!(
        (counts.targets, counts.requests, counts.failed),
        ((1, 1, 0), 1, 0)
    );
}

#[test]
fn the_cookie_decides_who_a_returning_player_is() {
    let world = World::start(vec![Route {
        authentication: MOJANG,
        cookies: Some(cookie_keys()),
        ..hub()
    }]);
    let mut alice = player("Alice");
    assert!(matches!(alice.log_in(&world, LOGIN), End::Transfer(..)));
    assert!(alice.announced, "the first login is authenticated");

    let mut mallory = Player {
        authentication: alice.authentication.clone(),
        ..player("Mallory")
    };
    assert!(matches!(mallory.log_in(&world, TRANSFER), End::Transfer(..)));
    assert!(!mallory.announced, "nobody is asked again");
    let (id, name) = mallory.welcomed.clone().unwrap();
    assert_eq!((&*name, &*id), ("Alice", &premium("Alice").id.as_bytes()[..]));
    let cookie = String::from_utf8_lossy(&mallory.authentication.unwrap()[32..]).into_owned();
    assert!(
        cookie.contains("\"Alice\"") && !cookie.contains("Mallory"),
        "{cookie}"
    );

    let mut forger = Player {
        authentication: alice.authentication.map(|mut cookie| {
            cookie[40] ^= 1;
            cookie
        }),
        ..player("Mallory")
    };
    assert!(matches!(forger.log_in(&world, TRANSFER), End::Transfer(..)));
    assert!(forger.announced, "a forged cookie counts as none");
    assert_eq!(forger.welcomed.unwrap().1, "Mallory");
    assert_eq!(world.end().targets, (3, 3, 0));
}

#[test]
fn an_authenticators_no_is_read_by_the_player() {
    let world = Plan::new(vec![Route {
        authentication: MOJANG,
        ..hub()
    }])
    .control(|asked| {
        let RemoteQuestion::Authenticate { adapter: 3, query } = &asked.question else {
            panic!("{asked:?}")
        };
        assert_eq!(query.shared_secret.as_ref().unwrap().expose(), &SECRET);
        let message = Message {
            key: "disconnect_banned".into(),
            params: vec![("name", query.claim.name.clone())],
        };
        asked.reply.send(RemoteAnswer::Profile(Err(Refusal {
            message,
            cause: AskError::Denied,
        })));
    })
    .start();
    assert_eq!(
        player("Eve").log_in(&world, LOGIN),
        End::Disconnect("\"disconnect_banned name=Eve\"".into())
    );
    let counts = world.end();
    counts.assert_failed(1, "denied at login");
    assert_eq!(counts.requests, 1);
}

fn refused_with(plan: Plan, key: &str) -> Counts {
    let world = plan.start();
    assert_eq!(
        player("Alice").log_in(&world, LOGIN),
        End::Disconnect(format!("\"{key}\""))
    );
    world.end()
}

#[test]
fn a_control_thread_that_forgets_or_is_silent_does_not_hold_the_player() {
    let plan = |authentication| {
        Plan::new(vec![Route {
            authentication,
            ..hub()
        }])
    };
    let forgetful = plan(MOJANG).control(drop);
    refused_with(forgetful, "disconnect_authentication_unavailable");
    let silent = plan(mojang_within(Duration::from_millis(500))).control(std::mem::forget);
    refused_with(silent, "disconnect_authentication_timeout");
}

#[test]
fn what_is_over_a_bound_is_shed_with_words() {
    let plan = || {
        Plan::new(vec![Route {
            authentication: MOJANG,
            ..hub()
        }])
    };
    let counts = refused_with(
        plan().with(|plan| plan.limits.logins_per_shard = 0),
        "disconnect_overloaded",
    );
    assert_eq!((counts.shed, counts.failed), (1, 1));
    let counts = refused_with(
        plan().with(|plan| plan.limits.rsa_queue_per_shard = 0),
        "disconnect_overloaded",
    );
    assert_eq!((counts.shed, counts.failed), (1, 1));
    let (control, full) = crossbeam_channel::bounded(0);
    let counts = refused_with(
        plan().with(|plan| plan.control = control.into()),
        "disconnect_overloaded",
    );
    assert_eq!((counts.shed, counts.failed), (1, 1));
    drop(full);
}

#[test]
fn a_client_that_is_too_old_is_told_which_version_it_needs() {
    let world = World::start(vec![hub()]);
    for protocol in [5, 47, 763] {
        let mut client = Client::connect(world.address);
        client.send(&handshake(protocol, HOST, LOGIN));
        assert_eq!(
            Fields(&client.expect(0)).text(),
            "\"disconnect_version version=1.20.5\""
        );
    }
    world.end().assert_failed(3, "denied at login");
}

#[test]
fn an_encryption_response_for_another_key_ends_the_login() {
    let world = World::start(vec![Route {
        authentication: MOJANG,
        ..hub()
    }]);
    let stranger = rsa::KeyPair::generate().unwrap();
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    loop {
        match client.packet() {
            (1, _) => break,
            (5, body) => client.send(&packet(4, &[body, vec![0]].concat())),
            other => panic!("{other:?}"),
        }
    }
    let sealed = rsa::encrypt(stranger.public_key(), &SECRET).unwrap();
    client.send(&packet(1, &[prefixed(&sealed), prefixed(&sealed)].concat()));
    assert!(client.closed().is_empty());
    world.end().assert_failed(1, "encryption_invalid at login");
}
