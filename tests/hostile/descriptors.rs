//! No file descriptor is left: accepting pauses, who is in is served, and all is well once there are some
//! again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::client::{Client, LOGIN, MODERN, STATUS, handshake, login_start, status_request};
use crate::process::{Process, page, wait_for};

/// What the program may have open, sockets included: a little more than it opens by itself.
const FILES: usize = 60;

fn accept_failures(process: &Process) -> u64 {
    let text = page(process.admin, "/metrics");
    let counts = text.lines().filter_map(|line| {
        let count = line.strip_prefix("passage_shard_accept_failures_total{")?;
        count.rsplit(' ').next()?.parse::<u64>().ok()
    });
    counts.sum()
}

/// A target that sends everything back to its one player.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut player, _) = listener.accept().unwrap();
        let mut back = player.try_clone().unwrap();
        let _ = std::io::copy(&mut player, &mut back);
    });
    address
}

#[test]
fn a_program_without_descriptors_serves_who_is_in_and_then_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passage.toml");
    let target = echo();
    let text = format!(
        r#"
address = "127.0.0.1:0"
limits.handshake = 60
shards = {{ count = 2, pin = false }}
admin.address = "127.0.0.2:0"

[[routes]]
hostname = "*"
mode = "relay"
discovery.targets = [{{ identifier = "echo", address = "{target}" }}]
"#
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("sh");
    let script = format!("ulimit -n {FILES} && exec \"$0\" run --config \"$1\"");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_passage")])
        .arg(&file)
        .env_clear();
    let passage = Process::start(command);

    let mut player = TcpStream::connect(passage.address).unwrap();
    let mut says = |words: &[u8]| {
        player.write_all(words).unwrap();
        let mut heard = vec![0; words.len()];
        player.read_exact(&mut heard).unwrap();
        assert_eq!(heard, words, "who is in is served");
    };
    says(&[handshake(MODERN, "play.example.net", LOGIN), login_start("Alice")].concat());
    // The kernel takes them all in; the program cannot. Nor can its shards make room in between, as they do
    // where connections come one after the other: all are there at once when it goes on.
    passage.signal(Signal::SIGSTOP);
    let crowd: Vec<_> = (0..3 * FILES)
        .map(|_| TcpStream::connect(passage.address).unwrap())
        .collect();
    passage.signal(Signal::SIGCONT);
    passage.wait_to_say("Accepting pauses");
    says(b"still here");
    // Room again, for the admin listener too.
    drop(crowd);
    wait_for("failed accepts to be counted", || {
        (accept_failures(&passage) > 0).then_some(())
    });
    for _ in 0..20 {
        let mut client = Client::connect(passage.address);
        client.send(&[handshake(MODERN, "play.example.net", STATUS), status_request()].concat());
        client.expect(0);
    }
    assert!(page(passage.admin, "/livez").ends_with("\r\n\r\nalive\n"));
    drop(player);
    let said = passage.end();
    assert!(!said.errors.contains("panicked"), "{}", said.errors);
}
