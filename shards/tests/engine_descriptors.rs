//! Descriptors: a listener that runs out of them pauses and goes on, and a shard has no more for itself than
//! is counted for it. Each in a process of its own, in which nobody else opens any.
#![expect(clippy::expect_used, reason = "a test outside of a test function")]

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use passage_shards::engine::{Accept, Engine, Settings, Socket};
use passage_shards::limits::FILES_PER_SHARD;

const INSIDE: &str = "PASSAGE_TEST_FEW_DESCRIPTORS";
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_listener_outlives_a_shortage_of_descriptors() {
    alone(
        "a_listener_outlives_a_shortage_of_descriptors",
        exhaust_descriptors,
    );
}

#[test]
fn a_shard_has_no_more_descriptors_for_itself_than_are_counted_for_it() {
    alone(
        "a_shard_has_no_more_descriptors_for_itself_than_are_counted_for_it",
        count_descriptors,
    );
}

/// Does `what` in a process of its own, which runs only the test of this name.
fn alone(name: &str, what: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return what();
    }
    let myself = std::env::current_exe().expect("a path to this test");
    let script = "ulimit -n 60 && exec \"$0\" --exact \"$1\" --nocapture";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(myself)
        .arg(name)
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("a shell").success());
}

fn count_descriptors() {
    let open = || std::fs::read_dir("/proc/self/fd").expect("a list").count();
    let before = open();
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 * 1024);
    let shard = executor.spawn(move || async move {
        let engine = Engine::new(Settings::default()).expect("an engine");
        let pump = glommio::spawn_local({
            let engine = engine.clone();
            async move { engine.run().await }
        })
        .detach();
        engine
            .sleep_until(Instant::now() + Duration::from_millis(20))
            .await;
        let own = open() - before;
        assert!(own > 0 && own <= FILES_PER_SHARD, "{own} descriptors");
        engine.stop();
        pump.await.expect("the pump");
    });
    shard.expect("an executor").join().expect("the test");
}

#[derive(Default)]
struct Seen {
    accepted: Vec<Socket>,
    shortages: usize,
}

fn exhaust_descriptors() {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 * 1024);
    let shard = executor.spawn(|| async move {
        let engine = Engine::new(Settings::default()).expect("an engine");
        let pump = glommio::spawn_local({
            let engine = engine.clone();
            async move { engine.run().await }
        })
        .detach();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("its address");
        let seen = Rc::new(RefCell::new(Seen::default()));
        let listening = engine.listen(listener, {
            let (engine, seen) = (engine.clone(), Rc::clone(&seen));
            Box::new(move |accept| match accept {
                Accept::Socket(socket) => seen.borrow_mut().accepted.push(engine.adopt(socket)),
                Accept::Transient(_) => seen.borrow_mut().shortages += 1,
                Accept::Fatal(error) => panic!("a shortage ended the listener: {error}"),
            })
        });
        let listening = listening.expect("a slot");
        let mut clients = connect_until_refused(address);
        until(&engine, || seen.borrow().shortages >= 3).await;
        assert!(seen.borrow().accepted.len() < clients.len());
        // Room again: half of the clients go, those that are left and were not accepted yet are now.
        let wanted = clients.len() / 2;
        clients.truncate(wanted);
        until(&engine, || seen.borrow().accepted.len() >= wanted).await;
        seen.borrow_mut().accepted.clear();
        clients.clear();
        // The engine closes in its next turn.
        engine
            .sleep_until(Instant::now() + Duration::from_millis(20))
            .await;
        let _another = TcpStream::connect(address).expect("a connection");
        until(&engine, || !seen.borrow().accepted.is_empty()).await;
        listening.close();
        seen.borrow_mut().accepted.clear();
        engine.stop();
        pump.await.expect("the pump");
    });
    shard.expect("an executor").join().expect("the test");
}

/// Connects until this process has no descriptor left for it.
fn connect_until_refused(to: SocketAddr) -> Vec<TcpStream> {
    std::iter::from_fn(|| TcpStream::connect(to).ok()).collect()
}

async fn until(engine: &Engine, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "waited in vain: {:?}", engine.stats());
        engine
            .sleep_until(Instant::now() + Duration::from_millis(5))
            .await;
    }
}
