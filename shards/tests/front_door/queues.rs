//! The bounds of queues are hit here, and each is counted under its own name.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::client::{Client, Fields, LOGIN, MODERN, handshake};
use super::player::{End, SECRET, player};
use super::world::{Counts, HOST, Plan, World, cookie_keys, route, target};
use passage_shards::metrics::{AdapterType, Bound};
use passage_shards::route::{Authentication, Remote, Route};

/// Nothing was shed but this, so often.
#[track_caller]
fn assert_shed(counts: &Counts, bound: Bound, times: u64) {
    let expected = Bound::ALL.map(|one| if one == bound { times } else { 0 });
    assert_eq!(counts.shed_by, expected, "{bound:?}: {counts:?}");
}

/// One shard whose logins encrypt, and whose queue for the private key has so many places.
fn encrypting(places: usize) -> World {
    let targets = [target("hub", "hub.example.net", 25_570)];
    Plan::new(vec![Route {
        cookies: Some(cookie_keys()),
        ..route("*", &targets)
    }])
    .with(|plan| {
        plan.shards = NonZeroUsize::new(1);
        plan.limits.rsa_queue_per_shard = places;
    })
    .start()
}

#[test]
fn logins_that_encrypt_all_at_once_wait_up_to_the_bound_and_no_further() {
    const LOGINS: usize = 200;
    let world = encrypting(1);
    // None of them waits yet, so that all of them are let in.
    let mut asked: Vec<_> = (0..LOGINS)
        .map(|_| player("Alice").asked_to_encrypt(&world))
        .collect();
    for (client, response) in &mut asked {
        client.send(response);
        client.encrypt(SECRET);
    }
    let is_served = |(mut client, _): (Client, Vec<u8>)| match client.next_packet() {
        Ok((id, _)) => {
            assert_eq!(id, 2, "who waited is let in");
            true
        }
        Err(_) => false,
    };
    let served = asked.into_iter().map(is_served).filter(|served| *served).count();
    assert!(served > 0, "who is in the queue is served");
    let counts = world.end();
    let closed = u64::try_from(LOGINS - served).unwrap();
    assert!(
        closed > 0,
        "two hundred answers come faster than they are decrypted"
    );
    assert_shed(&counts, Bound::RsaQueue, closed);
    assert_eq!(counts.failures.get("overloaded at login"), Some(&closed));
}

#[test]
fn a_login_that_would_find_the_queue_full_reads_why_before_it_encrypts() {
    // Without a single place it is always full.
    let world = encrypting(0);
    let mut client = Client::connect(world.address);
    client.send(&handshake(MODERN, HOST, LOGIN));
    assert_eq!(Fields(&client.expect(0)).text(), "\"disconnect_overloaded\"");
    drop(client);
    let counts = world.end();
    assert_shed(&counts, Bound::RsaQueue, 1);
    counts.assert_failed(1, "overloaded at login");
}

#[test]
fn a_question_that_the_control_thread_has_no_room_for_is_counted() {
    let (control, waiting) = crossbeam_channel::bounded(1);
    let authentication = Authentication::Remote {
        adapter: Remote {
            adapter: 3,
            kind: AdapterType::Mojang,
            timeout: Duration::from_secs(2),
        },
        client_must_authenticate: true,
    };
    let world = Plan::new(vec![Route {
        authentication,
        ..route("*", &[])
    }])
    .with(|plan| {
        plan.shards = NonZeroUsize::new(1);
        plan.control = control.into();
    })
    .start();
    // Fills the one place and waits there.
    let (mut first, response) = player("Alice").asked_to_encrypt(&world);
    first.send(&response);
    first.encrypt(SECRET);
    while waiting.is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(
        player("Bob").log_in(&world, LOGIN),
        End::Disconnect("\"disconnect_overloaded\"".into())
    );
    assert_eq!(
        Fields(&first.expect(0)).text(),
        "\"disconnect_authentication_timeout\"",
        "who has a place keeps it"
    );
    drop(first);
    let counts = world.end();
    assert_shed(&counts, Bound::ControlQueue, 1);
    assert_eq!(counts.adapter("authentication/mojang/overloaded"), 1);
}
