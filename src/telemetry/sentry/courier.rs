//! The thread that makes events of reports and posts them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, at, never, select};
use sentry::integrations::backtrace::ProcessStacktraceIntegration;
use sentry::integrations::contexts::ContextIntegration;
use sentry::types::Dsn;
use sentry::{Client, ClientOptions, Envelope};
use tracing::{info, warn};
use ureq::Agent;
use ureq::http::{HeaderMap, header};
use zeroize::Zeroizing;

use super::report::{Details, Kind, Report};
use super::{Note, Quotas, Settings};
use crate::telemetry::otlp;
use crate::tls;

/// Longest time for a post.
const POST: Duration = Duration::from_secs(5);

/// How long the report of a panic waits for what its connection has to say.
const ADDITION: Duration = Duration::from_millis(200);

/// How long Sentry is left alone after a 429 that does not say how long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// How long Sentry is left alone at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How often a lasting failure is warned about.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Posts reports, one after the other.
pub(super) struct Courier {
    notes: Receiver<Note>,
    stop: Receiver<Instant>,
    quotas: Arc<Quotas>,
    client: Client,
    agent: Agent,
    url: String,
    authorization: String,
    /// The part of the DSN that is secret.
    key: Zeroizing<String>,
    settings: Settings,
    /// Panics that wait for an addition, the oldest first. Their quota bounds them.
    held: Vec<(Instant, Report)>,
    not_before: Instant,
    warned: Option<Instant>,
}

impl Courier {
    pub(super) fn new(
        dsn: &Dsn,
        settings: Settings,
        notes: Receiver<Note>,
        stop: Receiver<Instant>,
        quotas: Arc<Quotas>,
    ) -> Self {
        let options = ClientOptions::new()
            .release(concat!("passage@", env!("CARGO_PKG_VERSION")))
            .default_integrations(false)
            .in_app_include(["passage", "passage_shards", "passage_proto"])
            .add_integration(ContextIntegration::new())
            .add_integration(ProcessStacktraceIntegration::new());
        let options = if settings.environment.is_empty() {
            options
        } else {
            options.environment(settings.environment.clone())
        };
        Self {
            notes,
            stop,
            quotas,
            client: Client::with_options(options),
            agent: otlp::agent(&settings.trust),
            url: dsn.envelope_api_url().to_string(),
            authorization: dsn
                .to_auth(Some(concat!("passage/", env!("CARGO_PKG_VERSION"))))
                .to_string(),
            key: Zeroizing::new(dsn.public_key().to_owned()),
            settings,
            held: Vec::new(),
            not_before: Instant::now(),
            warned: None,
        }
    }

    /// Works until it is told to stop or nobody is left who could report.
    pub(super) fn run(mut self) {
        loop {
            let due = self.held.first().map_or_else(never, |(due, _)| at(*due));
            select! {
                recv(self.notes) -> note => match note {
                    Ok(note) => self.take(note),
                    Err(_) => return self.finish(Instant::now() + POST),
                },
                recv(due) -> _ => self.send_held(Instant::now()),
                recv(self.stop) -> deadline => {
                    return self.finish(deadline.unwrap_or_else(|_| Instant::now() + POST));
                }
            }
        }
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Report(report) if report.kind == Kind::Panic => {
                self.held.push((Instant::now() + ADDITION, *report));
            }
            Note::Report(report) => self.send(*report, POST),
            Note::Addition(thread, details) => self.complete(thread, details),
        }
    }

    /// Adds to the panic of this thread what its connection said of it.
    fn complete(&mut self, thread: std::thread::ThreadId, details: Details) {
        if let Some(at) = self.held.iter().position(|(_, report)| report.thread == thread) {
            let (_, mut report) = self.held.remove(at);
            report.details.complete(details);
            self.send(report, POST);
        }
    }

    fn send_held(&mut self, now: Instant) {
        let ripe = self.held.partition_point(|(due, _)| *due <= now);
        let ripe: Vec<_> = self.held.drain(..ripe).collect();
        ripe.into_iter().for_each(|(_, report)| self.send(report, POST));
    }

    /// Sends what is left, as far as there is time.
    fn finish(mut self, deadline: Instant) {
        while let Ok(note) = self.notes.try_recv() {
            match note {
                Note::Report(report) => self.held.push((deadline, *report)),
                Note::Addition(thread, details) => {
                    let panicked = self
                        .held
                        .iter_mut()
                        .find(|(_, report)| report.kind == Kind::Panic && report.thread == thread);
                    if let Some((_, report)) = panicked {
                        report.details.complete(details);
                    }
                }
            }
        }
        for (_, report) in std::mem::take(&mut self.held) {
            let left = otlp::remaining(deadline);
            if left.is_zero() {
                return;
            }
            self.send(report, left.min(POST));
        }
    }

    fn send(&mut self, report: Report, patience: Duration) {
        let (kind, withheld) = (report.kind, report.withheld);
        let taken = Instant::now() >= self.not_before && self.post(report, patience);
        if !taken {
            self.quotas.withhold(kind, withheld);
        }
    }

    /// Posts one event; says whether Sentry has taken it.
    fn post(&mut self, report: Report, patience: Duration) -> bool {
        let kind = report.kind.name();
        let event = report.into_event(self.settings.send_pii);
        let Some(event) = self.client.prepare_event(event, None) else {
            return false;
        };
        let id = event.event_id;
        let mut body = Vec::new();
        if let Err(cause) = Envelope::from(event).to_writer(&mut body) {
            self.failed(&format!("the event cannot be written: {cause}"));
            return false;
        }
        let answer = self
            .agent
            .post(&self.url)
            .config()
            .timeout_global(Some(patience))
            .build()
            .header(header::CONTENT_TYPE, "application/x-sentry-envelope")
            .header("x-sentry-auth", &self.authorization)
            .send(&body[..]);
        let mut response = match answer {
            Ok(response) => response,
            Err(cause) => {
                self.failed(&format!("no answer: {cause}{}", tls::hint(&cause)));
                return false;
            }
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(pause) = pause_of(status.as_u16(), &headers) {
            self.not_before = Instant::now() + pause.min(RETRY_AFTER_MAX);
        }
        if status.is_success() {
            self.warned = None;
            if self.settings.debug {
                info!(%id, kind, "Sentry has taken an event");
            }
            return true;
        }
        let text = otlp::answer_text(headers, response.body_mut(), &self.key);
        let hint = match status.as_u16() {
            400 | 401 | 403 | 404 => " (is sentry.address the DSN of the project?)",
            _ => "",
        };
        self.failed(&format!("it answered {status}{hint} {text}"));
        false
    }

    /// Counts a post that was not taken, and says so: once in a while, or each time if the reporting is to be
    /// debugged.
    fn failed(&mut self, cause: &str) {
        self.quotas.fail();
        let is_due = self
            .warned
            .is_none_or(|warned| warned.elapsed() >= WARNING_INTERVAL);
        if is_due || self.settings.debug {
            self.warned = Some(Instant::now());
            warn!(
                cause,
                "Sentry did not take an event; it is counted in the next one"
            );
        }
    }
}

/// How long Sentry wants to be left alone, if it does. Only limits that concern errors count.
fn pause_of(status: u16, headers: &HeaderMap) -> Option<Duration> {
    let limits = headers.get_all("x-sentry-rate-limits");
    let listed = limits.iter().filter_map(|value| value.to_str().ok());
    let longest = listed.flat_map(|value| value.split(',')).filter_map(limit).max();
    longest.or_else(|| (status == 429).then(|| otlp::retry_after(headers).unwrap_or(RETRY_AFTER)))
}

/// One limit: `seconds:categories:scope…`, with no categories for all.
fn limit(text: &str) -> Option<Duration> {
    let mut parts = text.trim().split(':');
    let seconds: u64 = parts.next()?.trim().parse().ok()?;
    let categories = parts.next().unwrap_or_default();
    let concerns_errors = categories.is_empty() || categories.split(';').any(|one| one == "error");
    concerns_errors.then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_for_errors_count() {
        let pause = |status, limits: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-sentry-rate-limits", limits.parse().unwrap());
            pause_of(status, &headers).map(|pause| pause.as_secs())
        };
        assert_eq!(
            pause(200, "30:error;default:organization, 2700:transaction:key"),
            Some(30)
        );
        assert_eq!(pause(200, "60::organization"), Some(60));
        assert_eq!(pause(200, "60:session:key"), None);
        assert_eq!(pause(429, "nonsense"), Some(60));
        assert_eq!(pause(500, ""), None);
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "7".parse().unwrap());
        assert_eq!(pause_of(429, &headers), Some(Duration::from_secs(7)));
    }
}
