//! The async face: receive, send, deadlines, notifications, cancellation, finish.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::super::{Accept, Engine, EngineError, Event, Settings, Socket};
use super::{PATIENCE, eventually, join, local, noise, pair, with_engine};

const LINGER: Duration = Duration::from_secs(2);

async fn echo(mut socket: Socket) {
    loop {
        match socket.next(true, None).await {
            Event::Received(chunk) => {
                let mut bytes = socket.take_buffer();
                bytes.extend_from_slice(&chunk);
                drop(chunk);
                if socket.send(bytes, None).await.is_err() {
                    return;
                }
            }
            Event::Ended => return socket.finish(LINGER),
            _ => return,
        }
    }
}

fn serve_echo(engine: &Engine) -> Box<dyn FnMut(Accept)> {
    let engine = engine.clone();
    Box::new(move |accept| match accept {
        Accept::Socket(socket) => drop(glommio::spawn_local(echo(engine.adopt(socket))).detach()),
        other => panic!("{other:?}"),
    })
}

/// Sends and reads back `sent`, a part at a time, then ends.
fn converse(mut peer: TcpStream, sent: &[u8]) {
    let mut got = Vec::new();
    for part in sent.chunks(1000) {
        peer.write_all(part).unwrap();
        let mut back = vec![0; part.len()];
        peer.read_exact(&mut back).unwrap();
        got.extend(back);
    }
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    assert!(got == sent);
}

/// All that a task receives until the end.
async fn receive_all(socket: &mut Socket) -> Vec<u8> {
    let mut got = Vec::new();
    loop {
        match socket.next(true, None).await {
            Event::Received(chunk) => got.extend_from_slice(&chunk),
            Event::Ended => return got,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn echoes_whatever_many_peers_send() {
    with_engine(Settings::default(), |engine| async move {
        let (listener, address) = local();
        let listening = engine.listen(listener, serve_echo(&engine)).unwrap();
        let converse =
            move |seed| move || converse(TcpStream::connect(address).unwrap(), &noise(seed, 40_000));
        let peers: Vec<_> = (0..50).map(|seed| thread::spawn(converse(seed))).collect();
        for peer in peers {
            join(&engine, peer).await;
        }
        listening.close();
        eventually(&engine, || engine.open_sockets() == 0).await;
    });
}

#[test]
fn fewer_bytes_than_expected_wake_nobody() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, mut peer) = pair(&engine);
        // A receive takes what is there when it begins; from then on the kernel waits.
        peer.write_all(b"0").unwrap();
        assert!(matches!(socket.next(true, None).await, Event::Received(chunk) if &*chunk == b"0"));
        socket.expect_bytes(5);
        peer.write_all(b"1234").unwrap();
        let soon = Some(engine.now() + Duration::from_millis(50));
        assert!(matches!(socket.next(true, soon).await, Event::Deadline));
        peer.write_all(b"5").unwrap();
        assert!(matches!(socket.next(true, None).await, Event::Received(chunk) if &*chunk == b"12345"));
        socket.expect_bytes(0);
        peer.write_all(b"6").unwrap();
        assert!(matches!(socket.next(true, None).await, Event::Received(chunk) if &*chunk == b"6"));
        // The end comes whatever was expected, and what came before it too.
        socket.expect_bytes(100_000);
        peer.write_all(b"78").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive_all(&mut socket).await, b"78");
    });
}

#[test]
fn a_relay_waits_for_no_more_than_one_byte() {
    with_engine(Settings::default(), |engine| async move {
        let (mut client, mut player) = pair(&engine);
        let (target, mut server) = pair(&engine);
        client.expect_bytes(1_000);
        engine.relay(
            client,
            target,
            Vec::new(),
            Duration::from_secs(60),
            Box::new(drop),
        );
        let through = thread::spawn(move || {
            player.write_all(b"1").unwrap();
            let mut byte = [0];
            server.read_exact(&mut byte).unwrap();
            byte
        });
        assert_eq!(join(&engine, through).await, *b"1");
    });
}

#[test]
fn a_listener_without_a_slot_is_refused_and_closed() {
    with_engine(Settings::default(), |engine| async move {
        engine.with(|core| core.slots.fill());
        let (listener, address) = local();
        let refused = engine.listen(listener, Box::new(|_| {}));
        let Err(error) = refused else {
            panic!("a listener in no slot")
        };
        assert!(matches!(error, EngineError::Full), "{error:?}");
        assert!(
            error.to_string().contains("limits.connections_per_shard"),
            "{error}"
        );
        assert!(TcpStream::connect(address).is_err(), "nobody listens");
    });
}

#[test]
fn gets_along_with_fewer_buffers_than_sockets() {
    let settings = Settings {
        buffers: 4,
        buffer_bytes: 512,
        ..Settings::default()
    };
    with_engine(settings, |engine| async move {
        let (listener, address) = local();
        let _listening = engine.listen(listener, serve_echo(&engine)).unwrap();
        let converse =
            move |seed| move || converse(TcpStream::connect(address).unwrap(), &noise(seed, 100_000));
        let peers: Vec<_> = (0..40).map(|seed| thread::spawn(converse(seed))).collect();
        for peer in peers {
            join(&engine, peer).await;
        }
        assert!(
            engine.stats().starved > 0,
            "the test is about running out of buffers"
        );
    });
}

#[test]
fn continues_partial_sends() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, mut peer) = pair(&engine);
        socket.shrink_send_buffer();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        let sent = noise(7, 1 << 20);
        socket.send(sent.clone(), None).await.unwrap();
        socket.finish(LINGER);
        assert!(join(&engine, reader).await == sent);
    });
}

#[test]
fn finish_loses_nothing_although_the_peer_still_sends() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, mut peer) = pair(&engine);
        let farewell = noise(3, 100_000);
        // Unread input would turn a plain close into a reset, and the farewell might be lost with it.
        peer.write_all(&[1; 5000]).unwrap();
        assert!(matches!(socket.next(true, None).await, Event::Received(_)));
        peer.write_all(&[2; 5000]).unwrap();
        socket.send(farewell.clone(), None).await.unwrap();
        socket.finish(LINGER);
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            peer.write_all(&[3; 5000]).unwrap();
            peer.read_to_end(&mut got).unwrap();
            got
        });
        assert!(join(&engine, reader).await == farewell);
        eventually(&engine, || engine.open_sockets() == 0).await;
    });
}

#[test]
fn finish_is_bounded_in_time_and_bytes() {
    with_engine(Settings::default(), |engine| async move {
        let (socket, silent) = pair(&engine);
        socket.finish(Duration::from_millis(50));
        eventually(&engine, || engine.open_sockets() == 0).await;
        drop(silent);

        let (socket, mut flooding) = pair(&engine);
        socket.finish(Duration::from_secs(3600));
        let flood = thread::spawn(move || while flooding.write_all(&[0; 4096]).is_ok() {});
        eventually(&engine, || engine.open_sockets() == 0).await;
        join(&engine, flood).await;
    });
}

#[test]
fn deadlines_fire_late_but_never_early() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, _peer) = pair(&engine);
        for millis in [1, 30, 150] {
            let began = Instant::now();
            let deadline = began + Duration::from_millis(millis);
            assert!(matches!(socket.next(true, Some(deadline)).await, Event::Deadline));
            assert!(Instant::now() >= deadline);
            assert!(began.elapsed() < Duration::from_millis(millis) + PATIENCE);
        }
        // A later deadline after an earlier one, and the other way around.
        let far = Some(Instant::now() + Duration::from_secs(60));
        let near = Some(Instant::now() + Duration::from_millis(20));
        let mut waiting = Box::pin(socket.next(true, far));
        assert!(poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await);
        drop(waiting);
        assert!(matches!(socket.next(true, near).await, Event::Deadline));
    });
}

#[test]
fn a_send_that_nobody_reads_ends_at_its_deadline() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, _peer) = pair(&engine);
        let deadline = Instant::now() + Duration::from_millis(100);
        let error = socket.send(vec![0; 64 << 20], Some(deadline)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(
            socket.send(vec![0], None).await.unwrap_err().kind(),
            ErrorKind::TimedOut
        );
    });
}

#[test]
fn a_socket_may_be_dropped_with_everything_under_way() {
    with_engine(Settings::default(), |engine| async move {
        for _ in 0..20 {
            let (mut socket, mut peer) = pair(&engine);
            {
                let mut sending = pin!(socket.send(vec![7; 32 << 20], None));
                assert!(poll_fn(|context| Poll::Ready(sending.as_mut().poll(context).is_pending())).await);
                engine
                    .sleep_until(Instant::now() + Duration::from_millis(1))
                    .await;
            }
            {
                let mut waiting = pin!(socket.next(true, None));
                assert!(poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_pending())).await);
            }
            peer.write_all(b"late").unwrap();
            drop(socket);
            eventually(&engine, || engine.open_sockets() == 0).await;
            let mut got = Vec::new();
            // Whatever arrived is what was sent, however the connection ended.
            let _ = peer.read_to_end(&mut got);
            assert!(got.iter().all(|byte| *byte == 7));
        }
    });
}

#[test]
fn nothing_is_lost_when_waiting_futures_are_dropped() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, mut peer) = pair(&engine);
        let sent = noise(11, 200_000);
        let writer = thread::spawn({
            let sent = sent.clone();
            move || {
                for part in sent.chunks(1777) {
                    peer.write_all(part).unwrap();
                }
            }
        });
        let mut got = Vec::new();
        while got.len() < sent.len() {
            {
                // Interest without patience, then none at all.
                let mut waiting = pin!(socket.next(true, None));
                if let Poll::Ready(Event::Received(chunk)) =
                    poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await
                {
                    got.extend_from_slice(&chunk);
                }
            }
            let soon = Some(Instant::now() + Duration::from_millis(1));
            assert!(matches!(
                socket.next(false, soon).await,
                Event::Deadline | Event::Ended
            ));
            assert_eq!(
                engine.stats().buffers_used,
                0,
                "a task that waits for something else holds no buffer"
            );
        }
        join(&engine, writer).await;
        assert!(receive_all(&mut socket).await.is_empty());
        assert!(got == sent);
    });
}

#[test]
fn input_that_nobody_wants_stays_with_the_peer() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, peer) = pair(&engine);
        let sent = noise(13, 32 << 20);
        let writer = thread::spawn({
            let sent = sent.clone();
            move || (&peer).write_all(&sent)
        });
        let later = Some(Instant::now() + Duration::from_millis(300));
        assert!(matches!(socket.next(false, later).await, Event::Deadline));
        assert!(
            !writer.is_finished(),
            "the kernel's buffers are full and ours do not grow"
        );
        assert!(receive_all(&mut socket).await == sent);
        join(&engine, writer).await.unwrap();
    });
}

#[test]
fn notifications_interrupt_the_current_or_the_next_wait() {
    with_engine(Settings::default(), |engine| async move {
        let (mut socket, _peer) = pair(&engine);
        let notifier = socket.notifier();
        notifier.notify();
        notifier.notify();
        assert!(matches!(socket.next(true, None).await, Event::Notified));
        let later = notifier.clone();
        let engine2 = engine.clone();
        glommio::spawn_local(async move {
            engine2
                .sleep_until(Instant::now() + Duration::from_millis(30))
                .await;
            later.notify();
        })
        .detach();
        assert!(matches!(socket.next(false, None).await, Event::Notified));
        drop(socket);
        notifier.notify();
    });
}

#[test]
fn resets_are_failures_and_only_cost_their_connection() {
    with_engine(Settings::default(), |engine| async move {
        let failed = Rc::new(Cell::new(0));
        for _ in 0..300 {
            let (mut socket, mut peer) = pair(&engine);
            let failed = failed.clone();
            glommio::spawn_local(async move {
                loop {
                    match socket.next(true, None).await {
                        Event::Received(_) => {}
                        Event::Failed(_) => return failed.set(failed.get() + 1),
                        other => panic!("{other:?}"),
                    }
                }
            })
            .detach();
            peer.write_all(b"x").unwrap();
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        }
        eventually(&engine, || failed.get() == 300).await;
        assert_eq!(engine.open_sockets(), 0);
    });
}

#[test]
fn connects_or_says_why_not() {
    with_engine(Settings::default(), |engine| async move {
        let (listener, address) = local();
        let soon = Instant::now() + Duration::from_secs(5);
        let mut socket = engine.connect(address, soon).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), address);
        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(socket.local_addr().unwrap(), from);
        peer.write_all(b"hello").unwrap();
        drop(peer);
        assert_eq!(receive_all(&mut socket).await, b"hello");
        drop(listener);
        let refused = engine.connect(address, soon).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_connect_ends_at_its_deadline() {
    with_engine(Settings::default(), |engine| async move {
        let (listener, address) = local();
        // With its queue full the listener leaves further connects unanswered.
        SockRef::from(&listener).listen(0).unwrap();
        let mut queued = Vec::new();
        for _ in 0..8 {
            let within = Instant::now() + Duration::from_millis(60);
            match engine.connect(address, within).await {
                Ok(socket) => queued.push(socket),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    assert!(Instant::now() >= within);
                    return;
                }
            }
        }
        panic!("the listener's queue never filled");
    });
}
