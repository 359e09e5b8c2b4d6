//! The async face: receive, send, deadlines, notifications, cancellation, finish.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::{Accept, Event, Settings, Socket};
use super::{eventually, join, local, noise, pair, with_engine};

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
            Event::Ended => return socket.finish(Duration::from_secs(1)),
            _ => return,
        }
    }
}

#[test]
fn echoes_whatever_many_peers_send() {
    with_engine(Settings::default(), |engine| async move {
        let (listener, address) = local();
        let on_accept = {
            let engine = engine.clone();
            Box::new(move |accept: Accept| match accept {
                Accept::Socket(socket) => glommio::spawn_local(echo(engine.adopt(socket))).detach(),
                other => panic!("{other:?}"),
            })
        };
        let on_accept = Box::new({
            let mut on_accept = on_accept;
            move |accept| drop(on_accept(accept))
        });
        let listening = engine.listen(listener, on_accept);
        let peers: Vec<_> = (0..50)
            .map(|seed| {
                thread::spawn(move || {
                    let sent = noise(seed, 40_000);
                    let mut peer = TcpStream::connect(address).unwrap();
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
                })
            })
            .collect();
        for peer in peers {
            join(&engine, peer).await;
        }
        listening.close();
        eventually(&engine, || engine.open_sockets() == 0).await;
    });
}
