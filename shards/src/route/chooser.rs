//! What a shard remembers from one choice to the next.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use passage_proto::question::Target;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::ledger::Ledger;

/// One shard's memory of its choices: whose turn it is, how busy each target is, and the state of the dice.
/// The same seed and the same questions lead to the same choices.
#[derive(Debug)]
pub struct Chooser {
    dice: SmallRng,
    /// Choices by round robin so far, by the position of the route.
    turns: Vec<usize>,
    connections: Rc<RefCell<Ledger<u32>>>,
}

impl Chooser {
    /// A chooser that has chosen nothing yet. Shards that start with different seeds do not all begin with
    /// the same target.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            dice: SmallRng::seed_from_u64(seed),
            turns: Vec::new(),
            connections: Rc::default(),
        }
    }

    /// Counts one more login or relay of this shard for the target, until the answer is dropped.
    #[must_use]
    pub fn count(&self, target: &Arc<Target>) -> Counted {
        let mut connections = self.connections.borrow_mut();
        match connections.find_mut(target) {
            Some(count) => *count += 1,
            None => connections.insert(target, 1),
        }
        Counted {
            target: Arc::clone(target),
            connections: Rc::clone(&self.connections),
        }
    }

    /// The logins and relays of this shard for the target.
    #[must_use]
    pub fn connections(&self, target: &Target) -> u32 {
        self.connections.borrow().find(target).copied().unwrap_or(0)
    }

    /// The logins and relays of this shard, by target.
    pub(super) fn connections_of_all(&self) -> Rc<RefCell<Ledger<u32>>> {
        Rc::clone(&self.connections)
    }

    /// A number below `bound`, each as likely; 0 if there is none.
    pub(super) fn draw(&mut self, bound: u64) -> u64 {
        if bound < 2 {
            0
        } else {
            self.dice.random_range(0..bound)
        }
    }

    /// How many choices by round robin the route has had so far. Begins at random, so that shards that start
    /// together do not send their first players to the same target.
    pub(super) fn turn(&mut self, route: usize) -> usize {
        while self.turns.len() <= route {
            let first = self.dice.random::<u32>();
            self.turns.push(first as usize);
        }
        let turn = self.turns[route];
        self.turns[route] = turn.wrapping_add(1);
        turn
    }
}

/// One login or relay of a shard, counted for its target as long as this exists.
#[derive(Debug)]
pub struct Counted {
    target: Arc<Target>,
    connections: Rc<RefCell<Ledger<u32>>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut connections = self.connections.borrow_mut();
        let Some(count) = connections.find_mut(&self.target) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            connections.remove(&self.target);
        }
    }
}
