//! The words of last messages, from a service.

use std::time::{Duration, Instant};

use super::client::{Client, Fields, LOGIN, MODERN, Server, handshake, login_start};
use super::world::{HOST, Misbehaviour, Plan, relay_route, route, target, words};
use passage_proto::question::AskError;
use passage_shards::ask::{RemoteAnswer, RemoteQuestion};
use passage_shards::metrics::AdapterType;
use passage_shards::route::{Localization, Remote, Route};

/// Longer than the session waits for words; a service that takes its time must not hold a player that long.
const LONG: Duration = Duration::from_secs(60);

fn spoken() -> Localization {
    let service = Remote {
        adapter: 8,
        kind: AdapterType::Grpc,
        timeout: LONG,
    };
    Localization {
        remote: Some(service),
        ..words()
    }
}

/// A port at which nobody listens.
fn dead_port() -> u16 {
    Server::start().port()
}

/// A login without a target, and one whose target is not there: with and without a session.
fn routes() -> [(Route, &'static str); 2] {
    let nowhere = Route {
        localization: spoken(),
        ..relay_route("*", &[])
    };
    let unreachable = Route {
        localization: spoken(),
        ..relay_route("*", &[target("hub", "127.0.0.1", dead_port())])
    };
    [
        (nowhere, "disconnect_no_target"),
        (unreachable, "disconnect_target_unreachable"),
    ]
}

/// What a player reads on this route if the service behaves like this, and what is counted.
fn read(route: Route, service: Misbehaviour) -> (String, super::world::Counts) {
    let world = Plan::new(vec![route]).control(service).start();
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, LOGIN), login_start("Alice")].concat());
    let words = Fields(&client.expect(0)).text().to_owned();
    assert!(client.rest().unwrap().is_empty());
    (words, world.end())
}

#[test]
fn a_service_gives_the_words_with_the_key_that_it_is_asked_for() {
    for (route, key) in routes() {
        let (words, counts) = read(route, |asked| {
            let RemoteQuestion::Localize { adapter: 8, query } = &asked.question else {
                panic!("{asked:?}")
            };
            let text = format!(r#"{{"text":"the service says {}"}}"#, query.message.key);
            asked.reply.send(RemoteAnswer::Text(Ok(text)));
        });
        assert!(words.contains(&format!("the service says {key}")), "{words}");
        assert_eq!(counts.adapter("localization/grpc"), 1, "{counts:?}");
        assert_eq!(counts.adapter("localization/fixed"), 0);
    }
}

#[test]
fn the_words_at_hand_stand_in_for_a_service_that_fails_or_is_slow() {
    let misbehaviours: [(&str, Misbehaviour); 3] = [
        ("failed", drop),
        ("timed_out", std::mem::forget),
        ("unreachable", |asked| {
            asked.reply.send(RemoteAnswer::Text(Err(AskError::Unreachable)));
        }),
    ];
    for (error, misbehaviour) in misbehaviours {
        for (route, key) in routes() {
            let began = Instant::now();
            let (words, counts) = read(route, misbehaviour);
            assert!(began.elapsed() < LONG / 2, "{error}");
            // The session's own last resort would be the bare key.
            assert_eq!(words, format!("\"{key}\""), "{error}");
            assert_eq!(
                counts.adapter(&format!("localization/grpc/{error}")),
                1,
                "{counts:?}"
            );
            assert_eq!(counts.adapter("localization/fixed"), 1);
        }
    }
}

#[test]
fn a_login_to_no_route_gets_its_words_from_the_default_service() {
    let world = Plan::new(vec![route(HOST, &[])])
        .with(|plan| plan.localization = spoken())
        .control(|asked| asked.reply.send(RemoteAnswer::Text(Ok("\"nobody home\"".into()))))
        .start();
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, "example.org", LOGIN), login_start("Alice")].concat());
    assert!(Fields(&client.expect(0)).text().contains("nobody home"));
    drop(client);
    assert_eq!(world.end().adapter("localization/grpc"), 1);
}
