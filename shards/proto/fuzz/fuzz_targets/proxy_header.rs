//! PROXY headers, read and written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passage_proto::proxy_header::{Allowed, ProxyVersion, parse, write};

fuzz_target!(|input: &[u8]| {
    let Some((allowed, input)) = input.split_first() else {
        return;
    };
    let allowed = Allowed {
        v1: allowed & 1 != 0,
        v2: allowed & 2 != 0,
    };
    let whole = parse(input, allowed);
    for length in 0..input.len().min(600) {
        let part = parse(&input[..length], allowed);
        match (part, whole) {
            (Ok(None), _) => {}
            (Ok(Some(header)), Ok(Some(same))) => {
                assert_eq!(header, same);
                assert!(length >= header.length, "found before its last byte");
            }
            (Err(fault), Err(same)) => assert_eq!(fault, same),
            (part, whole) => panic!("{part:?} became {whole:?}"),
        }
    }
    let Ok(Some(header)) = whole else { return };
    assert!(header.length <= input.len());
    let Some(addresses) = header.addresses else { return };
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        let mut written = Vec::new();
        write(version, addresses, &mut written);
        let read = parse(&written, Allowed { v1: true, v2: true }).unwrap().unwrap();
        assert_eq!(read.length, written.len());
        assert_eq!(read.addresses.unwrap().source.port(), addresses.source.port());
        if addresses.source.is_ipv4() == addresses.destination.is_ipv4() {
            assert_eq!(read.addresses, Some(addresses));
        }
    }
});
