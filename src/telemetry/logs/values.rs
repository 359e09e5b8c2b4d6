//! Field values as JSON, bounded, and without anything that could confuse a terminal or a parser.

use std::error::Error;
use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};

/// Most bytes of one value.
pub(super) const VALUE_BYTES_MAX: usize = 4 * 1024;

/// Most fields of one line, spans included.
pub(super) const FIELDS_MAX: usize = 64;

/// Where the visited fields of an event or a span go.
pub(super) trait Sink {
    /// The place for the JSON value of this field; `None` if it is left out.
    fn place(&mut self, key: &'static str) -> Option<&mut String>;

    /// Whether text of this field stands without quotation marks.
    fn is_bare(&self, _key: &'static str) -> bool {
        false
    }
}

/// Visits fields and writes their values as JSON to a sink.
pub(super) struct Values<'a, S>(pub(super) &'a mut S);

impl<S: Sink> Values<'_, S> {
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        if let Some(out) = self.0.place(field.name()) {
            let _ = write!(out, "{value}");
        }
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let bare = self.0.is_bare(field.name());
        match self.0.place(field.name()) {
            Some(out) if bare => escape(out, value),
            Some(out) => quote(out, value),
            None => {}
        }
    }
}

impl<S: Sink> Visit for Values<'_, S> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value)
        } else {
            self.text(field, format_args!("{value}"))
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    /// As text: no JSON parser is sure to read so many digits.
    fn record_i128(&mut self, field: &Field, value: i128) {
        self.text(field, format_args!("{value}"));
    }

    /// As text: no JSON parser is sure to read so many digits.
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.text(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    /// With all causes.
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.text(field, format_args!("{}", Chain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Appends a JSON string.
pub(super) fn quote(out: &mut String, value: fmt::Arguments<'_>) {
    out.push('"');
    escape(out, value);
    out.push('"');
}

/// Appends what stands in a JSON string. Everything that is not printable is escaped, so that the line cannot
/// do anything to a terminal either; what is longer than [`VALUE_BYTES_MAX`] ends in an ellipsis.
pub(super) fn escape(out: &mut String, value: fmt::Arguments<'_>) {
    let mut text = Escaped {
        left: VALUE_BYTES_MAX,
        out,
    };
    if text.write_fmt(value).is_err() {
        text.out.push('…');
    }
}

struct Chain<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

struct Escaped<'a> {
    out: &'a mut String,
    left: usize,
}

impl Write for Escaped<'_> {
    /// Fails once there is no room left, which also ends the formatting of what is too long.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let before = self.out.len();
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if is_unprintable(c) => write!(self.out, "\\u{:04x}", u32::from(c))?,
                c => self.out.push(c),
            }
            match self.left.checked_sub(self.out.len() - before) {
                Some(left) => self.left = left,
                None => {
                    self.out.truncate(before);
                    return Err(fmt::Error);
                }
            }
        }
        Ok(())
    }
}

/// Control characters, line and paragraph separators, and the marks that change the direction of writing. All
/// are in the basic plane, so that four digits do.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{feff}')
}
