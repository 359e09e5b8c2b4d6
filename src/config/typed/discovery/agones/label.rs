//! Labels as Kubernetes allows them.
//!
//! Source: kubernetes.io, "Labels and Selectors", "Syntax and character set".

use super::template::Template;
use crate::config::raw::Node;
use crate::config::value::{Mismatch, Parsed};

/// Characters of a label's value and of the name in its key.
const NAME_CHARS_MAX: usize = 63;
/// Characters of the prefix in a label's key.
const PREFIX_CHARS_MAX: usize = 253;

/// What a key has to look like.
pub(super) const KEY_ALLOWED: &str =
    "a key such as \"example.net/mode\": at most 63 letters, digits, '-', '_' and '.' after the prefix";

/// Makes any text the value of a label: what is not allowed becomes a hyphen, what is too long is cut off.
#[must_use]
pub fn value_of(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: char| !c.is_ascii_alphanumeric();
    let replaced: String = text
        .trim_matches(edge)
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .take(NAME_CHARS_MAX)
        .collect();
    replaced.trim_end_matches(edge).to_owned()
}

/// Whether a text can be the key of a label or an annotation.
pub(super) fn label_key(key: &str) -> bool {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let is_prefix = |prefix: &str| {
        let part = |part: &str| {
            let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
        };
        prefix.len() <= PREFIX_CHARS_MAX && prefix.split('.').all(part)
    };
    !name.is_empty() && value_of(name) == name && prefix.is_none_or(is_prefix)
}

/// A template that ends up as the value of a label; without variables it has to be one as it is.
pub(super) fn label_template(node: &Node) -> Parsed<Template> {
    let template = super::template(node)?;
    match template.literal() {
        Some(literal) if value_of(literal) != literal => Mismatch::new(
            node,
            "at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
        )
        .fail(),
        _ => Ok(template),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_valid_values_of_any_text() {
        for (text, value) in [
            ("", ""),
            ("lobby-1", "lobby-1"),
            ("2001:db8::1", "2001-db8--1"),
            ("::1", "1"),
            (".play_er.", "play_er"),
            ("Spiele!", "Spiele"),
            ("ä", ""),
            ("a\u{1F600}b", "a-b"),
        ] {
            assert_eq!(value_of(text), value, "{text}");
        }
        let long = format!("{}.{}", "a".repeat(62), "b".repeat(62));
        assert_eq!(value_of(&long), "a".repeat(62));
    }

    #[test]
    fn knows_keys_that_kubernetes_takes() {
        for key in ["game", "agones.dev/fleet", "a_b.C-d", "9"] {
            assert!(label_key(key), "{key}");
        }
        let long = "a".repeat(64);
        for key in [
            "",
            "/a",
            "a/",
            "a/b/c",
            "-a",
            "a.",
            "Agones.dev/fleet",
            "a..b/c",
            "a b",
            &long,
        ] {
            assert!(!label_key(key), "{key}");
        }
    }
}
