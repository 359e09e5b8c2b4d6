//! Servers of every manner, and names that lead to several of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::double::{Double, Manner};
use super::*;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const STATUS: &str = r#"{"description":"hello"}"#;

fn dialer() -> Dialer {
    Dialer::new(Arc::new(|host: &str| match host {
        "localhost.test" => Ok(vec![[127, 0, 0, 2].into(), [127, 0, 0, 1].into()]),
        _ => Err(io::Error::other("no such host")),
    }))
}

fn greeting(proxy_header: Option<ProxyVersion>) -> Greeting<'static> {
    Greeting {
        host: "play.example.net",
        port: 7,
        protocol: 767,
        proxy_header,
    }
}

async fn ask(double: &Double, patience: Duration) -> Result<(String, Conversation), Problem> {
    let deadline = Instant::now() + patience;
    let connection = dialer()
        .dial("127.0.0.1", double.address.port(), deadline)
        .await?;
    connection.status(&greeting(None), deadline).await
}

async fn problem(manner: Manner, patience: Duration) -> String {
    let outcome = ask(&Double::start(manner), patience).await;
    outcome.unwrap_err().to_string()
}

#[tokio::test]
async fn a_server_shows_its_status_and_answers_a_ping() {
    let double = Double::start(Manner::Shows(STATUS.into()));
    let (status, conversation) = ask(&double, LONG).await.unwrap();
    assert_eq!(status, STATUS);
    assert!(conversation.round_trip().await.unwrap() < LONG);
    let [greeted] = double.greeted().try_into().unwrap();
    assert_eq!(
        (&*greeted.host, greeted.port, greeted.protocol),
        ("play.example.net", 7, 767)
    );
    assert_eq!(greeted.proxied, None);
}

#[tokio::test]
async fn a_proxy_header_names_our_own_connection() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let double = Double::start(Manner::Shows(STATUS.into()));
        let deadline = Instant::now() + LONG;
        let connection = dialer()
            .dial("127.0.0.1", double.address.port(), deadline)
            .await
            .unwrap();
        connection
            .status(&greeting(Some(version)), deadline)
            .await
            .unwrap();
        let proxied = double.greeted().remove(0).proxied.unwrap();
        assert_eq!(proxied.destination, double.address);
        assert!(proxied.source.ip().is_loopback() && proxied.source.port() != 0);
    }
}

#[tokio::test]
async fn a_status_that_comes_byte_by_byte_or_in_one_piece_with_more_is_the_same() {
    let mut bytes = Vec::new();
    Clientbound::Response(STATUS).encode(&mut bytes);
    Clientbound::Pong(PAYLOAD).encode(&mut bytes);
    let (status, conversation) = ask(&Double::start(Manner::Sends(bytes)), LONG).await.unwrap();
    assert_eq!(status, STATUS);
    assert!(
        conversation.round_trip().await.is_ok(),
        "the pong had come already"
    );
}

#[tokio::test]
async fn what_is_no_status_is_a_problem_that_says_so() {
    let begun = Instant::now();
    assert_eq!(
        problem(Manner::IsSilent, SHORT).await,
        "no complete answer in time"
    );
    let closed = "the server closed the connection before it had answered";
    assert_eq!(problem(Manner::Closes, LONG).await, closed);
    assert_eq!(problem(Manner::Sends(vec![0x7F]), LONG).await, closed);
    let web = Manner::Sends(format!("HTTP/1.1 400 Bad Request\r\n\r\n{}", "sorry ".repeat(20)).into_bytes());
    assert!(
        problem(web, LONG)
            .await
            .starts_with("no Minecraft server answers there")
    );
    let mut pong = Vec::new();
    Clientbound::Pong(1).encode(&mut pong);
    assert!(
        problem(Manner::Sends(pong), LONG)
            .await
            .ends_with("a pong instead of a status")
    );
    assert!(begun.elapsed() < LONG);
}

#[tokio::test]
async fn a_claimed_length_beyond_the_bound_ends_it_before_anything_is_stored() {
    // A frame of 2 MiB - 1, announced and never sent.
    let problem = problem(Manner::Sends(vec![0xFF, 0xFF, 0x7F, 0x00]), LONG).await;
    assert!(
        problem.starts_with("no Minecraft server answers there"),
        "{problem}"
    );
}

#[tokio::test]
async fn the_longest_status_is_taken() {
    let text = "€".repeat(STATUS_UNITS_MAX - 2);
    let status = format!("\"{text}\"");
    let (taken, _) = ask(&Double::start(Manner::Shows(status.clone())), LONG)
        .await
        .unwrap();
    assert_eq!(taken, status);
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    let double = Double::start(Manner::Shows(STATUS.into()));
    let deadline = Instant::now() + LONG;
    let dialed = dialer()
        .dial("localhost.test", double.address.port(), deadline)
        .await
        .unwrap();
    assert_eq!(dialed.address, double.address);
    let problem = dialer().dial("localhost.test", 1, deadline).await.unwrap_err();
    assert!(matches!(problem, Problem::Connect(address, _) if address.ip().is_loopback()));
    let problem = dialer().dial("nowhere.test", 1, deadline).await.unwrap_err();
    assert_eq!(
        problem.to_string(),
        "the host name cannot be resolved: no such host"
    );
}

#[tokio::test]
async fn names_are_remembered_and_outlive_a_resolver_that_fails() {
    let (asked, fails) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let dialer = Dialer::new({
        let (asked, fails) = (Arc::clone(&asked), Arc::clone(&fails));
        Arc::new(move |_: &str| {
            asked.fetch_add(1, Ordering::Relaxed);
            if fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("no resolver"));
            }
            Ok(vec![[127, 0, 0, 1].into()])
        })
    });
    let deadline = Instant::now() + LONG;
    for _ in 0..3 {
        dialer.addresses("a.test", deadline).await.unwrap();
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    fails.store(true, Ordering::Relaxed);
    let known = dialer.names.get("a.test").await.unwrap();
    let Some(since) = known.since.checked_sub(FRESH) else {
        return;
    };
    dialer
        .names
        .insert(
            "a.test".into(),
            Known {
                since,
                ..known.clone()
            },
        )
        .await;
    assert_eq!(
        dialer.addresses("a.test", deadline).await.unwrap(),
        known.addresses
    );
    assert_eq!(
        asked.load(Ordering::Relaxed),
        2,
        "an old answer is asked for again"
    );
    assert!(dialer.addresses("b.test", deadline).await.is_err());
}

#[tokio::test]
async fn a_resolver_that_hangs_costs_no_more_than_the_deadline() {
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let dialer = Dialer::new(Arc::new(move |_: &str| {
        let _ = released.recv();
        Err(io::Error::other("released"))
    }));
    for _ in 0..2 * LOOKUPS_MAX {
        let problem = dialer
            .dial("a.test", 1, Instant::now() + Duration::from_millis(20))
            .await
            .unwrap_err();
        assert!(matches!(problem, Problem::TimedOut));
    }
    drop(release);
}
