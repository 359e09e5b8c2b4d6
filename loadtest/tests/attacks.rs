//! Every attack, for a moment and with a part of its strength: counts only, never times.
#![expect(clippy::expect_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use passage_loadtest::attack::Kind;
use serde_json::Value;

/// The Passage of the same build. Building the tests of the whole workspace builds it too.
fn passage() -> PathBuf {
    if let Some(path) = std::env::var_os("PASSAGE_BINARY") {
        return path.into();
    }
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_passage-loadtest")).with_file_name("passage");
    if !beside.is_file() {
        let build = Command::new(env!("CARGO"))
            .args(["build", "--package", "passage"])
            .status();
        assert!(build.expect("cargo starts").success(), "passage does not build");
    }
    beside
}

/// Runs these attacks one after the other, and holds each to its bars: no client that means well fails, the
/// server lives, its files come back, its log and its series stay within their bounds.
fn withstand(kinds: &[Kind]) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let names: Vec<String> = kinds.iter().map(|kind| kind.name()).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_passage-loadtest"))
        .args([
            "attack",
            "--counts",
            "--duration",
            "0.3",
            "--json",
            "-",
            "--passage",
        ])
        .arg(passage())
        .args(["--only", &names.join(",")])
        .output()
        .expect("the program starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaint}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    let attacks = document["attacks"].as_array().expect("a list");
    assert_eq!(attacks.len(), kinds.len());
    for attack in attacks {
        let count = |pointer: &str| attack.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let name = &attack["attack"];
        assert!(count("/toll/opened") > 10, "{name}: {:#}", attack["toll"]);
        assert!(count("/attacked/pings/completed") > 0, "{name}: {complaint}");
        assert!(count("/attacked/relays/completed") > 0, "{name}: {complaint}");
        assert_eq!(attack["findings"], Value::Array(Vec::new()), "{name}");
    }
}

/// A third of all attacks, so that a failure is told before all have run.
fn third(which: usize) -> Vec<Kind> {
    Kind::all().iter().copied().skip(which).step_by(3).collect()
}

#[test]
fn withstands_the_first_third_of_all_attacks() {
    withstand(&third(0));
}

#[test]
fn withstands_the_second_third_of_all_attacks() {
    withstand(&third(1));
}

#[test]
fn withstands_the_last_third_of_all_attacks() {
    withstand(&third(2));
}
