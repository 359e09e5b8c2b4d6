//! Statuses that the control thread finds out and all pings share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::client::{Client, Fields, MODERN, STATUS, handshake, status_request};
use super::status::show;
use super::world::{HOST, Misbehaviour, Plan, World, route, status};
use crossbeam_channel::{Receiver, unbounded};
use passage_proto::question::AskError;
use passage_proto::status::StatusReply;
use passage_shards::ask::{Asked, RemoteAnswer, RemoteQuestion};
use passage_shards::feed::{FeedId, SharedStatus, StatusKey, Update};
use passage_shards::metrics::AdapterType;
use passage_shards::route::{Remote, Route, StatusSource};

/// Longer than anything should take.
const PATIENCE: Duration = Duration::from_secs(10);

fn shared(feed: FeedId, by_version: bool, offline: Option<Arc<StatusReply>>) -> Route {
    let adapter = Remote {
        adapter: 7,
        kind: AdapterType::Http,
        timeout: PATIENCE,
    };
    Route {
        status: StatusSource::Shared {
            feed,
            adapter,
            by_version,
            offline,
        },
        ..route("*", &[])
    }
}

fn copy(feed: FeedId, key: StatusKey, text: &str, fresh_for: Duration) -> Update {
    let fresh_until = Instant::now() + fresh_for;
    let reply = status(text);
    Update::Status(feed, key, SharedStatus { reply, fresh_until })
}

/// A front door whose questions are the test's to answer.
fn watched(route: Route, news: Vec<Update>) -> (World, Receiver<Asked>) {
    let (waiting, questions) = unbounded();
    let world = Plan::new(vec![route])
        .with(|plan| {
            plan.news = news;
            plan.shards = std::num::NonZeroUsize::new(1);
        })
        .control(move |asked| {
            // The test may be over.
            let _ended = waiting.send(asked);
        })
        .start();
    (world, questions)
}

fn answer(asked: Asked, status: Result<Arc<StatusReply>, AskError>) {
    asked.reply.send(RemoteAnswer::Status(status));
}

/// A client that has asked for the status.
fn ask(world: &World, protocol: i32) -> Client {
    let mut client = Client::connect(world.address);
    client.send(&[handshake(protocol, HOST, STATUS), status_request()].concat());
    client
}

fn is_awaited(asked: &Asked) -> bool {
    match &asked.question {
        RemoteQuestion::Status {
            adapter: 7,
            is_awaited,
            ..
        } => *is_awaited,
        _ => panic!("{asked:?}"),
    }
}

#[test]
fn a_fresh_copy_is_shown_without_any_question() {
    let feed = FeedId::next();
    let news = vec![copy(feed, StatusKey::Any, "fresh", PATIENCE * 100)];
    let (world, questions) = watched(shared(feed, false, None), news);
    for _ in 0..50 {
        assert!(show(&world, HOST).contains("fresh"));
    }
    let counts = world.end();
    assert!(questions.is_empty());
    assert_eq!((counts.requests, counts.failed), (50, 0));
    assert!(counts.adapters.is_empty(), "{counts:?}");
}

#[test]
fn a_stale_copy_is_shown_while_one_question_asks_for_a_new_one() {
    let feed = FeedId::next();
    let news = vec![copy(feed, StatusKey::Any, "stale", Duration::ZERO)];
    let (world, questions) = watched(shared(feed, false, None), news);
    for _ in 0..50 {
        assert!(show(&world, HOST).contains("stale"));
    }
    let asked = questions.recv_timeout(PATIENCE).unwrap();
    assert!(!is_awaited(&asked), "nobody waits for it");
    assert!(questions.is_empty(), "one question for fifty pings");
    // As the control thread does: published first, then answered.
    world
        .shards
        .publisher()
        .publish(&copy(feed, StatusKey::Any, "new", PATIENCE * 100));
    answer(asked, Ok(status("not published")));
    let began = Instant::now();
    while !show(&world, HOST).contains("new") {
        assert!(began.elapsed() < PATIENCE);
    }
    assert!(show(&world, HOST).contains("new"), "what is published stays");
    let counts = world.end();
    assert!(questions.is_empty());
    assert!(
        counts.adapters.is_empty(),
        "the control thread counts it: {counts:?}"
    );
}

#[test]
fn a_service_that_is_down_leaves_the_stale_copy_and_is_not_asked_with_every_ping() {
    let feed = FeedId::next();
    let news = vec![copy(feed, StatusKey::Any, "stale", Duration::ZERO)];
    let (world, questions) = watched(shared(feed, false, Some(status("offline"))), news);
    show(&world, HOST);
    let (began, mut asked_for) = (Instant::now(), 0);
    for _ in 0..200 {
        if let Ok(asked) = questions.try_recv() {
            asked_for += 1;
            answer(asked, Err(AskError::Unreachable));
        }
        assert!(show(&world, HOST).contains("stale"));
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(
        (1..=seconds + 2).contains(&asked_for),
        "{asked_for} times in {seconds} s"
    );
    world.end();
}

#[test]
fn first_pings_share_one_question_and_wait_for_it() {
    let feed = FeedId::next();
    let (world, questions) = watched(shared(feed, false, Some(status("offline"))), Vec::new());
    let mut pings: Vec<_> = (0..50).map(|_| ask(&world, MODERN)).collect();
    let asked = questions.recv_timeout(PATIENCE).unwrap();
    assert!(is_awaited(&asked));
    answer(asked, Ok(status("first")));
    for ping in &mut pings {
        assert!(Fields(&ping.expect(0)).text().contains("first"));
    }
    drop(pings);
    let counts = world.end();
    assert_eq!(counts.adapter("status/http"), 1, "{counts:?}");
    assert_eq!(counts.adapters.len(), 1);
    assert!(questions.is_empty());
    assert_eq!((counts.opened, counts.closed), (50, 50));
}

#[test]
fn without_any_copy_the_offline_status_is_shown_or_nothing() {
    let slow = |mut route: Route| {
        if let StatusSource::Shared { adapter, .. } = &mut route.status {
            adapter.timeout = Duration::from_millis(300);
        }
        route
    };
    let forgetful: Misbehaviour = drop;
    let silent: Misbehaviour = std::mem::forget;
    for (misbehave, error) in [(forgetful, "failed"), (silent, "timed_out")] {
        for offline in [Some(status("offline")), None] {
            let has_words = offline.is_some();
            let world = Plan::new(vec![slow(shared(FeedId::next(), true, offline))])
                .with(|plan| plan.shards = std::num::NonZeroUsize::new(1))
                .control(misbehave)
                .start();
            let mut pings = [ask(&world, MODERN), ask(&world, MODERN)];
            for ping in &mut pings {
                match has_words {
                    true => assert!(Fields(&ping.expect(0)).text().contains("offline")),
                    false => assert!(ping.closed().is_empty()),
                }
            }
            drop(pings);
            let counts = world.end();
            assert_eq!(counts.adapter(&format!("status/http/{error}")), 1, "{counts:?}");
            assert_eq!(counts.failed, if has_words { 0 } else { 2 });
        }
    }
}

#[test]
fn a_busy_control_thread_is_counted_and_shown_as_offline() {
    let (control, full) = crossbeam_channel::bounded(0);
    let world = Plan::new(vec![shared(FeedId::next(), false, Some(status("offline")))])
        .with(|plan| {
            plan.control = control.into();
            plan.shards = std::num::NonZeroUsize::new(1);
        })
        .start();
    assert!(show(&world, HOST).contains("offline"));
    let counts = world.end();
    assert_eq!((counts.adapter("status/http/overloaded"), counts.shed), (1, 1));
    drop(full);
}

#[test]
fn each_known_version_has_its_own_status_and_all_others_share_one() {
    let feed = FeedId::next();
    let (world, questions) = watched(shared(feed, true, None), Vec::new());
    let strangers = [-1, 0, 900_000, i32::MAX, 0x4000_0001];
    let mut known = [ask(&world, 765), ask(&world, MODERN)];
    for protocol in [765, MODERN] {
        let asked = questions.recv_timeout(PATIENCE).unwrap();
        answer(asked, Ok(status(&format!("for {protocol}"))));
    }
    let mut others: Vec<_> = strangers.iter().map(|protocol| ask(&world, *protocol)).collect();
    answer(
        questions.recv_timeout(PATIENCE).unwrap(),
        Ok(status("for others")),
    );
    for (ping, protocol) in known.iter_mut().zip([765, MODERN]) {
        let expected = format!("for {protocol}");
        assert!(Fields(&ping.expect(0)).text().contains(&expected));
    }
    for ping in &mut others {
        assert!(Fields(&ping.expect(0)).text().contains("for others"));
    }
    drop((known, others));
    let counts = world.end();
    assert!(
        questions.is_empty(),
        "strange versions make no questions of their own"
    );
    assert_eq!(counts.adapter("status/http"), 3);
}

#[test]
fn who_hangs_up_while_waiting_leaves_the_question_to_others() {
    let feed = FeedId::next();
    let (world, questions) = watched(shared(feed, false, None), Vec::new());
    let first = ask(&world, MODERN);
    let asked = questions.recv_timeout(PATIENCE).unwrap();
    drop(first);
    let mut second = ask(&world, MODERN);
    assert!(!asked.reply.is_abandoned());
    answer(asked, Ok(status("first")));
    assert!(Fields(&second.expect(0)).text().contains("first"));
    drop(second);
    let counts = world.end();
    assert!(questions.is_empty());
    assert_eq!((counts.opened, counts.closed), (2, 2));
}

#[test]
fn news_reach_a_draining_shard_and_trouble_no_shard_that_has_ended() {
    let feed = FeedId::next();
    let asked_for = Arc::new(AtomicUsize::new(0));
    let (world, questions) = watched(shared(feed, false, None), Vec::new());
    let publisher = world.shards.publisher();
    let storm = {
        let (publisher, asked_for) = (publisher.clone(), Arc::clone(&asked_for));
        std::thread::spawn(move || {
            let asked = questions.recv_timeout(PATIENCE).unwrap();
            asked_for.fetch_add(1, Ordering::Relaxed);
            // The ping that waits keeps the shard from ending before this.
            for count in 0..5_000 {
                publisher.publish(&copy(feed, StatusKey::Any, &format!("number {count}"), PATIENCE));
            }
            drop(asked);
        })
    };
    let mut ping = ask(&world, MODERN);
    while asked_for.load(Ordering::Relaxed) == 0 {
        std::thread::yield_now();
    }
    let counts = std::thread::scope(|scope| {
        let draining = scope.spawn(|| world.end_within(PATIENCE));
        assert!(Fields(&ping.expect(0)).text().contains("number "));
        drop(ping);
        draining.join().unwrap()
    });
    storm.join().unwrap();
    assert_eq!((counts.drained.cut, counts.failed), (0, 0), "{counts:?}");
    publisher.publish(&copy(feed, StatusKey::Any, "too late", PATIENCE));
}
