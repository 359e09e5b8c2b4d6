//! The whole state machine: every phase against every event.

use std::fmt::Write as _;
use std::time::Duration;

use passage_proto::identity::SharedSecret;
use passage_proto::packet::handshake::Intent;
use passage_proto::question::{Answer, AskError, RewriteHost};
use passage_proto::session::ProxyExpectation;

use crate::client::{Client, Event, KEEP_ALIVE_ID, SECRET};
use crate::world::{ALICE, Run, World, profile, refusal, status, target};

/// Something that happens.
#[derive(Clone, Copy)]
enum Move {
    Send(fn(Client) -> Client),
    Answer(fn() -> Answer),
    /// The next deadline comes.
    Alarm,
    /// All deadlines come.
    Age,
    HangUp,
}

use Move::{Age, Alarm, HangUp, Send};

#[test]
fn every_phase_against_every_event() {
    let mut table = String::new();
    for (phase, moves) in phases() {
        writeln!(table, "{phase}").unwrap();
        for (event, last) in events() {
            let mut run = reach(phase, &moves);
            let before = run.transcript.lines.len();
            let mut client = client_at(&moves);
            perform(&mut run, &mut client, last);
            let lines = &run.transcript.lines[before..];
            let after = phase_of(&run);
            let came_of_it = if after == phase {
                "stays".to_owned()
            } else {
                format!("→ {after}")
            };
            let said: Vec<_> = lines.iter().map(|line| brief(line)).collect();
            writeln!(table, "    {event:<24} {came_of_it:<18} {}", said.join("; ")).unwrap();
        }
    }
    let table: String = table
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("transitions", table);
    });
}

fn phases() -> Vec<(&'static str, Vec<Move>)> {
    let answer = Move::Answer;
    let ping = [Send(|client| client.handshake("a", Intent::Status))];
    let login = [
        Send(|client| client.handshake("a", Intent::Login)),
        answer(|| route(World::transfer())),
    ];
    let relay = [
        Send(|client| client.handshake("a", Intent::Login)),
        answer(|| route(World::relay(RewriteHost::Keep))),
    ];
    let legacy = [Send(|client| client.raw(&[0xFE])), Alarm];
    let steps = [
        Send(|client| client.login_start("Alice", ALICE)),
        Send(|client| client.session_cookie(None)),
        Send(Client::encryption_response),
        answer(|| Answer::Secret(Some(SharedSecret::new(SECRET)))),
        answer(|| Answer::Profile(Ok(profile("Alice", ALICE)))),
        Send(Client::acknowledged),
        answer(|| Answer::Target(Err(refusal("disconnect_no_target", AskError::Denied)))),
    ];
    let after = |start: &[Move], more: &[Move]| [start, more].concat();
    vec![
        ("ProxyHeader", vec![]),
        ("Handshake", vec![]),
        (
            "Routing",
            after(&[Send(|client| client.handshake("a", Intent::Login))], &[]),
        ),
        ("LegacyRouting", after(&legacy, &[])),
        (
            "LegacyStatus",
            after(&legacy, &[answer(|| route(World::status()))]),
        ),
        ("Status", after(&ping, &[answer(|| route(World::status()))])),
        (
            "StatusAnswer",
            after(
                &ping,
                &[answer(|| route(World::status())), Send(Client::status_request)],
            ),
        ),
        ("LoginStart", after(&login, &[])),
        ("Cookies", after(&login, &steps[..1])),
        ("Encryption", after(&login, &steps[..2])),
        ("Decryption", after(&login, &steps[..3])),
        ("Authentication", after(&login, &steps[..4])),
        ("Acknowledgement", after(&login, &steps[..5])),
        ("Configuration", after(&login, &steps[..6])),
        ("Parting", after(&login, &steps)),
        ("RelayedLogin", after(&relay, &[])),
        ("RelayTarget", after(&relay, &steps[..1])),
        (
            "Farewell",
            after(
                &[Send(|client| client.handshake("a", Intent::Login))],
                &[answer(|| Answer::Route(None))],
            ),
        ),
        ("Over", vec![HangUp]),
    ]
}

fn events() -> Vec<(&'static str, Move)> {
    let answer = Move::Answer;
    vec![
        ("empty frame", Send(|client| client.raw(&[0, 0]))),
        ("half a frame", Send(|client| client.raw(&[5, 0]))),
        ("proxy header", Send(|client| client.raw(b"PROXY UNKNOWN\r\n"))),
        ("legacy ping", Send(|client| client.raw(&[0xFE]))),
        ("handshake", Send(|client| client.handshake("a", Intent::Login))),
        ("status request", Send(Client::status_request)),
        ("ping", Send(|client| client.ping(1))),
        ("login start", Send(|client| client.login_start("Alice", ALICE))),
        ("session cookie", Send(|client| client.session_cookie(None))),
        (
            "authentication cookie",
            Send(|client| client.authentication_cookie(None)),
        ),
        ("encryption response", Send(Client::encryption_response)),
        ("acknowledged", Send(Client::acknowledged)),
        (
            "client information",
            Send(|client| client.client_information("de_de")),
        ),
        ("plugin message", Send(Client::brand)),
        ("keep-alive", Send(|client| client.keep_alive(KEEP_ALIVE_ID))),
        ("answer: no route", answer(|| Answer::Route(None))),
        ("answer: status route", answer(|| route(World::status()))),
        ("answer: transfer route", answer(|| route(World::transfer()))),
        (
            "answer: relay route",
            answer(|| route(World::relay(RewriteHost::Keep))),
        ),
        ("answer: status", answer(|| Answer::Status(Some(status())))),
        ("answer: no status", answer(|| Answer::Status(None))),
        (
            "answer: secret",
            answer(|| Answer::Secret(Some(SharedSecret::new(SECRET)))),
        ),
        ("answer: no secret", answer(|| Answer::Secret(None))),
        (
            "answer: profile",
            answer(|| Answer::Profile(Ok(profile("Alice", ALICE)))),
        ),
        (
            "answer: no profile",
            answer(|| Answer::Profile(Err(refusal("disconnect_not_authenticated", AskError::Denied)))),
        ),
        ("answer: target", answer(|| Answer::Target(Ok(target())))),
        (
            "answer: no target",
            answer(|| Answer::Target(Err(refusal("disconnect_no_target", AskError::Denied)))),
        ),
        ("answer: text", answer(|| Answer::Text("words".to_owned()))),
        ("alarm", Alarm),
        ("age", Age),
        ("hang-up", HangUp),
    ]
}

fn route(world: World) -> Answer {
    Answer::Route(world.plan)
}

/// A session in the given phase.
fn reach(phase: &str, moves: &[Move]) -> Run {
    let mut world = World {
        answers: false,
        ..World::status()
    };
    if phase == "ProxyHeader" {
        world.setup.proxy = ProxyExpectation::Required { v1: true, v2: true };
    }
    let mut run = Run::new(world);
    let mut client = Client::new(770);
    for step in moves {
        perform(&mut run, &mut client, *step);
    }
    assert_eq!(phase_of(&run), phase);
    run
}

/// The client of a session that has made these moves, its cipher included.
fn client_at(moves: &[Move]) -> Client {
    let mut client = Client::new(770);
    for step in moves {
        if let Send(write) = step {
            client = write(client);
        }
    }
    client.take_events();
    client
}

fn perform(run: &mut Run, client: &mut Client, step: Move) {
    match step {
        Send(write) => {
            let mut writing = write(std::mem::replace(client, Client::new(770)));
            for event in writing.take_events() {
                run.happen(&event);
            }
            *client = writing;
        }
        Move::Answer(answer) => run.answer(answer()),
        Alarm => {
            let next = run
                .session
                .deadline()
                .map(|deadline| deadline - run.now().instant);
            run.happen(&Event::Wait(next.unwrap_or_default()));
        }
        Age => run.happen(&Event::Wait(Duration::from_secs(600))),
        HangUp => run.happen(&Event::HangUp),
    }
}

fn phase_of(run: &Run) -> String {
    let session = format!("{:?}", run.session);
    let phase = session.strip_prefix("Session { phase: ").unwrap();
    phase.chars().take_while(char::is_ascii_alphabetic).collect()
}

/// The first words of a line; snapshots of conversations have the rest.
fn brief(line: &str) -> String {
    let end = line.find([' ', '(', '{']).unwrap_or(line.len());
    let (verb, rest) = line.split_at(end);
    let detail: String = match verb {
        "closes:" => rest.to_owned(),
        _ if line.contains("disconnect_") => {
            let key = &line[line.find("disconnect_").unwrap()..];
            format!(
                " {}",
                key.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
                    .next()
                    .unwrap()
            )
        }
        _ => rest
            .chars()
            .take_while(|c| !"({:".contains(*c))
            .collect::<String>()
            .trim_end()
            .to_owned(),
    };
    format!(
        "{verb}{}",
        if detail.starts_with(' ') || detail.is_empty() {
            detail
        } else {
            format!(" {detail}")
        }
    )
}
