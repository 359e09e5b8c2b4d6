//! The world around a session: its clock, its answers, and what it sees of the session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::cookie::CookieKeys;
use passage_proto::identity::{Profile, Property, SharedSecret};
use passage_proto::question::{
    Answer, AskError, LoginPlan, Message, Purpose, Question, Refusal, RelayPlan, RewriteHost, RoutePlan,
    Target,
};
use passage_proto::session::{Bounds, Effect, ProxyExpectation, Session, Setup};
use passage_proto::status::{Players, StatusDocument, StatusReply};
use passage_proto::{Now, session};
use uuid::Uuid;

use crate::client::{ENTROPY, Event};
use crate::transcript::Transcript;

/// The wall clock at a session's birth.
pub(crate) const BIRTH: u64 = 1_790_000_000;

pub(crate) const SECRET: &[u8] = b"a secret of no less than 16 bytes";

pub(crate) const ALICE: Uuid = Uuid::from_u128(0xA11CE);
pub(crate) const MALLORY: Uuid = Uuid::from_u128(0x3A1102);

/// What the world answers. `None` for a question that it never answers.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) plan: Option<RoutePlan>,
    pub(crate) status: Option<Arc<StatusReply>>,
    pub(crate) profile: Option<Result<Profile, Refusal>>,
    pub(crate) target: Option<Result<Arc<Target>, Refusal>>,
    /// The trace that the shard goes on with.
    pub(crate) traceparent: Option<&'static str>,
    /// Whether disconnect messages get their words.
    pub(crate) speaks: bool,
    /// Whether questions are answered at all.
    pub(crate) answers: bool,
}

impl World {
    /// A route that answers pings, with a login of nobody.
    pub(crate) fn status() -> Self {
        Self {
            setup: setup(),
            plan: Some(RoutePlan::Status),
            status: Some(status()),
            profile: None,
            target: None,
            traceparent: None,
            speaks: true,
            answers: true,
        }
    }

    /// A transfer route with everything: encryption, Mojang-like authentication, cookies.
    pub(crate) fn transfer() -> Self {
        let plan = LoginPlan {
            encrypt: true,
            client_must_authenticate: true,
            cookies: Some(keys()),
            public_key: Arc::from(&b"a public key"[..]),
        };
        let profile = Some(Ok(profile("Alice", ALICE)));
        Self {
            plan: Some(RoutePlan::Transfer(plan)),
            profile,
            target: Some(Ok(target())),
            ..Self::status()
        }
    }

    /// A transfer route without encryption or cookies, where everybody is who they say.
    pub(crate) fn open_transfer() -> Self {
        let plan = LoginPlan {
            encrypt: false,
            client_must_authenticate: false,
            cookies: None,
            public_key: Arc::from(&b""[..]),
        };
        Self {
            plan: Some(RoutePlan::Transfer(plan)),
            ..Self::transfer()
        }
    }

    pub(crate) fn relay(rewrite_host: RewriteHost) -> Self {
        let plan = Some(RoutePlan::Relay(RelayPlan { rewrite_host }));
        Self {
            plan,
            target: Some(Ok(target())),
            ..Self::status()
        }
    }

    pub(crate) fn nowhere() -> Self {
        Self {
            plan: None,
            ..Self::status()
        }
    }

    pub(crate) fn behind_a_proxy(mut self) -> Self {
        self.setup.proxy = ProxyExpectation::Required { v1: true, v2: true };
        self
    }

    /// What a caller that knows what it does says to this client.
    fn plan_for(&self, purpose: Purpose) -> Option<RoutePlan> {
        match (&self.plan, purpose) {
            (Some(RoutePlan::Status), Purpose::Login) => None,
            (Some(RoutePlan::Transfer(_) | RoutePlan::Relay(_)), Purpose::Status) => Some(RoutePlan::Status),
            (plan, _) => plan.clone(),
        }
    }

    fn answer(&self, question: &Question) -> Option<Answer> {
        if !self.answers {
            return None;
        }
        Some(match question {
            Question::Route(query) => Answer::Route(self.plan_for(query.purpose)),
            Question::Status(_) => Answer::Status(self.status.clone()),
            Question::Decrypt(encrypted) => Answer::Secret(
                (encrypted.verify_token == encrypted.expected_token
                    && encrypted.shared_secret == crate::client::SECRET)
                    .then(|| SharedSecret::new(crate::client::SECRET)),
            ),
            Question::Authenticate(_) => Answer::Profile(self.profile.clone()?),
            Question::Choose(_) => Answer::Target(self.target.clone()?),
            Question::Localize(query) if self.speaks => {
                let locale = query.locale.as_deref().unwrap_or("no locale");
                Answer::Text(format!(r#"{{"text":"{} in {locale}"}}"#, query.message.key))
            }
            Question::Localize(_) => return None,
        })
    }
}

/// A session under way.
pub(crate) struct Run {
    pub(crate) session: Session,
    pub(crate) transcript: Transcript,
    world: World,
    birth: Instant,
    elapsed: Duration,
}

impl Run {
    pub(crate) fn new(world: World) -> Self {
        let birth = Instant::now();
        let now = Now {
            instant: birth,
            unix_seconds: BIRTH,
        };
        let session = Session::new(world.setup.clone(), ENTROPY, now);
        Self {
            session,
            transcript: Transcript::default(),
            world,
            birth,
            elapsed: Duration::ZERO,
        }
    }

    /// Plays a whole script.
    pub(crate) fn play(world: World, script: &[Event]) -> Transcript {
        let mut run = Self::new(world);
        for event in script {
            run.happen(event);
        }
        run.transcript.learn(run.session.facts());
        run.transcript
    }

    pub(crate) fn happen(&mut self, event: &Event) {
        match event {
            Event::Bytes(bytes) => self.receive(bytes),
            Event::Wait(time) => self.wait(*time),
            Event::HangUp => {
                self.session.hang_up(self.now());
                self.settle();
            }
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            instant: self.birth + self.elapsed,
            unix_seconds: BIRTH + self.elapsed.as_secs(),
        }
    }

    pub(crate) fn answer(&mut self, answer: Answer) {
        self.session.answer(answer, self.now());
        self.settle();
    }

    fn receive(&mut self, bytes: &[u8]) {
        if self.transcript.is_over() {
            return self.transcript.relayed(bytes);
        }
        assert!(
            self.session.wants_input(),
            "a session that waits for nothing refuses input"
        );
        let missing = self.session.missing_bytes();
        let so_far = (self.transcript.lines.len(), self.transcript.output.len());
        self.session.receive(bytes, self.now());
        self.settle();
        if bytes.len() < missing {
            let now = (self.transcript.lines.len(), self.transcript.output.len());
            assert_eq!(so_far, now, "{missing} bytes were said to be missing");
            assert_eq!(self.session.missing_bytes(), missing - bytes.len());
        }
    }

    /// Lets time pass as a shard does: a tick at every deadline on the way.
    fn wait(&mut self, time: Duration) {
        let until = self.elapsed + time;
        while let Some(deadline) = self.session.deadline()
            && deadline <= self.birth + until
        {
            self.elapsed = deadline.saturating_duration_since(self.birth).max(self.elapsed);
            self.session.tick(self.now());
            self.settle();
        }
        self.elapsed = until;
    }

    /// Drains the session, answering what the world has an answer for.
    pub(crate) fn settle(&mut self) {
        let mut output = Vec::new();
        while let Some(effect) = self.session.poll(&mut output) {
            self.transcript.sent(&std::mem::take(&mut output));
            let answer = match &effect {
                Effect::Ask(question) => self.world.answer(question),
                Effect::Relay(_) | Effect::Close(_) => None,
            };
            if let (Effect::Ask(Question::Choose(_)), Some(traceparent)) = (&effect, self.world.traceparent) {
                self.session.set_traceparent(traceparent);
            }
            self.transcript.effect(effect);
            if let Some(answer) = answer {
                self.session.answer(answer, self.now());
            }
        }
        self.transcript.sent(&output);
    }
}

pub(crate) fn setup() -> Setup {
    Setup {
        peer: SocketAddr::from(([192, 0, 2, 1], 50_000)),
        proxy: ProxyExpectation::Direct,
        bounds: bounds(),
    }
}

pub(crate) fn bounds() -> Bounds {
    Bounds {
        frame_bytes: 10_000,
        handshake: Duration::from_secs(5),
        step: Duration::from_secs(30),
        total: Duration::from_secs(120),
        cookie_expiry_seconds: 21_600,
    }
}

pub(crate) fn keys() -> Arc<CookieKeys> {
    Arc::new(CookieKeys::new(SECRET, None).unwrap())
}

pub(crate) fn profile(name: &str, id: Uuid) -> Profile {
    let textures = Property {
        name: "textures".to_owned(),
        value: format!("textures of {name}"),
        signature: Some("a signature".to_owned()),
    };
    Profile {
        id,
        name: name.to_owned(),
        properties: vec![textures],
    }
}

pub(crate) fn target() -> Arc<Target> {
    Arc::new(Target {
        identifier: "lobby-1".to_owned(),
        host: "lobby.internal.example".to_owned(),
        port: 25_566,
        priority: 0,
        meta: [].into(),
    })
}

pub(crate) fn refusal(key: &'static str, cause: AskError) -> Refusal {
    Refusal {
        message: Message {
            key: key.into(),
            params: Vec::new(),
        },
        cause,
    }
}

pub(crate) fn status() -> Arc<StatusReply> {
    let players = Players {
        online: 3,
        max: 20,
        sample: Vec::new(),
    };
    let document = StatusDocument {
        version_name: "Passage".to_owned(),
        preferred: 770,
        minimum: 47,
        maximum: 777,
        players: Some(players),
        description: Some(r#"{"text":"Hello"}"#.to_owned()),
        favicon: None,
        enforces_secure_chat: None,
    };
    Arc::new(StatusReply::new(&document).unwrap())
}

pub(crate) type End = session::End;
