//! What a shard did lately, for values that only the present makes sense of: its worst loop lag, its deepest
//! queue, what its relays held, its quantiles.

use std::time::{Duration, Instant};

use passage_shards::metrics::{ANSWERS, Deltas, Durations};

/// Shortest time that is remembered.
pub(super) const WINDOW_MIN: Duration = Duration::from_secs(15);

/// Two windows, of which the older one is whole: a reading covers one to two of them, so that whoever reads
/// once a window misses nothing.
#[derive(Debug)]
pub(super) struct Recent {
    current: Window,
    previous: Window,
    begun: Instant,
}

#[derive(Debug)]
struct Window {
    answers: Durations,
    loop_lag: Duration,
    queue_depth: usize,
    relay_memory: usize,
}

impl Recent {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            current: Window::new(),
            previous: Window::new(),
            begun: now,
        }
    }

    /// Forgets what is older than two windows.
    pub(super) fn turn(&mut self, now: Instant, window: Duration) {
        let age = now.saturating_duration_since(self.begun);
        if age < window {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        self.current.clear();
        if age >= window * 2 {
            self.previous.clear();
        }
        self.begun = now;
    }

    pub(super) fn merge(&mut self, deltas: &Deltas) {
        for (_, _, _, durations) in deltas.requests() {
            self.current.answers.merge(durations);
        }
        let (now, totals) = (&mut self.current, &deltas.totals);
        now.loop_lag = now.loop_lag.max(deltas.turns().max().unwrap_or_default());
        now.queue_depth = now.queue_depth.max(totals.queue_depth);
        now.relay_memory = now.relay_memory.max(totals.relay_memory);
    }

    pub(super) fn loop_lag(&self) -> Duration {
        self.current.loop_lag.max(self.previous.loop_lag)
    }

    pub(super) fn queue_depth(&self) -> usize {
        self.current.queue_depth.max(self.previous.queue_depth)
    }

    pub(super) fn relay_memory(&self) -> usize {
        self.current.relay_memory.max(self.previous.relay_memory)
    }

    /// These quantiles of all answers; zero where there were none.
    pub(super) fn quantiles<const N: usize>(&self, parts: [f64; N]) -> [Duration; N] {
        let mut answers = self.previous.answers.clone();
        answers.merge(&self.current.answers);
        parts.map(|part| answers.quantile(part).unwrap_or_default())
    }
}

impl Window {
    fn new() -> Self {
        Self {
            answers: Durations::new(&ANSWERS),
            loop_lag: Duration::ZERO,
            queue_depth: 0,
            relay_memory: 0,
        }
    }

    fn clear(&mut self) {
        self.answers.clear();
        (self.loop_lag, self.queue_depth, self.relay_memory) = (Duration::ZERO, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use passage_shards::metrics::{AdapterType, Options, Outlet, RequestType, TURNS};

    use super::*;

    fn answered(took: Duration) -> Box<Deltas> {
        let (outlet, arrivals) = Outlet::new(Options::default());
        let mut meter = outlet.meter(0);
        meter.request(RequestType::Status, AdapterType::Fixed, true, took);
        let mut turns = Durations::new(&TURNS);
        turns.record(took);
        meter.turns(&turns);
        meter.queue_depth(3);
        meter.relay_memory(70_000);
        drop(meter);
        arrivals.recv().unwrap()
    }

    #[test]
    fn a_reading_covers_at_least_one_window_and_at_most_two() {
        let begun = Instant::now();
        let mut recent = Recent::new(begun);
        let lag = Duration::from_millis(100);
        recent.merge(&answered(lag));
        recent.turn(begun + WINDOW_MIN, WINDOW_MIN);
        assert_eq!((recent.loop_lag(), recent.queue_depth()), (lag, 3));
        assert_eq!(recent.relay_memory(), 70_000);
        let [median] = recent.quantiles([0.5]);
        assert!(median >= lag && median < lag * 11 / 10, "{median:?}");
        recent.turn(begun + WINDOW_MIN * 2, WINDOW_MIN);
        assert_eq!((recent.loop_lag(), recent.queue_depth()), (Duration::ZERO, 0));
        assert_eq!(recent.relay_memory(), 0);
        assert_eq!(recent.quantiles([0.5, 0.99]), [Duration::ZERO; 2]);
    }

    #[test]
    fn a_long_silence_forgets_both_windows() {
        let begun = Instant::now();
        let mut recent = Recent::new(begun);
        recent.merge(&answered(Duration::from_millis(1)));
        recent.turn(begun + WINDOW_MIN * 3, WINDOW_MIN);
        assert_eq!(recent.queue_depth(), 0);
    }
}
