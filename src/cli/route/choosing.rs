//! Discovery, each action, the strategy: the same steps that a shard takes for a player.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use passage_proto::question::{AskError, Refusal, Target};
use passage_shards::ask::choice_refusal;
use passage_shards::feed::Candidate;
use passage_shards::metrics::AdapterType;
use passage_shards::route::{Action, Choice, Chooser, Discovery, Route, Strategy};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::steps::{Steps, address, told};
use super::{Stop, Walk};
use crate::adapters::{HealthService, TargetFeed};
use crate::cli::inquiry::{self, Heard, Inquiry};
use crate::config;

/// Targets that are shown one by one.
const SHOWN_MAX: usize = 10;
/// How long the first checks of all targets may take.
const CHECKS_MAX: Duration = Duration::from_secs(10);

/// What discovery or an action leads to.
type Found = Heard<Result<Arc<[Candidate]>, Refusal>>;

impl Walk<'_> {
    /// The target, or `None` if it cannot be known without asking those who are not asked here.
    pub(super) fn choose(
        &self,
        steps: &mut Steps,
        settings: &config::Route,
        route: &Route,
    ) -> Result<Option<Arc<Target>>, Box<Stop>> {
        let kind = route.discovery.kind().label();
        let Some(found) = self.discover(route) else {
            steps.add(
                "discovery",
                &format!("{kind}, {}; what follows is not known", self.why_not(route)),
            );
            return Ok(None);
        };
        let took = found.took;
        let mut candidates = Stop::unless("discovery", kind, found)?;
        steps.timed("discovery", took, &format!("{kind}, {}", count(&candidates)));
        show(steps, &candidates);
        for (action, settings) in route.actions.iter().zip(&settings.discovery.actions) {
            let kind = action.kind().label();
            let label = match &settings.name {
                Some(name) => format!("{kind} {name:?}"),
                None => kind.to_owned(),
            };
            let Some(found) = self.act(action, &candidates) else {
                steps.add(
                    "action",
                    &format!("{label}, not asked; what follows is not known"),
                );
                return Ok(None);
            };
            let took = found.took;
            let left = Stop::unless("action", &label, found)?;
            steps.timed(
                "action",
                took,
                &format!("{label}, {}", change(&candidates, &left)),
            );
            candidates = left;
        }
        self.select(steps, route, &candidates)
    }

    /// The route's targets; `None` if whoever knows them is not asked.
    pub(super) fn discover(&self, route: &Route) -> Option<Found> {
        match &route.discovery {
            Discovery::Fixed(candidates) => Some(Heard::at_once(Ok(Arc::clone(candidates)))),
            Discovery::Feed { feed, .. } => {
                let feeds = &self.plan.services.targets;
                let feed = feeds.iter().find(|known| known.feed == *feed)?;
                Some(refresh(self.inquiry.as_ref()?, feed))
            }
            Discovery::Remote(remote) if remote.kind == AdapterType::Agones => None,
            Discovery::Remote(remote) => {
                let service = self.plan.services.discovery.get(remote.adapter)?;
                let question = service.discover(&self.query, inquiry::call(remote.timeout));
                Some(self.inquiry.as_ref()?.ask(question).map(of_targets))
            }
        }
    }

    fn why_not(&self, route: &Route) -> &'static str {
        if route.discovery.kind() == AdapterType::Agones && self.inquiry.is_some() {
            "not asked, because it would allocate a game server"
        } else {
            "not asked"
        }
    }

    /// What is left of the targets; `None` if whoever decides is not asked.
    fn act(&self, action: &Action, candidates: &Arc<[Candidate]>) -> Option<Found> {
        let begun = Instant::now();
        let candidates = Arc::clone(candidates);
        let left = match action {
            Action::Meta(filter) => Ok(filter.keep(candidates)),
            Action::Allow(filter) => filter.allow(Some(&self.player)).map(|()| candidates),
            Action::Block(filter) => filter.block(Some(&self.player)).map(|()| candidates),
            Action::Remote(remote) => {
                let service = self.plan.services.actions.get(remote.adapter)?;
                let targets = targets(&candidates);
                let question = service.apply(&self.query, &targets, inquiry::call(remote.timeout));
                return Some(self.inquiry.as_ref()?.ask(question).map(of_targets));
            }
        };
        Some(Heard {
            took: begun.elapsed(),
            ..Heard::at_once(left)
        })
    }

    fn select(
        &self,
        steps: &mut Steps,
        route: &Route,
        candidates: &[Candidate],
    ) -> Result<Option<Arc<Target>>, Box<Stop>> {
        let kind = route.strategy.kind().label();
        let Some(chosen) = self.chosen(&route.strategy, candidates) else {
            steps.add("strategy", &format!("{kind}, not asked"));
            return Ok(None);
        };
        let took = chosen.took;
        let target = Stop::unless("strategy", kind, chosen)?;
        let what = format!("{kind}, chooses {} at {}", target.identifier, address(&target));
        steps.timed("strategy", took, &what);
        Ok(Some(target))
    }

    /// The strategy's choice; `None` if whoever chooses is not asked.
    fn chosen(
        &self,
        strategy: &Strategy,
        candidates: &[Candidate],
    ) -> Option<Heard<Result<Arc<Target>, Refusal>>> {
        match strategy {
            // Nobody is asked to choose out of nothing.
            Strategy::Remote(_) if candidates.is_empty() => {
                Some(Heard::at_once(Err(choice_refusal(AskError::Denied))))
            }
            Strategy::Remote(remote) => {
                let service = self.plan.services.strategies.get(remote.adapter)?;
                let targets = targets(candidates);
                let question = service.select(&self.query, &targets, inquiry::call(remote.timeout));
                Some(self.inquiry.as_ref()?.ask(question))
            }
            strategy => {
                let begun = Instant::now();
                let choice = Choice {
                    query: &self.query,
                    candidates,
                    is_ejected: &|_| false,
                    tried: &[],
                    route: 0,
                };
                let chosen = strategy.choose(&choice, &mut Chooser::new(rand::random()));
                Some(Heard {
                    took: begun.elapsed(),
                    ..Heard::at_once(chosen)
                })
            }
        }
    }
}

impl Stop {
    /// The answer, or why the player goes no further at this step.
    fn unless<T>(step: &'static str, kind: &str, heard: Heard<Result<T, Refusal>>) -> Result<T, Box<Self>> {
        heard.answer.map_err(|refusal| {
            let problem = told(refusal.cause, heard.problem.as_deref());
            Box::new(Self {
                step,
                detail: format!("{kind}, {problem}: "),
                took: Some(heard.took),
                refusal,
            })
        })
    }
}

/// Asks the source of a feed, and whoever checks its targets.
fn refresh(inquiry: &Inquiry, feed: &TargetFeed) -> Found {
    let begun = Instant::now();
    let mut found = inquiry
        .ask(feed.source.refresh(inquiry::call(feed.timeout)))
        .map(|answer| answer.map(|refreshed| refreshed.targets).map_err(choice_refusal))
        .map(of_targets);
    if let (Ok(candidates), Some(health)) = (&mut found.answer, &feed.health) {
        let checked = inquiry.run(first_checks(health.as_ref(), targets(candidates)));
        *candidates = checked.unwrap_or_else(|| Arc::clone(candidates));
        found.took = begun.elapsed();
    }
    if let Ok(candidates) = &found.answer {
        feed.latest.send_replace(Arc::clone(candidates));
    }
    found
}

/// What the first checks say; `None` if they take too long.
async fn first_checks(health: &dyn HealthService, targets: Vec<Arc<Target>>) -> Option<Arc<[Candidate]>> {
    let (_known, known) = watch::channel(targets);
    let (first, found) = (Mutex::new(None), Notify::new());
    let publish = |candidates: Vec<Candidate>| {
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| Arc::<[Candidate]>::from(candidates));
        found.notify_one();
    };
    // Whichever comes first: the watch goes on for ever.
    let checked = async {
        tokio::select! {
            () = health.watch(known, &publish) => {}
            () = found.notified() => {}
        }
    };
    let _in_time = timeout(CHECKS_MAX, checked).await;
    first.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Targets of which nothing else is known.
fn of_targets(answer: Result<Vec<Arc<Target>>, Refusal>) -> Result<Arc<[Candidate]>, Refusal> {
    answer.map(|targets| targets.into_iter().map(Candidate::from).collect())
}

fn targets(candidates: &[Candidate]) -> Vec<Arc<Target>> {
    candidates
        .iter()
        .map(|candidate| Arc::clone(&candidate.target))
        .collect()
}

fn count(candidates: &[Candidate]) -> String {
    match candidates.len() {
        1 => "1 target".to_owned(),
        count => format!("{count} targets"),
    }
}

/// One target a line, with what the health checks say.
fn show(steps: &mut Steps, candidates: &[Candidate]) {
    for candidate in candidates.iter().take(SHOWN_MAX) {
        let target = &candidate.target;
        let mut line = format!(
            "{} at {}, priority {}",
            target.identifier,
            address(target),
            target.priority
        );
        for (key, value) in &target.meta {
            let _ = write!(line, ", {key} = {value:?}");
        }
        match (candidate.is_healthy, candidate.latency) {
            (true, None) => {}
            (true, Some(latency)) => {
                let _ = write!(line, ", healthy, {:.2} ms", latency.as_secs_f64() * 1_000.0);
            }
            (false, _) => line += ", NOT healthy",
        }
        steps.add("", &line);
    }
    if candidates.len() > SHOWN_MAX {
        steps.add("", &format!("and {} more", candidates.len() - SHOWN_MAX));
    }
}

/// What an action has changed.
fn change(before: &[Candidate], after: &[Candidate]) -> String {
    let names = |candidates: &[Candidate]| -> HashSet<String> {
        let names = candidates
            .iter()
            .map(|candidate| candidate.target.identifier.clone());
        names.collect()
    };
    let (old, new) = (names(before), names(after));
    let listed = |names: Vec<&String>| {
        let mut names: Vec<&str> = names.into_iter().map(String::as_str).collect();
        names.sort_unstable();
        let rest = names.len().saturating_sub(SHOWN_MAX);
        names.truncate(SHOWN_MAX);
        let more = if rest > 0 {
            format!(" and {rest} more")
        } else {
            String::new()
        };
        names.join(", ") + &more
    };
    let mut text = format!("{} of {} left", after.len(), count(before));
    let (gone, come) = (
        listed(old.difference(&new).collect()),
        listed(new.difference(&old).collect()),
    );
    if !gone.is_empty() {
        let _ = write!(text, "; without {gone}");
    }
    if !come.is_empty() {
        let _ = write!(text, "; with {come} besides");
    }
    text
}
