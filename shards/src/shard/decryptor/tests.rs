//! The order of operations and answers, counted on an engine of its own. Its peers are the other ends of
//! socket pairs, where bytes arrive while they are written: no clock and no network has a say.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use futures_lite::future::yield_now;
use glommio::{LocalExecutorBuilder, Placement};

use super::*;
use crate::engine::{Event, Settings, Socket};
use crate::rsa;

const SECRET: [u8; 16] = *b"0123456789abcdef";
const TOKEN: [u8; 4] = *b"toke";

/// An engine with a decryptor at work.
#[derive(Clone)]
struct World {
    engine: Engine,
    decryptor: Rc<Decryptor>,
}

/// Runs `test` on a shard's executor, beside a pump and a decryptor.
fn with_decryptor<F: Future<Output = ()> + 'static>(test: impl FnOnce(World) -> F + Send + 'static) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(64 * 1024);
    let thread = executor.spawn(move || async move {
        let engine = Engine::new(Settings::default()).unwrap();
        let decryptor = Rc::new(Decryptor::new(KeyPair::generate().unwrap(), engine.clone()));
        let pump = glommio::spawn_local({
            let engine = engine.clone();
            async move { engine.run().await }
        });
        // The decryptor owns the engine, so that the engine must not own the decryptor.
        let woken = Rc::downgrade(&decryptor);
        engine.on_wake(Box::new(move || {
            woken
                .upgrade()
                .into_iter()
                .for_each(|decryptor| decryptor.woken())
        }));
        let working = glommio::spawn_local({
            let decryptor = Rc::clone(&decryptor);
            async move { decryptor.run().await }
        });
        test(World {
            engine: engine.clone(),
            decryptor,
        })
        .await;
        engine.stop();
        pump.await;
        working.cancel().await;
    });
    thread.unwrap().join().unwrap();
}

impl World {
    fn socket(&self) -> (Socket, UnixStream) {
        let (own, peer) = UnixStream::pair().unwrap();
        (self.engine.adopt(own.into()), peer)
    }

    /// A login that waits for its secret.
    fn log_in(&self, token: &[u8]) -> Login {
        let (socket, peer) = self.socket();
        let encrypted = EncryptedSecret {
            shared_secret: rsa::encrypt(self.decryptor.public_key(), &SECRET).unwrap(),
            verify_token: rsa::encrypt(self.decryptor.public_key(), token).unwrap(),
            expected_token: TOKEN,
        };
        Login {
            decrypting: self.decryptor.submit(encrypted, socket.notifier()),
            socket,
            _peer: peer,
        }
    }

    fn operations(&self) -> u64 {
        self.decryptor.operations.get()
    }
}

struct Login {
    decrypting: Decrypting,
    socket: Socket,
    _peer: UnixStream,
}

impl Login {
    async fn outcome(mut self) -> Option<SharedSecret> {
        loop {
            if let Some(outcome) = self.decrypting.take() {
                return outcome;
            }
            assert!(matches!(self.socket.next(true, None).await, Event::Notified));
        }
    }
}

/// Answers a byte with a byte, `rounds` times, and says how many operations the slowest answer waited for:
/// from the moment when the peer had sent the byte to the one when the kernel had the answer for it.
async fn ping(world: World, rounds: usize) -> u64 {
    let (mut socket, mut peer) = world.socket();
    let mut longest = 0;
    for _ in 0..rounds {
        peer.write_all(&[1]).unwrap();
        let begun = world.operations();
        assert!(matches!(socket.next(true, None).await, Event::Received(_)));
        socket.send(vec![2], None).await.unwrap();
        longest = longest.max(world.operations() - begun);
        peer.read_exact(&mut [0]).unwrap();
    }
    longest
}

#[test]
fn no_answer_waits_for_more_than_one_operation_and_logins_go_on_beside_pings() {
    with_decryptor(async |world| {
        let logins: Vec<Login> = (0..50).map(|_| world.log_in(&TOKEN)).collect();
        // As many as bring more completions in each turn than are due to an operation, and one.
        for (pingers, rounds) in [(COMPLETIONS_MAX + 8, 40), (1, 100)] {
            let begun = world.operations();
            let pings: Vec<_> = (0..pingers)
                .map(|_| glommio::spawn_local(ping(world.clone(), rounds)))
                .collect();
            for ping in pings {
                let waited = ping.await;
                assert!(waited <= 1, "{waited} operations, with {pingers} pingers");
            }
            assert!(world.operations() > begun + 1, "with {pingers} pingers");
        }
        assert!(world.decryptor.waiting() > 0, "there was a queue all the time");
        for login in logins {
            assert_eq!(login.outcome().await, Some(SharedSecret::new(SECRET)));
        }
        assert_eq!(world.operations(), 100);
    });
}

#[test]
fn whoever_hangs_up_before_its_turn_costs_no_operation_and_no_place() {
    with_decryptor(async |world| {
        let mut logins: Vec<Login> = (0..10).map(|_| world.log_in(&TOKEN)).collect();
        assert_eq!(world.decryptor.waiting(), 10);
        let last = logins.pop().unwrap();
        drop(logins);
        assert_eq!(world.decryptor.waiting(), 1);
        assert_eq!(last.outcome().await, Some(SharedSecret::new(SECRET)));
        assert_eq!(world.operations(), 2);
    });
}

#[test]
fn whoever_hangs_up_between_its_operations_costs_one() {
    with_decryptor(async |world| {
        let early = world.log_in(&TOKEN);
        let late = world.log_in(b"TOKE");
        while world.operations() == 0 {
            yield_now().await;
        }
        drop(early);
        assert_eq!(late.outcome().await, None);
        assert_eq!(world.operations(), 2);
    });
}

#[test]
fn a_wrong_token_costs_one_operation() {
    with_decryptor(async |world| {
        assert_eq!(world.log_in(b"TOKE").outcome().await, None);
        assert_eq!(world.operations(), 1);
    });
}

#[test]
fn logins_are_served_in_their_order_also_after_a_rest() {
    with_decryptor(async |world| {
        for _ in 0..3 {
            let logins: Vec<Login> = (0..3).map(|_| world.log_in(&TOKEN)).collect();
            for (place, login) in logins.into_iter().enumerate() {
                assert_eq!(login.outcome().await, Some(SharedSecret::new(SECRET)));
                assert!(world.decryptor.waiting() <= 2 - place);
            }
        }
    });
}
