//! Tests of both cookies.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"0123456789abcdef";
const NOW: u64 = 1_700_000_000;
const EXPIRY: u64 = 21_600;

fn keys() -> CookieKeys {
    CookieKeys::new(SECRET, None).unwrap()
}

fn check() -> CookieCheck {
    CookieCheck {
        client: "192.0.2.1".parse().unwrap(),
        unix_seconds: NOW,
        expiry_seconds: EXPIRY,
    }
}

fn alice() -> Profile {
    Profile {
        id: Uuid::from_u128(0xA11CE),
        name: "Alice".to_owned(),
        properties: vec![Property {
            name: "textures".to_owned(),
            value: "dmFsdWU=".to_owned(),
            signature: Some("c2ln".to_owned()),
        }],
    }
}

fn cookie() -> AuthCookie {
    let profile = VerifiedProfile::from_answer(alice()).unwrap();
    AuthCookie::new(
        &profile,
        "192.0.2.1:50000".parse().unwrap(),
        "lobby-1",
        Map::new(),
        NOW,
    )
}

/// The payload of any JSON text, signed with the secret by hand.
fn signed(json: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(SECRET)
        .unwrap()
        .chain_update(json)
        .finalize()
        .into_bytes();
    [mac.as_slice(), json.as_bytes()].concat()
}

#[test]
fn is_a_signature_and_the_json_after_it() {
    let payload = cookie().sign(&keys()).unwrap();
    let (signature, json) = payload.split_at(32);
    assert_eq!(
        serde_json::from_slice::<Value>(json).unwrap(),
        json!({
            "timestamp": NOW,
            "client_addr": "192.0.2.1:50000",
            "user_name": "Alice",
            "user_id": "00000000-0000-0000-0000-0000000a11ce",
            "target": "lobby-1",
            "profile_properties": [{"name": "textures", "value": "dmFsdWU=", "signature": "c2ln"}],
            "extra": {},
        })
    );
    assert_eq!(signed(std::str::from_utf8(json).unwrap())[..32], *signature);
}

/// RFC 4231, test case 2, through the very function that signs.
#[test]
fn signs_with_hmac_sha_256() {
    let mac = mac(b"Jefe", b"what do ya want for nothing?")
        .unwrap()
        .finalize()
        .into_bytes();
    assert_eq!(
        mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        concat!(
            "5bdcc146bf60754e6a042426089575c7",
            "5a003f089d2739839dec58b964ec3843"
        )
    );
}

#[test]
fn proves_the_profile_of_the_cookie() {
    let payload = cookie().sign(&keys()).unwrap();
    let verified = keys().verify(&payload, &check()).unwrap();
    assert_eq!(*verified.profile.profile(), alice());
    assert_eq!(verified.cookie, cookie());
}

#[test]
fn verifies_with_the_previous_secret_but_signs_with_the_current() {
    let old = cookie().sign(&keys()).unwrap();
    let rotated = CookieKeys::new(b"another secret of ours", Some(SECRET)).unwrap();
    assert!(rotated.verify(&old, &check()).is_ok());
    let new = cookie().sign(&rotated).unwrap();
    assert!(rotated.verify(&new, &check()).is_ok());
    assert_eq!(keys().verify(&new, &check()).unwrap_err(), CookieFlaw::Forged);
}

#[test]
fn refuses_every_flipped_bit() {
    let payload = cookie().sign(&keys()).unwrap();
    for index in 0..payload.len() {
        for bit in 0..8 {
            let mut forged = payload.clone();
            forged[index] ^= 1 << bit;
            assert_eq!(
                keys().verify(&forged, &check()).unwrap_err(),
                CookieFlaw::Forged,
                "byte {index}"
            );
        }
    }
}

#[test]
fn refuses_every_prefix() {
    let payload = cookie().sign(&keys()).unwrap();
    for end in 0..payload.len() {
        let flaw = if end < 32 {
            CookieFlaw::Undecodable
        } else {
            CookieFlaw::Forged
        };
        assert_eq!(
            keys().verify(&payload[..end], &check()).unwrap_err(),
            flaw,
            "{end} bytes"
        );
    }
}

#[test]
fn expires_after_its_last_second() {
    let payload = cookie().sign(&keys()).unwrap();
    let at = |unix_seconds| {
        keys().verify(
            &payload,
            &CookieCheck {
                unix_seconds,
                ..check()
            },
        )
    };
    assert!(at(NOW + EXPIRY).is_ok());
    assert_eq!(at(NOW + EXPIRY + 1).unwrap_err(), CookieFlaw::Expired);
    let endless = CookieCheck {
        expiry_seconds: u64::MAX,
        unix_seconds: u64::MAX,
        ..check()
    };
    assert!(keys().verify(&payload, &endless).is_ok());
}

#[test]
fn holds_for_the_ip_address_but_not_for_the_port() {
    let payload = cookie().sign(&keys()).unwrap();
    let from = |client: &str| {
        keys().verify(
            &payload,
            &CookieCheck {
                client: client.parse().unwrap(),
                ..check()
            },
        )
    };
    assert!(from("192.0.2.1").is_ok());
    assert!(from("::ffff:192.0.2.1").is_ok());
    assert_eq!(from("192.0.2.2").unwrap_err(), CookieFlaw::OtherAddress);
    assert_eq!(from("2001:db8::1").unwrap_err(), CookieFlaw::OtherAddress);
}

#[test]
fn takes_what_other_services_write() {
    let json = format!(
        "{{\"timestamp\":{NOW},\"client_addr\":\"192.0.2.1:1\",\"user_name\":\"Bob\",\
         \"user_id\":\"000000000000000000000000000000b0\",\
         \"profile_properties\":null,\"extra\":null,\"more\":[1]}}"
    );
    let verified = keys().verify(&signed(&json), &check()).unwrap();
    assert_eq!(verified.profile.profile().name, "Bob");
    assert_eq!(verified.cookie.target, None);
}

#[test]
fn refuses_signed_nonsense() {
    for json in ["", "{}", "null", "[]", "{\"timestamp\":-1}", &"[".repeat(2000)] {
        assert_eq!(
            keys().verify(&signed(json), &check()).unwrap_err(),
            CookieFlaw::Undecodable,
            "{json}"
        );
    }
    let long_name = AuthCookie {
        user_name: "x".repeat(17),
        ..cookie()
    }
    .sign(&keys())
    .unwrap();
    assert_eq!(
        keys().verify(&long_name, &check()).unwrap_err(),
        CookieFlaw::Undecodable
    );
}

#[test]
fn never_grows_beyond_what_clients_keep() {
    let mut extra = Map::new();
    extra.insert("note".to_owned(), Value::String("x".repeat(COOKIE_BYTES_MAX)));
    let long = AuthCookie {
        extra: extra.clone(),
        ..cookie()
    };
    assert_eq!(long.sign(&keys()), None);
    let long = serde_json::to_string(&long).unwrap();
    assert_eq!(
        keys().verify(&signed(&long), &check()).unwrap_err(),
        CookieFlaw::Undecodable
    );

    let session = SessionCookie {
        extra,
        ..SessionCookie::new([1; 16], "play.example.net", 25565)
    };
    assert_eq!(session.encode(), None);
    assert_eq!(
        SessionCookie::decode(&serde_json::to_vec(&session).unwrap()),
        None
    );
}

#[test]
fn refuses_short_secrets_and_prints_none() {
    assert_eq!(CookieKeys::new(&SECRET[..15], None).unwrap_err(), SecretTooShort);
    assert_eq!(
        CookieKeys::new(SECRET, Some(b"short")).unwrap_err(),
        SecretTooShort
    );
    assert_eq!(format!("{:?}", keys()), "CookieKeys(redacted)");
}

#[test]
fn what_others_keep_in_a_cookie_is_carried_on_to_the_last_digit() {
    let payload = r#"{"id":"7b5b9b1e-26a5-4b5c-9d5e-0c1d5f1f2a3b","server_address":"a","server_port":1,
        "extra":{"number":25e56}}"#;
    let session = SessionCookie::decode(payload.as_bytes()).unwrap();
    let written = session.encode().unwrap();
    assert_eq!(SessionCookie::decode(&written), Some(session));
}

#[test]
fn a_session_cookie_carries_the_visit_on() {
    let mut session = SessionCookie::new([0xFF; 16], "play.example.net", 25565);
    assert_eq!(session.id.get_version_num(), 4);
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    session.set_traceparent(traceparent);
    let payload = session.encode().unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&payload).unwrap(),
        json!({
            "id": "ffffffff-ffff-4fff-bfff-ffffffffffff",
            "server_address": "play.example.net",
            "server_port": 25565,
            "extra": {"traceparent": traceparent},
        })
    );
    let read = SessionCookie::decode(&payload).unwrap();
    assert_eq!((read.traceparent(), &read), (Some(traceparent), &session));
    for end in 0..payload.len() {
        assert_eq!(SessionCookie::decode(&payload[..end]), None);
    }
}

#[test]
fn takes_only_a_trace_context_of_the_right_shape() {
    let mut session = SessionCookie::new([0; 16], "", 0);
    assert_eq!(session.traceparent(), None);
    for traceparent in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ] {
        session.set_traceparent(traceparent);
        assert_eq!(session.traceparent(), None, "{traceparent}");
    }
}

proptest! {
    #[test]
    fn never_panics_on_any_payload(payload: Vec<u8>) {
        let flaw = keys().verify(&payload, &check()).unwrap_err();
        prop_assert_eq!(flaw, if payload.len() < 32 { CookieFlaw::Undecodable } else { CookieFlaw::Forged });
        let _ = SessionCookie::decode(&payload);
    }

    #[test]
    fn any_identity_survives(name in "[a-zA-Z0-9_]{1,16}", id: u128, port: u16, timestamp in 0..NOW) {
        let profile = Profile { id: Uuid::from_u128(id), name, properties: Vec::new() };
        let verified = VerifiedProfile::from_answer(profile.clone()).unwrap();
        let address = SocketAddr::new(check().client, port);
        let payload = AuthCookie::new(&verified, address, "t", Map::new(), timestamp).sign(&keys()).unwrap();
        let check = CookieCheck { unix_seconds: timestamp, ..check() };
        let verified = keys().verify(&payload, &check).unwrap();
        prop_assert_eq!(verified.profile.profile(), &profile);
    }
}
