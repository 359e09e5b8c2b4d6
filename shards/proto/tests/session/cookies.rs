//! Authentication cookies as returning players bring them.

use std::net::SocketAddr;

use passage_proto::cookie::{AuthCookie, CookieKeys};
use passage_proto::identity::Property;

use crate::world::{ALICE, BIRTH, keys, setup};

/// A cookie for Alice that is as good as any.
pub(crate) fn alices_cookie() -> Vec<u8> {
    cookie_of(BIRTH - 60, setup().peer)
}

/// The secret of somebody else, or of former times.
pub(crate) const ANOTHER_SECRET: &[u8] = b"another secret of enough bytes";

/// A cookie for Alice that was signed with [`ANOTHER_SECRET`].
pub(crate) fn forged_cookie() -> Vec<u8> {
    let keys = CookieKeys::new(ANOTHER_SECRET, None).unwrap();
    cookie(BIRTH, setup().peer).sign(&keys).unwrap()
}

/// A cookie for Alice, signed as Passage signs.
pub(crate) fn cookie_of(timestamp: u64, client_addr: SocketAddr) -> Vec<u8> {
    cookie(timestamp, client_addr).sign(&keys()).unwrap()
}

/// A cookie for Alice that nobody has signed yet.
pub(crate) fn cookie(timestamp: u64, client_addr: SocketAddr) -> AuthCookie {
    AuthCookie {
        timestamp,
        client_addr,
        user_name: "Alice".to_owned(),
        user_id: ALICE,
        target: Some("survival".to_owned()),
        profile_properties: vec![Property {
            name: "textures".to_owned(),
            value: "Alice's".to_owned(),
            signature: None,
        }],
        extra: [("rank".to_owned(), "admin".into())].into_iter().collect(),
    }
}
