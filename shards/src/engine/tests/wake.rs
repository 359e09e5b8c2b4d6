//! The pump: wake-ups while it waits and while it sleeps, panics in callbacks, listeners under pressure.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Accept, Engine, Event, Settings};
use super::{join, local, pair, with_engine};

/// How long the callback takes to run after a wake from another thread, `rounds` times.
async fn wake_delays(engine: &Engine, rounds: usize, pause: Duration) -> Vec<Duration> {
    let (stamps, stamped) = mpsc::channel();
    engine.on_wake(Box::new(move || stamps.send(Instant::now()).unwrap()));
    let waker = engine.waker();
    let waking = thread::spawn(move || {
        let mut delays = Vec::new();
        for _ in 0..rounds {
            thread::park_timeout(pause);
            let woken = Instant::now();
            waker.wake();
            delays.push(
                stamped
                    .recv_timeout(Duration::from_secs(5))
                    .unwrap()
                    .duration_since(woken),
            );
        }
        delays
    });
    // Waits without this shard's help: a sleeper here would keep the pump awake.
    let (mut socket, _peer) = pair(engine);
    while !waking.is_finished() {
        let soon = Instant::now() + Duration::from_millis(400);
        assert!(matches!(socket.next(true, Some(soon)).await, Event::Deadline));
    }
    waking.join().unwrap()
}

/// Asserts that most wakes end the wait that they fall into. The machine may be busy, so that some come late,
/// or all of a moment; lost ones would come at the next timer, all of them, however often one tries.
async fn assert_prompt(engine: &Engine, rounds: usize, pause: Duration) {
    let mut tries = Vec::new();
    while tries
        .last()
        .is_none_or(|median| *median >= Duration::from_millis(10))
    {
        assert!(tries.len() < 5, "medians of {rounds} wakes: {tries:?}");
        let mut delays = wake_delays(engine, rounds, pause).await;
        delays.sort();
        tries.push(delays[delays.len() / 2]);
    }
}

#[test]
fn foreign_wakes_end_a_park_at_once() {
    with_engine(Settings::default(), |engine| async move {
        let parks = engine.stats().parks;
        assert_prompt(&engine, 11, Duration::from_millis(150)).await;
        assert!(
            engine.stats().parks >= parks + 10,
            "the pump was parked in between: {:?}",
            engine.stats()
        );
    });
}

#[test]
fn foreign_wakes_end_a_busy_wait_at_once() {
    with_engine(Settings::default(), |engine| async move {
        assert_prompt(&engine, 101, Duration::from_millis(7)).await;
    });
}

#[test]
fn no_wake_is_lost_between_the_last_look_and_the_park() {
    with_engine(Settings::default(), |engine| async move {
        // Just about when the pump parks, after three waits of 20 ms.
        for micros in (57_000..67_000).step_by(997) {
            let mut delays = Vec::new();
            // A wake that is lost at this moment is lost each time; one that comes late is the machine's.
            while delays
                .last()
                .is_none_or(|last| *last >= Duration::from_millis(10))
            {
                assert!(delays.len() < 5, "{delays:?}");
                delays.extend(wake_delays(&engine, 1, Duration::from_micros(micros)).await);
            }
        }
    });
}

#[test]
fn an_idle_engine_parks_and_still_serves() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, mut peer) = pair(&engine);
        let turns = engine.stats().turns;
        let talk = thread::spawn(move || {
            let answers = [(); 3].map(|()| {
                thread::park_timeout(Duration::from_millis(300));
                peer.write_all(b"?").unwrap();
                let asked = Instant::now();
                peer.read_exact(&mut [0; 1]).unwrap();
                asked.elapsed()
            });
            // A busy machine is late for some; who sleeps until the timer is late for each.
            assert!(
                answers.iter().any(|after| *after < Duration::from_millis(200)),
                "{answers:?}"
            );
        });
        for _ in 0..3 {
            assert!(matches!(socket.next(true, None).await, Event::Received(_)));
            socket.send(b"!".to_vec(), None).await.unwrap();
        }
        let stats = engine.stats();
        assert!(stats.parks >= 3, "{stats:?}");
        assert!(stats.turns - turns < 60, "an idle pump does not spin: {stats:?}");
        join(&engine, talk).await;
    });
}

#[test]
fn a_panic_in_a_callback_costs_one_connection() {
    with_engine(Settings::default(), |engine| async move {
        let (listener, address) = local();
        let accepted = Rc::new(Cell::new(0));
        let on_accept = {
            let accepted = accepted.clone();
            move |accept| {
                let Accept::Socket(_socket) = accept else {
                    panic!("{accept:?}")
                };
                accepted.set(accepted.get() + 1);
                assert_ne!(accepted.get(), 2, "as the test wants it");
            }
        };
        let _listening = engine.listen(listener, Box::new(on_accept)).unwrap();
        for _ in 0..5 {
            let connect = thread::spawn(move || {
                let mut peer = TcpStream::connect(address).unwrap();
                assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
            });
            join(&engine, connect).await;
        }
        assert_eq!((accepted.get(), engine.stats().panics), (5, 1));
    });
}

#[test]
fn a_stopped_engine_lets_go_of_everything() {
    with_engine(Settings::default(), |engine| async move {
        let (listener, _address) = local();
        let listening = engine.listen(listener, Box::new(|_| {})).unwrap();
        let (mut socket, _peer) = pair(&engine);
        let (lingering, _other_peer) = pair(&engine);
        lingering.finish(Duration::from_secs(3600));
        engine.stop();
        assert!(matches!(socket.next(true, None).await, Event::Failed(_)));
        let soon = Instant::now() + Duration::from_secs(1);
        assert!(
            engine
                .connect("127.0.0.1:9".parse().unwrap(), soon)
                .await
                .is_err()
        );
        drop((socket, listening));
    });
}
