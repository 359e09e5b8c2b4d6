//! Active health checks: which of the targets answer, how fast, and how many players they have.
//!
//! Every server is checked again and again, each at moments of its own, so that checks do not come in bursts;
//! so many are under way at a time. Targets with the same host and port are one server. What has become of a
//! check decides [`record`]; shards are told of changes only, and of many changes at once.

mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::question::Target;
use passage_proto::version::Version;
use passage_shards::feed::Candidate;
use passage_shards::route::ProxyVersion;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use self::record::{Change, Record, Sight};
use super::listing::Listing;
use super::ping::{Dialer, Greeting, Problem};
use super::{Answer, HealthService};
use crate::config::{Check, Health as Settings};

/// Shortest time between two publications.
const PUBLISH_PAUSE: Duration = Duration::from_millis(500);
/// Targets that are not checked yet hold up the first publication no longer than this; then nobody is sent to
/// them.
const FIRST_MAX: Duration = Duration::from_secs(10);

/// Checks the targets of one discovery.
#[derive(Clone, Debug)]
pub struct Health {
    settings: Arc<Settings>,
    proxy_header: Option<ProxyVersion>,
    dialer: Dialer,
}

/// Host and port of a server.
type Address = (String, u16);

impl Health {
    /// Checks as the settings say. `proxy_header` comes before every status ping.
    #[must_use]
    pub fn new(settings: Settings, proxy_header: Option<ProxyVersion>, dialer: Dialer) -> Self {
        Self {
            settings: Arc::new(settings),
            proxy_header,
            dialer,
        }
    }

    async fn check(&self, (host, port): &Address) -> Result<Sight, Problem> {
        let deadline = Instant::now() + self.settings.timeout;
        let connection = self.dialer.dial(host, *port, deadline).await?;
        let took = connection.took;
        if self.settings.check == Check::Tcp {
            return Ok(Sight {
                latency: took,
                players: None,
            });
        }
        let greeting = Greeting {
            host,
            port: *port,
            protocol: Version::of(i32::MAX).since,
            proxy_header: self.proxy_header,
        };
        let (json, conversation) = connection.status(&greeting, deadline).await?;
        let listing = Listing::read(&json).map_err(Problem::Protocol)?;
        let players = listing.document.players;
        Ok(Sight {
            // A server that shows its status and answers no ping can be played on all the same.
            latency: conversation.round_trip().await.unwrap_or(took),
            players: players.map(|players| (players.online, players.max)),
        })
    }
}

impl HealthService for Health {
    fn watch<'a>(
        &'a self,
        mut targets: watch::Receiver<Vec<Arc<Target>>>,
        publish: &'a (dyn Fn(Vec<Candidate>) + Send + Sync),
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let mut watch = Watch::new(self.clone());
            watch.replace(targets.borrow_and_update().clone(), Instant::now());
            loop {
                let now = Instant::now();
                watch.begin_checks(now);
                watch.publish(now, publish);
                let (next_check, next_publication) = (watch.next_check(), watch.next_publication());
                tokio::select! {
                    changed = targets.changed() => match changed {
                        Ok(()) => watch.replace(targets.borrow_and_update().clone(), Instant::now()),
                        Err(_) => return,
                    },
                    Some(done) = watch.under_way.join_next() => {
                        // A check that panicked says nothing; the next one is due all the same.
                        if let Ok((address, sight)) = done {
                            watch.take_in(&address, sight);
                        }
                    }
                    () = at(next_check) => {}
                    () = at(next_publication) => {}
                }
            }
        })
    }
}

/// At this moment, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => pending().await,
    }
}

/// All servers of a discovery, and what is known about them.
struct Watch {
    health: Health,
    targets: Vec<Arc<Target>>,
    servers: HashMap<Address, Server>,
    due: BTreeSet<(Instant, Address)>,
    under_way: JoinSet<(Address, Result<Sight, Problem>)>,
    /// Whether something has changed since the last publication.
    is_news: bool,
    published: Option<Instant>,
    began: Instant,
}

struct Server {
    record: Record,
    due: Instant,
    /// One of its targets, for the log.
    identifier: String,
}

impl Watch {
    fn new(health: Health) -> Self {
        Self {
            health,
            targets: Vec::new(),
            servers: HashMap::new(),
            due: BTreeSet::new(),
            under_way: JoinSet::new(),
            is_news: true,
            published: None,
            began: Instant::now(),
        }
    }

    /// These are the targets now. What is known about those that were there before stays.
    fn replace(&mut self, targets: Vec<Arc<Target>>, now: Instant) {
        let present: HashSet<_> = targets.iter().map(|target| address(target)).collect();
        self.servers.retain(|address, _| present.contains(address));
        self.due.retain(|(_, address)| present.contains(address));
        for target in &targets {
            self.servers.entry(address(target)).or_insert_with_key(|address| {
                self.due.insert((now, address.clone()));
                Server {
                    record: Record::default(),
                    due: now,
                    identifier: target.identifier.clone(),
                }
            });
        }
        self.targets = targets;
        self.is_news = true;
    }

    /// Begins the checks that are due, as many as may be under way.
    fn begin_checks(&mut self, now: Instant) {
        let settings = Arc::clone(&self.health.settings);
        while self.under_way.len() < settings.concurrency.max(1) {
            let Some((due, address)) = self.due.first().filter(|(due, _)| *due <= now).cloned() else {
                return;
            };
            self.due.remove(&(due, address.clone()));
            let Some(server) = self.servers.get_mut(&address) else {
                continue;
            };
            // A check has ended before the next one of its server begins. From the first one on, servers have
            // moments of their own.
            let (pause, jitter) = match server.record.was_checked() {
                true => (settings.interval.mul_f64(0.95), settings.interval / 10),
                false => (Duration::ZERO, settings.interval),
            };
            server.due = now + pause.max(settings.timeout) + jitter.mul_f64(rand::random());
            self.due.insert((server.due, address.clone()));
            let health = self.health.clone();
            self.under_way.spawn(async move {
                let sight = health.check(&address).await;
                (address, sight)
            });
        }
    }

    /// When the next check is due; `None` as long as there is no room for one.
    fn next_check(&self) -> Option<Instant> {
        let has_room = self.under_way.len() < self.health.settings.concurrency.max(1);
        let (due, _) = self.due.first().filter(|_| has_room)?;
        Some(*due)
    }

    /// A check has ended.
    fn take_in(&mut self, address: &Address, sight: Result<Sight, Problem>) {
        let Some(server) = self.servers.get_mut(address) else {
            return;
        };
        let (host, port) = address;
        let (sight, problem) = match sight {
            Ok(sight) => (Some(sight), None),
            Err(problem) => (None, Some(problem.to_string())),
        };
        let identifier = &*server.identifier;
        let change = server.record.observe(sight, &self.health.settings);
        match change {
            Change::None => return,
            Change::Details | Change::FirstUp => {}
            Change::Up => tracing::info!(target_identifier = identifier, host, port, "a target is up again"),
            Change::Down => tracing::warn!(
                target_identifier = identifier,
                host,
                port,
                problem,
                "a target is down: its health checks fail"
            ),
        }
        self.is_news = true;
    }

    /// When there will be something to publish.
    fn next_publication(&self) -> Option<Instant> {
        let is_complete = self.servers.values().all(|server| server.record.was_checked());
        let moment = match self.published {
            Some(last) => last + PUBLISH_PAUSE,
            None if is_complete => self.began,
            None => self.began + FIRST_MAX,
        };
        self.is_news.then_some(moment)
    }

    fn publish(&mut self, now: Instant, publish: &(dyn Fn(Vec<Candidate>) + Send + Sync)) {
        if self.next_publication().is_none_or(|moment| now < moment) {
            return;
        }
        publish(self.targets.iter().map(|target| self.candidate(target)).collect());
        self.is_news = false;
        self.published = Some(now);
    }

    /// The target with what is known about it. Nobody is sent to one that was never checked, as long as there
    /// are others.
    fn candidate(&self, target: &Arc<Target>) -> Candidate {
        let Some(Server { record, .. }) = self.servers.get(&address(target)) else {
            return Candidate::from(Arc::clone(target));
        };
        Candidate {
            target: self.with_players(target, record),
            is_healthy: record.is_up(),
            latency: record.latency(),
        }
    }

    fn with_players(&self, target: &Arc<Target>, record: &Record) -> Arc<Target> {
        let settings = &self.health.settings;
        let Some((online, max)) = record.players() else {
            return Arc::clone(target);
        };
        let fields = [
            (&settings.players_field, online),
            (&settings.max_players_field, max),
        ];
        let mut target = Arc::clone(target);
        for (field, number) in fields {
            if let Some(field) = field {
                Arc::make_mut(&mut target)
                    .meta
                    .insert(field.clone(), number.to_string());
            }
        }
        target
    }
}

fn address(target: &Target) -> Address {
    (target.host.clone(), target.port)
}
