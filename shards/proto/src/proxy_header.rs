//! The PROXY protocol, versions 1 and 2, read from a front and written to a target.
//!
//! Source: "The PROXY protocol", versions 1 & 2, haproxy.org, `doc/proxy-protocol.txt`, sections 2.1 and 2.2.

use std::net::{IpAddr, SocketAddr};

use crate::fault::Fault;

mod v1;
mod v2;

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// Which versions are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// Accept the text header.
    pub v1: bool,
    /// Accept the binary header.
    pub v2: bool,
}

/// A whole PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// How many bytes the header took; the client's first byte comes after them.
    pub length: usize,
    /// Whose connection it is; `None` if the front speaks for itself (`LOCAL`) or does not say (`UNKNOWN`, an
    /// address family other than IP): the socket's own addresses count then.
    pub addresses: Option<Addresses>,
}

/// The connection that a front accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
}

/// Reads a header from the very beginning of a connection; `None` if more input is needed. What cannot become
/// a header any more is a fault at once, and no header is waited for beyond its bound.
///
/// IPv4-mapped IPv6 addresses come out as the IPv4 addresses that they are.
///
/// # Errors
/// [`Fault::ProxyHeaderMissing`], [`Fault::ProxyVersionRefused`], [`Fault::ProxyHeaderTooLong`] or
/// [`Fault::ProxyHeaderMalformed`].
pub fn parse(bytes: &[u8], allowed: Allowed) -> Result<Option<ProxyHeader>, Fault> {
    if begins(bytes, v1::SIGNATURE) {
        return if allowed.v1 {
            v1::parse(bytes)
        } else {
            refuse(bytes, v1::SIGNATURE)
        };
    }
    if begins(bytes, v2::SIGNATURE) {
        return if allowed.v2 {
            v2::parse(bytes)
        } else {
            refuse(bytes, v2::SIGNATURE)
        };
    }
    Err(Fault::ProxyHeaderMissing)
}

/// Appends a header. Where source and destination are of different families, the IPv4 one is written as an
/// IPv4-mapped IPv6 address.
pub fn write(version: ProxyVersion, addresses: Addresses, out: &mut Vec<u8>) {
    let pair = AddressPair::of(addresses);
    let ports = (addresses.source.port(), addresses.destination.port());
    match version {
        ProxyVersion::V1 => v1::write(pair, ports, out),
        ProxyVersion::V2 => v2::write(pair, ports, out),
    }
}

/// Source and destination in one family, as both versions need them.
#[derive(Clone, Copy)]
enum AddressPair {
    V4([std::net::Ipv4Addr; 2]),
    V6([std::net::Ipv6Addr; 2]),
}

impl AddressPair {
    fn of(addresses: Addresses) -> Self {
        match (
            addresses.source.ip().to_canonical(),
            addresses.destination.ip().to_canonical(),
        ) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4([source, destination]),
            (source, destination) => Self::V6([source, destination].map(|ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            })),
        }
    }
}

impl Addresses {
    fn new(source: IpAddr, destination: IpAddr, ports: (u16, u16)) -> Self {
        Self {
            source: SocketAddr::new(source.to_canonical(), ports.0),
            destination: SocketAddr::new(destination.to_canonical(), ports.1),
        }
    }
}

/// Whether the input begins with the signature, as far as it has arrived.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    bytes
        .iter()
        .zip(signature)
        .all(|(byte, expected)| byte == expected)
}

/// The signature of a version that is not allowed is refused once it is whole: until then it may be anything.
fn refuse(bytes: &[u8], signature: &[u8]) -> Result<Option<ProxyHeader>, Fault> {
    if bytes.len() < signature.len() {
        Ok(None)
    } else {
        Err(Fault::ProxyVersionRefused)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOTH: Allowed = Allowed { v1: true, v2: true };

    fn address() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip.to_canonical(), port))
    }

    #[test]
    fn refuses_a_version_that_is_not_allowed() {
        let none = Allowed { v1: false, v2: false };
        assert_eq!(parse(b"PROX", none), Ok(None));
        assert_eq!(parse(b"PROXY ", none), Err(Fault::ProxyVersionRefused));
        assert_eq!(parse(v2::SIGNATURE, none), Err(Fault::ProxyVersionRefused));
        assert_eq!(
            parse(b"PROXY UNKNOWN\r\n", Allowed { v1: false, v2: true }),
            Err(Fault::ProxyVersionRefused)
        );
    }

    #[test]
    fn misses_the_header_at_the_first_byte_that_is_none() {
        assert_eq!(parse(b"", BOTH), Ok(None));
        for first in [
            &b"\x10\x00"[..],
            b"\xFE\x01",
            b"PROXX",
            b"GET /",
            b"\r\n\r\n\r",
            b"proxy ",
        ] {
            assert_eq!(parse(first, BOTH), Err(Fault::ProxyHeaderMissing), "{first:?}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes_at_every_prefix(
            source in address(), destination in address(), v2: bool, tail: [u8; 3],
        ) {
            let addresses = Addresses { source, destination };
            let mut bytes = Vec::new();
            write(if v2 { ProxyVersion::V2 } else { ProxyVersion::V1 }, addresses, &mut bytes);
            for end in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..end], BOTH), Ok(None), "{} of {} bytes", end, bytes.len());
            }
            let length = bytes.len();
            bytes.extend(tail);
            let header = ProxyHeader { length, addresses: Some(addresses) };
            prop_assert_eq!(parse(&bytes, BOTH), Ok(Some(header)));
        }

        #[test]
        fn never_panics_and_stays_within_its_input(tail: Vec<u8>, start in 0_usize..3) {
            let start: &[u8] = [&b""[..], v1::SIGNATURE, v2::SIGNATURE][start];
            let bytes = [start, &tail].concat();
            if let Ok(Some(header)) = parse(&bytes, BOTH) {
                prop_assert!(header.length <= bytes.len());
            }
        }
    }
}
