//! Every bound of the protocol, with the relations between them asserted at compile time.
//!
//! `_BYTES_MAX` counts bytes on the wire, `_UNITS_MAX` UTF-16 code units, which is how the protocol bounds
//! its strings (Java's `String.length`).

use std::time::Duration;

/// Longest VarInt, in bytes.
pub const VAR_INT_BYTES_MAX: usize = 5;

/// Longest length prefix of a frame, in bytes: the protocol allows 21 bits.
pub const FRAME_PREFIX_BYTES_MAX: usize = 3;

/// Longest frame that may be configured as `max_packet_length`, in bytes: what a three-byte prefix can say.
pub const FRAME_BYTES_MAX: usize = (1 << 21) - 1;

/// Shortest frame bound that may be configured, in bytes: a login with cookies and a long handshake must fit.
pub const FRAME_BYTES_MIN: usize = 8192;

/// `max_packet_length` unless configured, in bytes.
pub const FRAME_BYTES_DEFAULT: usize = 10_000;

/// Most bytes that one UTF-16 code unit takes in UTF-8 (a surrogate pair is two units and four bytes).
pub const UTF8_BYTES_PER_UNIT_MAX: usize = 3;

/// Longest server address in a handshake, Forge's suffix included.
pub const ADDRESS_UNITS_MAX: usize = 255;

/// Longest player name in a login start.
pub const PLAYER_NAME_UNITS_MAX: usize = 16;

/// Longest namespaced identifier that is read (cookie keys, plugin channels, resource packs).
pub const IDENTIFIER_UNITS_MAX: usize = 32_767;

/// Longest locale in a client information packet.
pub const LOCALE_UNITS_MAX: usize = 16;

/// Longest RSA ciphertext or signature in a login, in bytes: a 4096-bit key.
pub const RSA_BYTES_MAX: usize = 512;

/// Longest DER-encoded public key in a login, in bytes (the vanilla limit of 1.19's chat keys).
pub const PUBLIC_KEY_BYTES_MAX: usize = 512;

/// Length of the verify token that we send, in bytes.
pub const VERIFY_TOKEN_BYTES: usize = 4;

/// Length of the AES-128 key that a client chooses, in bytes.
pub const SHARED_SECRET_BYTES: usize = 16;

/// Longest payload of a cookie that a client stores and gives back, in bytes.
pub const COOKIE_BYTES_MAX: usize = 5120;

/// Shortest secret that signs cookies, in bytes.
pub const COOKIE_SECRET_BYTES_MIN: usize = 16;

/// Most properties of a profile in login success.
pub const PROFILE_PROPERTIES_MAX: usize = 16;

/// Longest name of a profile property.
pub const PROPERTY_NAME_UNITS_MAX: usize = 64;

/// Longest value of a profile property.
pub const PROPERTY_VALUE_UNITS_MAX: usize = 32_767;

/// Longest signature of a profile property.
pub const PROPERTY_SIGNATURE_UNITS_MAX: usize = 1024;

/// Longest status response; the client refuses a longer string.
pub const STATUS_UNITS_MAX: usize = 32_767;

/// Most entries in the player sample of a status; the client shows a dozen.
pub const STATUS_SAMPLE_MAX: usize = 100;

/// Longest JSON text component that is converted; anything longer is cut and shown as plain text.
pub const TEXT_BYTES_MAX: usize = 16_384;

/// Deepest nesting of a text component that is converted.
pub const TEXT_DEPTH_MAX: usize = 32;

/// Longest JSON text that a client accepts in a login disconnect.
pub const LOGIN_DISCONNECT_UNITS_MAX: usize = 262_144;

/// Longest string in NBT, in bytes of modified UTF-8.
pub const NBT_STRING_BYTES_MAX: usize = 65_535;

/// Longest host name in a 1.6 legacy ping.
pub const LEGACY_HOST_UNITS_MAX: usize = 255;

/// Longest text of a legacy kick packet.
pub const LEGACY_KICK_UNITS_MAX: usize = 256;

/// Longest PROXY header of version 1, in bytes, line end included (the specification's worst case).
pub const PROXY_V1_BYTES_MAX: usize = 107;

/// Fixed part of a PROXY header of version 2, in bytes.
pub const PROXY_V2_FIXED_BYTES: usize = 16;

/// Longest PROXY header of version 2 that is accepted, in bytes. The specification lets a header claim 65
/// 551; the addresses take at most 232, the rest are TLVs. Load balancers in the field add authority (255),
/// unique id (128), a certificate's names and a checksum: one page is several times that.
pub const PROXY_V2_BYTES_MAX: usize = 4096;

/// How long a connection that began like a legacy ping of an old form may still turn out to be something
/// else.
pub const LEGACY_PING_GRACE: Duration = Duration::from_millis(150);

/// Time between keep-alives in the configuration phase, and to answer one. Clients give up after 30 s of
/// silence.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// How long a disconnect message waits for the client to tell its locale.
pub const LOCALE_GRACE: Duration = Duration::from_millis(250);

/// How long a disconnect message waits for its words.
pub const LOCALIZE_GRACE: Duration = Duration::from_secs(2);

/// Most packets of a client in the configuration phase; a modded client sends some dozens.
pub const CONFIGURATION_PACKETS_MAX: u32 = 1024;

const fn utf8_bytes(units: usize) -> usize {
    units * UTF8_BYTES_PER_UNIT_MAX
}

/// Longest handshake frame, in bytes: id, version, address with its length, port, intent.
pub const HANDSHAKE_BYTES_MAX: usize =
    1 + VAR_INT_BYTES_MAX + VAR_INT_BYTES_MAX + utf8_bytes(ADDRESS_UNITS_MAX) + 2 + VAR_INT_BYTES_MAX;

/// Longest login success frame, in bytes.
const LOGIN_SUCCESS_BYTES_MAX: usize = 64
    + utf8_bytes(PLAYER_NAME_UNITS_MAX)
    + PROFILE_PROPERTIES_MAX
        * (16
            + utf8_bytes(PROPERTY_NAME_UNITS_MAX)
            + utf8_bytes(PROPERTY_VALUE_UNITS_MAX)
            + utf8_bytes(PROPERTY_SIGNATURE_UNITS_MAX));

const _: () = assert!(FRAME_BYTES_MAX == (1 << (7 * FRAME_PREFIX_BYTES_MAX)) - 1);
const _: () = assert!(FRAME_PREFIX_BYTES_MAX < VAR_INT_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MIN <= FRAME_BYTES_DEFAULT && FRAME_BYTES_DEFAULT <= FRAME_BYTES_MAX);
// What a well-behaved client must be able to say under the smallest configurable frame bound.
const _: () = assert!(HANDSHAKE_BYTES_MAX <= FRAME_BYTES_MIN);
const _: () = assert!(COOKIE_BYTES_MAX + 1024 <= FRAME_BYTES_MIN);
const _: () = assert!(2 * RSA_BYTES_MAX + 64 <= FRAME_BYTES_MIN);
// What we send always fits a frame, so that encoders cannot fail.
const _: () = assert!(utf8_bytes(STATUS_UNITS_MAX) + 16 <= FRAME_BYTES_MAX);
const _: () = assert!(LOGIN_SUCCESS_BYTES_MAX <= FRAME_BYTES_MAX);
// A text of nothing but control characters takes six bytes of JSON (`\u0001`) for each of its own.
const _: () = assert!(6 * TEXT_BYTES_MAX + 2 <= LOGIN_DISCONNECT_UNITS_MAX);
// Modified UTF-8 takes at most two bytes where UTF-8 takes one (NUL).
const _: () = assert!(2 * TEXT_BYTES_MAX <= NBT_STRING_BYTES_MAX);
const _: () = assert!(LEGACY_HOST_UNITS_MAX <= ADDRESS_UNITS_MAX);
const _: () = assert!(LEGACY_KICK_UNITS_MAX <= u16::MAX as usize);
const _: () = assert!(SHARED_SECRET_BYTES <= COOKIE_SECRET_BYTES_MIN && SHARED_SECRET_BYTES < RSA_BYTES_MAX);
// Fixed part, two UNIX socket paths of 108 bytes, and room for TLVs.
const _: () = assert!(PROXY_V2_FIXED_BYTES + 2 * 108 < PROXY_V2_BYTES_MAX);
const _: () = assert!(PROXY_V2_BYTES_MAX <= PROXY_V2_FIXED_BYTES + u16::MAX as usize);
// A client that answers keep-alives just in time must still find the connection alive.
const _: () = assert!(KEEP_ALIVE_INTERVAL.as_secs() < 30);
const _: () = assert!(LOCALE_GRACE.as_millis() < LOCALIZE_GRACE.as_millis());
