//! Steps that the shard takes by itself: filters, and targets from a feed.

use super::*;

#[test]
fn filters_keep_players_and_targets_out() {
    let meta = MetaFilter {
        rules: vec![MetaRule {
            key: "mode".into(),
            test: MetaTest::Equals("open".into()),
        }],
    };
    let named = |name: &str| PlayerFilter {
        names: HashSet::from([name.to_owned()]),
        ..PlayerFilter::default()
    };
    let route = Route {
        actions: vec![
            Action::Block(named("mallory")),
            Action::Allow(PlayerFilter {
                names: ["alice", "mallory"].map(str::to_owned).into(),
                ..PlayerFilter::default()
            }),
            Action::Meta(meta),
        ],
        ..route("*", &[hub("a", "closed"), hub("b", "open")])
    };
    let world = World::start(vec![route]);
    assert_eq!(
        player("Alice").log_in(&world, LOGIN),
        transfer_to("b.example.net")
    );
    for excluded in ["Mallory", "Bob"] {
        assert_turned_away(&player(excluded).log_in(&world, LOGIN), "disconnect_filtered");
    }
    let counts = world.end();
    let expected = [
        ("discovery/fixed", 3),
        ("discovery_action/meta_filter", 1),
        ("discovery_action/player_allow_filter", 1),
        ("discovery_action/player_allow_filter/denied", 1),
        ("discovery_action/player_block_filter", 2),
        ("discovery_action/player_block_filter/denied", 1),
        ("strategy/fixed", 1),
    ];
    assert_eq!(adapters(&counts), expected);
    assert_eq!((counts.targets, counts.failed), ((1, 1, 0), 2));
}

#[test]
fn a_feed_is_an_error_before_its_first_news_and_free_afterwards() {
    let feed = FeedId::next();
    let discovery = Discovery::Feed {
        feed,
        kind: AdapterType::Dns,
    };
    let world = World::start(vec![Route {
        discovery,
        ..route("*", &[])
    }]);
    let publish = |targets: &[Arc<Target>]| {
        let targets = targets.iter().cloned().map(Candidate::from).collect();
        world.shards.publisher().publish(&Update::Targets(feed, targets));
    };
    let mut logins = 0;
    let mut log_in_until = |host: &str| {
        let began = Instant::now();
        loop {
            logins += 1;
            match player("Alice").log_in(&world, LOGIN) {
                End::Transfer(found, _) if found == host => return,
                other => assert!(began.elapsed() < PATIENCE, "{other:?} in place of {host}"),
            }
        }
    };
    assert_turned_away(
        &player("Alice").log_in(&world, LOGIN),
        "disconnect_discovery_unavailable",
    );
    publish(&[hub("a", "open")]);
    log_in_until("a.example.net");
    publish(&[hub("b", "open")]);
    log_in_until("b.example.net");
    publish(&[]);
    let nobody = |end: End| matches!(end, End::Disconnect(words) if words.contains("disconnect_no_target"));
    let began = Instant::now();
    while !nobody(player("Alice").log_in(&world, LOGIN)) {
        assert!(began.elapsed() < PATIENCE);
    }
    let counts = world.end();
    let missing = counts.adapter("discovery/dns/unreachable");
    assert!(missing >= 1, "{counts:?}");
    assert_eq!(counts.adapter("discovery/dns"), 0, "what is at hand is no call");
    assert!(counts.adapter("strategy/fixed") >= 2 && counts.adapter("strategy/fixed/denied") >= 1);
}
