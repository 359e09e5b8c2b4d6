//! Which target is asked, what is shown of it, and what happens when it is down.

use std::net::Ipv4Addr;

use passage_shards::route::{MetaRule, MetaTest};
use serde_json::Value;

use super::*;
use crate::adapters::ping::double::{Double, Manner};

const POLICY: Policy = Policy {
    timeout: Duration::from_secs(20),
    concurrency: 4,
    retries: 0,
    breaker_failures: 0,
    breaker_pause: Duration::from_secs(1),
};

fn client(protocol: i32) -> ClientInfo {
    ClientInfo {
        address: (Ipv4Addr::LOCALHOST, 40_000).into(),
        hostname: "evil.example.net".into(),
        port: 1,
        protocol,
    }
}

fn service(candidates: Vec<Candidate>, policy: Policy) -> TargetStatus {
    let settings = Settings {
        route: "play.example.net".into(),
        targets: watch::channel(candidates.into()).1,
        filters: Vec::new(),
        send_proxy_protocol: None,
        policy,
    };
    TargetStatus::new(
        settings,
        Dialer::new(Arc::new(|_| Err(std::io::Error::other("no names here")))),
    )
}

fn of(targets: &[&Arc<Target>]) -> Vec<Candidate> {
    targets
        .iter()
        .map(|target| Candidate::from(Arc::clone(target)))
        .collect()
}

async fn ask(service: &TargetStatus, protocol: i32) -> Result<Value, AskError> {
    let call = Call {
        deadline: Instant::now() + Duration::from_secs(20),
        trace: None,
    };
    let status = service.status(&client(protocol), call).await?;
    let mut frame = Vec::new();
    status.reply.encode(protocol, &mut frame);
    let start = frame.iter().position(|byte| *byte == b'{').unwrap();
    Ok(serde_json::from_slice(&frame[start..]).unwrap())
}

async fn text(service: &TargetStatus) -> String {
    ask(service, 775).await.unwrap()["description"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_first_target_of_the_lowest_priority_speaks_for_its_route() {
    let [backup, lobby] = ["backup", "lobby"].map(|text| Double::start(Double::shows(text, 3)));
    let service = service(
        of(&[&backup.target("backup", 1), &lobby.target("lobby", 0)]),
        POLICY,
    );
    let status = ask(&service, 767).await.unwrap();
    assert_eq!(status["description"], "lobby");
    assert_eq!(status["players"], serde_json::json!({"max": 20, "online": 3}));
    assert_eq!(
        status["version"],
        serde_json::json!({"name": "Test", "protocol": 775})
    );
    assert_eq!(backup.greeted(), []);
}

#[tokio::test]
async fn targets_are_told_the_clients_version_but_not_what_it_typed() {
    let lobby = Double::start(Double::shows("lobby", 0));
    let service = service(of(&[&lobby.target("lobby", 0)]), POLICY);
    for protocol in [47, 767, -7, i32::MAX] {
        ask(&service, protocol).await.unwrap();
    }
    let told: Vec<_> = lobby.greeted().iter().map(|greeted| greeted.protocol).collect();
    assert_eq!(told, [47, 767, NO_VERSION, NO_VERSION]);
    assert!(
        lobby
            .greeted()
            .iter()
            .all(|greeted| greeted.host == "127.0.0.1" && greeted.port == lobby.address.port())
    );
}

#[tokio::test]
async fn the_next_target_is_asked_where_one_is_down_and_first_from_then_on() {
    let [lobby, backup] = ["lobby", "backup"].map(|text| Double::start(Double::shows(text, 0)));
    let service = service(
        of(&[&lobby.target("lobby", 0), &backup.target("backup", 1)]),
        POLICY,
    );
    for broken in [
        Manner::Closes,
        Manner::Sends(b"HTTP/1.1 200 OK\r\n\r\n".into()),
        Manner::Shows("[]".into()),
    ] {
        lobby.behave(broken);
        assert_eq!(text(&service).await, "backup");
        lobby.behave(Double::shows("lobby", 0));
        assert_eq!(text(&service).await, "backup", "the lobby rests");
        service.resting().succeeded(&lobby.target("lobby", 0));
        assert_eq!(text(&service).await, "lobby");
    }
}

#[tokio::test]
async fn a_silent_target_leaves_time_for_the_next() {
    let (silent, backup) = (
        Double::start(Manner::IsSilent),
        Double::start(Double::shows("backup", 0)),
    );
    let policy = Policy {
        timeout: Duration::from_secs(3),
        ..POLICY
    };
    let service = service(
        of(&[&silent.target("silent", 0), &backup.target("backup", 1)]),
        policy,
    );
    assert_eq!(text(&service).await, "backup");
}

#[tokio::test]
async fn what_is_left_out_by_health_or_filters_is_not_asked() {
    let [sick, off, lobby] = ["sick", "off", "lobby"].map(|text| Double::start(Double::shows(text, 0)));
    let closed = Target {
        meta: [("state".into(), "off".into())].into(),
        ..Target::clone(&off.target("off", 0))
    };
    let mut candidates = of(&[
        &sick.target("sick", 0),
        &Arc::new(closed),
        &lobby.target("lobby", 1),
    ]);
    candidates[0].is_healthy = false;
    let mut service = service(candidates, POLICY);
    service.settings.filters.push(MetaFilter {
        rules: vec![MetaRule {
            key: "state".into(),
            test: MetaTest::NotEquals("off".into()),
        }],
    });
    assert_eq!(text(&service).await, "lobby");
    lobby.behave(Manner::Closes);
    assert_eq!(
        text(&service).await,
        "sick",
        "if nobody else answers, whoever may be down is asked"
    );
    assert_eq!(off.greeted(), []);
}

#[tokio::test]
async fn what_went_wrong_is_said() {
    let down = Double::start(Manner::Closes);
    assert_eq!(
        ask(&service(of(&[&down.target("a", 0)]), POLICY), 775).await,
        Err(AskError::Failed)
    );
    let silent = Double::start(Manner::IsSilent);
    let policy = Policy {
        timeout: Duration::from_millis(300),
        ..POLICY
    };
    assert_eq!(
        ask(&service(of(&[&silent.target("a", 0)]), policy), 775).await,
        Err(AskError::TimedOut)
    );
    assert_eq!(
        ask(&service(Vec::new(), POLICY), 775).await,
        Err(AskError::Denied)
    );
    let closed = Target {
        port: 1,
        ..Target::clone(&down.target("a", 0))
    };
    assert_eq!(
        ask(&service(of(&[&Arc::new(closed)]), POLICY), 775).await,
        Err(AskError::Unreachable)
    );
}

#[tokio::test]
async fn news_of_the_discovery_count_at_once() {
    let [old, new] = ["old", "new"].map(|text| Double::start(Double::shows(text, 0)));
    let (discovered, targets) = watch::channel(of(&[&old.target("old", 0)]).into());
    let mut service = service(Vec::new(), POLICY);
    service.settings.targets = targets;
    assert_eq!(text(&service).await, "old");
    discovered.send(of(&[&new.target("new", 0)]).into()).unwrap();
    assert_eq!(text(&service).await, "new");
    drop(discovered);
    assert_eq!(
        text(&service).await,
        "new",
        "a discovery that has ended is still known"
    );
}
