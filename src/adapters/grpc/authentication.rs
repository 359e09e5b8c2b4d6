//! Who a player is.

use passage_proto::identity::{Profile, Property};
use passage_proto::question::{AuthenticateQuery, Refusal};
use passage_shards::ask::authentication_refusal;
use uuid::Uuid;

use super::contract::authentication_client::AuthenticationClient;
use super::contract::authentication_response::Reason;
use super::contract::{self, AuthenticationRequest, AuthenticationResponse, PlayerInfo};
use super::{Service, message};
use crate::adapters::call::Repeat;
use crate::adapters::{Answer, AuthenticationService, Call};

/// Longest answer that is read, in bytes: more than the largest profile that a client can be told takes.
const ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

impl AuthenticationService for Service {
    fn authenticate<'a>(
        &'a self,
        query: &'a AuthenticateQuery,
        call: Call,
    ) -> Answer<'a, Result<Profile, Refusal>> {
        Box::pin(async move {
            let answer = self.ask(
                call,
                Repeat::Never,
                || question(query),
                |channel, request| async move {
                    let client = AuthenticationClient::new(channel);
                    let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
                    client.authenticate(request).await
                },
                read,
            );
            answer
                .await
                .unwrap_or_else(|cause| Err(authentication_refusal(cause)))
        })
    }
}

fn question(query: &AuthenticateQuery) -> AuthenticationRequest {
    let secret = query.shared_secret.as_ref();
    AuthenticationRequest {
        client: Some(message::client(&query.client)),
        player: Some(PlayerInfo {
            name: query.claim.name.clone(),
            id: query.claim.id.hyphenated().to_string(),
        }),
        shared_secret: secret.map(|secret| secret.expose().to_vec()).unwrap_or_default(),
        encoded_public: query.public_key.to_vec(),
    }
}

/// The player's profile, or the service's refusal.
fn read(answer: AuthenticationResponse) -> Result<Result<Profile, Refusal>, String> {
    match answer.reason {
        Some(Reason::Profile(profile)) => read_profile(profile).map(Ok),
        Some(Reason::Key(key)) => message::refusal(key).map(Err),
        None => Err("neither profile nor key".into()),
    }
}

fn read_profile(answered: contract::Profile) -> Result<Profile, String> {
    let id = Uuid::try_parse(&answered.id).map_err(|_| "a profile whose id is no UUID".to_owned())?;
    if answered.name.contains(char::is_control) {
        return Err("a profile with control characters in its name".into());
    }
    let properties = answered.properties.into_iter().map(|property| Property {
        name: property.name,
        value: property.value,
        signature: property.signature,
    });
    let profile = Profile {
        id,
        name: answered.name,
        properties: properties.collect(),
    };
    profile.check().map_err(|problem| problem.to_string())?;
    Ok(profile)
}
