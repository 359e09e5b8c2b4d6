//! The document as it was written: values with the places they came from, before anybody knows what they
//! mean.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem, Problems};

/// A value and where it was written: for a table's entry the line of its key, for a list's element its own
/// line.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

/// A value of TOML.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    /// What no key takes, such as a date; as it was written.
    Other(String),
    List(Vec<Node>),
    Table(Table),
}

/// A table's entries by key.
pub(super) type Table = BTreeMap<String, Node>;

/// Reads a TOML document.
///
/// On broken syntax, every place that the parser could not make sense of.
pub(super) fn parse_document(text: &str, path: &Arc<str>) -> Result<Table, Problems> {
    let lines = Lines::new(text, |line| Place::File {
        path: Arc::clone(path),
        line,
    });
    let (document, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .iter()
        .map(|error| Problem {
            place: lines.place(error.span().map_or(0, |span| span.start)),
            key: String::new(),
            found: error.message().to_owned(),
            allowed: "TOML (https://toml.io)".into(),
            hint: Some("the keys are looked at once the syntax is right".into()),
        })
        .collect();
    match Problems::of(problems) {
        Some(problems) => Err(problems),
        None => Ok(lines.table(document.get_ref())),
    }
}

/// Reads one TOML value that stands in an environment variable; `None` if it is no TOML.
pub(super) fn parse_value(text: &str, place: &Place) -> Option<Value> {
    let lines = Lines::new(text, |_| place.clone());
    DeValue::parse(text)
        .ok()
        .map(|value| lines.value(value.get_ref()))
}

/// Turns byte offsets into places.
struct Lines<F> {
    /// Offsets of the lines' first bytes.
    starts: Vec<usize>,
    place: F,
}

impl<F: Fn(usize) -> Place> Lines<F> {
    fn new(text: &str, place: F) -> Self {
        let breaks = text
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            starts: std::iter::once(0).chain(breaks).collect(),
            place,
        }
    }

    fn place(&self, offset: usize) -> Place {
        (self.place)(self.starts.partition_point(|start| *start <= offset))
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| {
                let node = Node {
                    value: self.value(value.get_ref()),
                    place: self.place(key.span().start),
                };
                (key.get_ref().to_string(), node)
            })
            .collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| Value::Other(number.to_string()), Value::Integer),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or_else(|_| Value::Other(number.to_string()), Value::Float),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(time) => Value::Other(time.to_string()),
            DeValue::Array(items) => Value::List(
                items
                    .iter()
                    .map(|item| Node {
                        value: self.value(item.get_ref()),
                        place: self.place(item.span().start),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }
}

/// What a problem shows as found: short values as written, long ones by their kind.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_CHARS_MAX: usize = 60;
        match self {
            Self::Text(text) if text.chars().count() <= SHOWN_CHARS_MAX => write!(f, "{text:?}"),
            Self::Text(text) => {
                let head: String = text.chars().take(SHOWN_CHARS_MAX).collect();
                write!(
                    f,
                    "{head:?} and {} more characters",
                    text.chars().count() - SHOWN_CHARS_MAX
                )
            }
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Boolean(flag) => write!(f, "{flag}"),
            Self::Other(text) => f.write_str(text),
            Self::List(items) => write!(f, "a list of {}", items.len()),
            Self::Table(entries) => write!(f, "a table with {} keys", entries.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line_of(node: &Node) -> usize {
        match &node.place {
            Place::File { line, .. } => *line,
            other => panic!("not in a file: {other}"),
        }
    }

    #[test]
    fn remembers_the_line_of_every_key() {
        let text = "a = 1\n\n[b]\nc = [\n  1,\n  2,\n]\n\n[[d]]\ne = true\n";
        let table = parse_document(text, &"x.toml".into()).unwrap();
        assert_eq!(line_of(&table["a"]), 1);
        let Value::Table(b) = &table["b"].value else {
            panic!()
        };
        assert_eq!(line_of(&b["c"]), 4);
        let Value::List(items) = &b["c"].value else {
            panic!()
        };
        assert_eq!(items.iter().map(line_of).collect::<Vec<_>>(), [5, 6]);
        let Value::List(d) = &table["d"].value else {
            panic!()
        };
        assert_eq!(line_of(&d[0]), 9);
    }

    #[test]
    fn reports_every_syntax_error_with_its_line() {
        let problems = parse_document("a = \nb = 1\nc = ]\n", &"x.toml".into()).unwrap_err();
        let lines: Vec<_> = problems
            .all()
            .iter()
            .map(|problem| problem.place.to_string())
            .collect();
        assert!(
            lines.contains(&"x.toml:1".to_owned()) && lines.contains(&"x.toml:3".to_owned()),
            "{lines:?}"
        );
    }
}
