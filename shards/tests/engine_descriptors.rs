//! A listener that runs out of file descriptors pauses and goes on. In a process of its own, which has few of
//! them.
#![expect(clippy::expect_used, reason = "a test outside of a test function")]

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use passage_shards::engine::{Accept, Engine, Settings, Socket};

const NAME: &str = "a_listener_outlives_a_shortage_of_descriptors";
const INSIDE: &str = "PASSAGE_TEST_FEW_DESCRIPTORS";
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_listener_outlives_a_shortage_of_descriptors() {
    if std::env::var_os(INSIDE).is_some() {
        return exhaust_descriptors();
    }
    let myself = std::env::current_exe().expect("a path to this test");
    let script = "ulimit -n 60 && exec \"$0\" --exact \"$1\" --nocapture";
    let status = Command::new("sh")
        .args(["-c", script])
        .arg(myself)
        .arg(NAME)
        .env(INSIDE, "1")
        .status();
    assert!(status.expect("a shell").success());
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
