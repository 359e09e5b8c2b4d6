//! A player on the way to a target: discovery, each action, the strategy.
//!
//! A step that is at hand is taken on the spot. One that only the control thread can take is an errand, whose
//! answer goes on with the next step; meanwhile the shard serves everybody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use passage_proto::question::{Answer, AskError, ChooseQuery, Refusal, Target};
use passage_proto::session::Stage;

use super::Connection;
use super::answers::internal;
use super::errand::{Call, Detail, Errand};
use crate::ask::{RemoteAnswer, RemoteQuestion, TARGETS_MAX, choice_refusal};
use crate::feed::Candidate;
use crate::metrics::{AdapterName, AdapterType};
use crate::route::{Action, Choice, Discovery, Remote, Route, Strategy};
use crate::shard::RouteRef;
use crate::trace::{SpanName, Value, attribute};

/// How far a player has come.
pub(super) struct Choosing {
    query: Box<ChooseQuery>,
    candidates: Arc<[Candidate]>,
    step: Step,
    /// Targets that could not be dialled; they are not chosen again.
    tried: Vec<Arc<Target>>,
}

#[derive(Clone, Copy)]
enum Step {
    Discovery,
    /// The action at this position; behind the last one comes the strategy.
    Action(usize),
    Strategy,
}

/// What a step led to.
enum Taken {
    /// These are left.
    Candidates(Arc<[Candidate]>),
    /// This one is it.
    Target(Arc<Target>),
    /// The control thread will say.
    Asked(Call),
}

impl Choosing {
    fn begin(query: Box<ChooseQuery>) -> Box<Self> {
        Box::new(Self {
            query,
            candidates: Arc::default(),
            step: Step::Discovery,
            tried: Vec::new(),
        })
    }

    /// How many targets could still be chosen.
    pub(super) fn untried(&self) -> usize {
        self.candidates.len().saturating_sub(self.tried.len())
    }

    fn targets(&self) -> Vec<Arc<Target>> {
        let targets = self.candidates.iter().map(|candidate| &candidate.target);
        targets.cloned().collect()
    }

    /// Goes on with these candidates.
    fn keep(&mut self, candidates: Arc<[Candidate]>) {
        self.candidates = candidates;
        self.step = match self.step {
            Step::Discovery => Step::Action(0),
            Step::Action(at) => Step::Action(at + 1),
            Step::Strategy => Step::Strategy,
        };
    }

    /// The targets that a service has found or left. What is known of the health of those that it was offered
    /// still holds.
    fn judged(&self, targets: Vec<Arc<Target>>) -> Result<Arc<[Candidate]>, Refusal> {
        if targets.len() > TARGETS_MAX {
            return Err(choice_refusal(AskError::Failed));
        }
        if self.candidates.is_empty() {
            return Ok(targets.into_iter().map(Candidate::from).collect());
        }
        let known: HashMap<_, _> = self
            .candidates
            .iter()
            .map(|candidate| ((&*candidate.target.host, candidate.target.port), candidate))
            .collect();
        let judge = |target: Arc<Target>| {
            let known = known.get(&(&*target.host, target.port));
            let (is_healthy, latency) = known.map_or((true, None), |known| (known.is_healthy, known.latency));
            Candidate {
                target,
                is_healthy,
                latency,
            }
        };
        Ok(targets.into_iter().map(judge).collect())
    }

    /// The target that the strategy's service means: what it answers only names one of those that it was
    /// offered. Any other would not have passed the actions, and is a mistake of the service.
    fn offered(&self, answer: &Target) -> Result<Arc<Target>, Refusal> {
        let mut offered = self.candidates.iter().map(|candidate| &candidate.target);
        let meant = offered.find(|target| target.identifier == answer.identifier);
        meant.cloned().ok_or_else(|| choice_refusal(AskError::Failed))
    }
}

impl Connection {
    /// The target for the session; `None` if the control thread has to be asked.
    pub(super) fn choose(&mut self, query: Box<ChooseQuery>) -> Option<Answer> {
        self.advance(Choosing::begin(query), None)
    }

    /// An errand of a choice has come to this.
    pub(super) fn go_on_choosing(
        &mut self,
        call: &Call,
        outcome: Result<RemoteAnswer, AskError>,
        choosing: Box<Choosing>,
    ) -> Option<Answer> {
        let taken = self.taken(call, outcome, &choosing);
        self.advance(choosing, Some(taken))
    }

    /// The next best target, now that this one could not be dialled.
    pub(super) fn choose_again(&mut self, failed: &Arc<Target>) -> Option<Arc<Target>> {
        let mut choosing = self.choosing.take()?;
        choosing.tried.push(Arc::clone(failed));
        if choosing.untried() == 0 {
            return None;
        }
        let route = self.route.clone()?;
        let chosen = self.pick(&route, route.route()?, &choosing).ok()?;
        self.choosing = Some(choosing);
        self.settle_on(&chosen);
        Some(chosen)
    }

    /// Takes steps until one has to wait or the end is reached.
    fn advance(
        &mut self,
        mut choosing: Box<Choosing>,
        mut taken: Option<Result<Taken, Refusal>>,
    ) -> Option<Answer> {
        loop {
            let step = taken.take().unwrap_or_else(|| self.step(&mut choosing));
            match step {
                Ok(Taken::Candidates(candidates)) => choosing.keep(candidates),
                Ok(Taken::Asked(call)) => {
                    self.errand = Some(Errand::Choice(call, choosing));
                    return None;
                }
                Ok(Taken::Target(target)) => return Some(self.chosen(Ok(target), choosing)),
                Err(refusal) => return Some(self.chosen(Err(refusal), choosing)),
            }
        }
    }

    fn step(&mut self, choosing: &mut Choosing) -> Result<Taken, Refusal> {
        let at = self.route.clone().ok_or_else(internal)?;
        let route = at.route().ok_or_else(internal)?;
        if let Step::Action(position) = choosing.step {
            match route.actions.get(position) {
                Some(action) => return self.act(action, choosing),
                None => choosing.step = Step::Strategy,
            }
        }
        match choosing.step {
            Step::Discovery => self.discover(&route.discovery, choosing),
            Step::Action(_) | Step::Strategy => self.select(&at, route, choosing),
        }
    }

    fn discover(&mut self, discovery: &Discovery, choosing: &Choosing) -> Result<Taken, Refusal> {
        let began = Instant::now();
        let candidates = match discovery {
            Discovery::Fixed(candidates) => Arc::clone(candidates),
            Discovery::Feed { feed, kind } => {
                let news = self.shard.board.borrow().targets(*feed).cloned();
                news.ok_or_else(|| self.refused(AdapterName::Discovery, *kind, began, AskError::Unreachable))?
            }
            Discovery::Remote(remote) => {
                let question = RemoteQuestion::Discover {
                    adapter: remote.adapter,
                    query: choosing.query.clone(),
                };
                return self.ask(AdapterName::Discovery, *remote, question);
            }
        };
        let kind = discovery.kind();
        if kind == AdapterType::Fixed {
            self.used(
                AdapterName::Discovery,
                kind,
                began,
                Detail::Found(candidates.len()),
                None,
            );
        } else {
            // What the control thread refreshes in the background is counted there.
            self.show(
                AdapterName::Discovery,
                kind,
                began,
                Detail::Found(candidates.len()),
                None,
            );
        }
        Ok(Taken::Candidates(candidates))
    }

    fn act(&mut self, action: &Action, choosing: &Choosing) -> Result<Taken, Refusal> {
        let began = Instant::now();
        let player = choosing.query.player.as_ref();
        let candidates = || Arc::clone(&choosing.candidates);
        let left = match action {
            Action::Meta(filter) => Ok(filter.keep(candidates())),
            Action::Allow(filter) => filter.allow(player).map(|()| candidates()),
            Action::Block(filter) => filter.block(player).map(|()| candidates()),
            Action::Remote(remote) => {
                let question = RemoteQuestion::Act {
                    adapter: remote.adapter,
                    query: choosing.query.clone(),
                    targets: choosing.targets(),
                };
                return self.ask(AdapterName::Action, *remote, question);
            }
        };
        let (detail, error) = match &left {
            Ok(candidates) => (Detail::Found(candidates.len()), None),
            Err(refusal) => (Detail::Nothing, Some(refusal.cause)),
        };
        self.used(AdapterName::Action, action.kind(), began, detail, error);
        left.map(Taken::Candidates)
    }

    fn select(&mut self, at: &RouteRef, route: &Route, choosing: &Choosing) -> Result<Taken, Refusal> {
        match &route.strategy {
            // With nothing to choose from nobody needs to be asked.
            Strategy::Remote(remote) if !choosing.candidates.is_empty() => {
                let question = RemoteQuestion::Select {
                    adapter: remote.adapter,
                    query: choosing.query.clone(),
                    targets: self.weigh(at, route, choosing, |choice| choice.usable()),
                };
                self.ask(AdapterName::Strategy, *remote, question)
            }
            Strategy::Remote(_) => Err(choice_refusal(AskError::Denied)),
            _ => self.pick(at, route, choosing).map(Taken::Target),
        }
    }

    /// Has the shard itself choose, which no strategy's service can do for a target that has failed.
    fn pick(&mut self, at: &RouteRef, route: &Route, choosing: &Choosing) -> Result<Arc<Target>, Refusal> {
        let began = Instant::now();
        let chosen = self.weigh(at, route, choosing, |choice| {
            route
                .strategy
                .choose(choice, &mut self.shard.chooser.borrow_mut())
        });
        let (detail, error) = match &chosen {
            Ok(target) => (Detail::Selected(target), None),
            Err(refusal) => (Detail::Nothing, Some(refusal.cause)),
        };
        let kind = route.strategy.kind();
        match route.strategy {
            // No call to the service: nothing is counted as one.
            Strategy::Remote(_) => self.show(AdapterName::Strategy, kind, began, detail, error),
            _ => self.used(AdapterName::Strategy, kind, began, detail, error),
        }
        chosen
    }

    /// Decides between the candidates, with what this shard knows of them.
    fn weigh<T>(
        &self,
        at: &RouteRef,
        route: &Route,
        choosing: &Choosing,
        decide: impl FnOnce(&Choice<'_>) -> T,
    ) -> T {
        let candidates = &choosing.candidates;
        let ejections = self.shard.ejections.borrow();
        let now = self.shard.engine.now();
        decide(&Choice {
            query: &choosing.query,
            candidates,
            is_ejected: &ejections.among(candidates, &route.ejection, now),
            tried: &choosing.tried,
            route: at.position(),
        })
    }

    fn ask(&mut self, name: AdapterName, remote: Remote, question: RemoteQuestion) -> Result<Taken, Refusal> {
        self.call(name, remote, remote.timeout, question)
            .map(Taken::Asked)
            .map_err(choice_refusal)
    }

    /// What a service's answer leads to.
    fn taken(
        &mut self,
        call: &Call,
        outcome: Result<RemoteAnswer, AskError>,
        choosing: &Choosing,
    ) -> Result<Taken, Refusal> {
        let taken = match (choosing.step, outcome) {
            (Step::Discovery | Step::Action(_), Ok(RemoteAnswer::Targets(targets))) => {
                targets.and_then(|targets| choosing.judged(targets).map(Taken::Candidates))
            }
            (Step::Strategy, Ok(RemoteAnswer::Target(target))) => {
                target.and_then(|target| choosing.offered(&target).map(Taken::Target))
            }
            (_, Ok(_)) => Err(choice_refusal(AskError::Failed)),
            (_, Err(cause)) => Err(choice_refusal(cause)),
        };
        let (detail, error) = match &taken {
            Ok(Taken::Candidates(candidates)) => (Detail::Found(candidates.len()), None),
            Ok(Taken::Target(target)) => (Detail::Selected(target), None),
            Ok(Taken::Asked(_)) => (Detail::Nothing, None),
            Err(refusal) => (Detail::Nothing, Some(refusal.cause)),
        };
        self.concluded(call, detail, error);
        taken
    }

    /// The way is at its end.
    fn chosen(&mut self, chosen: Result<Arc<Target>, Refusal>, choosing: Box<Choosing>) -> Answer {
        if let Some(trace) = self.record.trace() {
            self.session.set_traceparent(trace.parent_of_next().text());
        }
        if let Ok(target) = &chosen {
            self.settle_on(target);
            // Nobody tells us what becomes of a transfer. A relay may have to choose again.
            if self.session.stage() == Stage::Login {
                self.choosing = Some(choosing);
            }
        }
        Answer::Target(chosen)
    }

    /// The player goes to this target now.
    fn settle_on(&mut self, target: &Arc<Target>) {
        self.shard.count(|meter| meter.target_selected(target));
        self.counted = Some(self.shard.chooser.borrow().count(target));
        if let Some(trace) = self.record.trace() {
            trace.open(SpanName::TargetConnection, reached(target));
        }
    }

    /// An adapter that is at hand has nothing to say.
    fn refused(&mut self, name: AdapterName, kind: AdapterType, began: Instant, cause: AskError) -> Refusal {
        self.used(name, kind, began, Detail::Nothing, Some(cause));
        choice_refusal(cause)
    }
}

fn reached(target: &Target) -> Vec<(&'static str, Value)> {
    let address = format!("{}:{}", target.host, target.port);
    vec![
        (attribute::TARGET_IDENTIFIER, Value::text(&*target.identifier)),
        (attribute::TARGET_ADDRESS, Value::text(address)),
    ]
}
