//! Servers that come and go, and what shards are told of them.

use std::sync::Mutex;

use super::*;
use crate::adapters::ping::double::{Double, Manner};

const PATIENCE: Duration = Duration::from_secs(20);

fn settings() -> Settings {
    Settings {
        check: Check::Status,
        interval: Duration::from_millis(30),
        timeout: Duration::from_millis(250),
        successes: 2,
        failures: 2,
        concurrency: 4,
        players_field: None,
        max_players_field: None,
    }
}

/// Watches targets, and keeps what is published.
struct Stage {
    targets: watch::Sender<Vec<Arc<Target>>>,
    published: watch::Receiver<Vec<Candidate>>,
    history: Arc<Mutex<Vec<Vec<Candidate>>>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Stage {
    fn new(settings: Settings, targets: Vec<Arc<Target>>) -> Self {
        let (targets, found) = watch::channel(targets);
        let (news, published) = watch::channel(Vec::new());
        let history = Arc::<Mutex<Vec<Vec<Candidate>>>>::default();
        let dialer = Dialer::new(Arc::new(|_| Err(std::io::Error::other("no names here"))));
        let keeping = Arc::clone(&history);
        let watching = tokio::spawn(async move {
            let publish = |candidates: Vec<Candidate>| {
                keeping.lock().unwrap().push(candidates.clone());
                news.send_replace(candidates);
            };
            Health::new(settings, None, dialer).watch(found, &publish).await;
        });
        Self {
            targets,
            published,
            history,
            watching,
        }
    }

    /// Waits for a publication that is as it should be.
    async fn until(&mut self, what: &str, is_it: impl Fn(&[Candidate]) -> bool) -> Vec<Candidate> {
        let waiting = self.published.wait_for(|candidates| is_it(candidates));
        let found = tokio::time::timeout(PATIENCE, waiting).await;
        let found = found.unwrap_or_else(|_| panic!("never {what}: {:?}", self.history.lock().unwrap()));
        found.unwrap().clone()
    }

    async fn until_healthy(&mut self, expected: &[bool]) -> Vec<Candidate> {
        let is_it = |candidates: &[Candidate]| {
            candidates
                .iter()
                .map(|candidate| candidate.is_healthy)
                .eq(expected.iter().copied())
        };
        self.until("so", is_it).await
    }
}

#[tokio::test]
async fn targets_are_first_published_when_each_was_checked() {
    let up = Double::start(Double::shows("up", 1));
    let down = Double::start(Manner::Closes);
    let silent = Double::start(Manner::IsSilent);
    let targets = vec![
        up.target("up", 0),
        down.target("down", 0),
        silent.target("silent", 3),
    ];
    let mut stage = Stage::new(settings(), targets.clone());
    let found = stage.until_healthy(&[true, false, false]).await;
    assert_eq!(
        stage.history.lock().unwrap()[0],
        found,
        "nobody was told less before"
    );
    let published: Vec<_> = found
        .iter()
        .map(|candidate| Arc::clone(&candidate.target))
        .collect();
    assert_eq!(published, targets);
    assert!(found[0].latency.is_some_and(|latency| latency < PATIENCE));
    assert_eq!((found[1].latency, found[2].latency), (None, None));
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_is_noticed() {
    let server = Double::start(Double::shows("up", 1));
    let mut stage = Stage::new(settings(), vec![server.target("a", 0)]);
    stage.until_healthy(&[true]).await;
    for broken in [
        Manner::Closes,
        Manner::IsSilent,
        Manner::Sends(b"nonsense".into()),
        Manner::Shows("7".into()),
    ] {
        server.behave(broken);
        stage.until_healthy(&[false]).await;
        server.behave(Double::shows("up", 1));
        stage.until_healthy(&[true]).await;
    }
}

#[tokio::test]
async fn a_connection_alone_is_enough_for_tcp() {
    let server = Double::start(Manner::Closes);
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = Target {
        port: free.port(),
        ..Target::clone(&server.target("b", 0))
    };
    let settings = Settings {
        check: Check::Tcp,
        ..settings()
    };
    let mut stage = Stage::new(settings, vec![server.target("a", 0), Arc::new(refused)]);
    let found = stage.until_healthy(&[true, false]).await;
    assert!(found[0].latency.is_some());
}

#[tokio::test]
async fn players_are_written_where_the_strategy_reads_them() {
    let server = Double::start(Double::shows("up", 3));
    let settings = Settings {
        players_field: Some("players".into()),
        max_players_field: Some("room".into()),
        ..settings()
    };
    let target = Target {
        meta: [("players".into(), "900".into())].into(),
        ..Target::clone(&server.target("a", 0))
    };
    let mut stage = Stage::new(settings, vec![Arc::new(target)]);
    let shows = |players: &'static str| {
        move |candidates: &[Candidate]| {
            candidates
                .first()
                .is_some_and(|found| found.target.meta.get("players").is_some_and(|is| is == players))
        }
    };
    let found = stage.until("3 players", shows("3")).await;
    assert_eq!(found[0].target.meta["room"], "20");
    server.behave(Double::shows("up", 17));
    stage.until("17 players", shows("17")).await;
}

#[tokio::test]
async fn targets_come_and_go_and_what_is_known_stays() {
    let [old, new] = ["old", "new"].map(|text| Double::start(Double::shows(text, 0)));
    let mut stage = Stage::new(settings(), vec![old.target("old", 0)]);
    stage.until_healthy(&[true]).await;
    stage
        .targets
        .send(vec![old.target("renamed", 7), new.target("new", 0)])
        .unwrap();
    let found = stage.until_healthy(&[true, true]).await;
    assert_eq!(found[0].target.identifier, "renamed");
    let history = stage.history.lock().unwrap().clone();
    assert!(
        history
            .iter()
            .flatten()
            .all(|found| found.is_healthy || found.target.identifier == "new")
    );

    stage.targets.send(Vec::new()).unwrap();
    stage.until("empty", <[_]>::is_empty).await;
    let asked = old.greeted().len();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        old.greeted().len() <= asked + 1,
        "a target that has gone is not checked any more"
    );
}

#[tokio::test]
async fn nothing_is_published_while_nothing_changes() {
    let server = Double::start(Double::shows("up", 1));
    let mut stage = Stage::new(settings(), vec![server.target("a", 0)]);
    stage.until_healthy(&[true]).await;
    let deadline = Instant::now() + PATIENCE;
    while server.greeted().len() < 5 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(server.greeted().len() >= 5, "it is checked again and again");
    let history = stage.history.lock().unwrap().clone();
    let repeated = history.windows(2).any(|two| two[0] == two[1]);
    assert!(!repeated, "{history:?}");
}

#[tokio::test]
async fn checks_are_bounded_and_spread_and_end_with_the_discovery() {
    let silent = Double::start(Manner::IsSilent);
    let target = |at: u16| {
        // 40 addresses are 40 servers, of which only the first listens.
        let host = format!("127.0.0.{}", at + 1);
        Arc::new(Target {
            host,
            ..Target::clone(&silent.target(&at.to_string(), 0))
        })
    };
    let targets: Vec<_> = (0..40).map(target).collect();
    let settings = Settings {
        concurrency: 3,
        ..settings()
    };
    let dialer = Dialer::new(Arc::new(|_| Err(std::io::Error::other("no names here"))));
    let mut watch = Watch::new(Health::new(settings, None, dialer));
    watch.replace(targets, Instant::now());
    watch.begin_checks(Instant::now());
    assert_eq!(watch.under_way.len(), 3);
    assert_eq!(watch.next_check(), None, "there is no room");
    assert_eq!(watch.due.len(), 40, "whoever is being checked is due again later");
    assert_eq!(
        watch.next_publication(),
        Some(watch.began + FIRST_MAX),
        "but no later than this"
    );
    while let Some(done) = watch.under_way.join_next().await {
        let (address, sight) = done.unwrap();
        watch.take_in(&address, sight);
        watch.begin_checks(Instant::now());
        assert!(watch.under_way.len() <= 3);
        if watch.servers.values().all(|server| server.record.was_checked()) {
            break;
        }
    }
    assert_eq!(watch.next_publication(), Some(watch.began));
    let moments: HashSet<_> = watch.servers.values().map(|server| server.due).collect();
    assert_eq!(moments.len(), 40, "each has a moment of its own");

    let stage = Stage::new(self::settings(), vec![silent.target("a", 0)]);
    drop(stage.targets);
    tokio::time::timeout(PATIENCE, stage.watching)
        .await
        .unwrap()
        .unwrap();
}
