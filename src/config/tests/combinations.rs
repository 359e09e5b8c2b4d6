//! What each key does not take, and what only goes wrong together.

use super::only;

/// Configurations with one problem each, and the key that is blamed.
const COMBINATIONS: &[(&str, &str)] = &[
    (
        "[proxy_protocol]\ntrusted = [\"10.0.0.0/8\"]\nallow_v1 = false\nallow_v2 = false",
        "proxy_protocol.allow_v2",
    ),
    ("[proxy_protocol]\nenabled = true", "proxy_protocol.trusted"),
    ("timeout = 3\n[limits]\nhandshake = 5", "timeout"),
    (
        "address = \"0.0.0.0:9464\"\n[admin]\naddress = \"127.0.0.1:9464\"",
        "admin.address",
    ),
    ("address = [\"[::]:1\", \"[::]:1\"]", "address"),
    ("address = []", "address"),
    (
        "mode = \"transfer\"\nsend_proxy_protocol = \"v2\"",
        "send_proxy_protocol",
    ),
    ("rewrite_host = \"target\"", "rewrite_host"),
    (
        "[status]\ntype = \"target\"\n[discovery]\ntype = \"agones\"",
        "status",
    ),
    (
        "mode = \"relay\"\n[authentication]\ntype = \"mojang\"",
        "authentication",
    ),
    ("mode = \"relay\"\nforwarding = \"velocity\"", "forwarding"),
    ("[status]\nmin_version = 9\nmax_version = 8", "status.min_version"),
    (
        "[status]\nfavicon = \"data:image/png;base64,AAAA\"",
        "status.favicon",
    ),
    (
        "[status]\ndescription = \"{\\\"text\\\": \"",
        "status.description",
    ),
    ("[rate_limiter]\nlimit = 1\nsize = 1", "rate_limiter.size"),
    ("[otel]\nmetrics_token = \"x\"", "otel.metrics_token"),
    ("[tls]\nca_file = \"/nowhere/ca.pem\"", "tls.ca_file"),
    (
        "[otel]\nmetrics_endpoint = \"collector:4318\"",
        "otel.metrics_endpoint",
    ),
    ("[otel]\ntraces_sample_rate = 1.5", "otel.traces_sample_rate"),
    ("[sentry]\nenabled = true", "sentry.address"),
    (
        "[sentry]\naddress = \"https://sentry.example.net/1\"",
        "sentry.address",
    ),
    (
        "[localization]\ndefault_locale = \"tlh\"",
        "localization.default_locale",
    ),
    ("[localization.messages]\nen = \"Hi\"", "localization.messages.en"),
    ("[localization.messages.en]\nx = 1", "localization.messages.en.x"),
    (
        "[authentication]\ntype = \"fixed\"\nname = \"Steve\"",
        "authentication.id",
    ),
    (
        "[authentication]\ntype = \"fixed\"\nname = \"../\"\nid = \"069a79f4-44e9-4726-a5be-fca90e38aaf5\"",
        "authentication.name",
    ),
    ("[authentication]\nserver_id = \"x\"", "authentication.server_id"),
    (
        "[discovery]\nactions = [{ type = \"meta_filter\" }]",
        "discovery.actions[0].rules",
    ),
    (
        "[discovery]\ntype = \"agones_discovery\"\nnamespace = \"-x\"",
        "discovery.namespace",
    ),
    (
        "[discovery]\ntargets = [{ address = \"a\" }]",
        "discovery.targets[0].identifier",
    ),
    (
        "[discovery]\ntargets = [{ identifier = \"a\", address = \"a\", meta = { x = 1 } }]",
        "discovery.targets[0].meta.x",
    ),
    ("[discovery]\ntargets = 7", "discovery.targets"),
    (
        "[strategy]\ntype = \"player_fill\"\nfield = \"x\"",
        "strategy.max_players",
    ),
    ("[strategy]\ntype = \"lowest_latency\"", "strategy"),
    (
        "[strategy]\ntype = \"player_fill\"\nmax_players = 9",
        "strategy.field",
    ),
    (
        "[strategy]\ntype = \"random\"\n[discovery]\nactions = [{ type = \"player_fill_strategy\", field = \
         \"x\", max_players = 9 }]",
        "strategy",
    ),
    (
        "[discovery]\nactions = [\n{ type = \"player_fill\", field = \"x\", max_players = 9 },\n{ type = \
         \"player_fill\", field = \"x\", max_players = 9 },\n]",
        "discovery.actions[1].type",
    ),
    ("[discovery]\nactions = [{}]", "discovery.actions[0].type"),
    (
        "[[discovery.actions]]\ntype = \"meta_filter\"\nrules = [{ key = \"\", op = \"exists\" }]",
        "discovery.actions[0].rules[0].key",
    ),
    (
        "[[discovery.actions]]\ntype = \"meta_filter\"\n[[discovery.actions.rules]]\nkey = \"a\"\nop = \
         \"in\"\nvalue = \"b\"",
        "discovery.actions[0].rules[0].value",
    ),
    (
        "[[discovery.actions]]\ntype = \"meta_filter\"\n[[discovery.actions.rules]]\nkey = \"a\"\nop = \
         \"exists\"\nvalue = \"b\"",
        "discovery.actions[0].rules[0].value",
    ),
    (
        "[discovery]\nactions = [{ type = \"meta_filter\", rules = [{ key = \"a\", op = \"equals\" }] }]",
        "discovery.actions[0].rules[0].value",
    ),
    (
        "[discovery]\nactions = [{ type = \"player_allow_filter\", username = \"(\" }]",
        "discovery.actions[0].username",
    ),
    (
        "[discovery]\nactions = [{ type = \"player_allow_filter\", username = \"((a{99}){99}){99}\" }]",
        "discovery.actions[0].username",
    ),
    (
        "[discovery]\nactions = [{ type = \"player_block_filter\", ids = [\"Steve\"] }]",
        "discovery.actions[0].ids[0]",
    ),
    ("[discovery]\ntype = \"dns\"", "discovery.domain"),
    (
        "[discovery]\ntype = \"dns\"\ndomain = \"10.0.0.1\"",
        "discovery.domain",
    ),
    (
        "[discovery]\ntype = \"dns\"\ndomain = \"a\"\nresolver = \"localhost\"",
        "discovery.resolver",
    ),
    (
        "[discovery]\ntype = \"dns\"\ndomain = \"a\"\nrefresh_interval = 0",
        "discovery.refresh_interval",
    ),
    ("[discovery]\ntype = \"http\"", "discovery.address"),
    (
        "[discovery]\ntype = \"http\"\naddress = \"http://::1/\"",
        "discovery.address",
    ),
    (
        "[discovery]\ntype = \"http\"\naddress = \"http://a:99999/\"",
        "discovery.address",
    ),
    (
        "[discovery]\ntype = \"grpc\"\naddress = \"http://a:1/path\"",
        "discovery.address",
    ),
    (
        "[discovery]\ntype = \"grpc\"\naddress = \"http://a:1\"\ntoken = \"a\\nb\"",
        "discovery.token",
    ),
    (
        "[discovery]\ntype = \"grpc\"\naddress = \"http://a:1\"\ntargets = []",
        "discovery.targets",
    ),
    (
        "[discovery]\ntype = \"grpc\"\naddress = \"http://a:1\"\n[discovery.health]",
        "discovery.health",
    ),
    (
        "[discovery]\ntype = \"agones\"\n[discovery.health]\nenabled = true",
        "discovery.health",
    ),
    (
        "[discovery]\ntype = \"agones\"\nscheduling = \"packed\"",
        "discovery.scheduling",
    ),
    (
        "[discovery]\ntype = \"agones\"\ncontext = \"x\"",
        "discovery.context",
    ),
    (
        "[discovery]\ntype = \"agones\"\nselectors = [{ matchLabel = {} }]",
        "discovery.selectors[0].matchLabel",
    ),
    (
        "[discovery]\ntype = \"agones\"\nselectors = [{ matchLabels = { a = 1.5 } }]",
        "discovery.selectors[0].matchLabels.a",
    ),
    (
        "[discovery]\ntype = \"agones\"\nbackoff = { initial_secs = 9, max_secs = 1 }",
        "discovery.backoff.initial_secs",
    ),
    (
        "[discovery.ejection]\npause = 9\npause_max = 1",
        "discovery.ejection.pause",
    ),
    (
        "[status]\ntype = \"http\"\naddress = \"http://a/\"\ncache_duration = 0",
        "status.cache_duration",
    ),
    (
        "[status]\ntype = \"target\"\n[status.offline]\ntype = \"target\"",
        "status.offline.type",
    ),
    (
        "[status]\ntype = \"target\"\n[discovery]\ntype = \"grpc\"\naddress = \"http://a:1\"",
        "status",
    ),
    ("[localization]\ntype = \"grpc\"", "localization.address"),
    ("shards = 2", "shards"),
    ("[[routes]]\nmode = \"relay\"", "routes[0].hostname"),
    ("[[routes]]\nhostname = \"/a(/\"", "routes[0].hostname"),
    (
        "[[routes]]\nhostname = \"a\"\n[[routes]]\nhostname = \"A.\"",
        "routes[1].hostname",
    ),
    ("[[routes]]\nhostname = \"a\"\nhots = 1", "routes[0].hots"),
    ("[unknown_host]\ntype = \"grpc\"", "unknown_host.type"),
];

#[test]
fn impossible_combinations_are_reported() {
    for (text, key) in COMBINATIONS {
        let problem = only(text);
        assert_eq!(problem.split(" | ").nth(1), Some(*key), "{text}: {problem}");
        assert!(problem.starts_with("test.toml"), "{text}: {problem}");
    }
}
