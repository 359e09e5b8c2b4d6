//! However the network cuts a conversation up, it comes to the same.

use crate::client::Event;
use crate::recordings::{self, Recording};
use crate::transcript::Transcript;
use crate::world::Run;

#[test]
fn every_cut_comes_to_the_same() {
    for Recording { name, world, script } in recordings::ALL.iter() {
        let expected = Run::play(world.clone(), script);
        let joined = join(script);
        assert_same(
            name,
            "in one piece",
            &expected,
            &Run::play(world.clone(), &joined),
        );
        assert_same(
            name,
            "byte by byte",
            &expected,
            &Run::play(world.clone(), &crumble(&joined)),
        );
        for (index, event) in joined.iter().enumerate() {
            let Event::Bytes(bytes) = event else { continue };
            for cut in 1..bytes.len() {
                let mut script = joined.clone();
                let (left, right) = bytes.split_at(cut);
                script.splice(
                    index..=index,
                    [left, right].map(|part| Event::Bytes(part.to_vec())),
                );
                let place = format!("cut at byte {cut} of event {index}");
                assert_same(name, &place, &expected, &Run::play(world.clone(), &script));
            }
        }
    }
}

pub(crate) fn join(script: &[Event]) -> Vec<Event> {
    let mut joined: Vec<Event> = Vec::new();
    for event in script {
        match (joined.last_mut(), event) {
            (Some(Event::Bytes(bytes)), Event::Bytes(more)) => bytes.extend_from_slice(more),
            _ => joined.push(event.clone()),
        }
    }
    joined
}

pub(crate) fn crumble(script: &[Event]) -> Vec<Event> {
    let crumbs = |event: &Event| match event {
        Event::Bytes(bytes) => bytes.iter().map(|byte| Event::Bytes(vec![*byte])).collect(),
        event => vec![event.clone()],
    };
    script.iter().flat_map(crumbs).collect()
}

pub(crate) fn assert_same(name: &str, how: &str, expected: &Transcript, actual: &Transcript) {
    assert_eq!(expected.lines, actual.lines, "{name}, {how}");
    assert_eq!(expected.output, actual.output, "{name}, {how}");
    let replay = |transcript: &Transcript| transcript.handoff.as_ref().map(|handoff| handoff.replay.clone());
    assert_eq!(replay(expected), replay(actual), "{name}, {how}");
}
