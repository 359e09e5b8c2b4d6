//! Plays what shards share without a lock in every order in which their threads may come, with everything
//! that the memory model allows a load to see: the crowd, the limiter's table, the flag of a wake-up. Where
//! three threads are played, that is every order with a few interruptions.
//!
//! The files are those of the shards; only `crate::sync` and the sizes are others here.
#![expect(dead_code, reason = "only the parts that threads share are played")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use loom::sync::Arc;
use loom::thread;

use self::crowd::Crowd;
use self::limiter::{Limiter, Prefixes, Verdict};
use self::pool::RateLimit;
use self::raised::Raised;
use self::sync::{AtomicU32, Ordering};

#[path = "../../src/admission/crowd.rs"]
mod crowd;
#[path = "../../src/limiter.rs"]
mod limiter;
#[path = "../../src/engine/raised.rs"]
mod raised;

/// The atomics that can be played.
mod sync {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
}

/// As few of everything as there can be: everybody fights for the same.
mod limits {
    pub(crate) const CROWD_COUNTERS: usize = 1;
    pub(crate) const LIMITER_SETS: usize = 1;
    pub(crate) const LIMITER_WAYS: usize = 2;
}

/// What an operator says of the limiter.
mod pool {
    /// As that of the shards.
    #[derive(Clone, Copy, Debug)]
    pub struct RateLimit {
        /// Connections.
        pub limit: u32,
        /// Over this time.
        pub duration: std::time::Duration,
        /// Bits of an IPv4 address that make a prefix.
        pub ipv4_prefix: u8,
        /// Bits of an IPv6 address that make a prefix.
        pub ipv6_prefix: u8,
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn main() {
    let models: [(&str, fn()); 6] = [
        ("no more enter than there is room for", crowd_keeps_its_cap),
        ("who leaves makes room", crowd_forgets_who_left),
        ("one burst for one prefix", limiter_admits_one_burst),
        (
            "one word for one prefix, whoever else comes",
            limiter_keeps_one_word,
        ),
        (
            "a word whose time has passed is taken once",
            limiter_reuses_a_word_once,
        ),
        ("no wake-up is lost", wakes_are_seen),
    ];
    for (name, model) in models {
        let began = Instant::now();
        model();
        let took = began.elapsed().as_millis();
        println!("{name} ({took} ms)");
    }
}

fn client(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, host))
}

/// Plays a model in every order in which at most this many threads are interrupted where they could go on;
/// with `None` in every order.
fn play(interruptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = interruptions;
    builder.check(model);
}

/// Runs one piece of work per thread, and gives back what they came to.
fn together<T: 'static>(work: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let threads: Vec<_> = work.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Two come at once where there is room for one, three where there is for two.
fn crowd_keeps_its_cap() {
    for (cap, interruptions) in [(1, None), (2, Some(3))] {
        play(interruptions, move || {
            let crowd = Arc::new(Crowd::new(cap, Prefixes { ipv4: 32, ipv6: 64 }));
            let work = (0..=cap).map(|_| {
                let crowd = Arc::clone(&crowd);
                Box::new(move || crowd.enter(client(1))) as Box<dyn FnOnce() -> _ + Send>
            });
            let places: Vec<_> = together(work.collect()).into_iter().flatten().collect();
            assert!(
                places.len() <= cap as usize,
                "{} entered, {cap} may",
                places.len()
            );
            places.into_iter().for_each(|place| crowd.leave(place));
            assert!(crowd.enter(client(1)).is_some(), "everybody has left");
        });
    }
}

/// One comes and goes while another does: both count as long as they are in.
fn crowd_forgets_who_left() {
    play(Some(3), || {
        let crowd = Arc::new(Crowd::new(1, Prefixes { ipv4: 32, ipv6: 64 }));
        let inside = Arc::new(AtomicU32::new(0));
        let work = (0..2).map(|_| {
            let (crowd, inside) = (Arc::clone(&crowd), Arc::clone(&inside));
            Box::new(move || {
                if let Some(place) = crowd.enter(client(1)) {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are in, one may");
                    inside.fetch_sub(1, Ordering::SeqCst);
                    crowd.leave(place);
                }
            }) as Box<dyn FnOnce() + Send>
        });
        together(work.collect());
        assert!(crowd.enter(client(1)).is_some(), "everybody has left");
    });
}

fn limiter(limit: u32, epoch: Instant) -> Arc<Limiter> {
    let rate = RateLimit {
        limit,
        duration: MINUTE,
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    };
    Arc::new(Limiter::new(rate, epoch))
}

/// What comes of connections of these clients at these times, all at once.
fn admit(limiter: &Arc<Limiter>, connections: &[(u8, Instant)]) -> Vec<(u8, Verdict)> {
    let work = connections.iter().map(|(host, now)| {
        let (limiter, host, now) = (Arc::clone(limiter), *host, *now);
        Box::new(move || (host, limiter.admit(client(host), now))) as Box<dyn FnOnce() -> _ + Send>
    });
    together(work.collect())
}

fn admitted(verdicts: &[(u8, Verdict)], host: u8) -> usize {
    let admitted = verdicts.iter().filter(|it| **it == (host, Verdict::Admitted));
    admitted.count()
}

/// One connection of one prefix more than the burst, of one and of two.
fn limiter_admits_one_burst() {
    let epoch = Instant::now();
    for (burst, interruptions) in [(1, None), (2, Some(2))] {
        play(interruptions, move || {
            let limiter = limiter(2 * burst - 1, epoch);
            let connections: Vec<_> = (0..=burst).map(|_| (1, epoch)).collect();
            let verdicts = admit(&limiter, &connections);
            assert_eq!(admitted(&verdicts, 1), burst as usize, "{verdicts:?}");
        });
    }
}

/// Two connections of one prefix that may have one, and one of another: both words of the set are free.
fn limiter_keeps_one_word() {
    let epoch = Instant::now();
    play(Some(2), move || {
        let limiter = limiter(1, epoch);
        let verdicts = admit(&limiter, &[(1, epoch), (1, epoch), (2, epoch)]);
        assert_eq!(admitted(&verdicts, 1), 1, "{verdicts:?}");
        assert_eq!(admitted(&verdicts, 2), 1, "{verdicts:?}");
        let again = limiter.admit(client(1), epoch);
        assert_eq!(again, Verdict::Limited, "it is remembered");
    });
}

/// Both words are taken and their time has passed, when two of a new prefix and one of an old one come, one
/// of them by a clock that is behind.
fn limiter_reuses_a_word_once() {
    let epoch = Instant::now();
    play(Some(2), move || {
        let limiter = limiter(1, epoch);
        assert_eq!(limiter.admit(client(1), epoch), Verdict::Admitted);
        assert_eq!(limiter.admit(client(2), epoch), Verdict::Admitted);
        let later = epoch + MINUTE + MINUTE;
        let behind = later - Duration::from_millis(1);
        let verdicts = admit(&limiter, &[(3, later), (3, behind), (1, later)]);
        assert_eq!(admitted(&verdicts, 3), 1, "{verdicts:?}");
        assert_eq!(admitted(&verdicts, 1), 1, "{verdicts:?}");
    });
}

/// Two leave something and wake; the shard looks each time it is told.
fn wakes_are_seen() {
    play(Some(3), || {
        let flag = Arc::new(Raised::default());
        let pipe = Arc::new(AtomicU32::new(0));
        let left = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let wakers: Vec<_> = (0..2)
            .map(|number| {
                let (flag, pipe, left) = (Arc::clone(&flag), Arc::clone(&pipe), Arc::clone(&left));
                thread::spawn(move || {
                    left[number].store(1, Ordering::Relaxed);
                    if flag.raise() {
                        pipe.fetch_add(1, Ordering::Release);
                    }
                })
            })
            .collect();
        let mut seen = [0; 2];
        let look = |seen: &mut [u32; 2]| {
            while pipe.load(Ordering::Acquire) > 0 {
                pipe.fetch_sub(1, Ordering::AcqRel);
                flag.clear();
                *seen = [0, 1].map(|number| left[number].load(Ordering::Relaxed));
            }
        };
        look(&mut seen);
        // Joining makes nothing of what the others wrote visible that the wake-up did not.
        let told = || pipe.load(Ordering::Acquire);
        wakers.into_iter().for_each(|waker| waker.join().unwrap());
        assert!(told() <= 2);
        look(&mut seen);
        assert_eq!(seen, [1, 1], "somebody's wake-up was lost");
    });
}
