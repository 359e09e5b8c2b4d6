//! What is asked for, and what answers may be.

use super::*;
use crate::adapters::agones::tests::{query, settings};
use crate::config::agones::{Metadata, PlayerRange};

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn asks_for_everything_that_is_configured() {
    let mut settings = settings();
    settings.scheduling = Scheduling::Distributed;
    settings.selectors = vec![
        Selector {
            match_labels: [("version".to_owned(), template("{{ .Client.ProtocolVersion }}"))].into(),
            match_expressions: vec![Expression {
                key: "host".into(),
                operator: Operator::NotIn,
                values: vec![template("{{ .Client.ServerAddress }}"), template("a")],
            }],
            state: Some(GameServerState::Allocated),
            players: Some(PlayerRange {
                min_available: 1,
                max_available: 8,
            }),
            counters: [(
                "rooms".to_owned(),
                CounterRange {
                    min_count: 1,
                    max_count: 2,
                    min_available: 3,
                    max_available: 4,
                },
            )]
            .into(),
            lists: [(
                "players".to_owned(),
                ListRange {
                    contains_value: Some(template("{{ .Player.Id }}")),
                    min_available: 1,
                    max_available: 0,
                },
            )]
            .into(),
        },
        Selector::default(),
    ];
    settings.priorities = vec![Priority {
        kind: PriorityType::List,
        key: "players".into(),
        order: Order::Descending,
    }];
    settings.metadata = Metadata {
        labels: [("port".to_owned(), template("p{{ .Client.ServerPort }}"))].into(),
        annotations: [(
            "who".to_owned(),
            template("{{ .Player.Name }} from {{ .Client.Address }}"),
        )]
        .into(),
    };
    let expected: Value = serde_json::from_str(include_str!("request.json")).unwrap();
    assert_eq!(request(&settings, &query(), None), expected);
}

#[test]
fn whatever_a_client_says_becomes_a_valid_label() {
    let mut settings = settings();
    settings.metadata.labels = [("host".to_owned(), template("{{ .Client.ServerAddress }}"))].into();
    let mut query = query();
    for hostname in ["", "\"},{\"", "::::", &"x.".repeat(200), "пример"] {
        query.client.hostname = hostname.into();
        let request = request(&settings, &query, None);
        let label = request["spec"]["metadata"]["labels"]["host"].as_str().unwrap();
        assert_eq!(label_value_of(label), label, "{hostname}");
    }
}

#[test]
fn an_ipv4_address_within_ipv6_is_shown_as_what_it_is() {
    let mut query = query();
    query.client.address = "[::ffff:192.0.2.7]:1".parse().unwrap();
    let request = request(&settings(), &query, None);
    assert_eq!(request["spec"]["metadata"]["labels"]["client"], "192.0.2.7");
    assert_eq!(
        request["spec"]["metadata"]["annotations"]["trace"], "",
        "nobody traces it"
    );
}

fn read(status: &Value, port: Option<&str>) -> Result<Allocation, String> {
    answer(json!({ "status": status }).to_string().as_bytes(), port)
}

fn allocated() -> Value {
    json!({
        "state": "Allocated",
        "gameServerName": "lobby-1",
        "address": "10.0.0.7",
        "ports": [{"name": "game", "port": 7_001}],
    })
}

#[test]
fn says_why_a_game_server_cannot_be_reached() {
    let with = |key: &str, value: Value| {
        let mut status = allocated();
        status[key] = value;
        status
    };
    for (status, port, told) in [
        (
            with("ports", Value::Null),
            None,
            "the game server \"lobby-1\" without a port; it has []",
        ),
        (
            allocated(),
            Some("query"),
            "the game server \"lobby-1\" without a port \"query\"; it has [game]",
        ),
        (
            with("ports", json!([{"port": 0}])),
            None,
            "a game server that (\"lobby-1\") has no port",
        ),
        (
            with("ports", json!([{"port": 70_000}])),
            None,
            "no GameServerAllocation: invalid value",
        ),
        (
            with("address", "".into()),
            None,
            "a game server that (\"lobby-1\") has the address \"\"",
        ),
        (
            with("address", "a b".into()),
            None,
            "a game server that (\"lobby-1\") has the address \"a b\"",
        ),
        (
            with("gameServerName", "".into()),
            None,
            "a game server that has an identifier of 0 bytes",
        ),
        (
            with("state", "Ready".into()),
            None,
            "a GameServerAllocation in the state \"Ready\"",
        ),
        (Value::Null, None, "a GameServerAllocation without a status"),
    ] {
        let problem = read(&status, port).unwrap_err();
        assert!(problem.starts_with(told), "{problem}");
    }
    let endless = "[".repeat(100_000);
    assert!(answer(endless.as_bytes(), None).is_err());
}

#[test]
fn bounds_what_becomes_of_labels_and_annotations() {
    let annotations: Map<_, _> = (0..500)
        .map(|n| (format!("a{n:03}"), Value::from("x")))
        .chain([("big".to_owned(), Value::from("x".repeat(META_BYTES_MAX + 1)))])
        .collect();
    let mut status = allocated();
    status["metadata"] = json!({"labels": {"state": "mine", "first": "1"}, "annotations": annotations});
    let Ok(Allocation::Target(target)) = read(&status, None) else {
        panic!("no target")
    };
    assert_eq!(target.meta.len(), META_ENTRIES_MAX);
    assert_eq!(
        (target.meta["state"].as_str(), target.meta["first"].as_str()),
        ("Allocated", "1")
    );
    assert!(!target.meta.contains_key("big"));
}

#[test]
fn shows_no_more_of_others_texts_than_fits_into_a_log_line() {
    let text = shown(&format!("a\r\nb{}", "c".repeat(10_000)));
    assert!(text.starts_with("a  bccc") && text.chars().count() == SHOWN_CHARS_MAX);
}
