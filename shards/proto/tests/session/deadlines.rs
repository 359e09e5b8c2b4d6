//! Deadlines, under a clock that only moves when told.

use std::time::Duration;

use passage_proto::fault::Fault;
use passage_proto::packet::handshake::Intent;
use passage_proto::question::AskError;
use passage_proto::session::Stage;

use crate::client::{Client, Event, KEEP_ALIVE_ID};
use crate::world::{ALICE, End, Run, World, refusal};

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_silent_connection_ends_with_the_handshake_deadline() {
    for (world, stage) in [
        (World::status(), Stage::Handshake),
        (World::status().behind_a_proxy(), Stage::ProxyHeader),
    ] {
        let mut run = Run::new(world);
        wait(&mut run, Duration::from_secs(5) - MOMENT);
        assert_eq!(run.transcript.end, None);
        wait(&mut run, MOMENT);
        assert_eq!(run.transcript.end, Some(End::TimedOut(stage)));
        assert!(run.transcript.output.is_empty(), "a bare close");
        assert_eq!(run.session.deadline(), None);
    }
}

#[test]
fn a_trickle_does_not_move_the_handshake_deadline() {
    let script = Client::new(770)
        .handshake("play.example.net", Intent::Status)
        .script();
    let Some(Event::Bytes(handshake)) = script.first() else {
        panic!("no handshake")
    };
    let mut run = Run::new(World::status());
    for byte in handshake.iter().take(6) {
        run.happen(&Event::Bytes(vec![*byte]));
        wait(&mut run, Duration::from_millis(900));
    }
    assert_eq!(run.transcript.end, Some(End::TimedOut(Stage::Handshake)));
}

#[test]
fn the_proxy_header_and_the_handshake_share_one_deadline() {
    let mut run = Run::new(World::status().behind_a_proxy());
    wait(&mut run, Duration::from_secs(3));
    run.happen(&Event::Bytes(b"PROXY UNKNOWN\r\n".to_vec()));
    wait(&mut run, Duration::from_secs(2));
    assert_eq!(run.transcript.end, Some(End::TimedOut(Stage::Handshake)));
}

#[test]
fn the_grace_of_a_legacy_ping_ends_before_the_handshake_deadline() {
    let mut run = Run::new(World::status());
    wait(&mut run, Duration::from_secs(5) - MOMENT);
    run.happen(&Event::Bytes(vec![0xFE]));
    wait(&mut run, MOMENT);
    assert_eq!(run.transcript.end, Some(End::StatusServed));
}

#[test]
fn every_step_of_a_login_has_the_step_deadline_and_a_message() {
    let start = || Client::new(770).handshake("a", Intent::Login);
    let steps = [
        start(),
        start().login_start("Alice", ALICE),
        start().login_start("Alice", ALICE).session_cookie(None),
        start()
            .login_start("Alice", ALICE)
            .session_cookie(None)
            .encryption_response(),
    ];
    for (index, step) in steps.into_iter().enumerate() {
        let mut run = Run::new(World::transfer());
        for event in step.script() {
            run.happen(&event);
        }
        wait(&mut run, Duration::from_secs(30) - MOMENT);
        assert_eq!(run.transcript.end, None, "step {index}");
        wait(&mut run, MOMENT);
        assert_eq!(
            run.transcript.end,
            Some(End::TimedOut(Stage::Login)),
            "step {index}"
        );
        assert!(
            run.transcript.text().contains("disconnect_timeout in no locale"),
            "step {index}"
        );
    }
}

#[test]
fn a_relayed_login_that_says_nothing_times_out_with_a_message() {
    let mut run = Run::new(World::relay(passage_proto::question::RewriteHost::Keep));
    for event in Client::new(47)
        .handshake("a", Intent::Login)
        .wait(Duration::from_secs(30))
        .script()
    {
        run.happen(&event);
    }
    assert_eq!(run.transcript.end, Some(End::TimedOut(Stage::Login)));
    assert!(run.transcript.text().contains("sends Disconnect"));
}

#[test]
fn a_client_that_waits_for_us_is_not_slow_until_all_patience_ends() {
    let mut run = Run::new(World {
        profile: None,
        ..World::transfer()
    });
    for event in login().script() {
        run.happen(&event);
    }
    wait(&mut run, Duration::from_secs(120) - MOMENT);
    assert_eq!(run.transcript.end, None);
    wait(&mut run, MOMENT);
    assert_eq!(run.transcript.end, Some(End::TimedOut(Stage::Login)));
    assert!(run.transcript.text().contains("sends Disconnect"));
}

#[test]
fn a_client_that_does_not_answer_keep_alives_has_gone() {
    let mut run = Run::new(World {
        target: None,
        ..World::transfer()
    });
    for event in login().acknowledged().client_information("fr_fr").script() {
        run.happen(&event);
    }
    wait(&mut run, Duration::from_secs(30) - MOMENT);
    assert_eq!(run.transcript.text().matches("KeepAlive").count(), 1);
    assert_eq!(run.transcript.end, None);
    wait(&mut run, MOMENT);
    assert_eq!(run.transcript.end, Some(End::TimedOut(Stage::Configuration)));
    assert!(run.transcript.text().contains("disconnect_timeout in fr_fr"));
}

#[test]
fn a_client_that_answers_keep_alives_is_kept_until_all_patience_ends() {
    let mut run = Run::new(World {
        target: None,
        ..World::transfer()
    });
    let mut client = login().acknowledged();
    for nth in 0..7 {
        client = client
            .wait(Duration::from_secs(16))
            .keep_alive(KEEP_ALIVE_ID + nth);
    }
    for event in client.wait(Duration::from_secs(8)).script() {
        run.happen(&event);
    }
    assert_eq!(run.transcript.text().matches("KeepAlive").count(), 7);
    assert_eq!(run.transcript.end, Some(End::TimedOut(Stage::Configuration)));
}

#[test]
fn a_keep_alive_answered_twice_is_a_fault() {
    let mut run = Run::new(World {
        target: None,
        ..World::transfer()
    });
    let client = login().acknowledged().wait(Duration::from_secs(15));
    for event in client
        .keep_alive(KEEP_ALIVE_ID)
        .keep_alive(KEEP_ALIVE_ID)
        .script()
    {
        run.happen(&event);
    }
    assert_eq!(run.transcript.end, Some(End::Fault(Fault::KeepAliveUnexpected)));
}

#[test]
fn a_message_that_finds_no_words_is_sent_without() {
    let target = Some(Err(refusal("disconnect_no_target", AskError::Denied)));
    let mut run = Run::new(World {
        target,
        speaks: false,
        ..World::transfer()
    });
    for event in login().acknowledged().client_information("de_de").script() {
        run.happen(&event);
    }
    wait(&mut run, Duration::from_secs(2) - MOMENT);
    assert_eq!(run.transcript.end, None);
    wait(&mut run, MOMENT);
    assert_eq!(run.transcript.end, Some(End::Refused(AskError::Denied)));
    assert!(
        run.transcript
            .lines
            .iter()
            .any(|line| line.contains("sends Disconnect"))
    );
}

#[test]
fn a_message_waits_only_a_moment_for_the_locale() {
    let target = Some(Err(refusal("disconnect_no_target", AskError::Denied)));
    let mut run = Run::new(World {
        target,
        ..World::transfer()
    });
    for event in login().acknowledged().script() {
        run.happen(&event);
    }
    assert_eq!(run.transcript.end, None);
    wait(&mut run, Duration::from_millis(250));
    assert_eq!(run.transcript.end, Some(End::Refused(AskError::Denied)));
}

fn login() -> Client {
    let start = Client::new(770)
        .handshake("a", Intent::Login)
        .login_start("Alice", ALICE);
    start.session_cookie(None).encryption_response()
}

fn wait(run: &mut Run, time: Duration) {
    run.happen(&Event::Wait(time));
}
