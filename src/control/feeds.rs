//! Targets that are asked for in the background: again and again, less often while their source fails, and
//! with the last good answer in force until there is a new one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use passage_proto::question::{AskError, Target};
use passage_shards::feed::Candidate;
use passage_shards::metrics::AdapterName;
use tokio::sync::watch;
use tokio::time::sleep;

use super::guarded::guarded;
use super::news::News;
use super::tally::Tally;
use crate::adapters::call::backoff;
use crate::adapters::{Call, HealthService, Refreshed, TargetFeed};

/// The pause after a first failure.
const FAILURE: Duration = Duration::from_secs(1);
/// The longest pause after failures, where a source is not asked less often anyway.
const FAILURE_MAX: Duration = Duration::from_secs(30);
/// The longest time for which a source can say that its targets are good.
const VALID_FOR_MAX: Duration = Duration::from_secs(3_600);

/// Keeps a feed up to date, for ever.
pub(super) async fn keep(feed: TargetFeed, news: Arc<News>, tally: Tally) {
    let (found, targets) = watch::channel(Vec::new());
    let mut checks = Some(targets);
    let mut failures = 0;
    loop {
        let begun = Instant::now();
        let outcome = ask(&feed).await;
        let error = outcome.as_ref().err().copied();
        tally.count(AdapterName::Discovery, feed.kind, begun.elapsed(), error);
        let pause = match outcome {
            Ok(refreshed) => {
                failures = 0;
                let valid_for = refreshed.valid_for.unwrap_or_default().min(VALID_FOR_MAX);
                match &feed.health {
                    None => publish(&feed, &news, candidates(refreshed.targets)),
                    Some(health) => {
                        found.send_if_modified(|known| replace(known, refreshed.targets));
                        if let Some(targets) = checks.take() {
                            tokio::spawn(check(
                                Arc::clone(health),
                                targets,
                                feed.clone(),
                                Arc::clone(&news),
                            ));
                        }
                    }
                }
                backoff::about(feed.refresh_interval, rand::random()).max(valid_for)
            }
            Err(_) => {
                failures += 1;
                let longest = feed.refresh_interval.max(FAILURE_MAX);
                backoff::pause(failures, FAILURE, longest, rand::random())
            }
        };
        sleep(pause).await;
    }
}

async fn ask(feed: &TargetFeed) -> Result<Refreshed, AskError> {
    let source = Arc::clone(&feed.source);
    let call = Call {
        deadline: Instant::now() + feed.timeout,
        trace: None,
    };
    guarded(call.deadline, async move { source.refresh(call).await }).await
}

/// Has targets checked for as long as there are any to come. Checks that panic begin again.
async fn check(
    health: Arc<dyn HealthService>,
    targets: watch::Receiver<Vec<Arc<Target>>>,
    feed: TargetFeed,
    news: Arc<News>,
) {
    loop {
        let (health, targets) = (Arc::clone(&health), targets.clone());
        let (feed, news) = (feed.clone(), Arc::clone(&news));
        let watch = tokio::spawn(async move {
            let publish = |candidates| publish(&feed, &news, candidates);
            health.watch(targets, &publish).await;
        });
        if watch.await.is_ok() {
            return;
        }
        sleep(FAILURE).await;
    }
}

fn publish(feed: &TargetFeed, news: &News, candidates: Vec<Candidate>) {
    feed.latest.send_if_modified(|known| {
        let is_new = **known != *candidates;
        if is_new {
            *known = candidates.as_slice().into();
        }
        is_new
    });
    news.targets(feed.feed, candidates);
}

/// Targets of which nothing is known but that they were discovered.
fn candidates(targets: Vec<Arc<Target>>) -> Vec<Candidate> {
    targets.into_iter().map(Candidate::from).collect()
}

fn replace(known: &mut Vec<Arc<Target>>, targets: Vec<Arc<Target>>) -> bool {
    let is_new = *known != targets;
    *known = targets;
    is_new
}
