//! Both cookies, written and read; and whatever somebody who has the secret signed.
#![no_main]

use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use passage_proto::cookie::{AuthCookie, CookieCheck, CookieFlaw, CookieKeys, SessionCookie};
use passage_proto::limits::COOKIE_BYTES_MAX;
use sha2::Sha256;

const SECRET: &[u8] = b"a secret that no input was made with";
const PREVIOUS: &[u8] = b"the secret that it has replaced";
const FOREIGN: &[u8] = b"the secret of another network";
const EXPIRY_SECONDS: u64 = 21_600;

fuzz_target!(|input: &[u8]| {
    let keys = CookieKeys::new(SECRET, Some(PREVIOUS)).unwrap();
    let anybody = CookieCheck {
        client: [192, 0, 2, 1].into(),
        unix_seconds: 1_790_000_000,
        expiry_seconds: EXPIRY_SECONDS,
    };
    assert!(keys.verify(input, &anybody).is_err(), "forged");
    visit(input);

    let cookie = serde_json::from_slice::<AuthCookie>(input).ok();
    signed_by_others(&keys, input, cookie.as_ref(), &anybody);
    let Some(cookie) = cookie else { return };
    let Some(payload) = cookie.sign(&keys) else { return };
    holds(&keys, &payload, &cookie);
});

fn visit(input: &[u8]) {
    let Some(visit) = SessionCookie::decode(input) else {
        return;
    };
    let _ = visit.traceparent();
    if let Some(written) = visit.encode() {
        assert_eq!(SessionCookie::decode(&written), Some(visit));
    }
}

/// A signature makes no cookie of what is none, and a foreign one makes none of what is one.
fn signed_by_others(keys: &CookieKeys, json: &[u8], cookie: Option<&AuthCookie>, anybody: &CookieCheck) {
    if json.len() + 32 > COOKIE_BYTES_MAX {
        let flaw = keys
            .verify(&signed(SECRET, json), anybody)
            .map(|_| ())
            .unwrap_err();
        assert_eq!(flaw, CookieFlaw::Undecodable, "a cookie that is too long");
        return;
    }
    let flaw = keys
        .verify(&signed(FOREIGN, json), anybody)
        .map(|_| ())
        .unwrap_err();
    assert_eq!(flaw, CookieFlaw::Forged);
    for secret in [SECRET, PREVIOUS] {
        let payload = signed(secret, json);
        match cookie {
            Some(cookie) => holds(keys, &payload, cookie),
            None => {
                let flaw = keys.verify(&payload, anybody).map(|_| ()).unwrap_err();
                assert_eq!(flaw, CookieFlaw::Undecodable);
            }
        }
    }
}

fn signed(secret: &[u8], json: &[u8]) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(json);
    [mac.finalize().into_bytes().as_slice(), json].concat()
}

/// A cookie with a good signature is what it says, for whom and as long as it says.
fn holds(keys: &CookieKeys, payload: &[u8], cookie: &AuthCookie) {
    let check = CookieCheck {
        client: cookie.client_addr.ip(),
        unix_seconds: cookie.timestamp,
        expiry_seconds: EXPIRY_SECONDS,
    };
    match keys.verify(payload, &check) {
        Ok(verified) => {
            assert_eq!(verified.profile.profile().name, cookie.user_name);
            assert_eq!(verified.profile.profile().id, cookie.user_id);
            assert_eq!(&verified.cookie, cookie);
        }
        // A profile that no client could read.
        Err(flaw) => assert_eq!(flaw, CookieFlaw::Undecodable),
    }
    let elsewhere = CookieCheck {
        client: [203, 0, 113, 77].into(),
        ..check
    };
    if elsewhere.client != check.client.to_canonical() {
        let flaw = keys.verify(payload, &elsewhere).map(|_| ()).unwrap_err();
        assert_eq!(flaw, CookieFlaw::OtherAddress);
    }
    if let Some(later) = cookie.timestamp.checked_add(EXPIRY_SECONDS + 1) {
        let late = CookieCheck {
            unix_seconds: later,
            ..check
        };
        let flaw = keys.verify(payload, &late).map(|_| ()).unwrap_err();
        assert_eq!(flaw, CookieFlaw::Expired);
    }
}
