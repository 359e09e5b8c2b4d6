//! What the control thread asks of a session server: part of the login that waits for it, also while others
//! wait for the same server.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use passage_shards::rsa;
use passage_shards::trace::TraceParent;

use super::client::{Client, Fields, LOGIN, MODERN, handshake, login_start, packet, prefixed};
use super::passage::Passage;
use super::receiver::{Mode, Receiver};
use super::{named, names, telemetry, text, traces};

const PLAYERS: usize = 8;
const SECRET: [u8; 16] = *b"sixteen byte key";

/// A session server that answers when all players have asked. It does not know those with odd numbers.
struct SessionServer {
    address: SocketAddr,
    /// Each player's number with the `traceparent` of the question.
    asked: Arc<Mutex<Vec<(usize, String)>>>,
}

impl SessionServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let (notes, together) = (Arc::clone(&asked), Arc::new(Barrier::new(PLAYERS)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (notes, together) = (Arc::clone(&notes), Arc::clone(&together));
                thread::spawn(move || serve(stream, &notes, &together));
            }
        });
        Self { address, asked }
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<(usize, String)>>, together: &Barrier) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> = lines
        .by_ref()
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    let (_, name) = head[0].split_once("username=Player").unwrap();
    let number: usize = name[..name.find('&').unwrap()].parse().unwrap();
    let headers = head.iter().filter_map(|line| line.split_once(": "));
    let traceparent = headers.filter(|(key, _)| key.eq_ignore_ascii_case("traceparent"));
    let traceparent = traceparent.map(|(_, value)| value.to_owned()).collect();
    asked.lock().unwrap().push((number, traceparent));
    together.wait();
    let answer = if number.is_multiple_of(2) {
        let profile = format!("{{\"id\":\"{number:032x}\",\"name\":\"Player{number}\",\"properties\":[]}}");
        let length = profile.len();
        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{profile}")
    } else {
        "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n".to_owned()
    };
    stream.write_all(answer.as_bytes()).unwrap();
}

fn configuration(collector: &Receiver, sessions: &SessionServer) -> String {
    format!(
        "address = \"127.0.0.1:0\"\n\
         [shards]\ncount = 2\npin = false\n\
         [authentication]\ntype = \"mojang\"\nurl = \"http://{}\"\n\
         [discovery]\ntargets = [{{ identifier = \"hub\", address = \"hub.example.net\" }}]\n\
         [otel]\ntraces_endpoint = \"{}\"\n",
        sessions.address,
        collector.url_of(telemetry::Signal::Traces)
    )
}

/// Logs in as far as the session server lets it.
fn log_in(passage: &Passage, number: usize) {
    let mut client = Client::connect(passage.address);
    let name = format!("Player{number}");
    client.send(&[handshake(MODERN, "play.example.net", LOGIN), login_start(&name)].concat());
    loop {
        let (id, body) = client.packet();
        let mut fields = Fields(&body);
        match id {
            0 if !number.is_multiple_of(2) => return,
            1 => {
                fields.text();
                let (key, token) = (fields.bytes(), fields.bytes());
                let [secret, token] = [&SECRET[..], token].map(|plain| rsa::encrypt(key, plain).unwrap());
                client.send(&packet(1, &[prefixed(&secret), prefixed(&token)].concat()));
                client.encrypt(SECRET);
            }
            2 if number.is_multiple_of(2) => break,
            5 => client.send(&packet(4, &[body, vec![0]].concat())),
            other => panic!("packet {other:#04x} for {name}"),
        }
    }
    client.send(&packet(3, &[]));
    while client.packet().0 != 0x0b {}
    client.closed();
}

#[test]
fn what_is_asked_elsewhere_is_a_part_of_the_login_that_waits_for_it() {
    let (collector, sessions) = (Receiver::start(Mode::Up), SessionServer::start());
    let passage = Passage::start(&configuration(&collector, &sessions), &[]);
    thread::scope(|scope| {
        for number in 0..PLAYERS {
            let passage = &passage;
            scope.spawn(move || log_in(passage, number));
        }
    });
    passage.end();

    let traces = traces(&collector);
    assert_eq!(traces.len(), PLAYERS);
    let asked = sessions.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), PLAYERS);
    for (number, traceparent) in asked {
        let sent = TraceParent::parse(&traceparent).unwrap();
        let trace = &traces[&sent.trace.to_vec()];
        let player = text(named(trace, "connection"), "username");
        assert_eq!(
            player,
            Some(format!("Player{number}")),
            "the question was another player's"
        );
        let (call, step) = (named(trace, "adapter_call"), named(trace, "authentication"));
        assert_eq!((&call.span_id[..], call.kind), (&sent.span[..], 3));
        assert_eq!(call.parent_span_id, step.span_id);
        assert!(step.start_time_unix_nano <= call.start_time_unix_nano);
        let keys = ["adapter_name", "adapter_type"].map(|key| text(call, key).unwrap());
        assert_eq!(keys, ["authentication", "mojang"]);
        let status = step.status.clone().unwrap_or_default();
        assert_eq!(status.code, if number.is_multiple_of(2) { 0 } else { 2 });
        assert_eq!(names(trace).len(), if number.is_multiple_of(2) { 6 } else { 3 });
    }
}
