//! Where a player goes: discovery, actions and strategy, at hand and asked for.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::{
    Client, Fields, LOGIN, MODERN, STATUS, handshake, login_start, packet, prefixed, status_request,
};
use super::player::{End, player};
use super::world::{HOST, Misbehaviour, Plan, World, route, target};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use passage_proto::question::{AskError, Message, Refusal, Target};
use passage_shards::ask::{Asked, RemoteAnswer, RemoteQuestion, TARGETS_MAX};
use passage_shards::feed::{Candidate, FeedId, Update};
use passage_shards::metrics::AdapterType;
use passage_shards::route::{
    Action, Discovery, MetaFilter, MetaRule, MetaTest, PlayerFilter, Remote, Route, Strategy,
};

mod at_hand;

const DISCOVERY: usize = 4;
const ACTION: usize = 5;
const STRATEGY: usize = 6;

/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(10);

fn service(adapter: usize) -> Remote {
    Remote {
        adapter,
        kind: AdapterType::Grpc,
        timeout: PATIENCE,
    }
}

/// A route on which everything is asked for, with patience for this long.
fn remote_route(timeout: Duration) -> Route {
    let service = |adapter| Remote {
        timeout,
        ..service(adapter)
    };
    Route {
        discovery: Discovery::Remote(service(DISCOVERY)),
        actions: vec![Action::Remote(service(ACTION))],
        strategy: Strategy::Remote(service(STRATEGY)),
        ..route("*", &[])
    }
}

fn hubs() -> Vec<Arc<Target>> {
    ["a", "b", "c"].map(|name| hub(name, "open")).into()
}

fn hub(name: &str, mode: &str) -> Arc<Target> {
    Arc::new(Target {
        meta: BTreeMap::from([("mode".to_owned(), mode.to_owned())]),
        ..(*target(name, &format!("{name}.example.net"), 25570)).clone()
    })
}

fn identifiers(targets: &[Arc<Target>]) -> Vec<&str> {
    targets.iter().map(|target| target.identifier.as_str()).collect()
}

/// Services that do what they are there for: find three, drop the first, choose the last.
fn helpful(asked: Asked) {
    let answer = match &asked.question {
        RemoteQuestion::Discover {
            adapter: DISCOVERY, ..
        } => RemoteAnswer::Targets(Ok(hubs())),
        RemoteQuestion::Act {
            adapter: ACTION,
            targets,
            ..
        } => RemoteAnswer::Targets(Ok(targets[1..].to_vec())),
        RemoteQuestion::Select {
            adapter: STRATEGY,
            targets,
            ..
        } => RemoteAnswer::Target(Ok(Arc::clone(targets.last().unwrap()))),
        _ => panic!("{asked:?}"),
    };
    asked.reply.send(answer);
}

/// Which of the three services a question is for.
fn adapter(asked: &Asked) -> usize {
    match asked.question {
        RemoteQuestion::Discover { adapter, .. }
        | RemoteQuestion::Act { adapter, .. }
        | RemoteQuestion::Select { adapter, .. } => adapter,
        _ => panic!("{asked:?}"),
    }
}

fn adapters(counts: &super::world::Counts) -> Vec<(&str, u64)> {
    let of_choice = |(name, _): &(&str, u64)| !name.starts_with("auth") && !name.starts_with("local");
    let all = counts
        .adapters
        .iter()
        .map(|(name, count)| (name.as_str(), *count));
    all.filter(of_choice).collect()
}

fn transfer_to(host: &str) -> End {
    End::Transfer(host.to_owned(), 25570)
}

fn assert_turned_away(end: &End, key: &str) {
    assert!(
        matches!(end, End::Disconnect(words) if words.contains(key)),
        "{end:?} is not {key}"
    );
}

#[test]
fn each_step_is_asked_for_in_order_and_counted_once() {
    let questions = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&questions);
    let world = Plan::new(vec![remote_route(PATIENCE)])
        .control(move |asked| {
            let line = match &asked.question {
                RemoteQuestion::Discover { query, .. } => {
                    let player = query.player.as_ref().unwrap();
                    assert!(asked.deadline > Instant::now() + PATIENCE / 2);
                    format!("targets for {} at {}", player.name, query.client.hostname)
                }
                RemoteQuestion::Act { targets, .. } => format!("filter {:?}", identifiers(targets)),
                RemoteQuestion::Select { targets, .. } => format!("select of {:?}", identifiers(targets)),
                _ => panic!("{asked:?}"),
            };
            told.lock().unwrap().push(line);
            helpful(asked);
        })
        .start();
    assert_eq!(
        player("Alice").log_in(&world, LOGIN),
        transfer_to("c.example.net")
    );
    let counts = world.end();
    assert_eq!(
        *questions.lock().unwrap(),
        [
            "targets for Alice at play.example.net",
            "filter [\"a\", \"b\", \"c\"]",
            "select of [\"b\", \"c\"]"
        ]
    );
    let expected = [
        ("discovery/grpc", 1),
        ("discovery_action/grpc", 1),
        ("strategy/grpc", 1),
    ];
    assert_eq!(adapters(&counts), expected);
    assert_eq!(
        (counts.targets, counts.requests, counts.failed),
        ((1, 1, 0), 1, 0)
    );
}

#[test]
fn what_a_service_refuses_with_is_read_by_the_player() {
    for refusing in [DISCOVERY, ACTION, STRATEGY] {
        let world = Plan::new(vec![remote_route(PATIENCE)])
            .control(move |asked| {
                if adapter(&asked) != refusing {
                    return helpful(asked);
                }
                let refusal = Refusal {
                    message: Message {
                        key: "disconnect_of_the_service".into(),
                        params: Vec::new(),
                    },
                    cause: AskError::Denied,
                };
                let answer = match refusing {
                    STRATEGY => RemoteAnswer::Target(Err(refusal)),
                    _ => RemoteAnswer::Targets(Err(refusal)),
                };
                asked.reply.send(answer);
            })
            .start();
        let end = player("Alice").log_in(&world, LOGIN);
        assert_turned_away(&end, "disconnect_of_the_service");
        let counts = world.end();
        let name = ["discovery", "discovery_action", "strategy"][refusing - DISCOVERY];
        assert_eq!(counts.adapter(&format!("{name}/grpc/denied")), 1, "{counts:?}");
        assert_eq!((counts.failed, counts.targets.1), (1, 0));
    }
}

/// What becomes of a login when one of the three services behaves like this.
fn misbehave(at: usize, timeout: Duration, misbehaviour: Misbehaviour) -> (End, Vec<(String, u64)>) {
    let world = Plan::new(vec![remote_route(timeout)])
        .control(move |asked| match adapter(&asked) == at {
            true => misbehaviour(asked),
            false => helpful(asked),
        })
        .start();
    let end = player("Alice").log_in(&world, LOGIN);
    let counts = world.end();
    assert_eq!((counts.failed, counts.targets.1), (1, 0));
    let owned = |(name, count): (&str, u64)| (name.to_owned(), count);
    (end, adapters(&counts).into_iter().map(owned).collect())
}

#[test]
fn a_service_that_fails_or_is_slow_is_an_error_that_the_player_can_read() {
    let short = Duration::from_millis(300);
    let failing: [(&str, Duration, Misbehaviour); 4] = [
        ("failed", PATIENCE, drop),
        ("timed_out", short, std::mem::forget),
        ("unreachable", PATIENCE, |asked| {
            fail(asked, AskError::Unreachable)
        }),
        // An answer to another question.
        ("failed", PATIENCE, |asked| {
            asked.reply.send(RemoteAnswer::Text(Ok("?".into())))
        }),
    ];
    for (error, timeout, misbehaviour) in failing {
        for (at, name) in [
            (DISCOVERY, "discovery"),
            (ACTION, "discovery_action"),
            (STRATEGY, "strategy"),
        ] {
            let (end, counted) = misbehave(at, timeout, misbehaviour);
            assert_turned_away(&end, "disconnect_discovery_unavailable");
            let key = format!("{name}/grpc/{error}");
            assert!(counted.contains(&(key.clone(), 1)), "{key} in {counted:?}");
            assert_eq!(counted.len(), at - DISCOVERY + 1, "{counted:?}");
        }
    }
}

fn fail(asked: Asked, cause: AskError) {
    let refusal = passage_shards::ask::choice_refusal(cause);
    let answer = match asked.question {
        RemoteQuestion::Select { .. } => RemoteAnswer::Target(Err(refusal)),
        _ => RemoteAnswer::Targets(Err(refusal)),
    };
    asked.reply.send(answer);
}

#[test]
fn a_strategy_chooses_among_what_it_was_offered() {
    let (end, counted) = misbehave(STRATEGY, PATIENCE, |asked| {
        asked
            .reply
            .send(RemoteAnswer::Target(Ok(target("a", "a.example.net", 25570))));
    });
    assert_turned_away(&end, "disconnect_discovery_unavailable");
    assert!(
        counted.contains(&("strategy/grpc/failed".to_owned(), 1)),
        "{counted:?}"
    );

    // What it answers only names the target: where that is, discovery knows.
    let world = Plan::new(vec![remote_route(PATIENCE)])
        .control(|asked| match asked.question {
            RemoteQuestion::Select { .. } => {
                asked
                    .reply
                    .send(RemoteAnswer::Target(Ok(target("b", "elsewhere.example.org", 1))))
            }
            _ => helpful(asked),
        })
        .start();
    assert_eq!(
        player("Alice").log_in(&world, LOGIN),
        transfer_to("b.example.net")
    );
    world.end();
}

#[test]
fn a_strategy_is_offered_no_target_that_is_down_unless_all_are() {
    let offer_of = |is_down: [bool; 3]| {
        let judge = |(target, is_down): (Arc<Target>, bool)| Candidate {
            is_healthy: !is_down,
            ..Candidate::from(target)
        };
        let candidates = hubs().into_iter().zip(is_down).map(judge).collect();
        let (tell, offers) = std::sync::mpsc::channel();
        let route = Route {
            discovery: Discovery::Fixed(candidates),
            strategy: Strategy::Remote(service(STRATEGY)),
            ..route("*", &[])
        };
        let world = Plan::new(vec![route])
            .control(move |asked| {
                if let RemoteQuestion::Select { targets, .. } = &asked.question {
                    tell.send(identifiers(targets).join(" ")).unwrap();
                }
                helpful(asked);
            })
            .start();
        assert!(matches!(player("Alice").log_in(&world, LOGIN), End::Transfer(..)));
        world.end();
        offers.iter().collect::<Vec<_>>()
    };
    assert_eq!(offer_of([false, true, false]), ["a c"]);
    assert_eq!(offer_of([true, true, true]), ["a b c"]);
}

#[test]
fn more_targets_than_there_may_be_are_a_failure() {
    let (end, counted) = misbehave(DISCOVERY, PATIENCE, |asked| {
        let flood = vec![target("a", "a.example.net", 25570); TARGETS_MAX + 1];
        asked.reply.send(RemoteAnswer::Targets(Ok(flood)));
    });
    assert_turned_away(&end, "disconnect_discovery_unavailable");
    assert_eq!(counted, [("discovery/grpc/failed".to_owned(), 1)]);
}

#[test]
fn a_strategy_is_not_asked_to_choose_from_nothing() {
    let (end, counted) = misbehave(ACTION, PATIENCE, |asked| {
        asked.reply.send(RemoteAnswer::Targets(Ok(Vec::new())));
    });
    assert_turned_away(&end, "disconnect_no_target");
    let expected = [
        ("discovery/grpc".to_owned(), 1),
        ("discovery_action/grpc".to_owned(), 1),
    ];
    assert_eq!(counted, expected);
}

#[test]
fn a_control_thread_without_time_sheds_the_login() {
    let (control, full) = crossbeam_channel::bounded(0);
    let world = Plan::new(vec![remote_route(PATIENCE)])
        .with(|plan| plan.control = control.into())
        .start();
    let end = player("Alice").log_in(&world, LOGIN);
    assert_turned_away(&end, "disconnect_overloaded");
    let counts = world.end();
    assert_eq!((counts.shed, counts.failed), (1, 1));
    assert_eq!(adapters(&counts), [("discovery/grpc/overloaded", 1)]);
    drop(full);
}

#[test]
fn who_goes_away_while_a_service_thinks_leaves_nothing_behind() {
    let (waiting, questions) = crossbeam_channel::unbounded();
    let world = Plan::new(vec![remote_route(PATIENCE)])
        .control(move |asked| waiting.send(asked).unwrap())
        .start();
    let client = wait_for_a_target(&world, "Alice");
    let asked = questions.recv_timeout(PATIENCE).unwrap();
    assert!(!asked.reply.is_abandoned());
    drop(client);
    let began = Instant::now();
    while !asked.reply.is_abandoned() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
    // Too late, and nobody's any more.
    helpful(asked);
    let counts = world.end();
    assert_eq!((counts.opened, counts.closed, counts.failed), (1, 1, 1));
    assert_eq!(adapters(&counts), []);
}

/// Logs in as far as the configuration phase, in which a target is waited for.
fn wait_for_a_target(world: &World, name: &str) -> Client {
    let mut client = Client::connect(world.address);
    client.send(&[handshake(MODERN, HOST, LOGIN), login_start(name)].concat());
    let key = client.expect(5);
    client.send(&packet(4, &[key, vec![0]].concat()));
    client.expect(2);
    let settings = [prefixed(b"de_de"), vec![10, 0, 1, 0x7f, 1, 0, 1, 0]].concat();
    client.send(&[packet(3, &[]), packet(0, &settings)].concat());
    client
}

/// Thousands of logins wait for a service that answers none of them before it has heard all of them.
#[test]
fn a_slow_discovery_holds_nobody_up_who_does_not_need_it() {
    const LOGINS: usize = 2_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let logins = LOGINS.min(usize::try_from(hard).unwrap_or(LOGINS) / 8);

    let (waiting, questions) = crossbeam_channel::unbounded();
    let discovery = Discovery::Remote(Remote {
        timeout: Duration::from_secs(100),
        ..service(DISCOVERY)
    });
    let world = Plan::new(vec![Route {
        discovery,
        ..route("*", &[])
    }])
    .with(|plan| {
        plan.limits.logins_per_shard = LOGINS;
        plan.limits.step = Duration::from_secs(60);
        plan.timeout = Duration::from_secs(120);
    })
    .control(move |asked| waiting.send(asked).unwrap())
    .start();
    let mut clients: Vec<_> = (0..logins).map(|_| wait_for_a_target(&world, "Alice")).collect();
    let held: Vec<Asked> = (0..logins)
        .map(|_| questions.recv_timeout(PATIENCE).unwrap())
        .collect();
    let mut ping = Client::connect(world.address);
    ping.send(&[handshake(MODERN, HOST, STATUS), status_request()].concat());
    ping.expect(0);
    assert!(
        held.iter().all(|asked| !asked.reply.is_abandoned()),
        "nobody was given up"
    );
    // In another order than they were asked in.
    held.into_iter().rev().for_each(helpful);
    for client in &mut clients {
        client.expect(0x0a);
        let transfer = client.expect(0x0b);
        assert_eq!(Fields(&transfer).text(), "a.example.net");
    }
    drop((clients, ping));
    let counts = world.end();
    assert_eq!(counts.adapter("discovery/grpc"), logins as u64);
    assert_eq!(counts.targets, (logins as u64, logins as u64, 0));
    assert_eq!((counts.failed, counts.shed), (0, 0), "{counts:?}");
}
