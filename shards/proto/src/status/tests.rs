//! Tests of statuses, read back as a client does.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::packet::legacy::read_kick;
use crate::packet::status::Clientbound;
use crate::wire::split_frame;

fn document() -> StatusDocument {
    StatusDocument {
        version_name: "Passage \"1\"".to_owned(),
        preferred: 767,
        minimum: 760,
        maximum: 770,
        players: Some(Players {
            max: 200,
            online: 42,
            sample: vec![SamplePlayer {
                name: "Notch".to_owned(),
                id: Uuid::from_u128(1),
            }],
        }),
        description: Some("{\"text\":\"Hello\",\"extra\":[\" §aWorld\"]}".to_owned()),
        favicon: Some("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABA".to_owned()),
        enforces_secure_chat: Some(true),
    }
}

fn served(reply: &StatusReply, protocol: i32) -> Value {
    let mut out = b"before".to_vec();
    reply.encode(protocol, &mut out);
    let bytes = &out[6..];
    let frame = split_frame(bytes, bytes.len()).unwrap().unwrap();
    assert_eq!(frame.end, bytes.len());
    match Clientbound::decode(&bytes[frame]).unwrap() {
        Clientbound::Response(json) => serde_json::from_str(json).unwrap(),
        packet @ Clientbound::Pong(_) => panic!("{packet:?}"),
    }
}

fn legacy(reply: &StatusReply, form: LegacyForm) -> String {
    let mut out = Vec::new();
    reply.encode_legacy(form, &mut out);
    read_kick(&out).unwrap()
}

#[test]
fn shows_the_whole_document() {
    let reply = StatusReply::new(&document()).unwrap();
    assert_eq!(
        served(&reply, 765),
        json!({
            "version": {"name": "Passage \"1\"", "protocol": 765},
            "players": {
                "max": 200, "online": 42,
                "sample": [{"name": "Notch", "id": "00000000-0000-0000-0000-000000000001"}],
            },
            "description": {"text": "Hello", "extra": [" §aWorld"]},
            "favicon": "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABA",
            "enforcesSecureChat": true,
        })
    );
}

#[test]
fn leaves_out_what_is_not_configured() {
    let reply = StatusReply::new(&StatusDocument::default()).unwrap();
    assert_eq!(
        served(&reply, 47),
        json!({"version": {"name": "", "protocol": 47}, "description": ""})
    );
    assert_eq!(legacy(&reply, LegacyForm::Plain), "§0§0");
}

#[test]
fn shows_the_preferred_version_outside_of_the_range() {
    let reply = StatusReply::new(&document()).unwrap();
    for (protocol, shown) in [
        (759, 767),
        (760, 760),
        (770, 770),
        (771, 767),
        (i32::MIN, 767),
        (i32::MAX, 767),
    ] {
        assert_eq!(
            served(&reply, protocol)["version"]["protocol"],
            shown,
            "{protocol}"
        );
    }
    let open = StatusDocument {
        minimum: 0,
        maximum: 0,
        ..document()
    };
    let open = StatusReply::new(&open).unwrap();
    for protocol in [i32::MIN, -1, 0, 47, i32::MAX] {
        assert_eq!(served(&open, protocol)["version"]["protocol"], protocol);
    }
    let half_open = StatusReply::new(&StatusDocument {
        maximum: 0,
        ..document()
    })
    .unwrap();
    assert_eq!(half_open.shown_protocol(9999), 9999);
    assert_eq!(half_open.shown_protocol(5), 767);
}

#[test]
fn allocates_nothing_beyond_its_output() {
    let reply = StatusReply::new(&document()).unwrap();
    let mut out = Vec::with_capacity(4096);
    let memory = (out.as_ptr(), out.capacity());
    reply.encode(-2_147_483_648, &mut out);
    assert_eq!((out.as_ptr(), out.capacity()), memory);
}

#[test]
fn refuses_what_clients_would() {
    let long = StatusDocument {
        description: Some("\"".repeat(16_384)),
        ..document()
    };
    assert!(matches!(StatusReply::new(&long), Err(StatusError::TooLong(units)) if units > STATUS_UNITS_MAX));
    let empty = StatusDocument {
        minimum: 5,
        maximum: 4,
        ..document()
    };
    assert_eq!(StatusReply::new(&empty).unwrap_err(), StatusError::RangeEmpty);
    let favicon = StatusDocument {
        favicon: Some("x".to_owned()),
        ..document()
    };
    assert_eq!(
        StatusReply::new(&favicon).unwrap_err(),
        StatusError::FaviconInvalid
    );
    let player = SamplePlayer {
        name: String::new(),
        id: Uuid::nil(),
    };
    let players = Players {
        sample: vec![player; STATUS_SAMPLE_MAX + 1],
        ..Players::default()
    };
    let sample = StatusDocument {
        players: Some(players),
        ..document()
    };
    assert_eq!(
        StatusReply::new(&sample).unwrap_err(),
        StatusError::SampleTooLong(STATUS_SAMPLE_MAX + 1)
    );
}

#[test]
fn answers_legacy_pings() {
    let reply = StatusReply::new(&document()).unwrap();
    assert_eq!(legacy(&reply, LegacyForm::Plain), "Hello World§42§200");
    assert_eq!(
        legacy(&reply, LegacyForm::Versioned),
        "§1\u{0}127\u{0}Passage \"1\"\u{0}Hello §aWorld\u{0}42\u{0}200"
    );
}

#[test]
fn cuts_the_description_of_a_legacy_answer_and_nothing_else() {
    let document = StatusDocument {
        description: Some("😀\n".repeat(300)),
        version_name: "a\0b".to_owned(),
        ..document()
    };
    let reply = StatusReply::new(&document).unwrap();
    let plain = legacy(&reply, LegacyForm::Plain);
    assert!(plain.starts_with("😀 😀 ") && plain.ends_with("§42§200"));
    let versioned = legacy(&reply, LegacyForm::Versioned);
    let fields: Vec<_> = versioned.split('\0').collect();
    assert_eq!(
        (fields[2], fields[4], fields[5], fields.len()),
        ("ab", "42", "200", 6)
    );
}

proptest! {
    #[test]
    fn any_text_gives_valid_answers(name in ".{0,80}", description in ".{0,400}", protocol: i32) {
        let document = StatusDocument {
            version_name: name.clone(), description: Some(description.clone()), ..document()
        };
        let reply = StatusReply::new(&document).unwrap();
        let shown = served(&reply, protocol);
        prop_assert_eq!(&shown["version"]["name"], &Value::String(name));
        prop_assert_eq!(legacy(&reply, LegacyForm::Plain).matches('§').count(), 2);
        prop_assert_eq!(legacy(&reply, LegacyForm::Versioned).matches('\0').count(), 5);
    }
}
