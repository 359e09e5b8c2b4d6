//! Every bound of the protocol, with the relations between them asserted at compile time.

/// Longest frame that may be configured as `max_packet_length`, in bytes: the protocol's own limit of a
/// three-byte length prefix.
pub const FRAME_BYTES_MAX: usize = (1 << 21) - 1;
