//! The private key at work, so that a flood of logins delays nobody else.
//!
//! A login costs two RSA operations of about 130 µs, each as much as three pings. They are done one at a time
//! by one task, in the order in which logins asked, and the sockets come first: before every operation the
//! ring has turned and found nothing to do, so that whoever has sent something meanwhile is answered and the
//! answer is on its way ([`Decryptor::give_way`]). A packet waits for the one operation that was under way
//! when it came, not for a queue. Where the sockets never rest the logins get their share all the same, an
//! operation for so many completions ([`COMPLETIONS_MAX`]).
//!
//! What a flood can cost is bounded in three ways. Nobody is asked to encrypt while a quarter of the queue
//! waits ([`Decryptor::waiting`]), and reads so: afterwards a client could not. The rest of the queue is for
//! those who were asked before and answer meanwhile; should more of them answer at once, those that the
//! whole queue cannot take are closed. And who hangs up before its turn, or has a wrong token, leaves the
//! operations that are still to come undone.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use passage_proto::identity::SharedSecret;
use passage_proto::question::EncryptedSecret;

use super::Bell;
use crate::engine::{Engine, Notifier};
use crate::rsa::KeyPair;

#[cfg(test)]
mod tests;

/// Completions of the ring after which an operation is due although more may come at once. They cost about as
/// much as the operation does, so that a shard with more to do than it can divides itself between logins and
/// the rest.
const COMPLETIONS_MAX: u64 = 32;

/// A shard's copy of the key, and who waits for it.
pub(crate) struct Decryptor {
    key: KeyPair,
    engine: Engine,
    queue: Rc<RefCell<VecDeque<Job>>>,
    work: Bell,
    turned: Bell,
    /// Turns of the ring that were ended by a wake-up.
    woken: Cell<u64>,
    /// Operations done.
    operations: Cell<u64>,
}

struct Job {
    encrypted: EncryptedSecret,
    result: Weak<Outcome>,
    notifier: Notifier,
}

/// What came of a login's secret, once it is known.
type Outcome = Cell<Option<Option<SharedSecret>>>;

/// A decryption that was asked for; dropping it cancels what is left to do.
pub(crate) struct Decrypting {
    result: Rc<Outcome>,
    queue: Rc<RefCell<VecDeque<Job>>>,
}

impl Decrypting {
    /// The result, once, if it is there: the secret, or `None` if it was not made with our key and token.
    pub(crate) fn take(&self) -> Option<Option<SharedSecret>> {
        self.result.take()
    }
}

impl Drop for Decrypting {
    /// Leaves the queue, so that it is as long as logins wait.
    fn drop(&mut self) {
        if Rc::weak_count(&self.result) == 0 {
            return;
        }
        let own = Rc::as_ptr(&self.result);
        let mut queue = self.queue.borrow_mut();
        if let Some(place) = queue.iter().position(|job| job.result.as_ptr() == own) {
            queue.remove(place);
        }
    }
}

impl Decryptor {
    pub(super) fn new(key: KeyPair, engine: Engine) -> Self {
        Self {
            key,
            engine,
            queue: Rc::default(),
            work: Bell::default(),
            turned: Bell::default(),
            woken: Cell::default(),
            operations: Cell::default(),
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
    pub(crate) fn submit(&self, encrypted: EncryptedSecret, notifier: Notifier) -> Decrypting {
        let result = Rc::default();
        self.queue.borrow_mut().push_back(Job {
            encrypted,
            result: Rc::downgrade(&result),
            notifier,
        });
        self.work.ring();
        Decrypting {
            result,
            queue: Rc::clone(&self.queue),
        }
    }

    /// To be called after every turn of the ring that was ended by a wake-up.
    pub(super) fn woken(&self) {
        self.woken.set(self.woken.get() + 1);
        self.turned.ring();
    }

    /// Works off the queue, for ever.
    pub(super) async fn run(&self) {
        loop {
            while self.waiting() > 0 {
                self.give_way().await;
                self.decrypt_next().await;
            }
            self.work.rung().await;
        }
    }

    /// Serves whoever waits for longest, if anybody still waits.
    async fn decrypt_next(&self) {
        let next = self.queue.borrow_mut().pop_front();
        let Some(Job {
            encrypted,
            result,
            notifier,
        }) = next
        else {
            return;
        };
        let mut secret = None;
        if let Some(checked) = self.operate(|key| key.check(encrypted)) {
            self.give_way().await;
            if result.strong_count() > 0 {
                secret = self.operate(|key| key.open(&checked));
            }
        }
        if let Some(result) = result.upgrade() {
            result.set(Some(secret));
            notifier.notify();
        }
    }

    fn operate<T>(&self, operation: impl FnOnce(&KeyPair) -> T) -> T {
        self.operations.set(self.operations.get() + 1);
        operation(&self.key)
    }

    /// Lets everybody else go first who has something to do, within bounds.
    ///
    /// A turn that brings nothing has put all answers on their way and found nobody else. After one that
    /// brings something, who was woken has run when this task runs again, but only the next turn sends what
    /// they wrote: there are two at least then.
    async fn give_way(&self) {
        let mut completions = self.turn().await;
        let mut fresh = completions;
        let mut is_first = true;
        while fresh > 0 && (is_first || completions < COMPLETIONS_MAX) {
            fresh = self.turn().await;
            completions += fresh;
            is_first = false;
        }
    }

    /// Waits until the ring has turned and those whom that woke have run; how many completions that brought,
    /// wake-ups left out.
    async fn turn(&self) -> u64 {
        let before = (self.engine.stats().completions, self.woken.get());
        // Keeps the engine from sleeping in its ring while there is work that it does not know of.
        self.engine.waker().wake();
        while self.woken.get() == before.1 {
            self.turned.rung().await;
        }
        let completions = self.engine.stats().completions - before.0;
        completions.saturating_sub(self.woken.get() - before.1)
    }
}
