//! What holds for every input, and not just for those that somebody thought of.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use passage_proto::Now;
use passage_proto::cookie::{CookieCheck, CookieKeys};
use passage_proto::identity::SharedSecret;
use passage_proto::question::{Answer, AskError, Question, RewriteHost};
use passage_proto::session::{Effect, Session};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::client::{ENTROPY, Event, SECRET};
use crate::world::{ALICE, BIRTH, End, Run, World, keys, profile, refusal, setup, status, target};
use crate::{cookies, recordings, split};

/// What a hostile network and a buggy caller can do to a session.
#[derive(Clone, Debug)]
enum Blow {
    Bytes(Vec<u8>),
    Wait(Duration),
    Answer(u8),
    HangUp,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_blow_breaks_a_session_and_each_ends_once(world in worlds(), blows in vec(blow(), 0..40)) {
        let birth = Instant::now();
        let mut elapsed = Duration::ZERO;
        let mut session = Session::new(world.setup.clone(), ENTROPY, at(birth, elapsed));
        let mut ends = 0;
        for blow in blows.into_iter().chain([Blow::HangUp]) {
            let now = at(birth, elapsed);
            match blow {
                Blow::Bytes(bytes) if session.wants_input() => session.receive(&bytes, now),
                Blow::Bytes(_) => {}
                Blow::Wait(time) => {
                    elapsed += time;
                    session.tick(at(birth, elapsed));
                }
                Blow::Answer(choice) => session.answer(answer(&world, choice), now),
                Blow::HangUp => session.hang_up(now),
            }
            ends += drain(&mut session);
        }
        prop_assert_eq!(ends, 1);
        prop_assert_eq!(session.deadline(), None);
        prop_assert!(!session.wants_input());
    }

    #[test]
    fn a_damaged_recording_breaks_nothing(
        which in any::<prop::sample::Index>(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let recording = which.get(&recordings::ALL);
        let mut script = recording.script.clone();
        damage(&mut script, &damages);
        script.push(Event::HangUp);
        let transcript = Run::play(recording.world.clone(), &script);
        prop_assert!(transcript.is_over());
        prop_assert_ne!(transcript.end, Some(End::Bug));
    }

    #[test]
    fn a_damaged_recording_comes_to_the_same_however_it_is_cut(
        which in any::<prop::sample::Index>(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let recording = which.get(&recordings::ALL);
        let mut script = split::join(&recording.script);
        damage(&mut script, &damages);
        let expected = Run::play(recording.world.clone(), &script);
        let crumbled = Run::play(recording.world.clone(), &split::crumble(&script));
        split::assert_same(recording.name, "byte by byte", &expected, &crumbled);
        let index = cut.index(script.len());
        if let Event::Bytes(bytes) = script[index].clone() {
            let (left, right) = bytes.split_at(cut.index(bytes.len()));
            script.splice(index..=index, [left, right].map(|part| Event::Bytes(part.to_vec())));
            let halved = Run::play(recording.world.clone(), &script);
            split::assert_same(recording.name, "cut", &expected, &halved);
        }
    }

    #[test]
    fn what_waits_for_an_answer_is_bounded(chunks in vec(1_usize..4096, 1..64)) {
        let world = World::relay(RewriteHost::Keep);
        let bounds = world.setup.bounds;
        let birth = Instant::now();
        let now = at(birth, Duration::ZERO);
        let mut session = Session::new(world.setup.clone(), ENTROPY, now);
        for event in &recordings::named("relay_keep").script {
            if let Event::Bytes(bytes) = event {
                session.receive(bytes, now);
            }
            if let Some(Effect::Ask(Question::Route(_))) = session.poll(&mut Vec::new()) {
                session.answer(Answer::Route(world.plan.clone()), now);
            }
        }
        for size in &chunks {
            if session.wants_input() {
                session.receive(&vec![0; *size], now);
            }
        }
        while session.poll(&mut Vec::new()).is_some() {}
        session.answer(Answer::Target(Ok(target())), now);
        let Some(Effect::Relay(handoff)) = session.poll(&mut Vec::new()) else { panic!("no hand-over") };
        prop_assert!(handoff.replay.len() <= bounds.frame_bytes + 3 + 4096);
    }

    #[test]
    fn whoever_alices_cookie_comes_with_is_alice(name in "[A-Za-z0-9_]{1,16}", id in any::<u128>()) {
        let recording = recordings::named("transfer_with_cookies");
        prop_assume!(name != "Alice" && !"Alice transfers".contains(&name) && name.len() > 3);
        let script = recordings::arrival_of(&name, uuid::Uuid::from_u128(id), &cookies::alices_cookie());
        let transcript = Run::play(recording.world.clone(), &script);
        prop_assert_eq!(transcript.end, Some(End::Transferred));
        let knows = transcript.lines.last().unwrap();
        let alice = format!("Some(\"Alice\") Some(\"{ALICE}\")");
        prop_assert!(knows.contains(&alice), "{}", knows);
        let choice = transcript.lines.iter().find(|line| line.starts_with("asks where")).unwrap();
        prop_assert!(choice.contains(&format!("name: \"Alice\", id: {ALICE}")), "{}", choice);
        let success = transcript.lines.iter().find(|line| line.starts_with("sends Success")).unwrap();
        prop_assert!(success.contains(&format!("id: {ALICE}, name: \"Alice\"")), "{}", success);
    }

    #[test]
    fn a_cookie_that_was_touched_verifies_never(place in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut cookie = cookies::alices_cookie();
        let place = place.index(cookie.len());
        cookie[place] ^= flip;
        prop_assert!(keys().verify(&cookie, &check(BIRTH, setup().peer.ip())).is_err());
    }

    #[test]
    fn a_cookie_of_nobody_verifies_never(cookie in vec(any::<u8>(), 0..600)) {
        prop_assert!(keys().verify(&cookie, &check(BIRTH, setup().peer.ip())).is_err());
    }

    #[test]
    fn a_cookie_of_other_keys_verifies_never(secret in vec(any::<u8>(), 16..64)) {
        prop_assume!(secret != crate::world::SECRET);
        let others = CookieKeys::new(&secret, None).unwrap();
        let cookie = cookies::cookie(BIRTH, setup().peer).sign(&others).unwrap();
        prop_assert!(keys().verify(&cookie, &check(BIRTH, setup().peer.ip())).is_err());
    }

    #[test]
    fn a_cookie_counts_until_it_expires_and_from_its_address_only(
        age in 0_u64..100_000,
        ip in any::<u32>(),
        port in any::<u16>(),
    ) {
        let issued = SocketAddr::from((setup().peer.ip(), port));
        let cookie = cookies::cookie(BIRTH - age, issued).sign(&keys()).unwrap();
        let fresh = keys().verify(&cookie, &check(BIRTH, setup().peer.ip()));
        prop_assert_eq!(fresh.is_ok(), age <= 21_600);
        let elsewhere = IpAddr::V4(Ipv4Addr::from_bits(ip));
        prop_assume!(elsewhere != setup().peer.ip());
        prop_assert!(keys().verify(&cookie, &check(BIRTH, elsewhere)).is_err());
    }
}

fn damage(script: &mut [Event], damages: &[(prop::sample::Index, u8)]) {
    for (place, byte) in damages {
        let index = place.index(script.len());
        if let Some(Event::Bytes(bytes)) = script.get_mut(index) {
            let at = place.index(bytes.len());
            bytes[at] = *byte;
        }
    }
}

fn worlds() -> impl Strategy<Value = World> {
    prop_oneof![
        Just(World::status()),
        Just(World::transfer()),
        Just(World::open_transfer()),
        Just(World::relay(RewriteHost::Target)),
        Just(World::nowhere()),
        Just(World::status().behind_a_proxy()),
    ]
}

fn blow() -> impl Strategy<Value = Blow> {
    let said = recordings::ALL
        .iter()
        .flat_map(|recording| recording.script.clone())
        .filter_map(|event| match event {
            Event::Bytes(bytes) => Some(bytes),
            Event::Wait(_) | Event::HangUp => None,
        });
    prop_oneof![
        3 => vec(any::<u8>(), 0..300).prop_map(Blow::Bytes),
        6 => prop::sample::select(said.collect::<Vec<_>>()).prop_map(Blow::Bytes),
        2 => (0_u64..20_000).prop_map(|millis| Blow::Wait(Duration::from_millis(millis))),
        8 => any::<u8>().prop_map(Blow::Answer),
        1 => Just(Blow::HangUp),
    ]
}

fn answer(world: &World, choice: u8) -> Answer {
    match choice % 12 {
        0 => Answer::Route(None),
        1..=3 => Answer::Route(world.plan.clone()),
        4 => Answer::Status(Some(status())),
        5 => Answer::Status(None),
        6 => Answer::Secret(Some(SharedSecret::new(SECRET))),
        7 => Answer::Secret(None),
        8 => Answer::Profile(Ok(profile("Alice", ALICE))),
        9 => Answer::Profile(Err(refusal("disconnect_not_authenticated", AskError::Denied))),
        10 => Answer::Target(Ok(target())),
        _ => Answer::Text("words".to_owned()),
    }
}

/// Polls until nothing comes; gives the number of terminal effects.
fn drain(session: &mut Session) -> usize {
    let mut output = Vec::new();
    std::iter::from_fn(|| session.poll(&mut output))
        .filter(|effect| matches!(effect, Effect::Close(_) | Effect::Relay(_)))
        .count()
}

fn at(birth: Instant, elapsed: Duration) -> Now {
    Now {
        instant: birth + elapsed,
        unix_seconds: BIRTH + elapsed.as_secs(),
    }
}

fn check(unix_seconds: u64, client: IpAddr) -> CookieCheck {
    CookieCheck {
        client,
        unix_seconds,
        expiry_seconds: 21_600,
    }
}
