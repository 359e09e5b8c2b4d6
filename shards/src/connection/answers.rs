//! What a session asks: answered on the spot where the shard knows the answer, else somebody's errand.

use std::time::Instant;

use passage_proto::identity::{self, Profile};
use passage_proto::question::{
    Answer, AskError, AuthenticateQuery, EncryptedSecret, Message, Purpose, Question, Refusal, RoutePlan,
    RouteQuery,
};
use passage_proto::session::End;
use passage_proto::text::keys;

use super::Connection;
use super::errand::{Call, Detail, Errand};
use crate::ask::{RemoteAnswer, RemoteQuestion, authentication_refusal};
use crate::limits::rsa_queue_for_newcomers;
use crate::metrics::{AdapterName, AdapterType, Bound};
use crate::route::Authentication;
use crate::shard::RouteRef;

impl Connection {
    /// Answers a question, or sends somebody to find the answer out. A question replaces the one before it.
    pub(super) fn answer(&mut self, question: Question) {
        self.errand = None;
        self.record.observe(self.session.facts());
        let answer = match question {
            Question::Route(query) => Some(self.route(&query)),
            Question::Status(query) => self.status(query),
            Question::Decrypt(encrypted) => self.decrypt(*encrypted),
            Question::Authenticate(query) => self.authenticate(query),
            Question::Choose(query) => self.choose(query),
            Question::Localize(query) => self.localize(query),
        };
        if let Some(answer) = answer {
            self.session.answer(answer, self.shard.now());
        }
    }

    /// What an authenticator's answer means.
    pub(super) fn authenticated(&mut self, call: &Call, outcome: Result<RemoteAnswer, AskError>) -> Answer {
        let profile = match outcome {
            Ok(RemoteAnswer::Profile(profile)) => profile,
            Ok(_) => Err(authentication_refusal(AskError::Failed)),
            Err(cause) => Err(authentication_refusal(cause)),
        };
        let error = profile.as_ref().err().map(|refusal| refusal.cause);
        self.concluded(call, Detail::Nothing, error);
        Answer::Profile(profile)
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
            return Answer::Route(Some(plan));
        };
        self.shard.count(|meter| meter.shed(bound));
        Answer::Route(Some(RoutePlan::Refuse(overloaded())))
    }

    /// Counts the login as one of the shard's; gives the bound that does not let it in.
    fn shed_login(&mut self, plan: &RoutePlan) -> Option<Bound> {
        let encrypts = matches!(plan, RoutePlan::Transfer(plan) if plan.encrypt);
        let queue = rsa_queue_for_newcomers(self.shard.terms.limits.rsa_queue_per_shard);
        if encrypts && self.shard.decryptor.waiting() >= queue {
            return Some(Bound::RsaQueue);
        }
        let admission = &self.shard.admission;
        self.login = admission.login();
        if self.login.is_none() && self.shard.make_room(&admission.entrants) {
            self.login = admission.login();
        }
        self.login.is_none().then_some(Bound::Logins)
    }

    /// Has the secret decrypted. Over the bound the login ends without a word: the client enciphers from here
    /// on, and until its secret is decrypted nothing can be said that it would read.
    fn decrypt(&mut self, encrypted: EncryptedSecret) -> Option<Answer> {
        if self.shard.decryptor.waiting() >= self.shard.terms.limits.rsa_queue_per_shard {
            self.shard.count(|meter| meter.shed(Bound::RsaQueue));
            self.session.dismiss("", End::Refused(AskError::Overloaded));
            return None;
        }
        let decrypting = self.shard.decryptor.submit(encrypted, self.socket.notifier());
        self.errand = Some(Errand::Decryption(decrypting));
        None
    }

    /// The player's profile; `None` if the control thread is asked.
    fn authenticate(&mut self, query: Box<AuthenticateQuery>) -> Option<Answer> {
        let began = Instant::now();
        let reference = self.route.clone();
        let Some(route) = reference.as_ref().and_then(RouteRef::route) else {
            return Some(Answer::Profile(Err(internal())));
        };
        let (kind, profile) = match &route.authentication {
            Authentication::Disabled => (AdapterType::Disabled, unverified(&query)),
            Authentication::Fixed(profile) => (AdapterType::Fixed, profile.clone()),
            Authentication::Remote { adapter, .. } => {
                let question = RemoteQuestion::Authenticate {
                    adapter: adapter.adapter,
                    query,
                };
                match self.call(AdapterName::Authentication, *adapter, adapter.timeout, question) {
                    Ok(call) => self.errand = Some(Errand::Authentication(call)),
                    Err(cause) => return Some(Answer::Profile(Err(authentication_refusal(cause)))),
                }
                return None;
            }
        };
        self.used(AdapterName::Authentication, kind, began, Detail::Nothing, None);
        Some(Answer::Profile(Ok(profile)))
    }
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

/// Something of ours is not as it should be.
pub(super) fn internal() -> Refusal {
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
