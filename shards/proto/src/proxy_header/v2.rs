//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{AddressPair, Addresses, ProxyHeader};
use crate::fault::Fault;
use crate::limits::{PROXY_V2_BYTES_MAX, PROXY_V2_FIXED_BYTES};
use crate::wire::{Reader, write_u16};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0x0;
const PROXY: u8 = 0x1;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// Reads a header; TLVs after the addresses are skipped.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, Fault> {
    let Some(after_signature) = bytes.get(SIGNATURE.len()..) else {
        return Ok(None);
    };
    let command = match after_signature.first() {
        Some(byte) if byte & 0xF0 != VERSION || byte & 0x0F > PROXY => {
            return Err(Fault::ProxyHeaderMalformed);
        }
        Some(byte) => byte & 0x0F,
        None => return Ok(None),
    };
    let Some(family) = after_signature.get(1).copied() else {
        return Ok(None);
    };
    // LOCAL discards the family, whatever it is.
    if command != LOCAL && (family >> 4 > 3 || family & 0x0F > 2) {
        return Err(Fault::ProxyHeaderMalformed);
    }
    let Some(length) = after_signature.get(2..).and_then(<[u8]>::first_chunk) else {
        return Ok(None);
    };
    let length = PROXY_V2_FIXED_BYTES + usize::from(u16::from_be_bytes(*length));
    if length > PROXY_V2_BYTES_MAX {
        return Err(Fault::ProxyHeaderTooLong);
    }
    let Some(block) = bytes.get(PROXY_V2_FIXED_BYTES..length) else {
        return Ok(None);
    };
    let addresses = if command == LOCAL {
        None
    } else {
        parse_addresses(family, block)?
    };
    Ok(Some(ProxyHeader { length, addresses }))
}

/// `None` for every valid family and protocol but TCP over IP: the specification lets a receiver fall back to
/// the socket's addresses.
fn parse_addresses(family: u8, block: &[u8]) -> Result<Option<Addresses>, Fault> {
    let mut reader = Reader::new(block);
    let mut read = || {
        let (source, destination) = match family {
            TCP_OVER_IPV4 => (read_v4(&mut reader)?, read_v4(&mut reader)?),
            TCP_OVER_IPV6 => (read_v6(&mut reader)?, read_v6(&mut reader)?),
            _ => return Ok(None),
        };
        let ports = (reader.u16()?, reader.u16()?);
        Ok(Some(Addresses::new(source, destination, ports)))
    };
    // The block is all there: an address that goes beyond it is no truncation.
    read().map_err(|_: Fault| Fault::ProxyHeaderMalformed)
}

fn read_v4(reader: &mut Reader<'_>) -> Result<IpAddr, Fault> {
    reader
        .i32()
        .map(|bits| Ipv4Addr::from_bits(bits.cast_unsigned()).into())
}

fn read_v6(reader: &mut Reader<'_>) -> Result<IpAddr, Fault> {
    reader
        .uuid()
        .map(|bits| Ipv6Addr::from_bits(bits.as_u128()).into())
}

pub(super) fn write(pair: AddressPair, (source_port, destination_port): (u16, u16), out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    out.push(VERSION | PROXY);
    match pair {
        AddressPair::V4(addresses) => {
            out.push(TCP_OVER_IPV4);
            write_u16(out, 2 * 4 + 2 * 2);
            addresses
                .iter()
                .for_each(|ip| out.extend_from_slice(&ip.octets()));
        }
        AddressPair::V6(addresses) => {
            out.push(TCP_OVER_IPV6);
            write_u16(out, 2 * 16 + 2 * 2);
            addresses
                .iter()
                .for_each(|ip| out.extend_from_slice(&ip.octets()));
        }
    }
    write_u16(out, source_port);
    write_u16(out, destination_port);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = [SIGNATURE, &[version_and_command, family]].concat();
        write_u16(&mut bytes, u16::try_from(block.len()).unwrap());
        bytes.extend_from_slice(block);
        bytes
    }

    const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0xDC, 0x04, 0x63, 0xDD];

    #[test]
    fn reads_addresses_and_skips_what_follows_them() {
        let tlvs = b"\x02\x00\x03abc\x04\x00\x00";
        let bytes = header(0x21, TCP_OVER_IPV4, &[IPV4, tlvs].concat());
        for end in 0..bytes.len() {
            assert_eq!(parse(&bytes[..end]), Ok(None), "{end} bytes");
        }
        let addresses = Addresses {
            source: "192.0.2.1:56324".parse().unwrap(),
            destination: "198.51.100.2:25565".parse().unwrap(),
        };
        assert_eq!(
            parse(&bytes),
            Ok(Some(ProxyHeader {
                length: bytes.len(),
                addresses: Some(addresses)
            }))
        );
    }

    #[test]
    fn takes_local_whatever_else_it_says() {
        for (family, block) in [(0x00, &b""[..]), (0x11, IPV4), (0xFF, b"nonsense")] {
            let bytes = header(0x20, family, block);
            assert_eq!(
                parse(&bytes),
                Ok(Some(ProxyHeader {
                    length: bytes.len(),
                    addresses: None
                }))
            );
        }
    }

    #[test]
    fn takes_valid_families_that_are_no_tcp_as_unknown() {
        for family in [0x00, 0x01, 0x10, 0x12, 0x22, 0x31, 0x32] {
            let bytes = header(0x21, family, &[0; 216]);
            assert_eq!(
                parse(&bytes),
                Ok(Some(ProxyHeader {
                    length: bytes.len(),
                    addresses: None
                })),
                "{family:02X}"
            );
        }
    }

    #[test]
    fn refuses_what_the_specification_has_not_at_its_byte() {
        for command in [0x10, 0x11, 0x22, 0x2F, 0x31] {
            assert_eq!(
                parse(&header(command, 0x11, IPV4)[..13]),
                Err(Fault::ProxyHeaderMalformed),
                "{command:02X}"
            );
        }
        for family in [0x13, 0x41, 0xF1, 0x0F] {
            assert_eq!(
                parse(&header(0x21, family, IPV4)[..14]),
                Err(Fault::ProxyHeaderMalformed),
                "{family:02X}"
            );
        }
    }

    #[test]
    fn refuses_addresses_that_do_not_fit_the_block() {
        assert_eq!(
            parse(&header(0x21, TCP_OVER_IPV4, &IPV4[..11])),
            Err(Fault::ProxyHeaderMalformed)
        );
        assert_eq!(
            parse(&header(0x21, TCP_OVER_IPV6, IPV4)),
            Err(Fault::ProxyHeaderMalformed)
        );
    }

    #[test]
    fn refuses_a_long_header_by_its_length_alone() {
        let longest = PROXY_V2_BYTES_MAX - PROXY_V2_FIXED_BYTES;
        assert_eq!(parse(&header(0x21, 0x00, &vec![0; longest])[..16]), Ok(None));
        assert_eq!(
            parse(&header(0x21, 0x00, &vec![0; longest + 1])[..16]),
            Err(Fault::ProxyHeaderTooLong)
        );
    }
}
