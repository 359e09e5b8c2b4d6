//! Commands that ask adapters, against services in the same process.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;

use super::*;
use crate::adapters::grpc::tests::double::Server as Grpc;
use crate::adapters::ping::double::Double as Minecraft;

/// A web server that answers every request with this body, each on a connection of its own.
fn web(status: &'static str, body: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: \
                 {length}\r\nConnection: close\r\n\r\n{body}"
            );
            // The client may have gone.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

const TARGETS: &str = r#"{"targets":[
    {"identifier":"hub-1","address":"hub-1.example.net","priority":2,"meta":{"region":"eu"}},
    {"identifier":"hub-2","address":"hub-2.example.net:7","meta":{"region":"us"}}]}"#;
const STATUS: &str = r#"{"version":{"name":"Hub","protocol":767},"description":"Hi"}"#;

fn checked(text: &str) -> (String, usize, usize) {
    let checked = with_config(text, |config| check::report(config, true)).unwrap();
    (checked.text, checked.services, checked.missing)
}

#[test]
fn check_tells_what_every_service_answers_and_asks_about_no_player() {
    let (grpc, hubs, status) = (
        Grpc::with_three_lobbies(),
        web("200 OK", TARGETS),
        web("200 OK", STATUS),
    );
    let (grpc, sessions) = (grpc.address(), web("404 Not Found", ""));
    let text = format!(
        r#"
        status = {{ type = "http", address = "http://{status}/" }}
        authentication = {{ url = "http://{sessions}" }}
        [[routes]]
        hostname = "a.example.net"
        discovery = {{ type = "http", address = "http://{hubs}/targets" }}
        strategy = {{ type = "grpc", address = "{grpc}" }}
        [[routes]]
        hostname = "b.example.net"
        authentication = {{ type = "grpc", address = "{grpc}" }}
        localization = {{ type = "grpc", address = "{grpc}" }}
        [routes.discovery]
        type = "grpc"
        address = "{grpc}"
        actions = [{{ type = "grpc", address = "{grpc}" }}]
        "#
    );
    let (text, services, missing) = checked(&text);
    assert_eq!((services, missing), (8, 0), "{text}");
    for part in [
        &format!("discovery http http://{hubs}/targets (route a.example.net): gives 2 targets, "),
        &format!("status http http://{status}/ (routes a.example.net, b.example.net): gives a status, "),
        &format!("authentication mojang http://{sessions} (route a.example.net): answers, "),
        &format!("authentication grpc {grpc} (route b.example.net): accepts connections, "),
        &format!("discovery grpc {grpc} (route b.example.net): gives 3 targets, "),
        &format!("discovery_action grpc {grpc} (route b.example.net): accepts connections, "),
        &format!("strategy grpc {grpc} (route a.example.net): accepts connections, "),
        &format!("localization grpc {grpc} (route b.example.net): gives words, "),
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn check_says_who_does_not_answer_and_what_to_do() {
    let (nobody, failing) = (nobody(), web("500 Internal Server Error", "{}"));
    let text = format!(
        r#"
        authentication = {{ type = "grpc", address = "http://{nobody}" }}
        status = {{ type = "http", address = "http://{failing}/", retries = 0 }}
        discovery = {{ type = "dns", domain = "x.test", resolver = "{nobody}", timeout = 0.5 }}
        "#
    );
    let (text, services, missing) = checked(&text);
    assert_eq!((services, missing), (3, 3), "{text}");
    let unreachable = format!("authentication grpc http://{nobody} (route *): CANNOT BE REACHED: ");
    assert!(text.contains(&unreachable), "{text}");
    assert!(
        text.contains("to do:  start the service, or correct its address"),
        "{text}"
    );
    let fails = format!("status http http://{failing}/ (route *): FAILS: 500 Internal Server Error");
    assert!(text.contains(&fails), "{text}");
    let begin = text
        .find("discovery dns x.test (route *): ")
        .unwrap_or_else(|| panic!("{text}"));
    let dns = &text[begin..];
    assert!(!dns.contains("no details") && dns.contains("to do:  "), "{dns}");
}

#[test]
fn check_pings_the_targets_that_a_status_comes_from() {
    let server = Minecraft::start(Minecraft::shows("Hello", 3));
    let target = |address| {
        format!(
            "mode = \"relay\"\n[status]\ntype = \"target\"\nretries = 0\n[[discovery.targets]]\nidentifier = \
             \"a\"\naddress = \"{address}\""
        )
    };
    let (text, _, missing) = checked(&target(server.address));
    assert_eq!(missing, 0, "{text}");
    assert!(
        text.contains("status target the targets (route *): gives a status, "),
        "{text}"
    );
    let (text, _, missing) = checked(&target(nobody()));
    assert_eq!(missing, 1, "{text}");
    assert!(
        text.contains("status target the targets (route *): CANNOT BE REACHED: a ("),
        "{text}"
    );
}

#[test]
fn route_takes_every_step_with_services() {
    let grpc = Grpc::with_three_lobbies();
    let grpc = grpc.address();
    let text = format!(
        r#"
        [authentication]
        type = "disabled"
        [discovery]
        type = "grpc"
        address = "{grpc}"
        actions = [
            {{ type = "grpc", name = "first away", address = "{grpc}" }},
            {{ type = "player_block_filter", usernames = ["Herobrine"] }},
        ]
        [strategy]
        type = "grpc"
        address = "{grpc}"
        [localization]
        type = "grpc"
        address = "{grpc}"
        "#
    );
    let steps = routed_with(&text, &options("play.example.net"));
    let expected = "\
discovery       grpc, 3 targets
                lobby-1 at lobby-1.example.net:25565, priority 0
                lobby-2 at lobby-2.example.net:25565, priority 0
                lobby-3 at lobby-3.example.net:25565, priority 0
action          grpc \"first away\", 2 of 3 targets left; without lobby-1
action          player_block_filter, 2 of 2 targets left
strategy        grpc, chooses lobby-3 at lobby-3.example.net:25565
end             transfer to lobby-3.example.net:25565
";
    assert!(steps.ends_with(expected), "{steps}");

    let blocked = route::Options {
        name: "herobrine".into(),
        ..options("play.example.net")
    };
    let steps = routed_with(&text, &blocked);
    let expected = "\
action          player_block_filter, denied: refused with disconnect_filtered
player reads    {\"text\":\"So it is: disconnect_filtered\"}
";
    assert!(steps.ends_with(expected), "{steps}");

    let offline = route::Options {
        is_offline: true,
        ..options("play.example.net")
    };
    let steps = routed_with(&text, &offline);
    assert!(
        steps.ends_with("discovery       grpc, not asked; what follows is not known\n"),
        "{steps}"
    );
}

#[test]
fn route_shows_what_filters_take_away_and_what_lies_in_the_background() {
    let (hubs, status) = (web("200 OK", TARGETS), web("200 OK", STATUS));
    let text = format!(
        r#"
        mode = "relay"
        [status]
        type = "http"
        address = "http://{status}/"
        [discovery]
        type = "http"
        address = "http://{hubs}/"
        actions = [{{ type = "meta_filter", rules = [{{ key = "region", op = "equals", value = "eu" }}] }}]
        "#
    );
    let expected = "\
ping            http, as protocol 767
login           relayed; nothing is decrypted, the target authenticates the player
discovery       http, 2 targets
                hub-1 at hub-1.example.net:25565, priority 2, region = \"eu\"
                hub-2 at hub-2.example.net:7, priority 0, region = \"us\"
action          meta_filter, 1 of 2 targets left; without hub-2
strategy        fixed, chooses hub-1 at hub-1.example.net:25565
end             relay to hub-1.example.net:25565 with no PROXY header and the client's host name
";
    let steps = routed_with(&text, &options("x"));
    assert!(steps.ends_with(expected), "{steps}");
}

#[test]
fn route_says_what_players_meet_while_a_service_is_down() {
    let nobody = nobody();
    let text = format!(
        r#"
        [status]
        type = "http"
        address = "http://{nobody}/"
        [status.offline]
        name = "Offline"
        [discovery]
        type = "grpc"
        address = "http://{nobody}"
        [localization]
        type = "grpc"
        address = "http://{nobody}"
        [localization.messages.en_us]
        disconnect_discovery_unavailable = "Closed"
        "#
    );
    let steps = routed_with(&text, &options("x"));
    assert!(steps.contains("ping            http, unreachable ("), "{steps}");
    assert!(
        steps.contains("); the offline status is shown until there is an answer\n"),
        "{steps}"
    );
    assert!(steps.contains("discovery       grpc, unreachable ("), "{steps}");
    assert!(
        steps.contains("): refused with disconnect_discovery_unavailable\n"),
        "{steps}"
    );
    assert!(
        steps.contains("the configured words stand in\nplayer reads    {\"text\":\"Closed\"}\n"),
        "{steps}"
    );
}

#[test]
fn route_allocates_no_game_server() {
    let steps = routed_with("[discovery]\ntype = \"agones\"", &options("x"));
    let expected = "agones, not asked, because it would allocate a game server; what follows is not known\n";
    assert!(steps.ends_with(expected), "{steps}");
}
