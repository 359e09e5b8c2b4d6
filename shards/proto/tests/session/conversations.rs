//! What each recorded conversation comes to, word by word, and what must be true of it whatever the words.

use std::sync::Arc;

use passage_proto::cookie::CookieKeys;
use passage_proto::fault::Fault;
use passage_proto::packet::handshake::Handshake;
use passage_proto::question::{AskError, RoutePlan, Target};
use passage_proto::session::Stage;
use passage_proto::wire::split_frame;

use crate::cookies::ANOTHER_SECRET;
use crate::recordings::{self, Recording};
use crate::transcript::Transcript;
use crate::world::{End, Run, SECRET, World, target};

#[test]
fn reads_as_recorded() {
    for Recording { name, world, script } in recordings::ALL.iter() {
        let transcript = Run::play(world.clone(), script);
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(*name, transcript.text());
        });
    }
}

#[test]
fn ends_as_it_should() {
    let ends = [
        ("status", End::Pinged),
        ("status_without_ping", End::StatusServed),
        ("status_timeout_after_response", End::StatusServed),
        ("ping_only", End::Pinged),
        ("status_for_no_route", End::Pinged),
        ("silence_for_no_route", End::NoRoute),
        ("hung_up_before_status", End::HungUp(Stage::Status)),
        ("legacy_plain", End::StatusServed),
        ("legacy_versioned", End::StatusServed),
        ("legacy_ping_host", End::StatusServed),
        ("login_766", End::Transferred),
        ("login_newer", End::Transferred),
        ("login_without_encryption", End::Transferred),
        ("transfer_with_forged_cookie", End::Transferred),
        ("login_for_no_route", End::NoRoute),
        ("login_too_old_for_transfer", End::Unsupported),
        ("login_refused_by_plan", End::Refused(AskError::Overloaded)),
        ("not_authenticated", End::Refused(AskError::Denied)),
        ("no_target_in_a_hurry", End::Refused(AskError::Denied)),
        ("no_words", End::Refused(AskError::Denied)),
        ("relay_refused", End::Refused(AskError::Denied)),
        ("intent_four", End::Fault(Fault::IntentUnknown)),
        ("negative_length", End::Fault(Fault::FrameLengthTooLong)),
        ("empty_frame", End::Fault(Fault::FrameEmpty)),
        ("proxy_header_missing", End::Fault(Fault::ProxyHeaderMissing)),
        ("proxy_version_refused", End::Fault(Fault::ProxyVersionRefused)),
        (
            "proxy_header_unexpected",
            End::Fault(Fault::ProxyHeaderUnexpected),
        ),
        ("http_request", End::Fault(Fault::PacketUnexpected)),
        ("cookie_of_another_key", End::Fault(Fault::CookieUnexpected)),
        (
            "token_of_another_connection",
            End::Fault(Fault::EncryptionInvalid),
        ),
        (
            "keep_alive_out_of_the_blue",
            End::Fault(Fault::KeepAliveUnexpected),
        ),
    ];
    for (name, end) in ends {
        assert_eq!(play(name).end, Some(end), "{name}");
    }
}

#[test]
fn a_cookie_for_alice_makes_mallory_alice_everywhere() {
    for name in ["transfer_with_cookies", "transfer_with_cookies_unencrypted"] {
        let transcript = play(name);
        assert_eq!(transcript.end, Some(End::Transferred));
        let after_the_claim = transcript
            .lines
            .iter()
            .skip_while(|line| !line.contains("CookieRequest"));
        for line in after_the_claim {
            assert!(
                !line.contains("Mallory") && !line.contains("003a1102"),
                "{name}: {line}"
            );
        }
        assert!(transcript.text().contains("should_authenticate: false") || name.ends_with("unencrypted"));
        assert!(
            !transcript.text().contains("asks who is"),
            "a proven player is asked for proof"
        );
        for part in [
            "sends Success",
            "asks where to send",
            "sends passage:authentication",
            "knows",
        ] {
            let line = transcript
                .lines
                .iter()
                .find(|line| line.starts_with(part))
                .unwrap();
            assert!(line.contains("Alice"), "{name}: {line}");
        }
    }
}

#[test]
fn a_cookie_that_proves_nothing_leaves_the_claim_to_the_authenticator() {
    for name in [
        "transfer_with_forged_cookie",
        "transfer_with_expired_cookie",
        "transfer_from_another_address",
    ] {
        let transcript = play(name);
        assert!(transcript.text().contains("should_authenticate: true"), "{name}");
        let question = transcript
            .lines
            .iter()
            .find(|line| line.starts_with("asks who is"))
            .unwrap();
        assert!(question.contains("Mallory"), "{name}: {question}");
    }
}

#[test]
fn a_cookie_of_the_previous_secret_is_believed_and_replaced_by_one_of_the_current() {
    let mut world = World::transfer();
    let Some(RoutePlan::Transfer(plan)) = &mut world.plan else {
        panic!("a transfer")
    };
    plan.cookies = Some(Arc::new(CookieKeys::new(SECRET, Some(ANOTHER_SECRET)).unwrap()));
    let recording = |recording: &&Recording| recording.name == "transfer_with_forged_cookie";
    let script = &recordings::ALL.iter().find(recording).unwrap().script;
    let transcript = Run::play(world, script);
    assert_eq!(transcript.end, Some(End::Transferred));
    let text = transcript.text();
    assert!(
        text.contains("should_authenticate: false") && !text.contains("asks who is"),
        "{text}"
    );
    // The transcript knows the current secret only.
    let new = transcript
        .lines
        .iter()
        .find(|line| line.starts_with("sends passage:authentication"));
    let new = new.unwrap();
    assert!(new.contains("Ok(AuthCookie") && new.contains("Alice"), "{new}");
}

#[test]
fn the_visit_and_what_others_keep_in_cookies_survive_a_transfer() {
    let transcript = play("transfer_with_cookies");
    let line = |start: &str| {
        transcript
            .lines
            .iter()
            .find(|line| line.starts_with(start))
            .unwrap()
    };
    let visit = line("sends passage:session");
    assert!(visit.contains("7b5b9b1e-26a5-4b5c-9d5e-0c1d5f1f2a3b"), "{visit}");
    assert!(
        visit.contains("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        "{visit}"
    );
    assert!(line("sends passage:authentication").contains("admin"));
    assert!(line("sends passage:authentication").contains(&format!("timestamp: {}", crate::world::BIRTH)));
    assert!(line("knows").contains("0af7651916cd43dd8448eb211c80319c"));
}

#[test]
fn cookies_are_asked_for_only_where_they_may_help() {
    let requests = |name| {
        let transcript = play(name);
        let asks_for = |key: &str| transcript.text().contains(&format!("key: {key:?}"));
        (asks_for("passage:session"), asks_for("passage:authentication"))
    };
    assert_eq!(
        requests("login_770"),
        (true, false),
        "a plain login brings no proof"
    );
    assert_eq!(
        requests("login_without_encryption"),
        (true, false),
        "without keys there is no proof"
    );
    assert_eq!(requests("transfer_without_cookies"), (true, true));
}

#[test]
fn a_relay_replays_what_the_client_sent() {
    let sent = |name: &str| {
        let script = &recordings::named(name).script;
        script
            .iter()
            .flat_map(|event| match event {
                crate::client::Event::Bytes(bytes) => bytes.clone(),
                _ => Vec::new(),
            })
            .collect::<Vec<_>>()
    };
    for name in [
        "relay_keep",
        "relay_of_the_newest",
        "relay_of_an_unknown_login_start",
    ] {
        assert_eq!(play(name).handoff.unwrap().replay, sent(name), "{name}");
    }
    for (name, host) in [
        ("relay_target", "lobby.internal.example"),
        ("relay_literal", "fixed.example"),
    ] {
        let replay = play(name).handoff.unwrap().replay;
        let expected = format!("{host}\0FML2\0");
        assert!(
            replay
                .windows(expected.len())
                .any(|window| window == expected.as_bytes()),
            "{name}"
        );
        let tail = &sent(name)[sent(name).len() - 30..];
        assert!(
            replay.ends_with(tail),
            "{name}: nothing after the handshake changes"
        );
    }
}

#[test]
fn a_hand_over_can_be_turned_to_another_target() {
    let other = |host: &str| {
        Arc::new(Target {
            identifier: "lobby-2".to_owned(),
            host: host.to_owned(),
            ..(*target()).clone()
        })
    };
    for (name, host) in [
        ("relay_keep", "Mods.Example.net"),
        ("relay_target", "a-longer-name.internal.example"),
        ("relay_literal", "fixed.example"),
    ] {
        let Recording { world, script, .. } = recordings::named(name);
        let mut run = Run::new(world.clone());
        script.iter().for_each(|event| run.happen(event));
        let mut handoff = run.transcript.handoff.take().unwrap();
        let before = handoff.replay.clone();

        let endless = run.session.redirect(&mut handoff, other(&"x".repeat(250)));
        if name == "relay_target" {
            assert_eq!(endless, Err(Fault::StringTooLong));
            assert_eq!(
                (&handoff.replay, &*handoff.target.identifier),
                (&before, "lobby-1")
            );
            assert_eq!(run.session.facts().target.as_ref().unwrap().identifier, "lobby-1");
        }
        run.session
            .redirect(&mut handoff, other("a-longer-name.internal.example"))
            .unwrap();
        let told = Handshake::decode(&handoff.replay[split_frame(&handoff.replay, 1_000).unwrap().unwrap()]);
        assert_eq!(told.unwrap().address, format!("{host}\0FML2\0"), "{name}");
        assert!(handoff.replay.ends_with(&before[before.len() - 30..]), "{name}");
        assert_eq!(run.session.facts().target.as_ref().unwrap().identifier, "lobby-2");
        assert_eq!(handoff.target.identifier, "lobby-2");
    }
}

#[test]
fn the_proxy_header_says_who_the_client_is() {
    for name in ["proxy_v1_status", "proxy_v2_status"] {
        assert!(
            play(name).lines.last().unwrap().contains("203.0.113.9:40000"),
            "{name}"
        );
    }
    for name in ["proxy_v1_unknown_status", "proxy_v2_local_status"] {
        assert!(
            play(name).lines.last().unwrap().contains("192.0.2.1:50000"),
            "{name}"
        );
    }
}

#[test]
fn a_player_reads_why_in_their_language() {
    for name in [
        "not_authenticated",
        "no_target",
        "no_target_in_a_hurry",
        "login_for_no_route",
        "relay_refused",
    ] {
        let transcript = play(name);
        let said = transcript
            .lines
            .iter()
            .rev()
            .find(|line| line.contains("Disconnect"))
            .unwrap();
        let locale = if name == "no_target" { "de_de" } else { "no locale" };
        assert!(said.contains(locale), "{name}: {said}");
    }
}

fn play(name: &str) -> Transcript {
    let Recording { world, script, .. } = recordings::named(name);
    Run::play(world.clone(), script)
}
