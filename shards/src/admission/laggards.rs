//! Connections that a full shard can give up: those from which it waits for something.
//!
//! A bound that merely turns newcomers away serves whoever came first, and those are attackers: a few hundred
//! silent connections a second would hold every seat. So at a bound the shard gives up the connection that
//! has gone the longest without any progress, and the newcomer takes its seat. A client that means well makes
//! progress with every round trip; to push it out before its next one, an attacker has to fill the whole
//! bound within a round trip.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Connections in the order of their last progress. As large as there are connections within its bound.
#[derive(Debug, Default)]
pub(crate) struct Laggards {
    /// Numbers in the shard's roster.
    places: RefCell<BTreeMap<u64, usize>>,
    next: Cell<u64>,
    /// Given up, but not gone yet.
    leaving: Cell<usize>,
}

impl Laggards {
    /// The connection of this number in the roster has just made progress, and something is awaited from it.
    pub(crate) fn await_one(self: &Rc<Self>, number: usize) -> Laggard {
        let place = self.next.get();
        self.next.set(place + 1);
        self.places.borrow_mut().insert(place, number);
        Laggard {
            laggards: Rc::clone(self),
            place,
        }
    }

    /// Gives up whoever has been awaited the longest; the number in the roster is to be notified.
    pub(crate) fn give_up(&self) -> Option<usize> {
        let (_, number) = self.places.borrow_mut().pop_first()?;
        self.leaving.set(self.leaving.get() + 1);
        Some(number)
    }

    /// How many are given up and not gone yet.
    pub(super) fn leaving(&self) -> usize {
        self.leaving.get()
    }
}

/// A connection's place among those that are awaited; dropping it says that it is awaited no more.
#[derive(Debug)]
pub(crate) struct Laggard {
    laggards: Rc<Laggards>,
    place: u64,
}

impl Laggard {
    /// Whether the connection has to go, because another one needs its seat.
    pub(crate) fn is_given_up(&self) -> bool {
        !self.laggards.places.borrow().contains_key(&self.place)
    }

    /// Whether it is a place among these.
    pub(crate) fn is_of(&self, laggards: &Rc<Laggards>) -> bool {
        Rc::ptr_eq(&self.laggards, laggards)
    }
}

impl Drop for Laggard {
    fn drop(&mut self) {
        if self.laggards.places.borrow_mut().remove(&self.place).is_none() {
            self.laggards.leaving.set(self.laggards.leaving.get() - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_up_whose_progress_is_the_longest_ago() {
        let laggards = Rc::new(Laggards::default());
        let (silent, spoken) = (laggards.await_one(1), laggards.await_one(2));
        // Number 1 makes progress.
        let silent = {
            drop(silent);
            laggards.await_one(1)
        };
        assert_eq!(laggards.give_up(), Some(2));
        assert!(spoken.is_given_up() && !silent.is_given_up());
        assert_eq!(laggards.leaving(), 1);
        drop(spoken);
        assert_eq!(laggards.leaving(), 0);
    }

    #[test]
    fn keeps_nothing_of_who_has_gone() {
        let laggards = Rc::new(Laggards::default());
        for number in 0..100 {
            drop(laggards.await_one(number));
        }
        assert!(laggards.places.borrow().is_empty());
        assert_eq!((laggards.give_up(), laggards.leaving()), (None, 0));
    }
}
