//! Tests of the engine over real sockets: the engine on an executor's thread, the peers in plain threads.

mod bulk;
mod conversation;
mod relay;
mod wake;

use std::future::Future;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};

use socket2::SockRef;

use super::{Engine, Settings, Socket};

/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `test` beside a pump and ends the engine afterwards.
fn with_engine<F: Future<Output = ()> + 'static>(
    settings: Settings,
    test: impl FnOnce(Engine) -> F + Send + 'static,
) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .io_memory(64 * 1024)
        .name("engine-test");
    let thread = executor.spawn(move || async move {
        let engine = Engine::new(settings).unwrap();
        let pump = glommio::spawn_local({
            let engine = engine.clone();
            async move { engine.run().await }
        })
        .detach();
        test(engine.clone()).await;
        engine.stop();
        pump.await.unwrap();
        assert_eq!(engine.open_sockets(), 0);
        assert_eq!(engine.stats().buffers_used, 0);
        assert_eq!(engine.stats().spilled, 0);
    });
    thread.unwrap().join().unwrap();
}

impl Engine {
    /// Lets the processing of the next completion of the slot with this index panic.
    fn panic_at_next_completion_of(&self, index: u32) {
        self.with(|core| core.panic_on = core.slots.key(index));
    }
}

/// A connected pair: the engine's end and the peer's.
fn pair(engine: &Engine) -> (Socket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    peer.set_nodelay(true).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    accepted.set_nodelay(true).unwrap();
    for end in [SockRef::from(&peer), SockRef::from(&accepted)] {
        // Known room in the kernel, so that back-pressure comes when a test expects it.
        end.set_send_buffer_size(128 * 1024).unwrap();
        end.set_recv_buffer_size(128 * 1024).unwrap();
    }
    (engine.adopt(accepted.into()), peer)
}

fn local() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&listener).set_tcp_nodelay(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Waits on the shard, engine and all, until something holds.
async fn eventually(engine: &Engine, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < patience, "waited in vain: {:?}", engine.stats());
        engine
            .sleep_until(Instant::now() + Duration::from_millis(5))
            .await;
    }
}

/// The result of a peer's thread, without blocking the shard.
async fn join<T>(engine: &Engine, thread: std::thread::JoinHandle<T>) -> T {
    eventually(engine, || thread.is_finished()).await;
    thread.join().unwrap()
}

/// Reproducible bytes.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
