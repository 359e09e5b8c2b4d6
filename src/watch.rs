//! Watches the threads of the process, so that none of them stands still or dies in silence.
//!
//! What becomes of it depends on the part. Without a shard or the control thread players are not served:
//! `/livez` fails while one of them stands still, and the process ends when one of them dies
//! ([`crate::app`]), so that whatever runs it starts it anew. Everything else is telemetry: its loss is told
//! and counted, and players go on playing.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use passage_shards::pulse::{PULSE_INTERVAL, Pulse, Sign};

/// Longest silence of a thread that counts as alive: five beats.
pub const SILENCE_MAX: Duration = Duration::from_secs(5);

/// What a thread is there for: the label `thread`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Serves players.
    Shard,
    /// Answers what shards ask.
    Control,
    /// Merges counts and shows them.
    Telemetry,
    /// Posts metrics.
    Metrics,
    /// Posts spans.
    Traces,
    /// Posts log lines.
    LogExport,
    /// Writes log lines.
    Logs,
    /// Posts reports.
    Sentry,
    /// Answers probes and scrapes.
    Admin,
    /// Watches all others.
    Watch,
}

impl Part {
    /// Every part, in the order of the enum.
    pub const ALL: [Self; 10] = [
        Self::Shard,
        Self::Control,
        Self::Telemetry,
        Self::Metrics,
        Self::Traces,
        Self::LogExport,
        Self::Logs,
        Self::Sentry,
        Self::Admin,
        Self::Watch,
    ];

    /// The value as it is exported.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Shard => "shard",
            Self::Control => "control",
            Self::Telemetry => "telemetry",
            Self::Metrics => "otlp-metrics",
            Self::Traces => "otlp-traces",
            Self::LogExport => "otlp-logs",
            Self::Logs => "logs",
            Self::Sentry => "sentry",
            Self::Admin => "admin",
            Self::Watch => "watch",
        }
    }

    /// Whether players are served no more, or not all of them, without it.
    #[must_use]
    pub fn is_vital(self) -> bool {
        matches!(self, Self::Shard | Self::Control)
    }
}

/// How often threads of each part failed since the start, in the order of [`Part::ALL`].
pub type Failures = [u64; Part::ALL.len()];

/// What is wrong with a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What the thread is there for.
    pub part: Part,
    name: String,
    /// For how long it has stood still; `None` if it has died.
    still: Option<Duration>,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.still {
            Some(still) => write!(f, "{} has stood still for {} s", self.name, still.as_secs()),
            None => write!(f, "{} has died", self.name),
        }
    }
}

/// The threads that are watched.
#[derive(Debug, Default)]
pub struct Watch {
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    watched: Vec<Watched>,
    failures: Failures,
}

#[derive(Debug)]
struct Watched {
    part: Part,
    name: String,
    pulse: Arc<Pulse>,
    /// Whether its present trouble has been told of.
    is_told: bool,
}

impl Watched {
    fn trouble(&self) -> Option<Trouble> {
        let still = match self.pulse.sign() {
            Sign::Beating(silence) if silence > SILENCE_MAX => Some(silence),
            Sign::Dead => None,
            Sign::Beating(_) | Sign::Resting | Sign::Retired => return None,
        };
        Some(Trouble {
            part: self.part,
            name: self.name.clone(),
            still,
        })
    }
}

impl Watch {
    /// Watches a thread from now on. Shards have numbers.
    pub fn add(&self, part: Part, number: Option<usize>, pulse: Arc<Pulse>) {
        let name = match number {
            Some(number) => format!("{} {number}", part.label()),
            None => format!("the {} thread", part.label()),
        };
        self.threads().watched.push(Watched {
            part,
            name,
            pulse,
            is_told: false,
        });
    }

    /// The threads that stand still or have died.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        self.threads()
            .watched
            .iter()
            .filter_map(Watched::trouble)
            .collect()
    }

    /// How often threads have failed since the start.
    #[must_use]
    pub fn failures(&self) -> Failures {
        self.threads().failures
    }

    /// Counts and logs what has happened since the last look, each trouble once.
    fn look(&self) {
        let mut threads = self.threads();
        let Threads { watched, failures } = &mut *threads;
        for watched in watched {
            match watched.trouble() {
                Some(trouble) if !watched.is_told => {
                    watched.is_told = true;
                    if let Some(count) = failures.get_mut(trouble.part as usize) {
                        *count += 1;
                    }
                    if trouble.part.is_vital() {
                        tracing::error!(thread = trouble.part.label(), "{trouble}; players suffer");
                    } else {
                        tracing::error!(
                            thread = trouble.part.label(),
                            "{trouble}; players are not concerned"
                        );
                    }
                }
                None if watched.is_told => {
                    watched.is_told = false;
                    tracing::warn!(thread = watched.part.label(), "{} goes on", watched.name);
                }
                Some(_) | None => {}
            }
        }
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running watchdog. Ends when dropped.
#[derive(Debug)]
pub struct Watchdog {
    _stop: Sender<()>,
}

/// Has the threads looked at once a second.
///
/// # Errors
///
/// If the system has no thread for it.
pub fn start(watch: &Arc<Watch>) -> io::Result<Watchdog> {
    let (stop, stopped) = bounded::<()>(0);
    let pulse = Arc::<Pulse>::default();
    watch.add(Part::Watch, None, Arc::clone(&pulse));
    let watch = Arc::clone(watch);
    let patrol = move || {
        let mut last = Instant::now();
        while stopped.recv_timeout(PULSE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            pulse.beat();
            let now = Instant::now();
            // A process that was stopped as a whole has to come to itself first.
            if now.duration_since(last) < SILENCE_MAX {
                watch.look();
            }
            last = now;
        }
        pulse.retire();
    };
    thread::Builder::new().name("watch".into()).spawn(patrol)?;
    Ok(Watchdog { _stop: stop })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long_ago() -> Arc<Pulse> {
        Arc::new(Pulse::born_before(SILENCE_MAX * 2))
    }

    #[test]
    fn every_part_stands_at_its_own_index_in_all() {
        assert!(
            Part::ALL
                .iter()
                .enumerate()
                .all(|(at, part)| *part as usize == at)
        );
    }

    #[test]
    fn a_trouble_is_counted_once_until_it_is_over() {
        let watch = Watch::default();
        let (still, moving) = (long_ago(), Arc::<Pulse>::default());
        watch.add(Part::Shard, Some(0), Arc::clone(&moving));
        watch.add(Part::Shard, Some(1), Arc::clone(&still));
        for _ in 0..3 {
            watch.look();
        }
        assert_eq!(watch.failures()[Part::Shard as usize], 1);
        let troubles = watch.troubles();
        assert_eq!(troubles.len(), 1);
        assert!(
            troubles[0]
                .to_string()
                .starts_with("shard 1 has stood still for 1"),
            "{}",
            troubles[0]
        );
        still.beat();
        watch.look();
        assert!(watch.troubles().is_empty());
        still.die();
        watch.look();
        assert_eq!(watch.failures()[Part::Shard as usize], 2);
        assert_eq!(watch.troubles()[0].to_string(), "shard 1 has died");
    }

    #[test]
    fn who_rests_or_has_retired_is_no_trouble() {
        let watch = Watch::default();
        let (resting, retired) = (Arc::new(Pulse::resting()), long_ago());
        retired.retire();
        watch.add(Part::Sentry, None, Arc::clone(&resting));
        watch.add(Part::Telemetry, None, retired);
        watch.look();
        assert!(watch.troubles().is_empty());
        resting.die();
        assert_eq!(watch.troubles()[0].to_string(), "the sentry thread has died");
        assert!(!watch.troubles()[0].part.is_vital());
    }

    #[test]
    fn the_watchdog_finds_what_dies_and_is_watched_itself() {
        let watch = Arc::<Watch>::default();
        let pulse = Arc::new(Pulse::resting());
        watch.add(Part::Logs, None, Arc::clone(&pulse));
        let dog = start(&watch).unwrap();
        pulse.die();
        while watch.failures()[Part::Logs as usize] == 0 {
            thread::park_timeout(Duration::from_millis(10));
        }
        assert_eq!(watch.troubles().len(), 1, "the watchdog itself is well");
        drop(dog);
        let own = Arc::clone(&watch.threads().watched[1].pulse);
        while own.sign() != Sign::Retired {
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}
