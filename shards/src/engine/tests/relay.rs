//! The relay: every byte, in order, both ways, whatever the peers do.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::super::{Engine, Event, RelayEnd, RelayReport, Settings};
use super::{eventually, join, noise, pair, with_engine};

pub(super) const MINUTE: Duration = Duration::from_secs(60);

pub(super) type Reports = Rc<RefCell<Vec<RelayReport>>>;

/// Relays between two peers; the report is pushed when it comes.
pub(super) fn relay(
    engine: &Engine,
    first: &[u8],
    idle: Duration,
    reports: &Reports,
) -> (TcpStream, TcpStream) {
    let (client, client_peer) = pair(engine);
    let (target, target_peer) = pair(engine);
    let reports = reports.clone();
    let on_end = Box::new(move |report| reports.borrow_mut().push(report));
    engine.relay(client, target, first.to_vec(), idle, on_end);
    (client_peer, target_peer)
}

pub(super) async fn report(engine: &Engine, reports: &Reports) -> RelayReport {
    eventually(engine, || !reports.borrow().is_empty()).await;
    assert_eq!(reports.borrow().len(), 1, "one report a relay");
    reports.borrow()[0]
}

/// Writes `bytes` and ends the write side, in its own thread.
pub(super) fn write(peer: &TcpStream, bytes: Vec<u8>, pause: Option<Duration>) -> thread::JoinHandle<()> {
    let mut peer = peer.try_clone().unwrap();
    thread::spawn(move || {
        for part in bytes.chunks(pause.map_or(60_000, |_| 3_000)) {
            peer.write_all(part).unwrap();
            pause.inspect(|pause| rest(*pause));
        }
        peer.shutdown(Shutdown::Write).unwrap();
    })
}

/// Reads to the end, in its own thread, at leisure if told so.
pub(super) fn read(peer: &TcpStream, pause: Option<Duration>) -> thread::JoinHandle<Vec<u8>> {
    let mut peer = peer.try_clone().unwrap();
    thread::spawn(move || {
        let mut got = Vec::new();
        let mut part = vec![0; 10_000];
        loop {
            match peer.read(&mut part).unwrap() {
                0 => return got,
                n => got.extend_from_slice(&part[..n]),
            }
            pause.inspect(|pause| rest(*pause));
        }
    })
}

pub(super) fn rest(pause: Duration) {
    thread::park_timeout(pause);
}

#[test]
fn delivers_both_ways_at_once_byte_for_byte() {
    with_engine(Settings::default(), |engine| async move {
        let reports = Reports::default();
        let (client, target) = relay(&engine, b"replayed", MINUTE, &reports);
        let (up, down) = (noise(1, 20 << 20), noise(2, 20 << 20));
        let threads = (
            write(&client, up.clone(), None),
            write(&target, down.clone(), None),
        );
        let (at_target, at_client) = (read(&target, None), read(&client, None));
        join(&engine, threads.0).await;
        join(&engine, threads.1).await;
        assert!(join(&engine, at_target).await == [b"replayed".as_slice(), &up].concat());
        assert!(join(&engine, at_client).await == down);
        let report = report(&engine, &reports).await;
        assert_eq!((report.to_target, report.to_client), (8 + (20 << 20), 20 << 20));
        assert_eq!(engine.stats().relayed_to_target, report.to_target);
        assert_eq!(engine.stats().relayed_to_client, report.to_client);
        assert!(matches!(
            report.end,
            RelayEnd::ClientClosed | RelayEnd::TargetClosed
        ));
    });
}

#[test]
fn slow_readers_hold_up_their_writers_and_little_memory() {
    with_engine(Settings::default(), |engine| async move {
        let reports = Reports::default();
        let (client, target) = relay(&engine, &[], MINUTE, &reports);
        let down = noise(5, 12 << 20);
        let writer = write(&target, down.clone(), None);
        // The client does not read yet: the target must be stopped, with a bounded amount on the way.
        let began = Instant::now();
        let mut most = 0;
        while began.elapsed() < Duration::from_millis(400) {
            engine
                .sleep_until(Instant::now() + Duration::from_millis(5))
                .await;
            let stats = engine.stats();
            most = most.max(stats.spilled + stats.buffers_used * 16 * 1024);
        }
        assert!(!writer.is_finished(), "back-pressure reaches the writer");
        // The high-water mark, and what one turn may bring beyond it: every buffer of the shard.
        assert!(most <= 5 << 20, "{most} bytes on the way");
        let reader = read(&client, Some(Duration::from_micros(300)));
        client.shutdown(Shutdown::Write).unwrap();
        assert!(join(&engine, reader).await == down);
        join(&engine, writer).await;
        assert_eq!(report(&engine, &reports).await.to_client, 12 << 20);
    });
}

#[test]
fn slow_readers_do_not_keep_the_shards_buffers() {
    let settings = Settings {
        buffers: 8,
        ..Settings::default()
    };
    with_engine(settings, |engine| async move {
        let reports = Reports::default();
        let stuck: Vec<_> = (0..30).map(|_| relay(&engine, &[], MINUTE, &reports)).collect();
        let writers: Vec<_> = stuck
            .iter()
            .map(|(_, target)| write(target, noise(1, 4 << 20), None))
            .collect();
        engine
            .sleep_until(Instant::now() + Duration::from_millis(300))
            .await;
        assert!(
            writers.iter().all(|writer| !writer.is_finished()),
            "thirty readers are stuck"
        );
        let (client, target) = relay(&engine, &[], MINUTE, &reports);
        let up = noise(9, 1 << 20);
        let (writer, reader) = (write(&client, up.clone(), None), read(&target, None));
        assert!(join(&engine, reader).await == up, "an honest relay goes on");
        join(&engine, writer).await;
        for (client, _) in &stuck {
            let reader = read(client, None);
            client.shutdown(Shutdown::Write).unwrap();
            assert!(join(&engine, reader).await == noise(1, 4 << 20));
        }
        for writer in writers {
            join(&engine, writer).await;
        }
    });
}

#[test]
fn passes_each_end_on_and_keeps_the_other_direction() {
    for client_first in [true, false] {
        with_engine(Settings::default(), move |engine| async move {
            let reports = Reports::default();
            let (client, target) = relay(&engine, &[], MINUTE, &reports);
            let (one, two) = if client_first {
                (client, target)
            } else {
                (target, client)
            };
            let (first, answer) = (noise(1, 100_000), noise(2, 300_000));
            let asking = write(&one, first.clone(), None);
            assert!(
                join(&engine, read(&two, None)).await == first,
                "the end is passed on after the bytes"
            );
            join(&engine, asking).await;
            assert!(reports.borrow().is_empty());
            let answering = write(&two, answer.clone(), Some(Duration::from_micros(50)));
            assert!(join(&engine, read(&one, None)).await == answer);
            join(&engine, answering).await;
            let expected = if client_first {
                RelayEnd::ClientClosed
            } else {
                RelayEnd::TargetClosed
            };
            assert_eq!(report(&engine, &reports).await.end, expected);
        });
    }
}

#[test]
fn delivers_what_came_before_a_reset() {
    with_engine(Settings::default(), |engine| async move {
        for round in 0..50 {
            let reports = Reports::default();
            let (mut client, mut target) = relay(&engine, &[], MINUTE, &reports);
            let last_words = noise(round, 5_000);
            target.write_all(&last_words).unwrap();
            eventually(&engine, || {
                // The engine turns on this thread: it must not wait here.
                let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
                SockRef::from(&client)
                    .recv_with_flags(&mut [std::mem::MaybeUninit::uninit(); 8], flags)
                    .is_ok()
            })
            .await;
            SockRef::from(&target).set_linger(Some(Duration::ZERO)).unwrap();
            drop(target);
            let mut got = Vec::new();
            let reader = thread::spawn(move || {
                client.read_to_end(&mut got).unwrap();
                got
            });
            assert!(join(&engine, reader).await == last_words);
            let report = report(&engine, &reports).await;
            assert_eq!((report.end, report.to_client), (RelayEnd::TargetFailed, 5_000));
        }
    });
}

#[test]
fn survives_a_storm_of_resets() {
    with_engine(Settings::default(), |engine| async move {
        let reports = Reports::default();
        for round in 0..200_u64 {
            let (mut client, mut target) = relay(&engine, b"x", MINUTE, &reports);
            for peer in [&mut client, &mut target] {
                // The other side's reset may already have come through.
                let _ = peer.write_all(&noise(round, 30_000));
            }
            let resetting = if round % 2 == 0 { client } else { target };
            SockRef::from(&resetting)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            drop(resetting);
        }
        eventually(&engine, || {
            reports.borrow().len() == 200 && engine.open_sockets() == 0
        })
        .await;
        assert!(
            reports
                .borrow()
                .iter()
                .all(|report| report.end != RelayEnd::Aborted)
        );
    });
}

/// Sends part of `bytes` and then ends, resets or leaves, as the seed says; reads what comes meanwhile.
fn misbehave(peer: TcpStream, bytes: &[u8], seed: u64) -> Vec<u8> {
    let reading = peer.try_clone().unwrap();
    let reader = thread::spawn(move || {
        let (mut got, mut part) = (Vec::new(), [0; 7_000]);
        // Ends with the stream, with a reset, or when the other half of this function leaves.
        while let Ok(n @ 1..) = (&reading).read(&mut part) {
            got.extend_from_slice(&part[..n]);
            if seed.is_multiple_of(5) {
                rest(Duration::from_micros(200));
            }
        }
        got
    });
    let some = usize::try_from(seed % 7).unwrap() * bytes.len() / 6;
    let _ = (&peer).write_all(&bytes[..some.min(bytes.len())]);
    match seed % 4 {
        0 => drop(peer.shutdown(Shutdown::Write)),
        1 => {
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            let _ = peer.shutdown(Shutdown::Both);
        }
        2 => drop(peer.shutdown(Shutdown::Both)),
        _ => {
            rest(Duration::from_millis(seed % 30));
            let _ = peer.shutdown(Shutdown::Write);
        }
    }
    drop(peer);
    reader.join().unwrap()
}

#[test]
fn whatever_peers_do_no_byte_is_made_up_and_nothing_is_left_behind() {
    let settings = Settings {
        buffers: 16,
        buffer_bytes: 4096,
        ..Settings::default()
    };
    with_engine(settings, |engine| async move {
        let reports = Reports::default();
        let threads: Vec<_> = (0..120_u64)
            .map(|seed| {
                let (client, target) = relay(&engine, &[], MINUTE, &reports);
                thread::spawn(move || {
                    let (up, down) = (noise(seed, 400_000), noise(seed + 1000, 400_000));
                    let (at_client, at_target) = thread::scope(|scope| {
                        let client = scope.spawn(|| misbehave(client, &up, seed));
                        let target = scope.spawn(|| misbehave(target, &down, seed / 4 + 3 * (seed % 4)));
                        (client.join().unwrap(), target.join().unwrap())
                    });
                    assert!(
                        up.starts_with(&at_target),
                        "relay {seed}: the target got what the client sent"
                    );
                    assert!(
                        down.starts_with(&at_client),
                        "relay {seed}: the client got what the target sent"
                    );
                })
            })
            .collect();
        for thread in threads {
            join(&engine, thread).await;
        }
        eventually(&engine, || {
            reports.borrow().len() == 120 && engine.open_sockets() == 0
        })
        .await;
        assert_eq!(engine.stats().panics, 0);
    });
}

#[test]
fn idle_relays_end_and_busy_ones_do_not() {
    with_engine(Settings::default(), |engine| async move {
        let (idle, busy) = (Reports::default(), Reports::default());
        let patience = Duration::from_millis(200);
        let (idle_client, _idle_target) = relay(&engine, &[], patience, &idle);
        let (mut client, mut target) = relay(&engine, &[], patience, &busy);
        let talk = thread::spawn(move || {
            for _ in 0..30 {
                client.write_all(b"tick").unwrap();
                target.read_exact(&mut [0; 4]).unwrap();
                rest(Duration::from_millis(20));
            }
            (client, target)
        });
        let peers = join(&engine, talk).await;
        assert!(busy.borrow().is_empty());
        let report = report(&engine, &idle).await;
        assert_eq!(report.end, RelayEnd::Idle);
        assert!(
            report.took >= patience && report.took < patience * 3,
            "{report:?}"
        );
        assert!(join(&engine, read(&idle_client, None)).await.is_empty());
        drop(peers);
        eventually(&engine, || !busy.borrow().is_empty()).await;
    });
}

#[test]
fn replays_first_and_then_what_the_client_sent_meanwhile() {
    with_engine(Settings::default(), |engine| async move {
        let (mut client, mut client_peer) = pair(&engine);
        let (target, mut target_peer) = pair(&engine);
        client_peer.write_all(b"handshake").unwrap();
        let Event::Received(chunk) = client.next(true, None).await else {
            panic!()
        };
        assert_eq!(&*chunk, b"handshake");
        drop(chunk);
        client_peer.write_all(b" in between").unwrap();
        client_peer.shutdown(Shutdown::Write).unwrap();
        let soon = Some(Instant::now() + Duration::from_millis(100));
        assert!(matches!(client.next(false, soon).await, Event::Deadline));
        let reports = Reports::default();
        let on_end = Box::new({
            let reports = reports.clone();
            move |report| reports.borrow_mut().push(report)
        });
        engine.relay(client, target, b"HANDSHAKE".to_vec(), MINUTE, on_end);
        let at_target = read(&target_peer, None);
        assert_eq!(join(&engine, at_target).await, b"HANDSHAKE in between");
        target_peer.write_all(b"answer").unwrap();
        drop(target_peer);
        assert_eq!(join(&engine, read(&client_peer, None)).await, b"answer");
        assert_eq!(report(&engine, &reports).await.to_target, 20);
    });
}

#[test]
fn two_thousand_relays_at_once() {
    with_engine(Settings::default(), |engine| async move {
        let reports = Reports::default();
        let peers: Vec<_> = (0..2000)
            .map(|_| relay(&engine, b"first", MINUTE, &reports))
            .collect();
        assert_eq!(engine.stats().relays, 2000);
        let talk = thread::spawn(move || {
            let mut peers = peers;
            for (_, target) in &mut peers {
                let mut first = [0; 5];
                target.read_exact(&mut first).unwrap();
                assert_eq!(&first, b"first");
            }
            for round in 0..5_u64 {
                for (seed, (client, _)) in (0..).zip(&mut peers) {
                    client.write_all(&noise(seed + round, 100)).unwrap();
                }
                for (seed, (_, target)) in (0..).zip(&mut peers) {
                    let mut got = [0; 100];
                    target.read_exact(&mut got).unwrap();
                    assert_eq!(got.as_slice(), noise(seed + round, 100));
                    target.write_all(&got).unwrap();
                }
                for (client, _) in &mut peers {
                    client.read_exact(&mut [0; 100]).unwrap();
                }
            }
        });
        join(&engine, talk).await;
        eventually(&engine, || reports.borrow().len() == 2000).await;
        let exact = |report: &RelayReport| (report.to_target, report.to_client) == (505, 500);
        assert!(reports.borrow().iter().all(exact));
    });
}

#[test]
fn aborting_ends_all_relays_at_once() {
    with_engine(Settings::default(), |engine| async move {
        let reports = Reports::default();
        let mut peers: Vec<_> = (0..10).map(|_| relay(&engine, &[], MINUTE, &reports)).collect();
        engine.abort_relays();
        eventually(&engine, || reports.borrow().len() == 10).await;
        assert!(
            reports
                .borrow()
                .iter()
                .all(|report| report.end == RelayEnd::Aborted)
        );
        let gone = thread::spawn(move || {
            for (client, target) in &mut peers {
                assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
                assert_eq!(target.read(&mut [0; 8]).unwrap(), 0);
            }
        });
        join(&engine, gone).await;
    });
}

#[test]
fn a_bug_in_one_relay_costs_that_relay_only() {
    with_engine(Settings::default(), |engine| async move {
        let (broken, sound) = (Reports::default(), Reports::default());
        let (mut client, _target) = relay(&engine, &[], MINUTE, &broken);
        let (mut other_client, mut other_target) = relay(&engine, &[], MINUTE, &sound);
        engine.panic_at_next_completion_of(0);
        client.write_all(b"boom").unwrap();
        assert_eq!(report(&engine, &broken).await.end, RelayEnd::Aborted);
        assert_eq!(engine.stats().panics, 1);
        let gone = thread::spawn(move || client.read(&mut [0; 8]).map_err(|error| error.kind()));
        let gone = join(&engine, gone).await;
        assert!(
            matches!(gone, Ok(0) | Err(ErrorKind::ConnectionReset)),
            "{gone:?}"
        );
        other_client.write_all(b"fine").unwrap();
        let talk = thread::spawn(move || other_target.read_exact(&mut [0; 4]).unwrap());
        join(&engine, talk).await;
    });
}
