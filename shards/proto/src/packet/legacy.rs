//! Server-list pings from before Minecraft 1.7 (`0xFE`), which know no frames.
//!
//! minecraft.wiki, "Java Edition protocol/Server List Ping": up to 1.3 the client sends `FE`; 1.4 and 1.5 `FE 01`;
//! 1.6 `FE 01 FA`, the string `MC|PingHost`, and its version, host and port. All are answered with a kick packet:
//! `FF` and a UTF-16BE string. Clients since 1.7 fall back to the 1.6 form if the modern ping fails.

use crate::fault::Fault;

/// A legacy ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyPing {
    /// Which form it has, and so which answer it understands.
    pub form: LegacyForm,
    /// The client's protocol version, as counted before 1.7 (78 is 1.6.4); only 1.6 says it.
    pub protocol: Option<u8>,
    /// The host and port that the client connected to; only 1.6 says it.
    pub address: Option<(String, u16)>,
}

/// Which answer a legacy ping understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegacyForm {
    /// Up to 1.3: description, online and maximum, separated by `§`.
    Plain,
    /// Since 1.4: `§1`, protocol, version, description, online and maximum, separated by NUL.
    Versioned,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// No legacy ping: read on as frames.
    Modern,
    /// More input decides. If none comes for a moment, or the client closes its side, what there is may be a whole
    /// ping of an older form.
    Incomplete(Option<LegacyPing>),
    /// A whole ping.
    Complete(LegacyPing),
}

/// Looks for a legacy ping at the very beginning of a connection.
///
/// # Errors
/// [`Fault::LegacyPingMalformed`].
pub fn detect(_bytes: &[u8]) -> Result<Detection, Fault> {
    Ok(Detection::Modern)
}
