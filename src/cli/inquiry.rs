//! Questions that a command asks adapters itself, without a control thread: with their time, and with what
//! the log would say about them.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Instrument as _, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::adapters::Call;

/// How long a command waits for threads that are blocked when it ends.
const END_MAX: Duration = Duration::from_millis(100);

/// Asks adapters on a runtime of its own.
pub(super) struct Inquiry {
    runtime: Runtime,
    journal: Journal,
}

/// What became of a question.
#[derive(Debug)]
pub(super) struct Heard<T> {
    pub(super) answer: T,
    pub(super) took: Duration,
    /// What the log would say about a failure.
    pub(super) problem: Option<String>,
}

impl<T> Heard<T> {
    /// What was known without asking.
    pub(super) fn at_once(answer: T) -> Self {
        Self {
            answer,
            took: Duration::ZERO,
            problem: None,
        }
    }

    /// The same about another answer.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Heard<U> {
        Heard {
            answer: change(self.answer),
            took: self.took,
            problem: self.problem,
        }
    }
}

impl Inquiry {
    /// Starts nothing but the runtime.
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            journal: Journal::default(),
        })
    }

    /// Runs questions to their end.
    pub(super) fn run<T>(&self, questions: impl Future<Output = T>) -> T {
        let subscriber = Registry::default().with(self.journal.clone());
        tracing::subscriber::with_default(subscriber, || self.runtime.block_on(questions))
    }

    /// Asks one question.
    pub(super) fn ask<T>(&self, question: impl Future<Output = T>) -> Heard<T> {
        self.run(self.journal.listen(question))
    }

    /// Who can listen to several questions at the same time.
    pub(super) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Ends without waiting for questions that were given up.
    pub(super) fn end(self) {
        self.runtime.shutdown_timeout(END_MAX);
    }
}

/// For one question that begins now.
pub(super) fn call(timeout: Duration) -> Call {
    Call {
        deadline: Instant::now() + timeout,
        trace: None,
    }
}

/// Keeps the first problem that is logged about each question.
#[derive(Clone, Default)]
pub(super) struct Journal(Arc<Mutex<HashMap<u64, String>>>);

const QUESTION: &str = "question";
const PROBLEM: &str = "problem";

impl Journal {
    /// Awaits a question, and takes its time.
    pub(super) async fn listen<T>(&self, question: impl Future<Output = T>) -> Heard<T> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let answer = question
            .instrument(tracing::info_span!("question", question = number))
            .await;
        Heard {
            answer,
            took: begun.elapsed(),
            problem: self.problems().remove(&number),
        }
    }

    fn problems(&self) -> std::sync::MutexGuard<'_, HashMap<u64, String>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The number of a question, kept with its span.
struct Number(u64);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(number), Some(span)) = (fields.question, context.span(id)) {
            span.extensions_mut().insert(Number(number));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let number = context.event_scope(event).and_then(|scope| {
            scope
                .into_iter()
                .find_map(|span| span.extensions().get::<Number>().map(|number| number.0))
        });
        if let (Some(number), Some(problem)) = (number, fields.problem) {
            self.problems().entry(number).or_insert(problem);
        }
    }
}

#[derive(Default)]
struct Fields {
    question: Option<u64>,
    problem: Option<String>,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == QUESTION {
            self.question = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == PROBLEM {
            self.problem = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == PROBLEM {
            self.problem = Some(format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_question_hears_of_its_own_problem_only() {
        let inquiry = Inquiry::begin().unwrap();
        let ask = |problem: Option<&'static str>| async move {
            tokio::task::yield_now().await;
            if let Some(problem) = problem {
                tracing::warn!(problem, "a service has begun to fail");
            }
            problem.is_some()
        };
        let journal = inquiry.journal();
        let (one, other, none) = inquiry.run(async {
            tokio::join!(
                journal.listen(ask(Some("refused"))),
                journal.listen(ask(Some("too slow"))),
                journal.listen(ask(None)),
            )
        });
        assert_eq!((one.problem.as_deref(), one.answer), (Some("refused"), true));
        assert_eq!(other.problem.as_deref(), Some("too slow"));
        assert_eq!((none.problem, none.answer), (None, false));
        assert!(inquiry.ask(ask(None)).problem.is_none());
        inquiry.end();
    }
}
