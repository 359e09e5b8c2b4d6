//! The measuring of the benches: interleaved rounds with medians, and instruction counts under Valgrind.
//!
//! `cargo bench --bench NAME` prints nanoseconds per operation. The cases take turns within every round, so
//! that a machine whose speed drifts treats all of them alike; the ratio is against the first case, round by
//! round. `cargo bench --bench NAME -- --instructions` runs each case under Callgrind instead, with `n` and
//! with `2n` operations: the difference is what the operations cost, without the process around them, and it
//! is the same on a busy machine. A word after the options picks the cases whose name contains it.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::process::{Command, ExitCode};
use std::time::Instant;

/// Rounds whose median is printed, after one to warm up.
const ROUNDS: usize = 15;
/// About how long one case runs in one round, in nanoseconds.
const ROUND_NANOS: u128 = 20_000_000;
/// How a case is named to the process that runs under Callgrind.
const CASE: &str = "PASSAGE_BENCH_CASE";
/// How many operations that process does.
const OPERATIONS: &str = "PASSAGE_BENCH_OPERATIONS";
/// Operations of the shorter of the two Callgrind runs.
const COUNTED_OPERATIONS: u64 = 2_000;

/// One thing to measure: a name, and a function that does it the given number of times.
pub(crate) struct Case {
    name: &'static str,
    run: Box<dyn FnMut(u64)>,
    /// How much one operation works through, for a throughput besides.
    pub(crate) bytes: Option<usize>,
}

impl Case {
    /// A case whose closure does the operation once and returns something that depends on all of its work.
    pub(crate) fn new<T>(name: &'static str, mut operation: impl FnMut() -> T + 'static) -> Self {
        let run = move |operations| {
            for _ in 0..operations {
                std::hint::black_box(operation());
            }
        };
        Self {
            name,
            run: Box::new(run),
            bytes: None,
        }
    }
}

/// Measures the cases as the command line asks for.
pub(crate) fn main(mut cases: Vec<Case>) -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        let operations = std::env::var(OPERATIONS).ok().and_then(|text| text.parse().ok());
        for case in cases.iter_mut().filter(|case| case.name == name) {
            (case.run)(operations.unwrap_or(COUNTED_OPERATIONS));
        }
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let picked = |name: &str| {
        let mut words = arguments.iter().filter(|word| !word.starts_with("--")).peekable();
        words.peek().is_none() || words.any(|word| name.contains(word.as_str()))
    };
    cases.retain(|case| picked(case.name));
    if arguments.iter().any(|word| word == "--instructions") {
        return count(&cases);
    }
    time(&mut cases);
    ExitCode::SUCCESS
}

fn time(cases: &mut [Case]) {
    let operations: Vec<u64> = cases.iter_mut().map(operations_per_round).collect();
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((case, operations), nanos) in cases.iter_mut().zip(&operations).zip(&mut rounds) {
            nanos.push(nanos_per_operation(case, *operations));
        }
    }
    println!(
        "{:44} {:>10} {:>10} {:>10} {:>8}",
        "ns per operation", "min", "median", "max", "ratio"
    );
    for (case, nanos) in cases.iter().zip(&rounds) {
        let ratios = nanos.iter().zip(&rounds[0]).map(|(own, first)| own / first);
        let [min, median, max] = spread(nanos.clone());
        let [_, ratio, _] = spread(ratios.collect());
        let throughput = case.bytes.map(|bytes| megabytes_per_second(bytes, median));
        let throughput = throughput.unwrap_or_default();
        println!(
            "{:44} {min:10.1} {median:10.1} {max:10.1} {ratio:8.2}{throughput}",
            case.name
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
fn megabytes_per_second(bytes: usize, nanos: f64) -> String {
    format!(" {:8.0} MB/s", bytes as f64 * 1_000.0 / nanos)
}

fn operations_per_round(case: &mut Case) -> u64 {
    let mut operations = 1;
    loop {
        let began = Instant::now();
        (case.run)(operations);
        let nanos = began.elapsed().as_nanos().max(1);
        if nanos >= ROUND_NANOS / 4 {
            let per_round = u128::from(operations) * ROUND_NANOS / nanos;
            return u64::try_from(per_round).unwrap_or(u64::MAX).max(1);
        }
        operations *= 4;
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52 nanoseconds")]
fn nanos_per_operation(case: &mut Case, operations: u64) -> f64 {
    let began = Instant::now();
    (case.run)(operations);
    began.elapsed().as_nanos() as f64 / operations as f64
}

fn spread(mut figures: Vec<f64>) -> [f64; 3] {
    figures.sort_by(f64::total_cmp);
    [figures[0], figures[figures.len() / 2], figures[figures.len() - 1]]
}

fn count(cases: &[Case]) -> ExitCode {
    println!("{:44} {:>14}", "instructions per operation", "count");
    for case in cases {
        let runs = instructions(case.name, COUNTED_OPERATIONS)
            .and_then(|once| Ok((once, instructions(case.name, 2 * COUNTED_OPERATIONS)?)));
        match runs {
            Ok((once, twice)) => {
                println!(
                    "{:44} {:14}",
                    case.name,
                    twice.saturating_sub(once) / COUNTED_OPERATIONS
                );
            }
            Err(problem) => {
                println!("{}: not counted: {problem}", case.name);
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Instructions that a whole process with this many operations executes, by Callgrind's account.
fn instructions(case: &str, operations: u64) -> Result<u64, String> {
    let bench = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(bench)
        .env(CASE, case)
        .env(OPERATIONS, operations.to_string())
        .output()
        .map_err(|error| format!("valgrind: {error}; install the package valgrind"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    report
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
        .ok_or_else(|| format!("valgrind said nothing of a count:\n{report}"))
}
