//! What operators write, and what they are told.

use super::*;

mod adapters;
#[expect(dead_code, reason = "a configuration is made from seeds only")]
#[path = "../../shards/proto/tests/session/simulation/choices.rs"]
mod choices;
mod combinations;
mod hostile;

/// Reads a configuration that has only this text, and these variables.
fn read(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("test.toml"), text).unwrap();
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load_from(Some(Path::new("test.toml")), directory.path(), variables)
}

fn config(text: &str) -> Config {
    read(text, &[])
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config
}

/// The problems as lines of `place | key | found | allowed | hint`.
fn wrong(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let problems = read(text, variables).expect_err("the configuration is wrong");
    let line = |problem: &Problem| {
        let Problem {
            place,
            key,
            found,
            allowed,
            hint,
        } = problem;
        format!(
            "{place} | {key} | {found} | {allowed} | {}",
            hint.as_deref().unwrap_or("-")
        )
    };
    problems.all().iter().map(line).collect()
}

fn only(text: &str) -> String {
    let mut all = wrong(text, &[]);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn fixed_targets(route: &Route) -> &[std::sync::Arc<passage_proto::question::Target>] {
    match &route.discovery.source {
        DiscoverySource::Fixed(targets) => targets,
        other => panic!("not fixed: {other:?}"),
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = config("");
    assert_eq!(config.addresses, ["0.0.0.0:25565".parse().unwrap()]);
    assert_eq!(config.timeout.as_secs(), 120);
    assert_eq!(config.max_packet_length, 10_000);
    assert_eq!(config.auth_cookie_expiry.as_secs(), 21_600);
    assert_eq!(config.auth_secret, None);
    assert_eq!(
        config.shards,
        Shards {
            count: None,
            pin: true
        }
    );
    assert!(config.rate_limit.is_none() && config.proxy_protocol.is_none() && config.unknown_host.is_none());
    assert_eq!(config.otel.traces_sample_rate.to_bits(), 1.0_f64.to_bits());
    assert_eq!(config.otel.label_limit, 2_000);
    let [route] = config.routes.as_slice() else {
        panic!("one route")
    };
    assert_eq!(route.hostname, CATCH_ALL);
    assert_eq!(route.mode, passage_shards::route::Mode::Transfer);
    assert!(matches!(route.authentication, Authentication::Mojang(_)));
}

#[test]
fn every_problem_is_reported_at_once_with_place_key_found_and_allowed() {
    let text = r#"adress = "0.0.0.0:25565"
timeout = "long"
max_packet_length = 3000000
auth_secret = "hunter2"

[rate_limiter]
duraton = 60
limit = 0

[status]
type = "htp"

[[routes]]
hostname = "a.example.net"
mode = "teleport"
[routes.discovery]
targets = [
  { identifier = "a", address = "a b" },
  { identifier = "a", address = "b:1" },
]
"#;
    let expected = [
        "test.toml:1 | adress | an unknown key | address, admin, auth_cookie_expiry, auth_secret, \
         auth_secret_previous, authentication, discovery, forwarding, limits, localization, \
         max_packet_length, mode, otel, \
         proxy_protocol, rate_limiter, rewrite_host, routes, send_proxy_protocol, sentry, shards, status, \
         strategy, timeout, tls, unknown_host | did you mean address?",
        "test.toml:2 | timeout | \"long\" | a number of seconds from 1 to 86400 | -",
        "test.toml:3 | max_packet_length | 3000000 | a whole number from 8192 to 2097151 | -",
        "test.toml:4 | auth_secret | 7 bytes (not shown) | at least 16 bytes of text | make one with: \
         openssl rand -base64 32",
        "test.toml:7 | rate_limiter.duraton | an unknown key | duration, enabled, ipv4_prefix, \
         ipv6_prefix, limit, size | did you mean duration?",
        "test.toml:8 | rate_limiter.limit | 0 | a whole number from 1 to 1000000 | -",
        "test.toml:11 | status.type | \"htp\" | \"fixed\", \"http\", \"grpc\", \"target\" | did you mean \
         \"http\"?",
        "test.toml:15 | routes[0].mode | \"teleport\" | \"transfer\", \"relay\", \"auto\" | -",
        "test.toml:18 | routes[0].discovery.targets[0].address | \"a b\" | a host name or IP address, and \
         a port, such as \"10.0.1.10:25565\" | -",
        "test.toml:19 | routes[0].discovery.targets[1].identifier | \"a\" twice | an identifier that no \
         other target has | -",
    ];
    assert_eq!(wrong(text, &[]), expected);
}

#[test]
fn a_report_reads_like_this() {
    let problems = read("[shards]\ncuont = 2\npin = \"yes\"\n", &[])
        .unwrap_err()
        .to_string();
    let expected = "2 problems in the configuration\n\ntest.toml:2: shards.cuont\n    found:   an unknown \
                    key\n    allowed: count, pin\n    hint:    did you mean count?\n\ntest.toml:3: \
                    shards.pin\n    found:   \"yes\"\n    allowed: true or false\n";
    assert_eq!(problems, expected);
}

#[test]
fn broken_syntax_is_reported_with_its_lines() {
    let problems = wrong("timeout = 1\nlimit = ]\nx = \n", &[]);
    assert!(problems[0].starts_with("test.toml:2 | "), "{problems:?}");
    assert!(
        problems
            .iter()
            .any(|problem| problem.starts_with("test.toml:3 | ")),
        "{problems:?}"
    );
}

#[test]
fn variables_stand_above_the_file() {
    let text = "timeout = 7\n[rate_limiter]\nduration = 1\n";
    let variables = [
        ("PASSAGE_TIMEOUT", "9"),
        ("PASSAGE_ADDRESS", "127.0.0.1:1, [::1]:2"),
        ("PASSAGE_RATE_LIMITER_DURATION", "30"),
        ("PASSAGE_RATE_LIMITER_SIZE", "5"),
        (
            "PASSAGE_OTEL_METRICS_ENDPOINT",
            "http://collector:4318/v1/metrics",
        ),
        ("PASSAGE_OTEL_METRICS_TOKEN", "dG9rZW4="),
        ("PASSAGE_OTEL_TRACES_ENDPOINT", "http://collector:4318/v1/traces"),
        ("PASSAGE_SENTRY_ENABLED", "false"),
        ("PASSAGE_STATUS_NAME", "From the environment"),
        (
            "PASSAGE_DISCOVERY_TARGETS",
            "[{identifier = \"a\", address = \"b:1\"}]",
        ),
    ];
    let loaded = read(text, &variables).unwrap_or_else(|problems| panic!("{problems}"));
    let config = loaded.config;
    assert_eq!(config.timeout.as_secs(), 9);
    assert_eq!(config.addresses.len(), 2);
    let limit = config.rate_limit.unwrap();
    assert_eq!((limit.duration.as_secs(), limit.limit), (30, 5));
    assert_eq!(
        config.otel.metrics.unwrap().url,
        "http://collector:4318/v1/metrics"
    );
    assert!(!config.sentry.enabled);
    let Status::Fixed(status) = &config.routes[0].status else {
        panic!("fixed")
    };
    assert_eq!(status.version_name, "From the environment");
    let targets = fixed_targets(&config.routes[0]);
    assert_eq!((targets[0].host.as_str(), targets[0].port), ("b", 1));
    assert_eq!(config.otel.traces.unwrap().url, "http://collector:4318/v1/traces");
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn a_table_that_only_variables_write_is_there() {
    let config = read("", &[("PASSAGE_RATE_LIMITER_LIMIT", "5")]).unwrap().config;
    assert_eq!(config.rate_limit.unwrap().limit, 5);
}

#[test]
fn unknown_and_wrong_variables_are_reported_by_name() {
    let variables = [
        ("PASSAGE_TIMEUOT", "1"),
        ("PASSAGE_SHARDS_COUNT", "many"),
        ("PASSAGE_SERVICE_HOST", "10.0.0.1"),
    ];
    let problems = wrong("", &variables);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert_eq!(
        problems[0],
        "environment variable PASSAGE_SHARDS_COUNT | shards.count | \"many\" | a whole number from 0 to \
         1024 | -"
    );
    assert!(
        problems[1].contains("PASSAGE_TIMEUOT") && problems[1].ends_with("did you mean PASSAGE_TIMEOUT?")
    );
}

#[test]
fn the_prefix_of_variables_can_be_changed() {
    let variables = [
        ("ENV_PREFIX", "DOOR"),
        ("DOOR_TIMEOUT", "9"),
        ("PASSAGE_TIMEOUT", "8"),
    ];
    assert_eq!(read("", &variables).unwrap().config.timeout.as_secs(), 9);
}

#[test]
fn the_secret_comes_from_its_variable_else_its_file_else_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, "  from-the-file-00\n").unwrap();
    let secret = ("AUTH_SECRET_FILE", file.to_str().unwrap());
    let text = "auth_secret = \"from-the-config-0\"";
    let load = |text, variables: &[_]| read(text, variables).unwrap().config.auth_secret.unwrap();

    assert_eq!(load(text, &[]).expose(), "from-the-config-0");
    assert_eq!(load(text, &[secret]).expose(), "from-the-file-00");
    assert_eq!(load("", &[secret]).expose(), "from-the-file-00");
    assert_eq!(
        load(text, &[secret, ("PASSAGE_AUTH_SECRET", "from-the-variable")]).expose(),
        "from-the-variable"
    );
}

#[test]
fn a_bad_secret_file_is_an_error_never_a_weak_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("secret");
    let path = file.to_str().unwrap().to_owned();
    for content in ["", "  \n", "short", "123456789012345 \n"] {
        std::fs::write(&file, content).unwrap();
        let problems = wrong("", &[("AUTH_SECRET_FILE", &path)]);
        assert!(
            problems[0].contains("auth_secret") && problems[0].contains("bytes (not shown)"),
            "{problems:?}"
        );
    }
    std::fs::remove_file(&file).unwrap();
    let problems = wrong("timeout = 0", &[("AUTH_SECRET_FILE", &path)]);
    assert_eq!(problems.len(), 2, "beside all other problems: {problems:?}");
}

#[test]
fn the_previous_secret_is_read_like_the_current_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("previous");
    std::fs::write(&file, "before-the-file-0\n").unwrap();
    let named = ("AUTH_SECRET_PREVIOUS_FILE", file.to_str().unwrap());
    let text = "auth_secret = \"from-the-config-0\"\nauth_secret_previous = \"before-the-config\"";
    let load = |text, variables: &[_]| {
        let config = read(text, variables).unwrap().config;
        (config.auth_secret.unwrap(), config.auth_secret_previous.unwrap())
    };
    let (current, previous) = load(text, &[]);
    assert_eq!(
        (current.expose(), previous.expose()),
        ("from-the-config-0", "before-the-config")
    );
    assert_eq!(load(text, &[named]).1.expose(), "before-the-file-0");
    assert_eq!(
        load(
            text,
            &[named, ("PASSAGE_AUTH_SECRET_PREVIOUS", "before-the-variable")]
        )
        .1
        .expose(),
        "before-the-variable"
    );
}

#[test]
fn a_previous_secret_that_makes_no_sense_is_reported_and_not_shown() {
    let current = "auth_secret = \"hunter2-hunter2-hunter2\"\n";
    let problem = |text: String| {
        let problems = wrong(&text, &[]);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(!problems[0].contains("hunter2"), "{problems:?}");
        problems[0].clone()
    };
    let same = problem(format!(
        "{current}auth_secret_previous = \" hunter2-hunter2-hunter2 \""
    ));
    assert!(
        same.contains("auth_secret_previous") && same.contains("the same text"),
        "{same}"
    );
    let short = problem(format!("{current}auth_secret_previous = \"hunter2\""));
    assert!(
        short.contains("auth_secret_previous | 7 bytes (not shown)"),
        "{short}"
    );
    let empty = problem(format!("{current}auth_secret_previous = \"\""));
    assert!(
        empty.contains("auth_secret_previous | 0 bytes (not shown)"),
        "{empty}"
    );
    let alone = problem("auth_secret_previous = \"hunter2-hunter2-hunter2\"".into());
    assert!(alone.contains("no auth_secret beside it"), "{alone}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gone").to_str().unwrap().to_owned();
    let gone = wrong(current, &[("AUTH_SECRET_PREVIOUS_FILE", &path)]);
    assert!(gone[0].contains("auth_secret_previous") && gone[0].contains("AUTH_SECRET_PREVIOUS_FILE"));
    // A current secret that cannot be read is one problem, not two.
    let variables = [("AUTH_SECRET_FILE", &*path)];
    let broken = wrong("auth_secret_previous = \"hunter2-hunter2-hunter2\"", &variables);
    assert_eq!(broken.len(), 1, "{broken:?}");
}

#[test]
fn secrets_show_in_no_dump_and_in_no_report() {
    let text = "auth_secret = \"hunter2-hunter2-hunter2\"\n[otel]\nmetrics_endpoint = \
                \"http://a/b\"\nmetrics_token = \"hunter2\"\n[sentry]\nenabled = false\naddress = \
                \"https://hunter2@sentry/1\"\n";
    assert!(!format!("{:?}", read(text, &[]).unwrap()).contains("hunter2"));
    let broken = "auth_secret = [\"hunter2\"]\n[otel]\nmetrics_token = 7\nlogs_token = \"\"\n";
    let report = read(broken, &[("PASSAGE_AUTH_SECRET", "hunter2")])
        .unwrap_err()
        .to_string();
    assert!(!report.contains("hunter2"), "{report}");
}

#[test]
fn problems_know_where_they_can_be_reported_even_if_the_file_makes_no_sense() {
    let dsn = "https://hunter2@sentry.example.net/1";
    let reported_to = |text: &str, variables: &[(&str, &str)]| {
        let problems = read(text, variables).unwrap_err();
        let (sentry, _) = problems.sentry().filter(|(sentry, _)| sentry.enabled)?;
        Some(sentry.address.as_ref()?.expose().to_owned())
    };
    let text = format!("timeout = -1\n[sentry]\naddress = \"{dsn}\"\n");
    assert_eq!(reported_to(&text, &[]).as_deref(), Some(dsn));
    let variables = [("PASSAGE_SENTRY_ADDRESS", dsn)];
    assert_eq!(reported_to("timeout = -1", &variables).as_deref(), Some(dsn));
    assert_eq!(reported_to("timeout = ", &variables).as_deref(), Some(dsn));
    assert_eq!(reported_to("timeout = ", &[]), None);
    assert_eq!(reported_to("[sentry]\naddress = \"hunter2\"", &[]), None);
    let report = read("[sentry]\naddress = \"hunter2\"", &[])
        .unwrap_err()
        .to_string();
    assert!(
        report.contains("Client Keys") && !report.contains("hunter2"),
        "{report}"
    );
}

#[test]
fn routes_take_what_they_do_not_say_from_the_top_level() {
    let config = config(
        r#"
        mode = "relay"
        [status]
        name = "Base"
        [discovery]
        targets = [{ identifier = "base", address = "base:1" }]
        [[routes]]
        hostname = "a.example.net"
        [[routes]]
        hostname = "*.example.net"
        mode = "auto"
        rewrite_host = "lobby.internal"
        send_proxy_protocol = "v1"
        status = { name = "Own" }
        authentication = { type = "disabled" }
        [[routes.discovery.targets]]
        identifier = "own"
        address = "own:2"
        priority = 3
        meta = { region = "eu" }
        "#,
    );
    let name = |route: &Route| match &route.status {
        Status::Fixed(status) => status.version_name.clone(),
        Status::Shared(_) => panic!("fixed"),
    };
    let target = |route: &Route| fixed_targets(route)[0].identifier.clone();
    let [base, own] = config.routes.as_slice() else {
        panic!("two routes")
    };
    assert_eq!((name(base).as_str(), target(base).as_str()), ("Base", "base"));
    assert_eq!((name(own).as_str(), target(own).as_str()), ("Own", "own"));
    assert_eq!(base.mode, passage_shards::route::Mode::Relay);
    assert_eq!(own.mode, passage_shards::route::Mode::Auto);
    assert_eq!(own.authentication, Authentication::Disabled);
    assert!(own.relay.send_proxy_protocol.is_some() && base.relay.send_proxy_protocol.is_none());
}

#[test]
fn upstreams_names_are_understood() {
    let config = config(
        r#"
        [rate_limiter]
        enabled = true
        size = 7
        [authentication]
        type = "fixed"
        profile = { id = "069a79f444e94726a5befca90e38aaf5", name = "Steve", properties = [
            { name = "a", value = "b" },
        ] }
        [discovery]
        type = "fixed_discovery"
        targets = [{ identifier = "hub-1", address = "10.0.1.10:25565", meta = { type = "hub" } }]
        [localization]
        type = "fixed"
        default_locale = "en_US"
        [localization.messages.zh-CN]
        locale = "中文"
        disconnect_unauthenticated = "…"
        "#,
    );
    assert_eq!(config.rate_limit.unwrap().limit, 7);
    let Authentication::Fixed(profile) = &config.routes[0].authentication else {
        panic!("fixed")
    };
    assert_eq!((profile.name.as_str(), profile.properties.len()), ("Steve", 1));
    assert!(config.localization.messages.contains_key("zh_cn"));
}

#[test]
fn files_are_searched_in_order_and_without_one_there_are_built_in_values() {
    let directory = tempfile::tempdir().unwrap();
    let load = || load_from(None, directory.path(), []).unwrap();
    if !Path::new(SEARCHED[3]).exists() {
        assert_eq!(load().source, Source::BuiltIn);
    }
    std::fs::write(directory.path().join("config.toml"), "timeout = 9").unwrap();
    assert_eq!(load().config.timeout.as_secs(), 9);
    std::fs::create_dir(directory.path().join("config")).unwrap();
    std::fs::write(directory.path().join("config/passage.toml"), "timeout = 8").unwrap();
    assert_eq!(load().source, Source::File("config/passage.toml".into()));
    assert_eq!(load().config.timeout.as_secs(), 8);

    std::fs::write(directory.path().join("other.toml"), "timeout = 7").unwrap();
    let named = [(OsString::from("CONFIG_FILE"), OsString::from("other.toml"))];
    assert_eq!(
        load_from(None, directory.path(), named)
            .unwrap()
            .config
            .timeout
            .as_secs(),
        7
    );
}

#[test]
fn a_named_file_that_is_not_there_is_a_problem() {
    let directory = tempfile::tempdir().unwrap();
    let problems = load_from(Some(Path::new("gone.toml")), directory.path(), []).unwrap_err();
    assert!(problems.to_string().contains("gone.toml"), "{problems}");
}
