//! Every answer of a session server, and what becomes of it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use passage_proto::identity::{Claim, SharedSecret};
use passage_proto::question::ClientInfo;
use uuid::Uuid;

use super::*;
use crate::config::Remote;
use crate::tls::authority::Authority;

const STEVE: &str = r#"{"id":"069a79f444e94726a5befca90e38aaf5","name":"Steve","properties":[
    {"name":"textures","value":"abc","signature":"def"}],"profileActions":[]}"#;

/// Answers one request after the other with `answers`, all on the connections that the client keeps. Gives
/// the request lines when joined.
fn serve(answers: Vec<String>) -> (String, thread::JoinHandle<(Vec<String>, usize)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut requests = Vec::new();
        let mut connections = 0;
        let mut answers = answers.into_iter();
        while requests.len() < answers.len() + requests.len() {
            let (stream, _) = listener.accept().unwrap();
            connections += 1;
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut stream = stream;
            while let Some(request) = read_request(&mut reader) {
                requests.push(request);
                let answer = answers.next().unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                if answers.len() == 0 {
                    return (requests, connections);
                }
            }
        }
        (requests, connections)
    });
    (base, server)
}

fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let mut first = String::new();
    if reader.read_line(&mut first).ok()? == 0 {
        return None;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    Some(first.trim().to_owned())
}

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn mojang(url: &str) -> Mojang {
    Mojang::new(settings(url), &Trust::default())
}

fn settings(url: &str) -> config::Mojang {
    config::Mojang {
        url: url.to_owned(),
        remote: Remote {
            concurrency: 2,
            retries: 0,
            ..Remote::default()
        },
        prevent_proxy_connections: false,
    }
}

fn query(name: &str) -> AuthenticateQuery {
    AuthenticateQuery {
        claim: Claim {
            name: name.into(),
            id: Uuid::nil(),
        },
        client: ClientInfo {
            address: "[2001:db8::1]:4000".parse().unwrap(),
            hostname: "play.example.net".into(),
            port: 25565,
            protocol: 767,
        },
        shared_secret: Some(SharedSecret::new([7; 16])),
        public_key: Arc::from([1, 2, 3]),
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

/// Asks on a runtime like that of the control thread.
fn authenticate(mojang: &Mojang, query: &AuthenticateQuery, deadline: Instant) -> Result<Profile, Refusal> {
    let call = Call {
        deadline,
        trace: None,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(mojang.authenticate(query, call))
}

/// What one answer of the session server leads to for Steve.
fn outcome(answer: String) -> Result<Profile, (String, AskError)> {
    let (base, server) = serve(vec![answer]);
    let result = authenticate(&mojang(&base), &query("Steve"), soon());
    server.join().unwrap();
    result.map_err(|refusal| (refusal.message.key.into_owned(), refusal.cause))
}

fn refused(answer: String) -> (String, AskError) {
    outcome(answer).expect_err("a refusal")
}

#[test]
fn gives_the_profile_of_a_player_who_has_joined() {
    let profile = outcome(answer("200 OK", STEVE)).unwrap();
    assert_eq!(profile.name, "Steve");
    assert_eq!(profile.id.to_string(), "069a79f4-44e9-4726-a5be-fca90e38aaf5");
    assert_eq!(profile.properties[0].signature.as_deref(), Some("def"));
}

#[test]
fn every_refusal_has_its_words_and_its_cause() {
    let rows = [
        (
            "204 No Content",
            keys::DISCONNECT_NOT_AUTHENTICATED,
            AskError::Denied,
        ),
        (
            "403 Forbidden",
            keys::DISCONNECT_AUTHENTICATION_REFUSED,
            AskError::Denied,
        ),
        (
            "429 Too Many Requests",
            keys::DISCONNECT_AUTHENTICATION_BUSY,
            AskError::RateLimited,
        ),
        (
            "500 Internal Server Error",
            keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
            AskError::Failed,
        ),
        (
            "503 Service Unavailable",
            keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
            AskError::Failed,
        ),
        (
            "404 Not Found",
            keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
            AskError::Failed,
        ),
        (
            "302 Found\r\nLocation: http://127.0.0.1:1/",
            keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
            AskError::Failed,
        ),
    ];
    for (status, key, cause) in rows {
        let answer = if status.starts_with("204") {
            format!("HTTP/1.1 {status}\r\n\r\n")
        } else {
            answer(status, "")
        };
        assert_eq!(refused(answer), (key.to_owned(), cause), "{status}");
    }
}

#[test]
fn takes_nothing_but_a_profile_of_this_player() {
    let unavailable = (
        keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE.to_owned(),
        AskError::Failed,
    );
    for body in [
        "",
        "{",
        "[]",
        "{\"id\":\"x\",\"name\":\"Steve\"}",
        &STEVE.replace("Steve", "Alex"),
    ] {
        assert_eq!(refused(answer("200 OK", body)), unavailable, "{body}");
    }
    let endless = STEVE.replace("abc", &"a".repeat(70_000));
    assert_eq!(
        refused(answer("200 OK", &endless)).1,
        AskError::Failed,
        "longer than the bound"
    );
    assert_eq!(refused("SSH-2.0-OpenSSH_9.2\r\n\r\n".into()).1, AskError::Failed);
    assert!(
        outcome(answer("200 OK", &STEVE.replace("Steve", "sTEVE"))).is_ok(),
        "case is the server's to say"
    );
}

#[test]
fn gives_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mojang = mojang(&format!("http://{}", listener.local_addr().unwrap()));
    let begun = Instant::now();
    let soon = begun + Duration::from_millis(200);
    let refusal = authenticate(&mojang, &query("Steve"), soon).unwrap_err();
    assert_eq!(refusal.message.key, keys::DISCONNECT_AUTHENTICATION_TIMEOUT);
    assert_eq!(refusal.cause, AskError::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let refusal = authenticate(&mojang, &query("Steve"), begun).unwrap_err();
    assert_eq!(
        refusal.cause,
        AskError::TimedOut,
        "not even begun after its deadline"
    );
}

#[test]
fn tells_a_server_that_is_not_there_from_one_that_fails() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = mojang(&format!("http://127.0.0.1:{port}"));
    let refusal = authenticate(&nobody, &query("Steve"), soon()).unwrap_err();
    assert_eq!(refusal.message.key, keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE);
    assert_eq!(refusal.cause, AskError::Unreachable);
}

#[test]
fn asks_for_no_name_that_no_account_can_have() {
    let nobody = mojang("http://127.0.0.1:1");
    for name in [
        "",
        "a b",
        "a&serverId=0",
        "../../x",
        "seventeen_letters",
        "ünï",
        "a\0",
        "a?",
    ] {
        let refusal = authenticate(&nobody, &query(name), soon()).unwrap_err();
        assert_eq!(refusal.message.key, keys::DISCONNECT_INVALID_NAME, "{name:?}");
        assert_eq!(refusal.cause, AskError::Denied);
    }
}

#[test]
fn asks_on_one_connection_with_name_hash_and_address() {
    let (base, server) = serve(vec![answer("200 OK", STEVE); 3]);
    let mut settings = settings(&base);
    settings.prevent_proxy_connections = true;
    let mojang = Mojang::new(settings, &Trust::default());
    for _ in 0..3 {
        authenticate(&mojang, &query("Steve"), soon()).unwrap();
    }
    let (requests, connections) = server.join().unwrap();
    let hash = server_hash("", &SharedSecret::new([7; 16]), &[1, 2, 3]);
    let expected = format!("GET {PATH}?username=Steve&serverId={hash}&ip=2001:db8::1 HTTP/1.1");
    let plain: Vec<_> = requests
        .iter()
        .map(|request| request.replace("%3A", ":"))
        .collect();
    assert_eq!(plain, vec![expected; 3]);
    assert_eq!(connections, 1);
}

#[test]
fn a_session_server_that_the_own_authority_has_certified_is_asked_and_no_other() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let config = authority.server();
    let server = thread::spawn(move || {
        let mut requests = Vec::new();
        while requests.is_empty() {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut reader = BufReader::new(rustls::StreamOwned::new(connection, stream));
            if let Some(request) = read_request(&mut reader) {
                reader
                    .get_mut()
                    .write_all(answer("200 OK", STEVE).as_bytes())
                    .unwrap();
                requests.push(request);
            }
        }
        requests
    });
    let suspicious = Mojang::new(settings(&url), &Trust::default());
    let refusal = authenticate(&suspicious, &query("Steve"), soon()).unwrap_err();
    assert_eq!(refusal.cause, AskError::Unreachable);
    let mojang = Mojang::new(settings(&url), &authority.trust());
    let profile = authenticate(&mojang, &query("Steve"), soon()).unwrap();
    assert_eq!(profile.name, "Steve");
    let requests = server.join().unwrap();
    assert!(
        requests[0].starts_with("GET /session/minecraft/hasJoined?"),
        "{requests:?}"
    );
}
