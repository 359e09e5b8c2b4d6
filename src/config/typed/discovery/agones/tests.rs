//! What operators write under `type = "agones"`, and what they are told.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{DiscoverySource, load_from};

fn read(keys: &str) -> Result<Agones, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("[discovery]\ntype = \"agones\"\n{keys}");
    std::fs::write(folder.path().join("test.toml"), text).unwrap();
    let loaded = load_from(Some(Path::new("test.toml")), folder.path(), []);
    match loaded.map(|loaded| loaded.config.routes[0].discovery.source.clone()) {
        Ok(DiscoverySource::Agones(agones)) => Ok(*agones),
        Ok(other) => panic!("{other:?}"),
        Err(problems) => Err(problems
            .all()
            .iter()
            .map(|problem| format!("{}: {} | {}", problem.key, problem.found, problem.allowed))
            .collect()),
    }
}

fn wrong(keys: &str) -> String {
    read(keys).expect_err(keys).join("\n")
}

#[test]
fn needs_no_key_within_a_cluster() {
    let agones = read("").unwrap();
    assert_eq!(agones.cluster.kubeconfig, None);
    assert_eq!(agones.cluster.service_account, Path::new(SERVICE_ACCOUNT));
    assert_eq!((agones.namespace, agones.port), (None, None));
    assert_eq!(agones.scheduling, Scheduling::Packed);
    assert_eq!(agones.metadata, Metadata::default());
    assert_eq!(agones.backoff, Backoff::default());
}

#[test]
fn reads_everything_that_an_allocation_can_ask_for() {
    let agones = read(
        r#"
        kubeconfig = "kube.yaml"
        context = "eu"
        namespace = "games"
        port = "minecraft"
        scheduling = "Distributed"
        [[discovery.selectors]]
        gameServerState = "Allocated"
        matchExpressions = [
            { key = "agones.dev/fleet", operator = "In", values = ["a", "{{ .Client.ServerPort }}"] },
            { key = "broken", operator = "DoesNotExist" },
        ]
        players = { minAvailable = 1, maxAvailable = 9 }
        counters.rooms = { minCount = 1, maxCount = 2, minAvailable = 3, maxAvailable = 4 }
        lists.players = { containsValue = "{{ .Player.Id }}", minAvailable = 1 }
        [[discovery.selectors]]
        [discovery.metadata]
        labels = { "example.net/trace" = "{{ .Request.TraceId }}" }
        annotations = { player = "name: {{ .Player.Name }}" }
        "#,
    )
    .unwrap();
    assert_eq!(agones.cluster.kubeconfig.as_deref(), Some(Path::new("kube.yaml")));
    assert_eq!(agones.scheduling, Scheduling::Distributed);
    assert_eq!(agones.selectors.len(), 2);
    assert_eq!(agones.selectors[1], Selector::default());
    let [expression, absent] = agones.selectors[0].match_expressions.as_slice() else {
        panic!("{:?}", agones.selectors)
    };
    assert_eq!((expression.operator, expression.values.len()), (Operator::In, 2));
    assert_eq!(
        (absent.operator, absent.values.len()),
        (Operator::DoesNotExist, 0)
    );
    let players = PlayerRange {
        min_available: 1,
        max_available: 9,
    };
    assert_eq!(agones.selectors[0].players, Some(players));
    assert_eq!(agones.selectors[0].counters["rooms"].max_available, 4);
    assert!(agones.selectors[0].lists["players"].contains_value.is_some());
    assert_eq!(
        agones.metadata.labels.len() + agones.metadata.annotations.len(),
        2
    );
}

#[test]
fn tells_what_is_wrong_and_where() {
    for (keys, told) in [
        (
            "metadata.labels.a = \"{{ .Client.Adress }}\"",
            "discovery.metadata.labels.a: the variable \".Client.Adress\", which there is not | text with \
             the variables {{ .Client.ProtocolVersion }}",
        ),
        (
            "metadata.annotations.a = \"{{ .Client\"",
            "discovery.metadata.annotations.a: {{ without }}",
        ),
        (
            "metadata.labels.a = \"not a label\"",
            "discovery.metadata.labels.a: ",
        ),
        (
            "metadata.labels.\"a b\" = \"x\"",
            "discovery.metadata.labels.a b: the key \"a b\"",
        ),
        ("metadata.label = {}", "discovery.metadata.label: an unknown key"),
        (
            "selectors = [{ matchLabels = { a = \"-\" } }]",
            "discovery.selectors[0].matchLabels.a: ",
        ),
        (
            "selectors = [{ matchExpressions = [{ key = \"a\", operator = \"in\" }] }]",
            "discovery.selectors[0].matchExpressions[0].operator: \"in\"",
        ),
        (
            "selectors = [{ matchExpressions = [{ key = \"a\", operator = \"In\" }] }]",
            "discovery.selectors[0].matchExpressions[0].values: 0 values | at least one value for In",
        ),
        (
            "selectors = [{ matchExpressions = [{ key = \"a\", operator = \"Exists\", values = \"b\" }] }]",
            "discovery.selectors[0].matchExpressions[0].values: 1 values",
        ),
        (
            "selectors = [{ counters.a = { minCount = 3, maxCount = 2 } }]",
            "discovery.selectors[0].counters.a.maxCount: 2, less than minCount",
        ),
        (
            "selectors = [{ counters.a = { minAvailable = -1 } }]",
            "discovery.selectors[0].counters.a.minAvailable: -1",
        ),
        (
            "selectors = [{ gameServerState = \"Shutdown\" }]",
            "discovery.selectors[0].gameServerState",
        ),
        (
            "priorities = [{ type = \"Counter\" }]",
            "discovery.priorities[0].key: nothing",
        ),
        ("namespace = \"Games\"", "discovery.namespace: \"Games\""),
        ("backoff.max_attempts = 0", "discovery.backoff.max_attempts: 0"),
    ] {
        let problems = wrong(keys);
        assert!(problems.contains(told), "{keys}\n{problems}");
    }
}

#[test]
fn reads_pauses_in_seconds() {
    let agones =
        read("backoff = { initial_secs = 0.5, max_secs = 3, max_attempts = 4, factor = 2, jitter = 0 }");
    let backoff = Backoff {
        initial: Duration::from_millis(500),
        max: Duration::from_secs(3),
        max_attempts: 4,
        factor: 2.0,
        jitter: Duration::ZERO,
    };
    assert_eq!(agones.unwrap().backoff, backoff);
}
