//! What becomes of every part of a status, whole, strange or broken.

use super::*;

fn read(json: &str) -> Listing {
    Listing::read(json).unwrap()
}

fn keys(dropped: &[Dropped]) -> Vec<&'static str> {
    dropped.iter().map(|dropped| dropped.key).collect()
}

/// A PNG of this size, as far as clients look.
fn png(side: u32) -> String {
    use base64::Engine as _;
    let mut bytes = b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR".to_vec();
    bytes.extend(side.to_be_bytes());
    bytes.extend(side.to_be_bytes());
    bytes.extend([8, 6, 0, 0, 0]);
    format!(
        "data:image/png;base64,{}",
        base64::engine::general_purpose::STANDARD.encode(bytes)
    )
}

fn shown(reply: &StatusReply) -> Value {
    let mut frame = Vec::new();
    reply.encode(767, &mut frame);
    let start = frame.iter().position(|byte| *byte == b'{').unwrap();
    serde_json::from_slice(&frame[start..]).unwrap()
}

#[test]
fn everything_that_we_know_is_passed_on() {
    let favicon = png(64);
    let status = serde_json::json!({
        "version": {"name": "Paper 1.21.4", "protocol": 769},
        "players": {
            "max": 100, "online": 7,
            "sample": [{"name": "Alex", "id": "069a79f4-44e9-4726-a5be-fca90e38aaf5"}],
        },
        "description": {"text": "Hi", "color": "gold", "bold": true, "extra": ["b", {"translate": "c"}]},
        "favicon": favicon,
        "enforcesSecureChat": false,
    });
    let (reply, dropped) = read(&status.to_string()).encode().unwrap();
    assert_eq!(dropped, []);
    assert_eq!(shown(&reply), status);
}

#[test]
fn every_client_is_shown_the_servers_own_version() {
    for protocol in [-1, 0, 47, 767] {
        let json = format!(r#"{{"version":{{"name":"x","protocol":{protocol}}}}}"#);
        let (reply, _) = read(&json).encode().unwrap();
        for client in [-1, 0, 4, 47, 767, 5_000] {
            assert_eq!(reply.shown_protocol(client), protocol);
        }
    }
}

#[test]
fn parts_that_are_missing_are_missing() {
    let listing = read("{}");
    assert_eq!(keys(&listing.dropped), ["version.protocol"]);
    let document = &listing.document;
    assert_eq!((&*document.version_name, document.preferred), ("", -1));
    assert_eq!(document.players, None);
    assert_eq!(
        (
            &document.description,
            &document.favicon,
            document.enforces_secure_chat
        ),
        (&None, &None, None)
    );
}

#[test]
fn descriptions_come_in_every_form() {
    let description = |json: &str| read(&format!(r#"{{"description":{json}}}"#)).document.description;
    assert_eq!(description(r#""§6A server""#).as_deref(), Some(r#""§6A server""#));
    assert_eq!(
        description(r#"["a",{"text":"b"}]"#).as_deref(),
        Some(r#"["a",{"text":"b"}]"#)
    );
    assert_eq!(description("null"), None);
    assert_eq!(description("7"), None, "a number is no component");
    let deep = format!("{}\"x\"{}", "[".repeat(60), "]".repeat(60));
    assert_eq!(description(&deep), None);
    let long = format!("\"{}\"", "x".repeat(TEXT_BYTES_MAX));
    assert_eq!(description(&long), None);
}

#[test]
fn counts_and_samples_are_held_to_what_clients_read() {
    let sample: Vec<_> = (0..150)
        .map(|n| serde_json::json!({"name": format!("line {n}"), "id": "none"}))
        .collect();
    let status = serde_json::json!({"version": {"name": "", "protocol": 1},
        "players": {"max": -1, "online": 99_999_999_999_u64, "sample": sample}});
    let listing = read(&status.to_string());
    assert_eq!(
        keys(&listing.dropped),
        ["players.max", "players.online", "players.sample"]
    );
    let players = listing.document.players.unwrap();
    assert_eq!((players.max, players.online), (0, 2_147_483_647));
    assert_eq!(players.sample.len(), STATUS_SAMPLE_MAX);
    assert_eq!(
        players.sample[7],
        SamplePlayer {
            name: "line 7".into(),
            id: Uuid::nil()
        }
    );
    assert_eq!(
        keys(&read(r#"{"version":{"protocol":1},"players":[]}"#).dropped),
        ["players"]
    );
}

#[test]
fn icons_that_clients_do_not_show_are_left_out_and_the_rest_stays() {
    for favicon in [png(32), "https://example.net/icon.png".into(), String::new()] {
        let status = serde_json::json!({"version": {"name": "x", "protocol": 1}, "favicon": favicon});
        let (reply, dropped) = read(&status.to_string()).encode().unwrap();
        assert_eq!(keys(&dropped), ["favicon"], "{favicon}");
        assert_eq!(shown(&reply)["version"]["name"], "x");
    }
    let icon = png(64);
    let (before, after) = icon.split_at(40);
    let broken = serde_json::json!({"version": {"protocol": 1}, "favicon": format!("{before}\n{after}\n")});
    assert_eq!(
        read(&broken.to_string()).document.favicon,
        Some(png(64)),
        "lines are joined"
    );
}

#[test]
fn what_is_too_long_as_a_whole_loses_its_biggest_parts() {
    let sample: Vec<_> = (0..100)
        .map(|_| serde_json::json!({"name": "x".repeat(150), "id": Uuid::nil().to_string()}))
        .collect();
    let description = "y".repeat(10_000);
    let status = serde_json::json!({"version": {"name": "v", "protocol": 1}, "description": description,
        "favicon": png(64) + &"A".repeat(4_000), "players": {"max": 1, "online": 0, "sample": sample}});
    let (reply, dropped) = read(&status.to_string()).encode().unwrap();
    assert_eq!(keys(&dropped), ["favicon"], "without the icon it fits");
    assert_eq!(shown(&reply)["players"]["sample"].as_array().unwrap().len(), 100);

    let sample: Vec<_> = (0..100)
        .map(|_| serde_json::json!({"name": "x".repeat(400), "id": Uuid::nil().to_string()}))
        .collect();
    let status = serde_json::json!({"version": {"name": "v".repeat(9_000), "protocol": 1},
        "description": "y", "players": {"max": 1, "online": 0, "sample": sample}});
    let (reply, dropped) = read(&status.to_string()).encode().unwrap();
    assert_eq!(keys(&dropped), ["version.name", "players.sample"]);
    assert_eq!(
        shown(&reply)["players"],
        serde_json::json!({"max": 1, "online": 0})
    );
}

#[test]
fn what_is_no_status_is_an_error() {
    for (json, expected) in [
        ("", "the status is no JSON"),
        ("[]", "the status is no JSON object"),
        ("{", "the status is"),
    ] {
        assert!(Listing::read(json).unwrap_err().starts_with(expected));
    }
}
