//! What every strategy promises, for any targets.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use passage_proto::question::{ClientInfo, Player};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// A target of which only these things matter.
#[derive(Clone, Debug)]
struct Sketch {
    priority: u32,
    value: Option<u32>,
    is_healthy: bool,
    is_ejected: bool,
    latency: Option<u64>,
}

const FIELD: &str = "players";

fn candidate(at: usize, sketch: &Sketch) -> Candidate {
    let meta = sketch.value.map(|value| (FIELD.to_owned(), value.to_string()));
    let target = Target {
        identifier: format!("target-{at}"),
        host: format!("10.0.0.{}", at % 7),
        port: 25_565 + u16::try_from(at).unwrap(),
        priority: sketch.priority,
        meta: meta.into_iter().collect::<BTreeMap<_, _>>(),
    };
    Candidate {
        target: Arc::new(target),
        is_healthy: sketch.is_healthy,
        latency: sketch.latency.map(Duration::from_micros),
    }
}

/// Targets of the same priority with these values.
fn equals(values: impl IntoIterator<Item = Option<u32>>) -> Vec<Candidate> {
    let sketch = |value| Sketch {
        priority: 0,
        value,
        is_healthy: true,
        is_ejected: false,
        latency: None,
    };
    values
        .into_iter()
        .map(sketch)
        .enumerate()
        .map(|(at, sketch)| candidate(at, &sketch))
        .collect()
}

fn sketch() -> impl proptest::strategy::Strategy<Value = Sketch> {
    let value = prop_oneof![1 => Just(None), 6 => (0_u32..12).prop_map(Some)];
    let latency = proptest::option::of(100_u64..110);
    (
        0_u32..3,
        value,
        proptest::bool::weighted(0.8),
        proptest::bool::weighted(0.2),
        latency,
    )
        .prop_map(|(priority, value, is_healthy, is_ejected, latency)| Sketch {
            priority,
            value,
            is_healthy,
            is_ejected,
            latency,
        })
}

fn query(id: u128) -> ChooseQuery {
    ChooseQuery {
        client: ClientInfo {
            address: (Ipv4Addr::LOCALHOST, 40_000).into(),
            hostname: "play.example.net".into(),
            port: 25_565,
            protocol: 775,
        },
        player: Some(Player {
            name: "Somebody".into(),
            id: Uuid::from_u128(id),
        }),
    }
}

fn field() -> String {
    FIELD.to_owned()
}
