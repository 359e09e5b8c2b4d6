//! `passage check` and `passage route` as an operator calls them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Output};

/// Runs the program with this configuration and nothing of the environment.
fn run(configuration: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passage.toml");
    std::fs::write(&file, configuration).unwrap();
    Command::new(env!("CARGO_BIN_EXE_passage"))
        .args(arguments)
        .arg("--config")
        .arg(&file)
        .env_clear()
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A server that accepts connections and says nothing.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn a_check_asks_services_on_request_only_and_its_exit_code_tells() {
    let configuration = format!(
        "mode = \"relay\"\n[discovery]\ntype = \"http\"\naddress = \"http://{}/\"\nretries = 0\n",
        nobody()
    );
    let unasked = run(&configuration, &["check"]);
    assert_eq!(unasked.status.code(), Some(0), "{}", text(&unasked.stderr));
    assert!(!text(&unasked.stdout).contains("CANNOT BE REACHED"));

    let asked = run(&configuration, &["check", "--adapters"]);
    assert_eq!(asked.status.code(), Some(69), "{}", text(&asked.stdout));
    assert!(
        text(&asked.stdout).contains("CANNOT BE REACHED: "),
        "{}",
        text(&asked.stdout)
    );
    let expected = "passage: 1 of 1 services do not answer as they should\n";
    assert_eq!(text(&asked.stderr), expected);

    let nothing = run(
        "mode = \"relay\"\n[discovery]\ntargets = [{ identifier = \"a\", address = \"a\" }]\n",
        &["check", "--adapters"],
    );
    assert_eq!(nothing.status.code(), Some(0));
    assert!(text(&nothing.stdout).ends_with("No service is asked: everything is in the configuration\n"));
}

#[test]
fn a_service_that_says_nothing_holds_a_check_up_no_longer_than_its_deadline() {
    let silent = silent();
    let configuration = format!(
        "mode = \"relay\"\n[discovery]\ntype = \"http\"\naddress = \"http://{}/\"\nretries = 0\ntimeout = \
         0.5\n",
        silent.local_addr().unwrap()
    );
    let asked = run(&configuration, &["check", "--adapters"]);
    assert_eq!(asked.status.code(), Some(69), "{}", text(&asked.stdout));
    let said = text(&asked.stdout);
    assert!(said.contains("DOES NOT ANSWER IN TIME: "), "{said}");
    assert!(said.contains("or raise its timeout (0.5 s)"), "{said}");
}

#[test]
fn a_route_is_shown_step_by_step_with_milliseconds() {
    let configuration = r#"
        mode = "relay"
        [discovery]
        targets = [
            { identifier = "lobby", address = "lobby.example.net", meta = { open = "yes" } },
            { identifier = "closed", address = "closed.example.net" },
        ]
        actions = [
            { type = "meta_filter", rules = [{ key = "open", op = "equals", value = "yes" }] },
            { type = "player_block_filter", usernames = ["Herobrine"] },
        ]
    "#;
    let shown = run(configuration, &["route", "play.example.net", "--name", "Alex"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let said = text(&shown.stdout);
    for (step, what) in [
        ("configuration", "passage.toml"),
        ("discovery", "fixed, 2 targets"),
        ("action", "meta_filter, 1 of 2 targets left; without closed"),
        ("strategy", "fixed, chooses lobby at lobby.example.net:25565"),
    ] {
        let line = said.lines().find(|line| line.starts_with(step));
        let line = line.unwrap_or_else(|| panic!("no {step} in {said}"));
        assert!(line.contains(" ms  ") && line.ends_with(what), "{line}");
    }
    assert!(said.contains("player                       Alex ("), "{said}");

    let blocked = run(
        configuration,
        &["route", "play.example.net", "--name", "Herobrine"],
    );
    assert!(text(&blocked.stdout).contains("refused with disconnect_filtered"));
}
