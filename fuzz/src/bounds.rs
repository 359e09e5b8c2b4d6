//! The bounds that `docs/configuration.md` promises, of values that were accepted.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use passage::config::{
    ActionKind, Authentication, Config, Discovery, DiscoverySource, Remote, Route, SECRET_BYTES_MIN, Service,
    Status, StatusSource, Strategy,
};

pub(crate) fn check(config: &Config) {
    check_top_level(config);
    check_tables(config);
    assert!(!config.routes.is_empty(), "no route at all");
    for route in &config.routes {
        check_route(route);
    }
}

fn within(what: &str, seconds: Duration, bounds: RangeInclusive<f64>) {
    let seconds = seconds.as_secs_f64();
    assert!(bounds.contains(&seconds), "{what} is {seconds} s");
}

fn check_top_level(config: &Config) {
    assert!(
        (1..=64).contains(&config.addresses.len()),
        "{:?}",
        config.addresses
    );
    within("timeout", config.timeout, 1.0..=86_400.0);
    assert!(
        config.timeout >= config.bounds.shard.handshake,
        "a handshake outlasts its conversation"
    );
    assert!((8_192..=2_097_151).contains(&config.max_packet_length));
    within(
        "auth_cookie_expiry",
        config.auth_cookie_expiry,
        1.0..=31_536_000.0,
    );
    let (current, previous) = (&config.auth_secret, &config.auth_secret_previous);
    for secret in [current, previous].into_iter().flatten() {
        assert!(secret.expose().len() >= SECRET_BYTES_MIN, "a short secret");
    }
    assert!(previous.is_none() || current.is_some(), "a previous secret alone");
    assert!(previous.is_none() || previous != current, "the same secret twice");
    if let Some(admin) = config.admin.address {
        let both = |address: &SocketAddr| admin.port() != 0 && *address == admin;
        assert!(!config.addresses.iter().any(both), "players connect to {admin}");
    }
}

fn check_tables(config: &Config) {
    assert!(config.shards.count.is_none_or(|count| count.get() <= 1_024));
    let bounds = &config.bounds;
    assert!((1..=1_000_000).contains(&bounds.shard.connections_per_shard));
    assert!(bounds.shard.connections_per_prefix <= 1_000_000);
    assert!((1..=1_000_000).contains(&bounds.shard.logins_per_shard));
    assert!((1..=100_000).contains(&bounds.shard.rsa_queue_per_shard));
    within("limits.handshake", bounds.shard.handshake, 1.0..=600.0);
    within("limits.step", bounds.shard.step, 1.0..=600.0);
    within("limits.dial", bounds.shard.dial, 1.0..=600.0);
    within("limits.relay_idle", bounds.shard.relay_idle, 10.0..=86_400.0);
    within("limits.drain", bounds.drain, 0.0..=86_400.0);
    assert!((1..=65_535).contains(&bounds.shard.backlog));
    assert!((2..=256).contains(&bounds.workers));
    if let Some(limit) = &config.rate_limit {
        assert!((1..=1_000_000).contains(&limit.limit));
        within("rate_limiter.duration", limit.duration, 1.0..=86_400.0);
        assert!((8..=32).contains(&limit.ipv4_prefix));
        assert!((16..=128).contains(&limit.ipv6_prefix));
    }
    if let Some(proxy) = &config.proxy_protocol {
        assert!(proxy.allow_v1 || proxy.allow_v2, "PROXY headers of no version");
        assert!(!proxy.trusted.is_empty(), "PROXY headers of nobody");
    }
    assert!((0.0..=1.0).contains(&config.otel.traces_sample_rate));
    assert!(config.otel.traces_per_second.get() <= 100_000);
    within(
        "otel.metrics_interval",
        config.otel.metrics_interval,
        1.0..=3_600.0,
    );
    assert!((1..=100_000).contains(&config.otel.label_limit));
    assert!(
        !config.sentry.enabled || config.sentry.address.is_some(),
        "reports to nowhere"
    );
}

fn check_route(route: &Route) {
    assert!(!route.hostname.is_empty(), "a route for nothing");
    match &route.status {
        Status::Fixed(_) => {}
        Status::Shared(status) => {
            within("cache_duration", status.cache_duration, 1.0..=86_400.0);
            match &status.source {
                StatusSource::Http(service) | StatusSource::Grpc(service) => check_service(service),
                StatusSource::Target(remote) => check_remote(remote),
            }
        }
    }
    match &route.authentication {
        Authentication::Mojang(mojang) => check_remote(&mojang.remote),
        Authentication::Grpc { service, .. } => check_service(service),
        Authentication::Fixed(profile) => assert!((1..=16).contains(&profile.name.len())),
        Authentication::Disabled => {}
    }
    check_discovery(&route.discovery);
    if let Strategy::Grpc(service) = &route.strategy {
        check_service(service);
    }
    if let Some(service) = &route.localization.service {
        check_service(service);
    }
}

fn check_discovery(discovery: &Discovery) {
    match &discovery.source {
        DiscoverySource::Fixed(targets) => {
            assert!(targets.len() <= 4_096, "{} targets", targets.len());
            for target in targets {
                assert!((1..=128).contains(&target.identifier.len()), "{target:?}");
                assert!(target.port != 0 && !target.host.is_empty(), "{target:?}");
            }
        }
        DiscoverySource::Http(http) => {
            check_service(&http.service);
            within("refresh_interval", http.refresh_interval, 1.0..=86_400.0);
        }
        DiscoverySource::Dns(dns) => {
            check_remote(&dns.remote);
            assert!(dns.resolvers.len() <= 8 && !dns.domain.is_empty(), "{dns:?}");
            within("refresh_interval", dns.refresh_interval, 1.0..=86_400.0);
        }
        DiscoverySource::Agones(agones) => {
            check_remote(&agones.remote);
            assert!(agones.selectors.len() <= 64 && agones.priorities.len() <= 64);
        }
        DiscoverySource::Grpc(service) => check_service(service),
    }
    assert!(
        discovery.actions.len() <= 64,
        "{} actions",
        discovery.actions.len()
    );
    for action in &discovery.actions {
        if let ActionKind::Grpc(service) = &action.kind {
            check_service(service);
        }
    }
    if let Some(health) = &discovery.health {
        assert!(
            !discovery.source.is_asked_for_each_player(),
            "health checks of nothing"
        );
        within("health.interval", health.interval, 1.0..=3_600.0);
        within("health.timeout", health.timeout, 0.1..=60.0);
        assert!((1..=1_024).contains(&health.concurrency));
    }
    let ejection = &discovery.ejection;
    assert!(
        ejection.pause <= ejection.pause_max && ejection.share_max <= 100,
        "{ejection:?}"
    );
}

fn check_service(service: &Service) {
    let address = &service.address;
    let has_scheme = address.starts_with("http://") || address.starts_with("https://");
    assert!(has_scheme && address.is_ascii(), "{address:?}");
    check_remote(&service.remote);
}

fn check_remote(remote: &Remote) {
    within("timeout", remote.timeout, 0.1..=60.0);
    within("breaker_pause", remote.breaker_pause, 1.0..=600.0);
    assert!((1..=4_096).contains(&remote.concurrency), "{remote:?}");
    assert!(
        remote.retries <= 10 && remote.breaker_failures <= 1_000,
        "{remote:?}"
    );
}
