//! What the checks of one server amount to. A pure state machine.

use std::time::Duration;

use crate::config::Health as Settings;

/// A change of the latency below this, or below an eighth of it, is not worth telling.
const LATENCY_STEP: Duration = Duration::from_micros(500);

/// What a check saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sight {
    /// One round trip.
    pub(super) latency: Duration,
    /// Players online, and how many there may be; `None` if the server does not say.
    pub(super) players: Option<(u32, u32)>,
}

/// What is new after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing that others have to know.
    None,
    /// The latency or the players.
    Details,
    /// The first check has succeeded.
    FirstUp,
    /// It was down, and players may go there again.
    Up,
    /// Nobody should go there.
    Down,
}

/// What is known about one server. The first check decides at once; from then on it takes several in a row.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    is_up: Option<bool>,
    /// Checks in a row that say otherwise.
    against: u32,
    smoothed: Option<Duration>,
    latency: Option<Duration>,
    players: Option<(u32, u32)>,
}

impl Record {
    /// Takes in what a check saw; `None` if it failed.
    pub(super) fn observe(&mut self, sight: Option<Sight>, settings: &Settings) -> Change {
        let change = self.judge(sight.is_some(), settings);
        if change == Change::Up {
            self.smoothed = None;
        }
        let details = sight.is_some_and(|sight| self.measure(sight, settings));
        match change {
            Change::None if details && self.is_up() => Change::Details,
            change => change,
        }
    }

    /// Whether players may go there.
    pub(super) fn is_up(&self) -> bool {
        self.is_up == Some(true)
    }

    /// Whether anything is known.
    pub(super) fn was_checked(&self) -> bool {
        self.is_up.is_some()
    }

    /// The round trip, smoothed; what others are told, which is not every little change of it.
    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// Players online, and how many there may be.
    pub(super) fn players(&self) -> Option<(u32, u32)> {
        self.players
    }

    fn judge(&mut self, has_succeeded: bool, settings: &Settings) -> Change {
        let Some(is_up) = self.is_up else {
            self.is_up = Some(has_succeeded);
            return if has_succeeded {
                Change::FirstUp
            } else {
                Change::Down
            };
        };
        if is_up == has_succeeded {
            self.against = 0;
            return Change::None;
        }
        self.against += 1;
        let (enough, change) = match has_succeeded {
            true => (settings.successes, Change::Up),
            false => (settings.failures, Change::Down),
        };
        if self.against < enough {
            return Change::None;
        }
        self.against = 0;
        self.is_up = Some(has_succeeded);
        change
    }

    /// Says whether others have to know.
    fn measure(&mut self, sight: Sight, settings: &Settings) -> bool {
        let smoothed = self
            .smoothed
            .map_or(sight.latency, |smoothed| (smoothed * 3 + sight.latency) / 4);
        self.smoothed = Some(smoothed);
        let is_far = |shown: Duration| smoothed.abs_diff(shown) > LATENCY_STEP.max(shown / 8);
        let is_new = self.latency.is_none_or(is_far);
        if is_new {
            self.latency = Some(smoothed);
        }
        let counts = settings.players_field.is_some() || settings.max_players_field.is_some();
        let players = sight.players.filter(|_| counts);
        std::mem::replace(&mut self.players, players) != players || is_new
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::config::Check;

    fn settings(successes: u32, failures: u32) -> Settings {
        Settings {
            check: Check::Status,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            successes,
            failures,
            concurrency: 1,
            players_field: None,
            max_players_field: None,
        }
    }

    fn sight(millis: u64) -> Sight {
        Sight {
            latency: Duration::from_millis(millis),
            players: None,
        }
    }

    #[test]
    fn the_first_check_decides_at_once() {
        let settings = settings(3, 3);
        let mut record = Record::default();
        assert!(!record.was_checked() && !record.is_up());
        assert_eq!(record.observe(Some(sight(1)), &settings), Change::FirstUp);
        assert!(record.is_up());
        let mut record = Record::default();
        assert_eq!(record.observe(None, &settings), Change::Down);
        assert!(record.was_checked() && !record.is_up());
    }

    #[test]
    fn one_check_that_fails_is_forgiven() {
        let settings = settings(2, 3);
        let mut record = Record::default();
        let mut play = |checks: &[bool]| {
            let play = |ok: &bool| record.observe(ok.then(|| sight(1)), &settings);
            checks.iter().map(play).collect::<Vec<_>>()
        };
        use Change::{Down, FirstUp, None, Up};
        assert_eq!(
            play(&[true, false, false, true, false, false]),
            [FirstUp, None, None, None, None, None]
        );
        assert_eq!(
            play(&[false, true, false, true, true]),
            [Down, None, None, None, Up]
        );
    }

    #[test]
    fn the_latency_is_smooth_and_only_told_of_when_it_matters() {
        let settings = settings(1, 1);
        let mut record = Record::default();
        record.observe(Some(sight(40)), &settings);
        assert_eq!(record.latency(), Some(Duration::from_millis(40)));
        assert_eq!(record.observe(Some(sight(44)), &settings), Change::None);
        assert_eq!(record.latency(), Some(Duration::from_millis(40)));
        assert_eq!(record.observe(Some(sight(81)), &settings), Change::Details);
        assert_eq!(record.latency(), Some(Duration::from_millis(51)));
        record.observe(None, &settings);
        record.observe(Some(sight(10)), &settings);
        assert_eq!(
            record.latency(),
            Some(Duration::from_millis(10)),
            "after a failure it begins anew"
        );
    }

    #[test]
    fn players_are_told_of_where_somebody_wants_to_know() {
        let mut settings = settings(1, 1);
        let with = |players| {
            Some(Sight {
                players: Some(players),
                ..sight(1)
            })
        };
        let mut record = Record::default();
        record.observe(with((1, 20)), &settings);
        assert_eq!(record.observe(with((2, 20)), &settings), Change::None);
        assert_eq!(record.players(), None);
        settings.players_field = Some("players".into());
        assert_eq!(record.observe(with((2, 20)), &settings), Change::Details);
        assert_eq!(record.observe(with((2, 20)), &settings), Change::None);
        assert_eq!(record.players(), Some((2, 20)));
    }

    proptest! {
        /// Against a model that looks at the whole history.
        #[test]
        fn is_up_as_the_last_run_that_was_long_enough_says(
            checks in vec(any::<bool>(), 1..60), successes in 1..5_u32, failures in 1..5_u32,
        ) {
            let settings = settings(successes, failures);
            let mut record = Record::default();
            let mut expected = None;
            for end in 1..=checks.len() {
                let latest = checks[end - 1];
                let run = checks[..end].iter().rev().take_while(|check| **check == latest).count();
                let enough = if latest { successes } else { failures };
                if expected.is_none() || run >= enough as usize {
                    expected = Some(latest);
                }
                record.observe(latest.then(|| sight(1)), &settings);
                prop_assert_eq!(Some(record.is_up()), expected);
            }
        }
    }
}
