//! The conversations that load is made of: one module each.

pub mod idle;
pub mod login;
pub(crate) mod relay;
pub mod status;
pub(crate) mod visit;

pub use crate::drive::ends::Arrival;

/// What all flows say in their handshake.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Hello {
    /// Protocol version.
    pub protocol: i32,
    /// Host name; routes are chosen by it.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What load is made of.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(tag = "flow", rename_all = "snake_case")]
pub enum Work {
    /// Server-list pings.
    Status {
        /// What the handshake says.
        hello: Hello,
    },
    /// Logins.
    Login(login::Login),
    /// Messages through a relay to an echo target, on kept connections.
    Relay {
        /// What the handshake says.
        hello: Hello,
        /// Length of a message.
        message_bytes: usize,
    },
    /// Relayed connections that end as soon as their login came back from an echo target.
    Visit {
        /// What the handshake says.
        hello: Hello,
    },
    /// Streams through a relay, as fast as it takes them.
    Bulk {
        /// What the handshake says.
        hello: Hello,
        /// Whether the client pours; the target does if not.
        up: bool,
        /// The relay's target.
        arrival: Arrival,
    },
    /// Messages that both ends of a relay send unasked.
    Players {
        /// What the handshake says.
        hello: Hello,
        /// Messages a second from each end.
        rate: f64,
        /// The relay's target.
        arrival: Arrival,
    },
    /// Kept connections without traffic.
    Idle {
        /// What the handshake says.
        hello: Hello,
        /// How far they go first.
        stage: idle::Stage,
    },
}

impl Work {
    /// Whether no double takes part in it: the load is both client and target.
    #[must_use]
    pub fn needs_nobody(&self) -> bool {
        matches!(
            self,
            Self::Status { .. } | Self::Bulk { .. } | Self::Players { .. }
        )
    }

    /// One word for tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Login(login) if login.returns => "transfer",
            Self::Login(_) => "login",
            Self::Relay { .. } => "relay",
            Self::Visit { .. } => "visit",
            Self::Bulk { up: true, .. } => "bulk up",
            Self::Bulk { .. } => "bulk",
            Self::Players { .. } => "players",
            Self::Idle {
                stage: idle::Stage::Connected,
                ..
            } => "idle, connected",
            Self::Idle {
                stage: idle::Stage::Handshake,
                ..
            } => "idle, handshake",
            Self::Idle {
                stage: idle::Stage::Relay,
                ..
            } => "idle, relay",
        }
    }

    /// What is counted, in the singular.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Status { .. } | Self::Login(_) | Self::Visit { .. } | Self::Idle { .. } => "connection",
            Self::Relay { .. } | Self::Players { .. } => "message",
            Self::Bulk { .. } => "MiB",
        }
    }
}
