//! Words for disconnect messages, remembered for a while.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use passage_proto::limits::TEXT_BYTES_MAX;
use passage_proto::question::{AskError, LocalizeQuery};

use super::Service;
use super::contract::localization_client::LocalizationClient;
use super::contract::{LocalizationRequest, LocalizationResponse};
use crate::adapters::call::Repeat;
use crate::adapters::{Answer, Call, LocalizationService};
use crate::localization::normalise_locale;

/// How long an answer is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// How much is remembered, in bytes. Clients choose their locale, and could have any number of them.
const REMEMBERED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// What an entry takes besides its texts, roughly.
const ENTRY_BYTES: usize = 256;
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A service that is asked once a minute for the same message, however many players read it.
#[derive(Debug)]
pub struct Localization {
    service: Service,
    known: Cache<LocalizationRequest, Arc<str>>,
}

impl Localization {
    /// Remembers what this service answers.
    #[must_use]
    pub fn new(service: Service) -> Self {
        let known = Cache::builder()
            .time_to_live(REMEMBERED_FOR)
            .weigher(|question, text: &Arc<str>| weight(question, text))
            .max_capacity(REMEMBERED_BYTES_MAX)
            .build();
        Self { service, known }
    }

    async fn ask(&self, question: LocalizationRequest, call: Call) -> Result<Arc<str>, AskError> {
        let answer = self.service.ask(
            call,
            Repeat::Safe,
            || question.clone(),
            |channel, request| async move {
                let client = LocalizationClient::new(channel);
                let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
                client.localize(request).await
            },
            read,
        );
        answer.await
    }
}

impl LocalizationService for Localization {
    fn localize<'a>(&'a self, query: &'a LocalizeQuery, call: Call) -> Answer<'a, Result<String, AskError>> {
        Box::pin(async move {
            let question = question(query);
            let asked = self.ask(question.clone(), call);
            // Whoever asks the same meanwhile waits for this answer, but no longer than for one of its own.
            let answer = self.known.try_get_with(question, asked);
            match tokio::time::timeout_at(call.deadline.into(), answer).await {
                Ok(text) => text.map(|text| text.to_string()).map_err(|cause| *cause),
                Err(_) => Err(AskError::TimedOut),
            }
        })
    }
}

fn question(query: &LocalizeQuery) -> LocalizationRequest {
    let params = query.message.params.iter();
    LocalizationRequest {
        locale: query.locale.as_deref().and_then(locale),
        key: query.message.key.clone().into_owned(),
        params: params
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    }
}

/// The locale that a client has told, if it has the form of one.
fn locale(told: &str) -> Option<String> {
    let locale = normalise_locale(told);
    let part =
        |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_locale = locale.split('_').count() <= 2 && locale.split('_').all(part);
    is_locale.then_some(locale)
}

fn read(answer: LocalizationResponse) -> Result<Arc<str>, String> {
    match answer.message.len() {
        0 => Err("an empty message".into()),
        1..=TEXT_BYTES_MAX => Ok(answer.message.into()),
        bytes => Err(format!(
            "a message of {bytes} bytes, at most {TEXT_BYTES_MAX} are allowed"
        )),
    }
}

fn weight(question: &LocalizationRequest, text: &str) -> u32 {
    let params = question
        .params
        .iter()
        .map(|(name, value)| name.len() + value.len());
    let bytes = ENTRY_BYTES + question.key.len() + text.len() + params.sum::<usize>();
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locales_are_told() {
        for (told, expected) in [
            ("de_DE", Some("de_de")),
            ("en-us", Some("en_us")),
            ("tok", Some("tok")),
            ("zlm_arab", Some("zlm_arab")),
        ] {
            assert_eq!(locale(told).as_deref(), expected);
        }
        for none in ["", "_", "d", "de_", "de_de_de", "de de", "🦀🦀", "de\n_de"] {
            assert_eq!(locale(none), None, "{none:?}");
        }
    }

    #[test]
    fn messages_are_bounded_and_say_something() {
        let read = |message: String| read(LocalizationResponse { message });
        assert_eq!(read("x".repeat(TEXT_BYTES_MAX)).unwrap().len(), TEXT_BYTES_MAX);
        assert!(
            read("x".repeat(TEXT_BYTES_MAX + 1))
                .unwrap_err()
                .contains("16385 bytes")
        );
        assert_eq!(read(String::new()).unwrap_err(), "an empty message");
    }
}
