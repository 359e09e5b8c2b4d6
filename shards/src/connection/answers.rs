//! What a session asks: answered on the spot where the shard knows the answer, else somebody's errand.

use std::time::{Duration, Instant};

use passage_proto::Now;
use passage_proto::identity::{self, Profile};
use passage_proto::question::{
    Answer, AskError, AuthenticateQuery, ChooseQuery, EncryptedSecret, LocalizeQuery, Message, Purpose,
    Question, Refusal, RoutePlan, RouteQuery, Target,
};
use passage_proto::status::StatusReply;
use passage_proto::text::keys;
use std::sync::Arc;

use super::Connection;
use crate::ask::{Pending, RemoteAnswer, RemoteQuestion, authentication_refusal};
use crate::feed::StatusKey;
use crate::metrics::{AdapterName, AdapterType, Bound, error_type};
use crate::report;
use crate::route::{Authentication, Choice, Discovery, StatusSource};
use crate::shard::{Decrypting, RouteRef};
use crate::trace::{SpanName, Value, attribute};

/// A question that somebody else works on.
pub(super) enum Errand {
    /// The control thread asks an authenticator.
    Authentication {
        pending: Pending,
        kind: AdapterType,
        began: Instant,
        deadline: Instant,
    },
    /// The private key's owner decrypts.
    Decryption(Decrypting),
}

impl Errand {
    /// When nobody waits for it any more; `None` for what certainly comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Authentication { deadline, .. } => Some(*deadline),
            Self::Decryption(_) => None,
        }
    }
}

impl Connection {
    /// Answers a question, or sends somebody to find the answer out. A question replaces the one before it.
    pub(super) fn answer(&mut self, question: Question) {
        self.errand = None;
        self.record.observe(self.session.facts());
        let answer = match question {
            Question::Route(query) => self.route(&query),
            Question::Status(_) => Answer::Status(self.status()),
            Question::Choose(query) => self.choose(&query),
            Question::Localize(query) => Answer::Text(self.localize(&query)),
            Question::Decrypt(encrypted) => return self.decrypt(encrypted),
            Question::Authenticate(query) => match self.authenticate(query) {
                Some(answer) => answer,
                None => return,
            },
        };
        self.session.answer(answer, self.shard.now());
    }

    /// Hands the session what came of an errand, if it is done.
    pub(super) fn finish_errand(&mut self, now: Now) {
        let answer = match &self.errand {
            Some(Errand::Decryption(decrypting)) => decrypting.take().map(Answer::Secret),
            Some(Errand::Authentication { pending, .. }) => pending.take().map(|answer| match answer {
                RemoteAnswer::Profile(profile) => Answer::Profile(profile),
                _ => Answer::Profile(Err(authentication_refusal(AskError::Failed))),
            }),
            None => None,
        };
        if let Some(answer) = answer {
            self.conclude_errand(answer, now);
        }
    }

    /// Answers for whoever has not answered in time.
    pub(super) fn give_up_errand(&mut self, now: Now) {
        if self
            .errand
            .as_ref()
            .and_then(Errand::deadline)
            .is_some_and(|deadline| deadline <= now.instant)
        {
            self.conclude_errand(
                Answer::Profile(Err(authentication_refusal(AskError::TimedOut))),
                now,
            );
        }
    }

    fn conclude_errand(&mut self, answer: Answer, now: Now) {
        if let Some(Errand::Authentication { kind, began, .. }) = self.errand.take() {
            let took = now.instant.saturating_duration_since(began);
            let error = match &answer {
                Answer::Profile(Err(refusal)) => Some(refusal.cause),
                _ => None,
            };
            self.count_call(AdapterName::Authentication, kind, took, error);
            if let Some(trace) = self.record.trace() {
                trace.close(SpanName::Authentication, error.map(describe));
            }
        }
        self.session.answer(answer, now);
    }

    fn route(&mut self, query: &RouteQuery) -> Answer {
        self.route = self.shard.routes().find_route(&query.hostname);
        self.record.requested(query, self.route.clone());
        let Some(route) = self.route.as_ref().and_then(RouteRef::route) else {
            return Answer::Route(None);
        };
        let plan = route.plan(query, self.shard.decryptor.public_key());
        let shed = if query.purpose == Purpose::Login {
            self.shed_login(&plan)
        } else {
            None
        };
        let Some(bound) = shed else {
            return Answer::Route(Some(Box::new(plan)));
        };
        self.shard.count(|meter| meter.shed(bound));
        Answer::Route(Some(Box::new(RoutePlan::Refuse(overloaded()))))
    }

    /// Counts the login as one of the shard's; gives the bound that does not let it in.
    fn shed_login(&mut self, plan: &RoutePlan) -> Option<Bound> {
        let encrypts = matches!(plan, RoutePlan::Transfer(plan) if plan.encrypt);
        if encrypts && self.shard.decryptor.waiting() >= self.shard.terms.limits.rsa_queue_per_shard {
            return Some(Bound::RsaQueue);
        }
        self.login = self.shard.admission.login();
        self.login.is_none().then_some(Bound::Logins)
    }

    fn status(&self) -> Option<Arc<StatusReply>> {
        let Some(route) = self.route.as_ref().and_then(RouteRef::route) else {
            return self.shard.routes().unknown_host.clone();
        };
        match &route.status {
            StatusSource::Fixed(reply) => {
                let began = Instant::now();
                let reply = Arc::clone(reply);
                self.count_adapter(AdapterName::Status, AdapterType::Fixed, began, None);
                Some(reply)
            }
            StatusSource::Shared { feed, offline, .. } => {
                let board = self.shard.board.borrow();
                let shared = board.status(*feed, StatusKey::Any);
                shared
                    .map(|shared| Arc::clone(&shared.reply))
                    .or_else(|| offline.clone())
            }
        }
    }

    fn choose(&mut self, query: &ChooseQuery) -> Answer {
        let Some(route) = self.route.clone() else {
            return Answer::Target(Err(internal()));
        };
        let chosen = self.choose_on(&route, query);
        if let Some(trace) = self.record.trace() {
            self.session.set_traceparent(trace.parent_of_next().text());
            if let Ok(target) = &chosen {
                trace.open(SpanName::TargetConnection, reached(target));
            }
        }
        Answer::Target(chosen)
    }

    fn choose_on(&mut self, at: &RouteRef, query: &ChooseQuery) -> Result<Arc<Target>, Refusal> {
        let route = at.route().ok_or_else(internal)?;
        let began = Instant::now();
        let kind = route.discovery.kind();
        let targets = match &route.discovery {
            Discovery::Fixed(candidates) => Arc::clone(candidates),
            Discovery::Feed { feed, .. } => self
                .shard
                .board
                .borrow()
                .targets(*feed)
                .cloned()
                .unwrap_or_default(),
            Discovery::Remote(_) => Arc::default(),
        };
        self.count_adapter(AdapterName::Discovery, kind, began, None);
        if let Some(trace) = self.record.trace() {
            let found = (attribute::TARGETS_FOUND, Value::count(targets.len()));
            trace.add(SpanName::Discovery, began, vec![by(kind), found], None);
        }
        let began = Instant::now();
        let chosen = route.strategy.choose(
            &Choice {
                query,
                candidates: &targets,
                is_ejected: &|_| false,
                tried: &[],
                route: at.position(),
            },
            &mut self.shard.chooser.borrow_mut(),
        );
        let (kind, error) = (
            route.strategy.kind(),
            chosen.as_ref().err().map(|refusal| refusal.cause),
        );
        self.count_adapter(AdapterName::Strategy, kind, began, error);
        if let Some(trace) = self.record.trace() {
            let selected = chosen.as_ref().ok().map(|target| selected(target));
            let attributes = [by(kind)].into_iter().chain(selected).collect();
            trace.add(SpanName::Strategy, began, attributes, error.map(describe));
        }
        if let Ok(target) = &chosen {
            self.shard.count(|meter| meter.target_selected(target));
        }
        chosen
    }

    pub(super) fn localize(&self, query: &LocalizeQuery) -> String {
        let began = Instant::now();
        let text = match self.route.as_ref().and_then(RouteRef::route) {
            Some(route) => route.localization.words.localize(query),
            None => self.shard.routes().localization.words.localize(query),
        };
        self.count_adapter(AdapterName::Localization, AdapterType::Fixed, began, None);
        text
    }

    fn decrypt(&mut self, encrypted: Box<EncryptedSecret>) {
        let decrypting = self.shard.decryptor.submit(encrypted, self.socket.notifier());
        self.errand = Some(Errand::Decryption(decrypting));
    }

    /// `None` if the control thread is asked.
    fn authenticate(&mut self, query: Box<AuthenticateQuery>) -> Option<Answer> {
        let began = Instant::now();
        let Some(route) = self.route.as_ref().and_then(RouteRef::route) else {
            return Some(Answer::Profile(Err(internal())));
        };
        let (adapter, kind) = match &route.authentication {
            Authentication::Disabled => {
                let profile = unverified(&query);
                self.authenticated_by(AdapterType::Disabled, began);
                return Some(Answer::Profile(Ok(profile)));
            }
            Authentication::Fixed(profile) => {
                let profile = profile.clone();
                self.authenticated_by(AdapterType::Fixed, began);
                return Some(Answer::Profile(Ok(profile)));
            }
            Authentication::Remote { adapter, .. } => (adapter.adapter, adapter.kind),
        };
        let now = self.shard.engine.now();
        let deadline = now + self.shard.terms.limits.step;
        let notifier = self.socket.notifier();
        let question = RemoteQuestion::Authenticate { adapter, query };
        if let Some(trace) = self.record.trace() {
            trace.open(SpanName::Authentication, vec![by(kind)]);
        }
        let trace = self.record.innermost();
        match self
            .shard
            .desk
            .ask(question, deadline, trace, Box::new(move || notifier.notify()))
        {
            Ok(pending) => {
                self.errand = Some(Errand::Authentication {
                    pending,
                    kind,
                    began: now,
                    deadline,
                });
                None
            }
            Err(cause) => {
                self.count_adapter(AdapterName::Authentication, kind, began, Some(cause));
                if let Some(trace) = self.record.trace() {
                    trace.close(SpanName::Authentication, Some(describe(cause)));
                }
                if cause == AskError::Overloaded {
                    self.shard.count(|meter| meter.shed(Bound::ControlQueue));
                }
                Some(Answer::Profile(Err(authentication_refusal(cause))))
            }
        }
    }

    fn count_adapter(&self, name: AdapterName, kind: AdapterType, began: Instant, error: Option<AskError>) {
        self.count_call(name, kind, began.elapsed(), error);
    }

    fn count_call(&self, name: AdapterName, kind: AdapterType, took: Duration, error: Option<AskError>) {
        self.shard.count(|meter| {
            meter.adapter(name, kind, took, error);
            if let Some(exemplar) = self.record.exemplar(took) {
                meter.adapter_exemplar(name, kind, error, exemplar);
            }
        });
        if let Some(cause) = error {
            report::adapter_error(self.session.facts(), &self.record, name, kind, cause);
        }
    }

    /// An authentication was answered without an errand.
    fn authenticated_by(&mut self, kind: AdapterType, began: Instant) {
        self.count_adapter(AdapterName::Authentication, kind, began, None);
        if let Some(trace) = self.record.trace() {
            trace.add(SpanName::Authentication, began, vec![by(kind)], None);
        }
    }
}

fn by(kind: AdapterType) -> (&'static str, Value) {
    (attribute::ADAPTER_TYPE, Value::text(kind.label()))
}

fn selected(target: &Target) -> (&'static str, Value) {
    (attribute::SELECTED_TARGET, Value::text(&*target.identifier))
}

fn reached(target: &Target) -> Vec<(&'static str, Value)> {
    let address = format!("{}:{}", target.host, target.port);
    vec![
        (attribute::TARGET_IDENTIFIER, Value::text(&*target.identifier)),
        (attribute::TARGET_ADDRESS, Value::text(address)),
    ]
}

fn describe(cause: AskError) -> String {
    error_type(cause).to_owned()
}

/// What the client says it is, with the UUID that a server without authentication gives it.
fn unverified(query: &AuthenticateQuery) -> Profile {
    let name = query.claim.name.clone();
    Profile {
        id: identity::offline_id(&name),
        name,
        properties: Vec::new(),
    }
}

fn overloaded() -> Refusal {
    refusal(keys::DISCONNECT_OVERLOADED, AskError::Overloaded)
}

fn internal() -> Refusal {
    refusal(keys::DISCONNECT_INTERNAL, AskError::Failed)
}

fn refusal(key: &'static str, cause: AskError) -> Refusal {
    Refusal {
        message: Message {
            key: key.into(),
            params: Vec::new(),
        },
        cause,
    }
}
