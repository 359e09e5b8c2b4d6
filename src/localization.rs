//! What players read when they are disconnected, in their own language.
//!
//! A message is looked up for the client's locale, then for the route's default locale, then for `en_us`; if
//! there is nothing anywhere, the key itself is shown. For each locale, what is configured for it or for its
//! language stands above what is built in for it or for its language.

mod built_in;
mod template;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use passage_proto::question::LocalizeQuery;
use passage_proto::text::keys;
use passage_shards::route::Localizer;

use self::template::Template;

/// The locale that has every message.
pub const DEFAULT_LOCALE: &str = "en_us";

/// Messages by locale and key.
pub type Messages = BTreeMap<String, BTreeMap<String, String>>;

/// The built-in messages, and above them those of the configuration, ready to be filled in.
#[derive(Debug)]
pub struct Words {
    default_locale: String,
    configured: Templates,
}

type Templates = HashMap<String, HashMap<String, Template>>;

static BUILT_IN: LazyLock<Templates> = LazyLock::new(|| {
    let table = |messages: &[(&str, &str)]| {
        messages
            .iter()
            .map(|(key, text)| ((*key).to_owned(), Template::parse(text)))
            .collect()
    };
    built_in::LOCALES
        .iter()
        .map(|(locale, messages)| ((*locale).to_owned(), table(messages)))
        .collect()
});

impl Words {
    /// Puts `configured` (with locales as [`normalise_locale`] writes them) above the built-in messages.
    #[must_use]
    pub fn new(default_locale: &str, configured: &Messages) -> Self {
        let table = |messages: &BTreeMap<String, String>| {
            let own = messages.iter().map(|(key, text)| own_words(key, text));
            own.map(|(key, text)| (key.to_owned(), Template::parse(&text)))
                .collect()
        };
        Self {
            default_locale: normalise_locale(default_locale),
            configured: configured
                .iter()
                .map(|(locale, messages)| (locale.clone(), table(messages)))
                .collect(),
        }
    }

    fn find(&self, locale: Option<&str>, key: &str) -> Option<&Template> {
        let asked = locale.map(normalise_locale);
        let chain = [
            asked.as_deref(),
            Some(self.default_locale.as_str()),
            Some(DEFAULT_LOCALE),
        ];
        chain
            .into_iter()
            .flatten()
            .find_map(|locale| self.find_in(locale, key))
    }

    /// Configured for the locale, configured for its language, built in for the locale, built in for its
    /// language.
    fn find_in(&self, locale: &str, key: &str) -> Option<&Template> {
        let language = language_of(locale);
        let relative = || built_in_locales().find(|known| language_of(known) == language);
        let configured = |locale: &str| self.configured.get(locale)?.get(key);
        let built_in = |locale: &str| BUILT_IN.get(locale)?.get(key);
        configured(locale)
            .or_else(|| configured(language))
            .or_else(|| built_in(locale))
            .or_else(|| built_in(relative()?))
    }
}

impl Localizer for Words {
    fn localize(&self, query: &LocalizeQuery) -> String {
        let message = &query.message;
        match self.find(query.locale.as_deref(), &message.key) {
            Some(template) => template.fill(&message.params),
            None => Template::parse(&message.key).fill(&[]),
        }
    }
}

/// A locale as clients write it (`de_de`), from what operators write (`de_DE`, `de-DE`, `de`).
#[must_use]
pub fn normalise_locale(locale: &str) -> String {
    locale.trim().to_ascii_lowercase().replace('-', "_")
}

/// The locales that Passage brings along.
pub fn built_in_locales() -> impl Iterator<Item = &'static str> {
    built_in::LOCALES.iter().map(|(locale, _)| *locale)
}

/// Whether there are messages for a (normalised) locale or its language.
#[must_use]
pub fn is_known_locale(locale: &str, overrides: &Messages) -> bool {
    let language = language_of(locale);
    overrides.contains_key(locale)
        || overrides.contains_key(language)
        || built_in_locales().any(|known| language_of(known) == language)
}

/// Whether Passage itself shows a message with this key.
#[must_use]
pub fn is_known_key(key: &str) -> bool {
    // `locale` is the name of the language itself, which upstream's configurations carry beside the messages.
    key == "locale"
        || built_in::EN_US
            .iter()
            .any(|(known, _)| *known == own_words(key, "").0)
}

/// Keys and parameters of upstream's configurations under the names that they have here.
fn own_words<'a>(key: &'a str, text: &'a str) -> (&'a str, Cow<'a, str>) {
    match key {
        "disconnect_unauthenticated" => (keys::DISCONNECT_NOT_AUTHENTICATED, text.into()),
        "disconnect_unsupported" => (
            keys::DISCONNECT_VERSION,
            text.replace("{preferred}", "{version}").into(),
        ),
        _ => (key, text.into()),
    }
}

fn language_of(locale: &str) -> &str {
    locale.split('_').next().unwrap_or(locale)
}

#[cfg(test)]
mod tests {
    use passage_proto::question::Message;

    use super::*;

    fn words(default_locale: &str, overrides: &[(&str, &str, &str)]) -> Words {
        let mut messages = Messages::new();
        for (locale, key, text) in overrides {
            let entries = messages.entry(normalise_locale(locale)).or_default();
            entries.insert((*key).to_owned(), (*text).to_owned());
        }
        Words::new(default_locale, &messages)
    }

    fn say(words: &Words, locale: Option<&str>, key: &'static str) -> String {
        let params = vec![("version", "1.20.5".to_owned())];
        let message = Message {
            key: key.into(),
            params,
        };
        let json = words.localize(&LocalizeQuery {
            locale: locale.map(str::to_owned),
            message,
        });
        let component: serde_json::Value = serde_json::from_str(&json).unwrap();
        component["text"].as_str().unwrap().to_owned()
    }

    #[test]
    fn falls_back_from_locale_to_language_to_default_to_english_to_the_key() {
        let words = words(
            "fr_fr",
            &[
                ("fr", "disconnect_banned", "Banni"),
                ("en_us", "only_english", "Hi"),
            ],
        );
        let key = keys::DISCONNECT_NO_TARGET;
        assert!(say(&words, Some("de_de"), key).starts_with("Zurzeit"));
        assert!(
            say(&words, Some("de_at"), key).starts_with("Zurzeit"),
            "by language"
        );
        assert!(
            say(&words, Some("zh-CN"), key).starts_with("当前"),
            "however it is written"
        );
        assert!(say(&words, Some("xx_xx"), key).starts_with("Aucun"), "by default");
        assert!(say(&words, None, key).starts_with("Aucun"), "without a locale");
        assert_eq!(say(&words, Some("de_de"), "disconnect_banned"), "Banni");
        assert_eq!(say(&words, Some("de_de"), "only_english"), "Hi");
        assert_eq!(
            say(&words, Some("de_de"), "disconnect_queue_full"),
            "disconnect_queue_full"
        );
    }

    #[test]
    fn puts_configured_messages_above_built_in_ones() {
        let words = words("en_us", &[("de", keys::DISCONNECT_NO_TARGET, "Zu!")]);
        assert_eq!(say(&words, Some("de"), keys::DISCONNECT_NO_TARGET), "Zu!");
        assert!(say(&words, Some("de_de"), keys::DISCONNECT_TIMEOUT).starts_with("Die Verbindung"));
    }

    #[test]
    fn prefers_an_override_of_the_language_to_the_built_in_text_of_the_locale() {
        let words = words("en_us", &[("de", keys::DISCONNECT_NO_TARGET, "Zu!")]);
        assert_eq!(say(&words, Some("de_de"), keys::DISCONNECT_NO_TARGET), "Zu!");
    }

    #[test]
    fn knows_the_names_of_upstream() {
        let words = words("en_us", &[("en", "disconnect_unsupported", "Use {preferred}")]);
        assert_eq!(say(&words, Some("en_us"), keys::DISCONNECT_VERSION), "Use 1.20.5");
        assert!(is_known_key("disconnect_unauthenticated"));
        assert!(!is_known_key("disconnect_nonsense"));
    }

    #[test]
    fn survives_hostile_locales() {
        let words = words("en_us", &[]);
        for locale in ["", "_", "__de", "de_", "\u{0}", &"x".repeat(100_000)] {
            assert!(
                say(&words, Some(locale), keys::DISCONNECT_TIMEOUT).len() > 10,
                "{locale:?}"
            );
        }
    }
}
