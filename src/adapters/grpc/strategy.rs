//! A target, chosen for one player.

use std::sync::Arc;

use passage_proto::question::{AskError, ChooseQuery, Refusal, Target};
use passage_shards::ask::choice_refusal;

use super::contract::strategy_client::StrategyClient;
use super::contract::{SelectRequest, SelectResponse};
use super::{Service, message};
use crate::adapters::call::Repeat;
use crate::adapters::{Answer, Call, StrategyService};

/// Longest answer that is read, in bytes: one target.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

impl StrategyService for Service {
    fn select<'a>(
        &'a self,
        query: &'a ChooseQuery,
        targets: &'a [Arc<Target>],
        call: Call,
    ) -> Answer<'a, Result<Arc<Target>, Refusal>> {
        Box::pin(async move {
            let answer = self.ask(
                call,
                Repeat::Safe,
                || question(query, targets),
                |channel, request| async move {
                    let client = StrategyClient::new(channel);
                    let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
                    client.select_target(request).await
                },
                |answer| read(answer, targets),
            );
            let chosen = answer.await.map_err(choice_refusal)?;
            chosen.ok_or_else(|| choice_refusal(AskError::Denied))
        })
    }
}

fn question(query: &ChooseQuery, targets: &[Arc<Target>]) -> SelectRequest {
    let player = query.player.as_ref().map(message::player).unwrap_or_default();
    SelectRequest {
        client_address: Some(message::client_address(query.client.address)),
        server_address: Some(message::server_address(&query.client)),
        protocol: message::protocol(query.client.protocol),
        username: player.name,
        user_id: player.id,
        targets: message::targets(targets),
    }
}

/// The target that the service chooses, or `None` if it chooses none: an offered one, if it names one of
/// them and no other address, or one of its own.
fn read(answer: SelectResponse, offered: &[Arc<Target>]) -> Result<Option<Arc<Target>>, String> {
    let Some(chosen) = answer.target else {
        return Ok(None);
    };
    let named = offered
        .iter()
        .find(|target| target.identifier == chosen.identifier);
    let is_same = |target: &Target| {
        let address = chosen.address.as_ref();
        address
            .is_none_or(|address| address.hostname == target.host && address.port == u32::from(target.port))
    };
    match named.filter(|target| is_same(target)) {
        Some(target) => Ok(Some(Arc::clone(target))),
        None => message::read_one(chosen).map(Some),
    }
}
