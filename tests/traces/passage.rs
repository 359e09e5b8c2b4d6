//! The program as its own process, from its configuration to its last log line.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Longer than the start and the end should take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running Passage. Ended when dropped.
pub(crate) struct Passage {
    /// Where players connect.
    pub(crate) address: SocketAddr,
    /// How many shards it says it has.
    pub(crate) shards: usize,
    process: Process,
    lines: Receiver<Value>,
    said: Vec<Value>,
    reader: JoinHandle<()>,
    _directory: TempDir,
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Passage {
    /// Starts it with this configuration and nothing of the environment but `variables`, and waits until it
    /// listens.
    pub(crate) fn start(configuration: &str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("passage.toml");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_passage"))
            .arg("run")
            .arg("--config")
            .arg(&file)
            .env_clear()
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Process(child);
        let (lines, reader) = read(process.0.stdout.take().unwrap());
        let mut passage = Self {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            shards: 0,
            process,
            lines,
            said: Vec::new(),
            reader,
            _directory: directory,
        };
        passage.await_listener();
        passage
    }

    fn await_listener(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.shards == 0 {
            let line = self.lines.recv_deadline(deadline).unwrap();
            let text = line["message"].as_str().unwrap();
            if let Some(rest) = text.strip_prefix("Listening on ") {
                let words: Vec<_> = rest.split(' ').collect();
                self.address = words[0].parse().unwrap();
                self.shards = words[2].parse().unwrap();
            }
            self.said.push(line);
        }
    }

    /// Tells it to end, waits until it has, and gives what it has logged.
    pub(crate) fn end(mut self) -> Vec<Value> {
        let id = Pid::from_raw(i32::try_from(self.process.0.id()).unwrap());
        kill(id, Signal::SIGTERM).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while self.process.0.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "Passage does not end");
            thread::park_timeout(Duration::from_millis(20));
        }
        assert!(self.process.0.wait().unwrap().success());
        self.reader.join().unwrap();
        self.said.extend(self.lines.try_iter());
        self.said
    }
}

/// Reads lines as they come, so that no log is ever held up.
fn read(output: ChildStdout) -> (Receiver<Value>, JoinHandle<()>) {
    let (sender, lines) = unbounded();
    let reader = thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            // After the end nobody may listen any more.
            let _ = sender.send(line);
        }
    });
    (lines, reader)
}
