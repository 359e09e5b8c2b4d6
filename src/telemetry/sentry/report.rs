//! What a thread leaves for Sentry, and the event that is made of it.

use std::borrow::Cow;
use std::fmt::{self, Debug, Write};
use std::thread::ThreadId;
use std::time::SystemTime;

use passage_shards::report;
use sentry::Level;
use sentry::integrations::backtrace::backtrace_to_stacktrace;
use sentry::protocol::{Context, Event, Exception, Mechanism, TraceContext, User, Value};
use tracing::field::{Field, Visit};

/// Most bytes of one detail.
const DETAIL_BYTES_MAX: usize = 8 * 1024;

/// Most details of one report.
const DETAILS_MAX: usize = 32;

/// The beginning of the names of threads that run a shard.
const SHARD_THREAD: &str = "passage-shard-";

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Panic,
    AdapterError,
    TargetFailure,
    Configuration,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [
        Self::Panic,
        Self::AdapterError,
        Self::TargetFailure,
        Self::Configuration,
    ];

    /// The kind of the events with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Panic => report::PANIC,
            Self::AdapterError => report::ADAPTER_ERROR,
            Self::TargetFailure => report::TARGET_FAILURE,
            Self::Configuration => report::CONFIGURATION,
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Panic | Self::Configuration => Level::Fatal,
            Self::AdapterError | Self::TargetFailure => Level::Error,
        }
    }
}

/// Something that went wrong, as the thread saw it on which it did.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) kind: Kind,
    pub(super) time: SystemTime,
    pub(super) thread: ThreadId,
    pub(super) thread_name: String,
    pub(super) details: Details,
    /// Without symbols: finding them takes a millisecond, which the thread that panics may not have.
    pub(super) backtrace: Option<backtrace::Backtrace>,
    /// Reports of this kind before this one that did not go out.
    pub(super) withheld: u64,
}

impl Report {
    /// A report by the current thread.
    pub(super) fn new(kind: Kind, withheld: u64) -> Self {
        let thread = std::thread::current();
        Self {
            kind,
            time: SystemTime::now(),
            thread: thread.id(),
            thread_name: thread.name().unwrap_or("unnamed").to_owned(),
            details: Details::default(),
            backtrace: None,
            withheld,
        }
    }

    /// The event for Sentry. `with_person` tells whether it may say who and where: player, address, target.
    pub(super) fn into_event(mut self, with_person: bool) -> Event<'static> {
        let mut event = Event {
            level: self.kind.level(),
            timestamp: self.time,
            logger: Some("passage".into()),
            ..Event::default()
        };
        let user = self.user();
        let target = self.target();
        let error = self.details.take("error");
        if with_person {
            event.user = user;
            event
                .contexts
                .extend(target.map(|target| ("target".to_owned(), target)));
            event
                .extra
                .extend(error.map(|error| ("error".to_owned(), error.into())));
        }
        event.contexts.extend(self.trace());
        if self.withheld > 0 {
            event.extra.insert("withheld".into(), self.withheld.into());
        }
        self.tag(&mut event);
        self.say(&mut event);
        let rest = self.details.0.into_iter();
        event
            .extra
            .extend(rest.map(|(key, text)| (key.to_owned(), text.into())));
        event
    }

    fn user(&mut self) -> Option<User> {
        let user = User {
            id: self.details.take("user_id"),
            username: self.details.take("username"),
            ip_address: self.details.take("client_ip").and_then(|ip| ip.parse().ok()),
            ..User::default()
        };
        (user != User::default()).then_some(user)
    }

    fn target(&mut self) -> Option<Context> {
        let keys = [("identifier", "target_identifier"), ("address", "target_address")];
        let details = keys.into_iter().filter_map(|(name, key)| {
            let text = self.details.take(key)?;
            Some((name.to_owned(), Value::from(text)))
        });
        let map: sentry::protocol::Map<_, _> = details.collect();
        (!map.is_empty()).then_some(Context::Other(map))
    }

    fn trace(&mut self) -> Option<(String, Context)> {
        let (trace, span) = (self.details.take("trace_id"), self.details.take("span_id"));
        let trace = TraceContext {
            trace_id: trace?.parse().ok()?,
            span_id: span?.parse().ok()?,
            ..TraceContext::default()
        };
        Some(("trace".to_owned(), trace.into()))
    }

    /// Adds what events are searched and grouped by.
    fn tag(&mut self, event: &mut Event<'static>) {
        let mut tag = |key: &str, value: &str| {
            event.tags.insert(key.to_owned(), value.to_owned());
        };
        tag("kind", self.kind.name());
        tag("thread", &self.thread_name);
        if let Some(shard) = self.thread_name.strip_prefix(SHARD_THREAD) {
            tag("shard", shard);
        }
        let mut group = vec![Cow::Borrowed(self.kind.name())];
        for key in ["route", "adapter_name", "adapter_type", "error_type"] {
            let Some(value) = self.details.take(key) else {
                continue;
            };
            tag(key, &value);
            if key != "route" {
                group.push(value.into());
            }
        }
        if matches!(self.kind, Kind::AdapterError | Kind::TargetFailure) {
            event.fingerprint = group.into();
        }
    }

    /// Adds what happened: an exception with its stack trace for a panic, words for all else.
    fn say(&mut self, event: &mut Event<'static>) {
        let message = self.details.take("message");
        if self.kind != Kind::Panic {
            event.message = message;
            return;
        }
        let stacktrace = self.backtrace.take().and_then(|mut backtrace| {
            backtrace.resolve();
            backtrace_to_stacktrace(&backtrace)
        });
        let mechanism = Mechanism {
            ty: "panic".into(),
            handled: Some(false),
            ..Mechanism::default()
        };
        let exception = Exception {
            ty: "panic".into(),
            value: message,
            stacktrace,
            mechanism: Some(mechanism),
            ..Exception::default()
        };
        event.exception = vec![exception].into();
    }
}

/// The fields of an event as text, bounded in number and length.
#[derive(Debug, Default)]
pub(super) struct Details(Vec<(&'static str, String)>);

impl Details {
    /// Adds a detail. What is too long is cut, what is too much is left out.
    pub(super) fn add(&mut self, key: &'static str, value: fmt::Arguments<'_>) {
        if self.0.len() < DETAILS_MAX {
            let mut text = Cut(String::new());
            // It only fails to end the formatting of what is too long.
            let _ = text.write_fmt(value);
            self.0.push((key, text.0));
        }
    }

    /// Adds those details that are not known yet.
    pub(super) fn complete(&mut self, others: Self) {
        for (key, text) in others.0 {
            if self.0.len() < DETAILS_MAX && !self.0.iter().any(|(known, _)| *known == key) {
                self.0.push((key, text));
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == key)?;
        Some(self.0.remove(at).1)
    }
}

impl Visit for Details {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), format_args!("{value:?}"));
    }
}

struct Cut(String);

impl Write for Cut {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = DETAIL_BYTES_MAX - self.0.len();
        if text.len() <= room {
            self.0.push_str(text);
            return Ok(());
        }
        let end = text.floor_char_boundary(room);
        self.0.push_str(text.get(..end).unwrap_or_default());
        Err(fmt::Error)
    }
}
