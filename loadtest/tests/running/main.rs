//! What the program measures of a running Passage: counts only, never times.
#![expect(clippy::expect_used, reason = "a test may panic")]

mod duel;
mod weighing;

use std::path::PathBuf;
use std::process::{Command, Output};
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

/// Runs the program on that Passage. One at a time: each run looks for free ports before its server listens
/// there.
fn loadtest(arguments: &[&str]) -> Output {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Command::new(env!("CARGO_BIN_EXE_passage-loadtest"))
        .args(arguments)
        .arg("--passage")
        .arg(passage())
        .output()
        .expect("the program starts")
}

/// What it wrote as JSON; it must have ended well.
fn document(arguments: &[&str]) -> Value {
    let output = loadtest(arguments);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON alone")
}

fn count(value: &Value, pointer: &str) -> u64 {
    let count = value.pointer(pointer).and_then(Value::as_u64);
    count.unwrap_or_else(|| panic!("no count at {pointer} of {value:#}"))
}
