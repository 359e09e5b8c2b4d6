//! What a peer did wrong: one closed set, which is also a metric label.

use std::fmt;

/// A breach of the protocol by the client. Small, `Copy`, and free of anything that the client sent.
///
/// [`Self::name`] is stable: dashboards and alerts may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A VarInt ran past its five bytes.
    VarIntTooLong,
    /// A frame's length prefix ran past its three bytes (a negative length does).
    FrameLengthTooLong,
    /// A frame of no bytes, which cannot even name its packet.
    FrameEmpty,
    /// A frame longer than `max_packet_length`.
    FrameTooLong,
    /// A packet ended in the middle of a field.
    PacketTruncated,
    /// A packet went on after its last field.
    PacketTrailing,
    /// A packet that the conversation has no place for at this point.
    PacketUnexpected,
    /// A string, array or count with a negative length.
    LengthNegative,
    /// A string longer than its field allows.
    StringTooLong,
    /// A string that is no UTF-8.
    StringNotUtf8,
    /// A byte array or a list longer than its field allows.
    ArrayTooLong,
    /// A handshake that wants neither status, login nor transfer.
    IntentUnknown,
    /// An empty player name.
    NameEmpty,
    /// A cookie response for another key than the one that was asked for.
    CookieUnexpected,
    /// A keep-alive that was not sent, or not answered before the next one was due.
    KeepAliveUnexpected,
    /// An encryption response that was not made with our key, or for another connection.
    EncryptionInvalid,
    /// A legacy ping (`0xFE`) that goes on as none does.
    LegacyPingMalformed,
    /// A PROXY header is required and the connection does not start with one.
    ProxyHeaderMissing,
    /// A PROXY header from a peer that must not send one: this listener is not told to expect any from it.
    ProxyHeaderUnexpected,
    /// A PROXY header of a version that is not allowed.
    ProxyVersionRefused,
    /// A PROXY header longer than any of its version.
    ProxyHeaderTooLong,
    /// A PROXY header with fields that are none.
    ProxyHeaderMalformed,
    /// More input than is kept while an answer is outstanding.
    InputOverflow,
}

impl Fault {
    /// Every fault, so that metrics can have all series from the start.
    pub const ALL: [Self; 23] = [
        Self::VarIntTooLong,
        Self::FrameLengthTooLong,
        Self::FrameEmpty,
        Self::FrameTooLong,
        Self::PacketTruncated,
        Self::PacketTrailing,
        Self::PacketUnexpected,
        Self::LengthNegative,
        Self::StringTooLong,
        Self::StringNotUtf8,
        Self::ArrayTooLong,
        Self::IntentUnknown,
        Self::NameEmpty,
        Self::CookieUnexpected,
        Self::KeepAliveUnexpected,
        Self::EncryptionInvalid,
        Self::LegacyPingMalformed,
        Self::ProxyHeaderMissing,
        Self::ProxyHeaderUnexpected,
        Self::ProxyVersionRefused,
        Self::ProxyHeaderTooLong,
        Self::ProxyHeaderMalformed,
        Self::InputOverflow,
    ];

    /// The stable name of this fault in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VarIntTooLong => "var_int_too_long",
            Self::FrameLengthTooLong => "frame_length_too_long",
            Self::FrameEmpty => "frame_empty",
            Self::FrameTooLong => "frame_too_long",
            Self::PacketTruncated => "packet_truncated",
            Self::PacketTrailing => "packet_trailing",
            Self::PacketUnexpected => "packet_unexpected",
            Self::LengthNegative => "length_negative",
            Self::StringTooLong => "string_too_long",
            Self::StringNotUtf8 => "string_not_utf8",
            Self::ArrayTooLong => "array_too_long",
            Self::IntentUnknown => "intent_unknown",
            Self::NameEmpty => "name_empty",
            Self::CookieUnexpected => "cookie_unexpected",
            Self::KeepAliveUnexpected => "keep_alive_unexpected",
            Self::EncryptionInvalid => "encryption_invalid",
            Self::LegacyPingMalformed => "legacy_ping_malformed",
            Self::ProxyHeaderMissing => "proxy_header_missing",
            Self::ProxyHeaderUnexpected => "proxy_header_unexpected",
            Self::ProxyVersionRefused => "proxy_version_refused",
            Self::ProxyHeaderTooLong => "proxy_header_too_long",
            Self::ProxyHeaderMalformed => "proxy_header_malformed",
            Self::InputOverflow => "input_overflow",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_distinct_snake_case() {
        let names: HashSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b"_8".contains(&b)))
        );
    }
}
