//! Collectors whose certificate is from the operator's own authority.

use super::*;
use crate::tls::authority::Authority;

fn client(receiver: &Receiver, trust: Trust) -> Client {
    let endpoint = Endpoint {
        url: receiver.url().replace("http:", "https:"),
        token: Some(Token::new("dXNlcjpwYXNz")),
        trust,
    };
    Client::new(Signal::Metrics, &endpoint).unwrap()
}

#[test]
fn a_collector_that_the_own_authority_has_certified_is_posted_to() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(Mode::Up, authority.server());
    let client = client(&receiver, authority.trust());
    for _ in 0..2 {
        client.post(b"", Duration::from_secs(20)).unwrap();
    }
    assert_eq!(receiver.taken().len(), 2);
}

#[test]
fn a_collector_that_nobody_trusted_has_certified_gets_nothing_and_the_error_says_what_helps() {
    let receiver = Receiver::start_tls(Mode::Up, Authority::new().server());
    let client = client(&receiver, Trust::default());
    let error = client.post(b"", Duration::from_secs(20)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("UnknownIssuer") && text.contains("tls.ca_file"),
        "{text}"
    );
    assert_eq!(receiver.seen(), 0, "not even the token");
}
