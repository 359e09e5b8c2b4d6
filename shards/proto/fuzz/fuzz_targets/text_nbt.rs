//! Text components, as JSON and as network NBT.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passage_proto::limits::TEXT_BYTES_MAX;
use passage_proto::text::Text;

fuzz_target!(|input: &[u8]| {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let text = Text::parse(input);
    let json = text.to_json();
    // Decimal fractions are not read exactly, which nobody needs of a text.
    let exact = !json.contains(['.', 'e', 'E']);
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
    skip(kind, &mut rest);
    assert!(rest.is_empty(), "{} bytes too many", rest.len());
});

const STRING: u8 = 8;
const LIST: u8 = 9;
const COMPOUND: u8 = 10;

/// Walks over one tag's payload as a client does.
fn skip(kind: u8, rest: &mut &[u8]) {
    match kind {
        1 => drop(take(1, rest)),
        2 => drop(take(2, rest)),
        3 | 5 => drop(take(4, rest)),
        4 | 6 => drop(take(8, rest)),
        STRING => string(rest),
        LIST => {
            let kind = byte(rest);
            let length = u32::from_be_bytes(take(4, rest).try_into().unwrap());
            assert!(kind != 0 || length == 0, "a list of ends");
            for _ in 0..length {
                skip(kind, rest);
            }
        }
        COMPOUND => loop {
            let kind = byte(rest);
            if kind == 0 {
                return;
            }
            string(rest);
            skip(kind, rest);
        },
        kind => panic!("a tag of type {kind}"),
    }
}

fn string(rest: &mut &[u8]) {
    let length = u16::from_be_bytes(take(2, rest).try_into().unwrap());
    let bytes = take(usize::from(length), rest);
    assert!(!bytes.contains(&0), "NUL is two bytes in modified UTF-8");
}

fn byte(rest: &mut &[u8]) -> u8 {
    take(1, rest)[0]
}

fn take<'a>(count: usize, rest: &mut &'a [u8]) -> &'a [u8] {
    let (taken, after) = rest.split_at(count);
    *rest = after;
    taken
}
