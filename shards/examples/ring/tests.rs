//! Relays real bytes over loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Bytes in each direction.
const SOME: usize = 3 << 20;
/// Far more than all buffers and sockets on the way hold.
const MANY: usize = 16 << 20;
/// A relay that does not move for so long has failed, and the test with it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a relay to `target`; it ends with the process.
fn relay_to(target: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || super::serve(listener, target).unwrap());
    address
}

/// A connection through the relay: the client's end and the target's. Neither waits for ever.
fn connect(relay: SocketAddr, target: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(relay).unwrap();
    let (server, _) = target.accept().unwrap();
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
    }
    (client, server)
}

fn pattern(seed: usize, bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|at| ((at * 31 + seed) >> (at % 7)).to_le_bytes()[0])
        .collect()
}

/// Writes all of it and ends this direction, while the other one goes on.
fn write_and_end(mut socket: &TcpStream, bytes: &[u8]) {
    socket.write_all(bytes).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
}

fn read_all(mut socket: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn relays_both_ways_at_once_and_each_direction_ends_by_itself() {
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = relay_to(target.local_addr().unwrap());
    let clients: Vec<_> = (0..4)
        .map(|seed| {
            let (client, server) = connect(relay, &target);
            thread::spawn(move || {
                let (up, down) = (pattern(seed, SOME), pattern(seed + 1_000, SOME));
                thread::scope(|scope| {
                    scope.spawn(|| write_and_end(&client, &up));
                    scope.spawn(|| write_and_end(&server, &down));
                    let at_server = scope.spawn(|| read_all(&server));
                    assert!(read_all(&client) == down, "the client's bytes differ");
                    assert!(at_server.join().unwrap() == up, "the target's bytes differ");
                });
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn answers_after_the_clients_end_still_arrive() {
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = relay_to(target.local_addr().unwrap());
    let (client, server) = connect(relay, &target);
    write_and_end(&client, b"a question");
    assert_eq!(read_all(&server), b"a question");
    let answer = pattern(7, SOME);
    thread::scope(|scope| {
        scope.spawn(|| write_and_end(&server, &answer));
        assert!(read_all(&client) == answer, "the answer differs");
    });
}

#[test]
fn a_reader_that_rests_loses_nothing_and_stops_its_writer() {
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let relay = relay_to(target.local_addr().unwrap());
    let (client, server) = connect(relay, &target);
    socket2::SockRef::from(&server)
        .set_send_buffer_size(64 * 1024)
        .unwrap();
    socket2::SockRef::from(&client)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    server.set_nonblocking(true).unwrap();
    let sent = pattern(3, MANY);
    let mut written = 0;
    // Until nothing more fits: the sockets' buffers and the high-water mark are far below all of it.
    for _ in 0..10_000 {
        match (&server).write(&sent[written..]) {
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written < MANY, "nobody stopped the writer");
    server.set_nonblocking(false).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| write_and_end(&server, &sent[written..]));
        assert!(read_all(&client) == sent, "the client's bytes differ");
    });
}

#[test]
fn closes_the_client_when_the_target_refuses() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let target = nobody.local_addr().unwrap();
    drop(nobody);
    let client = TcpStream::connect(relay_to(target)).unwrap();
    assert_eq!(read_all(&client), b"");
}
