//! What is asked in the background, and what shards get to know of it.

use std::collections::VecDeque;

use passage_proto::status::{StatusDocument, StatusReply};
use passage_shards::feed::{Board, Candidate, FeedId, StatusKey};
use passage_shards::metrics::Deltas;
use tokio::sync::watch;

use super::*;
use crate::adapters::{
    FreshStatus, HealthService, Refreshed, StatusFeed, StatusService, TargetFeed, TargetSource,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Gives one answer after the other, and the last one for ever.
struct Source {
    answers: Mutex<VecDeque<Result<Vec<Arc<Target>>, AskError>>>,
    asked: AtomicUsize,
}

impl Source {
    fn new(answers: impl IntoIterator<Item = Result<Vec<Arc<Target>>, AskError>>) -> Arc<Self> {
        Arc::new(Self {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: AtomicUsize::new(0),
        })
    }
}

impl TargetSource for Source {
    fn refresh(&self, _: Call) -> Answer<'_, Result<Refreshed, AskError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.answers.lock().unwrap();
        let answer = match answers.len() {
            0 => panic!("as the test wants it"),
            1 => answers.front().cloned(),
            _ => answers.pop_front(),
        };
        let refreshed = answer.unwrap().map(|targets| Refreshed {
            targets,
            valid_for: None,
        });
        Box::pin(async { refreshed })
    }
}

fn target(identifier: &str) -> Arc<Target> {
    Arc::new(Target {
        identifier: identifier.into(),
        host: "10.0.0.1".into(),
        port: 25565,
        priority: 0,
        meta: std::collections::BTreeMap::new(),
    })
}

fn feed(source: Arc<dyn TargetSource>) -> TargetFeed {
    TargetFeed {
        feed: FeedId::next(),
        source,
        kind: AdapterType::Http,
        timeout: Duration::from_secs(10),
        refresh_interval: Duration::from_millis(20),
        health: None,
        latest: watch::Sender::new(Arc::new([])),
    }
}

/// What one shard knows, and the control thread's counts.
struct Shard {
    control: Control,
    line: ControlLine,
    board: Arc<Mutex<Board>>,
    counts: Receiver<Box<Deltas>>,
    discovered: Receiver<usize>,
}

fn shard(services: Services, fixed_targets: Vec<Arc<Target>>) -> Shard {
    let (outlet, counts) = Outlet::new(Options::default());
    let (count, discovered) = unbounded();
    let (control, line) = start(Settings {
        fixed_targets,
        targets_discovered: Box::new(move |now| count.send(now).unwrap()),
        meter: outlet.control_meter(),
        ..settings(services)
    })
    .unwrap();
    let board = Arc::new(Mutex::new(Board::default()));
    let shown = Arc::clone(&board);
    control.attach(Publisher::new(move |update| {
        shown.lock().unwrap().update(update.clone());
    }));
    Shard {
        control,
        line,
        board,
        counts,
        discovered,
    }
}

impl Shard {
    /// Waits until the shard knows exactly these targets.
    fn await_targets(&self, feed: FeedId, expected: &[&str]) {
        let begun = Instant::now();
        loop {
            let board = self.board.lock().unwrap();
            let names: Option<Vec<_>> = board.targets(feed).map(|candidates| {
                let names = candidates.iter().map(|one| one.target.identifier.clone());
                names.collect()
            });
            drop(board);
            if names.as_deref().is_some_and(|names| names == expected) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{names:?}, expected {expected:?}");
            thread::yield_now();
        }
    }

    fn ask_status(&self, protocol: i32, is_awaited: bool) -> Receiver<RemoteAnswer> {
        let client = ClientInfo {
            address: "127.0.0.1:4000".parse().unwrap(),
            hostname: String::new(),
            port: 25565,
            protocol,
        };
        let question = RemoteQuestion::Status {
            adapter: 0,
            client: Box::new(client),
            is_awaited,
        };
        ask(&self.line, question, PATIENCE)
    }

    /// Stops, and says how often what was asked in the background answered and failed.
    fn counted(self) -> (u64, u64) {
        assert!(self.control.shutdown(Instant::now() + PATIENCE));
        drop(self.line);
        let (mut answered, mut failed) = (0, 0);
        for deltas in self.counts.iter() {
            assert_eq!(deltas.shard, None, "the control thread is no shard");
            for (_, kind, error, durations) in deltas.adapters() {
                assert_eq!(kind, AdapterType::Http);
                match error {
                    None => answered += durations.count(),
                    Some(_) => failed += durations.count(),
                }
            }
        }
        (answered, failed)
    }
}

#[test]
fn shards_know_what_a_source_says_as_soon_as_it_says_it() {
    let source = Source::new([
        Ok(vec![target("a")]),
        Ok(vec![target("a"), target("b")]),
        Ok(Vec::new()),
        Ok(vec![target("c")]),
    ]);
    let feed = feed(source.clone());
    let id = feed.feed;
    let services = Services {
        targets: vec![feed],
        ..Services::default()
    };
    let shard = shard(services, vec![target("fixed"), target("c")]);
    shard.await_targets(id, &["c"]);
    let asked = source.asked.load(Ordering::SeqCst);
    assert!(asked >= 4);
    let patience = Duration::from_secs(10);
    let counts: Vec<_> = (0..5)
        .map_while(|_| shard.discovered.recv_timeout(patience).ok())
        .collect();
    assert_eq!(counts, [2, 3, 4, 2, 2], "of the fixed ones and those of the feed");
    let (answered, failed) = shard.counted();
    assert!(answered >= 4 && failed == 0, "{answered} {failed}");
}

#[test]
fn the_last_good_answer_stays_while_the_source_fails_or_panics() {
    let source = Source::new([
        Ok(vec![target("a")]),
        Err(AskError::Unreachable),
        Ok(vec![target("b")]),
        Err(AskError::TimedOut),
    ]);
    let feed = feed(source.clone());
    let id = feed.feed;
    let services = Services {
        targets: vec![feed],
        ..Services::default()
    };
    let shard = shard(services, Vec::new());
    shard.await_targets(id, &["b"]);
    // From now on the source panics.
    source.answers.lock().unwrap().clear();
    let asked = source.asked.load(Ordering::SeqCst);
    let begun = Instant::now();
    while source.asked.load(Ordering::SeqCst) < asked + 2 {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
    shard.await_targets(id, &["b"]);
    let (answered, failed) = shard.counted();
    assert!(answered == 2 && failed >= 2, "{answered} {failed}");
}

#[test]
fn the_start_waits_for_first_answers_but_not_for_ever() {
    let prompt = feed(Source::new([Ok(vec![target("a")])]));
    let silent = feed(Source::new([Err(AskError::Unreachable)]));
    let id = prompt.feed;
    let services = Services {
        targets: vec![prompt.clone()],
        ..Services::default()
    };
    let (control, line) = start(settings(services)).unwrap();
    let board: Board = control
        .first_news(Instant::now() + PATIENCE)
        .into_iter()
        .collect();
    assert_eq!(board.targets(id).unwrap().len(), 1);
    drop((control, line));

    let services = Services {
        targets: vec![prompt, silent.clone()],
        ..Services::default()
    };
    let (control, _line) = start(settings(services)).unwrap();
    while control.first_news(Instant::now()).is_empty() {
        thread::yield_now();
    }
    let deadline = Instant::now() + Duration::from_millis(50);
    let board: Board = control.first_news(deadline).into_iter().collect();
    assert!(Instant::now() >= deadline, "one has not answered");
    assert_eq!(board.targets(silent.feed), None);
    assert_eq!(board.targets(id).unwrap().len(), 1);
}

/// Finds every second target healthy, after a mishap at first.
#[derive(Default)]
struct EverySecond(AtomicBool);

impl HealthService for EverySecond {
    fn watch<'a>(
        &'a self,
        mut targets: watch::Receiver<Vec<Arc<Target>>>,
        publish: &'a (dyn Fn(Vec<Candidate>) + Send + Sync),
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            assert!(self.0.swap(true, Ordering::SeqCst), "as the test wants it");
            loop {
                let checked = targets.borrow_and_update().clone().into_iter().enumerate();
                let checked = checked.map(|(index, target)| Candidate {
                    is_healthy: index % 2 == 1,
                    ..target.into()
                });
                publish(checked.collect());
                if targets.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}

#[test]
fn checks_stand_between_a_source_and_the_shards_and_begin_again_after_a_panic() {
    let feed = TargetFeed {
        health: Some(Arc::new(EverySecond::default())),
        ..feed(Source::new([
            Ok(vec![target("a")]),
            Ok(vec![target("a"), target("b")]),
        ]))
    };
    let (id, latest) = (feed.feed, feed.latest.subscribe());
    let services = Services {
        targets: vec![feed],
        ..Services::default()
    };
    let shard = shard(services, Vec::new());
    shard.await_targets(id, &["a", "b"]);
    assert_eq!(latest.borrow().len(), 2, "adapters know them, too");
    let board = shard.board.lock().unwrap();
    let health: Vec<_> = board
        .targets(id)
        .unwrap()
        .iter()
        .map(|candidate| candidate.is_healthy)
        .collect();
    assert_eq!(health, [false, true]);
}

/// Answers when the gate is opened.
struct Slow {
    gate: tokio::sync::Semaphore,
    asked: AtomicUsize,
    is_down: AtomicBool,
}

impl StatusService for Slow {
    fn status<'a>(&'a self, client: &'a ClientInfo, _: Call) -> Answer<'a, Result<FreshStatus, AskError>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::SeqCst);
            assert_ne!(client.protocol, 47, "as the test wants it");
            self.gate.acquire().await.unwrap().forget();
            if self.is_down.load(Ordering::SeqCst) {
                return Err(AskError::Unreachable);
            }
            let status = StatusReply::new(&StatusDocument::default()).unwrap();
            Ok(Arc::new(status).into())
        })
    }
}

fn status_shard(by_version: bool, refresh_interval: Duration) -> (Shard, Arc<Slow>, FeedId) {
    let slow = Arc::new(Slow {
        gate: tokio::sync::Semaphore::new(0),
        asked: AtomicUsize::new(0),
        is_down: AtomicBool::new(false),
    });
    let feed = FeedId::next();
    let services = Services {
        statuses: vec![StatusFeed {
            feed,
            service: slow.clone(),
            kind: AdapterType::Http,
            by_version,
            timeout: PATIENCE,
            refresh_interval,
        }],
        ..Services::default()
    };
    (shard(services, Vec::new()), slow, feed)
}

fn shown(answer: &Receiver<RemoteAnswer>) -> Result<Arc<StatusReply>, AskError> {
    match answer.recv_timeout(PATIENCE).expect("an answer") {
        RemoteAnswer::Status(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flood_of_pings_is_one_call_a_refresh_and_every_shard_is_told() {
    let (shard, slow, feed) = status_shard(false, Duration::from_secs(3_600));
    let answers: Vec<_> = (0..500).map(|_| shard.ask_status(767, true)).collect();
    while slow.asked.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    slow.gate.add_permits(100);
    for answer in &answers {
        shown(answer).unwrap();
    }
    shown(&shard.ask_status(47, true)).unwrap();
    assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
    let board = shard.board.lock().unwrap();
    assert!(board.status(feed, StatusKey::Any).is_some());
    drop(board);
    assert_eq!(shard.counted(), (0, 0), "those who waited count");
}

#[test]
fn a_stale_status_is_refreshed_in_the_background_and_counted_there() {
    let (shard, slow, feed) = status_shard(true, Duration::from_millis(1));
    slow.gate.add_permits(100);
    shown(&shard.ask_status(767, false)).unwrap();
    slow.is_down.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    while slow.asked.load(Ordering::SeqCst) < 2 {
        assert!(begun.elapsed() < PATIENCE);
        shown(&shard.ask_status(767, false)).expect("the stale one");
    }
    let board = shard.board.lock().unwrap();
    assert!(board.status(feed, StatusKey::Version(767)).is_some());
    assert!(board.status(feed, StatusKey::Any).is_none());
    drop(board);
    assert_eq!(shard.counted(), (1, 1));
}

#[test]
fn versions_that_nobody_knows_share_one_status() {
    let (shard, slow, feed) = status_shard(true, Duration::from_secs(3_600));
    slow.gate.add_permits(100);
    for protocol in [-1, 1_000_000, i32::MAX, 123_456] {
        shown(&shard.ask_status(protocol, true)).unwrap();
    }
    assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
    assert!(
        shard
            .board
            .lock()
            .unwrap()
            .status(feed, StatusKey::OtherVersion)
            .is_some()
    );
}

#[test]
fn a_status_service_that_panics_has_failed_and_an_unknown_one_as_well() {
    let (shard, _slow, _) = status_shard(true, Duration::from_secs(3_600));
    assert_eq!(shown(&shard.ask_status(47, true)).unwrap_err(), AskError::Failed);
    let client = ClientInfo {
        address: "127.0.0.1:4000".parse().unwrap(),
        hostname: String::new(),
        port: 25565,
        protocol: 767,
    };
    let question = RemoteQuestion::Status {
        adapter: 7,
        client: Box::new(client),
        is_awaited: true,
    };
    let answer = ask(&shard.line, question, PATIENCE);
    assert_eq!(shown(&answer).unwrap_err(), AskError::Failed);
}
