//! Targets, filtered or changed for one player.

use std::sync::Arc;

use passage_proto::question::{ChooseQuery, Refusal, Target};
use passage_shards::ask::choice_refusal;

use super::contract::apply_response::Reason;
use super::contract::discovery_action_client::DiscoveryActionClient;
use super::contract::{ApplyRequest, ApplyResponse};
use super::discovery::TARGETS_BYTES_MAX;
use super::{Service, message};
use crate::adapters::call::Repeat;
use crate::adapters::{ActionService, Answer, Call};

impl ActionService for Service {
    fn apply<'a>(
        &'a self,
        query: &'a ChooseQuery,
        targets: &'a [Arc<Target>],
        call: Call,
    ) -> Answer<'a, Result<Vec<Arc<Target>>, Refusal>> {
        Box::pin(async move {
            let question = || ApplyRequest {
                client: Some(message::client(&query.client)),
                player: query.player.as_ref().map(message::player),
                targets: message::targets(targets),
            };
            let answer = self.ask(
                call,
                Repeat::Safe,
                question,
                |channel, request| async move {
                    let client = DiscoveryActionClient::new(channel);
                    let mut client = client.max_decoding_message_size(TARGETS_BYTES_MAX);
                    client.apply(request).await
                },
                |answer| read(answer, targets),
            );
            answer.await.unwrap_or_else(|cause| Err(choice_refusal(cause)))
        })
    }
}

/// The targets that are left, or the service's refusal.
fn read(answer: ApplyResponse, offered: &[Arc<Target>]) -> Result<Result<Vec<Arc<Target>>, Refusal>, String> {
    match answer.reason {
        Some(Reason::Targets(left)) => message::read_targets(left.targets, offered).map(Ok),
        Some(Reason::Key(key)) => message::refusal(key).map(Err),
        None => Err("neither targets nor key".into()),
    }
}
