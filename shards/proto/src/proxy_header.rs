//! The PROXY protocol, versions 1 and 2, read from a front and written to a target.
//!
//! Source: "The PROXY protocol", versions 1 & 2, haproxy.org, `doc/proxy-protocol.txt`, sections 2.1 and 2.2.

use std::net::SocketAddr;

use crate::fault::Fault;

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Whose connection it is; `None` if the front speaks for itself (`LOCAL`) or does not say (`UNKNOWN`, an address
    /// family other than IP): the socket's own addresses count then.
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

/// Reads a header from the very beginning of a connection; `None` if more input is needed. Reports a fault with the
/// first byte that shows it, so that a peer cannot hold a header open.
///
/// # Errors
/// [`Fault::ProxyHeaderMissing`], [`Fault::ProxyVersionRefused`], [`Fault::ProxyHeaderTooLong`] or
/// [`Fault::ProxyHeaderMalformed`].
pub fn parse(_bytes: &[u8], _allowed: Allowed) -> Result<Option<ProxyHeader>, Fault> {
    Err(Fault::ProxyHeaderMissing)
}

/// Appends a header. Where source and destination are of different families, the IPv4 address is written as an
/// IPv4-mapped IPv6 address.
pub fn write(_version: ProxyVersion, _addresses: Addresses, _out: &mut Vec<u8>) {}
