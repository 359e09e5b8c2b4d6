//! What is weighed in alternating rounds.

use serde_json::Value;

use super::{count, document};

/// One round of this contest.
fn weigh(contest: &str) -> Value {
    let document = document(&[
        "run",
        "--weigh",
        contest,
        "--rounds",
        "1",
        "--duration",
        "1.5",
        "--logins",
        "40",
        "--json",
        "-",
    ]);
    document["weighings"][0].clone()
}

#[test]
fn statuses_of_others_are_asked_for_once_a_refresh() {
    for contest in ["http-status", "target-status"] {
        let weighing = weigh(contest);
        let (given, fixed) = (&weighing["rounds"][0]["first"], &weighing["rounds"][0]["second"]);
        for half in [given, fixed] {
            assert!(
                count(half, "/completed") > 0 && count(half, "/failed") == 0,
                "{half:#}"
            );
        }
        // The program itself holds the calls to one a refresh, which is a second.
        let calls = count(given, "/upstream_calls");
        assert!(
            calls >= 1 && calls < count(given, "/completed"),
            "{contest}: {calls}"
        );
        assert_eq!(fixed["upstream_calls"], Value::Null);
    }
}

#[test]
fn no_login_is_starved_while_discovery_takes_its_time() {
    let weighing = weigh("discovery");
    for side in ["first", "second"] {
        let half = &weighing["rounds"][0][side];
        assert!(count(half, "/failed") == 0, "{half:#}");
        assert!(count(half, "/units_per_client/least") >= 1, "{half:#}");
        let turns = count(half, "/turns/count");
        assert!(turns > count(half, "/completed") / 40, "{turns} turns: {half:#}");
    }
}
