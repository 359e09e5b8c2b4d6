//! Warnings that repeat: an attack writes the same line as often as it likes, but only so many are shown.

use std::fmt::{self, Debug};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// Warnings and errors of one place in the program that are shown in a second.
pub(super) const WARNINGS_MAX: u64 = 20;

/// Lines at `info` of one place that are shown in a second: every login of a large network has one.
pub(super) const INFOS_MAX: u64 = 1_000;

/// Places that are watched. The program has far fewer; those beyond it would not be limited.
const PLACES_MAX: usize = 512;

/// Bytes of a withheld message that are kept as its example.
const EXAMPLE_BYTES_MAX: usize = 200;

/// Counts lines by the place in the program that they come from. All threads share it without waiting for
/// each other, and its memory never grows.
pub(super) struct Repeats {
    epoch: Instant,
    places: Box<[Place]>,
}

/// How many lines of a place were withheld.
pub(super) struct Withheld<'a> {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) count: u64,
    /// The message of one of them.
    pub(super) example: &'a str,
}

#[derive(Default)]
struct Place {
    metadata: OnceLock<&'static Metadata<'static>>,
    /// The second since the epoch in the upper half, the lines in it in the lower.
    second: AtomicU64,
    withheld: AtomicU64,
    example: OnceLock<Box<str>>,
}

impl Repeats {
    pub(super) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            places: std::iter::repeat_with(Place::default).take(PLACES_MAX).collect(),
        }
    }

    /// Whether this event is shown. If not, it is counted.
    pub(super) fn pass(&self, event: &Event<'_>, now: impl FnOnce() -> Instant) -> bool {
        let metadata = event.metadata();
        let Some(most) = most(*metadata.level()) else {
            return true;
        };
        let Some(place) = self.place(metadata) else {
            return true;
        };
        let second = now().saturating_duration_since(self.epoch).as_secs();
        if place.count(second) <= most {
            return true;
        }
        if place.example.get().is_none() {
            let mut example = Example(String::new());
            event.record(&mut example);
            let _ = place.example.set(example.0.into());
        }
        place.withheld.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// What was withheld since the last call.
    pub(super) fn take(&self) -> impl Iterator<Item = Withheld<'_>> {
        self.places.iter().filter_map(|place| {
            let count = place.withheld.swap(0, Ordering::Relaxed);
            let metadata = place.metadata.get().filter(|_| count > 0)?;
            let example = place.example.get().map_or("", |text| text);
            Some(Withheld {
                metadata,
                count,
                example,
            })
        })
    }

    /// The place that these metadata describe; `None` if there are too many.
    fn place(&self, metadata: &'static Metadata<'static>) -> Option<&Place> {
        let address = ptr::from_ref(metadata) as usize;
        let start = (address >> 3).wrapping_mul(0x9e37_79b1) % self.places.len();
        let (before, from) = self.places.split_at(start);
        from.iter()
            .chain(before)
            .find(|place| ptr::eq(*place.metadata.get_or_init(|| metadata), metadata))
    }
}

impl Debug for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeats").finish_non_exhaustive()
    }
}

impl Place {
    /// Counts a line; gives the number of lines in its second.
    fn count(&self, second: u64) -> u64 {
        let add = |state: u64| {
            let count = if state >> 32 == second {
                state & 0xffff_ffff
            } else {
                0
            };
            second << 32 | (count + 1).min(0xffff_ffff)
        };
        let update = |state| Some(add(state));
        let before = self
            .second
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        add(before.unwrap_or_else(|state| state)) & 0xffff_ffff
    }
}

/// Lines that are shown in a second; `None` for what is only shown to those who asked for it.
fn most(level: Level) -> Option<u64> {
    match level {
        Level::ERROR | Level::WARN => Some(WARNINGS_MAX),
        Level::INFO => Some(INFOS_MAX),
        _ => None,
    }
}

/// Takes the message out of an event.
struct Example(String);

impl Visit for Example {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
            self.0.truncate(self.0.floor_char_boundary(EXAMPLE_BYTES_MAX));
        }
    }
}

/// A count with a space between its thousands.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1_000 {
            return write!(f, "{}", self.0);
        }
        write!(f, "{} {:03}", Self(self.0 / 1_000), self.0 % 1_000)
    }
}
