//! What services answer in JSON, read without asking them: for whoever wants to see what becomes of any
//! bytes, as `passage-fuzz` does.

use std::sync::Arc;

use passage_proto::identity::Profile;
use passage_proto::question::{LocalizeQuery, Target};
use passage_proto::status::StatusReply;
use passage_shards::route::Localizer as _;

use super::agones::allocation::{self, Allocation};
use super::http;
use super::mojang;
use crate::localization::{Messages, Words};

/// Reads a page of targets (`[discovery]` with `type = "http"`).
///
/// # Errors
///
/// What is wrong with which target.
pub fn targets(page: &[u8]) -> Result<Vec<Arc<Target>>, String> {
    http::targets::read(page)
}

/// Reads a status (`[status]` with `type = "http"`). Parts that no client can show are left out.
///
/// # Errors
///
/// Why it is none.
pub fn status(page: &[u8]) -> Result<StatusReply, String> {
    http::status::read(page).map(|(reply, _)| reply)
}

/// Reads what a session server says of the player who claims this name.
///
/// # Errors
///
/// Why it is no profile of theirs.
pub fn profile(claimed: &str, page: &[u8]) -> Result<Profile, String> {
    mojang::profile(claimed, page).map_err(|failure| failure.problem)
}

/// Reads a `GameServerAllocation` with the port of this name, or the first one; `None` if no game server was
/// free.
///
/// # Errors
///
/// Why no player can be sent there.
pub fn allocation(body: &[u8], port: Option<&str>) -> Result<Option<Arc<Target>>, String> {
    Ok(match allocation::answer(body, port)? {
        Allocation::Target(target) => Some(target),
        Allocation::Nothing => None,
    })
}

/// The JSON text component that a player is shown, with these messages above the built-in ones.
#[must_use]
pub fn words(messages: &Messages, query: &LocalizeQuery) -> String {
    Words::new(crate::localization::DEFAULT_LOCALE, messages).localize(query)
}
