//! How a conversation is written as one input: the world's number, then events, each with its kind and its
//! length.

use std::sync::LazyLock;
use std::time::Duration;

use passage_proto::question::{AskError, RewriteHost};

use crate::client::Event;
use crate::world::{World, refusal};

static WORLDS: LazyLock<Vec<World>> = LazyLock::new(worlds);

const BYTES: u8 = 0;
const WAIT: u8 = 1;

/// The worlds that a conversation can take place in. Their order is part of the corpus.
pub(crate) fn worlds() -> Vec<World> {
    let refused = Some(Err(refusal("disconnect_no_target", AskError::Denied)));
    vec![
        World::status(),
        World::status().behind_a_proxy(),
        World::transfer(),
        World::open_transfer(),
        World::relay(RewriteHost::Keep),
        World::relay(RewriteHost::Target),
        World::nowhere(),
        World {
            target: refused,
            ..World::open_transfer()
        },
        World {
            target: None,
            ..World::open_transfer()
        },
    ]
}

pub(crate) fn encode(world: u8, events: &[Event]) -> Vec<u8> {
    let mut input = vec![world];
    for event in events {
        match event {
            Event::Bytes(bytes) => {
                let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                input.push(BYTES);
                input.extend(length.to_le_bytes());
                input.extend_from_slice(&bytes[..usize::from(length)]);
            }
            Event::Wait(time) => {
                let tenths = u16::try_from(time.as_millis() / 100).unwrap_or(u16::MAX);
                input.push(WAIT);
                input.extend(tenths.to_le_bytes());
            }
            Event::HangUp => {}
        }
    }
    input
}

/// Any input is a conversation: kinds wrap around, lengths end where the input does.
pub(crate) fn decode(input: &[u8]) -> Option<(World, Vec<Event>)> {
    let (world, mut rest) = input.split_first()?;
    let world = WORLDS[usize::from(*world) % WORLDS.len()].clone();
    let mut events = Vec::new();
    while let Some(([kind, low, high], after)) = rest.split_first_chunk() {
        let value = u16::from_le_bytes([*low, *high]);
        rest = after;
        if kind % 2 == WAIT {
            events.push(Event::Wait(Duration::from_millis(100 * u64::from(value))));
        } else {
            let (bytes, after) = rest.split_at(usize::from(value).min(rest.len()));
            events.push(Event::Bytes(bytes.to_vec()));
            rest = after;
        }
    }
    Some((world, events))
}
