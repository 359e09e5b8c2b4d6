//! Host names as routes compare them.

/// The comparable part of a handshake's address: everything from `\0` (Forge's marks) or `///` (proxies' suffixes) on
/// cut off, then one trailing dot, in ASCII lower case.
#[must_use]
pub fn normalise(address: &str) -> String {
    let end = [address.find('\0'), address.find("///")]
        .into_iter()
        .flatten()
        .min();
    let name = end.and_then(|end| address.get(..end)).unwrap_or(address);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The part of a handshake's address that [`normalise`] cuts off, from `\0` or `///` on; empty if there is none.
#[must_use]
pub fn suffix(address: &str) -> &str {
    let start = [address.find('\0'), address.find("///")]
        .into_iter()
        .flatten()
        .min();
    start.and_then(|start| address.get(start..)).unwrap_or_default()
}
