//! Commands against configurations and servers of the tests' own.

mod adapters;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use clap::CommandFactory;
use passage_proto::packet::status::Clientbound;

use super::*;
use crate::adapters::ping::PAYLOAD;

const CONFIG: &str = r#"
auth_secret = "0123456789abcdef"
[[routes]]
hostname = "play.example.net"
mode = "auto"
rewrite_host = "target"
send_proxy_protocol = "v2"
authentication = { type = "mojang", url = "http://127.0.0.1:9" }
[routes.status]
name = "Example"
min_version = 47
max_version = 767
[routes.discovery]
targets = [
  { identifier = "second", address = "second.example.net:2", priority = 2 },
  { identifier = "first", address = "[2001:db8::1]:1", priority = 1 },
]
[[routes]]
hostname = "*.example.net"
mode = "transfer"
"#;

fn with_config<T>(text: &str, then: impl FnOnce(Option<&Path>) -> T) -> T {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    then(Some(file.path()))
}

fn options(host: &str) -> route::Options {
    route::Options {
        host: host.into(),
        protocol: None,
        name: "Steve".into(),
        id: None,
        is_offline: false,
    }
}

/// The report without the time that each step took, and without its first line, which names a file that is
/// another one every time.
fn routed_with(text: &str, options: &route::Options) -> String {
    let report = with_config(text, |config| route::report(config, options).unwrap());
    let without_time = |line: &str| {
        let (step, rest) = line.split_at(15);
        let (time, what) = rest.split_at(14);
        let time = time.trim();
        assert!(time.is_empty() || time.ends_with(" ms"), "{line}");
        format!("{}{what}", step.to_owned() + " ").trim_end().to_owned() + "\n"
    };
    report.lines().skip(1).map(without_time).collect()
}

fn routed(host: &str, protocol: i32) -> String {
    let options = route::Options {
        protocol: Some(protocol),
        ..options(host)
    };
    routed_with(CONFIG, &options)
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn the_configuration_can_be_named_before_and_after_the_command() {
    for line in [
        ["passage", "--config", "x", "check"],
        ["passage", "check", "--config", "x"],
    ] {
        assert_eq!(Arguments::parse_from(line).config, Some("x".into()));
    }
    assert!(Arguments::parse_from(["passage"]).command.is_none());
}

#[test]
fn route_shows_every_step_of_a_transfer() {
    let expected = "\
host name       \"play.example.net\"
client          protocol 766, speaks as 1.20.5 does
player          Steve (5627dd98-e6be-3c21-b8a8-e92344183641)
route           play.example.net (exact name, 1 of 2)
ping            fixed, \"Example\" as protocol 766
login           encrypted
authentication  mojang, would ask http://127.0.0.1:9
cookie          a valid one replaces the authentication
discovery       fixed, 2 targets
                second at second.example.net:2, priority 2
                first at [2001:db8::1]:1, priority 1
strategy        fixed, chooses first at [2001:db8::1]:1
end             transfer to [2001:db8::1]:1
";
    assert_eq!(routed("Play.Example.NET.", 766), expected);
}

#[test]
fn route_shows_every_step_of_a_relay() {
    let text = routed("play.example.net", 765);
    assert!(
        text.contains("login           relayed; nothing is decrypted"),
        "{text}"
    );
    assert!(
        text.ends_with("relay to [2001:db8::1]:1 with a PROXY v2 header and the target's host name\n"),
        "{text}"
    );
}

#[test]
fn route_shows_refusals() {
    let old = routed("x.example.net", 765);
    assert!(
        old.contains("route           *.example.net (glob, 2 of 2)"),
        "{old}"
    );
    assert!(
        old.contains("login           refused with disconnect_version\nplayer reads    {"),
        "{old}"
    );
    let nowhere = routed("x.example.net", 766);
    assert!(
        nowhere.contains("strategy        fixed, denied: refused with disconnect_no_target\n"),
        "{nowhere}"
    );
    let unknown = routed("example.org", 766);
    assert!(
        unknown.ends_with("ping            closed\nlogin           refused with disconnect_no_route\n"),
        "{unknown}"
    );
}

#[test]
fn check_says_what_a_configuration_does() {
    let text = with_config(CONFIG, |config| check::report(config, false))
        .unwrap()
        .text;
    for part in [
        ": no problems\n",
        "Listens on 0.0.0.0:25565",
        "Route *.example.net",
        "the first of 2 targets",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("0123456789abcdef"), "{text}");
}

#[test]
fn check_says_everything_that_is_wrong_with_exit_code_78() {
    let failure =
        with_config("timeout = 0\nadress = 1\n", |config| check::report(config, false)).unwrap_err();
    assert_eq!(failure.exit_code(), 78);
    assert!(
        failure
            .to_string()
            .starts_with("2 problems in the configuration\n"),
        "{failure}"
    );
}

/// Answers one connection with these bytes, after it has sent something, then keeps it open until it is
/// closed.
fn server(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for answer in answers {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&answer);
        }
        while stream.read(&mut [0; 64]).is_ok_and(|length| length > 0) {}
    });
    address
}

fn frame(packet: Clientbound<'_>) -> Vec<u8> {
    let mut frame = Vec::new();
    packet.encode(&mut frame);
    frame
}

#[test]
fn ping_shows_what_a_server_says_and_nothing_that_moves_the_cursor() {
    let status = r#"{"version":{"name":"1.21\u001b[2J","protocol":767},
        "players":{"online":3,"max":20},"description":"Hi"}"#;
    let server = server(vec![
        frame(Clientbound::Response(status)),
        frame(Clientbound::Pong(PAYLOAD)),
    ]);
    let text = ping::report(&server, Duration::from_secs(5), Some(767)).unwrap();
    assert!(
        text.contains("version  1.21 [2J (protocol 767)\nplayers  3 of 20\nmotd     Hi\n"),
        "{text}"
    );
}

#[test]
fn ping_fails_clearly_and_in_time() {
    let problem = |server: &str| {
        ping::report(server, Duration::from_millis(300), None)
            .unwrap_err()
            .to_string()
    };
    let begun = Instant::now();
    assert!(problem("a b").starts_with("no address"));
    assert!(problem("127.0.0.1:1").starts_with("cannot connect to 127.0.0.1:1"));
    assert_eq!(problem(&server(vec![])), "no complete answer in time");
    assert!(problem(&server(vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".into()])).starts_with("no "));
    assert!(problem(&server(vec![vec![0xFF; 5]])).starts_with("no Minecraft server answers there"));
    assert!(begun.elapsed() < Duration::from_secs(20));
}
