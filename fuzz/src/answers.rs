//! What services answer in JSON: targets, statuses, profiles, game servers, and the words of operators.

use std::collections::HashSet;
use std::sync::Arc;

use passage::adapters::answers;
use passage::localization::Messages;
use passage_proto::limits::{STATUS_UNITS_MAX, TEXT_BYTES_MAX};
use passage_proto::packet::legacy::LegacyForm;
use passage_proto::question::{LocalizeQuery, Message, Target};
use passage_proto::text::Text;
use serde_json::{Value, json};

const NAME: &str = "Alice";
const KEY: &str = "disconnect_timeout";

/// Reads an input as the answer that its first byte says.
///
/// # Panics
///
/// If what is taken is out of bounds, or says something else when it is written and read again.
pub fn play(input: &[u8]) {
    let Some((kind, answer)) = input.split_first() else {
        return;
    };
    match kind {
        b't' => targets(answer),
        b's' => status(answer),
        b'p' => profile(answer),
        b'g' => game_server(answer),
        b'w' => words(answer),
        _ => {}
    }
}

fn targets(page: &[u8]) {
    let Ok(read) = answers::targets(page) else {
        return;
    };
    assert!(read.len() <= 4_096, "{} targets", read.len());
    let names: HashSet<_> = read.iter().map(|target| &target.identifier).collect();
    assert_eq!(names.len(), read.len(), "two targets with one name");
    read.iter().for_each(check_target);
    let written: Vec<_> = read
        .iter()
        .map(|target| {
            json!({
                "identifier": target.identifier,
                "address": { "hostname": target.host, "port": target.port },
                "priority": target.priority,
                "meta": target.meta,
            })
        })
        .collect();
    let page = json!({ "targets": written }).to_string();
    assert_eq!(answers::targets(page.as_bytes()), Ok(read));
}

/// What metrics, logs, cookies and transfer packets rely on.
fn check_target(target: &Arc<Target>) {
    let name = &target.identifier;
    assert!(
        (1..=128).contains(&name.len()) && !name.contains(char::is_control),
        "{target:?}"
    );
    assert!(target.port != 0 && !target.host.is_empty(), "{target:?}");
    assert!(
        !target
            .host
            .contains(|c: char| c.is_control() || c.is_whitespace()),
        "{target:?}"
    );
    assert!(target.meta.len() <= 256, "{} entries of meta", target.meta.len());
    let longest = target
        .meta
        .iter()
        .map(|(key, value)| key.len().max(value.len()))
        .max();
    assert!(
        longest.is_none_or(|bytes| bytes <= 8 * 1024),
        "{longest:?} bytes of meta"
    );
}

fn status(page: &[u8]) {
    let Ok(reply) = answers::status(page) else {
        return;
    };
    for protocol in [-1, 0, 5, 47, 340, 767, i32::MAX] {
        let mut frame = Vec::new();
        reply.encode(protocol, &mut frame);
        let json = json_of(&frame);
        assert!(
            json.encode_utf16().count() <= STATUS_UNITS_MAX,
            "longer than clients read"
        );
        let shown: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert!(shown["version"]["protocol"].is_i64(), "{json}");
        assert!(
            answers::status(json.as_bytes()).is_ok(),
            "cannot be read again: {json}"
        );
    }
    for form in [LegacyForm::Plain, LegacyForm::Versioned] {
        reply.encode_legacy(form, &mut Vec::new());
    }
}

/// The JSON in a status packet, whose lengths must be its own.
fn json_of(frame: &[u8]) -> &str {
    let mut rest = frame;
    assert_eq!(varint(&mut rest), rest.len(), "the frame's length");
    assert_eq!(varint(&mut rest), 0, "the packet's number");
    assert_eq!(varint(&mut rest), rest.len(), "the text's length");
    std::str::from_utf8(rest).unwrap_or_else(|error| panic!("{rest:?}: {error}"))
}

fn varint(rest: &mut &[u8]) -> usize {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let Some((byte, after)) = rest.split_first() else {
            panic!("a length without an end");
        };
        *rest = after;
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
    }
    panic!("a length of more than five bytes");
}

fn profile(page: &[u8]) {
    let Ok(profile) = answers::profile(NAME, page) else {
        return;
    };
    assert!(profile.name.eq_ignore_ascii_case(NAME), "{profile:?}");
    let written = json!(profile).to_string();
    assert_eq!(answers::profile(NAME, written.as_bytes()), Ok(profile));
}

/// The name of the port that is wanted, if any, stands before a NUL.
fn game_server(answer: &[u8]) {
    let mut parts = answer.splitn(2, |byte| *byte == 0);
    let (Some(first), second) = (parts.next(), parts.next()) else {
        return;
    };
    let (port, body) = match second {
        Some(body) => (std::str::from_utf8(first).ok(), body),
        None => (None, first),
    };
    if let Ok(Some(target)) = answers::allocation(body, port) {
        check_target(&target);
    }
}

/// A message, and after a NUL the value of its parameter.
fn words(answer: &[u8]) {
    let Ok(text) = std::str::from_utf8(answer) else {
        return;
    };
    let (message, value) = text.split_once('\0').unwrap_or((text, "{value}"));
    let ask = |value: &str| LocalizeQuery {
        locale: None,
        message: Message {
            key: KEY.into(),
            params: vec![("value", value.to_owned())],
        },
    };
    let messages = |message: &str| {
        let entries = [(KEY.to_owned(), message.to_owned())].into();
        Messages::from([("en_us".to_owned(), entries)])
    };
    let shown = answers::words(&messages(message), &ask(value));
    let component: Value = serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{shown}: {error}"));
    let empty = answers::words(&messages(message), &ask(""));
    let without: Value = serde_json::from_str(&empty).unwrap_or_else(|error| panic!("{empty}: {error}"));
    assert_eq!(
        shape(&component),
        shape(&without),
        "a value changed what the message is"
    );
    let mut nbt = Vec::new();
    Text::parse(&shown).write_nbt(&mut nbt);
    assert!(nbt.len() <= 64 * TEXT_BYTES_MAX, "{} bytes", nbt.len());
}

/// A component without the words in it.
fn shape(component: &Value) -> Value {
    match component {
        Value::String(_) => Value::String(String::new()),
        Value::Array(parts) => parts.iter().map(shape).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, field)| (key.clone(), shape(field)));
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}
