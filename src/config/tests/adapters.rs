//! The keys of every adapter, as operators write them.

use std::time::Duration;

use passage_shards::ejection::Terms;
use passage_shards::route::{MetaTest, Strategy as BuiltIn};

use super::agones::{Backoff, GameServerState, Order, Priority, PriorityType, Scheduling, Template};
use super::*;

fn first(text: &str) -> Route {
    config(text).routes.remove(0)
}

#[test]
fn a_service_has_its_keys_and_the_bounds_that_all_services_share() {
    let text = r#"
        [authentication]
        type = "grpc"
        address = "https://auth.example.net:50051/"
        token = "hunter2"
        timeout = 0.5
        concurrency = 7
        retries = 0
        breaker_failures = 0
        breaker_pause = 60
    "#;
    let route = first(text);
    let Authentication::Grpc { service, .. } = &route.authentication else {
        panic!("{route:?}")
    };
    assert_eq!(service.address, "https://auth.example.net:50051");
    assert_eq!(service.token.as_ref().unwrap().expose(), "hunter2");
    let expected = Remote {
        timeout: Duration::from_millis(500),
        concurrency: 7,
        retries: 0,
        breaker_failures: 0,
        breaker_pause: Duration::from_secs(60),
    };
    assert_eq!(service.remote, expected);
    assert!(!format!("{route:?}").contains("hunter2"));
}

#[test]
fn a_service_over_grpc_may_have_another_name_and_want_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = crate::tls::authority::Authority::new().issue("passage");
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let (certificate, key) = (write("certificate.pem", &certificate), write("key.pem", &key));
    let route = first(&format!(
        "[strategy]\ntype = \"grpc\"\naddress = \"https://10.0.0.1:50051\"\n\
         server_name = \"strategy.internal\"\ncertificate_file = {certificate:?}\nkey_file = {key:?}"
    ));
    let Strategy::Grpc(service) = &route.strategy else {
        panic!("{route:?}")
    };
    assert_eq!(service.server_name.as_deref(), Some("strategy.internal"));
    assert!(service.identity.is_some());

    let problem = |address: &str, keys: &str| {
        let text = format!("[strategy]\ntype = \"grpc\"\naddress = \"{address}\"\n{keys}");
        read(&text, &[]).unwrap_err().to_string()
    };
    for (address, keys, expected) in [
        (
            "http://a:1",
            "server_name = \"b\"".to_owned(),
            "strategy.server_name",
        ),
        (
            "https://a:1",
            "server_name = \"b c\"".to_owned(),
            "strategy.server_name",
        ),
        (
            "https://a:1",
            format!("certificate_file = {certificate:?}"),
            "key_file beside it",
        ),
        (
            "https://a:1",
            format!("key_file = {key:?}"),
            "certificate_file beside it",
        ),
        (
            "https://a:1",
            format!("certificate_file = {key:?}\nkey_file = {key:?}"),
            "has no certificate",
        ),
        (
            "http://a:1",
            format!("certificate_file = {certificate:?}\nkey_file = {key:?}"),
            "strategy.certificate_file",
        ),
    ] {
        let problem = problem(address, &keys);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn a_token_that_others_could_read_on_its_way_is_warned_of() {
    let warnings = |address: &str| {
        let text = format!("[discovery]\ntype = \"http\"\naddress = \"{address}\"\ntoken = \"hunter2\"");
        read(&text, &[]).unwrap().warnings
    };
    let [warning] = &warnings("http://api.example.net/targets")[..] else {
        panic!("one warning")
    };
    assert!(
        warning.contains("discovery.token") && !warning.contains("hunter2"),
        "{warning}"
    );
    for safe in [
        "https://api.example.net/",
        "http://127.0.0.1:80/",
        "http://[::1]:80/",
        "http://localhost/",
    ] {
        assert!(warnings(safe).is_empty(), "{safe}");
    }
}

#[test]
fn statuses_come_from_the_configuration_or_from_somebody_who_is_asked() {
    let shared = |text: &str| match first(text).status {
        Status::Shared(shared) => *shared,
        Status::Fixed(fixed) => panic!("{fixed:?}"),
    };
    let http = shared("[status]\ntype = \"http\"\naddress = \"http://127.0.0.1:8080/status?a=b\"");
    assert!(matches!(&http.source, StatusSource::Http(service) if service.address.ends_with("/status?a=b")));
    assert_eq!((http.cache_duration.as_secs(), http.offline), (60, None));
    let grpc = shared("[status]\ntype = \"grpc\"\naddress = \"http://127.0.0.1:50051\"\ncache_duration = 2");
    assert!(matches!(grpc.source, StatusSource::Grpc(_)));
    assert_eq!(grpc.cache_duration.as_secs(), 2);
    let target = shared("[status]\ntype = \"target\"\ntimeout = 1\n[status.offline]\nname = \"Offline\"");
    assert!(matches!(target.source, StatusSource::Target(remote) if remote.timeout.as_secs() == 1));
    assert_eq!(target.offline.unwrap().version_name, "Offline");
}

#[test]
fn targets_come_from_dns() {
    let dns = |keys: &str| match first(&format!("[discovery]\ntype = \"dns\"\n{keys}"))
        .discovery
        .source
    {
        DiscoverySource::Dns(dns) => dns,
        other => panic!("{other:?}"),
    };
    let srv = dns("domain = \"_minecraft._tcp.example.net.\"");
    assert_eq!(
        (srv.domain.as_str(), srv.records),
        ("_minecraft._tcp.example.net", DnsRecords::Srv)
    );
    assert_eq!((srv.refresh_interval.as_secs(), srv.resolvers.len()), (30, 0));
    let addresses = dns(
        "domain = \"mc.example.net\"\nrecord_type = \"a\"\nport = 7\nrefresh_interval = 5\nresolver = \
         [\"127.0.0.1:5353\", \"::1\"]",
    );
    let only_ipv4 = DnsRecords::Addresses {
        ipv4: true,
        ipv6: false,
        port: 7,
    };
    assert_eq!(addresses.records, only_ipv4);
    let resolvers: Vec<_> = addresses.resolvers.iter().map(ToString::to_string).collect();
    assert_eq!(resolvers, ["127.0.0.1:5353", "[::1]:53"]);
}

#[test]
fn targets_come_from_agones_as_upstream_writes_it() {
    let route = first(
        r#"
        [discovery]
        type = "agones_discovery"
        namespace = "minecraft"
        scheduling = "Packed"
        priorities = [{ type = "Counter", key = "players", order = "Ascending" }]
        [[discovery.selectors]]
        gameServerState = "Ready"
        [discovery.selectors.matchLabels]
        game = "lobby"
        version = "{{ .Client.ProtocolVersion }}"
        [discovery.metadata.labels]
        client = "{{ .Client.Address }}"
        [discovery.backoff]
        initial_secs = 1
        max_secs = 4
        max_attempts = 3
        factor = 1.5
        jitter = 0
        "#,
    );
    let DiscoverySource::Agones(agones) = &route.discovery.source else {
        panic!("{route:?}")
    };
    assert_eq!(agones.namespace.as_deref(), Some("minecraft"));
    assert_eq!(agones.scheduling, Scheduling::Packed);
    let [selector] = agones.selectors.as_slice() else {
        panic!("{agones:?}")
    };
    assert_eq!(selector.state, Some(GameServerState::Ready));
    assert_eq!(selector.match_labels["game"].literal(), Some("lobby"));
    let version = Template::parse("{{ .Client.ProtocolVersion }}").unwrap();
    assert_eq!(selector.match_labels["version"], version);
    let priority = Priority {
        kind: PriorityType::Counter,
        key: "players".into(),
        order: Order::Ascending,
    };
    assert_eq!(agones.priorities, [priority]);
    let address = Template::parse("{{ .Client.Address }}").unwrap();
    assert_eq!(agones.metadata.labels["client"], address);
    let backoff = Backoff {
        initial: Duration::from_secs(1),
        max: Duration::from_secs(4),
        max_attempts: 3,
        factor: 1.5,
        jitter: Duration::ZERO,
    };
    assert_eq!(agones.backoff, backoff);
}

#[test]
fn actions_filter_by_meta_and_by_player_and_ask_services() {
    let route = first(
        r#"
        [[discovery.actions]]
        type = "meta_filter"
        name = "online"
        rules = [
            { key = "a", op = "equals", value = "1" },
            { key = "b", op = "not_equals", value = "2" },
            { key = "c", op = "exists" },
            { key = "d", op = "not_exists" },
            { key = "e", op = "in", value = ["3", "4"] },
            { key = "f", op = "not_in", value = ["5"] },
        ]
        [[discovery.actions]]
        type = "player_allow_filter"
        usernames = ["Steve"]
        username = "^(Admin|Mod)_.*"
        ids = ["069a79f4-44e9-4726-a5be-fca90e38aaf5"]
        [[discovery.actions]]
        type = "player_block_filter"
        username = ["^Bot_.*", "^Spam.*$"]
        [[discovery.actions]]
        type = "grpc"
        address = "http://127.0.0.1:50051"
        "#,
    );
    let [meta, allow, block, grpc] = &route.discovery.actions[..] else {
        panic!("four actions")
    };
    assert_eq!(meta.name.as_deref(), Some("online"));
    let ActionKind::Meta(filter) = &meta.kind else {
        panic!("{meta:?}")
    };
    let tests: Vec<_> = filter.rules.iter().map(|rule| rule.test.clone()).collect();
    let several = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let expected = [
        MetaTest::Equals("1".into()),
        MetaTest::NotEquals("2".into()),
        MetaTest::Exists,
        MetaTest::NotExists,
        MetaTest::In(several(&["3", "4"])),
        MetaTest::NotIn(several(&["5"])),
    ];
    assert_eq!(tests, expected);
    let matches = |action: &Action, name: &str, id: &str| {
        let (ActionKind::Allow(filter) | ActionKind::Block(filter)) = &action.kind else {
            panic!("{action:?}")
        };
        filter.matches(&passage_proto::question::Player {
            name: name.into(),
            id: id.parse().unwrap(),
        })
    };
    let nobody = "00000000-0000-0000-0000-000000000000";
    assert!(matches(allow, "sTEVE", nobody) && matches(allow, "Admin_1", nobody));
    assert!(matches(allow, "Alex", "069a79f4-44e9-4726-a5be-fca90e38aaf5"));
    assert!(!matches(allow, "Alex", nobody) && !matches(allow, "NotAdmin_1", nobody));
    assert!(
        matches(block, "Bot_7", nobody)
            && matches(block, "Spammer", nobody)
            && !matches(block, "Steve", nobody)
    );
    assert!(matches!(grpc.kind, ActionKind::Grpc(_)));
}

#[test]
fn every_strategy_has_its_name() {
    let strategy = |keys: &str| match first(&format!("[strategy]\ntype = {keys}")).strategy {
        Strategy::BuiltIn(strategy) => strategy,
        Strategy::Grpc(service) => panic!("{service:?}"),
    };
    let player_fill = BuiltIn::PlayerFill {
        field: "players".into(),
        max_players: 50,
    };
    let field = || "weight".to_owned();
    assert_eq!(strategy("\"fixed\""), BuiltIn::Fixed);
    assert_eq!(
        strategy("\"player_fill\"\nfield = \"players\"\nmax_players = 50"),
        player_fill
    );
    assert_eq!(strategy("\"random\""), BuiltIn::Random);
    assert_eq!(strategy("\"round_robin\""), BuiltIn::RoundRobin);
    assert_eq!(strategy("\"least_connections\""), BuiltIn::LeastConnections);
    assert_eq!(
        strategy("\"lowest_latency\"\n[discovery.health]"),
        BuiltIn::LowestLatency
    );
    assert_eq!(strategy("\"weighted\""), BuiltIn::Weighted { field: field() });
    assert_eq!(strategy("\"hash\""), BuiltIn::Hash { field: None });
    assert_eq!(
        strategy("\"hash\"\nfield = \"weight\""),
        BuiltIn::Hash { field: Some(field()) }
    );
    let grpc = first("[strategy]\ntype = \"grpc\"\naddress = \"http://127.0.0.1:50051\"").strategy;
    assert!(matches!(grpc, Strategy::Grpc(_)));
}

#[test]
fn a_strategy_among_the_actions_is_the_strategy_of_the_routes_with_that_discovery() {
    let config = config(
        r#"
        [discovery]
        actions = [{ type = "player_fill_strategy", name = "fill", field = "players", max_players = 50 }]
        [[routes]]
        hostname = "inherits"
        [[routes]]
        hostname = "own-strategy"
        strategy = { type = "random" }
        [[routes]]
        hostname = "own-discovery"
        discovery = { targets = [{ identifier = "a", address = "a" }] }
        "#,
    );
    let strategies: Vec<_> = config
        .routes
        .iter()
        .map(|route| match &route.strategy {
            Strategy::BuiltIn(BuiltIn::PlayerFill { .. }) => "fill",
            Strategy::BuiltIn(BuiltIn::Random) => "random",
            Strategy::BuiltIn(BuiltIn::Fixed) => "fixed",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(strategies, ["fill", "random", "fixed"]);
    assert!(
        config
            .routes
            .iter()
            .all(|route| route.discovery.actions.is_empty())
    );
}

#[test]
fn health_checks_are_enabled_by_their_table_and_ejection_until_it_is_switched_off() {
    let plain = first("").discovery;
    assert_eq!((plain.health, plain.ejection), (None, Terms::default()));
    let text = "[discovery.health]\ntype = \"tcp\"\ninterval = 1\n[discovery.ejection]\nenabled = false";
    let watched = first(text).discovery;
    assert!(matches!(&watched.health, Some(it) if it.check == Check::Tcp && it.interval.as_secs() == 1));
    assert_eq!(watched.ejection.share_max, 0);
    let ejection = first("[discovery.ejection]\nfailures = 1\npause = 2\nshare_max = 100")
        .discovery
        .ejection;
    assert_eq!((ejection.consecutive_failures, ejection.share_max), (1, 100));
}

#[test]
fn words_can_be_asked_for_and_the_configured_ones_stand_in() {
    let text = r#"
        [localization]
        type = "grpc"
        address = "http://127.0.0.1:50051"
        default_locale = "de"
        [localization.messages.de]
        disconnect_no_target = "Voll"
    "#;
    let localization = config(text).localization;
    assert_eq!(localization.service.unwrap().address, "http://127.0.0.1:50051");
    assert_eq!(localization.messages["de"]["disconnect_no_target"], "Voll");
}

#[test]
fn variables_reach_the_keys_of_every_adapter() {
    let variables = [
        ("PASSAGE_STATUS_TYPE", "http"),
        ("PASSAGE_STATUS_ADDRESS", "http://127.0.0.1:1/"),
        ("PASSAGE_STATUS_CACHE_DURATION", "7"),
        ("PASSAGE_STATUS_OFFLINE_NAME", "Offline"),
        ("PASSAGE_AUTHENTICATION_TYPE", "grpc"),
        ("PASSAGE_AUTHENTICATION_ADDRESS", "http://127.0.0.1:2"),
        ("PASSAGE_AUTHENTICATION_TOKEN", "hunter2"),
        ("PASSAGE_DISCOVERY_TYPE", "dns"),
        ("PASSAGE_DISCOVERY_DOMAIN", "mc.example.net"),
        ("PASSAGE_DISCOVERY_RESOLVER", "10.0.0.2, 10.0.0.3:54"),
        ("PASSAGE_DISCOVERY_HEALTH_INTERVAL", "9"),
        (
            "PASSAGE_DISCOVERY_ACTIONS",
            "[{ type = \"player_block_filter\", usernames = [\"Herobrine\"] }]",
        ),
        ("PASSAGE_STRATEGY_TYPE", "lowest_latency"),
        ("PASSAGE_LOCALIZATION_TYPE", "grpc"),
        ("PASSAGE_LOCALIZATION_ADDRESS", "http://127.0.0.1:3"),
        ("PASSAGE_LOCALIZATION_BREAKER_PAUSE", "9"),
    ];
    let loaded = read("", &variables).unwrap_or_else(|problems| panic!("{problems}"));
    let route = &loaded.config.routes[0];
    let Status::Shared(status) = &route.status else {
        panic!("{route:?}")
    };
    assert_eq!(
        (status.cache_duration.as_secs(), status.offline.is_some()),
        (7, true)
    );
    let DiscoverySource::Dns(dns) = &route.discovery.source else {
        panic!("{route:?}")
    };
    assert_eq!(dns.resolvers[1].port(), 54);
    assert!(matches!(&route.discovery.health, Some(health) if health.interval.as_secs() == 9));
    assert_eq!(route.discovery.actions.len(), 1);
    assert_eq!(
        route
            .localization
            .service
            .as_ref()
            .unwrap()
            .remote
            .breaker_pause
            .as_secs(),
        9
    );
}

#[test]
fn what_works_but_perhaps_not_as_meant_is_warned_of() {
    let warning = |text: &str| {
        let warnings = read(text, &[])
            .unwrap_or_else(|problems| panic!("{problems}"))
            .warnings;
        warnings.join("\n")
    };
    let targets =
        "[discovery]\ntargets = [{ identifier = \"a\", address = \"a\", meta = { players = \"3\" } }]\n";
    let fill = |field: &str| {
        format!("{targets}[strategy]\ntype = \"player_fill\"\nfield = \"{field}\"\nmax_players = 9")
    };
    assert_eq!(warning(&fill("players")), "");
    assert!(warning(&fill("playres")).contains("meta.playres"));
    let nobody = format!("{targets}actions = [{{ type = \"player_allow_filter\" }}]");
    assert!(warning(&nobody).contains("names nobody"));
}
