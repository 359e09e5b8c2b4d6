//! Text components, as JSON and as network NBT, which is read as the game reads it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passage_proto::limits::TEXT_BYTES_MAX;
use passage_proto::text::Text;
use serde_json::{Map, Value};

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let text = Text::parse(input);
    let json = text.to_json();
    let component: Value = serde_json::from_str(&json).unwrap();
    // Decimal fractions are not read exactly, which nobody needs of a text.
    let exact = is_exact(&component);
    if exact && json.len() <= TEXT_BYTES_MAX {
        assert_eq!(Text::parse(&json), text);
    }
    let _ = text.to_plain();

    let mut nbt = Vec::new();
    text.write_nbt(&mut nbt);
    assert!(nbt.len() <= 64 * TEXT_BYTES_MAX, "{} bytes", nbt.len());
    let mut rest = nbt.as_slice();
    let kind = byte(&mut rest);
    assert!(
        matches!(kind, STRING | LIST | COMPOUND),
        "a component of type {kind}"
    );
    let read = value(kind, &mut rest);
    assert!(rest.is_empty(), "{} bytes too many", rest.len());
    let (read, expected) = match exact {
        true => (read, as_nbt(&component)),
        false => (without_numbers(read), without_numbers(as_nbt(&component))),
    };
    assert_eq!(read, expected);
});

const STRING: u8 = 8;
const LIST: u8 = 9;
const COMPOUND: u8 = 10;

fn is_exact(component: &Value) -> bool {
    match component {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        _ => true,
    }
}

fn without_numbers(component: Value) -> Value {
    match component {
        Value::Number(_) => number(0.0),
        Value::Array(items) => items.into_iter().map(without_numbers).collect(),
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, field)| (name, without_numbers(field)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// Reads one tag's payload.
fn value(kind: u8, rest: &mut &[u8]) -> Value {
    match kind {
        1 => number(i8::from_be_bytes(array(rest)).into()),
        2 => number(i16::from_be_bytes(array(rest)).into()),
        3 => number(i32::from_be_bytes(array(rest)).into()),
        4 => number(i64::from_be_bytes(array(rest)) as f64),
        5 => number(f32::from_be_bytes(array(rest)).into()),
        6 => number(f64::from_be_bytes(array(rest))),
        STRING => Value::String(string(rest)),
        LIST => list(rest),
        COMPOUND => Value::Object(compound(rest)),
        kind => panic!("a tag of type {kind}"),
    }
}

fn list(rest: &mut &[u8]) -> Value {
    let kind = byte(rest);
    let length = u32::from_be_bytes(array(rest));
    assert!(kind != 0 || length == 0, "a list of ends");
    let mut items = Vec::new();
    for _ in 0..length {
        items.push(match kind {
            // The game takes what it wrapped itself out again.
            COMPOUND => match compound(rest) {
                mut wrapped if is_wrapper(&wrapped) => wrapped.remove("").unwrap(),
                fields => Value::Object(fields),
            },
            kind => value(kind, rest),
        });
    }
    Value::Array(items)
}

fn is_wrapper(fields: &Map<String, Value>) -> bool {
    fields.len() == 1 && fields.contains_key("")
}

fn compound(rest: &mut &[u8]) -> Map<String, Value> {
    let mut fields = Map::new();
    loop {
        let kind = byte(rest);
        if kind == 0 {
            return fields;
        }
        let name = string(rest);
        assert!(fields.insert(name, value(kind, rest)).is_none(), "a field twice");
    }
}

/// Java's `DataInput.readUTF`.
fn string(rest: &mut &[u8]) -> String {
    let length = u16::from_be_bytes(array(rest));
    let mut bytes = take(usize::from(length), rest);
    let mut units = Vec::new();
    while let Some(first) = bytes.first() {
        assert_ne!(*first, 0, "NUL is two bytes in modified UTF-8");
        let (length, bits) = match first {
            0x00..=0x7F => (1, *first),
            0xC0..=0xDF => (2, first & 0x1F),
            0xE0..=0xEF => (3, first & 0x0F),
            other => panic!("{other:#x} begins no character"),
        };
        let more = take(length, &mut bytes)[1..].iter();
        units.push(more.fold(u16::from(bits), |unit, byte| {
            assert_eq!(byte & 0xC0, 0x80, "a character that is cut");
            unit << 6 | u16::from(byte & 0x3F)
        }));
    }
    String::from_utf16(&units).unwrap()
}

/// What of a component NBT can say: no null, flags as numbers, and numbers as wide as their list's widest.
fn as_nbt(component: &Value) -> Value {
    match component {
        Value::Null => unreachable!("left out where it stands"),
        Value::Bool(flag) => number(u8::from(*flag).into()),
        Value::Number(written) => number(written.as_f64().unwrap()),
        Value::String(text) => Value::String(text.clone()),
        Value::Array(items) => items.iter().filter(|item| !item.is_null()).map(as_nbt).collect(),
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, field)| !field.is_null());
            Value::Object(
                fields
                    .map(|(name, field)| (name.clone(), as_nbt(field)))
                    .collect(),
            )
        }
    }
}

fn number(number: f64) -> Value {
    // 0 and -0 are the same to a player.
    Value::from(number + 0.0)
}

fn byte(rest: &mut &[u8]) -> u8 {
    take(1, rest)[0]
}

fn array<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    take(N, rest).try_into().unwrap()
}

fn take<'a>(count: usize, rest: &mut &'a [u8]) -> &'a [u8] {
    let (taken, after) = rest.split_at(count);
    *rest = after;
    taken
}
