//! The loop that serves all connections to the admin listener from one thread, which nothing blocks.
//!
//! An admin port is scanned like any other: whoever sends nothing, or slowly, or too much, costs one of a few
//! places, and only until somebody else needs it.

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::warn;

use super::connection::{Connection, Event};
use super::health::Health;
use super::request::{Page, Request};
use super::response::Response;
use super::scrapers::Scrapers;
use crate::telemetry::aggregate::Reading;
use crate::telemetry::scrape::{Scrape, Scraped, Scraper};

/// Most connections at a time. With one more, the oldest that was not read from to the end has to go.
pub(super) const CONNECTIONS_MAX: usize = 32;

/// Most connections that are accepted before the others are served again.
const ACCEPTS_PER_TURN: usize = 8;

/// Most scrapes at a time, which bounds the memory of their answers.
const SCRAPES_MAX: usize = 4;

/// How long nothing is accepted after the system refused to.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);

/// What other threads tell the server.
pub(super) enum Message {
    /// The scrape of this connection is done.
    Scraped(u64, Scraped),
    /// End.
    Stop,
}

/// Wakes the server up for a message.
#[derive(Clone, Debug)]
pub(super) struct Bell {
    messages: Sender<Message>,
    wire: Arc<UnixStream>,
}

impl Bell {
    /// Sends a message; never blocks.
    pub(super) fn ring(&self, message: Message) {
        // Whom nobody hears any more does no harm, and a full wire wakes up as well as a fuller one.
        let _ = self.messages.send(message);
        let _ = (&*self.wire).write(&[1]);
    }
}

/// The server and all that it holds.
pub(super) struct Server {
    listener: TcpListener,
    accepts_from: Instant,
    wire: UnixStream,
    messages: Receiver<Message>,
    bell: Bell,
    health: Arc<Health>,
    scraper: Scraper,
    scrapers: Scrapers,
    connections: Vec<Connection>,
    next_id: u64,
}

impl Server {
    /// A server that has not begun.
    ///
    /// # Errors
    ///
    /// If the system lacks what it needs.
    pub(super) fn new(listener: TcpListener, health: Arc<Health>, scraper: Scraper) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (wire, other_end) = UnixStream::pair()?;
        wire.set_nonblocking(true)?;
        other_end.set_nonblocking(true)?;
        let (sender, messages) = unbounded();
        let now = Instant::now();
        Ok(Self {
            listener,
            accepts_from: now,
            wire,
            messages,
            bell: Bell {
                messages: sender,
                wire: Arc::new(other_end),
            },
            health,
            scraper,
            scrapers: Scrapers::new(now),
            connections: Vec::with_capacity(CONNECTIONS_MAX),
            next_id: 0,
        })
    }

    /// How to reach it.
    pub(super) fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Serves until it is told to stop, or for as long as it can: then `false`.
    pub(super) fn run(mut self) -> bool {
        loop {
            let Ok(awake) = self.wait() else {
                warn!("the admin listener cannot wait for its connections; it ends");
                return false;
            };
            let now = Instant::now();
            if awake.wire && !self.hear(now) {
                return true;
            }
            for (at, is_ready) in awake.connections.into_iter().enumerate() {
                if is_ready {
                    self.serve(at, now);
                }
            }
            for connection in &mut self.connections {
                if now >= connection.deadline() {
                    connection.expire(now);
                }
            }
            self.connections.retain(|connection| !connection.is_closed());
            if awake.listener {
                self.accept(now);
            }
        }
    }

    fn wait(&self) -> nix::Result<Awake> {
        let now = Instant::now();
        let accepts = if now >= self.accepts_from {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![
            PollFd::new(self.wire.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), accepts),
        ];
        fds.extend(self.connections.iter().map(|connection| {
            let (fd, flags) = connection.interest();
            PollFd::new(fd, flags)
        }));
        let pause = (accepts.is_empty()).then_some(self.accepts_from);
        let deadline = self
            .connections
            .iter()
            .map(Connection::deadline)
            .chain(pause)
            .min();
        match poll(
            &mut fds,
            deadline.map_or(PollTimeout::NONE, |deadline| timeout(deadline, now)),
        ) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(error),
        }
        let mut ready = fds.iter().map(|fd| fd.any().unwrap_or(true));
        Ok(Awake {
            wire: ready.next().unwrap_or(false),
            listener: ready.next().unwrap_or(false),
            connections: ready.collect(),
        })
    }

    /// Takes the messages; `false` once it has to stop.
    fn hear(&mut self, now: Instant) -> bool {
        while matches!((&self.wire).read(&mut [0; 64]), Ok(length) if length > 0) {}
        for message in self.messages.try_iter() {
            match message {
                Message::Stop => return false,
                Message::Scraped(id, Scraped { number, text }) => {
                    if let Some(connection) = self.connections.iter_mut().find(|some| some.id == id) {
                        connection.scraped(text, number, now);
                    }
                }
            }
        }
        true
    }

    fn serve(&mut self, at: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(at) else {
            return;
        };
        match connection.advance(now) {
            Event::Idle => {}
            Event::Delivered(number) => self.scrapers.seen(connection.peer, number, now),
            Event::Asked(Err(fault)) => connection.answer(Response::refusal(fault), now),
            Event::Asked(Ok(request)) => {
                let head_only = request.head_only;
                match request.page {
                    Page::Live => connection.answer(Response::live(&self.health, head_only), now),
                    Page::Ready => connection.answer(Response::ready(&self.health, head_only), now),
                    Page::Metrics => self.scrape(at, request, now),
                }
            }
        }
    }

    fn scrape(&mut self, at: usize, request: Request, now: Instant) {
        let scrapes = self.connections.iter().filter(|some| some.is_scrape()).count();
        let Some(connection) = self.connections.get_mut(at) else {
            return;
        };
        let reading = if request.keeps_history {
            self.scrapers.reading(connection.peer, now)
        } else {
            Reading::Final
        };
        let (bell, id) = (self.bell.clone(), connection.id);
        let then = Box::new(move |scraped| bell.ring(Message::Scraped(id, scraped)));
        let asked = if scrapes < SCRAPES_MAX {
            self.scraper
                .ask(Scrape {
                    reading,
                    format: request.format,
                    then,
                })
                .map_err(|refused| refused.to_string())
        } else {
            Err("too many scrapes at a time".into())
        };
        match asked {
            Ok(()) => connection.scrape(request, now),
            Err(why) => connection.answer(Response::unavailable(&why, request.head_only), now),
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS_PER_TURN {
            let (stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if is_passing(&error) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(%error, "the admin listener cannot accept");
                    self.accepts_from = now + ACCEPT_PAUSE;
                    return;
                }
            };
            if self.connections.len() >= CONNECTIONS_MAX {
                let oldest = self.connections.iter().position(Connection::is_dispensable);
                let Some(oldest) = oldest else { continue };
                self.connections.remove(oldest);
            }
            self.next_id += 1;
            if let Ok(connection) = Connection::new(self.next_id, peer.ip().to_canonical(), stream, now) {
                self.connections.push(connection);
            }
        }
    }
}

/// Which of the things that were waited for came.
struct Awake {
    wire: bool,
    listener: bool,
    connections: Vec<bool>,
}

/// Rounded up to whole milliseconds, so that the deadline has come when the time is over.
fn timeout(deadline: Instant, now: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(now) + Duration::from_micros(999);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

/// Whether the next connection may well be accepted.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
