//! The two cookies of Passage, made and checked apart from its own code.

use std::net::IpAddr;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::failure::{Failure, Kind};

/// Key of the cookie that says who the player is.
pub const AUTHENTICATION: &str = "passage:authentication";
/// Key of the cookie that ties a player's visits together.
pub const SESSION: &str = "passage:session";

/// Bytes of the signature before the JSON.
const SIGNATURE_BYTES: usize = 32;

/// A signed authentication cookie for this player, given out now to this address.
#[must_use]
pub fn authentication(secret: &[u8], name: &str, id: Uuid, client: IpAddr) -> Vec<u8> {
    authentication_at(secret, name, id, client, SystemTime::now())
}

/// The same, given out at another time.
#[must_use]
pub fn authentication_at(secret: &[u8], name: &str, id: Uuid, client: IpAddr, at: SystemTime) -> Vec<u8> {
    let json = json!({
        "timestamp": unix_seconds(at),
        "client_addr": std::net::SocketAddr::from((client, 40_000)).to_string(),
        "user_name": name,
        "user_id": id,
        "target": null,
        "profile_properties": [],
        "extra": {},
    });
    let json = json.to_string().into_bytes();
    let mut cookie = sign(secret, &json).to_vec();
    cookie.extend_from_slice(&json);
    cookie
}

/// A session cookie.
#[must_use]
pub fn session(id: Uuid, host: &str, port: u16) -> Vec<u8> {
    json!({ "id": id, "server_address": host, "server_port": port, "extra": {} })
        .to_string()
        .into_bytes()
}

/// Reads the id out of a session cookie.
///
/// # Errors
/// [`Kind::Malformed`].
pub fn read_session(cookie: &[u8]) -> Result<Uuid, Failure> {
    let malformed = || Failure::new(Kind::Malformed, "a session cookie without an id");
    let value: Value = serde_json::from_slice(cookie).map_err(|_| malformed())?;
    value
        .get("id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok())
        .ok_or_else(malformed)
}

/// Checks the signature of an authentication cookie and reads the player's name out of it.
///
/// # Errors
/// [`Kind::Mismatch`] if the signature is another one's, [`Kind::Malformed`] if it is none at all.
pub fn read_authentication(secret: &[u8], cookie: &[u8]) -> Result<String, Failure> {
    let malformed = |what: &str| Failure::new(Kind::Malformed, format!("an authentication cookie {what}"));
    let (signature, json) = cookie
        .split_first_chunk::<SIGNATURE_BYTES>()
        .ok_or_else(|| malformed("without a signature"))?;
    if *signature != sign(secret, json) {
        return Err(Failure::new(
            Kind::Mismatch,
            "an authentication cookie that another secret signed",
        ));
    }
    let value: Value = serde_json::from_slice(json).map_err(|_| malformed("that is not JSON"))?;
    let name = value
        .get("user_name")
        .and_then(Value::as_str)
        .ok_or_else(|| malformed("without a name"))?;
    Ok(name.to_owned())
}

fn sign(secret: &[u8], json: &[u8]) -> [u8; SIGNATURE_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret)
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of every length"));
    mac.update(json);
    mac.finalize().into_bytes().into()
}

fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use uuid::Uuid;

    use super::{authentication, read_authentication, read_session, session, sign};
    use crate::failure::Kind;

    #[test]
    fn signs_as_rfc_4231_says() {
        // Test case 2 of RFC 4231.
        let signature = sign(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(signature[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn only_its_own_secret_reads_a_cookie() {
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut cookie = authentication(b"0123456789abcdef", "Alice", Uuid::nil(), client);
        assert_eq!(
            read_authentication(b"0123456789abcdef", &cookie),
            Ok("Alice".to_owned())
        );
        let other = read_authentication(b"another secret !!", &cookie).map_err(|failure| failure.kind);
        assert_eq!(other, Err(Kind::Mismatch));
        cookie[40] ^= 1;
        let flipped = read_authentication(b"0123456789abcdef", &cookie).map_err(|failure| failure.kind);
        assert_eq!(flipped, Err(Kind::Mismatch));
    }

    #[test]
    fn a_session_keeps_its_id() {
        let id = Uuid::from_u128(7);
        assert_eq!(read_session(&session(id, "localhost", 25565)), Ok(id));
        assert!(read_session(b"{}").is_err());
    }
}
