//! The private key at work: one login a turn, so that a flood of logins does not delay anybody else.
//!
//! The two RSA operations of a login take about 250 µs, as much as seven pings. They are done in the order in
//! which they were asked for, by one task that steps back after each login. How many may wait is bounded
//! before a client is asked to encrypt ([`Decryptor::waiting`]): afterwards it could not read why it is sent
//! away.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use futures_lite::future;
use passage_proto::identity::SharedSecret;
use passage_proto::question::EncryptedSecret;

use super::Bell;
use crate::engine::{Notifier, RemoteWaker};
use crate::rsa::KeyPair;

/// A shard's copy of the key, and who waits for it.
pub(crate) struct Decryptor {
    key: KeyPair,
    queue: RefCell<VecDeque<Job>>,
    work: Bell,
    waker: RemoteWaker,
}

struct Job {
    encrypted: Box<EncryptedSecret>,
    result: Rc<Cell<Option<Option<SharedSecret>>>>,
    notifier: Notifier,
}

/// A decryption that was asked for; dropping it cancels it.
pub(crate) struct Decrypting(Rc<Cell<Option<Option<SharedSecret>>>>);

impl Decrypting {
    /// The result, once, if it is there: the secret, or `None` if it was not made with our key and token.
    pub(crate) fn take(&self) -> Option<Option<SharedSecret>> {
        self.0.take()
    }
}

impl Decryptor {
    pub(super) fn new(key: KeyPair, waker: RemoteWaker) -> Self {
        Self {
            key,
            queue: RefCell::default(),
            work: Bell::default(),
            waker,
        }
    }

    /// The public key that clients are shown.
    pub(crate) fn public_key(&self) -> &std::sync::Arc<[u8]> {
        self.key.public_key()
    }

    /// How many logins wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Decrypts as soon as it is this login's turn, then notifies.
    pub(crate) fn submit(&self, encrypted: Box<EncryptedSecret>, notifier: Notifier) -> Decrypting {
        let result = Rc::default();
        self.queue.borrow_mut().push_back(Job {
            encrypted,
            result: Rc::clone(&result),
            notifier,
        });
        self.work.ring();
        self.stay_awake();
        Decrypting(result)
    }

    /// Works off the queue, for ever.
    pub(super) async fn run(&self) {
        loop {
            let next = self.queue.borrow_mut().pop_front();
            match next {
                Some(job) if Rc::strong_count(&job.result) == 1 => {}
                Some(job) => {
                    job.result.set(Some(self.key.open(&job.encrypted)));
                    job.notifier.notify();
                    if self.waiting() > 0 {
                        self.stay_awake();
                    }
                    future::yield_now().await;
                }
                None => self.work.rung().await,
            }
        }
    }

    /// Keeps the engine from sleeping in its ring while there is work that it does not know of.
    fn stay_awake(&self) {
        self.waker.wake();
    }
}
