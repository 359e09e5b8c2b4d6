//! Reads the Prometheus text format as the admin listener writes it.

use std::collections::BTreeMap;
use std::fmt;

/// One line of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// The name, with `_bucket`, `_sum` or `_count` where there is one.
    pub(crate) name: String,
    /// The labels by key.
    pub(crate) labels: BTreeMap<String, String>,
    /// The value.
    pub(crate) value: f64,
}

/// A line that is no sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Its number, from 1.
    line: usize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} is not in Prometheus' text format", self.line)
    }
}

/// Reads all samples. Comments are skipped.
///
/// # Errors
///
/// The first line that is no sample.
pub(crate) fn parse(text: &str) -> Result<Vec<Sample>, Malformed> {
    let lines = text.lines().enumerate();
    let samples = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    samples
        .map(|(at, line)| sample(line).ok_or(Malformed { line: at + 1 }))
        .collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.strip_prefix(' ')?.parse().ok()?,
    })
}

/// The labels behind an opening brace, and what follows the closing one.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.insert(key.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// A value up to its closing quote, and what follows that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            }),
            (_, plain) => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_read_with_and_without_labels() {
        let text =
            "# HELP a b\n# TYPE a counter\na 1\nb{x=\"1, }\",y=\"q\\\"\\\\\\n\"} 2.5\nc{le=\"+Inf\"} +Inf\n";
        let samples = parse(text).unwrap();
        assert_eq!(samples.len(), 3);
        assert_eq!((samples[0].name.as_str(), samples[0].value), ("a", 1.0));
        assert_eq!(samples[1].labels["x"], "1, }");
        assert_eq!(samples[1].labels["y"], "q\"\\\n");
        assert_eq!(samples[2].value, f64::INFINITY);
    }

    #[test]
    fn what_is_no_sample_is_named_by_its_line() {
        for bad in [
            "<html>",
            "a",
            "a{x=\"1\" 2",
            "a{x=\"1} 2",
            "a{x} 1",
            "a one",
            " 1",
            "a{x=\"\\t\"} 1",
        ] {
            assert_eq!(
                parse(&format!("ok 1\n{bad}\n")),
                Err(Malformed { line: 2 }),
                "{bad}"
            );
        }
    }
}
