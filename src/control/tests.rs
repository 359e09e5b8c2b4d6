//! Questions in, answers out, whatever the services do.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::unbounded;
use passage_proto::identity::{Claim, Profile};
use passage_proto::question::{AskError, AuthenticateQuery, ClientInfo, Refusal};
use passage_shards::ask::{RemoteAnswer, RemoteQuestion, ReplyTo};
use uuid::Uuid;

use super::*;

/// Says what its name says to.
struct Double {
    gate: Mutex<Receiver<()>>,
    asked: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Double {
    fn new() -> (Arc<Self>, Sender<()>) {
        let (open, gate) = unbounded();
        let double = Self {
            gate: Mutex::new(gate),
            asked: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        };
        (Arc::new(double), open)
    }
}

impl Authenticator for Double {
    fn concurrency(&self) -> usize {
        2
    }

    fn authenticate(&self, query: &AuthenticateQuery, _deadline: Instant) -> Result<Profile, Refusal> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let running = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(running, Ordering::SeqCst);
        let name = query.claim.name.clone();
        assert_ne!(name, "panic", "as the test wants it");
        if name == "wait" {
            let gate = self.gate.lock().unwrap().clone();
            let _closed = gate.recv();
        }
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        Ok(Profile {
            id: Uuid::nil(),
            name,
            properties: Vec::new(),
        })
    }
}

struct Bench {
    control: Control,
    questions: Sender<Asked>,
    double: Arc<Double>,
    open: Sender<()>,
}

fn bench(resolve: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Bench {
    let (double, open) = Double::new();
    let authenticators: Vec<Arc<dyn Authenticator>> = vec![double.clone()];
    let (control, questions) = start(Settings {
        authenticators,
        resolve: Arc::new(resolve),
        workers: 8,
    })
    .unwrap();
    Bench {
        control,
        questions,
        double,
        open,
    }
}

fn no_dns(_: &str) -> io::Result<Vec<IpAddr>> {
    Err(io::Error::other("no DNS here"))
}

impl Bench {
    fn ask(&self, question: RemoteQuestion, patience: Duration) -> Receiver<RemoteAnswer> {
        let (reply, answer) = ReplyTo::detached(&question);
        self.questions
            .send(Asked {
                question,
                deadline: Instant::now() + patience,
                trace: None,
                reply,
            })
            .unwrap();
        answer
    }

    fn log_in(&self, name: &str) -> Receiver<RemoteAnswer> {
        self.ask(login(0, name), Duration::from_secs(10))
    }

    fn resolve(&self, host: &str) -> Receiver<RemoteAnswer> {
        let question = RemoteQuestion::Resolve {
            host: host.into(),
            port: 7,
        };
        self.ask(question, Duration::from_secs(10))
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
    match answer.recv_timeout(Duration::from_secs(10)).expect("an answer") {
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
    let unknown = bench.ask(login(9, "Steve"), Duration::from_secs(10));
    assert_eq!(name_or_cause(&unknown), Err(AskError::Failed));
    assert!(bench.control.shutdown(Instant::now() + Duration::from_secs(10)));
}

#[test]
fn asks_an_adapter_only_so_much_at_a_time() {
    let bench = bench(no_dns);
    let waiting: Vec<_> = (0..6).map(|_| bench.log_in("wait")).collect();
    while bench.double.asked.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    for _ in 0..6 {
        bench.open.send(()).unwrap();
    }
    for answer in &waiting {
        assert_eq!(name_or_cause(answer), Ok("wait".into()));
    }
    assert_eq!(bench.double.most_at_once.load(Ordering::SeqCst), 2);
}

#[test]
fn does_not_begin_what_nobody_waits_for() {
    let bench = bench(no_dns);
    let busy = [bench.log_in("wait"), bench.log_in("wait")];
    let late = bench.ask(login(0, "late"), Duration::ZERO);
    for _ in 0..2 {
        bench.open.send(()).unwrap();
    }
    assert_eq!(name_or_cause(&late), Err(AskError::TimedOut));
    for answer in &busy {
        assert_eq!(name_or_cause(answer), Ok("wait".into()));
    }
    assert_eq!(bench.double.asked.load(Ordering::SeqCst), 2);
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
    while bench.double.asked.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let begun = Instant::now();
    assert!(!bench.control.shutdown(begun + Duration::from_millis(100)));
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop((bench.open, hanging));
}

#[test]
fn ends_with_the_last_shard() {
    let bench = bench(no_dns);
    drop(bench.questions);
    assert_eq!(
        bench.control.ended().recv_timeout(Duration::from_secs(10)),
        Ok(Ended::Stopped)
    );
}

#[test]
fn the_system_knows_addresses_without_repeating_them() {
    assert_eq!(
        resolve_by_system("127.0.0.1").unwrap(),
        [IpAddr::from([127, 0, 0, 1])]
    );
}
