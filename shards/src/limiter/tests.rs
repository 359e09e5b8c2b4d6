//! The limiter against a model that remembers everything, one thread and many.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::{Limiter, Verdict, WORDS};
use crate::pool::RateLimit;

const MINUTE: Duration = Duration::from_secs(60);

fn rate(limit: u32, duration: Duration) -> RateLimit {
    RateLimit {
        limit,
        duration,
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    }
}

fn client(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n))
}

fn admitted(limiter: &Limiter, client: IpAddr, now: Instant, attempts: usize) -> usize {
    (0..attempts)
        .filter(|_| limiter.admit(client, now) == Verdict::Admitted)
        .count()
}

#[test]
fn admits_half_the_limit_at_once_and_the_whole_limit_over_the_duration() {
    let epoch = Instant::now();
    let limiter = Limiter::new(rate(60, MINUTE), epoch);
    assert_eq!(admitted(&limiter, client(1), epoch, 100), 30);
    let rest: usize = (1..600)
        .map(|tenth| admitted(&limiter, client(1), epoch + Duration::from_millis(tenth * 100), 1))
        .sum();
    assert_eq!(rest, 30, "30 at once and 30 more within the same minute");
}

#[test]
fn a_limit_of_one_admits_one_a_duration() {
    let epoch = Instant::now();
    let limiter = Limiter::new(rate(1, MINUTE), epoch);
    assert_eq!(admitted(&limiter, client(1), epoch, 5), 1);
    assert_eq!(
        admitted(&limiter, client(1), epoch + MINUTE - Duration::from_millis(1), 5),
        0
    );
    assert_eq!(
        admitted(&limiter, client(1), epoch + MINUTE + Duration::from_millis(1), 5),
        1
    );
}

#[test]
fn prefixes_share_and_mapped_addresses_are_ipv4() {
    let epoch = Instant::now();
    let limiter = Limiter::new(
        RateLimit {
            ipv4_prefix: 24,
            ..rate(1, MINUTE)
        },
        epoch,
    );
    let mapped = |n| IpAddr::V6(Ipv4Addr::new(192, 0, 2, n).to_ipv6_mapped());
    assert_eq!(
        limiter.admit(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), epoch),
        Verdict::Admitted
    );
    assert_eq!(
        limiter.admit(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200)), epoch),
        Verdict::Limited
    );
    assert_eq!(limiter.admit(mapped(3), epoch), Verdict::Limited);
    assert_eq!(
        limiter.admit(IpAddr::V4(Ipv4Addr::new(192, 0, 3, 1)), epoch),
        Verdict::Admitted
    );
    let v6 = |subnet, host| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, host));
    assert_eq!(limiter.admit(v6(1, 1), epoch), Verdict::Admitted);
    assert_eq!(limiter.admit(v6(1, 2), epoch), Verdict::Limited);
    assert_eq!(limiter.admit(v6(2, 1), epoch), Verdict::Admitted);
}

#[test]
fn a_full_table_refuses_newcomers_and_keeps_its_promise_to_the_others() {
    let epoch = Instant::now();
    let limiter = Limiter::new(rate(1, MINUTE), epoch);
    let newcomers = u32::try_from(WORDS * 3).unwrap_or(u32::MAX);
    let mut admitted = 0;
    for n in 0..newcomers {
        admitted += usize::from(limiter.admit(client(n), epoch) == Verdict::Admitted);
    }
    assert!(admitted <= WORDS, "{admitted} prefixes in {WORDS} words");
    assert!(
        admitted > WORDS * 9 / 10,
        "only {admitted} of {WORDS} words are used"
    );
    assert!((0..newcomers).all(|n| limiter.admit(client(n), epoch) != Verdict::Admitted));
    let later = epoch + MINUTE * 2;
    assert_eq!(
        limiter.admit(client(newcomers), later),
        Verdict::Admitted,
        "dead words are free again"
    );
}

#[test]
fn a_clock_that_goes_backwards_gives_nothing_away() {
    let epoch = Instant::now();
    let limiter = Limiter::new(rate(4, MINUTE), epoch);
    let late = epoch + MINUTE * 10;
    assert_eq!(admitted(&limiter, client(1), late, 10), 2);
    assert_eq!(admitted(&limiter, client(1), epoch, 10), 0);
    assert_eq!(admitted(&limiter, client(1), late + MINUTE * 100, 10), 2);
}

#[test]
fn survives_times_beyond_its_range() {
    let epoch = Instant::now();
    let limiter = Limiter::new(rate(u32::MAX, Duration::from_secs(u64::from(u32::MAX))), epoch);
    assert_eq!(limiter.admit(client(1), epoch), Verdict::Admitted);
    let century = epoch + Duration::from_secs(100 * 365 * 86_400);
    assert_eq!(
        limiter.admit(client(1), century),
        Verdict::Limited,
        "refused rather than wrapped"
    );
}

/// Admissions of one prefix, in order of time.
fn assert_no_window_is_overfull(times: &[Duration], limit: u32, duration: Duration) {
    let mut window = VecDeque::new();
    for &time in times {
        window.push_back(time);
        while window.front().is_some_and(|&first| time - first >= duration) {
            window.pop_front();
        }
        assert!(
            window.len() <= limit as usize,
            "{} of {limit} within {duration:?}",
            window.len()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_window_holds_more_than_the_limit(
        limit in 1_u32..40,
        duration_ms in 1_u64..100_000,
        steps in prop::collection::vec((0_u32..3, 0_u64..4_000, any::<bool>()), 1..400),
    ) {
        let epoch = Instant::now();
        let duration = Duration::from_millis(duration_ms);
        let limiter = Limiter::new(rate(limit, duration), epoch);
        let mut clock = Duration::ZERO;
        let mut latest = Duration::ZERO;
        let mut model: HashMap<u32, Vec<Duration>> = HashMap::new();
        for (who, millis, backwards) in steps {
            let step = Duration::from_micros(millis * duration_ms / 10);
            clock = if backwards { clock.saturating_sub(step) } else { clock + step };
            latest = latest.max(clock);
            if limiter.admit(client(who), epoch + clock) == Verdict::Admitted {
                model.entry(who).or_default().push(latest);
            }
        }
        for times in model.values() {
            assert_no_window_is_overfull(times, limit, duration);
        }
    }
}

/// Eight threads with clocks of their own, which disagree by up to 50 ms and jump, hammer a few prefixes
/// while a flood of others fights for the same sets; each admission is stamped with a time at which it
/// certainly counted.
#[test]
fn threads_never_admit_more_than_the_limit_together() {
    const THREADS: u64 = 8;
    const LIMIT: u32 = 5;
    let duration = Duration::from_millis(500);
    let epoch = Instant::now();
    let limiter = Limiter::new(rate(LIMIT, duration), epoch);
    // Every thread advances the shared millisecond; its own reading lags behind or runs ahead.
    let clock = AtomicU64::new(0);
    // What the limiter has seen for certain, and what it may have seen.
    let (seen, highest) = (AtomicU64::new(0), AtomicU64::new(0));
    let admissions = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (limiter, clock, seen, highest) = (&limiter, &clock, &seen, &highest);
                scope.spawn(move || {
                    let mut admitted = Vec::new();
                    for round in 0..20_000_u64 {
                        let shared = clock.fetch_add(u64::from(round % 64 == thread), Ordering::SeqCst);
                        let own = (shared + (round * 7 + thread * 13) % 100).saturating_sub(50);
                        highest.fetch_max(own, Ordering::SeqCst);
                        let who = u32::try_from(round % 4).unwrap_or(0);
                        let flood = u32::try_from(1_000 + thread * 20_000 + round).unwrap_or(0);
                        limiter.admit(client(flood), epoch + Duration::from_millis(own));
                        let earliest = seen.fetch_max(own, Ordering::SeqCst).max(own);
                        if limiter.admit(client(who), epoch + Duration::from_millis(own)) == Verdict::Admitted
                        {
                            let last = highest.load(Ordering::SeqCst);
                            admitted.push((who, earliest, last));
                        }
                    }
                    admitted
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_default())
            .collect::<Vec<_>>()
    });
    assert!(!admissions.is_empty());
    for who in 0..4 {
        let of_one: Vec<_> = admissions.iter().filter(|(other, ..)| *other == who).collect();
        for (_, start, _) in &of_one {
            // Those that certainly fell into the window: stamped entirely within it.
            let end = start + 500;
            let within = of_one
                .iter()
                .filter(|(_, first, last)| first >= start && *last < end)
                .count();
            assert!(
                within <= LIMIT as usize,
                "{within} connections of prefix {who} within 500 ms from {start}"
            );
        }
    }
}
