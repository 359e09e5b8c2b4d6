//! The trace that work is a part of, and the span it belongs to, as W3C Trace Context writes them.

use super::{SpanId, TraceId};

/// A `traceparent` of version 00: what a player brings along from the last server, what a question takes to
/// the control thread, what a request takes to another service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never all zeros.
    pub trace: TraceId,
    /// The span that goes on there; never all zeros.
    pub span: SpanId,
    /// Whether the trace is recorded.
    pub is_sampled: bool,
}

impl TraceParent {
    /// Reads the header's text; `None` if it is none, or names no trace.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        if fields.next()? != "00" {
            return None;
        }
        let mut field = |digits: usize| {
            let field = fields.next().filter(|field| field.len() == digits)?;
            let is_lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            field
                .bytes()
                .all(is_lower_hex)
                .then(|| u128::from_str_radix(field, 16).ok())?
        };
        let (trace, span, flags) = (field(32)?, field(16)?, field(2)?);
        if trace == 0 || span == 0 || fields.next().is_some() {
            return None;
        }
        Some(Self {
            trace: trace.to_be_bytes(),
            span: u64::try_from(span).ok()?.to_be_bytes(),
            is_sampled: flags & 1 == 1,
        })
    }

    /// The trace, as log lines show it: 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.trace))
    }

    /// The span, as log lines show it: 16 hexadecimal digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.span))
    }

    /// The header's text.
    #[must_use]
    pub fn text(&self) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{}-{}-{flags:02x}", self.trace_id(), self.span_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for flags in ["00", "01"] {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-{flags}");
            let parent = TraceParent::parse(&text).unwrap();
            assert_eq!((parent.text(), parent.is_sampled), (text, flags == "01"));
            assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
            assert_eq!(parent.span_id(), "00f067aa0ba902b7");
        }
    }

    #[test]
    fn refuses_what_names_no_trace() {
        for text in [
            "",
            "00",
            "01-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-00f067aa0ba902b7-01",
            "00-+af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7",
            "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01-01",
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
