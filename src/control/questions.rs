//! Who is asked next: the loop of the control thread.
//!
//! It never waits for anybody but for news: every question to a service is a task, and look-ups and shared
//! statuses come back as [`Event`]s.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError};
use passage_proto::question::{AskError, ClientInfo};
use passage_shards::ask::{Asked, RemoteAnswer, RemoteQuestion, ReplyTo};
use passage_shards::feed::StatusKey;
use passage_shards::metrics::{AdapterName, HAND_OVER_INTERVAL};
use passage_shards::pulse::Pulse;
use passage_shards::trace::TraceParent;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{MissedTickBehavior, interval, timeout_at};

use super::guarded::guarded;
use super::lookups::{Addresses, Lookups};
use super::news::News;
use super::statuses::{StatusId, Statuses};
use super::tally::Tally;
use super::{Resolve, feeds, lookups, statuses};
use crate::adapters::{Call, FreshStatus, Services};

/// Questions that are taken before everybody else has a turn.
const BATCH_MAX: usize = 64;
/// Addresses of one host that are kept.
const ADDRESSES_MAX: usize = 16;
/// How often it is looked whether somebody has waited too long for DNS.
const TICK: Duration = Duration::from_millis(250);
/// How often it is looked whether a question was abandoned, if nothing else happens to it.
const ABANDONED_LOOK: Duration = Duration::from_millis(500);

/// What the loop works with.
pub(super) struct Questions {
    pub(super) asked: Receiver<Asked>,
    /// Rung for every question, and when the line is closed.
    pub(super) bell: Arc<Notify>,
    pub(super) services: Arc<Services>,
    pub(super) resolve: Arc<Resolve>,
    /// Look-ups under way at the same time.
    pub(super) names: usize,
    pub(super) news: Arc<News>,
    pub(super) tally: Tally,
    pub(super) pulse: Arc<Pulse>,
}

/// Something that was waited for. There is one under way for each name and each status at most.
enum Event {
    LookedUp {
        host: String,
        found: Result<Addresses, AskError>,
    },
    Status {
        id: StatusId,
        found: Result<FreshStatus, AskError>,
        took: Duration,
    },
}

/// The loop's own state.
struct Desk {
    ahead: Questions,
    lookups: Lookups<Caller>,
    names: Arc<Semaphore>,
    statuses: Statuses<ReplyTo>,
    happened: UnboundedSender<Event>,
}

/// Somebody who waits for an address.
struct Caller {
    port: u16,
    reply: ReplyTo,
}

impl Questions {
    /// Answers until there is a word from `stopped` or no shard is left; says until when what is under way
    /// has to end.
    pub(super) async fn answer_until(self, mut stopped: oneshot::Receiver<Instant>) -> Instant {
        let pulse = Arc::clone(&self.pulse);
        let bell = Arc::clone(&self.bell);
        for feed in &self.services.targets {
            tokio::spawn(feeds::keep(
                feed.clone(),
                Arc::clone(&self.news),
                self.tally.clone(),
            ));
        }
        let (mut desk, mut events) = Desk::new(self);
        let mut ticks = interval(TICK);
        let mut hand_overs = interval(HAND_OVER_INTERVAL);
        for timer in [&mut ticks, &mut hand_overs] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        let deadline = loop {
            pulse.beat();
            tokio::select! {
                deadline = &mut stopped => break deadline.unwrap_or_else(|_| Instant::now()),
                () = bell.notified() => {
                    if desk.take_some().is_err() {
                        break Instant::now();
                    }
                    tokio::task::yield_now().await;
                }
                Some(event) = events.recv() => desk.learn(event, Instant::now()),
                _ = ticks.tick() => desk.tick(Instant::now()),
                _ = hand_overs.tick() => desk.ahead.tally.hand_over(),
            }
        };
        pulse.retire();
        deadline
    }
}

/// There is nobody left who could ask.
struct LineClosed;

impl Desk {
    fn new(ahead: Questions) -> (Self, UnboundedReceiver<Event>) {
        let (happened, events) = unbounded_channel();
        let desk = Self {
            lookups: Lookups::new(),
            names: Arc::new(Semaphore::new(ahead.names)),
            statuses: Statuses::new(),
            happened,
            ahead,
        };
        (desk, events)
    }

    /// Takes the questions that are there, but not so many at once that nobody else has a turn: for the rest
    /// the bell is rung again.
    fn take_some(&mut self) -> Result<(), LineClosed> {
        for _ in 0..BATCH_MAX {
            match self.ahead.asked.try_recv() {
                Ok(asked) => self.take(asked, Instant::now()),
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(LineClosed),
            }
        }
        self.ahead.bell.notify_one();
        Ok(())
    }

    fn take(&mut self, asked: Asked, now: Instant) {
        let Asked {
            question,
            deadline,
            trace,
            reply,
        } = asked;
        match question {
            RemoteQuestion::Resolve { host, port } => self.resolve(host, Caller { port, reply }, now),
            RemoteQuestion::Status {
                adapter,
                client,
                is_awaited,
            } => self.status(adapter, client, is_awaited, trace, reply, now),
            question => {
                let services = Arc::clone(&self.ahead.services);
                let call = Call { deadline, trace };
                tokio::spawn(async move { answer(&services, question, call, reply).await });
            }
        }
    }

    fn resolve(&mut self, host: String, caller: Caller, now: Instant) {
        match self.lookups.ask(&host, caller, now) {
            lookups::Verdict::Answer(caller, answer) => caller.answer(answer),
            lookups::Verdict::Wait => {}
            lookups::Verdict::LookUp => {
                let names = Arc::clone(&self.names);
                let resolve = Arc::clone(&self.ahead.resolve);
                let happened = self.happened.clone();
                tokio::spawn(async move {
                    // A resolver that hangs keeps its threads; the others are left for the services.
                    let seat = names.acquire_owned().await;
                    let name = host.clone();
                    let looked_up = tokio::task::spawn_blocking(move || {
                        let found = look_up(&*resolve, &name);
                        drop(seat);
                        found
                    });
                    let found = looked_up.await.unwrap_or(Err(AskError::Failed));
                    // After the loop has ended nobody wants to know.
                    let _ = happened.send(Event::LookedUp { host, found });
                });
            }
        }
    }

    fn status(
        &mut self,
        adapter: usize,
        client: Box<ClientInfo>,
        is_awaited: bool,
        trace: Option<TraceParent>,
        reply: ReplyTo,
        now: Instant,
    ) {
        let Some(feed) = self.ahead.services.statuses.get(adapter) else {
            return reply.fail(AskError::Failed);
        };
        let id = (adapter, StatusKey::of(client.protocol, feed.by_version));
        match self.statuses.ask(id, reply, is_awaited, now) {
            statuses::Verdict::Answer(reply, answer) => reply.send(RemoteAnswer::Status(answer)),
            statuses::Verdict::Wait => {}
            statuses::Verdict::Ask => {
                let service = Arc::clone(&feed.service);
                let happened = self.happened.clone();
                // The call is for all who want the status, whatever becomes of who asked first.
                let call = Call {
                    deadline: now + feed.timeout,
                    trace,
                };
                tokio::spawn(async move {
                    let ask = async move { service.status(&client, call).await };
                    let found = guarded(call.deadline, ask).await;
                    let took = now.elapsed();
                    // After the loop has ended nobody wants to know.
                    let _ = happened.send(Event::Status { id, found, took });
                });
            }
        }
    }

    fn learn(&mut self, event: Event, now: Instant) {
        match event {
            Event::LookedUp { host, found } => {
                let (callers, answer) = self.lookups.settle(&host, found, now);
                for caller in callers {
                    caller.answer(answer.clone());
                }
            }
            Event::Status { id, found, took } => self.settle_status(id, found, took, now),
        }
    }

    fn settle_status(
        &mut self,
        id: StatusId,
        found: Result<FreshStatus, AskError>,
        took: Duration,
        now: Instant,
    ) {
        let Some(feed) = self.ahead.services.statuses.get(id.0) else {
            return;
        };
        let error = found.as_ref().err().copied();
        let settled = self
            .statuses
            .settle(id, found, feed.refresh_interval, now, rand::random());
        if !settled.is_awaited {
            self.ahead
                .tally
                .count(AdapterName::Status, feed.kind, took, error);
        }
        if let Some(news) = settled.news {
            self.ahead.news.status(feed.feed, id.1, news);
        }
        for reply in settled.waiting {
            reply.send(RemoteAnswer::Status(settled.answer.clone()));
        }
    }

    fn tick(&mut self, now: Instant) {
        for (caller, addresses) in self.lookups.impatient(now) {
            caller.answer(Ok(addresses));
        }
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

/// Asks the service and sends its answer; does nothing for whom nobody waits any more. If the service panics
/// the reply is dropped, and so answered as failed.
async fn answer(services: &Services, question: RemoteQuestion, call: Call, reply: ReplyTo) {
    if call.deadline <= Instant::now() {
        return reply.fail(AskError::TimedOut);
    }
    let work = timeout_at(call.deadline.into(), ask(services, question, call));
    match while_awaited(&reply, work).await {
        Some(Ok(Some(answer))) => reply.send(answer),
        Some(Ok(None)) => reply.fail(AskError::Failed),
        Some(Err(_)) => reply.fail(AskError::TimedOut),
        None => {}
    }
}

/// The service's answer; `None` if there is no such service.
async fn ask(services: &Services, question: RemoteQuestion, call: Call) -> Option<RemoteAnswer> {
    Some(match question {
        RemoteQuestion::Authenticate { adapter, query } => {
            let service = services.authentication.get(adapter)?;
            RemoteAnswer::Profile(service.authenticate(&query, call).await)
        }
        RemoteQuestion::Discover { adapter, query } => {
            let service = services.discovery.get(adapter)?;
            RemoteAnswer::Targets(service.discover(&query, call).await)
        }
        RemoteQuestion::Act {
            adapter,
            query,
            targets,
        } => {
            let service = services.actions.get(adapter)?;
            RemoteAnswer::Targets(service.apply(&query, &targets, call).await)
        }
        RemoteQuestion::Select {
            adapter,
            query,
            targets,
        } => {
            let service = services.strategies.get(adapter)?;
            RemoteAnswer::Target(service.select(&query, &targets, call).await)
        }
        RemoteQuestion::Localize { adapter, query } => {
            let service = services.localization.get(adapter)?;
            RemoteAnswer::Text(service.localize(&query, call).await)
        }
        // Those are the desk's own.
        RemoteQuestion::Status { .. } | RemoteQuestion::Resolve { .. } => return None,
    })
}

/// Does work as long as somebody waits for it; `None` if nobody does any more. It is looked before every
/// step, so that nothing is begun in vain.
async fn while_awaited<T>(reply: &ReplyTo, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut looks = interval(ABANDONED_LOOK);
    std::future::poll_fn(|context| {
        if reply.is_abandoned() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(answer) = work.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        while looks.poll_tick(context).is_ready() {}
        Poll::Pending
    })
    .await
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
