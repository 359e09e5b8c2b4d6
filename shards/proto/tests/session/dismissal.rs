//! A caller that ends a conversation for a reason of its own: the client reads why wherever it can.

use passage_proto::packet::handshake::Intent;
use passage_proto::question::{AskError, RewriteHost};

use crate::client::Client;
use crate::world::{ALICE, End, Run, World};

const END: End = End::Refused(AskError::Overloaded);

/// Plays the client's part and then dismisses it: what it has read since, and whether it was to read it.
fn dismissed(world: World, client: Client) -> (String, bool) {
    let mut run = Run::new(world);
    for event in client.script() {
        run.happen(&event);
    }
    let before = run.transcript.lines.len();
    let reads = run.session.reads_words();
    run.session.dismiss(r#"{"text":"come back later"}"#, END);
    run.settle();
    assert_eq!(run.transcript.end, Some(END));
    assert!(!run.session.reads_words() && run.session.deadline().is_none());
    (run.transcript.lines[before..].join("\n"), reads)
}

fn login() -> Client {
    Client::new(770).handshake("a", Intent::Login)
}

#[test]
fn a_login_reads_why_at_every_step_encrypted_or_not() {
    let started = || login().login_start("Alice", ALICE);
    let encrypted = || started().session_cookie(None).encryption_response();
    let steps = [
        login(),
        started(),
        started().session_cookie(None),
        encrypted(),
        encrypted().acknowledged(),
        encrypted().acknowledged().client_information("de_de"),
    ];
    for (step, client) in steps.into_iter().enumerate() {
        let world = World {
            target: None,
            ..World::transfer()
        };
        let (read, reads) = dismissed(world, client);
        assert!(reads, "step {step}");
        assert!(
            read.starts_with("sends Disconnect") && read.contains("come back later"),
            "step {step}: {read}"
        );
    }
    let relayed = Client::new(47).handshake("a", Intent::Login);
    let (read, _) = dismissed(World::relay(RewriteHost::Keep), relayed);
    assert!(read.starts_with("sends Disconnect"), "{read}");
}

#[test]
fn who_would_not_read_it_is_told_nothing() {
    let ping = || Client::new(770).handshake("a", Intent::Status);
    // Enciphered with a secret that nobody has decrypted yet.
    let deaf = login()
        .login_start("Alice", ALICE)
        .session_cookie(None)
        .encryption_response();
    for (world, client) in [
        (World::transfer(), Client::new(770)),
        (World::status(), ping()),
        (World::status(), ping().status_request()),
    ] {
        let (read, reads) = dismissed(world, client);
        assert!(!reads && !read.contains("sends"), "{read}");
    }
    let mut run = Run::new(World::transfer());
    let mut events = deaf.script();
    let response = events.pop();
    events.iter().for_each(|event| run.happen(event));
    let Some(crate::client::Event::Bytes(response)) = response else {
        panic!("no encryption response")
    };
    // The answer to its question is still to come.
    run.session.receive(&response, run.now());
    assert!(!run.session.reads_words());
    let sent = run.transcript.output.len();
    run.session.dismiss("too late", END);
    run.settle();
    assert_eq!(
        (run.transcript.end, run.transcript.output.len()),
        (Some(END), sent)
    );
}

#[test]
fn a_conversation_that_is_over_stays_as_it_ended() {
    let mut run = Run::new(World::transfer());
    for event in login().hang_up().script() {
        run.happen(&event);
    }
    let end = run.transcript.end;
    assert!(end.is_some());
    run.session.dismiss("once more", END);
    run.settle();
    assert_eq!(run.transcript.end, end);
}
