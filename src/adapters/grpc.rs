//! Services that network operators write themselves, asked over gRPC.
//!
//! The contract is the package `scrayosnet.passage.adapter`, whose `.proto` files are beside this one
//! (`grpc/proto`); `contract` is what the code generator makes of them. What services answer is checked
//! before anybody sees it: an answer that is too large, incomplete or contradictory is a failure of the
//! service.

mod action;
mod authentication;
mod connection;
#[rustfmt::skip]
#[path = "grpc/gen.rs"]
#[expect(
    unreachable_pub,
    unused_qualifications,
    clippy::allow_attributes_without_reason,
    reason = "the code is generated; the `.proto` files say what it means"
)]
mod contract;
mod discovery;
mod localization;
mod message;
mod outcome;
mod status;
mod strategy;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use passage_proto::question::AskError;
use passage_shards::metrics::{AdapterName, AdapterType};
use prost::Message;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

pub use self::connection::{Connection, Connections, UnusableService};
pub use self::localization::Localization;
use super::call::{Caller, Failure, Policy, Repeat};
use super::{Answer, Call, Reachable};

/// Longest question that is sent, in bytes: what servers accept unless they are told otherwise.
const QUESTION_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One service in one role.
#[derive(Debug)]
pub struct Service {
    connection: Arc<Connection>,
    caller: Caller,
}

impl Service {
    /// Asks over this connection, in the role of the adapter `name`, within the bounds of `policy`.
    #[must_use]
    pub fn new(name: AdapterName, connection: Arc<Connection>, policy: Policy) -> Self {
        let caller = Caller::new(name, AdapterType::Grpc, connection.address(), policy);
        Self { connection, caller }
    }

    /// Asks a question with `send`, and has `read` check the answer.
    async fn ask<Q: Message, A, T, F>(
        &self,
        call: Call,
        repeat: Repeat,
        question: impl Fn() -> Q,
        send: impl Fn(Channel, Request<Q>) -> F,
        read: impl Fn(A) -> Result<T, String>,
    ) -> Result<T, AskError>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let read = &read;
        let attempt = |attempt| {
            let question = question();
            let bytes = question.encoded_len();
            let answer = (bytes <= QUESTION_BYTES_MAX).then(|| {
                let request = self.connection.request(question, &attempt);
                send(self.connection.channel(), request)
            });
            async move {
                let answer = answer.ok_or_else(|| too_long(bytes))?.await;
                self.connection.note(&answer);
                let answer = answer.map_err(|status| outcome::failure(&status, self.connection.secret()))?;
                read(answer.into_inner()).map_err(|problem| {
                    Failure::lasting(AskError::Failed, format!("no valid answer: {problem}"))
                })
            }
        };
        self.caller.call(call, repeat, attempt).await
    }
}

impl Reachable for Service {
    fn reach(&self, call: Call) -> Answer<'_, Result<(), AskError>> {
        let connect = |_attempt| self.connection.try_out();
        Box::pin(self.caller.call(call, Repeat::Safe, connect))
    }
}

fn too_long(bytes: usize) -> Failure {
    let problem = format!("the question takes {bytes} bytes, at most {QUESTION_BYTES_MAX} are sent");
    Failure::lasting(AskError::Failed, problem)
}
