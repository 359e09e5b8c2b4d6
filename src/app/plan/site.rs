//! Which services there are, for commands that tell about them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use passage_shards::metrics::{AdapterName, AdapterType};

use crate::adapters::Reachable;

/// A service that routes ask.
#[derive(Debug)]
pub struct Site {
    /// Its role.
    pub name: AdapterName,
    /// Its type.
    pub kind: AdapterType,
    /// Where it is, as the operator wrote it.
    pub address: String,
    /// For one question.
    pub timeout: Duration,
    /// The routes that ask it, in order.
    pub routes: Vec<Arc<str>>,
    /// How it can be reached.
    pub way: Way,
}

/// How a service can be reached without an effect on anybody. Positions are those in
/// [`crate::adapters::Services`].
#[derive(Clone)]
pub enum Way {
    /// A status, which is asked for on nobody's behalf.
    Status(usize),
    /// Targets that are asked for in the background.
    Targets(usize),
    /// Targets that are asked for on behalf of a client, whoever plays there.
    Discovery(usize),
    /// Words for a message.
    Localization(usize),
    /// Every question is about a player, or allocates something: somebody has to be there, which says so
    /// much.
    Presence(Arc<dyn Reachable>, &'static str),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status(_) => "Status",
            Self::Targets(_) => "Targets",
            Self::Discovery(_) => "Discovery",
            Self::Localization(_) => "Localization",
            Self::Presence(..) => "Presence",
        })
    }
}
