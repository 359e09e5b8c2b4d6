//! What the server list shows.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use passage_proto::limits::STATUS_SAMPLE_MAX;
use passage_proto::question::{AskError, ClientInfo};
use passage_proto::status::{Players, SamplePlayer, StatusDocument, StatusReply};
use uuid::Uuid;

use super::contract::status_client::StatusClient;
use super::contract::{self, StatusData, StatusRequest, StatusResponse};
use super::{Service, message};
use crate::adapters::call::Repeat;
use crate::adapters::{Answer, Call, FreshStatus, StatusService};

/// Longest answer that is read, in bytes: several times what a client takes.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Largest player count that clients can read.
const COUNT_MAX: u32 = i32::MAX.unsigned_abs();
const PNG_URI: &str = "data:image/png;base64,";

impl StatusService for Service {
    fn status<'a>(&'a self, client: &'a ClientInfo, call: Call) -> Answer<'a, Result<FreshStatus, AskError>> {
        Box::pin(async move {
            let question = || StatusRequest {
                client_address: Some(message::client_address(client.address)),
                server_address: Some(message::server_address(client)),
                protocol: message::protocol(client.protocol),
            };
            let answer = self.ask(
                call,
                Repeat::Safe,
                question,
                |channel, request| async move {
                    let client = StatusClient::new(channel);
                    let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
                    client.get_status(request).await
                },
                |answer: StatusResponse| answer.status.map(read).transpose(),
            );
            let status = answer.await?.ok_or(AskError::Denied)?;
            Ok(Arc::new(status).into())
        })
    }
}

fn read(status: StatusData) -> Result<StatusReply, String> {
    let version = status.version.ok_or("a status without a version")?;
    let favicon = status.favicon.filter(|bytes| !bytes.is_empty());
    let document = StatusDocument {
        version_name: version.name,
        preferred: version.protocol,
        // No client has a version in this range: all are shown what the service says.
        minimum: i32::MAX,
        maximum: i32::MAX,
        players: status.players.map(players).transpose()?,
        description: status.description,
        favicon: favicon.map(favicon_uri).transpose()?,
        enforces_secure_chat: status.enforces_secure_chat,
    };
    StatusReply::new(&document).map_err(|problem| problem.to_string())
}

fn players(players: contract::Players) -> Result<Players, String> {
    if players.samples.len() > STATUS_SAMPLE_MAX {
        let count = players.samples.len();
        return Err(format!(
            "{count} players in the sample, at most {STATUS_SAMPLE_MAX} are allowed"
        ));
    }
    let sample = players.samples.into_iter().map(|entry| {
        let id = match entry.id.as_str() {
            "" => Uuid::nil(),
            id => Uuid::try_parse(id).map_err(|_| "a player in the sample whose id is no UUID".to_owned())?,
        };
        Ok(SamplePlayer { name: entry.name, id })
    });
    Ok(Players {
        max: players.max.min(COUNT_MAX),
        online: players.online.min(COUNT_MAX),
        sample: sample.collect::<Result<_, String>>()?,
    })
}

/// The icon as clients want it. A service may have written that already.
fn favicon_uri(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(PNG_URI.as_bytes()) {
        return String::from_utf8(bytes).map_err(|_| "a favicon that is no text".into());
    }
    Ok(PNG_URI.to_owned() + &STANDARD.encode(bytes))
}
