//! `[localization]`: what disconnect messages read.

use std::collections::BTreeMap;

use super::route::kind;
use super::service::{self, Protocol, Service};
use crate::config::section::Section;
use crate::config::value::{boolean, text, word};
use crate::localization::{self, DEFAULT_LOCALE};

/// Words of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Localization {
    /// Used where there is nothing in the client's own language, or where that is not known.
    pub default_locale: String,
    /// Messages by locale and key, above the built-in ones. Locales in the form `de_de`.
    pub messages: BTreeMap<String, BTreeMap<String, String>>,
    /// Who is asked first; the messages stand in while there is no answer.
    pub service: Option<Service>,
}

pub(super) fn read(table: &Section<'_>) -> Localization {
    let built_in = Localization {
        default_locale: DEFAULT_LOCALE.into(),
        messages: BTreeMap::new(),
        service: None,
    };
    let Some(remote) = kind(table, false, &[("fixed", false), ("grpc", true)]) else {
        return built_in;
    };
    let service = remote.then(|| service::read(table, Protocol::Grpc));
    let warn = table.value("warn_unknown_keys", boolean).unwrap_or(true);
    let default_locale = table
        .value("default_locale", word)
        .unwrap_or(built_in.default_locale);
    let messages = table.table("messages", |messages| {
        messages.skip_rest();
        messages.each_table(|locale, entries| {
            entries.skip_rest();
            let read = entries.entries().filter_map(|(key, node)| {
                if warn && !localization::is_known_key(key) {
                    let path = entries.path_of(key);
                    table.reading.warn(format!(
                        "{path} is no message of Passage's own; only adapters can use it"
                    ));
                }
                Some((key.to_owned(), entries.checked(key, node, text)?))
            });
            (localization::normalise_locale(locale), read.collect())
        })
    });
    let localization = Localization {
        default_locale: localization::normalise_locale(&default_locale),
        messages: messages.into_iter().collect(),
        service,
    };
    if !localization::is_known_locale(&localization.default_locale, &localization.messages) {
        let known = localization::built_in_locales().collect::<Vec<_>>().join(", ");
        table.blame(
            "default_locale",
            format!("{default_locale:?}, a locale without messages"),
            format!("a locale under messages, or one of {known}"),
        );
    }
    localization
}
