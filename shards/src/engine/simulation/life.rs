//! What a task does with its connection: whatever one may, in any order, and each wait may be given up.

use std::cell::RefCell;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::crew::{Nudge, Nudged, unless_nudged};
use super::kernel::Kernel;
use super::line::copy_noise;
use super::script::Script;
use crate::choices::Choices;
use crate::engine::{Chunk, Engine, Event, Notifier, RelayReport, Socket};

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wait {
    Input,
    /// Anything but input.
    Quiet,
    Room,
    Connection,
    Time,
}

/// What everybody may know of one task.
#[derive(Default)]
pub(super) struct Life {
    pub(super) line: Option<usize>,
    /// Bytes that it has received.
    pub(super) read: u64,
    /// What it sends.
    pub(super) script: Script,
    /// What it waits for, since when, and until when at most.
    pub(super) wait: Option<(Wait, Instant, Option<Instant>)>,
    /// It was notified and has not noticed.
    pub(super) notified: bool,
    pub(super) notifier: Option<Notifier>,
    pub(super) nudged: Nudged,
}

/// A task of a connection, with its decisions.
pub(super) struct Actor {
    pub(super) engine: Engine,
    pub(super) kernel: Rc<RefCell<Kernel>>,
    pub(super) choices: Choices,
    pub(super) life: Rc<RefCell<Life>>,
    /// The port by which a connection of its own is known.
    pub(super) port: u16,
    /// Tells how a relay ended, and of which life its target is.
    pub(super) relays: Rc<RefCell<Vec<Relayed>>>,
}

/// A relay that a task has begun.
pub(super) struct Relayed {
    pub(super) target: Rc<RefCell<Life>>,
    pub(super) reports: Rc<RefCell<Vec<RelayReport>>>,
}

impl Actor {
    /// Serves a connection that was accepted.
    pub(super) async fn serve(mut self, fd: OwnedFd) {
        let line = self.kernel.borrow().find(fd.as_raw_fd());
        let socket = self.engine.adopt(fd);
        self.life.borrow_mut().line = line;
        self.converse(socket).await;
    }

    /// Makes a connection and uses it.
    pub(super) async fn call(mut self) {
        let life = Rc::clone(&self.life);
        if let Some(socket) = self.connect(&life).await {
            self.converse(socket).await;
        }
    }

    async fn converse(&mut self, mut socket: Socket) {
        self.life.borrow_mut().notifier = Some(socket.notifier());
        for _ in 0..self.choices.below(24) {
            let goes_on = match self.choices.below(10) {
                0..=4 => self.listen(&mut socket, true).await,
                5 => self.listen(&mut socket, false).await,
                6..=8 => self.speak(&mut socket).await,
                _ => self.rest().await,
            };
            if !goes_on && !self.choices.once_in(6) {
                break;
            }
        }
        match self.choices.below(4) {
            0 => drop(socket),
            1 => self.relay(socket).await,
            _ => socket.finish(Duration::from_millis(self.choices.below(9_000))),
        }
    }

    /// Waits for one event. Whether there may be others.
    async fn listen(&mut self, socket: &mut Socket, wants: bool) -> bool {
        let wait = if wants { Wait::Input } else { Wait::Quiet };
        let deadline = self.deadline();
        let event = self.wait(wait, deadline, socket.next(wants, deadline)).await;
        match event {
            None => true,
            Some(Event::Received(chunk)) => {
                assert!(wants, "input came that nobody wanted");
                self.read(&chunk);
                if self.choices.once_in(12) {
                    // It should not do so, but it may keep a buffer.
                    self.rest().await;
                }
                true
            }
            Some(Event::Notified) => {
                let notified = std::mem::take(&mut self.life.borrow_mut().notified);
                assert!(notified, "nobody notified it");
                true
            }
            Some(Event::Deadline) => {
                assert!(deadline.is_some_and(|due| due <= self.engine.now()), "too early");
                true
            }
            Some(Event::Ended) => {
                let life = self.life.borrow();
                let kernel = self.kernel.borrow();
                let line = &kernel.lines[life.line.unwrap()];
                assert!(line.ended, "it has not ended");
                assert_eq!(life.read, line.pushed, "the end came before everything was read");
                false
            }
            Some(Event::Failed(error)) => {
                self.check_failure(&error);
                false
            }
        }
    }

    fn read(&self, chunk: &Chunk) {
        let mut life = self.life.borrow_mut();
        let start = self.kernel.borrow().lines[life.line.unwrap()].start;
        let mut expected = vec![0; chunk.len()];
        copy_noise(start, life.read, &mut expected);
        assert!(
            !chunk.is_empty() && **chunk == expected,
            "other bytes came than were sent"
        );
        life.read += chunk.len() as u64;
    }

    /// Sends one message. Whether the connection still stands.
    async fn speak(&mut self, socket: &mut Socket) -> bool {
        let most = self.choices.one_of(&[600, 40, 9_000, 150_000]);
        let body = usize::try_from(self.choices.below(most)).unwrap();
        let is_free = self.engine.with(|core| {
            let life = self.life.borrow();
            let fd = self.kernel.borrow().lines[life.line.unwrap()].fd;
            let key = core.slots.keys().into_iter().find(|key| {
                core.slots
                    .descriptor(*key)
                    .is_some_and(|own| own.as_raw_fd() == fd)
            });
            key.and_then(|key| core.slots.slot(key))
                .is_some_and(|slot| !slot.flags.sending && slot.errno == 0)
        });
        let (number, message) = self.life.borrow_mut().script.write(body, is_free);
        let deadline = self.deadline();
        let sent = self
            .wait(Wait::Room, deadline, socket.send(message, deadline))
            .await;
        let mut life = self.life.borrow_mut();
        match sent {
            None => true,
            Some(Ok(())) => {
                life.script.sent(number);
                true
            }
            Some(Err(error)) => {
                if error.kind() == std::io::ErrorKind::TimedOut {
                    let due = deadline.is_some_and(|due| due <= self.engine.now());
                    assert!(due || life.script.failed, "too early");
                }
                life.script.failed = true;
                drop(life);
                self.check_failure(&error);
                false
            }
        }
    }

    fn check_failure(&self, error: &std::io::Error) {
        let known = [libc::ECONNRESET, libc::EPIPE, libc::ETIMEDOUT, libc::ESHUTDOWN];
        let named = error.raw_os_error().is_some_and(|errno| known.contains(&errno));
        assert!(named || error.kind() == std::io::ErrorKind::TimedOut, "{error}");
        self.life.borrow_mut().script.failed = true;
    }

    /// Does nothing for a while.
    async fn rest(&mut self) -> bool {
        let until = self.engine.now() + Duration::from_millis(self.choices.below(1_500));
        let slept = self
            .wait(Wait::Time, Some(until), self.engine.clone().sleep_until(until))
            .await;
        assert!(slept.is_none() || self.engine.now() >= until, "woken too early");
        true
    }

    /// Makes a connection for this life.
    async fn connect(&mut self, life: &Rc<RefCell<Life>>) -> Option<Socket> {
        let deadline = self.engine.now() + Duration::from_millis(self.choices.below(4_000));
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let engine = self.engine.clone();
        let connected = self
            .wait(Wait::Connection, Some(deadline), engine.connect(to, deadline))
            .await?;
        match connected {
            Ok(socket) => {
                let kernel = self.kernel.borrow();
                let made = kernel.connected.iter().find(|(port, _)| *port == self.port);
                life.borrow_mut().line = Some(made.expect("a connection was made").1);
                Some(socket)
            }
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                assert!(self.engine.now() >= deadline, "given up too early");
                None
            }
            Err(error) => {
                let errno = error.raw_os_error();
                assert!(
                    matches!(errno, Some(libc::ECONNREFUSED | libc::ESHUTDOWN)),
                    "{error}"
                );
                None
            }
        }
    }

    /// Has the connection relayed to one that is made for it.
    async fn relay(&mut self, client: Socket) {
        let target = Rc::default();
        // Known by another port than what this task may have called before.
        self.port += 1;
        let Some(socket) = self.connect(&target).await else {
            return client.finish(Duration::from_secs(2));
        };
        let first = vec![0xCD; usize::try_from(self.choices.below(3_000)).unwrap()];
        {
            let (mut own, mut others) = (self.life.borrow_mut(), target.borrow_mut());
            let (client, target) = (own.line.unwrap(), others.line.unwrap());
            own.script.relays(Vec::new(), target, 0);
            others.script.relays(first.clone(), client, own.read);
        }
        let reports: Rc<RefCell<Vec<_>>> = Rc::default();
        self.relays.borrow_mut().push(Relayed {
            target,
            reports: Rc::clone(&reports),
        });
        let idle = Duration::from_secs(5 + self.choices.below(20));
        let on_end = Box::new(move |report| reports.borrow_mut().push(report));
        self.engine.relay(client, socket, first, idle, on_end);
    }

    /// Waits for something, with everybody looking on, unless nudged: `None` then.
    async fn wait<T>(
        &self,
        wait: Wait,
        until: Option<Instant>,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        let nudged = Rc::clone(&self.life.borrow().nudged);
        self.life.borrow_mut().wait = Some((wait, self.engine.now(), until));
        let result = unless_nudged(&nudged, future).await;
        self.life.borrow_mut().wait = None;
        result
    }

    fn deadline(&mut self) -> Option<Instant> {
        let after = self.choices.one_of(&[None, Some(3_000), Some(60), Some(1)]);
        after.map(|most| self.engine.now() + Duration::from_millis(self.choices.below(most)))
    }
}

impl Life {
    /// Ends what the task waits for.
    pub(super) fn nudge(&self) {
        Nudge::give(&mut self.nudged.borrow_mut());
    }
}
