//! What a connection waits for while somebody else works.

use std::rc::Rc;
use std::time::{Duration, Instant};

use passage_proto::Now;
use passage_proto::question::{Answer, AskError, LocalizeQuery, Target};

use super::Connection;
use super::choosing::Choosing;
use super::status::Vigil;
use crate::ask::{Pending, RemoteAnswer, RemoteQuestion};
use crate::metrics::{AdapterName, AdapterType, Bound, error_type};
use crate::report;
use crate::route::Remote;
use crate::shard::Decrypting;
use crate::trace::{SpanName, Value, attribute};

/// A question that somebody else works on.
pub(super) enum Errand {
    /// The private key's owner decrypts.
    Decryption(Decrypting),
    /// An authenticator is asked who the player is.
    Authentication(Call),
    /// Discovery, an action or the strategy is asked where the player goes.
    Choice(Call, Box<Choosing>),
    /// A status is asked for of which this shard has no copy yet.
    Status(Vigil),
    /// A service is asked for the words of a last message.
    Words(Call, Box<LocalizeQuery>),
}

/// A question of this connection to a remote adapter, on its way. One that is given up because its player
/// goes or the session asks something else is counted nowhere: nobody knows whether the service was called.
pub(super) struct Call {
    pending: Pending,
    name: AdapterName,
    kind: AdapterType,
    began: Instant,
    deadline: Instant,
}

/// What the span of an adapter's work says besides the adapter.
#[derive(Clone, Copy)]
pub(super) enum Detail<'a> {
    Nothing,
    /// So many targets were found, or are left.
    Found(usize),
    /// This one was chosen.
    Selected(&'a Target),
}

impl Detail<'_> {
    fn attribute(self) -> Option<(&'static str, Value)> {
        match self {
            Self::Nothing => None,
            Self::Found(count) => Some((attribute::TARGETS_FOUND, Value::count(count))),
            Self::Selected(target) => Some((attribute::SELECTED_TARGET, Value::text(&*target.identifier))),
        }
    }
}

impl Errand {
    /// When nobody waits for it any more; `None` for what certainly comes.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Decryption(_) => None,
            Self::Authentication(call) | Self::Choice(call, _) | Self::Words(call, _) => Some(call.deadline),
            Self::Status(vigil) => Some(vigil.deadline()),
        }
    }
}

impl Call {
    /// When nobody waits for the answer any more.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What became of the call; `None` as long as an answer may come.
    pub(super) fn outcome(&self, now: Instant) -> Option<Result<RemoteAnswer, AskError>> {
        match self.pending.take() {
            Some(answer) => Some(Ok(answer)),
            None => (self.deadline <= now).then_some(Err(AskError::TimedOut)),
        }
    }
}

impl Connection {
    /// Hands the session what came of the errand, if it is done or nobody can wait for it any longer.
    pub(super) fn pursue_errand(&mut self, now: Now) {
        let Some(errand) = self.errand.take() else { return };
        let answer = match errand {
            Errand::Decryption(decrypting) => match decrypting.take() {
                Some(secret) => Some(Answer::Secret(secret)),
                None => return self.errand = Some(Errand::Decryption(decrypting)),
            },
            Errand::Authentication(call) => match call.outcome(now.instant) {
                Some(outcome) => Some(self.authenticated(&call, outcome)),
                None => return self.errand = Some(Errand::Authentication(call)),
            },
            Errand::Choice(call, choosing) => match call.outcome(now.instant) {
                Some(outcome) => self.go_on_choosing(&call, outcome, choosing),
                None => return self.errand = Some(Errand::Choice(call, choosing)),
            },
            Errand::Status(vigil) => self.keep_vigil(vigil, now.instant),
            Errand::Words(call, query) => match call.outcome(now.instant) {
                Some(outcome) => Some(Answer::Text(self.worded(&call, outcome, &query))),
                None => return self.errand = Some(Errand::Words(call, query)),
            },
        };
        if let Some(answer) = answer {
            self.session.answer(answer, now);
        }
    }

    /// Asks a remote adapter on behalf of this connection, and waits at most `patience` for it.
    ///
    /// # Errors
    ///
    /// Why it could not even be asked, which is counted here.
    pub(super) fn call(
        &mut self,
        name: AdapterName,
        adapter: Remote,
        patience: Duration,
        question: RemoteQuestion,
    ) -> Result<Call, AskError> {
        let (kind, began) = (adapter.kind, self.shard.engine.now());
        let deadline = began + patience;
        let notifier = self.socket.notifier();
        let notify = Rc::new(move || notifier.notify());
        if let (Some(span), Some(trace)) = (span(name), self.record.trace()) {
            trace.open(span, vec![by(kind)]);
        }
        let trace = self.record.innermost();
        let pending = self.shard.desk.ask(question, deadline, trace, notify);
        let pending = pending.inspect_err(|cause| {
            self.count_call(name, kind, Duration::ZERO, Some(*cause));
            if let (Some(span), Some(trace)) = (span(name), self.record.trace()) {
                trace.close(span, None, Some(describe(*cause)));
            }
            if *cause == AskError::Overloaded {
                self.shard.count(|meter| meter.shed(Bound::ControlQueue));
            }
        })?;
        Ok(Call {
            pending,
            name,
            kind,
            began,
            deadline,
        })
    }

    /// A call has come to this.
    pub(super) fn concluded(&mut self, call: &Call, detail: Detail<'_>, error: Option<AskError>) {
        let took = self.shard.engine.now().saturating_duration_since(call.began);
        self.count_call(call.name, call.kind, took, error);
        if let (Some(span), Some(trace)) = (span(call.name), self.record.trace()) {
            trace.close(span, detail.attribute(), error.map(describe));
        }
    }

    /// An adapter that is at hand was used.
    pub(super) fn used(
        &mut self,
        name: AdapterName,
        kind: AdapterType,
        began: Instant,
        detail: Detail<'_>,
        error: Option<AskError>,
    ) {
        self.count_call(name, kind, began.elapsed(), error);
        self.show(name, kind, began, detail, error);
    }

    /// Adds the span of something that is done.
    pub(super) fn show(
        &mut self,
        name: AdapterName,
        kind: AdapterType,
        began: Instant,
        detail: Detail<'_>,
        error: Option<AskError>,
    ) {
        if let (Some(span), Some(trace)) = (span(name), self.record.trace()) {
            let attributes = [by(kind)].into_iter().chain(detail.attribute()).collect();
            trace.add(span, began, attributes, error.map(describe));
        }
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
}

/// The span of an adapter's work. That of a status is the request's, and words have none.
fn span(name: AdapterName) -> Option<SpanName> {
    match name {
        AdapterName::Authentication => Some(SpanName::Authentication),
        AdapterName::Discovery => Some(SpanName::Discovery),
        AdapterName::Action => Some(SpanName::DiscoveryAction),
        AdapterName::Strategy => Some(SpanName::Strategy),
        AdapterName::Status | AdapterName::Localization => None,
    }
}

fn by(kind: AdapterType) -> (&'static str, Value) {
    (attribute::ADAPTER_TYPE, Value::text(kind.label()))
}

fn describe(cause: AskError) -> String {
    error_type(cause).to_owned()
}
