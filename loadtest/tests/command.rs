//! The program itself: what it refuses, what it prints, how it ends.
#![expect(clippy::expect_used, reason = "a test may panic")]

use std::process::{Command, Output};

use passage_loadtest::double::{Double, status};

fn loadtest(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_passage-loadtest");
    Command::new(program)
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn refuses_targets_that_are_not_loopback() {
    for target in ["192.0.2.1:25565", "[2001:db8::1]:25565", "example.net:25565"] {
        let output = loadtest(&["status", "--target", target]);
        assert_eq!(output.status.code(), Some(2), "{target}");
        let complaint = text(&output.stderr);
        assert!(
            complaint.contains("loopback") || complaint.contains("localhost:port"),
            "{complaint}"
        );
    }
}

#[test]
fn prints_json_with_all_settings() {
    let double = Double::start(status::Status::default(), None).expect("a double");
    let target = double.address().to_string();
    let pid = std::process::id().to_string();
    // Enough for some ticks of the scheduler: a thread that does not sleep is charged for its time at ticks.
    let output = loadtest(&[
        "status", "--target", &target, "--count", "3000", "--warmup", "0", "--seed", "77", "--pid", &pid,
        "--json", "-",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    let run = &document["runs"][0];
    assert_eq!((&run["completed"], &run["failed"]), (&3000.into(), &0.into()));
    assert_eq!(run["settings"]["seed"], 77);
    assert_eq!(run["settings"]["target"], target);
    assert!(
        run["latency_microseconds"]["p99.9"]
            .as_f64()
            .is_some_and(|latency| latency > 0.0)
    );
    assert!(
        run["server"]["cpu_microseconds_per_unit"]
            .as_f64()
            .is_some_and(|cpu| cpu > 0.0)
    );
}

#[test]
fn too_many_failures_are_exit_code_1() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let target = closed.expect("a free port").to_string();
    let arguments = ["status", "--target", &target, "--duration", "1", "--warmup", "0"];
    let output = loadtest(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("Refused"),
        "{}",
        text(&output.stdout)
    );
}

#[test]
fn says_how_to_build_what_it_measures() {
    let output = loadtest(&["run", "--passage", "/nowhere/passage"]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    assert!(
        complaint.contains("cargo build --release -p passage"),
        "{complaint}"
    );
}

#[test]
fn a_process_that_is_gone_is_an_error_and_not_a_hang() {
    let double = Double::start(status::Status::default(), None).expect("a double");
    let output = loadtest(&[
        "status",
        "--target",
        &double.address().to_string(),
        "--pid",
        "4294967",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("4294967"),
        "{}",
        text(&output.stderr)
    );
}
