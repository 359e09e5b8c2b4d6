//! Tests of primitives and frames.

use proptest::prelude::*;

use super::*;

#[test]
fn reads_the_var_ints_of_the_protocol_documentation() {
    for (bytes, value) in [
        (&[0x00][..], 0),
        (&[0x7F], 127),
        (&[0x80, 0x01], 128),
        (&[0xDD, 0xC7, 0x01], 25_565),
        (&[0xFF, 0xFF, 0x7F], 2_097_151),
        (&[0xFF, 0xFF, 0xFF, 0xFF, 0x07], i32::MAX),
        (&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], -1),
        (&[0x80, 0x80, 0x80, 0x80, 0x08], i32::MIN),
    ] {
        assert_eq!(Reader::new(bytes).var_int(), Ok(value));
        let mut out = Vec::new();
        write_var_int(&mut out, value);
        assert_eq!(out, bytes);
        for end in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..end]).var_int(), Err(Fault::PacketTruncated));
        }
    }
}

#[test]
fn takes_padded_var_ints_but_none_of_six_bytes() {
    assert_eq!(Reader::new(&[0x81, 0x80, 0x00]).var_int(), Ok(1));
    assert_eq!(Reader::new(&[0xFF; 5]).var_int(), Err(Fault::VarIntTooLong));
    assert_eq!(
        Reader::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).var_int(),
        Err(Fault::VarIntTooLong)
    );
}

#[test]
fn bounds_strings_in_bytes_and_in_units() {
    let string = |text: &str, units_max| {
        let mut out = Vec::new();
        write_string(&mut out, text);
        Reader::new(&out).string(units_max).map(str::to_owned)
    };
    assert_eq!(string("ab", 2), Ok("ab".to_owned()));
    assert_eq!(string("abc", 2), Err(Fault::StringTooLong));
    assert_eq!(string("€€", 2), Ok("€€".to_owned()));
    assert_eq!(string("😀", 2), Ok("😀".to_owned()));
    assert_eq!(string("😀", 1), Err(Fault::StringTooLong));
    assert_eq!(string("", 0), Ok(String::new()));
    assert_eq!(
        Reader::new(&[2, 0xC3, 0x28]).string(16),
        Err(Fault::StringNotUtf8)
    );
}

#[test]
fn refuses_claimed_lengths_before_they_matter() {
    let mut negative = Vec::new();
    write_var_int(&mut negative, -1);
    let mut huge = Vec::new();
    write_var_int(&mut huge, i32::MAX);
    assert_eq!(Reader::new(&negative).string(16), Err(Fault::LengthNegative));
    assert_eq!(Reader::new(&negative).byte_array(16), Err(Fault::LengthNegative));
    assert_eq!(Reader::new(&huge).string(usize::MAX), Err(Fault::PacketTruncated));
    assert_eq!(Reader::new(&huge).string(16), Err(Fault::StringTooLong));
    assert_eq!(Reader::new(&huge).byte_array(16), Err(Fault::ArrayTooLong));
    assert_eq!(Reader::new(&huge).count(16), Err(Fault::ArrayTooLong));
    assert_eq!(
        Reader::new(&[0xFF, 0xFF]).short_byte_array(16),
        Err(Fault::LengthNegative)
    );
    assert_eq!(
        Reader::new(&[0, 17]).short_byte_array(16),
        Err(Fault::ArrayTooLong)
    );
}

#[test]
fn refuses_what_is_no_frame_as_soon_as_it_shows() {
    assert_eq!(split_frame(&[0x00], 100), Err(Fault::FrameEmpty));
    assert_eq!(split_frame(&[0x80, 0x00], 100), Err(Fault::FrameEmpty));
    assert_eq!(split_frame(&[101], 100), Err(Fault::FrameTooLong));
    assert_eq!(
        split_frame(&[0xFF, 0xFF, 0xFF], 100),
        Err(Fault::FrameLengthTooLong)
    );
    assert_eq!(
        split_frame(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F], 100),
        Err(Fault::FrameLengthTooLong)
    );
    assert_eq!(split_frame(&[0xFF, 0xFF, 0x7F], FRAME_BYTES_MAX), Ok(None));
    assert_eq!(split_frame(&[0xFF, 0xFF], 100), Ok(None));
    assert_eq!(split_frame(&[], 100), Ok(None));
    for (bytes, missing) in [
        (&[][..], 0),
        (&[0xFF], 0),
        (&[0xE4, 0x00], 100),
        (&[0xE5, 0x00], 0),
        (&[3, 7], 2),
        (&[1], 1),
        (&[1, 7], 0),
        (&[1, 7, 9], 0),
        (&[0x00], 0),
        (&[0xFF, 0xFF, 0xFF], 0),
    ] {
        assert_eq!(missing_of_frame(bytes, 100), missing, "{bytes:?}");
    }
}

#[test]
fn takes_a_frame_of_exactly_the_bound() {
    let mut bytes = vec![100];
    bytes.extend([7; 100]);
    assert_eq!(split_frame(&bytes, 100), Ok(Some(1..101)));
    assert_eq!(split_frame(&bytes[..100], 100), Ok(None));
}

#[test]
fn finishes_only_where_nothing_is_left() {
    assert_eq!(Reader::new(&[]).finish(), Ok(()));
    assert_eq!(Reader::new(&[0]).finish(), Err(Fault::PacketTrailing));
}

proptest! {
    #[test]
    fn any_var_int_survives(value: i32) {
        let mut out = Vec::new();
        write_var_int(&mut out, value);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.var_int(), Ok(value));
        prop_assert_eq!(reader.finish(), Ok(()));
        if let Ok(length) = usize::try_from(value) {
            prop_assert_eq!(out.len(), var_int_bytes(length));
            let mut again = Vec::new();
            write_length(&mut again, length);
            prop_assert_eq!(again, out);
        }
    }

    #[test]
    fn every_field_survives(
        flag: bool, short: u16, int: i32, long: i64, id: u128, text in ".{0,40}", bytes: Vec<u8>,
    ) {
        let id = Uuid::from_u128(id);
        let mut out = Vec::new();
        write_bool(&mut out, flag);
        write_u16(&mut out, short);
        write_i32(&mut out, int);
        write_i64(&mut out, long);
        write_uuid(&mut out, id);
        write_string(&mut out, &text);
        write_byte_array(&mut out, &bytes);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.bool(), Ok(flag));
        prop_assert_eq!(reader.u16(), Ok(short));
        prop_assert_eq!(reader.i32(), Ok(int));
        prop_assert_eq!(reader.i64(), Ok(long));
        prop_assert_eq!(reader.uuid(), Ok(id));
        prop_assert_eq!(reader.string(80), Ok(text.as_str()));
        prop_assert_eq!(reader.byte_array(bytes.len()), Ok(bytes.as_slice()));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn frames_come_out_as_they_went_in(first in prop::collection::vec(any::<u8>(), 1..300), second: Vec<u8>) {
        let mut out = Vec::new();
        write_frame(&mut out, |out| out.extend_from_slice(&first));
        let end = out.len();
        out.extend_from_slice(&second);
        for cut in 0..end {
            prop_assert_eq!(split_frame(&out[..cut], 300), Ok(None));
        }
        let range = split_frame(&out, 300).unwrap().unwrap();
        prop_assert_eq!(range.end, end);
        prop_assert_eq!(&out[range], first.as_slice());
    }

    #[test]
    fn a_frame_lies_within_its_input(bytes: Vec<u8>, bytes_max in 0_usize..5000) {
        if let Ok(Some(range)) = split_frame(&bytes, bytes_max) {
            prop_assert!(range.end <= bytes.len() && !range.is_empty() && range.len() <= bytes_max);
        }
    }
}
