//! Asks every service once, and says what became of it.
//!
//! Nothing that is asked has an effect on anybody: statuses, targets and words are asked for on behalf of a
//! client at this machine, with no player. Services whose every question is about a player are only connected
//! to; Kubernetes is asked whether an allocation would be allowed.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use passage_proto::question::{AskError, ChooseQuery, ClientInfo, LocalizeQuery, Message};
use passage_proto::text::keys::DISCONNECT_NO_TARGET;
use passage_proto::version::Version;
use passage_shards::feed::Candidate;
use passage_shards::metrics::AdapterType;
use passage_shards::route::Pattern;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout_at;

use crate::adapters::{Call, Services};
use crate::app::{Failure, Plan, Site, Way};
use crate::cli::inquiry::{self, Heard, Inquiry, Journal};
use crate::config::MINECRAFT_PORT;

/// Services that are asked at the same time.
const AT_ONCE_MAX: usize = 32;
/// Routes that are named for a service.
const ROUTES_SHOWN_MAX: usize = 3;

/// Asks all services, and writes a line or more about each. Says how many did not answer well.
pub(super) fn all(plan: &Plan, text: &mut String) -> Result<usize, Failure> {
    if plan.sites.is_empty() {
        text.push_str("No service is asked: everything is in the configuration\n");
        return Ok(0);
    }
    let inquiry = Inquiry::begin().map_err(Failure::Threads)?;
    let answers = inquiry.run(ask_all(plan, inquiry.journal()));
    inquiry.end();
    let mut missing = 0;
    for (site, heard) in plan.sites.iter().zip(answers) {
        missing += usize::from(heard.answer.is_err());
        let _ = writeln!(text, "{}", line(site, &heard));
    }
    Ok(missing)
}

/// Asks all of them, as many at the same time as is allowed; the answers are in the order of the sites.
/// Targets are asked for their status after it was found out which they are.
async fn ask_all(plan: &Plan, journal: &Journal) -> Vec<Heard<Result<String, AskError>>> {
    let seats = Arc::new(Semaphore::new(AT_ONCE_MAX));
    let mut answers = Vec::with_capacity(plan.sites.len());
    for is_second in [false, true] {
        let mut asked = JoinSet::new();
        for (at, site) in plan.sites.iter().enumerate() {
            if (site.kind == AdapterType::Target) == is_second {
                let (seats, journal, services) = (Arc::clone(&seats), journal.clone(), plan.services.clone());
                let (way, timeout, client) = (site.way.clone(), site.timeout, client(&site.routes));
                asked.spawn(async move {
                    // It is never closed.
                    let _seat = seats.acquire().await;
                    let call = inquiry::call(timeout);
                    let answer = timeout_at(call.deadline.into(), ask(&services, way, client, call));
                    let answer = async { answer.await.unwrap_or(Err(AskError::TimedOut)) };
                    (at, journal.listen(answer).await)
                });
            }
        }
        answers.extend(asked.join_all().await);
    }
    answers.sort_unstable_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, heard)| heard).collect()
}

/// What a service answers, in a few words.
async fn ask(services: &Services, way: Way, client: ClientInfo, call: Call) -> Result<String, AskError> {
    match way {
        Way::Presence(service, says) => service.reach(call).await.map(|()| says.to_owned()),
        Way::Status(at) => match services.statuses.get(at) {
            Some(feed) => feed
                .service
                .status(&client, call)
                .await
                .map(|_| "gives a status".to_owned()),
            None => Err(AskError::Failed),
        },
        Way::Targets(at) => match services.targets.get(at) {
            Some(feed) => {
                let found = feed.source.refresh(call).await?.targets;
                let count = found.len();
                let candidates = found.into_iter().map(Candidate::from);
                feed.latest.send_replace(candidates.collect());
                Ok(targets(count))
            }
            None => Err(AskError::Failed),
        },
        Way::Discovery(at) => match services.discovery.get(at) {
            Some(service) => {
                let query = ChooseQuery { client, player: None };
                let found = service.discover(&query, call).await;
                found
                    .map(|found| targets(found.len()))
                    .map_err(|refusal| refusal.cause)
            }
            None => Err(AskError::Failed),
        },
        Way::Localization(at) => match services.localization.get(at) {
            Some(service) => {
                let message = Message {
                    key: DISCONNECT_NO_TARGET.into(),
                    params: Vec::new(),
                };
                let query = LocalizeQuery {
                    locale: None,
                    message,
                };
                service
                    .localize(&query, call)
                    .await
                    .map(|_| "gives words".to_owned())
            }
            None => Err(AskError::Failed),
        },
    }
}

fn targets(count: usize) -> String {
    match count {
        1 => "gives 1 target".to_owned(),
        count => format!("gives {count} targets"),
    }
}

/// A client at this machine that uses the first of these routes, if that is a host name and no pattern.
fn client(routes: &[Arc<str>]) -> ClientInfo {
    let name = routes.iter().find_map(|route| match Pattern::parse(route) {
        Ok(Pattern::Exact(name)) => Some(name),
        _ => None,
    });
    ClientInfo {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        hostname: name.unwrap_or_else(|| "localhost".into()),
        port: MINECRAFT_PORT,
        protocol: Version::of(i32::MAX).since,
    }
}

fn line(site: &Site, heard: &Heard<Result<String, AskError>>) -> String {
    let Site {
        name, kind, address, ..
    } = site;
    let milliseconds = heard.took.as_secs_f64() * 1_000.0;
    let mut line = format!(
        "{} {} {address} ({}): ",
        name.label(),
        kind.label(),
        routes(&site.routes)
    );
    match &heard.answer {
        Ok(answer) => {
            let _ = write!(line, "{answer}, {milliseconds:.1} ms");
        }
        Err(cause) => {
            let problem = heard.problem.as_deref().unwrap_or("no details");
            let _ = write!(
                line,
                "{}: {problem}\n    to do:  {}",
                what(*cause),
                advice(*cause, site.timeout)
            );
        }
    }
    line
}

fn routes(routes: &[Arc<str>]) -> String {
    let shown: Vec<_> = routes
        .iter()
        .take(ROUTES_SHOWN_MAX)
        .map(|route| &**route)
        .collect();
    let rest = routes.len().saturating_sub(shown.len());
    let label = if routes.len() == 1 { "route" } else { "routes" };
    match rest {
        0 => format!("{label} {}", shown.join(", ")),
        rest => format!("{label} {} and {rest} more", shown.join(", ")),
    }
}

fn what(cause: AskError) -> &'static str {
    match cause {
        AskError::Denied => "REFUSES",
        AskError::RateLimited => "IS ASKED TOO OFTEN",
        AskError::Failed => "FAILS",
        AskError::Unreachable => "CANNOT BE REACHED",
        AskError::TimedOut => "DOES NOT ANSWER IN TIME",
        AskError::Overloaded => "WAS NOT ASKED",
    }
}

fn advice(cause: AskError, timeout: Duration) -> String {
    match cause {
        AskError::Denied => "see the service's own log for why it says no".to_owned(),
        AskError::RateLimited => "ask less often: raise its refresh interval, or its own limit".to_owned(),
        AskError::Failed => "see the problem above and the service's own log".to_owned(),
        AskError::Unreachable => {
            "start the service, or correct its address, its certificate or the firewall".to_owned()
        }
        AskError::TimedOut => format!(
            "find out what keeps it, or raise its timeout ({} s)",
            timeout.as_secs_f64()
        ),
        AskError::Overloaded => "try again".to_owned(),
    }
}
