//! What is shipped starts, and what is built is what was configured.

use std::ffi::OsString;
use std::path::PathBuf;

use passage_shards::metrics::{AdapterName, AdapterType};
use passage_shards::route::Authentication;

use super::*;
use crate::telemetry::otlp::receiver::{Mode, Receiver as Server};
use crate::telemetry::spans::Recorder;

fn load(text: &str) -> Loaded {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("test.toml"), text).unwrap();
    let none: [(OsString, OsString); 0] = [];
    config::load_from(Some(Path::new("test.toml")), directory.path(), none)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let files = [folder.clone(), folder.join("examples")].map(|folder| std::fs::read_dir(folder).unwrap());
    let paths = files.into_iter().flatten().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect()
}

#[test]
fn every_shipped_configuration_can_be_built_and_has_a_plan_for_joins() {
    let paths = shipped();
    assert!(paths.len() >= 6, "{paths:?}");
    for path in paths {
        let name = path.display();
        let none: [(OsString, OsString); 0] = [];
        let loaded = config::load_from(Some(&path), Path::new(""), none)
            .unwrap_or_else(|problems| panic!("{name}: {problems}"));
        let plan =
            Plan::new(&loaded.config, Trust::default()).unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let services = &plan.services;
        let asks = !services.targets.is_empty() || !services.discovery.is_empty();
        assert!(
            asks || !plan.fixed_targets().is_empty(),
            "{name} knows no targets and asks nobody"
        );
    }
}

#[test]
fn the_shipped_file_states_the_defaults() {
    let shipped = load(config::BUILT_IN).config;
    let empty = load("[rate_limiter]").config;
    let same = |pick: fn(&Config) -> String| assert_eq!(pick(&shipped), pick(&empty));
    same(|config| format!("{:?} {:?}", config.addresses, config.timeout));
    same(|config| format!("{:?} {:?}", config.max_packet_length, config.auth_cookie_expiry));
    same(|config| format!("{:?} {:?}", config.shards, config.bounds));
    same(|config| format!("{:?} {:?}", config.rate_limit, config.otel));
    same(|config| format!("{:?} {:?}", config.sentry, config.proxy_protocol));
    same(|config| format!("{:?} {:?}", config.localization, config.unknown_host));
}

#[test]
fn routes_share_what_they_can() {
    let plan = Plan::new(
        &load(
            r#"
        auth_secret = "0123456789abcdef"
        [discovery]
        targets = [{ identifier = "lobby", address = "lobby" }]
        [[routes]]
        hostname = "a"
        [[routes]]
        hostname = "b"
        [[routes]]
        hostname = "c"
        authentication = { url = "https://sessions.example.net" }
        [[routes]]
        hostname = "d"
        authentication = { type = "disabled" }
        status = { name = "d" }
        localization = { default_locale = "de" }
        "#,
        )
        .config,
        Trust::default(),
    )
    .unwrap();
    assert_eq!(plan.services.authentication.len(), 2, "two session servers");
    let adapters: Vec<_> = plan
        .routes
        .iter()
        .map(|route| match route.authentication {
            Authentication::Remote { adapter, .. } => Some(adapter.adapter),
            _ => None,
        })
        .collect();
    assert_eq!(adapters, [Some(0), Some(0), Some(1), None]);
    assert_eq!(plan.fixed_targets().len(), 1, "one target in four routes");
    let [a, b, _, d] = &*plan.routes else {
        panic!("four routes")
    };
    assert!(Arc::ptr_eq(&a.localization.words, &b.localization.words));
    assert!(!Arc::ptr_eq(&a.localization.words, &d.localization.words));
    assert!(plan.routes.iter().all(|route| route.cookies.is_some()));
}

#[test]
fn routes_share_a_connection_but_no_status_that_their_service_tells_apart() {
    let text = r#"
        status = { type = "grpc", address = "http://services:50051" }
        discovery = { type = "grpc", address = "http://services:50051" }
        routes = [{ hostname = "a" }, { hostname = "b" }]
        "#;
    let plan = Plan::new(&load(text).config, Trust::default()).unwrap();
    assert_eq!(
        plan.services.statuses.len(),
        2,
        "the service is told the host name"
    );
    assert_eq!(plan.services.discovery.len(), 1);
}

#[test]
fn telemetry_knows_every_adapter_once() {
    let config = load(
        "mode = \"auto\"\n[status]\ntype = \"target\"\n[[routes]]\nhostname = \
                       \"a\"\n[[routes]]\nhostname = \"b\"",
    )
    .config;
    let adapters = Plan::new(&config, Trust::default())
        .unwrap()
        .telemetry(&config, Recorder::default())
        .adapters;
    let expected = [
        (AdapterName::Status, AdapterType::Target),
        (AdapterName::Authentication, AdapterType::Mojang),
        (AdapterName::Discovery, AdapterType::Fixed),
        (AdapterName::Strategy, AdapterType::Fixed),
        (AdapterName::Localization, AdapterType::Fixed),
    ];
    assert_eq!(adapters, expected);
}

#[test]
fn the_first_lines_say_what_players_meet() {
    let line = |text: &str| describe(&load(text).config.routes[0]);
    assert_eq!(
        line(config::BUILT_IN),
        "Route *: pings are answered from the configuration; players (the target authenticates them) are \
         relayed to lobby at 127.0.0.1:25566"
    );
    assert!(line("").ends_with("joins are refused, because there is no target: add one under [discovery]"));
    let targets = "[discovery]\ntargets = [{ identifier = \"b\", address = \"b\", priority = 2 }, \
                   { identifier = \"a\", address = \"a\" }]";
    assert!(
        line(targets).ends_with("are transferred to a at a:25565, the first of 2 targets"),
        "{}",
        line(targets)
    );
}

#[test]
fn the_first_lines_name_the_services_that_are_asked() {
    let line = |text: &str| describe(&load(text).config.routes[0]);
    let web = line(
        "[status]\ntype = \"http\"\naddress = \"http://127.0.0.1:1/status\"\n[discovery]\ntype = \
         \"http\"\naddress = \"http://127.0.0.1:1/targets\"\n[strategy]\ntype = \"random\"",
    );
    assert_eq!(
        web,
        "Route *: pings are answered with what http://127.0.0.1:1/status says, asked every 60 s at most; \
         nothing while that cannot be found out; players whom the session server knows are transferred to \
         one of the targets that http://127.0.0.1:1/targets lists, chosen by random"
    );
    let dns = line(
        "mode = \"relay\"\n[status]\ntype = \"target\"\noffline = {}\n[discovery]\ntype = \"dns\"\ndomain = \
         \"x.test\"\nactions = [{ type = \"player_block_filter\", usernames = [\"x\"] }]\n[discovery.health]",
    );
    let end = "asked every 5 s at most; the offline status while that cannot be found out; players (the \
               target authenticates them) are relayed to the targets that DNS has for x.test, after 1 \
               action; their health is checked every 5 s";
    assert!(dns.ends_with(end), "{dns}");
    let agones = line("[authentication]\ntype = \"disabled\"\n[discovery]\ntype = \"agones\"");
    assert!(
        agones.ends_with("without authentication, are transferred to the game server that Agones allocates"),
        "{agones}"
    );
    let several = "[discovery]\ntargets = [{ identifier = \"a\", address = \"a\" }, { identifier = \"b\", \
                   address = \"b\" }]\n[strategy]\ntype = \"hash\"";
    assert!(line(several).ends_with("to one of 2 targets, chosen by hash"));
    let grpc = "[discovery]\ntype = \"grpc\"\naddress = \"http://a:1\"\n[strategy]\ntype = \
                \"grpc\"\naddress = \"http://b:1\"";
    assert!(line(grpc).ends_with(
        "one of the targets that the service at http://a:1 names, chosen by the service at http://b:1"
    ));
}

#[test]
fn services_are_shared_by_all_routes_that_have_the_same_settings() {
    let config = load(
        r#"
        [discovery]
        type = "dns"
        domain = "x.test"
        [discovery.health]
        [status]
        type = "target"
        [localization]
        type = "grpc"
        address = "http://127.0.0.1:1"
        [[routes]]
        hostname = "a"
        [[routes]]
        hostname = "b"
        [[routes]]
        hostname = "c"
        mode = "relay"
        send_proxy_protocol = "v2"
        [[routes]]
        hostname = "d"
        localization = { type = "grpc", address = "http://127.0.0.1:1", token = "other" }
        "#,
    )
    .config;
    let plan = Plan::new(&config, Trust::default()).unwrap();
    let services = &plan.services;
    // The third route's targets want to read a header first, from checks and status pings, too.
    assert_eq!((services.targets.len(), services.statuses.len()), (2, 2));
    assert_eq!(
        services.authentication.len(),
        1,
        "relayed players are not asked for"
    );
    assert_eq!(services.localization.len(), 2, "with one token and with another");
    let words = plan
        .sites
        .iter()
        .find(|site| site.name == AdapterName::Localization)
        .unwrap();
    assert_eq!(words.routes.len(), 4, "{words:?}");
    let adapters = plan.telemetry(&config, Recorder::default()).adapters;
    let expected = [
        (AdapterName::Status, AdapterType::Target),
        (AdapterName::Authentication, AdapterType::Mojang),
        (AdapterName::Discovery, AdapterType::Dns),
        (AdapterName::Strategy, AdapterType::Fixed),
        (AdapterName::Localization, AdapterType::Fixed),
        (AdapterName::Localization, AdapterType::Grpc),
    ];
    assert_eq!(adapters, expected);
}

#[test]
fn exit_codes_tell_configuration_from_system() {
    let problem = config::load_from(Some(Path::new("gone.toml")), Path::new("/nonexistent"), []).unwrap_err();
    assert_eq!(Failure::Config(problem).exit_code(), 78);
    assert_eq!(Failure::Threads(std::io::Error::other("no")).exit_code(), 71);
    let address = "127.0.0.1:1".parse().unwrap();
    let taken = pool::StartError::Address {
        address,
        source: std::io::ErrorKind::AddrInUse.into(),
    };
    assert_eq!(Failure::Shards(taken).exit_code(), 75);
    assert_eq!(Failure::ControlDied.exit_code(), 70);
}

#[test]
fn a_wrong_configuration_is_reported_before_the_exit() {
    let server = Server::start(Mode::Up);
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "timeout = -1\n[sentry]\naddress = \"http://publickey@{}/1\"\n",
        server.address
    );
    std::fs::write(directory.path().join("wrong.toml"), text).unwrap();
    let none: [(OsString, OsString); 0] = [];
    let problems = config::load_from(Some(Path::new("wrong.toml")), directory.path(), none).unwrap_err();
    reports::misconfigured(&problems);
    let bodies = server.bodies();
    let [body] = &bodies[..] else {
        panic!("one event, not {}", bodies.len())
    };
    let text = String::from_utf8_lossy(body);
    assert!(
        text.contains("configuration_error") && text.contains("wrong.toml:1: timeout"),
        "{text}"
    );
    assert!(Failure::Config(problems).is_configuration());
}

#[test]
fn a_part_that_dies_ends_the_process_with_an_error_that_names_it() {
    let (heard, signals) = unbounded();
    let (control_ends, control) = unbounded();
    let (shard_ends, shards) = unbounded();
    let death = |signals: &Receiver<i32>| match end_of(signals, &control, &shards) {
        Cause::Death(failure) => (failure.exit_code(), failure.to_string()),
        Cause::Signal(signal) => panic!("signal {signal}"),
    };
    control_ends.send(Ended::Panicked).unwrap();
    let (code, text) = death(&signals);
    assert!(
        code == 70 && text.contains("the control thread died"),
        "{code}: {text}"
    );
    let end = Err("panicked: injected".to_owned());
    shard_ends.send(ShardExit { shard: 3, end }).unwrap();
    let (code, text) = death(&signals);
    assert!(
        code == 70 && text.contains("shard 3: panicked: injected"),
        "{code}: {text}"
    );
    let end = Ok(pool::DrainReport::default());
    shard_ends.send(ShardExit { shard: 1, end }).unwrap();
    assert!(death(&signals).1.contains("shard 1 ended without being asked"));
    drop(shard_ends);
    assert!(death(&signals).1.contains("all shards are gone"));

    let (_alive, shards) = unbounded();
    heard.send(SIGTERM).unwrap();
    assert!(matches!(
        end_of(&signals, &control, &shards),
        Cause::Signal(SIGTERM)
    ));
    drop(heard);
    let Cause::Death(failure) = end_of(&signals, &control, &shards) else {
        panic!("nobody has sent a signal")
    };
    let text = failure.to_string();
    assert!(
        failure.exit_code() == 70 && text.contains("the thread that hears signals died"),
        "{text}"
    );
}

#[test]
fn a_step_of_the_end_is_not_cut_short_because_nobody_hears_signals() {
    let (heard, signals) = unbounded::<i32>();
    drop(heard);
    let slower_than_one_signal = || thread::park_timeout(ONE_SIGNAL * 2);
    assert_eq!(
        interruptible("test", &signals, move || {
            slower_than_one_signal();
            7
        }),
        Some(7)
    );
}

#[test]
fn no_panic_can_say_a_secret_of_what_it_shows() {
    const SECRET: &str = "hunter2-hunter2-hunter2";
    let service = format!("type = \"grpc\", address = \"http://a.test:1\", token = \"{SECRET}\"");
    let loaded = load(&format!(
        r#"
        auth_secret = "{SECRET}-new"
        auth_secret_previous = "{SECRET}-old"
        status = {{ {service} }}
        authentication = {{ {service} }}
        discovery = {{ {service}, actions = [{{ {service} }}] }}
        strategy = {{ {service} }}
        localization = {{ {service} }}
        [otel]
        metrics_endpoint = "http://a.test/v1/metrics"
        metrics_token = "{SECRET}"
        traces_endpoint = "http://a.test/v1/traces"
        traces_token = "{SECRET}"
        logs_endpoint = "http://a.test/v1/logs"
        logs_token = "{SECRET}"
        [sentry]
        address = "http://{SECRET}@a.test/1"
        "#
    ));
    let plan = Plan::new(&loaded.config, Trust::default()).unwrap();
    let telemetry = plan.telemetry(&loaded.config, Recorder::default());
    let keys = plan.routes[0].cookies.clone();
    // The words of a panic are what somebody has formatted: this is all that there is to format.
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        panic!("{loaded:?} {telemetry:?} {:?} {keys:?}", plan.sites)
    }));
    let words = panic.unwrap_err();
    let words = words.downcast_ref::<String>().unwrap();
    assert!(words.matches("redacted").count() >= 10, "{words}");
    assert!(!words.contains(SECRET), "{words}");
}
