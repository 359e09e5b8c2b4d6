//! Targets out of DNS: SRV records with their priority and weight, or addresses that all have one port.
//!
//! A resolver that fails (an error code, no answer, none that can be read) says nothing about the targets:
//! the refresh fails, and whoever asked keeps what it has. A name without records is an answer: there are no
//! targets. Since zones are sometimes empty for a moment while they are replaced, targets that there were
//! stay for another [`MISSING_GRACE`].

mod lookup;
mod records;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use passage_proto::question::{AskError, Target};
use passage_shards::metrics::{AdapterName, AdapterType};

use self::lookup::Lookups;
use self::records::Found;
use super::call::{Caller, Repeat};
use super::{Answer, Call, Refreshed, TargetSource};
use crate::config;

/// How long targets stay whose name has lost its records.
pub const MISSING_GRACE: Duration = Duration::from_secs(10);

/// The targets that one name has in DNS.
pub struct Dns {
    settings: config::Dns,
    caller: Caller,
    lookups: Lookups,
    known: Mutex<Known>,
}

/// What the answers so far have said.
#[derive(Debug, Default)]
struct Known {
    targets: Vec<Arc<Target>>,
    /// Since when the name of these targets has had no records.
    missing_since: Option<Instant>,
    /// Records of the last answer that are no targets, so that the log tells of changes.
    unusable: usize,
}

impl Dns {
    /// Asks nothing yet.
    #[must_use]
    pub fn new(settings: config::Dns) -> Self {
        let resolvers = match settings.resolvers.as_slice() {
            [] => "the system's resolver".to_owned(),
            named => named
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        };
        let service = format!("{} at {resolvers}", settings.domain);
        Self {
            caller: Caller::new(AdapterName::Discovery, AdapterType::Dns, service, settings.remote),
            lookups: Lookups::new(settings.clone()),
            settings,
            known: Mutex::default(),
        }
    }

    async fn ask(&self, call: Call) -> Result<Refreshed, AskError> {
        let found = self
            .caller
            .call(call, Repeat::Safe, |_attempt| self.lookups.ask())
            .await?;
        // Nothing panics while it is locked.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.learn(&self.settings.domain, found, Instant::now()))
    }
}

impl TargetSource for Dns {
    fn refresh(&self, call: Call) -> Answer<'_, Result<Refreshed, AskError>> {
        Box::pin(self.ask(call))
    }
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Known {
    fn learn(&mut self, domain: &str, found: Found, now: Instant) -> Refreshed {
        if found.unusable > 0 && found.unusable != self.unusable {
            tracing::warn!(
                domain,
                unusable = found.unusable,
                problem = found.problem,
                "records that are no targets are left out"
            );
        }
        self.unusable = found.unusable;
        if found.targets.is_empty() {
            self.miss(domain, now);
            return Refreshed {
                targets: self.targets.clone(),
                // How long a name is missing is nobody's promise: ask again as often as configured.
                valid_for: None,
            };
        }
        if self.missing_since.take().is_some() {
            tracing::info!(
                domain,
                targets = found.targets.len(),
                "the name has records again"
            );
        }
        self.targets = found.targets;
        Refreshed {
            targets: self.targets.clone(),
            valid_for: Some(found.valid_for),
        }
    }

    /// Takes in that there are no records.
    fn miss(&mut self, domain: &str, now: Instant) {
        match self.missing_since {
            None => {
                self.missing_since = Some(now);
                let kept = self.targets.len();
                tracing::warn!(
                    domain,
                    kept,
                    "the name has no records; its targets go if that stays so"
                );
            }
            Some(since) if now.duration_since(since) >= MISSING_GRACE && !self.targets.is_empty() => {
                tracing::warn!(domain, gone = self.targets.len(), "the name still has no records");
                self.targets.clear();
            }
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
