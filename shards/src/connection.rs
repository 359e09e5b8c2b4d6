//! One connection: socket events go into its session, the session's effects go out.
//!
//! A turn takes one event, has the session answer it, answers its questions as far as the shard knows the
//! answers, and sends all output with one write. What only the control thread knows is asked
//! ([`crate::ask`]); the answer is one more event. When the session ends, so does the driver, or it hands the
//! sockets over to the relay.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::thread;

use futures_lite::FutureExt;
use passage_proto::session::{Effect, End, Handoff, ProxyExpectation, Session, Setup, Stage};
use passage_proto::text::keys;

use self::choosing::Choosing;
use self::errand::Errand;
use crate::admission::{Laggard, LoginSeat, Seat, Shed};
use crate::engine::{Event, Socket};
use crate::limits::LINGER;
use crate::outcome::{Outcome, Record};
use crate::pool::panic_message;
use crate::report::Panicked;
use crate::route::Counted;
use crate::shard::{Enrolment, Gate, RouteRef, Shard};
use crate::trace::SpanName;

mod answers;
mod choosing;
mod errand;
mod hand_over;
mod status;
mod words;

/// Starts serving a connection. A panic in it is caught here, counted by its [`Record`] and reported; nothing
/// of it reaches the shard.
pub(crate) fn spawn(
    shard: &Rc<Shard>,
    socket: Socket,
    peer: SocketAddr,
    seat: Seat,
    proxy: ProxyExpectation,
) {
    let Some(connection) = Connection::new(shard, socket, peer, seat, proxy) else {
        tracing::error!(target: "passage::connection", "The kernel gives no random bytes: connection closed");
        return;
    };
    let shard = Rc::clone(shard);
    let supervised = async move {
        if let Err(panic) = AssertUnwindSafe(connection.serve()).catch_unwind().await {
            let panicked = shard.take_panic().unwrap_or_else(|| Panicked::new(peer));
            panicked.report();
            panicked.log(panic_message(&*panic));
        }
    };
    glommio::spawn_local(supervised).detach();
}

struct Connection {
    // First, so that the end is recorded before the seat is free again: a drain ends when the last seat is.
    record: Record,
    shard: Rc<Shard>,
    socket: Socket,
    session: Witness,
    seat: Seat,
    /// Behind a balancer, until its PROXY header is read.
    is_anonymous: bool,
    has_spoken: bool,
    login: Option<LoginSeat>,
    /// While something is awaited from the client, and not from us.
    awaited: Option<Laggard>,
    route: Option<RouteRef>,
    errand: Option<Errand>,
    /// How a relayed player's target was chosen, for the case that it cannot be dialled.
    choosing: Option<Box<Choosing>>,
    /// The player counts for this target's load.
    counted: Option<Counted>,
    enrolment: Enrolment,
}

/// The session, which tells what it knows when its connection panics.
struct Witness {
    session: Session,
    shard: Rc<Shard>,
}

impl Deref for Witness {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Witness {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        if thread::panicking() {
            let facts = self.session.facts();
            self.shard
                .note_panic(facts.client, |panicked| panicked.identify(facts));
        }
    }
}

/// What a turn leads to.
enum Turn {
    Wait,
    Close(End),
    Relay(Box<Handoff>),
}

/// How the conversation with the session ends.
enum Ending {
    /// With what the session says; the client may still have to read it.
    Said(End),
    /// With the message of this key, if the client would read one.
    Dismissed(&'static str, Outcome),
    /// Without another word.
    Silent(Outcome),
    Relay(Box<Handoff>),
}

impl Ending {
    /// The end of a connection that has to go for a reason of ours. Who had a place as a login is told why;
    /// who was not let in is not worth a message.
    fn of_dismissal(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Shed(Shed::LoginsFull) => Self::Dismissed(keys::DISCONNECT_OVERLOADED, outcome),
            Outcome::Cut => Self::Dismissed(keys::DISCONNECT_SHUTDOWN, outcome),
            _ => Self::Silent(outcome),
        }
    }
}

impl Connection {
    fn new(
        shard: &Rc<Shard>,
        socket: Socket,
        peer: SocketAddr,
        seat: Seat,
        proxy: ProxyExpectation,
    ) -> Option<Self> {
        let setup = Setup {
            peer,
            proxy,
            bounds: shard.terms.bounds,
        };
        let enrolment = shard.enroll(socket.notifier());
        Some(Self {
            record: Record::new(Rc::clone(shard), peer),
            session: Witness {
                session: Session::new(setup, shard.entropy()?, shard.now()),
                shard: Rc::clone(shard),
            },
            seat,
            is_anonymous: proxy != ProxyExpectation::Direct,
            has_spoken: false,
            login: None,
            // At once: many may come in one turn, before any of their tasks runs.
            awaited: Some(shard.admission.newcomers.await_one(enrolment.number())),
            route: None,
            errand: None,
            choosing: None,
            counted: None,
            enrolment,
            shard: Rc::clone(shard),
            socket,
        })
    }

    async fn serve(mut self) {
        match self.converse().await {
            Ending::Said(end) => self.close(end),
            Ending::Dismissed(key, outcome) => Box::pin(self.dismiss(key, outcome)).await,
            Ending::Silent(outcome) => self.record.ended(outcome, self.session.facts()),
            // Boxed, so that connections that never get there do not carry its state.
            Ending::Relay(handoff) => Box::pin(self.hand_over(handoff)).await,
        }
    }

    async fn converse(&mut self) -> Ending {
        loop {
            let mut output = Vec::new();
            let before = self.session.stage();
            let turn = self.turn(&mut output);
            let stage = self.session.stage();
            self.record.reached(stage);
            if stage != before || !output.is_empty() || !matches!(turn, Turn::Wait) {
                self.awaited = None;
            }
            if output.is_empty() {
                self.shard.return_scratch(output);
            } else if let Err(outcome) = self.send(output).await {
                return Ending::Silent(outcome);
            }
            match turn {
                Turn::Wait => {}
                Turn::Close(end) => return Ending::Said(end),
                Turn::Relay(handoff) => return Ending::Relay(handoff),
            }
            self.take_place();
            if let Err(outcome) = self.wait().await {
                return Ending::of_dismissal(outcome);
            }
        }
    }

    /// Does all that the session wants before it waits again.
    fn turn(&mut self, output: &mut Vec<u8>) -> Turn {
        while let Some(effect) = self.session.poll(output) {
            match effect {
                Effect::Ask(question) => {
                    self.session.lend(std::mem::take(output));
                    self.answer(question);
                }
                Effect::Close(end) => return Turn::Close(end),
                Effect::Relay(handoff) => return Turn::Relay(handoff),
            }
        }
        Turn::Wait
    }

    async fn send(&mut self, output: Vec<u8>) -> Result<(), Outcome> {
        self.has_spoken = true;
        // A session that is over has no deadline of its own any more.
        let deadline = self
            .session
            .deadline()
            .unwrap_or_else(|| self.shard.engine.now() + LINGER);
        let stage = self.session.stage();
        self.socket
            .send(output, Some(deadline))
            .await
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::TimedOut => Outcome::TimedOut(stage),
                _ => Outcome::HungUp(stage),
            })
    }

    /// Takes the last place among those that are awaited, unless the connection has one already: then there
    /// was no progress since. Who waits for us has none.
    fn take_place(&mut self) {
        let admission = &self.shard.admission;
        let laggards = if self.login.is_some() {
            &admission.entrants
        } else {
            &admission.newcomers
        };
        if self.errand.is_some() {
            self.awaited = None;
        } else if self.awaited.as_ref().is_none_or(|place| !place.is_of(laggards)) {
            self.awaited = Some(laggards.await_one(self.enrolment.number()));
        }
    }

    /// A connection that is given up has no say any more.
    fn check_patience(&self) -> Result<(), Outcome> {
        let is_given_up = self.awaited.as_ref().is_some_and(Laggard::is_given_up);
        match is_given_up {
            false => Ok(()),
            true if self.login.is_some() => Err(Outcome::Shed(Shed::LoginsFull)),
            true => Err(Outcome::Shed(Shed::ShardFull)),
        }
    }

    /// Waits for one event and tells the session.
    async fn wait(&mut self) -> Result<(), Outcome> {
        let patience = self.errand.as_ref().and_then(Errand::deadline);
        let deadline = self.session.deadline().into_iter().chain(patience).min();
        let event = self.socket.next(self.session.wants_input(), deadline).await;
        self.check_patience()?;
        let now = self.shard.now();
        let buffer = self.buffer();
        self.session.lend(buffer);
        match event {
            Event::Received(chunk) => {
                self.session.receive(&chunk, now);
                self.socket.expect_bytes(self.session.missing_bytes());
                self.identify()?;
            }
            Event::Ended | Event::Failed(_) => self.session.hang_up(now),
            Event::Deadline => {
                self.session.tick(now);
                self.pursue_errand(now);
            }
            Event::Notified => {
                self.check_gate()?;
                self.pursue_errand(now);
            }
        }
        Ok(())
    }

    /// Memory for what the session says next.
    fn buffer(&self) -> Vec<u8> {
        let scratch = self.shard.take_scratch();
        if scratch.capacity() > 0 {
            scratch
        } else {
            self.socket.take_buffer()
        }
    }

    /// Counts the connection as its client's, once a balancer's PROXY header says who that is. A balancer
    /// that speaks for itself (a health check) is nobody's client.
    fn identify(&mut self) -> Result<(), Outcome> {
        if !self.is_anonymous || self.session.stage() == Stage::ProxyHeader {
            return Ok(());
        }
        self.is_anonymous = false;
        let client = self.session.facts().client;
        if self.record.client() == client {
            return Ok(());
        }
        self.record.identified(client);
        self.seat
            .identify(client.ip().to_canonical(), self.shard.engine.now())
            .map_err(Outcome::Shed)
    }

    /// A drain sends away who has not said yet what it wants; the rest may finish until the deadline.
    fn check_gate(&self) -> Result<(), Outcome> {
        let is_idle = matches!(self.session.stage(), Stage::ProxyHeader | Stage::Handshake);
        match self.shard.gate() {
            Gate::Open => Ok(()),
            Gate::Draining { .. } if is_idle => Err(Outcome::Drained),
            Gate::Draining { .. } => Ok(()),
            Gate::Shut => Err(Outcome::Cut),
        }
    }

    fn close(mut self, end: End) {
        if end == End::Transferred
            && let Some(target) = &self.session.facts().target
        {
            self.shard.count(|meter| meter.target_connected(target));
            if let Some(trace) = self.record.trace() {
                trace.close(SpanName::TargetConnection, None, None);
            }
        }
        self.record.ended(end.into(), self.session.facts());
        // The kernel delivers what was said, but not to a client whose bytes find the connection closed. One
        // that has gone, or has its pong, sends none.
        let says_nothing_more = matches!(end, End::HungUp(_) | End::Pinged);
        if self.has_spoken && !says_nothing_more {
            self.socket.finish(LINGER);
        }
    }
}
