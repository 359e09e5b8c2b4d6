//! Which of the two formats a client prefers, by its `Accept` headers (RFC 9110, section 12.5.1).

use httparse::Header;

use crate::telemetry::exposition::Format;

/// OpenMetrics as far as it is asked for and the client likes nothing better; else what everybody reads, also
/// where the client would have neither.
pub(super) fn preferred(headers: &[Header<'_>]) -> Format {
    let accept = || {
        let accept = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("accept"));
        accept.filter_map(|header| std::str::from_utf8(header.value).ok())
    };
    let quality = |media: &Media| {
        let ranges = accept()
            .flat_map(|value| value.split(','))
            .filter_map(Range::parse);
        let fitting = ranges.filter_map(|range| Some((media.closeness(&range)?, range.quality)));
        // The closest range says how much it is liked.
        fitting.max_by_key(|(closeness, _)| *closeness)
    };
    let liked = |media: &Media| quality(media).map_or(0, |(_, quality)| quality);
    if liked(&OPEN_METRICS) > liked(&TEXT) {
        return Format::OpenMetrics;
    }
    // Of two that are liked as much, the one that is named.
    let named =
        |media: &Media| quality(media).is_some_and(|(closeness, quality)| closeness > 1 && quality > 0);
    if liked(&OPEN_METRICS) == liked(&TEXT) && named(&OPEN_METRICS) && !named(&TEXT) {
        return Format::OpenMetrics;
    }
    Format::Prometheus
}

struct Media {
    kind: &'static str,
    subkind: &'static str,
    version: &'static str,
}

const OPEN_METRICS: Media = Media {
    kind: "application",
    subkind: "openmetrics-text",
    version: "1.0.0",
};

const TEXT: Media = Media {
    kind: "text",
    subkind: "plain",
    version: "0.0.4",
};

/// One of the things that a client takes.
struct Range<'a> {
    kind: &'a str,
    subkind: &'a str,
    version: Option<&'a str>,
    /// In thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is none.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subkind) = parts.next()?.split_once('/')?;
        let (mut version, mut quality) = (None, 1_000);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim() {
                name if name.eq_ignore_ascii_case("q") => quality = thousandths(value)?,
                name if name.eq_ignore_ascii_case("version") => version = Some(value),
                // How names beyond the usual characters are written; ours have none.
                _ => {}
            }
        }
        Some(Self {
            kind,
            subkind,
            version,
            quality,
        })
    }
}

impl Media {
    /// How exactly the range describes it; `None` if not at all.
    fn closeness(&self, range: &Range<'_>) -> Option<u8> {
        let is = |ours: &str, theirs: &str| theirs.eq_ignore_ascii_case(ours);
        match (range.kind, range.subkind, range.version) {
            ("*", "*", _) => Some(0),
            (kind, "*", _) if is(self.kind, kind) => Some(1),
            (kind, subkind, version) if is(self.kind, kind) && is(self.subkind, subkind) => match version {
                None => Some(2),
                Some(version) => (version == self.version).then_some(3),
            },
            _ => None,
        }
    }
}

/// A quality such as `0.75`; `None` for what is none.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match (whole, is_number) {
        ("1", true) => fraction.bytes().all(|byte| byte == b'0').then_some(1_000),
        ("0", true) => format!("{fraction:0<3}").parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accepts: &[&str]) -> Format {
        let headers: Vec<_> = accepts
            .iter()
            .map(|value| Header {
                name: "ACCEPT",
                value: value.as_bytes(),
            })
            .collect();
        preferred(&headers)
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it() {
        for accept in [
            "application/openmetrics-text",
            "application/openmetrics-text;version=1.0.0",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8, text/plain;q=0.5",
            "application/openmetrics-text;q=0.001",
            "application/openmetrics-text, */*",
            "text/html;q=0.9, application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.799",
        ] {
            assert_eq!(of(&[accept]), Format::OpenMetrics, "{accept}");
        }
        // What Prometheus 2 and 3 say.
        assert_eq!(
            of(&[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                  q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ]),
            Format::OpenMetrics
        );
        assert_eq!(
            of(&[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                  application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
                  escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1"
            ]),
            Format::OpenMetrics
        );
        let twice = ["text/plain;q=0.3", "application/openmetrics-text;version=1.0.0"];
        assert_eq!(of(&twice), Format::OpenMetrics);
    }

    #[test]
    fn everybody_else_gets_what_everybody_reads() {
        assert_eq!(of(&[]), Format::Prometheus);
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;version=0.0.1,text/plain;q=0.5",
            "application/openmetrics-text;q=0.5,text/plain",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=0.12345",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-text;q=",
            "application/openmetrics-text, text/plain",
            "image/png",
            ";;;,,,/;q=1",
            "\u{1F600}/\u{1F600}",
        ] {
            assert_eq!(of(&[accept]), Format::Prometheus, "{accept}");
        }
        let broken = Header {
            name: "accept",
            value: b"\xff\xfe",
        };
        assert_eq!(preferred(&[broken]), Format::Prometheus);
    }
}
