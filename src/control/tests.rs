//! Questions in, answers out, whatever the services do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use passage_proto::identity::{Claim, Profile};
use passage_proto::question::{AskError, AuthenticateQuery, ClientInfo, Refusal};
use passage_shards::ask::{Asked, RemoteAnswer, RemoteQuestion, ReplyTo, authentication_refusal};
use passage_shards::metrics::{AdapterName, AdapterType, Options, Outlet};
use passage_shards::pulse::Sign;
use uuid::Uuid;

use super::*;
use crate::adapters::call::{Attempt, Caller, Failure, Policy, Repeat};
use crate::adapters::{Answer, AuthenticationService, Call};

mod feeds;

/// Says what its name says to, on a thread that it blocks.
struct Double {
    caller: Caller,
    state: Arc<State>,
}

struct State {
    gate: Mutex<Receiver<()>>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Double {
    fn new() -> (Arc<Self>, Sender<()>) {
        let (open, gate) = unbounded();
        let policy = Policy {
            timeout: Duration::from_secs(60),
            concurrency: 2,
            ..Policy::default()
        };
        let state = State {
            gate: Mutex::new(gate),
            asked: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        };
        let double = Self {
            caller: Caller::new(AdapterName::Authentication, AdapterType::Mojang, "double", policy),
            state: Arc::new(state),
        };
        (Arc::new(double), open)
    }
}

impl State {
    fn profile(&self, name: String) -> Profile {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let running = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(running, Ordering::SeqCst);
        assert_ne!(name, "panic", "as the test wants it");
        if name == "wait" {
            let gate = self.gate.lock().unwrap().clone();
            let _closed = gate.recv();
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        Profile {
            id: Uuid::nil(),
            name,
            properties: Vec::new(),
        }
    }
}

impl AuthenticationService for Double {
    fn authenticate<'a>(
        &'a self,
        query: &'a AuthenticateQuery,
        call: Call,
    ) -> Answer<'a, Result<Profile, Refusal>> {
        let ask = move |attempt: Attempt| {
            let (state, name) = (Arc::clone(&self.state), query.claim.name.clone());
            async move {
                assert_ne!(name, "panic at once", "as the test wants it");
                attempt
                    .on_thread(move || Ok::<_, Failure>(state.profile(name)))
                    .await
            }
        };
        Box::pin(async move {
            let answer = self.caller.call(call, Repeat::Never, ask).await;
            answer.map_err(authentication_refusal)
        })
    }

    fn threads(&self) -> usize {
        self.caller.policy().concurrency
    }
}

struct Bench {
    control: Control,
    line: ControlLine,
    double: Arc<Double>,
    open: Sender<()>,
}

fn bench(resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Bench {
    let (double, open) = Double::new();
    let services = Services {
        authentication: vec![double.clone()],
        ..Services::default()
    };
    let (control, line) = start(Settings {
        resolve: Arc::new(resolve),
        ..settings(services)
    })
    .unwrap();
    Bench {
        control,
        line,
        double,
        open,
    }
}

fn settings(services: Services) -> Settings {
    let (outlet, _nobody) = Outlet::new(Options::default());
    Settings {
        services,
        resolve: Arc::new(no_dns),
        workers: 8,
        fixed_targets: Vec::new(),
        targets_discovered: Box::new(|_| {}),
        meter: outlet.control_meter(),
    }
}

fn no_dns(_: &str) -> io::Result<Vec<IpAddr>> {
    Err(io::Error::other("no DNS here"))
}

fn ask(line: &ControlLine, question: RemoteQuestion, patience: Duration) -> Receiver<RemoteAnswer> {
    try_ask(line, question, patience).unwrap()
}

fn try_ask(
    line: &ControlLine,
    question: RemoteQuestion,
    patience: Duration,
) -> Result<Receiver<RemoteAnswer>, AskError> {
    let (reply, answer) = ReplyTo::detached(&question);
    let asked = Asked {
        question,
        deadline: Instant::now() + patience,
        trace: None,
        reply,
    };
    line.send(asked).map(|()| answer)
}

impl Bench {
    fn log_in(&self, name: &str) -> Receiver<RemoteAnswer> {
        ask(&self.line, login(0, name), Duration::from_secs(30))
    }

    fn resolve(&self, host: &str) -> Receiver<RemoteAnswer> {
        let question = RemoteQuestion::Resolve {
            host: host.into(),
            port: 7,
        };
        ask(&self.line, question, Duration::from_secs(30))
    }

    fn asked(&self) -> usize {
        self.double.state.asked.load(Ordering::SeqCst)
    }
}

fn login(adapter: usize, name: &str) -> RemoteQuestion {
    let client = ClientInfo {
        address: "127.0.0.1:4000".parse().unwrap(),
        hostname: String::new(),
        port: 25565,
        protocol: 767,
    };
    let claim = Claim {
        name: name.into(),
        id: Uuid::nil(),
    };
    let query = AuthenticateQuery {
        claim,
        client,
        shared_secret: None,
        public_key: Arc::from([]),
    };
    RemoteQuestion::Authenticate {
        adapter,
        query: Box::new(query),
    }
}

fn name_or_cause(answer: &Receiver<RemoteAnswer>) -> Result<String, AskError> {
    match answer.recv_timeout(Duration::from_secs(30)).expect("an answer") {
        RemoteAnswer::Profile(answer) => answer
            .map(|profile| profile.name)
            .map_err(|refusal| refusal.cause),
        RemoteAnswer::Addresses(answer) => answer.map(|addresses| format!("{addresses:?}")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_what_the_adapter_answers() {
    let bench = bench(no_dns);
    assert_eq!(name_or_cause(&bench.log_in("Steve")), Ok("Steve".into()));
    let unknown = ask(&bench.line, login(9, "Steve"), Duration::from_secs(30));
    assert_eq!(name_or_cause(&unknown), Err(AskError::Failed));
    assert!(bench.control.shutdown(Instant::now() + Duration::from_secs(10)));
}

#[test]
fn asks_an_adapter_only_so_much_at_a_time() {
    let bench = bench(no_dns);
    let waiting: Vec<_> = (0..6).map(|_| bench.log_in("wait")).collect();
    while bench.asked() < 2 {
        thread::yield_now();
    }
    for _ in 0..6 {
        bench.open.send(()).unwrap();
    }
    for answer in &waiting {
        assert_eq!(name_or_cause(answer), Ok("wait".into()));
    }
    assert_eq!(bench.double.state.most_at_once.load(Ordering::SeqCst), 2);
}

#[test]
fn does_not_begin_what_nobody_waits_for() {
    let bench = bench(no_dns);
    let busy = [bench.log_in("wait"), bench.log_in("wait")];
    let late = ask(&bench.line, login(0, "late"), Duration::ZERO);
    for _ in 0..2 {
        bench.open.send(()).unwrap();
    }
    assert_eq!(name_or_cause(&late), Err(AskError::TimedOut));
    for answer in &busy {
        assert_eq!(name_or_cause(answer), Ok("wait".into()));
    }
    assert_eq!(bench.asked(), 2);
}

#[test]
fn a_slow_adapter_holds_up_no_look_ups() {
    let bench = bench(|_| Ok(vec![IpAddr::from([10, 0, 0, 1])]));
    let _busy: Vec<_> = (0..20).map(|_| bench.log_in("wait")).collect();
    assert_eq!(name_or_cause(&bench.resolve("lobby")), Ok("[10.0.0.1:7]".into()));
    drop(bench.open);
}

#[test]
fn a_panicking_adapter_answers_that_it_failed_and_the_next_question_is_answered() {
    let bench = bench(no_dns);
    for _ in 0..20 {
        assert_eq!(name_or_cause(&bench.log_in("panic")), Err(AskError::Failed));
        let at_once = bench.log_in("panic at once");
        assert_eq!(name_or_cause(&at_once), Err(AskError::Failed));
    }
    assert_eq!(name_or_cause(&bench.log_in("Steve")), Ok("Steve".into()));
}

#[test]
fn a_name_is_looked_up_once_and_kept() {
    let lookups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&lookups);
    let bench = bench(move |host| {
        counted.fetch_add(1, Ordering::SeqCst);
        if host == "gone" {
            no_dns(host)
        } else {
            Ok(vec![IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2])])
        }
    });
    let answers: Vec<_> = (0..50).map(|_| bench.resolve("lobby")).collect();
    for answer in &answers {
        assert_eq!(name_or_cause(answer), Ok("[10.0.0.1:7, 10.0.0.2:7]".into()));
    }
    assert_eq!(lookups.load(Ordering::SeqCst), 1);
    assert_eq!(name_or_cause(&bench.resolve("gone")), Err(AskError::Failed));
}

#[test]
fn stops_in_time_even_if_a_worker_hangs() {
    let bench = bench(no_dns);
    let hanging = bench.log_in("wait");
    while bench.asked() == 0 {
        thread::yield_now();
    }
    let begun = Instant::now();
    assert!(!bench.control.shutdown(begun + Duration::from_millis(100)));
    assert!(begun.elapsed() < Duration::from_secs(8));
    drop((bench.open, hanging));
}

#[test]
fn ends_with_the_last_shard() {
    let bench = bench(no_dns);
    drop(bench.line.clone());
    assert_eq!(name_or_cause(&bench.log_in("Steve")), Ok("Steve".into()));
    drop(bench.line);
    assert_eq!(
        bench.control.ended().recv_timeout(Duration::from_secs(30)),
        Ok(Ended::Stopped)
    );
}

#[test]
fn a_flood_of_questions_is_answered_to_the_last_and_stops_nobody_else() {
    let bench = bench(|_| Ok(vec![IpAddr::from([10, 0, 0, 1])]));
    let floods: Vec<_> = (0..4)
        .map(|_| {
            let line = bench.line.clone();
            thread::spawn(move || {
                let answers = (0..5_000).map(|_| {
                    let question = RemoteQuestion::Resolve {
                        host: "lobby".into(),
                        port: 7,
                    };
                    let (reply, answer) = ReplyTo::detached(&question);
                    let asked = Asked {
                        question,
                        deadline: Instant::now() + Duration::from_secs(30),
                        trace: None,
                        reply,
                    };
                    (line.send(asked), answer)
                });
                let answers: Vec<_> = answers.collect();
                let mut shed = 0;
                for (sent, answer) in answers {
                    match sent {
                        Ok(()) => {
                            let answer = name_or_cause(&answer);
                            let shed = answer == Err(AskError::Overloaded);
                            assert!(answer.is_ok() || shed, "{answer:?}");
                        }
                        Err(error) => {
                            assert_eq!(error, AskError::Overloaded);
                            shed += 1;
                        }
                    }
                }
                shed
            })
        })
        .collect();
    // A line that is full sheds whoever comes; some of those who come again get through.
    let patience = Instant::now() + Duration::from_secs(30);
    let answer = loop {
        match try_ask(&bench.line, login(0, "Steve"), Duration::from_secs(30)) {
            Ok(answer) => break answer,
            Err(cause) => assert_eq!(cause, AskError::Overloaded),
        }
        assert!(Instant::now() < patience, "nobody gets through");
        thread::yield_now();
    };
    assert_eq!(name_or_cause(&answer), Ok("Steve".into()));
    let shed: usize = floods.into_iter().map(|flood| flood.join().unwrap()).sum();
    assert!(shed < 20_000, "some were answered");
    let sign = bench.control.pulse().sign();
    assert!(
        matches!(sign, Sign::Beating(silence) if silence < Duration::from_secs(10)),
        "{sign:?}"
    );
}

#[test]
fn what_was_abandoned_in_line_is_not_begun_and_answered_to_nobody() {
    let bench = bench(no_dns);
    let busy = [bench.log_in("wait"), bench.log_in("wait")];
    while bench.asked() < 2 {
        thread::yield_now();
    }
    let abandoned = Arc::<AtomicBool>::default();
    let question = login(0, "gone");
    let (reply, gone) = ReplyTo::detached_until(&question, Arc::clone(&abandoned));
    bench
        .line
        .send(Asked {
            question,
            deadline: Instant::now() + Duration::from_secs(30),
            trace: None,
            reply,
        })
        .unwrap();
    let next = bench.log_in("next");
    abandoned.store(true, Ordering::Release);
    for _ in 0..2 {
        bench.open.send(()).unwrap();
    }
    for answer in &busy {
        assert_eq!(name_or_cause(answer), Ok("wait".into()));
    }
    assert_eq!(name_or_cause(&next), Ok("next".into()));
    assert_eq!(bench.asked(), 3, "the one who has gone was not asked for");
    assert!(gone.recv_timeout(Duration::from_secs(30)).is_err());
}

#[test]
fn what_waits_when_the_thread_ends_is_answered_as_failed() {
    let bench = bench(no_dns);
    let busy = [bench.log_in("wait"), bench.log_in("wait")];
    while bench.asked() < 2 {
        thread::yield_now();
    }
    let waiting = bench.log_in("in line");
    assert!(
        !bench
            .control
            .shutdown(Instant::now() + Duration::from_millis(100))
    );
    for answer in busy.iter().chain([&waiting]) {
        assert_eq!(name_or_cause(answer), Err(AskError::Failed));
    }
    drop(bench.open);
}

#[test]
fn the_system_knows_addresses_without_repeating_them() {
    assert_eq!(
        resolve_by_system("127.0.0.1").unwrap(),
        [IpAddr::from([127, 0, 0, 1])]
    );
}
