//! Exactness under faults: whatever the collector does, nothing is lost, no shard waits, and the exit keeps
//! its time. A row each for every mood.

use super::*;

/// A collector that takes nothing, or takes it badly.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It listens, and behaves like this.
    Mood(Mode),
    /// Nothing listens at its address.
    Refusing,
}

const TROUBLES: [Trouble; 8] = [
    Trouble::Mood(Mode::Slow(Duration::from_millis(300))),
    Trouble::Mood(Mode::Status(401, None)),
    Trouble::Mood(Mode::Status(429, Some(1))),
    Trouble::Mood(Mode::Status(503, None)),
    Trouble::Mood(Mode::Partial(3)),
    Trouble::Mood(Mode::Hang),
    Trouble::Mood(Mode::Endless),
    Trouble::Refusing,
];

/// Longest time that a shard may need to hand its counts over, on a machine that is busy with other tests.
/// Waiting for a collector that hangs takes 10 s.
const HAND_OVER_MAX: Duration = Duration::from_secs(8);

/// Telemetry whose collector is in trouble, until [`World::heal`].
struct World {
    trouble: Trouble,
    receiver: Option<Receiver>,
    address: std::net::SocketAddr,
    telemetry: Telemetry,
}

impl World {
    fn start(trouble: Trouble) -> (Self, Outlet) {
        let (receiver, address) = match trouble {
            Trouble::Mood(mode) => {
                let receiver = Receiver::start(mode);
                let address = receiver.address;
                (Some(receiver), address)
            }
            Trouble::Refusing => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                (None, listener.local_addr().unwrap())
            }
        };
        let (telemetry, outlet) = start_quick(&settings(format!("http://{address}/v1/metrics")));
        let world = Self {
            trouble,
            receiver,
            address,
            telemetry,
        };
        world.wait_until_in_trouble();
        (world, outlet)
    }

    fn wait_until_in_trouble(&self) {
        match &self.receiver {
            Some(receiver) => {
                while receiver.seen() == 0 {
                    thread::park_timeout(Duration::from_millis(5));
                }
            }
            None => thread::park_timeout(3 * INTERVAL),
        }
    }

    /// The collector does what it should from now on.
    fn heal(self) -> (Receiver, Telemetry) {
        let receiver = self
            .receiver
            .unwrap_or_else(|| Receiver::start_on(TcpListener::bind(self.address).unwrap(), Mode::Up));
        receiver.set(Mode::Up);
        (receiver, self.telemetry)
    }
}

/// Checks every row at the same time.
fn for_each_trouble(check: impl Fn(Trouble) + Sync) {
    thread::scope(|scope| {
        for trouble in TROUBLES {
            let check = &check;
            scope.spawn(move || check(trouble));
        }
    });
}

#[test]
fn the_last_export_is_exact_whatever_the_collector_did_before() {
    for_each_trouble(|trouble| {
        let (world, outlet) = World::start(trouble);
        run_shards(outlet, 2);
        let (receiver, telemetry) = world.heal();
        let begun = Instant::now();
        assert_eq!(telemetry.shutdown(deadline()), Flush::Complete, "{trouble:?}");
        assert!(
            begun.elapsed() < Duration::from_secs(9),
            "{trouble:?}: {:?}",
            begun.elapsed()
        );
        assert_exact(&receiver, 2);
    });
}

#[test]
fn a_collector_that_comes_back_gets_everything_without_an_exit() {
    for_each_trouble(|trouble| {
        let (world, outlet) = World::start(trouble);
        run_shards(outlet, 2);
        let (receiver, telemetry) = world.heal();
        let done = i64::try_from(2 * OPERATIONS).unwrap();
        let limit = Instant::now() + Duration::from_secs(30);
        // An export that hangs is given up after 10 s only; a series that is new shows zero first.
        while receiver
            .taken()
            .last()
            .is_none_or(|last| total(last, "passage_connections_total") != done)
        {
            assert!(Instant::now() < limit, "{trouble:?}: nothing came in 30 s");
            thread::park_timeout(Duration::from_millis(20));
        }
        assert_exact(&receiver, 2);
        assert_eq!(telemetry.shutdown(deadline()), Flush::Complete, "{trouble:?}");
    });
}

#[test]
fn no_shard_waits_for_a_collector_in_trouble() {
    for_each_trouble(|trouble| {
        let (world, outlet) = World::start(trouble);
        let mut meter = outlet.meter(0);
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            meter.connection_attempt(&labels(1));
            let begun = Instant::now();
            meter.hand_over();
            longest = longest.max(begun.elapsed());
            thread::park_timeout(Duration::from_millis(1));
        }
        assert!(
            longest < HAND_OVER_MAX,
            "{:?}: a shard waited {longest:?}",
            world.trouble
        );
    });
}

#[test]
fn the_exit_keeps_its_time_whatever_the_collector_does() {
    let lasting = [
        Trouble::Mood(Mode::Slow(Duration::from_secs(60))),
        Trouble::Mood(Mode::Status(429, Some(86_400))),
    ];
    for_each_trouble(|trouble| {
        // What passes quickly is replaced by what does not pass.
        let trouble = match trouble {
            Trouble::Mood(Mode::Slow(_)) => lasting[0],
            Trouble::Mood(Mode::Status(429, _)) => lasting[1],
            other => other,
        };
        let (world, outlet) = World::start(trouble);
        drop(outlet);
        let begun = Instant::now();
        let flush = world.telemetry.shutdown(begun + Duration::from_secs(1));
        assert!(
            begun.elapsed() < Duration::from_secs(8),
            "{trouble:?}: {:?}",
            begun.elapsed()
        );
        if !matches!(trouble, Trouble::Mood(Mode::Endless)) {
            assert_eq!(flush, Flush::Failed, "{trouble:?}");
        }
    });
}
