//! What a completion says about its operation: the kind, the slot, and the slot's generation.

/// The kinds of operations. The discriminant is the low byte of the completion's user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Op {
    Receive,
    /// A receive into a large buffer.
    ReceiveBulk,
    /// Waits for a socket to be readable.
    Readable,
    /// Waits for a socket to be writable.
    Writable,
    Send,
    Connect,
    Accept,
    /// The read of the pipe that other threads write to.
    Wake,
    /// Cancels and closes: nobody waits for them.
    Forget,
}

/// Names a slot. Stale once the slot was freed: the next tenant has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) index: u32,
    pub(super) generation: u32,
}

pub(super) use crate::limits::SLOTS_MAX;

// An index has the three bytes of a tag between the kind and the generation.
const _: () = assert!(SLOTS_MAX <= 1 << 24);

pub(super) fn encode(op: Op, key: Key) -> u64 {
    debug_assert!(key.index < SLOTS_MAX);
    u64::from(key.generation) << 32 | u64::from(key.index) << 8 | op as u64
}

/// The inverse of [`encode`].
pub(super) fn decode(user_data: u64) -> (Op, Key) {
    let op = match user_data & 0xFF {
        0 => Op::Receive,
        1 => Op::ReceiveBulk,
        2 => Op::Readable,
        3 => Op::Writable,
        4 => Op::Send,
        5 => Op::Connect,
        6 => Op::Accept,
        7 => Op::Wake,
        _ => Op::Forget,
    };
    #[expect(clippy::cast_possible_truncation, reason = "cuts the fields out of the word")]
    let key = Key {
        index: (user_data as u32) >> 8,
        generation: (user_data >> 32) as u32,
    };
    (op, key)
}

#[cfg(test)]
mod tests {
    use super::{Key, Op, SLOTS_MAX, decode, encode};

    #[test]
    fn tags_survive_the_round_trip() {
        for op in [
            Op::Receive,
            Op::ReceiveBulk,
            Op::Readable,
            Op::Writable,
            Op::Send,
            Op::Connect,
            Op::Accept,
            Op::Wake,
            Op::Forget,
        ] {
            for (index, generation) in [(0, 0), (1, u32::MAX), (SLOTS_MAX - 1, 0x8000_0001)] {
                let key = Key { index, generation };
                assert_eq!(decode(encode(op, key)), (op, key));
            }
        }
    }
}
