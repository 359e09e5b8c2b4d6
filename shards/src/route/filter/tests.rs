//! Who passes which filter.

use std::collections::BTreeMap;

use super::*;

fn target(meta: &[(&str, &str)]) -> Arc<Target> {
    Arc::new(Target {
        identifier: "lobby".into(),
        host: "127.0.0.1".into(),
        port: 25_565,
        priority: 0,
        meta: meta
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    })
}

fn rule(test: MetaTest) -> MetaFilter {
    MetaFilter {
        rules: vec![MetaRule {
            key: "state".into(),
            test,
        }],
    }
}

fn set(values: &[&str]) -> BTreeSet<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn player(name: &str, id: u128) -> Player {
    Player {
        name: name.into(),
        id: Uuid::from_u128(id),
    }
}

fn named(name: &str) -> PlayerFilter {
    PlayerFilter {
        names: [name.to_owned()].into(),
        ..PlayerFilter::default()
    }
}

#[test]
fn every_test_of_a_value_and_of_none() {
    let (online, full, missing) = (
        target(&[("state", "online")]),
        target(&[("state", "full")]),
        target(&[]),
    );
    let passes = |test: MetaTest| {
        let filter = rule(test);
        [&online, &full, &missing].map(|target| filter.passes(target))
    };
    assert_eq!(passes(MetaTest::Equals("online".into())), [true, false, false]);
    assert_eq!(passes(MetaTest::NotEquals("online".into())), [false, true, true]);
    assert_eq!(passes(MetaTest::Exists), [true, true, false]);
    assert_eq!(passes(MetaTest::NotExists), [false, false, true]);
    assert_eq!(
        passes(MetaTest::In(set(&["online", "idle"]))),
        [true, false, false]
    );
    assert_eq!(
        passes(MetaTest::NotIn(set(&["online", "idle"]))),
        [false, true, true]
    );
    assert_eq!(passes(MetaTest::In(set(&[]))), [false, false, false]);
}

#[test]
fn values_are_compared_as_they_are_written() {
    let filter = rule(MetaTest::Equals("online".into()));
    assert!(!filter.passes(&target(&[("state", "Online")])));
    assert!(!filter.passes(&target(&[("state", " online")])));
    assert!(!filter.passes(&target(&[("STATE", "online")])));
}

#[test]
fn all_rules_have_to_hold() {
    let mut filter = rule(MetaTest::Equals("online".into()));
    filter.rules.push(MetaRule {
        key: "region".into(),
        test: MetaTest::In(set(&["eu"])),
    });
    assert!(filter.passes(&target(&[("state", "online"), ("region", "eu")])));
    assert!(!filter.passes(&target(&[("state", "online")])));
    assert!(!filter.passes(&target(&[("region", "eu")])));
}

#[test]
fn a_filter_keeps_the_order_and_copies_nothing_needlessly() {
    let list = |states: &[&str]| -> Arc<[Candidate]> {
        states
            .iter()
            .map(|state| Candidate::from(target(&[("state", state)])))
            .collect()
    };
    let filter = rule(MetaTest::NotEquals("off".into()));
    let all = list(&["a", "b"]);
    assert!(Arc::ptr_eq(&filter.keep(Arc::clone(&all)), &all));
    assert_eq!(*filter.keep(list(&["a", "off", "b", "off"])), *all);
    assert!(filter.keep(list(&["off"])).is_empty());
}

#[test]
fn players_are_named_by_name_pattern_or_uuid() {
    let filter = PlayerFilter {
        names: ["builder".to_owned()].into(),
        patterns: vec![PlayerFilter::pattern("^(Admin|Mod)_[a-z]+$").unwrap()],
        ids: [Uuid::from_u128(7)].into(),
    };
    assert!(filter.matches(&player("Builder", 1)));
    assert!(filter.matches(&player("admin_eve", 1)));
    assert!(filter.matches(&player("Anybody", 7)));
    assert!(!filter.matches(&player("NotAdmin_eve", 1)));
    assert!(!filter.matches(&player("Admin_eve2", 1)));
    assert!(!filter.matches(&player("Builder2", 1)));
}

#[test]
fn a_relayed_login_without_a_uuid_is_nobodys_uuid() {
    let filter = PlayerFilter {
        ids: [Uuid::nil()].into(),
        ..PlayerFilter::default()
    };
    assert!(!filter.matches(&player("Anybody", 0)));
}

#[test]
fn whoever_is_kept_out_reads_why() {
    let (eve, bob) = (player("Eve", 1), player("Bob", 2));
    let refusal = named("eve").block(Some(&eve)).unwrap_err();
    assert_eq!(
        (&*refusal.message.key, refusal.cause),
        (DISCONNECT_FILTERED, AskError::Denied)
    );
    assert_eq!(named("eve").block(Some(&bob)), Ok(()));
    assert_eq!(named("eve").allow(Some(&eve)), Ok(()));
    assert_eq!(named("eve").allow(Some(&bob)), Err(refusal));
}

#[test]
fn a_filter_that_names_nobody_allows_nobody_and_blocks_nobody() {
    let (nobody, eve) = (PlayerFilter::default(), player("Eve", 1));
    assert!(nobody.allow(Some(&eve)).is_err());
    assert!(nobody.block(Some(&eve)).is_ok());
}

#[test]
fn pings_pass_every_filter() {
    assert!(PlayerFilter::default().allow(None).is_ok());
    assert!(named("eve").block(None).is_ok());
}

#[test]
fn patterns_of_names_match_the_whole_name() {
    let matches = |expression: &str, name: &str| PlayerFilter::pattern(expression).unwrap().is_match(name);
    assert!(matches("^Bot_.*", "bot_17") && !matches("^Bot_.*", "NotABot_17"));
    assert!(
        matches("/^a|b$/", "b") && !matches("/^a|b$/", "ab"),
        "the anchors hold for both"
    );
    assert!(matches(r"^a\\.*", r"a\xyz"), "the backslash itself is escaped");
}

#[test]
fn patterns_that_would_match_parts_or_cost_too_much_are_refused() {
    let error = |expression: &str| PlayerFilter::pattern(expression).unwrap_err();
    assert_eq!(error("Bot"), PatternError::NotAnchored);
    assert_eq!(error("^Bot"), PatternError::NotAnchored);
    assert_eq!(error("Bot$"), PatternError::NotAnchored);
    assert_eq!(error(r"^Bot\$"), PatternError::NotAnchored);
    assert_eq!(
        error(r"^Bot\.*"),
        PatternError::NotAnchored,
        "any number of dots is no open end"
    );
    assert_eq!(error(""), PatternError::Empty);
    assert_eq!(error(&format!("^{}$", "a".repeat(2_000))), PatternError::TooLong);
    assert!(matches!(error("^(unclosed$"), PatternError::Regex(_)));
    assert!(matches!(error(r"^(\w{1000}){1000}$"), PatternError::Regex(_)));
}
