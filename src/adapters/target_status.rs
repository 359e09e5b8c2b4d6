//! Statuses that come from the target that a player would be sent to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use passage_proto::question::{AskError, ChooseQuery, ClientInfo, Target};
use passage_proto::status::StatusReply;
use passage_proto::version;
use passage_shards::ejection::{Ejections, Terms};
use passage_shards::feed::Candidate;
use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::route::{Choice, Chooser, MetaFilter, ProxyVersion, Strategy};
use tokio::sync::watch;

use super::call::{Attempt, Caller, Failure, Policy, Repeat};
use super::listing::{Dropped, Listing};
use super::ping::{Dialer, Greeting, Problem};
use super::{Answer, Call, FreshStatus, StatusService};

#[cfg(test)]
mod tests;

/// Targets that are asked one after the other for one status.
const TARGETS_MAX: usize = 3;
/// What a server is told that is not told the client's version, because it is none that we know: it then
/// answers with its own.
const NO_VERSION: i32 = -1;
/// A target that did not answer is asked last for a while.
const REST: Terms = Terms {
    consecutive_failures: 1,
    pause: Duration::from_secs(5),
    pause_max: Duration::from_secs(60),
    share_max: 100,
};

/// Where a route's targets are known, and how they are reached.
pub struct Settings {
    /// The route, for the log.
    pub route: Box<str>,
    /// The newest targets of the route's discovery.
    pub targets: watch::Receiver<Arc<[Candidate]>>,
    /// Actions of the route's discovery that are the same for everybody.
    pub filters: Vec<MetaFilter>,
    /// What the route's targets read first.
    pub send_proxy_protocol: Option<ProxyVersion>,
    /// The bounds of one question.
    pub policy: Policy,
}

/// Asks the targets of one route for their status: the first of the lowest priority, and where that one is
/// down the next.
///
/// Targets are told their own host name and not the client's, because clients that used another one are shown
/// the same status.
pub struct TargetStatus {
    caller: Caller,
    dialer: Dialer,
    settings: Settings,
    resting: Mutex<Ejections>,
    /// What was left out of the last status, so that the log tells of changes only.
    dropped: Mutex<Vec<Dropped>>,
}

impl TargetStatus {
    /// Asks the targets through `dialer`.
    #[must_use]
    pub fn new(settings: Settings, dialer: Dialer) -> Self {
        let address = format!("the targets of {}", settings.route);
        Self {
            caller: Caller::new(AdapterName::Status, AdapterType::Target, address, settings.policy),
            dialer,
            settings,
            resting: Mutex::default(),
            dropped: Mutex::default(),
        }
    }

    /// Asks one target after the other until one answers.
    async fn ask(&self, client: &ClientInfo, attempt: &Attempt) -> Result<FreshStatus, Failure> {
        let candidates = self.candidates();
        let mut tried = Vec::new();
        let mut last = Failure::lasting(AskError::Denied, "the route has no targets");
        while tried.len() < TARGETS_MAX {
            let Some(target) = self.next(client, &candidates, &tried) else {
                break;
            };
            tried.push(Arc::clone(&target));
            // A target that swallows everything leaves the others half of the time.
            let is_last = tried.len() >= TARGETS_MAX.min(candidates.len());
            let patience = attempt.remaining() / if is_last { 1 } else { 2 };
            match self.ask_one(&target, client, Instant::now() + patience).await {
                Ok(status) => {
                    self.resting().succeeded(&target);
                    return Ok(Arc::new(status).into());
                }
                Err(problem) => {
                    self.resting().failed(&target, &REST, Instant::now());
                    last = failure(&target, &problem);
                }
            }
        }
        Err(last)
    }

    async fn ask_one(
        &self,
        target: &Target,
        client: &ClientInfo,
        deadline: Instant,
    ) -> Result<StatusReply, Problem> {
        let greeting = Greeting {
            host: &target.host,
            port: target.port,
            protocol: if version::is_release(client.protocol) {
                client.protocol
            } else {
                NO_VERSION
            },
            proxy_header: self.settings.send_proxy_protocol,
        };
        let connection = self.dialer.dial(&target.host, target.port, deadline).await?;
        let (json, _) = connection.status(&greeting, deadline).await?;
        let listing = Listing::read(&json).map_err(Problem::Protocol)?;
        let (status, dropped) = listing
            .encode()
            .map_err(|error| Problem::Protocol(error.to_string()))?;
        self.tell(target, dropped);
        Ok(status)
    }

    fn candidates(&self) -> Arc<[Candidate]> {
        let known = Arc::clone(&self.settings.targets.borrow());
        self.settings
            .filters
            .iter()
            .fold(known, |candidates, filter| filter.keep(candidates))
    }

    fn next(
        &self,
        client: &ClientInfo,
        candidates: &[Candidate],
        tried: &[Arc<Target>],
    ) -> Option<Arc<Target>> {
        let query = ChooseQuery {
            client: client.clone(),
            player: None,
        };
        let resting = self.resting();
        let choice = Choice {
            query: &query,
            candidates,
            is_ejected: &resting.among(candidates, &REST, Instant::now()),
            tried,
            route: 0,
        };
        // Always the same one first: a status that changes with every refresh would be no help.
        Strategy::Fixed.choose(&choice, &mut Chooser::new(0)).ok()
    }

    fn tell(&self, target: &Target, dropped: Vec<Dropped>) {
        let mut last = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        if *last == dropped {
            return;
        }
        for Dropped { key, reason } in &dropped {
            tracing::warn!(
                target_identifier = target.identifier,
                route = &*self.settings.route,
                key,
                reason,
                "a part of a target's status is not shown"
            );
        }
        *last = dropped;
    }

    fn resting(&self) -> std::sync::MutexGuard<'_, Ejections> {
        // Its methods do not panic; and if they did, its state would still be a state.
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StatusService for TargetStatus {
    fn status<'a>(&'a self, client: &'a ClientInfo, call: Call) -> Answer<'a, Result<FreshStatus, AskError>> {
        Box::pin(self.caller.call(call, Repeat::Safe, move |attempt| async move {
            self.ask(client, &attempt).await
        }))
    }
}

fn failure(target: &Target, problem: &Problem) -> Failure {
    let cause = match problem {
        Problem::Connect(..) => AskError::Unreachable,
        Problem::TimedOut => AskError::TimedOut,
        Problem::Resolve(_) | Problem::Io(_) | Problem::Closed | Problem::Protocol(_) => AskError::Failed,
    };
    Failure::passing(
        cause,
        format_args!(
            "{} ({}:{}): {problem}",
            target.identifier, target.host, target.port
        ),
    )
}
