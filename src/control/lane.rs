//! Bounded work for one service: so much at a time, so much in line, the rest turned away.

use std::collections::VecDeque;

/// Work in line for one service, and how much of it is under way.
#[derive(Debug)]
pub(super) struct Lane<W> {
    running: usize,
    running_max: usize,
    waiting: VecDeque<W>,
    waiting_max: usize,
}

impl<W> Lane<W> {
    pub(super) fn new(running_max: usize, waiting_max: usize) -> Self {
        Self {
            running: 0,
            running_max,
            waiting: VecDeque::new(),
            waiting_max,
        }
    }

    /// Puts work in line, or gives it back if the line is full even without the work that `is_stale`.
    pub(super) fn push(&mut self, work: W, is_stale: impl Fn(&W) -> bool) -> Result<(), W> {
        if self.waiting.len() >= self.waiting_max {
            self.waiting.retain(|waiting| !is_stale(waiting));
        }
        if self.waiting.len() >= self.waiting_max {
            return Err(work);
        }
        self.waiting.push_back(work);
        Ok(())
    }

    /// The next work, if any waits and there is room to begin it. To be followed by [`Self::begin`] if it is
    /// begun.
    pub(super) fn pop(&mut self) -> Option<W> {
        if self.running < self.running_max {
            self.waiting.pop_front()
        } else {
            None
        }
    }

    /// Counts work that begins.
    pub(super) fn begin(&mut self) {
        self.running += 1;
    }

    /// Counts work that has ended.
    pub(super) fn end(&mut self) {
        self.running = self.running.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_so_many_and_keeps_so_many_in_line() {
        let mut lane = Lane::new(1, 2);
        for work in [1, 2] {
            lane.push(work, |_| false).unwrap();
        }
        assert_eq!(lane.push(3, |_| false), Err(3));
        assert_eq!(lane.pop(), Some(1));
        lane.begin();
        assert_eq!(lane.pop(), None, "one is running");
        lane.end();
        assert_eq!(lane.pop(), Some(2));
        assert_eq!(lane.pop(), None);
    }

    #[test]
    fn makes_room_by_dropping_what_nobody_waits_for() {
        let mut lane = Lane::new(1, 2);
        for work in [1, 2] {
            lane.push(work, |_| false).unwrap();
        }
        lane.push(3, |work| *work == 1).unwrap();
        assert_eq!(lane.pop(), Some(2));
    }
}
