//! What values may be: each function turns a [`Node`] into a typed value or says what would have been
//! allowed.
//!
//! A value from the environment is always text; each parser reads the text as its own type.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use http::Uri;
use http::uri::Authority;
use rustls::pki_types::ServerName;

use super::error::{Place, nearest};
use super::raw::{self, Node, Value};

/// Either the value or everything that is wrong with it.
pub(super) type Parsed<T> = Result<T, Vec<Mismatch>>;

/// One thing that is wrong with a value.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// Path below the value's key, such as `[2]`.
    pub(super) below: String,
    pub(super) place: Place,
    pub(super) found: String,
    pub(super) allowed: String,
    pub(super) hint: Option<String>,
}

impl Mismatch {
    pub(super) fn new(node: &Node, allowed: impl Into<String>) -> Self {
        Self {
            below: String::new(),
            place: node.place.clone(),
            found: node.value.to_string(),
            allowed: allowed.into(),
            hint: None,
        }
    }

    pub(super) fn found(self, found: impl Into<String>) -> Self {
        Self {
            found: found.into(),
            ..self
        }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// As the only mismatch of a value.
    pub(super) fn fail<T>(self) -> Parsed<T> {
        Err(vec![self])
    }
}

/// `true` or `false`.
pub(super) fn boolean(node: &Node) -> Parsed<bool> {
    match &node.value {
        Value::Boolean(flag) => Ok(*flag),
        Value::Text(text) if from_environment(node) && text == "true" => Ok(true),
        Value::Text(text) if from_environment(node) && text == "false" => Ok(false),
        _ => Mismatch::new(node, "true or false").fail(),
    }
}

/// Any text.
pub(super) fn text(node: &Node) -> Parsed<String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        _ => Mismatch::new(node, "text in quotes").fail(),
    }
}

/// Text that is not empty.
pub(super) fn word(node: &Node) -> Parsed<String> {
    text(node).and_then(|text| match text.trim() {
        "" => Mismatch::new(node, "text that is not empty").fail(),
        trimmed => Ok(trimmed.to_owned()),
    })
}

/// Text that `T` can be read from.
pub(super) fn parsed<T: FromStr>(allowed: &'static str) -> impl Fn(&Node) -> Parsed<T> {
    move |node| match &node.value {
        Value::Text(text) => text
            .trim()
            .parse()
            .or_else(|_| Mismatch::new(node, allowed).fail()),
        _ => Mismatch::new(node, allowed).fail(),
    }
}

/// A whole number within bounds that fit `T`.
pub(super) fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Node) -> Parsed<T>
where
    T: TryFrom<i128> + PartialOrd + Display,
{
    move |node| {
        let number = match &node.value {
            Value::Integer(number) => Some(*number),
            Value::Text(text) if from_environment(node) => text.trim().parse().ok(),
            _ => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                vec![Mismatch::new(
                    node,
                    format!("a whole number from {} to {}", range.start(), range.end()),
                )]
            })
    }
}

/// A number within bounds.
pub(super) fn number(range: RangeInclusive<f64>) -> impl Fn(&Node) -> Parsed<f64> {
    move |node| {
        float(node)
            .filter(|number| range.contains(number))
            .ok_or_else(|| {
                vec![Mismatch::new(
                    node,
                    format!("a number from {} to {}", range.start(), range.end()),
                )]
            })
    }
}

/// A time in seconds, whole or with a fraction, within bounds in whole seconds.
pub(super) fn seconds(range: RangeInclusive<u32>) -> impl Fn(&Node) -> Parsed<Duration> {
    seconds_within(f64::from(*range.start())..=f64::from(*range.end()))
}

/// A time in seconds, whole or with a fraction, within bounds that may have a fraction, too.
pub(super) fn seconds_within(bounds: RangeInclusive<f64>) -> impl Fn(&Node) -> Parsed<Duration> {
    move |node| {
        let seconds = float(node).filter(|seconds| bounds.contains(seconds));
        seconds.map(Duration::from_secs_f64).ok_or_else(|| {
            vec![Mismatch::new(
                node,
                format!("a number of seconds from {} to {}", bounds.start(), bounds.end()),
            )]
        })
    }
}

/// One of some words.
pub(super) fn one_of<T: Clone>(choices: &'static [(&'static str, T)]) -> impl Fn(&Node) -> Parsed<T> {
    move |node| {
        let names = || choices.iter().map(|(name, _)| *name);
        let written = match &node.value {
            Value::Text(text) => text.as_str(),
            _ => "",
        };
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == written) {
            return Ok(choice.clone());
        }
        let allowed = names()
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        let mismatch = Mismatch::new(node, allowed);
        match nearest(written, names()) {
            Some(near) => mismatch.hint(format!("did you mean {near:?}?")).fail(),
            None => mismatch.fail(),
        }
    }
}

/// A list of such values, or a single one; from the environment separated by commas or as a TOML list.
pub(super) fn list<T>(item: impl Fn(&Node) -> Parsed<T>) -> impl Fn(&Node) -> Parsed<Vec<T>> {
    move |node| {
        let split;
        let items = match &node.value {
            Value::List(items) => items,
            Value::Text(text) if from_environment(node) => {
                split = split_variable(text, &node.place);
                &split
            }
            _ => return item(node).map(|single| vec![single]),
        };
        let mut values = Vec::with_capacity(items.len());
        let mut mismatches = Vec::new();
        for (index, node) in items.iter().enumerate() {
            match item(node) {
                Ok(value) => values.push(value),
                Err(wrong) => mismatches.extend(wrong.into_iter().map(|mismatch| Mismatch {
                    below: format!("[{index}]{}", mismatch.below),
                    ..mismatch
                })),
            }
        }
        if mismatches.is_empty() {
            Ok(values)
        } else {
            Err(mismatches)
        }
    }
}

/// An `http` or `https` address.
pub(super) fn url(node: &Node) -> Parsed<String> {
    let address = word(node)?;
    let rest = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    match host {
        Some(host) if !host.contains('@') && is_usable(&address) => {
            if address.starts_with("http:") || is_certifiable(host) {
                return Ok(address);
            }
            Mismatch::new(
                node,
                "a host that a certificate can be for: an IP address, or letters, digits and hyphens between \
                 dots, no part of which begins or ends with a hyphen",
            )
            .fail()
        }
        // Whatever the scheme: what stands before the @ may be a password.
        _ if address.contains('@') => Mismatch::new(
            node,
            "an address such as \"https://example.net/path\", without user name and password",
        )
        .found("an address with credentials (not shown)")
        .fail(),
        _ => Mismatch::new(node, "an address such as \"https://example.net/path\"").fail(),
    }
}

/// Whether whoever asks there can read the address: better told now than with every question.
fn is_usable(address: &str) -> bool {
    let plain = address.chars().all(|c| c.is_ascii_graphic());
    let uri = plain.then(|| address.parse::<Uri>().ok()).flatten();
    uri.as_ref().and_then(Uri::authority).is_some_and(|authority| {
        let host = authority.host();
        // A port that is none is taken for no port at all.
        let has_port = authority.port().is_some() || host == authority.as_str();
        !host.is_empty() && has_port
    })
}

/// Whether a certificate can be for this host, whatever its port.
fn is_certifiable(authority: &str) -> bool {
    let authority = authority.parse::<Authority>();
    authority.is_ok_and(|authority| {
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(bare).is_ok()
    })
}

fn float(node: &Node) -> Option<f64> {
    match &node.value {
        Value::Float(number) => Some(*number),
        #[expect(clippy::cast_precision_loss, reason = "every key's bounds are far below 2^53")]
        Value::Integer(number) => Some(*number as f64),
        Value::Text(text) if from_environment(node) => text.trim().parse().ok(),
        _ => None,
    }
}

fn from_environment(node: &Node) -> bool {
    matches!(node.place, Place::Environment(_))
}

fn split_variable(text: &str, place: &Place) -> Vec<Node> {
    if text.trim_start().starts_with('[')
        && let Some(Value::List(items)) = raw::parse_value(text.trim(), place)
    {
        return items;
    }
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| Node {
            value: Value::Text(item.to_owned()),
            place: place.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(text: &str) -> Node {
        Node {
            value: Value::Text(text.into()),
            place: Place::Environment("PASSAGE_X".into()),
        }
    }

    fn written(value: Value) -> Node {
        Node {
            value,
            place: Place::File {
                path: "x.toml".into(),
                line: 1,
            },
        }
    }

    #[test]
    fn reads_variables_as_the_type_that_is_wanted() {
        assert!(boolean(&variable("true")).unwrap());
        assert_eq!(integer(1..=9_u8)(&variable("7")).unwrap(), 7);
        assert_eq!(
            seconds(1..=9)(&variable("1.5")).unwrap(),
            Duration::from_millis(1500)
        );
        assert_eq!(list(text)(&variable("a, b,")).unwrap(), ["a", "b"]);
        assert_eq!(list(text)(&variable("[\"a,b\"]")).unwrap(), ["a,b"]);
    }

    #[test]
    fn does_not_read_quoted_numbers_in_a_file() {
        assert!(integer(1..=9_u8)(&written(Value::Text("7".into()))).is_err());
        assert!(boolean(&written(Value::Text("true".into()))).is_err());
    }

    #[test]
    fn keeps_numbers_within_their_bounds() {
        for wrong in [
            Value::Integer(-1),
            Value::Integer(256),
            Value::Integer(i128::MAX),
            Value::Float(1.0),
        ] {
            let mismatch = integer(0..=255_u8)(&written(wrong)).unwrap_err();
            assert_eq!(mismatch[0].allowed, "a whole number from 0 to 255");
        }
        for wrong in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
            assert!(number(0.0..=1.0)(&written(Value::Float(wrong))).is_err());
        }
        assert!(seconds(0..=1)(&written(Value::Float(f64::NAN))).is_err());
    }

    #[test]
    fn reports_every_bad_item_of_a_list() {
        let items = [1, 2, 300, -4].map(|number| written(Value::Integer(number)));
        let wrong = list(integer(0..=255_u8))(&written(Value::List(items.into()))).unwrap_err();
        assert_eq!(
            wrong
                .iter()
                .map(|mismatch| mismatch.below.as_str())
                .collect::<Vec<_>>(),
            ["[2]", "[3]"]
        );
    }

    #[test]
    fn never_shows_credentials_of_an_address() {
        for address in [
            "https://me:hunter2@example.net/",
            "ftp://me:hunter2@example.net/",
            "https:/me:hunter2@example.net/",
            "me:hunter2@example.net",
            "https://me:hunter2 @example.net/",
        ] {
            let wrong = url(&written(Value::Text(address.into()))).unwrap_err();
            assert!(!format!("{wrong:?}").contains("hunter2"), "{wrong:?}");
        }
    }

    #[test]
    fn takes_addresses_that_can_be_asked() {
        let read = |address: &str| url(&written(Value::Text(address.into())));
        for good in [
            "http://a",
            "https://example.net:8443/path?query={x}",
            "http://[::1]:4318/v1/traces",
            "https://127.0.0.1/",
            "https://[::1]:8443/",
            "http://a.-b/",
        ] {
            assert_eq!(read(good).unwrap(), good);
        }
        for bad in [
            "ftp://example.net",
            "https:///x",
            "http://a:99999/",
            "http://a:b/",
            "http://[::1/",
            "http://a/<x>",
            "http://a\\b/",
            "http://ä/",
            "https://a.-b/",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
