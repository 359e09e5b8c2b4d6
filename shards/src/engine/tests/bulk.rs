//! Relays that carry bulk: large buffers while they last, and a bound on what slow readers keep in memory.

use std::future::Future;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Engine, RelayEnd, Settings};
use super::relay::{MINUTE, Reports, read, relay, write};
use super::{eventually, join, noise, with_engine};

const MIB: usize = 1 << 20;

#[test]
fn a_source_that_fills_its_buffers_is_bulk_until_it_calms_down() {
    with_and_without_pipes(Settings::default(), |engine| async move {
        let reports = Reports::default();
        let (client, target) = relay(&engine, &[], MINUTE, &reports);
        let reader = read(&client, None);
        let bulk: Arc<[u8]> = noise(1, 16 * MIB).into();
        let calm: Arc<[u8]> = noise(2, 200 * 64).into();
        join(&engine, flow(&target, &bulk, 60_000, Duration::ZERO)).await;
        eventually(&engine, || engine.stats().relayed_to_client == 16 * MIB as u64).await;
        let after_bulk = engine.stats().bulk_receives;
        assert!(after_bulk > 0, "bulk is received in another way");
        join(&engine, flow(&target, &calm, 64, Duration::from_millis(1))).await;
        let in_calm = engine.stats().bulk_receives - after_bulk;
        assert!(
            in_calm < 50,
            "{in_calm} of at most 200 small reads were taken for bulk"
        );
        target.shutdown(Shutdown::Write).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert!(join(&engine, reader).await == [&bulk[..], &calm].concat());
    });
}

#[test]
fn many_streams_share_what_there_is_for_bulk_and_keep_their_order() {
    let settings = Settings {
        large_buffers: 1,
        large_buffer_bytes: 50_000,
        pipes: 3,
        ..Settings::default()
    };
    with_and_without_pipes(settings, |engine| async move {
        let reports = Reports::default();
        let relays: Vec<_> = (0..8).map(|_| relay(&engine, &[], MINUTE, &reports)).collect();
        let threads: Vec<_> = relays
            .iter()
            .zip(0..)
            .map(|((client, target), seed)| {
                let up = write(client, noise(seed, 6 * MIB), None);
                let down = write(target, noise(seed + 100, 6 * MIB), None);
                (up, down, read(client, None), read(target, None))
            })
            .collect();
        for ((up, down, at_client, at_target), seed) in threads.into_iter().zip(0..) {
            join(&engine, up).await;
            join(&engine, down).await;
            assert!(
                join(&engine, at_target).await == noise(seed, 6 * MIB),
                "{seed} up"
            );
            assert!(
                join(&engine, at_client).await == noise(seed + 100, 6 * MIB),
                "{seed} down"
            );
        }
        assert!(engine.stats().bulk_receives > 0);
        eventually(&engine, || reports.borrow().len() == 8).await;
        // What nobody needs any more is not kept for long.
        eventually(&engine, || engine.stats().pipes == 0).await;
    });
}

#[test]
fn readers_that_are_stuck_do_not_keep_all_there_is_for_bulk() {
    let settings = Settings {
        large_buffers: 2,
        pipes: 2,
        ..Settings::default()
    };
    with_and_without_pipes(settings, |engine| async move {
        let reports = Reports::default();
        let stuck: Vec<_> = (0..12).map(|_| relay(&engine, &[], MINUTE, &reports)).collect();
        let writers: Vec<_> = stuck
            .iter()
            .map(|(_, target)| write(target, noise(3, 12 * MIB), None))
            .collect();
        settle(&engine).await;
        assert!(writers.iter().all(|writer| !writer.is_finished()), "stuck");
        let (client, target) = relay(&engine, &[], MINUTE, &reports);
        let before = engine.stats().bulk_receives;
        let (writer, reader) = (write(&target, noise(4, 8 * MIB), None), read(&client, None));
        client.shutdown(Shutdown::Write).unwrap();
        assert!(join(&engine, reader).await == noise(4, 8 * MIB));
        join(&engine, writer).await;
        assert!(engine.stats().bulk_receives > before, "it is bulk all the same");
        for ((client, _), writer) in stuck.iter().zip(writers) {
            let reader = read(client, None);
            client.shutdown(Shutdown::Write).unwrap();
            assert!(join(&engine, reader).await == noise(3, 12 * MIB));
            join(&engine, writer).await;
        }
    });
}

#[test]
fn relays_hold_no_more_than_they_may_and_the_reading_ones_go_on() {
    // Half of it is soon full; then each stuck relay takes one more buffer, which is more than the other
    // half.
    let relay_memory = MIB;
    let settings = Settings {
        relay_memory,
        buffers: 32,
        ..Settings::default()
    };
    with_and_without_pipes(settings, move |engine| async move {
        let reports = Reports::default();
        let stuck: Vec<_> = (0..120).map(|_| relay(&engine, &[], MINUTE, &reports)).collect();
        let endless: Arc<[u8]> = noise(5, 12 * MIB).into();
        let writers: Vec<_> = stuck
            .iter()
            .map(|(_, target)| flow(target, &endless, 60_000, Duration::ZERO))
            .collect();
        let mut most = 0;
        let began = Instant::now();
        while engine.stats().overloaded == 0 && began.elapsed() < MINUTE {
            engine
                .sleep_until(Instant::now() + Duration::from_millis(5))
                .await;
            most = most.max(engine.stats().spilled);
        }
        assert!(
            engine.stats().overloaded > 0,
            "a hundred stuck relays are too many for {relay_memory} bytes"
        );
        assert!(most <= relay_memory, "{most} bytes held");
        // Those that are left are stuck: a relay that begins now is never the one that has been so for the
        // longest.
        settle(&engine).await;
        let (client, target) = relay(&engine, &[], MINUTE, &Reports::default());
        let (writer, reader) = (write(&target, noise(6, 24 * MIB), None), read(&client, None));
        client.shutdown(Shutdown::Write).unwrap();
        assert!(
            join(&engine, reader).await == noise(6, 24 * MIB),
            "who reads is served"
        );
        join(&engine, writer).await;
        eventually(&engine, || {
            reports.borrow().len() as u64 == engine.stats().overloaded
        })
        .await;
        assert!(
            reports
                .borrow()
                .iter()
                .all(|report| report.end == RelayEnd::Overloaded)
        );
        engine.abort_relays();
        eventually(&engine, || {
            engine.stats().spilled == 0 && engine.open_sockets() == 0
        })
        .await;
        for writer in writers {
            join(&engine, writer).await;
        }
    });
}

/// Runs a test as it is, and once more without any pipe.
fn with_and_without_pipes<F: Future<Output = ()> + 'static>(
    settings: Settings,
    test: impl FnOnce(Engine) -> F + Send + Copy + 'static,
) {
    with_engine(settings, test);
    with_engine(Settings { pipes: 0, ..settings }, test);
}

/// Writes in parts, in its own thread, as long as the other side takes them.
fn flow(peer: &TcpStream, bytes: &Arc<[u8]>, part: usize, pause: Duration) -> thread::JoinHandle<()> {
    let (mut peer, bytes) = (peer.try_clone().unwrap(), Arc::clone(bytes));
    thread::spawn(move || {
        for part in bytes.chunks(part) {
            if peer.write_all(part).is_err() {
                return;
            }
            if !pause.is_zero() {
                thread::park_timeout(pause);
            }
        }
    })
}

/// Waits until nothing is relayed any more.
async fn settle(engine: &Engine) {
    let mut last = u64::MAX;
    loop {
        let now = engine.stats().relayed_to_client;
        if now == last {
            return;
        }
        last = now;
        engine
            .sleep_until(Instant::now() + Duration::from_millis(200))
            .await;
    }
}
