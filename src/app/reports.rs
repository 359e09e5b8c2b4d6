//! What of the program's own start and end is reported to Sentry.

use std::time::{Duration, Instant};

use passage_shards::report::{CONFIGURATION, TARGET};
use tracing_subscriber::layer::SubscriberExt as _;

use super::Failure;
use crate::config::{Problems, Sentry};
use crate::telemetry::Token;
use crate::telemetry::sentry::{self, Reports};
use crate::tls::Trust;

/// How long the report of a configuration that is wrong may hold up the exit.
const REPORT_MAX: Duration = Duration::from_secs(3);

/// Starts reporting, if that is configured.
pub(super) fn start(settings: &Sentry, trust: &Trust) -> Result<Option<Reports>, Failure> {
    let Some(address) = settings.address.as_ref().filter(|_| settings.enabled) else {
        return Ok(None);
    };
    let settings = sentry::Settings {
        address: Token::new(address.expose()),
        environment: settings.environment.clone(),
        debug: settings.debug,
        send_pii: settings.send_pii,
        trust: trust.clone(),
    };
    sentry::start(settings).map(Some).map_err(Failure::Sentry)
}

/// Reports a configuration that keeps Passage from starting, if it says where to.
pub(super) fn misconfigured(problems: &Problems) {
    let Some((sentry, tls)) = problems.sentry() else {
        return;
    };
    // The exit and its words come from the problems; that they cannot be reported changes nothing.
    let Ok(Some(reports)) = start(sentry, &Trust::new(&tls.authorities)) else {
        return;
    };
    let subscriber = tracing_subscriber::registry().with(reports.reporter());
    tracing::subscriber::with_default(subscriber, || configuration_error(problems));
    reports.shutdown(Instant::now() + REPORT_MAX);
}

/// Reports why Passage ends, if it is the configuration.
pub(super) fn failed(failure: &Failure) {
    if failure.is_configuration() {
        configuration_error(failure);
    }
}

/// Reports what is wrong with a configuration.
pub(super) fn configuration_error(error: &dyn std::fmt::Display) {
    tracing::error!(name: CONFIGURATION, target: TARGET, problems = %error, "The configuration is wrong");
}
