//! The messages that Passage brings along: one file a language, each with every key of
//! [`passage_proto::text::keys`].

mod de_de;
mod en_us;
mod es_es;
mod fr_fr;
mod ru_ru;
mod zh_cn;

/// Keys and their plain texts.
type Table = &'static [(&'static str, &'static str)];

/// The messages of the default locale.
pub(super) const EN_US: Table = en_us::MESSAGES;

/// All locales, named as clients name them.
pub(super) const LOCALES: &[(&str, Table)] = &[
    ("de_de", de_de::MESSAGES),
    ("en_us", EN_US),
    ("es_es", es_es::MESSAGES),
    ("fr_fr", fr_fr::MESSAGES),
    ("ru_ru", ru_ru::MESSAGES),
    ("zh_cn", zh_cn::MESSAGES),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use passage_proto::text::keys;

    use super::*;

    /// The parameters that a text names.
    fn holes(text: &str) -> BTreeSet<&str> {
        text.split('{')
            .skip(1)
            .filter_map(|rest| rest.split_once('}'))
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn every_locale_has_every_key_once_and_the_same_parameters() {
        for (locale, table) in LOCALES {
            let written: BTreeSet<_> = table.iter().map(|(key, _)| *key).collect();
            assert_eq!(written, BTreeSet::from(keys::ALL), "{locale}");
            assert_eq!(table.len(), keys::ALL.len(), "{locale} has a key twice");
            for (key, text) in *table {
                let (_, english) = EN_US.iter().find(|(known, _)| known == key).unwrap();
                assert_eq!(holes(text), holes(english), "{locale}: {key}");
                assert!(
                    *locale == "en_us" || text != english,
                    "{locale}: {key} is not translated"
                );
            }
        }
    }
}
