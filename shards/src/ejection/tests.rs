//! Which targets rest, for how long, and how many at most.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TERMS: Terms = Terms {
    consecutive_failures: 3,
    pause: Duration::from_secs(10),
    pause_max: Duration::from_secs(60),
    share_max: 50,
};

fn target(at: usize) -> Arc<Target> {
    Arc::new(Target {
        identifier: format!("target-{at}"),
        host: format!("10.0.{}.{}", at / 256 % 4, at % 256),
        port: u16::try_from(at % 60_000).unwrap() + 1,
        priority: 0,
        meta: BTreeMap::new(),
    })
}

fn candidates(count: usize) -> Vec<Candidate> {
    (0..count).map(|at| Candidate::from(target(at))).collect()
}

/// Which of the candidates rest.
fn resting(ejections: &Ejections, candidates: &[Candidate], terms: &Terms, now: Instant) -> Vec<usize> {
    let is_ejected = ejections.among(candidates, terms, now);
    let resting = candidates
        .iter()
        .enumerate()
        .filter(|(_, candidate)| is_ejected(&candidate.target));
    resting.map(|(at, _)| at).collect()
}

#[test]
fn failures_in_a_row_eject_and_a_success_resets() {
    let (mut ejections, now, list) = (Ejections::default(), Instant::now(), candidates(2));
    let lobby = target(0);
    assert_eq!(ejections.failed(&lobby, &TERMS, now), None);
    assert_eq!(ejections.failed(&lobby, &TERMS, now), None);
    assert!(!ejections.succeeded(&lobby), "it was not ejected");
    assert_eq!(ejections.failed(&lobby, &TERMS, now), None);
    assert_eq!(ejections.failed(&lobby, &TERMS, now), None);
    assert_eq!(resting(&ejections, &list, &TERMS, now), [0; 0]);
    let ejected = Ejected {
        failures: 3,
        pause: TERMS.pause,
    };
    assert_eq!(ejections.failed(&lobby, &TERMS, now), Some(ejected));
    assert_eq!(resting(&ejections, &list, &TERMS, now), [0]);
    assert!(ejections.succeeded(&lobby));
    assert_eq!(resting(&ejections, &list, &TERMS, now), [0; 0]);
    assert_eq!(
        ejections.failed(&lobby, &TERMS, now),
        None,
        "everything is forgotten"
    );
}

#[test]
fn the_pause_grows_up_to_its_bound() {
    let (mut ejections, mut now, list) = (Ejections::default(), Instant::now(), candidates(2));
    let lobby = target(0);
    ejections.failed(&lobby, &TERMS, now);
    ejections.failed(&lobby, &TERMS, now);
    for seconds in [10, 20, 40, 60, 60] {
        let pause = Duration::from_secs(seconds);
        let ejected = ejections.failed(&lobby, &TERMS, now).unwrap();
        assert_eq!(ejected.pause, pause);
        assert_eq!(ejections.failed(&lobby, &TERMS, now), None, "it rests already");
        assert_eq!(
            resting(&ejections, &list, &TERMS, now + pause - Duration::from_nanos(1)),
            [0]
        );
        now += pause;
        assert_eq!(
            resting(&ejections, &list, &TERMS, now),
            [0; 0],
            "it gets another chance"
        );
    }
}

#[test]
fn identifiers_do_not_matter_but_addresses_do() {
    let (mut ejections, now) = (Ejections::default(), Instant::now());
    let terms = Terms {
        consecutive_failures: 1,
        ..TERMS
    };
    ejections.failed(&target(0), &terms, now);
    let renamed = Target {
        identifier: "renamed".into(),
        ..Target::clone(&target(0))
    };
    let moved = Target {
        port: 7,
        ..Target::clone(&target(0))
    };
    let list: Vec<_> = [renamed, moved, Target::clone(&target(1))]
        .map(|target| Arc::new(target).into())
        .into();
    assert_eq!(resting(&ejections, &list, &terms, now), [0]);
}

#[test]
fn the_share_lets_back_whose_pause_ends_first() {
    let (mut ejections, now, list) = (Ejections::default(), Instant::now(), candidates(4));
    let terms = Terms {
        consecutive_failures: 1,
        ..TERMS
    };
    for (second, at) in [3, 1, 0, 2].into_iter().enumerate() {
        let now = now + Duration::from_secs(second as u64);
        ejections.failed(&target(at), &terms, now);
    }
    let now = now + Duration::from_secs(4);
    assert_eq!(resting(&ejections, &list, &terms, now), [0, 2]);
    assert_eq!(
        resting(
            &ejections,
            &list,
            &Terms {
                share_max: 100,
                ..terms
            },
            now
        ),
        [0, 1, 2, 3]
    );
    assert_eq!(
        resting(
            &ejections,
            &list,
            &Terms {
                share_max: 0,
                ..terms
            },
            now
        ),
        [0; 0]
    );
    assert_eq!(
        resting(&ejections, &list[..1], &terms, now),
        [0; 0],
        "an only target is never left out"
    );
}

#[test]
fn memory_is_bounded_and_forgets_the_oldest() {
    let (mut ejections, start) = (Ejections::default(), Instant::now());
    let terms = Terms {
        consecutive_failures: 1,
        share_max: 100,
        ..TERMS
    };
    for at in 0..FAILING_MAX + 100 {
        ejections.failed(&target(at), &terms, start + Duration::from_micros(at as u64));
        assert!(ejections.failing.len() <= FAILING_MAX);
    }
    let list = [target(0), target(99), target(100), target(FAILING_MAX + 99)].map(Candidate::from);
    assert_eq!(
        resting(&ejections, &list, &terms, start + Duration::from_secs(1)),
        [2, 3]
    );
}

proptest! {
    /// Any dials of ten targets, against a model that looks at the whole history.
    #[test]
    fn ejects_as_the_history_says(
        dials in vec((0..10_usize, proptest::bool::weighted(0.8), 0..15_u64), 1..200),
        consecutive_failures in 1..5_u32, share_max in 0..=100_u8,
    ) {
        let terms = Terms { consecutive_failures, share_max, ..TERMS };
        let (mut ejections, mut now, list) = (Ejections::default(), Instant::now(), candidates(10));
        let mut history: Vec<Vec<Instant>> = vec![Vec::new(); 10];
        for (at, has_failed, seconds) in dials {
            now += Duration::from_secs(seconds);
            if has_failed {
                ejections.failed(&target(at), &terms, now);
                history[at].push(now);
            } else {
                ejections.succeeded(&target(at));
                history[at].clear();
            }
            let out = resting(&ejections, &list, &terms, now);
            let allowed = 10 * usize::from(share_max) / 100;
            let rest = |at: usize| rest_of(&history[at], &terms);
            let should: Vec<_> = (0..10).filter(|at| rest(*at).is_some_and(|until| until > now)).collect();
            prop_assert!(out.len() <= allowed);
            prop_assert!(out.iter().all(|at| should.contains(at)));
            let distinct: HashSet<_> = should.iter().map(|at| rest(*at)).collect();
            if distinct.len() == should.len() {
                prop_assert_eq!(out.len(), should.len().min(allowed));
            }
        }
    }
}

/// When the rest of a target ends whose dials have failed at these times since the last that succeeded.
fn rest_of(failures: &[Instant], terms: &Terms) -> Option<Instant> {
    let first = failures.get(terms.consecutive_failures as usize - 1)?;
    let mut pause = terms.pause;
    let mut until = *first + pause;
    for failure in failures.iter().skip(terms.consecutive_failures as usize) {
        if *failure >= until {
            pause = (pause * 2).min(terms.pause_max);
            until = *failure + pause;
        }
    }
    Some(until)
}
