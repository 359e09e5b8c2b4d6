//! A JSON text component as network NBT, which carries text since Minecraft 1.20.3.
//!
//! Source: minecraft.wiki, "NBT format" and "Java Edition protocol/Data types": the root tag has no name,
//! strings are in Java's modified UTF-8, and a list whose elements are of different types has each of them
//! that is no compound wrapped as `{"": element}`, which the game unwraps again.

use serde_json::{Number, Value};

use crate::wire::{write_i32, write_i64, write_u16};

const END: u8 = 0;
const BYTE: u8 = 1;
const INT: u8 = 3;
const LONG: u8 = 4;
const DOUBLE: u8 = 6;
const STRING: u8 = 8;
const LIST: u8 = 9;
const COMPOUND: u8 = 10;

/// Appends a component, which `Text` keeps small and shallow.
pub(super) fn write(component: &Value, out: &mut Vec<u8>) {
    out.push(tag_of(component));
    write_payload(component, tag_of(component), out);
}

fn tag_of(value: &Value) -> u8 {
    match value {
        Value::Null => END,
        Value::Bool(_) => BYTE,
        Value::Number(number) => match number.as_i64() {
            Some(integer) if i32::try_from(integer).is_ok() => INT,
            Some(_) => LONG,
            None => DOUBLE,
        },
        Value::String(_) => STRING,
        Value::Array(_) => LIST,
        Value::Object(_) => COMPOUND,
    }
}

/// Appends a value as the given tag, which is the value's own or, for a number, a wider one.
fn write_payload(value: &Value, tag: u8, out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::Bool(flag) => out.push(u8::from(*flag)),
        Value::Number(number) => write_number(number, tag, out),
        Value::String(text) => write_modified_utf8(text, out),
        Value::Array(items) => write_list(items, out),
        Value::Object(fields) => {
            for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
                write_named(name, field, out);
            }
            out.push(END);
        }
    }
}

fn write_named(name: &str, value: &Value, out: &mut Vec<u8>) {
    out.push(tag_of(value));
    write_modified_utf8(name, out);
    write_payload(value, tag_of(value), out);
}

fn write_number(number: &Number, tag: u8, out: &mut Vec<u8>) {
    let integer = number.as_i64().unwrap_or_default();
    match tag {
        INT => write_i32(out, i32::try_from(integer).unwrap_or_default()),
        LONG => write_i64(out, integer),
        _ => out.extend_from_slice(&number.as_f64().unwrap_or_default().to_be_bytes()),
    }
}

fn write_list(items: &[Value], out: &mut Vec<u8>) {
    // JSON's null has no tag: it is left out.
    let items = || items.iter().filter(|item| !item.is_null());
    let element = element_tag(items().map(tag_of));
    out.push(element.unwrap_or(COMPOUND));
    write_i32(out, i32::try_from(items().count()).unwrap_or(i32::MAX));
    for item in items() {
        match (element.unwrap_or(COMPOUND), item) {
            // The game takes out of a list of compounds whatever looks wrapped, also where all of them do.
            (COMPOUND, item) if !item.is_object() || is_wrapper(item) => {
                write_named("", item, out);
                out.push(END);
            }
            (tag, item) => write_payload(item, tag, out),
        }
    }
}

fn is_wrapper(value: &Value) -> bool {
    value
        .as_object()
        .is_some_and(|fields| fields.len() == 1 && fields.contains_key(""))
}

/// The one tag that every element can have; `None` if there is none.
fn element_tag(mut tags: impl Iterator<Item = u8>) -> Option<u8> {
    let first = tags.next().unwrap_or(END);
    tags.try_fold(first, |element, tag| {
        let numeric = |tag| matches!(tag, INT | LONG | DOUBLE);
        if element == tag {
            Some(tag)
        } else if numeric(element) && numeric(tag) {
            // The tags of wider types have higher numbers.
            Some(element.max(tag))
        } else {
            None
        }
    })
}

/// Java's `DataOutput.writeUTF`: NUL takes two bytes, and what lies beyond U+FFFF two surrogates of three
/// bytes each.
fn write_modified_utf8(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    write_u16(out, 0);
    for unit in text.encode_utf16() {
        let [high, low] = unit.to_be_bytes();
        let middle = 0x80 | (high << 2 & 0x3C) | low >> 6;
        let last = 0x80 | (low & 0x3F);
        match unit {
            0x01..=0x7F => out.push(low),
            0 | 0x80..=0x7FF => out.extend([0xC0 | (high << 2 & 0x1C) | low >> 6, last]),
            0x800.. => out.extend([0xE0 | high >> 4, middle, last]),
        }
    }
    // `Text` is bounded so that no string in it is longer than this.
    let length = u16::try_from(out.len() - start - 2).unwrap_or(u16::MAX);
    if let Some(prefix) = out.get_mut(start..start + 2) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nbt(component: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        write(component, &mut out);
        out
    }

    #[test]
    fn writes_a_string_as_a_bare_string_tag() {
        assert_eq!(nbt(&json!("hi")), b"\x08\x00\x02hi");
    }

    #[test]
    fn writes_booleans_as_bytes_and_leaves_nulls_out() {
        assert_eq!(
            nbt(&json!({"bold": true, "color": null, "text": "x"})),
            b"\x0A\x01\x00\x04bold\x01\x08\x00\x04text\x00\x01x\x00"
        );
    }

    #[test]
    fn writes_numbers_as_narrow_as_they_fit() {
        assert_eq!(nbt(&json!({"n": -2})), b"\x0A\x03\x00\x01n\xFF\xFF\xFF\xFE\x00");
        assert_eq!(
            nbt(&json!({"n": 1_i64 << 40})),
            b"\x0A\x04\x00\x01n\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        );
        assert_eq!(
            nbt(&json!({"n": 0.5})),
            b"\x0A\x06\x00\x01n\x3F\xE0\x00\x00\x00\x00\x00\x00\x00"
        );
    }

    #[test]
    fn wraps_the_elements_of_a_mixed_list() {
        assert_eq!(
            nbt(&json!(["a", {"text": "b"}])),
            b"\x09\x0A\x00\x00\x00\x02\x08\x00\x00\x00\x01a\x00\x08\x00\x04text\x00\x01b\x00"
        );
    }

    #[test]
    fn wraps_compounds_that_look_wrapped_in_any_list() {
        let wrapped = b"\x0A\x00\x00\x08\x00\x00\x00\x01a\x00\x00";
        assert_eq!(
            nbt(&json!([{"": "a"}])),
            [b"\x09\x0A\x00\x00\x00\x01", wrapped.as_slice()].concat()
        );
        assert_eq!(
            nbt(&json!([{"": "a"}, "b"])),
            [
                b"\x09\x0A\x00\x00\x00\x02",
                wrapped.as_slice(),
                b"\x08\x00\x00\x00\x01b\x00"
            ]
            .concat()
        );
    }

    #[test]
    fn widens_a_list_of_different_numbers() {
        let bytes = nbt(&json!([1, 0.5]));
        assert_eq!(bytes.get(..6), Some(&b"\x09\x06\x00\x00\x00\x02"[..]));
        assert_eq!(bytes.len(), 6 + 16);
    }

    #[test]
    fn writes_an_empty_list_without_a_type() {
        assert_eq!(nbt(&json!([])), b"\x09\x00\x00\x00\x00\x00");
    }

    #[test]
    fn writes_nul_and_supplementary_characters_as_java_does() {
        assert_eq!(nbt(&json!("\0ß€")), b"\x08\x00\x07\xC0\x80\xC3\x9F\xE2\x82\xAC");
        assert_eq!(nbt(&json!("😀")), b"\x08\x00\x06\xED\xA0\xBD\xED\xB8\x80");
    }
}
