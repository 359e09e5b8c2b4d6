//! The conversations that load is made of: one module each.

pub mod idle;
pub mod login;
pub(crate) mod relay;
pub mod status;

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
    /// Players who come in through a relay to an echo target, and leave.
    Join {
        /// What the handshake says.
        hello: Hello,
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
    /// One word for tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Login(login) if login.returns => "transfer",
            Self::Login(_) => "login",
            Self::Relay { .. } => "relay",
            Self::Join { .. } => "join",
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
            Self::Status { .. } | Self::Login(_) | Self::Join { .. } | Self::Idle { .. } => "connection",
            Self::Relay { .. } => "message",
        }
    }
}
