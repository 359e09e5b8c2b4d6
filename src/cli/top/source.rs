//! The admin listener as `passage top` sees it.

use std::fmt;
use std::time::Duration;

use ureq::Agent;

use super::samples::{self, Malformed};
use super::snapshot::Snapshot;

/// Longest time for one look.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

/// Most bytes of an exposition: far more than the highest `otel.label_limit` makes.
const EXPOSITION_BYTES_MAX: u64 = 256 << 20;

/// Most bytes of an answer that is shown because it is no exposition.
const SHOWN_CHARS_MAX: usize = 200;

/// Where snapshots come from.
#[derive(Debug)]
pub(in crate::cli) struct Source {
    agent: Agent,
    address: String,
}

/// Why there is no snapshot.
#[derive(Debug)]
pub(in crate::cli) enum SourceError {
    Unreachable {
        address: String,
        cause: Box<ureq::Error>,
    },
    Status {
        address: String,
        status: u16,
        text: String,
    },
    Malformed {
        address: String,
        cause: Malformed,
    },
    Stranger {
        address: String,
    },
}

impl Source {
    /// The admin listener at `HOST:PORT`. Not connected to yet.
    pub(in crate::cli) fn new(address: String) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(LOOK_TIME_MAX))
            .user_agent(concat!("passage-top/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            agent: Agent::new_with_config(config),
            address,
        }
    }

    /// `HOST:PORT`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What the shards have done until now.
    pub(super) fn look(&self) -> Result<Snapshot, SourceError> {
        let address = self.address.clone();
        let (status, text) = match self.fetch() {
            Ok(answer) => answer,
            Err(cause) => {
                let cause = Box::new(cause);
                return Err(SourceError::Unreachable { address, cause });
            }
        };
        if status != 200 {
            let text = text
                .chars()
                .filter(|c| !c.is_control())
                .take(SHOWN_CHARS_MAX)
                .collect();
            return Err(SourceError::Status {
                address,
                status,
                text,
            });
        }
        let samples = match samples::parse(&text) {
            Ok(samples) => samples,
            Err(cause) => return Err(SourceError::Malformed { address, cause }),
        };
        Snapshot::new(&samples).ok_or(SourceError::Stranger { address })
    }

    fn fetch(&self) -> Result<(u16, String), ureq::Error> {
        let mut answer = self
            .agent
            .get(format!("http://{}/metrics", self.address))
            .call()?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(EXPOSITION_BYTES_MAX);
        Ok((status, body.read_to_string()?))
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, cause } => write!(
                f,
                "no answer from {address}: {cause}; Passage has to run with this address under [admin] \
                 (address = \"127.0.0.1:9464\", off by default)"
            ),
            Self::Status {
                address,
                status,
                text,
            } => write!(f, "{address} answered {status}: {text}"),
            Self::Malformed { address, cause } => {
                write!(f, "{address} is no admin listener of Passage: {cause}")
            }
            Self::Stranger { address } => {
                write!(f, "{address} has metrics, but not those of Passage")
            }
        }
    }
}
