//! Sends that complete only if they fail.

use std::collections::VecDeque;

use super::kernel::Kernel;
use super::line::Sending;
use crate::engine::ring::Completion;

/// What the engine has still to find out about quiet sends.
#[derive(Default)]
pub(super) struct Quiet {
    /// Those that have sent everything: names and lines.
    sent: Vec<(u64, usize)>,
    /// Completions of those that have not.
    pub(super) failed: VecDeque<(Completion, Option<usize>)>,
    /// Whether the engine was told that no more of these are to come.
    pub(super) settled: bool,
}

impl Quiet {
    /// A quiet send is over.
    pub(super) fn conclude(&mut self, line: usize, send: &Sending, result: i32) {
        if usize::try_from(result) == Ok(send.len) {
            return self.sent.push((send.user_data, line));
        }
        let completion = Completion {
            user_data: send.user_data,
            result,
            flags: 0,
        };
        self.failed.push_back((completion, Some(line)));
    }

    /// The engine has come to the conclusion that a send is over. Its line, if it was a quiet one that has
    /// sent everything.
    pub(super) fn shows(&mut self, user_data: u64) -> Option<usize> {
        let at = self.sent.iter().position(|(name, _)| *name == user_data)?;
        Some(self.sent.swap_remove(at).1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty() && self.failed.is_empty()
    }
}

impl Kernel {
    /// Whether the engine may take it that quiet sends which do not complete now have sent everything. If
    /// not, those that have failed may complete later.
    pub(in crate::engine) fn is_settled(&mut self) -> bool {
        self.quiet.settled = !(self.faulty && self.choices.once_in(8));
        self.quiet.settled
    }

    /// A quiet send is over when it has been submitted.
    pub(super) fn send_quietly(&mut self, number: usize, flags: u32) {
        let whole = libc::MSG_DONTWAIT | libc::MSG_WAITALL;
        let flags = flags.cast_signed() & whole;
        assert_eq!(flags, whole, "nobody would hear of the rest of a quiet send");
        self.send(number);
        assert!(self.lines[number].send.is_none(), "a quiet send does not wait");
    }
}
