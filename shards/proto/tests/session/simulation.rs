//! Simulated conversations against a model: a client at its own pace, a network that cuts, services that are
//! slow, a clock that jumps. Everything follows from one source of decisions, a seed here and a fuzzer's
//! input in the fuzz target `conversation`.
//!
//! The model ([`model`]) knows packets and deadlines only. After each event the session must want to know,
//! send, wait for and come to exactly what the model does, however its bytes were cut.

use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::Now;
use passage_proto::identity::SharedSecret;
use passage_proto::question::{Answer, LoginPlan, Question, RelayPlan, RewriteHost, RoutePlan};
use passage_proto::session::{Effect, Session};

use crate::client::{ENTROPY, SECRET};
use crate::transcript::Transcript;
use crate::world::{ALICE, BIRTH, End, World, keys, profile, refusal, status, target};

use self::choices::Choices;
use self::model::{Asked, CAUSE, Model, Outcome, Plan, Seen, Time, Told};
use self::visitor::{Visitor, pause};

#[path = "simulation/choices.rs"]
pub(crate) mod choices;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/visitor.rs"]
mod visitor;

/// Events of one conversation at most; a client and its deadlines bring about far fewer.
const EVENTS_MAX: usize = 2_000;

/// Plays one conversation, and says what it came to.
///
/// # Panics
/// If the session does anything else than the model.
pub(crate) fn play(choices: &mut Choices) -> String {
    let mut stage = Stage::new(choices);
    let mut events = 0;
    while !stage.model.is_over() {
        let (event, due) = stage.next_event(choices);
        stage.elapsed = stage.elapsed.max(due);
        stage.happen(event, choices);
        events += 1;
        assert!(
            events < EVENTS_MAX,
            "a conversation without an end: {:?}",
            stage.model
        );
    }
    stage.conclude(choices)
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Arrival,
    Answer,
    /// The shard looks at its clock, late or without need.
    Tick,
    Leave,
}

/// One conversation with everything around it.
struct Stage {
    session: Session,
    model: Model,
    transcript: Transcript,
    visitor: Visitor,
    plan: Plan,
    birth: Instant,
    elapsed: Time,
    /// The open question's answer and when it comes; `None` for never.
    answer: Option<(Time, Told, Asked)>,
    /// Answers to questions that were replaced, on their way all the same.
    late: Vec<(Told, Asked)>,
    /// How late the shard notices a deadline.
    lag: Duration,
}

impl Stage {
    fn new(choices: &mut Choices) -> Self {
        let visitor = Visitor::new(choices);
        let world = if visitor.behind_a_proxy {
            World::status().behind_a_proxy()
        } else {
            World::status()
        };
        let birth = Instant::now();
        let now = at(birth, Time::ZERO, visitor.wall);
        Self {
            session: Session::new(world.setup, ENTROPY, now),
            model: Model::new(visitor.behind_a_proxy),
            transcript: Transcript::default(),
            plan: plan(&visitor, choices),
            visitor,
            birth,
            elapsed: Time::ZERO,
            answer: None,
            late: Vec::new(),
            lag: Duration::ZERO,
        }
    }

    fn now(&self) -> Now {
        at(self.birth, self.elapsed, self.visitor.wall)
    }

    /// What happens next, and when.
    fn next_event(&self, choices: &mut Choices) -> (Happening, Time) {
        let deadline = self.model.deadline().map(|deadline| deadline + self.lag);
        let arrival = self.visitor.next.filter(|_| self.session.wants_input());
        let answer = self.answer.as_ref().map(|(due, ..)| *due);
        if choices.once_in(50) {
            return (Happening::Tick, self.elapsed);
        }
        let mut events = [
            (Happening::Arrival, arrival),
            (Happening::Answer, answer),
            (Happening::Tick, deadline),
            (Happening::Leave, self.visitor.leaves),
        ];
        // Which of two things that happen at once comes first is anybody's guess.
        let turned = usize::try_from(choices.below(4)).unwrap_or(0);
        events.rotate_left(turned);
        let due = events.into_iter().filter_map(|(event, due)| Some((event, due?)));
        due.min_by_key(|(_, due)| (*due).max(self.elapsed))
            .unwrap_or_else(|| panic!("nothing will ever happen: {:?}", self.model))
    }

    fn happen(&mut self, event: Happening, choices: &mut Choices) {
        let now = self.now();
        match event {
            Happening::Arrival => {
                let (piece, packets) = self.visitor.arrive(&self.model, self.elapsed, choices);
                self.session.receive(&piece, now);
                self.model.receive(packets, self.elapsed);
            }
            Happening::Answer => {
                let Some((_, told, asked)) = self.answer.take() else {
                    return;
                };
                self.tell(&told, asked);
            }
            Happening::Tick => {
                self.session.tick(now);
                self.model.tick(self.elapsed);
            }
            Happening::Leave => {
                self.visitor.leaves = None;
                self.session.hang_up(now);
                self.model.hang_up(self.elapsed);
            }
        }
        self.settle(choices);
        // Some phases are so short that nobody would leave in them by chance.
        if choices.once_in(if self.model.is_brief() { 4 } else { 60 }) {
            self.visitor.leaves = Some(self.elapsed + Duration::from_millis(choices.below(200)));
        }
        self.lag = match choices.below(8) {
            0..=4 => Duration::ZERO,
            5 | 6 => Duration::from_millis(choices.below(30)),
            _ => Duration::from_millis(choices.below(20_000)),
        };
    }

    fn tell(&mut self, told: &Told, asked: Asked) {
        let answer = self.answer_of(told, asked);
        self.session.answer(answer, self.now());
        self.model.answer(told, self.elapsed);
    }

    /// Polls both until neither has anything more to say.
    fn settle(&mut self, choices: &mut Choices) {
        let mut output = Vec::new();
        loop {
            let effect = self.session.poll(&mut output);
            let seen = self.model.poll();
            self.transcript.sent(&std::mem::take(&mut output));
            assert_eq!(effect.as_ref().map(seen_as), seen, "{:?}", self.model);
            let Some(effect) = effect else { break };
            self.transcript.effect(effect);
            if let Some(Seen::Asks(asked)) = seen {
                self.ask(asked, choices);
            }
        }
        let deadline = self.session.deadline();
        let model = self.model.deadline().map(|deadline| self.birth + deadline);
        assert_eq!(deadline, model, "at {:?}: {:?}", self.elapsed, self.model);
        assert_eq!(names(&self.transcript), self.model.sent);
    }

    /// Has a question answered, at once or later or never.
    fn ask(&mut self, asked: Asked, choices: &mut Choices) {
        if let Some((_, told, asked)) = self.answer.take() {
            self.late.push((told, asked));
        }
        let good = !choices.once_in(5);
        let told = match asked {
            Asked::Route => Told::Route(self.plan.clone()),
            Asked::Status => Told::Status(good),
            Asked::Decrypt => Told::Secret,
            Asked::Authenticate => Told::Profile(good),
            Asked::Choose => Told::Target(good),
            Asked::Localize => Told::Text,
        };
        match choices.below(6) {
            0 | 1 => self.tell(&told, asked),
            2..=4 => self.answer = Some((self.elapsed + pause(choices), told, asked)),
            _ => {}
        }
    }

    /// What nobody waits for any more, must change nothing; and what the client sent must have arrived.
    fn conclude(mut self, choices: &mut Choices) -> String {
        for (told, asked) in std::mem::take(&mut self.late) {
            self.tell(&told, asked);
        }
        self.elapsed += Duration::from_secs(choices.below(1_000));
        let now = self.now();
        self.session.tick(now);
        self.session.hang_up(now);
        self.session.receive(b"\x01\x00", now);
        self.settle(choices);
        assert!(!self.session.wants_input());
        assert!(self.transcript.is_over());
        self.check_replay();
        match (&self.transcript.end, &self.transcript.handoff) {
            (Some(end), _) => format!("{end:?}"),
            (None, Some(_)) => "Relay".to_owned(),
            (None, None) => String::new(),
        }
    }

    /// A relay's target reads everything that has arrived, in order, and the handshake first.
    fn check_replay(&self) {
        let Some(handoff) = &self.transcript.handoff else {
            return;
        };
        let mut arrived = &self.visitor.written[..self.visitor.arrived];
        if self.visitor.behind_a_proxy {
            let header = arrived.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            arrived = &arrived[header..];
        }
        if self.plan == Plan::Relay(RewriteHost::Keep) {
            return assert_eq!(handoff.replay, arrived);
        }
        let after_handshake = |bytes: &[u8]| bytes[usize::from(bytes[0]) + 1..].to_vec();
        assert_eq!(after_handshake(&handoff.replay), after_handshake(arrived));
        let host = target().host.clone();
        let rewritten = handoff
            .replay
            .windows(host.len())
            .any(|window| window == host.as_bytes());
        assert!(rewritten, "the handshake names the target");
    }

    fn answer_of(&self, told: &Told, asked: Asked) -> Answer {
        match told {
            Told::Route(plan) => Answer::Route(route_plan(plan)),
            Told::Status(good) => Answer::Status(good.then(status)),
            Told::Secret => {
                let right = self.model.secret_is_right();
                Answer::Secret(right.then(|| SharedSecret::new(SECRET)))
            }
            Told::Profile(true) => Answer::Profile(Ok(profile("Alice", ALICE))),
            Told::Profile(false) => Answer::Profile(Err(refusal("disconnect_not_authenticated", CAUSE))),
            Told::Target(true) => Answer::Target(Ok(target())),
            Told::Target(false) => Answer::Target(Err(refusal("disconnect_no_target", CAUSE))),
            Told::Text => Answer::Text(format!(r#"{{"text":"{asked:?}"}}"#)),
        }
    }
}

/// How the route that this client comes to treats it.
fn plan(visitor: &Visitor, choices: &mut Choices) -> Plan {
    use passage_proto::packet::handshake::Intent;
    if choices.once_in(8) {
        return choices.one_of(&[Plan::Nowhere, Plan::Refuse]);
    }
    if visitor.intent == Intent::Status {
        return Plan::Status;
    }
    match choices.below(4) {
        0 | 1 => {
            let cookies = !choices.once_in(3);
            Plan::Transfer {
                encrypt: cookies || choices.once_in(2),
                cookies,
                new_enough: visitor.protocol >= 766,
            }
        }
        2 => Plan::Transfer {
            encrypt: false,
            cookies: false,
            new_enough: visitor.protocol >= 766,
        },
        _ => Plan::Relay(choices.one_of(&[RewriteHost::Keep, RewriteHost::Target])),
    }
}

fn route_plan(plan: &Plan) -> Option<RoutePlan> {
    Some(match plan {
        Plan::Nowhere => return None,
        Plan::Status => RoutePlan::Status,
        Plan::Refuse => RoutePlan::Refuse(refusal("disconnect_overloaded", CAUSE)),
        Plan::Relay(rewrite_host) => RoutePlan::Relay(RelayPlan {
            rewrite_host: rewrite_host.clone(),
        }),
        Plan::Transfer { encrypt, cookies, .. } => RoutePlan::Transfer(LoginPlan {
            encrypt: *encrypt,
            client_must_authenticate: *encrypt,
            cookies: cookies.then(keys),
            public_key: Arc::from(&b"a public key"[..]),
        }),
    })
}

fn seen_as(effect: &Effect) -> Seen {
    match effect {
        Effect::Ask(question) => Seen::Asks(match question {
            Question::Route(_) => Asked::Route,
            Question::Status(_) => Asked::Status,
            Question::Decrypt(_) => Asked::Decrypt,
            Question::Authenticate(_) => Asked::Authenticate,
            Question::Choose(_) => Asked::Choose,
            Question::Localize(_) => Asked::Localize,
        }),
        Effect::Relay(_) => Seen::Ends(Outcome::Relayed),
        Effect::Close(end) => Seen::Ends(match end {
            End::StatusServed | End::Pinged => Outcome::Served,
            End::Transferred => Outcome::Transferred,
            End::Refused(cause) => Outcome::Refused(*cause),
            End::NoRoute => Outcome::NoRoute,
            End::Unsupported => Outcome::Unsupported,
            End::Fault(_) => Outcome::Fault,
            End::TimedOut(stage) => Outcome::TimedOut(*stage),
            End::HungUp(stage) => Outcome::HungUp(*stage),
            End::Bug => panic!("the session found a bug of its caller"),
        }),
    }
}

/// The packets that a client has read, by their names.
fn names(transcript: &Transcript) -> Vec<&str> {
    let sent = transcript
        .lines
        .iter()
        .filter_map(|line| line.strip_prefix("sends "));
    sent.map(|line| {
        let end = line
            .find(|c: char| !(c.is_ascii_alphabetic() || c == ':'))
            .unwrap_or(line.len());
        line[..end].trim_end_matches(':')
    })
    .collect()
}

fn at(birth: Instant, elapsed: Time, wall: i64) -> Now {
    Now {
        instant: birth + elapsed,
        unix_seconds: (BIRTH + elapsed.as_secs()).saturating_add_signed(wall),
    }
}
