//! Makes lines of events.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::export::Export;
use super::repeats::{Grouped, Withheld};
use super::values::{FIELDS_MAX, Sink, Values, escape, quote};
use super::writer::Queue;
use super::{Format, shown_target};

/// Bytes of a line after which no further field is added.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// The beginning of the fields by which a bridged event says where it comes from.
const BRIDGED: &str = "log.";

thread_local! {
    /// The memory in which each thread makes its lines.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// Makes a line of each event, with the fields of the spans around it, and leaves it in the queue.
pub(super) struct LineLayer {
    format: Format,
    queue: Queue,
    export: Option<Export>,
}

impl LineLayer {
    pub(super) fn new(format: Format, queue: Queue, export: Option<Export>) -> Self {
        Self {
            format,
            queue,
            export,
        }
    }

    /// Makes the line of an event in the given format.
    fn write<S>(&self, format: Format, out: &mut String, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        out.clear();
        // An event that was bridged from `log` says in fields of its own where it comes from.
        let bridged = event.normalized_metadata();
        let metadata = bridged.as_ref().unwrap_or_else(|| event.metadata());
        let mut line = Line::begin(format, out, *metadata.level(), metadata.target());
        event.record(&mut Values(&mut line));
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                fields.copy_to(&mut line);
            }
        }
        line.end();
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = SpanFields::default();
            attributes.record(&mut Values(&mut fields));
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            values.record(&mut Values(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if !self.queue.repeats().pass(event, Instant::now) {
            return;
        }
        // Taken out, because formatting a value may log.
        let mut out = LINE.take();
        self.write(self.format, &mut out, event, &context);
        self.queue.push(&out);
        if let Some(export) = self.export.as_ref().filter(|_| !Export::is_exporting()) {
            if self.format != Format::Json {
                self.write(Format::Json, &mut out, event, &context);
            }
            export.push(&out);
        }
        LINE.set(out);
    }
}

/// The line that tells of dropped lines.
pub(super) fn drops(format: Format, count: u64) -> String {
    let message = format_args!("log lines were dropped because standard output was too slow");
    counted(format, Level::WARN, module_path!(), message, ("dropped", count))
}

/// The line that tells of withheld lines.
pub(super) fn repeats(format: Format, withheld: &Withheld<'_>) -> String {
    let (metadata, count) = (withheld.metadata, withheld.count);
    let message = format_args!("… {} more: {}", Grouped(count), withheld.example);
    counted(
        format,
        *metadata.level(),
        metadata.target(),
        message,
        ("withheld", count),
    )
}

/// A line that is made of no event.
fn counted(
    format: Format,
    level: Level,
    target: &str,
    message: fmt::Arguments<'_>,
    (key, count): (&'static str, u64),
) -> String {
    let mut out = String::new();
    let mut line = Line::begin(format, &mut out, level, target);
    if let Some(out) = line.place("message") {
        if format == Format::Json {
            quote(out, message);
        } else {
            escape(out, message);
        }
    }
    if let Some(out) = line.place(key) {
        let _ = write!(out, "{count}");
    }
    line.end();
    out
}

/// The fields of a span: each value is JSON.
#[derive(Default)]
struct SpanFields(Vec<(&'static str, String)>);

impl SpanFields {
    fn copy_to(&self, line: &mut Line<'_>) {
        for (key, value) in &self.0 {
            if let Some(out) = line.place(key) {
                out.push_str(value);
            }
        }
    }
}

impl Sink for SpanFields {
    fn place(&mut self, key: &'static str) -> Option<&mut String> {
        // Words to the exporter of spans.
        if key.starts_with("otel.") {
            return None;
        }
        let at = match self.0.iter().position(|(known, _)| *known == key) {
            Some(at) => at,
            None if self.0.len() == FIELDS_MAX => return None,
            None => {
                self.0.push((key, String::new()));
                self.0.len() - 1
            }
        };
        let (_, value) = self.0.get_mut(at)?;
        value.clear();
        Some(value)
    }
}

/// A line under way. Of fields with the same key, the first one is written: an event's own before a span's,
/// an inner span's before an outer one's.
struct Line<'a> {
    format: Format,
    out: &'a mut String,
    keys: [&'static str; FIELDS_MAX],
    count: usize,
}

impl<'a> Line<'a> {
    fn begin(format: Format, out: &'a mut String, level: Level, target: &str) -> Self {
        let (root, module) = shown_target(target);
        let time = Timestamp::from(SystemTime::now());
        let _ = match format {
            Format::Json => {
                let _ = write!(
                    out,
                    "{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"target\":"
                );
                quote(out, format_args!("{root}{module}"));
                Ok(())
            }
            Format::Human { colours: false } => write!(out, "{time} {level:>5} {root}{module}:"),
            Format::Human { colours: true } => {
                write!(
                    out,
                    "\x1b[2m{time}\x1b[0m {}{level:>5}\x1b[0m \x1b[2m{root}{module}:\x1b[0m",
                    colour(level)
                )
            }
        };
        Self {
            format,
            out,
            keys: [""; FIELDS_MAX],
            count: 0,
        }
    }

    fn end(mut self) {
        if self.format == Format::Json {
            if let Some(out) = self.place("message") {
                out.push_str("\"\"");
            }
            self.out.push('}');
        }
        self.out.push('\n');
    }
}

impl Sink for Line<'_> {
    fn place(&mut self, key: &'static str) -> Option<&mut String> {
        if key.starts_with(BRIDGED) {
            return None;
        }
        let key = unreserved(key);
        let (known, free) = self.keys.split_at_mut(self.count);
        if known.contains(&key) || (self.out.len() > LINE_BYTES_MAX && key != "message") {
            return None;
        }
        *free.first_mut()? = key;
        self.count += 1;
        match self.format {
            Format::Json => {
                self.out.push(',');
                quote(self.out, format_args!("{key}"));
                self.out.push(':');
            }
            Format::Human { .. } if key == "message" => self.out.push(' '),
            Format::Human { .. } => {
                let _ = write!(self.out, " {key}=");
            }
        }
        Some(self.out)
    }

    fn is_bare(&self, key: &'static str) -> bool {
        key == "message" && self.format != Format::Json
    }
}

/// The keys that every line has stay its own: a field of that name gets another one. `target` is the module,
/// so that the server's name goes by its metric label.
fn unreserved(key: &'static str) -> &'static str {
    match key {
        "target" => "target_identifier",
        "timestamp" => "event_timestamp",
        "level" => "event_level",
        key => key.strip_prefix("r#").unwrap_or(key),
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// A time that is shown as RFC 3339 in UTC, to the millisecond.
pub(super) struct Timestamp {
    seconds: u64,
    milliseconds: u32,
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            seconds: since.as_secs(),
            milliseconds: since.subsec_millis(),
        }
    }
}

impl Timestamp {
    /// The time that is shown like this.
    pub(super) fn parse(shown: &str) -> Option<SystemTime> {
        let number = |from: usize, to: usize| shown.get(from..to)?.parse::<u64>().ok();
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year.checked_sub(1)?, month + 9)
        };
        let leap_days = year / 4 - year / 100 + year / 400;
        let days = (365 * year + leap_days + (153 * month + 2) / 5 + day).checked_sub(719_469)?;
        let seconds = days * 86_400 + number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
        UNIX_EPOCH.checked_add(Duration::from_millis(seconds * 1_000 + number(20, 23)?))
    }
}

impl fmt::Display for Timestamp {
    /// Years that end in March make the leap day the last of its year, and every month's start a linear
    /// function.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.seconds / 86_400 + 719_468, self.seconds % 86_400);
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        let year = 400 * era + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            self.milliseconds
        )
    }
}
