//! What is weighed in alternating rounds, against a running Passage: counts only, never times.
#![expect(clippy::expect_used, reason = "a test may panic")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

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

/// One round of this contest. One at a time: each run looks for free ports before its server listens there.
fn weigh(contest: &str) -> Value {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new(env!("CARGO_BIN_EXE_passage-loadtest"))
        .args(["run", "--weigh", contest, "--rounds", "1", "--duration", "1.5"])
        .args(["--logins", "40", "--json", "-", "--passage"])
        .arg(passage())
        .output()
        .expect("the program starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{contest}: {complaint}");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON alone");
    document["duels"][0].clone()
}

fn count(half: &Value, pointer: &str) -> u64 {
    let value = half.pointer(pointer).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no count at {pointer} of {half:#}"))
}

#[test]
fn statuses_of_others_are_asked_for_once_a_refresh() {
    for contest in ["http-status", "target-status"] {
        let duel = weigh(contest);
        let (given, fixed) = (&duel["rounds"][0]["first"], &duel["rounds"][0]["second"]);
        for half in [given, fixed] {
            assert!(
                count(half, "/completed") > 0 && count(half, "/failed") == 0,
                "{half:#}"
            );
        }
        // The program itself holds the calls to one a refresh, which is a second.
        let calls = count(given, "/upstream_calls");
        assert!(
            calls >= 1 && calls < count(given, "/completed"),
            "{contest}: {calls}"
        );
        assert_eq!(fixed["upstream_calls"], Value::Null);
    }
}

#[test]
fn no_login_is_starved_while_discovery_takes_its_time() {
    let duel = weigh("discovery");
    for side in ["first", "second"] {
        let half = &duel["rounds"][0][side];
        assert!(count(half, "/failed") == 0, "{half:#}");
        assert!(count(half, "/units_per_client/least") >= 1, "{half:#}");
        let turns = count(half, "/turns/count");
        assert!(turns > count(half, "/completed") / 40, "{turns} turns: {half:#}");
    }
}
