//! Mojang's session server, or one that speaks like it: has this player announced this very connection?
//!
//! `GET …/session/minecraft/hasJoined` as minecraft.wiki describes it under "Java Edition
//! protocol/Encryption": 200 with the profile, or 204 if the player has not joined with this secret and key.

use passage_proto::identity::{Profile, SharedSecret, server_hash};
use passage_proto::question::{AskError, AuthenticateQuery, Refusal};
use passage_proto::text::keys;
use passage_shards::ask::authentication_refusal as refusal;
use passage_shards::metrics::{AdapterName, AdapterType};
use ureq::http::uri::{InvalidUri, Uri};
use ureq::http::{Request, StatusCode};

use super::call::{Attempt, Caller, Failure, Repeat};
use super::web::Web;
use super::{Answer, AuthenticationService, Call, Reachable, refusal_with};
use crate::config;
use crate::tls::Trust;

/// Longest answer that is read. A profile with its signed skin takes about 2 KiB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// Longest name of a premium account.
const NAME_BYTES_MAX: usize = 16;
const PATH: &str = "/session/minecraft/hasJoined";

/// A session server.
#[derive(Debug)]
pub struct Mojang {
    address: String,
    prevent_proxy_connections: bool,
    web: Web,
    caller: Caller,
}

/// What a session server knows of a player.
enum Knowledge {
    Joined(Profile),
    NotJoined,
    /// The account may not play with others.
    Banned,
}

impl Mojang {
    /// Keeps connections to the session server of `settings`; the first is made when there is a first
    /// question.
    #[must_use]
    pub fn new(settings: config::Mojang, trust: &Trust) -> Self {
        let policy = settings.remote;
        let address = settings.url + PATH;
        Self {
            prevent_proxy_connections: settings.prevent_proxy_connections,
            web: Web::new(&policy, trust),
            caller: Caller::new(
                AdapterName::Authentication,
                AdapterType::Mojang,
                &*address,
                policy,
            ),
            address,
        }
    }

    async fn ask(
        &self,
        query: &AuthenticateQuery,
        secret: &SharedSecret,
        call: Call,
    ) -> Result<Knowledge, AskError> {
        let uri = self.uri(query, secret).map_err(|error| {
            tracing::error!(address = self.address, %error, "the session server's address is no URL");
            AskError::Failed
        })?;
        // It only tells what it knows: asking twice does no harm.
        let ask = |attempt: Attempt| self.ask_once(attempt, uri.clone(), &query.claim.name);
        self.caller.call(call, Repeat::Safe, ask).await
    }

    async fn ask_once(&self, attempt: Attempt, uri: Uri, name: &str) -> Result<Knowledge, Failure> {
        let mut request = Request::new(());
        *request.uri_mut() = uri;
        let page = self.web.send(&attempt, request, ANSWER_BYTES_MAX).await?;
        match page.status {
            StatusCode::OK => profile(name, &page.body).map(Knowledge::Joined),
            StatusCode::NO_CONTENT => Ok(Knowledge::NotJoined),
            StatusCode::FORBIDDEN => Ok(Knowledge::Banned),
            _ => Err(page.unexpected()),
        }
    }

    /// Names of accounts, hashes and addresses have no characters that a query would have to escape.
    fn uri(&self, query: &AuthenticateQuery, secret: &SharedSecret) -> Result<Uri, InvalidUri> {
        let hash = server_hash("", secret, &query.public_key);
        let mut uri = format!("{}?username={}&serverId={hash}", self.address, query.claim.name);
        if self.prevent_proxy_connections {
            uri += &format!("&ip={}", query.client.address.ip().to_canonical());
        }
        uri.parse()
    }
}

impl Reachable for Mojang {
    /// Asks for the base address. Whatever is answered, somebody is there.
    fn reach(&self, call: Call) -> Answer<'_, Result<(), AskError>> {
        let base = self.address.strip_suffix(PATH).unwrap_or(&self.address);
        Box::pin(self.caller.call(call, Repeat::Safe, move |attempt| async move {
            let mut request = Request::new(());
            *request.uri_mut() = base
                .parse()
                .map_err(|error| Failure::lasting(AskError::Failed, error))?;
            let page = self.web.send(&attempt, request, ANSWER_BYTES_MAX).await?;
            if page.status.is_server_error() {
                return Err(page.unexpected());
            }
            Ok(())
        }))
    }
}

impl AuthenticationService for Mojang {
    fn authenticate<'a>(
        &'a self,
        query: &'a AuthenticateQuery,
        call: Call,
    ) -> Answer<'a, Result<Profile, Refusal>> {
        Box::pin(async move {
            if !is_account_name(&query.claim.name) {
                return Err(refusal_with(keys::DISCONNECT_INVALID_NAME, AskError::Denied));
            }
            let Some(secret) = &query.shared_secret else {
                tracing::error!("a login without a secret cannot be authenticated");
                return Err(refusal(AskError::Failed));
            };
            match self.ask(query, secret, call).await {
                Ok(Knowledge::Joined(profile)) => Ok(profile),
                Ok(Knowledge::NotJoined) => Err(refusal(AskError::Denied)),
                Ok(Knowledge::Banned) => Err(refusal_with(
                    keys::DISCONNECT_AUTHENTICATION_REFUSED,
                    AskError::Denied,
                )),
                Err(cause) => Err(refusal(cause)),
            }
        })
    }

    fn threads(&self) -> usize {
        self.caller.policy().concurrency
    }
}

/// Reads a page about the player who claims this name.
pub(super) fn profile(claimed: &str, page: &[u8]) -> Result<Profile, Failure> {
    let no_profile = |problem: String| Failure::lasting(AskError::Failed, problem);
    let profile: Profile =
        serde_json::from_slice(page).map_err(|error| no_profile(format!("no profile: {error}")))?;
    if !profile.name.eq_ignore_ascii_case(claimed) {
        return Err(no_profile("the profile of another player".into()));
    }
    Ok(profile)
}

fn is_account_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests;
