//! What adapters ask and answer, in the messages of the contract.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use passage_proto::question::{self, AskError, Message, Player, Refusal};

use super::contract::{Address, AuthenticationRequest, ClientInfo, MetaEntry, PlayerInfo, Target};
use crate::adapters::targets;

/// Longest localization key of a service, in bytes.
const KEY_BYTES_MAX: usize = 256;

pub(super) fn client(client: &question::ClientInfo) -> ClientInfo {
    ClientInfo {
        client_address: Some(client_address(client.address)),
        server_address: Some(server_address(client)),
        protocol_version: protocol(client.protocol),
    }
}

/// Where the client is.
pub(super) fn client_address(address: SocketAddr) -> Address {
    Address {
        hostname: address.ip().to_canonical().to_string(),
        port: address.port().into(),
    }
}

/// Which server the client has asked for.
pub(super) fn server_address(client: &question::ClientInfo) -> Address {
    Address {
        hostname: client.hostname.clone(),
        port: client.port.into(),
    }
}

/// The contract's versions have no sign; what is below zero is none that any client has.
pub(super) fn protocol(version: i32) -> u64 {
    u64::try_from(version).unwrap_or(0)
}

pub(super) fn player(player: &Player) -> PlayerInfo {
    PlayerInfo {
        name: player.name.clone(),
        id: player.id.hyphenated().to_string(),
    }
}

pub(super) fn targets(targets: &[Arc<question::Target>]) -> Vec<Target> {
    targets.iter().map(|target| self::target(target)).collect()
}

fn target(target: &question::Target) -> Target {
    let entry = |(key, value): (&String, &String)| MetaEntry {
        key: key.clone(),
        value: value.clone(),
    };
    Target {
        identifier: target.identifier.clone(),
        address: Some(Address {
            hostname: target.host.clone(),
            port: target.port.into(),
        }),
        meta: target.meta.iter().map(entry).collect(),
        priority: target.priority,
    }
}

/// The targets of an answer. Those that were `offered` and have not changed remain the same.
///
/// # Errors
///
/// What is wrong with which target.
pub(super) fn read_targets(
    answered: Vec<Target>,
    offered: &[Arc<question::Target>],
) -> Result<Vec<Arc<question::Target>>, String> {
    let answered: Vec<_> = answered.into_iter().map(read_target).collect();
    let offered: HashMap<_, _> = offered
        .iter()
        .map(|target| (&*target.identifier, target))
        .collect();
    let known = |target: Arc<question::Target>| match offered.get(&*target.identifier) {
        Some(same) if **same == target => Arc::clone(same),
        _ => target,
    };
    Ok(targets::checked(answered)?.into_iter().map(known).collect())
}

/// A target of an answer.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn read_one(answered: Target) -> Result<Arc<question::Target>, String> {
    targets::checked_one(read_target(answered)).map_err(|problem| format!("the target {problem}"))
}

/// Not checked yet; a port that is none reads 0, which is none either.
fn read_target(target: Target) -> question::Target {
    let address = target.address.unwrap_or_default();
    question::Target {
        identifier: target.identifier,
        host: address.hostname,
        port: u16::try_from(address.port).unwrap_or(0),
        priority: target.priority,
        meta: target
            .meta
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect(),
    }
}

/// The refusal with a key that a service has answered.
///
/// # Errors
///
/// If that is no key.
pub(super) fn refusal(key: String) -> Result<Refusal, String> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.contains(char::is_control) {
        return Err(format!(
            "a localization key of {} bytes; 1 to {KEY_BYTES_MAX} without control characters are allowed",
            key.len()
        ));
    }
    Ok(Refusal {
        message: Message {
            key: key.into(),
            params: Vec::new(),
        },
        cause: AskError::Denied,
    })
}

/// Never shows the connection's secret.
impl fmt::Debug for AuthenticationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationRequest")
            .field("client", &self.client)
            .field("player", &self.player)
            .finish_non_exhaustive()
    }
}
