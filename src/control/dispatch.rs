//! Who is asked next: the loop of the control thread.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select, tick, unbounded};
use passage_proto::question::{AskError, AuthenticateQuery};
use passage_shards::ask::{Asked, RemoteAnswer, RemoteQuestion, ReplyTo, authentication_refusal};
use passage_shards::pulse::Pulse;

use super::lane::Lane;
use super::lookups::{Addresses, Lookups, Verdict};
use super::workers::{Job, Workers};
use super::{Resolve, Settings};
use crate::adapters::Authenticator;

/// Logins in line for one adapter; the shards bound them too.
const LOGINS_WAITING_MAX: usize = 2_048;
/// Host names in line for a look-up; the cache bounds them too.
const NAMES_WAITING_MAX: usize = 4_096;
/// Addresses of one host that are kept.
const ADDRESSES_MAX: usize = 16;
/// How often it is looked whether somebody has waited too long for DNS.
const TICK: Duration = Duration::from_millis(250);

/// What a worker says when it has finished.
#[derive(Debug)]
pub(super) enum Done {
    Authenticated {
        adapter: usize,
    },
    LookedUp {
        host: String,
        found: Result<Addresses, AskError>,
    },
}

/// A login in line.
struct Login {
    query: Box<AuthenticateQuery>,
    deadline: Instant,
    reply: ReplyTo,
}

/// Somebody who waits for an address.
struct Caller {
    port: u16,
    reply: ReplyTo,
}

struct Adapter {
    authenticator: Arc<dyn Authenticator>,
    lane: Lane<Login>,
}

pub(super) struct Dispatcher {
    adapters: Vec<Adapter>,
    lookups: Lookups<Caller>,
    names: Lane<String>,
    resolve: Arc<Resolve>,
    workers: Workers,
    /// Workers without a job.
    idle: usize,
    /// The adapter that comes first next time.
    turn: usize,
    done: Sender<Done>,
    finished: Receiver<Done>,
}

impl Dispatcher {
    /// Starts the workers. The second result is disconnected once all of them have ended.
    pub(super) fn new(settings: Settings) -> io::Result<(Self, Receiver<Done>)> {
        let (done, finished) = unbounded();
        let count = settings.workers.max(2);
        let adapter = |authenticator: Arc<dyn Authenticator>| Adapter {
            lane: Lane::new(authenticator.concurrency(), LOGINS_WAITING_MAX),
            authenticator,
        };
        let dispatcher = Self {
            adapters: settings.authenticators.into_iter().map(adapter).collect(),
            lookups: Lookups::new(),
            // A resolver that hangs keeps its workers; the others are left for the logins.
            names: Lane::new((count / 4).max(1), NAMES_WAITING_MAX),
            resolve: settings.resolve,
            workers: Workers::start(count, &done)?,
            idle: count,
            turn: 0,
            done,
            finished: finished.clone(),
        };
        Ok((dispatcher, finished))
    }

    /// Dispatches until there is a word from `stopped`, or no shard is left.
    pub(super) fn run(mut self, asked: &Receiver<Asked>, stopped: &Receiver<()>, pulse: &Pulse) {
        let finished = self.finished.clone();
        let ticks = tick(TICK);
        loop {
            pulse.beat();
            select! {
                recv(asked) -> asked => match asked {
                    Ok(asked) => self.take(asked, Instant::now()),
                    Err(_) => return pulse.retire(),
                },
                recv(finished) -> done => {
                    if let Ok(done) = done {
                        self.finish(done, Instant::now());
                    }
                }
                recv(ticks) -> now => {
                    let now = now.unwrap_or_else(|_| Instant::now());
                    for (caller, addresses) in self.lookups.impatient(now) {
                        caller.answer(Ok(addresses));
                    }
                }
                recv(stopped) -> _ => return pulse.retire(),
            }
            self.dispatch(Instant::now());
        }
    }

    fn take(&mut self, asked: Asked, now: Instant) {
        let Asked {
            question,
            deadline,
            reply,
            ..
        } = asked;
        match question {
            RemoteQuestion::Authenticate { adapter, query } => {
                let login = Login {
                    query,
                    deadline,
                    reply,
                };
                match self.adapters.get_mut(adapter) {
                    Some(adapter) => {
                        if let Err(login) = adapter.lane.push(login, |waiting| waiting.is_stale(now)) {
                            login.refuse(AskError::Overloaded);
                        }
                    }
                    None => login.refuse(AskError::Failed),
                }
            }
            // Unanswered questions are answered by their drop.
            RemoteQuestion::Status { .. }
            | RemoteQuestion::Discover { .. }
            | RemoteQuestion::Act { .. }
            | RemoteQuestion::Select { .. }
            | RemoteQuestion::Localize { .. } => drop(reply),
            RemoteQuestion::Resolve { host, port } => {
                match self.lookups.ask(&host, Caller { port, reply }, now) {
                    Verdict::Answer(caller, answer) => caller.answer(answer),
                    Verdict::Wait => {}
                    Verdict::LookUp => {
                        if let Err(host) = self.names.push(host, |_| false) {
                            self.settle(&host, Err(AskError::Overloaded), now);
                        }
                    }
                }
            }
        }
    }

    fn finish(&mut self, done: Done, now: Instant) {
        self.idle += 1;
        match done {
            Done::Authenticated { adapter } => {
                if let Some(adapter) = self.adapters.get_mut(adapter) {
                    adapter.lane.end();
                }
            }
            Done::LookedUp { host, found } => {
                self.names.end();
                self.settle(&host, found, now);
            }
        }
    }

    fn settle(&mut self, host: &str, found: Result<Addresses, AskError>, now: Instant) {
        let (callers, answer) = self.lookups.settle(host, found, now);
        for caller in callers {
            caller.answer(answer.clone());
        }
    }

    /// Gives the idle workers what waits: names first, because they are quick, then the adapters in turn.
    fn dispatch(&mut self, now: Instant) {
        while self.idle > 0 {
            let Some(job) = self.next_name().or_else(|| self.next_login(now)) else {
                return;
            };
            self.idle -= 1;
            if self.workers.give(job).is_err() {
                // Workers never end before this; the job's answers are given by its drop.
                return;
            }
        }
    }

    fn next_name(&mut self) -> Option<Job> {
        let host = self.names.pop()?;
        self.names.begin();
        let report = Report::new(
            &self.done,
            Done::LookedUp {
                host: host.clone(),
                found: Err(AskError::Failed),
            },
        );
        let resolve = Arc::clone(&self.resolve);
        Some(Box::new(move || {
            let found = look_up(&*resolve, &host);
            report.replace(Done::LookedUp { host, found });
        }))
    }

    fn next_login(&mut self, now: Instant) -> Option<Job> {
        for _ in 0..self.adapters.len() {
            let index = self.turn % self.adapters.len();
            self.turn = index + 1;
            let Some(adapter) = self.adapters.get_mut(index) else {
                continue;
            };
            while let Some(login) = adapter.lane.pop() {
                if login.is_stale(now) {
                    login.refuse(AskError::TimedOut);
                    continue;
                }
                adapter.lane.begin();
                let authenticator = Arc::clone(&adapter.authenticator);
                let report = Report::new(&self.done, Done::Authenticated { adapter: index });
                return Some(Box::new(move || {
                    let answer = authenticator.authenticate(&login.query, login.deadline);
                    login.reply.send(RemoteAnswer::Profile(answer));
                    drop(report);
                }));
            }
        }
        None
    }
}

impl Login {
    /// Whether nobody waits for it any more.
    fn is_stale(&self, now: Instant) -> bool {
        self.deadline <= now || self.reply.is_abandoned()
    }

    fn refuse(self, cause: AskError) {
        self.reply
            .send(RemoteAnswer::Profile(Err(authentication_refusal(cause))));
    }
}

impl Caller {
    fn answer(self, answer: Result<Addresses, AskError>) {
        let at_port = |addresses: Addresses| {
            addresses
                .iter()
                .map(|ip| SocketAddr::new(*ip, self.port))
                .collect()
        };
        self.reply.send(RemoteAnswer::Addresses(answer.map(at_port)));
    }
}

/// Says that a worker has finished, also if its work panicked.
struct Report {
    to: Sender<Done>,
    done: Option<Done>,
}

impl Report {
    fn new(to: &Sender<Done>, done: Done) -> Self {
        Self {
            to: to.clone(),
            done: Some(done),
        }
    }
}

impl Report {
    /// Says something else.
    fn replace(mut self, done: Done) {
        self.done = Some(done);
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            // After the control thread has ended nobody wants to know.
            let _ = self.to.send(done);
        }
    }
}

fn look_up(resolve: &Resolve, host: &str) -> Result<Addresses, AskError> {
    match resolve(host) {
        Ok(addresses) if !addresses.is_empty() => Ok(addresses.into_iter().take(ADDRESSES_MAX).collect()),
        Ok(_) => {
            tracing::warn!(host, "a target's host name has no address");
            Err(AskError::Failed)
        }
        Err(error) => {
            tracing::warn!(host, %error, "a target's host name could not be resolved");
            Err(AskError::Failed)
        }
    }
}
