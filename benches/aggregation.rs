//! What counting costs a shard. A record may take 40 ns.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use passage_proto::question::Target;
use passage_shards::metrics::{
    ANSWERS, AdapterName, AdapterType, ConnectionLabels, Durations, Meter, Options, Outlet, RequestType,
};
use passage_shards::trace::{self, SpanName};

use harness::Case;

#[path = "support/harness.rs"]
mod harness;

/// Addresses that connect between two hand-overs of the busy cases.
const ADDRESSES: u32 = 1_000;

fn main() -> ExitCode {
    harness::main(vec![
        Case::new("clock: Instant::now, for comparison", Instant::now),
        recording("slot: connection_opened", |meter, _| meter.connection_opened()),
        recording("slot: relay_bytes", |meter, step| {
            meter.relay_bytes(u64::from(step), 100)
        }),
        recording("histogram: request", |meter, step| {
            meter.request(RequestType::Status, AdapterType::Fixed, true, took(step));
        }),
        recording("histogram: adapter", |meter, step| {
            meter.adapter(AdapterName::Discovery, AdapterType::Dns, took(step), None);
        }),
        recording("labels: attempts of one address", |meter, _| {
            meter.connection_attempt(&labels(7));
        }),
        recording("labels: attempts of 1 000 addresses", |meter, step| {
            meter.connection_attempt(&labels(step % ADDRESSES));
        }),
        recording("labels: attempts beyond the limit", |meter, step| {
            meter.connection_attempt(&labels(step.wrapping_mul(0x9E37_79B1)));
        }),
        recording("labels: target_selected", {
            let target = target();
            move |meter, _| meter.target_selected(&target)
        }),
        new_addresses(),
        tracing("trace: a ping, sampling at 1 %", 0.01, 1_000_000),
        tracing("trace: a ping of a flood, sampling at 100 %", 1.0, 1),
        tracing("trace: a ping that is traced", 1.0, 100_000_000),
        hand_over(),
        merge(),
    ])
}

/// Records into a meter whose counts nobody takes.
fn recording(name: &'static str, mut record: impl FnMut(&mut Meter, u32) + 'static) -> Case {
    let (outlet, arrivals) = Outlet::new(Options::default());
    let mut meter = outlet.meter(0);
    let mut step = 0_u32;
    Case::new(name, move || {
        step = step.wrapping_add(1);
        record(&mut meter, black_box(step));
        arrivals.len()
    })
}

/// Every address is a new one until the hand-over. Its cost, and that of emptying the box, are in the figure.
fn new_addresses() -> Case {
    let (outlet, arrivals) = Outlet::new(Options::default());
    let mut meter = outlet.meter(0);
    let mut step = 0_u32;
    Case::new("labels: attempts of new addresses", move || {
        step = step.wrapping_add(1);
        meter.connection_attempt(&labels(black_box(step)));
        if step.is_multiple_of(ADDRESSES) {
            meter.hand_over();
            arrivals
                .try_iter()
                .for_each(passage_shards::metrics::Deltas::give_back);
        }
    })
}

/// All that tracing adds to a ping: the decision, and the spans if it is sampled. The telemetry thread's part
/// is left out.
fn tracing(name: &'static str, sample_rate: f64, per_second: u32) -> Case {
    let per_second = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
    let options = trace::Options {
        sample_rate,
        per_second,
    };
    let (outlet, spans) = trace::Outlet::new(options, trace::Seed([1, 2, 3, 4]));
    let tracer = outlet.tracer(0).map(Rc::new);
    // A shard reads its clock once a turn.
    let mut now = Instant::now();
    Case::new(name, move || {
        now += Duration::from_nanos(50);
        let tracer = tracer.as_ref().filter(|tracer| tracer.samples(black_box(now)))?;
        let mut trace = trace::Trace::begin(tracer, now);
        let adapter = trace::Value::Text(AdapterType::Fixed.label().into());
        trace.open(SpanName::StatusRequest, vec![("adapter_type", adapter)]);
        let dropped = trace.finish(Ipv4Addr::LOCALHOST.into(), None);
        Some((dropped, spans.try_recv()))
    })
}

fn hand_over() -> Case {
    let (outlet, arrivals) = Outlet::new(Options::default());
    let mut meter = outlet.meter(0);
    Case::new("hand-over, with emptying the box", move || {
        meter.connection_opened();
        meter.hand_over();
        arrivals
            .try_iter()
            .for_each(passage_shards::metrics::Deltas::give_back);
    })
}

fn merge() -> Case {
    let mut total = Durations::new(&ANSWERS);
    let mut part = Durations::new(&ANSWERS);
    (0..1_000).for_each(|step| part.record(took(step)));
    Case::new("telemetry thread: merge a histogram", move || {
        total.merge(&part);
        total.sum_nanoseconds()
    })
}

/// Durations all over the range, the slow ones rarer.
fn took(step: u32) -> Duration {
    Duration::from_nanos(1_000 + (u64::from(step.wrapping_mul(0x9E37_79B1)) >> (step % 24)))
}

fn labels(address: u32) -> ConnectionLabels<'static> {
    let client_ip = Ipv4Addr::from(address).into();
    ConnectionLabels {
        client_ip,
        route: Some("play.example.net"),
        protocol: Some(775),
    }
}

fn target() -> Target {
    Target {
        identifier: "hub-1".into(),
        host: "hub-1.internal.example.net".into(),
        port: 25565,
        priority: 0,
        meta: BTreeMap::new(),
    }
}
