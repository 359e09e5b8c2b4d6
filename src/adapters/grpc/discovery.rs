//! Targets for one player.

use std::sync::Arc;

use passage_proto::question::{ChooseQuery, Refusal, Target};
use passage_shards::ask::choice_refusal;

use super::contract::discovery_client::DiscoveryClient;
use super::contract::{TargetRequest, TargetsResponse};
use super::{Service, message};
use crate::adapters::call::Repeat;
use crate::adapters::{Answer, Call, DiscoveryService};

/// Longest answer that is read, in bytes: a KiB for each target.
pub(super) const TARGETS_BYTES_MAX: usize = 4 * 1024 * 1024;

impl DiscoveryService for Service {
    fn discover<'a>(
        &'a self,
        query: &'a ChooseQuery,
        call: Call,
    ) -> Answer<'a, Result<Vec<Arc<Target>>, Refusal>> {
        Box::pin(async move {
            let question = || TargetRequest {
                client: Some(message::client(&query.client)),
            };
            let answer = self.ask(
                call,
                Repeat::Safe,
                question,
                |channel, request| async move {
                    let client = DiscoveryClient::new(channel);
                    let mut client = client.max_decoding_message_size(TARGETS_BYTES_MAX);
                    client.get_targets(request).await
                },
                |answer: TargetsResponse| message::read_targets(answer.targets, &[]),
            );
            answer.await.map_err(choice_refusal)
        })
    }
}
