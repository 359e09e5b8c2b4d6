//! Web servers that are up, slow, failing, gone and back, or that mean harm.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::adapters::{Refreshed, TargetSource};
use crate::config;

const HUB: &str = r#"{"targets":[{"identifier":"hub-1","address":"10.0.0.1"}]}"#;

/// Answers every request, each on a connection of its own, as the test says. Serves until the test ends.
struct Server {
    address: SocketAddr,
    requests: crossbeam_channel::Receiver<String>,
}

impl Server {
    fn start(answer: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), answer)
    }

    fn start_at(address: SocketAddr, mut answer: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (heard, requests) = crossbeam_channel::unbounded();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while lines.read_line(&mut head).is_ok_and(|bytes| bytes > 2) {}
                let answer = answer(&head);
                // Whoever wants to know may have gone, and so may the client.
                let _ = heard.send(head.to_lowercase());
                let _ = stream.write_all(&answer);
                if answer.is_empty() {
                    // Keeps the connection open, and says nothing.
                    std::mem::forget(stream);
                }
            }
        });
        Self { address, requests }
    }

    fn targets(&self) -> HttpTargets {
        self.targets_with(|_| {})
    }

    fn targets_with(&self, change: impl FnOnce(&mut Service)) -> HttpTargets {
        let mut service = Service {
            address: format!("http://{}/targets?region=eu", self.address),
            token: None,
            server_name: None,
            identity: None,
            remote: config::Remote {
                timeout: Duration::from_secs(10),
                retries: 0,
                breaker_failures: 0,
                ..config::Remote::default()
            },
        };
        change(&mut service);
        let settings = config::Http {
            service,
            refresh_interval: Duration::from_secs(1),
        };
        HttpTargets::new(&settings, &Trust::default()).unwrap()
    }
}

fn page(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn run<T>(question: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(question)
}

fn ask(targets: &HttpTargets) -> Result<Refreshed, AskError> {
    let deadline = Instant::now() + Duration::from_secs(30);
    run(targets.refresh(Call {
        deadline,
        trace: None,
    }))
}

fn names(answer: &Refreshed) -> Vec<&str> {
    answer.targets.iter().map(|target| &*target.identifier).collect()
}

#[test]
fn asks_with_the_configured_address_and_token() {
    let server = Server::start(|_| page("200 OK", "", HUB));
    let targets =
        server.targets_with(|service| service.token = Some(config::Secret::new("s3cret-token".into())));
    let answer = ask(&targets).unwrap();
    assert_eq!((names(&answer), answer.valid_for), (vec!["hub-1"], None));
    let request = server.requests.recv().unwrap();
    assert!(
        request.starts_with("get /targets?region=eu http/1.1"),
        "{request}"
    );
    for header in [
        "authorization: bearer s3cret-token",
        "accept: application/json",
        "accept-encoding: gzip",
        "user-agent: passage/",
    ] {
        assert!(request.contains(header), "{header}: {request}");
    }
}

#[test]
fn every_way_to_fail_has_its_cause() {
    let rows = [
        (page("500 Internal Server Error", "", ""), AskError::Failed),
        (page("404 Not Found", "", HUB), AskError::Failed),
        (
            page("429 Too Many Requests", "Retry-After: 1\r\n", ""),
            AskError::RateLimited,
        ),
        (
            page("302 Found", "Location: http://127.0.0.1:1/\r\n", HUB),
            AskError::Failed,
        ),
        (page("304 Not Modified", "", ""), AskError::Failed),
        (page("200 OK", "", "<html>hello</html>"), AskError::Failed),
        (page("200 OK", "", ""), AskError::Failed),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), AskError::Failed),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort".to_vec(),
            AskError::Unreachable,
        ),
    ];
    for (answer, cause) in rows {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let server = Server::start(move |_| answer.clone());
        let error = ask(&server.targets()).expect_err(&shown);
        assert_eq!(error, cause, "{shown}");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    let server = Server::start(|_| Vec::new());
    let targets = server.targets_with(|service| service.remote.timeout = Duration::from_millis(200));
    assert_eq!(ask(&targets), Err(AskError::TimedOut));
}

#[test]
fn a_server_that_is_gone_is_unreachable_and_answers_when_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gone = Server {
        address,
        requests: crossbeam_channel::never(),
    };
    let targets = gone.targets();
    assert_eq!(ask(&targets), Err(AskError::Unreachable));
    let _back = Server::start_at(address, |_| page("200 OK", "", HUB));
    assert_eq!(names(&ask(&targets).unwrap()), ["hub-1"]);
}

#[test]
fn a_failure_that_passes_is_repeated() {
    let mut asked = 0;
    let server = Server::start(move |_| {
        asked += 1;
        match asked {
            1 => page("503 Service Unavailable", "", ""),
            _ => page("200 OK", "", HUB),
        }
    });
    let targets = server.targets_with(|service| service.remote.retries = 2);
    assert_eq!(names(&ask(&targets).unwrap()), ["hub-1"]);
    assert_eq!(server.requests.try_iter().count(), 2);
}

#[test]
fn a_page_longer_than_the_bound_is_not_read_also_if_it_is_packed() {
    let long = format!("{{\"targets\":[],\"padding\":\"{}\"}}", "a".repeat(5 << 20));
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(long.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    assert!(packed.len() < 10_000);
    for answer in [
        page("200 OK", "", long),
        page("200 OK", "Content-Encoding: gzip\r\n", packed),
    ] {
        let server = Server::start(move |_| answer.clone());
        assert_eq!(ask(&server.targets()), Err(AskError::Failed));
    }
}

#[test]
fn a_packed_page_is_unpacked() {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(HUB.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let server = Server::start(move |_| page("200 OK", "Content-Encoding: gzip\r\n", &packed));
    assert_eq!(names(&ask(&server.targets()).unwrap()), ["hub-1"]);
}

#[test]
fn a_page_that_is_still_the_same_is_not_sent_again() {
    let server = Server::start(|request| {
        if request.to_lowercase().contains("if-none-match: \"one\"") {
            page(
                "304 Not Modified",
                "ETag: \"one\"\r\nCache-Control: max-age=7\r\n",
                "",
            )
        } else {
            page("200 OK", "ETag: \"one\"\r\nCache-Control: max-age=60\r\n", HUB)
        }
    });
    let targets = server.targets();
    let first = ask(&targets).unwrap();
    assert_eq!(first.valid_for, Some(Duration::from_secs(60)));
    for _ in 0..2 {
        let again = ask(&targets).unwrap();
        assert_eq!(again.targets, first.targets);
        assert_eq!(again.valid_for, Some(Duration::from_secs(7)), "as was said last");
    }
    let conditions: Vec<_> = server
        .requests
        .try_iter()
        .map(|request| request.contains("if-none-match: \"one\""))
        .collect();
    assert_eq!(conditions, [false, true, true]);
}

#[test]
fn a_page_that_cannot_be_understood_takes_not_the_place_of_the_last_good_one() {
    let mut asked = 0;
    let server = Server::start(move |request| {
        asked += 1;
        match asked {
            1 => page("200 OK", "ETag: \"good\"\r\n", HUB),
            2 => page("200 OK", "ETag: \"bad\"\r\n", "{\"targets\":[{}]}"),
            _ if request.to_lowercase().contains("if-none-match: \"good\"") => {
                page("304 Not Modified", "ETag: \"good\"\r\n", "")
            }
            _ => page("500 Internal Server Error", "", ""),
        }
    });
    let targets = server.targets();
    assert_eq!(names(&ask(&targets).unwrap()), ["hub-1"]);
    assert_eq!(ask(&targets), Err(AskError::Failed));
    assert_eq!(names(&ask(&targets).unwrap()), ["hub-1"]);
}

#[test]
fn a_confirmation_of_another_page_is_none_and_the_whole_page_is_asked_for() {
    let mut asked = 0;
    let server = Server::start(move |_| {
        asked += 1;
        match asked {
            2 => page("304 Not Modified", "ETag: \"another\"\r\n", ""),
            _ => page("200 OK", "ETag: \"one\"\r\n", HUB),
        }
    });
    let targets = server.targets_with(|service| service.remote.retries = 1);
    for _ in 0..2 {
        assert_eq!(names(&ask(&targets).unwrap()), ["hub-1"]);
    }
    let last = server.requests.try_iter().last().unwrap();
    assert!(!last.contains("if-none-match"), "{last}");
}

#[test]
fn what_no_cache_may_keep_is_not_said_to_be_good() {
    for said in ["no-store", "no-cache, max-age=60", "max-age=0"] {
        let answer = page("200 OK", &format!("Cache-Control: {said}\r\n"), HUB);
        let server = Server::start(move |_| answer.clone());
        assert_eq!(ask(&server.targets()).unwrap().valid_for, None, "{said}");
    }
}

#[test]
fn an_address_and_a_token_that_cannot_be_used_are_refused() {
    let service = |address: &str, token: Option<&str>| Service {
        address: address.into(),
        token: token.map(|token| config::Secret::new(token.into())),
        server_name: None,
        identity: None,
        remote: config::Remote::default(),
    };
    let refused = |service| HttpStatus::new(&service, &Trust::default()).err();
    assert!(matches!(
        refused(service("http://a b/", None)),
        Some(ResourceError::Address(_))
    ));
    assert_eq!(
        refused(service("http://a/", Some("a\nb"))),
        Some(ResourceError::Token)
    );
    assert_eq!(refused(service("https://a/status", Some("abc"))), None);
}
