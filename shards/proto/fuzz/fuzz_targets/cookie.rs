//! Both cookies, written and read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use passage_proto::cookie::{AuthCookie, CookieCheck, CookieFlaw, CookieKeys, SessionCookie};

fuzz_target!(|input: &[u8]| {
    let keys = CookieKeys::new(b"a secret that no input was made with", None).unwrap();
    let anybody = CookieCheck {
        client: [192, 0, 2, 1].into(),
        unix_seconds: 1_790_000_000,
        expiry_seconds: 21_600,
    };
    assert!(keys.verify(input, &anybody).is_err(), "forged");

    if let Some(visit) = SessionCookie::decode(input) {
        let _ = visit.traceparent();
        if let Some(written) = visit.encode() {
            assert_eq!(SessionCookie::decode(&written), Some(visit));
        }
    }

    if let Ok(cookie) = serde_json::from_slice::<AuthCookie>(input) {
        let Some(payload) = cookie.sign(&keys) else { return };
        let check = CookieCheck {
            client: cookie.client_addr.ip(),
            unix_seconds: cookie.timestamp,
            expiry_seconds: 21_600,
        };
        match keys.verify(&payload, &check) {
            Ok(verified) => {
                assert_eq!(verified.profile.profile().name, cookie.user_name);
                assert_eq!(verified.profile.profile().id, cookie.user_id);
                assert_eq!(verified.cookie, cookie);
            }
            // A profile that no client could read.
            Err(flaw) => assert_eq!(flaw, CookieFlaw::Undecodable),
        }
    }
});
