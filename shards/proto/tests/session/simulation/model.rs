//! A conversation as it ought to go, packet by packet: no bytes, no cipher, no buffers.

use std::collections::VecDeque;
use std::time::Duration;

use passage_proto::packet::handshake::Intent;
use passage_proto::question::{AskError, RewriteHost};
use passage_proto::session::Stage;

/// When something happens, since the connection was accepted.
pub(crate) type Time = Duration;

const HANDSHAKE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_secs(30);
const TOTAL: Duration = Duration::from_secs(120);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const LOCALE: Duration = Duration::from_millis(250);
const WORDS: Duration = Duration::from_secs(2);

/// What a client sends, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Packet {
    /// A PROXY header, and whether the client is somebody else than the peer by its word.
    Proxy {
        elsewhere: bool,
    },
    Handshake(Intent),
    Request,
    Ping,
    Start,
    SessionCookie,
    /// The authentication cookie, and whether it proves anything when it arrives.
    AuthCookie {
        proves: bool,
    },
    /// The encryption response, and whether it carries the right token.
    Secret {
        right: bool,
    },
    Acknowledged,
    Information,
    KeepAlive(u32),
    Chatter,
    /// What is wrong everywhere.
    Nonsense,
    /// What only a relay's target understands.
    Foreign,
}

/// How a route treats the client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plan {
    Nowhere,
    Status,
    Transfer {
        encrypt: bool,
        cookies: bool,
        new_enough: bool,
    },
    Relay(RewriteHost),
    Refuse,
}

/// The cause of every refusal of these worlds.
pub(crate) const CAUSE: AskError = AskError::Denied;

/// What the session is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Route(Plan),
    Status(bool),
    Secret,
    Profile(bool),
    Target(bool),
    Text,
}

/// What the session wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Route,
    Status,
    Decrypt,
    Authenticate,
    Choose,
    Localize,
}

/// How a conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Served,
    Transferred,
    Refused(AskError),
    NoRoute,
    Unsupported,
    Fault,
    TimedOut(Stage),
    HungUp(Stage),
    Relayed,
}

/// What is seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Asks(Asked),
    Ends(Outcome),
}

#[derive(Clone, Debug, PartialEq)]
enum At {
    Proxy,
    Handshake,
    Routing(Intent),
    Status { served: bool, prepared: bool },
    StatusAnswer { routed: bool },
    Start,
    SessionCookie,
    AuthCookie,
    Encryption { proven: bool },
    Decryption { proven: bool, right: bool },
    Authentication,
    Acknowledgement,
    Configuration,
    Parting,
    RelayedLogin,
    RelayTarget,
    Farewell(Outcome),
    Over,
}

/// The model.
#[derive(Debug)]
pub(crate) struct Model {
    at: At,
    now: Time,
    alarm: Option<Time>,
    total: Option<Time>,
    stage: Stage,
    /// The client would read a message.
    listens: bool,
    waiting: VecDeque<Packet>,
    seen: Option<Seen>,
    plan: Plan,
    transferred: bool,
    locale: bool,
    keep_alives: u32,
    /// The keep-alive that the client has not answered.
    pub(crate) unanswered: Option<u32>,
    /// The packets that the client has got, by their names.
    pub(crate) sent: Vec<&'static str>,
}

impl Model {
    pub(crate) fn new(behind_a_proxy: bool) -> Self {
        Self {
            at: if behind_a_proxy { At::Proxy } else { At::Handshake },
            now: Time::ZERO,
            alarm: Some(HANDSHAKE),
            total: Some(TOTAL),
            stage: if behind_a_proxy {
                Stage::ProxyHeader
            } else {
                Stage::Handshake
            },
            listens: false,
            waiting: VecDeque::new(),
            seen: None,
            plan: Plan::Nowhere,
            transferred: false,
            locale: false,
            keep_alives: 0,
            unanswered: None,
            sent: Vec::new(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.alarm.into_iter().chain(self.total).min()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.at == At::Over
    }

    /// Whether the encryption response that is being deciphered carries the right token.
    pub(crate) fn secret_is_right(&self) -> bool {
        matches!(self.at, At::Decryption { right: true, .. })
    }

    /// Whether the conversation will not stay where it is for long.
    pub(crate) fn is_brief(&self) -> bool {
        matches!(self.at, At::Parting | At::Farewell(_))
    }

    pub(crate) fn receive(&mut self, packets: impl IntoIterator<Item = Packet>, now: Time) {
        self.now = now;
        if !self.is_over() {
            self.waiting.extend(packets);
            self.read();
        }
    }

    /// The next thing that is seen from outside.
    pub(crate) fn poll(&mut self) -> Option<Seen> {
        if self.seen.is_none() {
            self.read();
        }
        self.seen.take()
    }

    pub(crate) fn hang_up(&mut self, now: Time) {
        self.now = now;
        let outcome = match self.at {
            At::Over => return,
            At::Status { served: true, .. } => Outcome::Served,
            At::Parting => Outcome::Refused(CAUSE),
            At::Farewell(outcome) => outcome,
            _ => Outcome::HungUp(self.stage),
        };
        self.end(outcome);
    }

    pub(crate) fn tick(&mut self, now: Time) {
        let due = |moment: Option<Time>| moment.is_some_and(|moment| moment <= now);
        let (expired, rings) = (due(self.total), due(self.alarm));
        if !expired && !rings {
            return;
        }
        self.now = now;
        self.alarm = None;
        match (&self.at, expired) {
            (At::Status { served: true, .. }, _) => self.end(Outcome::Served),
            (At::Farewell(outcome), _) => {
                let outcome = *outcome;
                self.part(outcome);
            }
            (At::Parting, false) => self.refuse(Outcome::Refused(CAUSE)),
            (At::Configuration, false) if self.unanswered.is_none() => {
                self.sent.push("KeepAlive");
                self.unanswered = Some(self.keep_alives);
                self.keep_alives += 1;
                self.alarm = Some(now + KEEP_ALIVE);
            }
            _ => self.refuse(Outcome::TimedOut(self.stage)),
        }
    }

    pub(crate) fn answer(&mut self, told: &Told, now: Time) {
        self.now = now;
        match (self.at.clone(), told) {
            (At::Routing(intent), Told::Route(plan)) => self.route(intent, plan),
            (At::StatusAnswer { routed }, Told::Status(true)) => {
                if routed {
                    self.sent.push("Response");
                }
                self.step(At::Status {
                    served: routed,
                    prepared: !routed,
                });
            }
            (At::StatusAnswer { routed: true }, Told::Status(false)) => {
                self.end(Outcome::Refused(AskError::Failed));
            }
            (At::StatusAnswer { routed: false }, Told::Status(false)) => self.end(Outcome::NoRoute),
            (At::Decryption { right: false, .. }, Told::Secret) => self.refuse(Outcome::Fault),
            (At::Decryption { proven, .. }, Told::Secret) => {
                self.listens = true;
                self.authenticate(proven);
            }
            (At::Authentication, Told::Profile(true)) => self.succeed(),
            (At::Configuration, Told::Target(true)) => {
                if matches!(self.plan, Plan::Transfer { cookies: true, .. }) {
                    self.sent.push("passage:authentication");
                }
                self.sent.extend(["passage:session", "Transfer"]);
                self.end(Outcome::Transferred);
            }
            (At::Configuration, Told::Target(false)) if !self.locale => {
                self.at = At::Parting;
                self.alarm = Some(now + LOCALE);
            }
            (At::RelayTarget, Told::Target(true)) => self.end(Outcome::Relayed),
            (At::Authentication, Told::Profile(false))
            | (At::Configuration | At::RelayTarget, Told::Target(false)) => {
                self.refuse(Outcome::Refused(CAUSE));
            }
            (At::Farewell(outcome), Told::Text) => self.part(outcome),
            (At::Farewell(_) | At::Over, _) => {}
            (at, told) => panic!("{told:?} was told at {at:?}"),
        }
        self.read();
    }

    fn route(&mut self, intent: Intent, plan: &Plan) {
        self.plan = plan.clone();
        match (plan, intent) {
            (Plan::Nowhere, Intent::Status) => {
                self.at = At::StatusAnswer { routed: false };
                self.ask(Asked::Status);
            }
            (Plan::Nowhere, _) => self.refuse(Outcome::NoRoute),
            (Plan::Refuse, _) => self.refuse(Outcome::Refused(CAUSE)),
            (Plan::Status, _) => self.step(At::Status {
                served: false,
                prepared: false,
            }),
            (Plan::Relay(_), _) => self.step(At::RelayedLogin),
            (
                Plan::Transfer {
                    new_enough: false, ..
                },
                _,
            ) => self.refuse(Outcome::Unsupported),
            (Plan::Transfer { .. }, _) => self.step(At::Start),
        }
    }

    /// Reads what has come, until there is something to see.
    fn read(&mut self) {
        while self.seen.is_none() && self.reads() {
            let Some(packet) = self.waiting.pop_front() else {
                return;
            };
            self.packet(packet);
        }
    }

    fn reads(&self) -> bool {
        !matches!(
            self.at,
            At::Routing(_)
                | At::StatusAnswer { .. }
                | At::Decryption { .. }
                | At::Authentication
                | At::RelayTarget
                | At::Over
        )
    }

    fn packet(&mut self, packet: Packet) {
        match (self.at.clone(), packet) {
            (At::Proxy, Packet::Proxy { .. }) => {
                (self.at, self.stage) = (At::Handshake, Stage::Handshake);
            }
            (At::Handshake, Packet::Handshake(intent)) => {
                let ping = intent == Intent::Status;
                (self.listens, self.transferred) = (!ping, intent == Intent::Transfer);
                self.stage = if ping { Stage::Status } else { Stage::Login };
                self.at = At::Routing(intent);
                self.ask(Asked::Route);
            }
            (At::Status { .. }, Packet::Ping) => {
                self.sent.push("Pong");
                self.end(Outcome::Served);
            }
            (At::Status { prepared: true, .. }, Packet::Request) => {
                self.sent.push("Response");
                self.step(At::Status {
                    served: true,
                    prepared: false,
                });
            }
            (At::Status { served: false, .. }, Packet::Request) => {
                self.at = At::StatusAnswer { routed: true };
                self.ask(Asked::Status);
            }
            (At::RelayedLogin, Packet::Start) => {
                self.at = At::RelayTarget;
                self.ask(Asked::Choose);
            }
            (At::Parting, _) => self.hear_in_parting(packet),
            (At::Farewell(_), _) => {}
            (at, packet) => self.login_packet(&at, packet),
        }
    }

    fn login_packet(&mut self, at: &At, packet: Packet) {
        match (at, packet) {
            (At::Start, Packet::Start) => {
                self.sent.push("CookieRequest");
                if self.may_carry_proof() {
                    self.sent.push("CookieRequest");
                }
                self.step(At::SessionCookie);
            }
            (At::SessionCookie, Packet::SessionCookie) if self.may_carry_proof() => self.step(At::AuthCookie),
            (At::SessionCookie, Packet::SessionCookie) => self.encrypt(false),
            (At::AuthCookie, Packet::AuthCookie { proves }) => self.encrypt(proves),
            (At::Encryption { proven }, Packet::Secret { right }) => {
                self.listens = false;
                self.at = At::Decryption {
                    proven: *proven,
                    right,
                };
                self.ask(Asked::Decrypt);
            }
            (At::Acknowledgement, Packet::Acknowledged) => {
                (self.at, self.stage) = (At::Configuration, Stage::Configuration);
                self.ask(Asked::Choose);
                self.alarm = Some(self.now + KEEP_ALIVE);
            }
            (At::Configuration, Packet::Information) => self.locale = true,
            (At::Configuration, Packet::KeepAlive(id)) if self.unanswered == Some(id) => {
                self.unanswered = None;
            }
            (At::Configuration, Packet::Chatter) => {}
            _ => self.refuse(Outcome::Fault),
        }
    }

    fn hear_in_parting(&mut self, packet: Packet) {
        match packet {
            Packet::KeepAlive(_) | Packet::Chatter => {}
            Packet::Information => {
                self.locale = true;
                self.refuse(Outcome::Refused(CAUSE));
            }
            _ => self.refuse(Outcome::Refused(CAUSE)),
        }
    }

    fn encrypt(&mut self, proven: bool) {
        if matches!(self.plan, Plan::Transfer { encrypt: true, .. }) {
            self.sent.push("EncryptionRequest");
            self.step(At::Encryption { proven });
        } else {
            self.authenticate(proven);
        }
    }

    fn authenticate(&mut self, proven: bool) {
        if proven {
            self.succeed();
        } else {
            self.at = At::Authentication;
            self.ask(Asked::Authenticate);
        }
    }

    fn succeed(&mut self) {
        self.sent.push("Success");
        self.step(At::Acknowledgement);
    }

    fn may_carry_proof(&self) -> bool {
        self.transferred && matches!(self.plan, Plan::Transfer { cookies: true, .. })
    }

    fn step(&mut self, at: At) {
        self.at = at;
        self.alarm = Some(self.now + STEP);
    }

    fn ask(&mut self, asked: Asked) {
        self.alarm = None;
        self.seen = Some(Seen::Asks(asked));
    }

    fn refuse(&mut self, outcome: Outcome) {
        if !self.listens {
            return self.end(outcome);
        }
        self.at = At::Farewell(outcome);
        self.waiting.clear();
        self.ask(Asked::Localize);
        self.alarm = Some(self.now + WORDS);
        self.total = None;
    }

    fn part(&mut self, outcome: Outcome) {
        self.sent.push("Disconnect");
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        self.at = At::Over;
        (self.alarm, self.total) = (None, None);
        self.waiting.clear();
        self.seen = Some(Seen::Ends(outcome));
    }
}
