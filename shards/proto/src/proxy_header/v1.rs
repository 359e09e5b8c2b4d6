//! Version 1: one line of text.

use std::net::IpAddr;
use std::str::FromStr;

use super::{AddressPair, Addresses, ProxyHeader};
use crate::fault::Fault;
use crate::limits::PROXY_V1_BYTES_MAX;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

pub(super) fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, Fault> {
    let window = bytes.get(..PROXY_V1_BYTES_MAX).unwrap_or(bytes);
    let end = window.iter().position(|byte| *byte == b'\n');
    // Of a whole line as of a part of it, or the verdict would depend on how much one read brings.
    let mut read = window
        .get(..end.unwrap_or(window.len()))
        .unwrap_or_default()
        .iter();
    if !read.all(|byte| matches!(byte, b' '..=b'~' | b'\r')) {
        return Err(Fault::ProxyHeaderMalformed);
    }
    let Some(end) = end else {
        return match window.len() {
            PROXY_V1_BYTES_MAX => Err(Fault::ProxyHeaderTooLong),
            _ => Ok(None),
        };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line
        .and_then(|line| std::str::from_utf8(line).ok())
        .ok_or(Fault::ProxyHeaderMalformed)?;
    let addresses = parse_line(line).ok_or(Fault::ProxyHeaderMalformed)?;
    Ok(Some(ProxyHeader {
        length: end + 1,
        addresses,
    }))
}

/// `None` if the line is malformed, `Some(None)` for `UNKNOWN`, after which nothing is looked at.
fn parse_line(line: &str) -> Option<Option<Addresses>> {
    let mut fields = line.split(' ').skip(1);
    let family = fields.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, destination) = (fields.next()?, fields.next()?);
    let (source, destination): (IpAddr, IpAddr) = match family {
        "TCP4" => (
            parse_ip::<std::net::Ipv4Addr>(source)?,
            parse_ip::<std::net::Ipv4Addr>(destination)?,
        ),
        "TCP6" => (
            parse_ip::<std::net::Ipv6Addr>(source)?,
            parse_ip::<std::net::Ipv6Addr>(destination)?,
        ),
        _ => return None,
    };
    let ports = (parse_port(fields.next()?)?, parse_port(fields.next()?)?);
    fields
        .next()
        .is_none()
        .then(|| Some(Addresses::new(source, destination, ports)))
}

fn parse_ip<T: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<T>().ok().map(Into::into)
}

/// Decimal digits without sign and without leading zeros.
fn parse_port(text: &str) -> Option<u16> {
    let canonical = text == "0"
        || text
            .bytes()
            .next()
            .is_some_and(|first| matches!(first, b'1'..=b'9'));
    if canonical { text.parse().ok() } else { None }
}

pub(super) fn write(pair: AddressPair, (source_port, destination_port): (u16, u16), out: &mut Vec<u8>) {
    let line = match pair {
        AddressPair::V4([source, destination]) => {
            format!("PROXY TCP4 {source} {destination} {source_port} {destination_port}\r\n")
        }
        AddressPair::V6([source, destination]) => {
            format!("PROXY TCP6 {source} {destination} {source_port} {destination_port}\r\n")
        }
    };
    out.extend_from_slice(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(line: &[u8]) -> Result<Option<ProxyHeader>, Fault> {
        for end in 0..line.len() {
            assert_eq!(parse(&line[..end]), Ok(None), "{end} bytes of {line:?}");
        }
        parse(line)
    }

    #[test]
    fn what_is_no_text_is_no_header_however_it_is_cut() {
        for line in [
            b"PROXY UNKNOWN \x01\0\0\r\n".as_slice(),
            "PROXY UNKNOWN \u{e9}\r\n".as_bytes(),
        ] {
            for end in 15..=line.len() {
                let verdict = parse(&line[..end]);
                assert_eq!(
                    verdict,
                    Err(Fault::ProxyHeaderMalformed),
                    "{end} bytes of {line:?}"
                );
            }
        }
    }

    #[test]
    fn reads_the_lines_of_the_specification() {
        for (line, source, destination) in [
            (
                "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
                "192.168.0.1:56324",
                "192.168.0.11:443",
            ),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
                "255.255.255.255:65535",
                "255.255.255.255:65535",
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:0db8:0000::0002 1 0\r\n",
                "[2001:db8::1]:1",
                "[2001:db8::2]:0",
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 7 8\r\n",
                "192.0.2.1:7",
                "[::1]:8",
            ),
        ] {
            let addresses = Addresses {
                source: source.parse().unwrap(),
                destination: destination.parse().unwrap(),
            };
            let header = ProxyHeader {
                length: line.len(),
                addresses: Some(addresses),
            };
            assert_eq!(parse_all(line.as_bytes()), Ok(Some(header)));
        }
    }

    #[test]
    fn takes_unknown_without_looking_at_the_rest() {
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff::ffff what ever 65535\r\n",
        ] {
            assert_eq!(
                parse_all(line.as_bytes()),
                Ok(Some(ProxyHeader {
                    length: line.len(),
                    addresses: None
                }))
            );
        }
    }

    #[test]
    fn accepts_the_longest_line_and_no_longer_one() {
        let unknown = |bytes: usize| format!("PROXY UNKNOWN {}\r\n", "f".repeat(bytes - 16));
        assert!(parse(unknown(PROXY_V1_BYTES_MAX).as_bytes()).is_ok_and(|header| header.is_some()));
        let long = unknown(PROXY_V1_BYTES_MAX + 1);
        assert_eq!(parse(long.as_bytes()), Err(Fault::ProxyHeaderTooLong));
        assert_eq!(
            parse(&long.as_bytes()[..PROXY_V1_BYTES_MAX]),
            Err(Fault::ProxyHeaderTooLong)
        );
    }

    #[test]
    fn refuses_what_does_not_match_exactly() {
        for line in [
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
            "PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY TCP6 ::1%eth0 ::1 1 2\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY \0",
            "PROXY TCP4 1.2.3.4\x7F",
        ] {
            assert_eq!(
                parse(line.as_bytes()),
                Err(Fault::ProxyHeaderMalformed),
                "{line:?}"
            );
        }
    }
}
