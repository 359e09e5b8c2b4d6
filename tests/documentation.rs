//! Holds `docs/configuration.md` against the program: the same keys, defaults and bounds on both sides.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use passage::config::{Loaded, Problems, load_from};

/// A row of a table of keys.
struct Row {
    /// The table, such as `rate_limiter`; empty for the top level.
    table: String,
    /// The types for which the table has this key; none for all, or for the default one.
    kinds: Vec<String>,
    key: String,
    /// The default as TOML; `None` for none.
    default: Option<String>,
    allowed: String,
}

impl Row {
    /// Path of the key, such as `rate_limiter.limit`.
    fn path(&self) -> String {
        if self.table.is_empty() {
            self.key.clone()
        } else {
            format!("{}.{}", self.table, self.key)
        }
    }
}

/// Stands for the tables of all adapters that ask a service.
const SERVICE: &str = "(service)";
const HTTP: &str = "address = \"http://a:1\"\n";
const FILL: &str = "field = \"x\"\nmax_players = 1\n";

/// Types of a table, what has to stand there besides for all of its keys to be known, and whether they ask a
/// service. Their own keys stand under a heading that names them.
const KINDS: [(&str, &str, &str, bool); 17] = [
    ("status", "http", HTTP, true),
    ("status", "grpc", HTTP, true),
    ("status", "target", "", true),
    ("authentication", "grpc", HTTP, true),
    ("discovery", "http", HTTP, true),
    ("discovery", "dns", "domain = \"a\"\n", true),
    ("discovery", "agones", "", true),
    ("discovery", "grpc", HTTP, true),
    ("discovery.actions", "grpc", HTTP, true),
    (
        "discovery.actions",
        "meta_filter",
        "rules = [{ key = \"a\", op = \"exists\" }]\n",
        false,
    ),
    ("discovery.actions", "player_allow_filter", "", false),
    ("discovery.actions", "player_block_filter", "", false),
    ("strategy", "player_fill", FILL, false),
    ("strategy", "weighted", "", false),
    ("strategy", "hash", "", false),
    ("strategy", "grpc", HTTP, true),
    ("localization", "grpc", HTTP, true),
];

/// Keys that a table has with every type.
const COMMON: [(&str, &[&str]); 6] = [
    ("status", &["type"]),
    ("authentication", &["type"]),
    ("discovery", &["type", "actions", "health", "ejection"]),
    ("discovery.actions", &["type", "name"]),
    ("strategy", &["type"]),
    (
        "localization",
        &["type", "default_locale", "messages", "warn_unknown_keys"],
    ),
];

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of all tables; those under a heading such as "## `[rate_limiter]`" belong to that table.
fn rows() -> Vec<Row> {
    let (mut table, mut kinds) = (String::new(), Vec::new());
    let mut rows = Vec::new();
    for line in document().lines() {
        if let Some(heading) = line.strip_prefix("##") {
            let name = heading
                .split_once("`[")
                .and_then(|(_, rest)| rest.split_once(']'));
            table = name.map_or(String::new(), |(name, _)| name.trim_start_matches('[').to_owned());
            let with = heading.split_once("type = ").map_or("", |(_, kinds)| kinds);
            let words = with.split('"').skip(1).step_by(2);
            kinds = words.map(str::to_owned).collect();
        } else if line == "Each target:" {
            table = "discovery.targets".into();
        }
        let cells: Vec<&str> = line
            .split(" | ")
            .map(|cell| cell.trim_matches(['|', ' ']))
            .collect();
        if let [key, default, allowed, ..] = cells.as_slice()
            && let Some(key) = key.strip_prefix('`').and_then(|key| key.strip_suffix('`'))
        {
            let default = default.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
            rows.push(Row {
                table: table.clone(),
                kinds: kinds.clone(),
                key: key.to_owned(),
                default: default.map(str::to_owned),
                allowed: (*allowed).to_owned(),
            });
        }
    }
    assert!(
        rows.len() > 150,
        "only {} rows: the page has another form now",
        rows.len()
    );
    rows
}

fn load(text: &str, variables: &[(String, String)]) -> Result<Loaded, Problems> {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
    let written = std::fs::write(folder.path().join("test.toml"), text);
    written.unwrap_or_else(|error| panic!("{error}"));
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    load_from(Some(Path::new("test.toml")), folder.path(), variables)
}

/// A file in which `table` is of this type and has this line besides what it needs.
fn text_with(table: &str, kind: Option<&str>, line: &str) -> String {
    let kind_of = |name: &str, kind: Option<&str>| {
        let besides = KINDS
            .iter()
            .find(|known| (known.0, Some(known.1)) == (name, kind));
        let besides = besides.map_or("", |(_, _, besides, _)| *besides);
        kind.map_or(String::new(), |kind| format!("type = \"{kind}\"\n")) + besides
    };
    // A key that the table needs is not written twice.
    let written = |text: String| {
        let key = line.split(" = ").next().unwrap_or_default().to_owned();
        let keep = move |other: &&str| other.split(" = ").next() != Some(key.as_str());
        text.lines()
            .filter(keep)
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    match (table, kind) {
        ("", _) => line.to_owned(),
        (SERVICE, _) => format!("[strategy]\n{}{line}", written(kind_of("strategy", Some("grpc")))),
        ("routes", _) => format!("[[routes]]\nhostname = \"a\"\n{line}"),
        ("discovery.targets", _) => {
            format!("[[discovery.targets]]\nidentifier = \"a\"\naddress = \"b\"\n{line}")
        }
        ("discovery.actions", kind) => {
            format!(
                "[[discovery.actions]]\n{}{line}",
                written(kind_of(table, kind.or(Some("meta_filter"))))
            )
        }
        ("discovery.backoff", _) => {
            format!("[discovery]\ntype = \"agones\"\n[discovery.backoff]\n{line}")
        }
        ("authentication.profile", _) => {
            let profile = "id = \"11111111-2222-4333-8444-555555555555\"\nname = \"Alice\"\n";
            format!("[authentication]\ntype = \"fixed\"\n[authentication.profile]\n{profile}{line}")
        }
        ("authentication", None) => {
            format!(
                "[authentication]\n{}{line}",
                written("type = \"mojang\"\n".to_owned())
            )
        }
        (table, kind) => format!("[{table}]\n{}{line}", written(kind_of(table, kind))),
    }
}

/// The keys that the program knows in `table`: it names them when it meets one that it does not know.
fn known_keys(table: &str, kind: Option<&str>) -> BTreeSet<String> {
    let Err(problems) = load(&text_with(table, kind, "no_such_key = 1\n"), &[]) else {
        panic!("[{table}] takes a key that there is not")
    };
    let unknown = problems
        .all()
        .iter()
        .find(|problem| problem.key.ends_with("no_such_key"));
    let unknown = unknown.unwrap_or_else(|| panic!("[{table}] {kind:?}: {problems}"));
    unknown.allowed.split(", ").map(str::to_owned).collect()
}

fn common(table: &str) -> BTreeSet<String> {
    let keys = COMMON.iter().find(|(name, _)| *name == table);
    keys.map_or_else(BTreeSet::new, |(_, keys)| {
        keys.iter().map(|key| (*key).to_owned()).collect()
    })
}

/// The keys of all rows of a table that belong to this type.
fn documented(rows: &[Row], table: &str, kind: Option<&str>) -> BTreeSet<String> {
    let of_kind = |row: &&Row| match kind {
        None => row.kinds.is_empty(),
        Some(kind) => row.kinds.iter().any(|known| known == kind),
    };
    let rows = rows.iter().filter(|row| row.table == table).filter(of_kind);
    rows.map(|row| row.key.clone()).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_known() {
    let rows = rows();
    let tables: BTreeSet<&str> = rows.iter().map(|row| row.table.as_str()).collect();
    // Tables of their own sections on the page, and other names of keys.
    let elsewhere = |table: &str, key: &String| {
        let path = if table.is_empty() {
            key.clone()
        } else {
            format!("{table}.{key}")
        };
        let aliases = ["unknown_host", "rate_limiter.size", "discovery.record_type"];
        tables.contains(path.as_str()) || aliases.contains(&path.as_str())
    };
    let plain = tables
        .iter()
        .filter(|table| **table != SERVICE)
        .map(|table| (*table, None));
    let kinds = KINDS.iter().map(|(table, kind, ..)| (*table, Some(*kind)));
    for (table, kind) in plain.chain(kinds) {
        if table == "discovery.actions" && kind.is_none() {
            continue;
        }
        let known = known_keys(table, kind);
        let own = documented(&rows, table, kind);
        let unknown: Vec<_> = own.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "[{table}] {kind:?}: {unknown:?} are documented, and nobody knows them"
        );
        let mut all = own;
        if kind.is_some() {
            all.extend(common(table));
        }
        if KINDS
            .iter()
            .any(|known| (known.0, Some(known.1), known.3) == (table, kind, true))
        {
            all.extend(documented(&rows, SERVICE, None));
        }
        let missing: Vec<_> = known
            .difference(&all)
            .filter(|key| !elsewhere(table, key))
            .collect();
        assert!(
            missing.is_empty(),
            "[{table}] {kind:?}: {missing:?} are not documented"
        );
    }
}

#[test]
fn the_documented_defaults_are_those_of_a_file_that_does_not_say() {
    let settings = |text: &str| {
        let loaded = load(text, &[]).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        format!("{:#?}", loaded.config)
    };
    for row in rows() {
        let Some(default) = &row.default else { continue };
        if row.table == "authentication.profile" {
            continue;
        }
        // Some tables are enabled by being there at all.
        let by_presence = ["rate_limiter", "proxy_protocol", "sentry", "discovery.health"];
        let off = if by_presence.contains(&row.table.as_str()) {
            "enabled = false\n"
        } else {
            ""
        };
        let kinds = if row.kinds.is_empty() {
            vec![None]
        } else {
            row.kinds.iter().map(|kind| Some(kind.as_str())).collect()
        };
        for kind in kinds {
            let without = settings(&text_with(&row.table, kind, off));
            let line = format!("{off}{} = {default}\n", row.key);
            assert_eq!(
                settings(&text_with(&row.table, kind, &line)),
                without,
                "{} = {default}",
                row.path()
            );
        }
    }
}

#[test]
fn the_documented_bounds_are_kept() {
    let mut checked = 0;
    for row in rows() {
        let Some((least, most)) = row.allowed.split_once(" – ") else {
            continue;
        };
        let is_fraction = least.contains('.');
        let (Ok(least), Ok(most)) = (least.parse::<f64>(), most.parse::<f64>()) else {
            continue;
        };
        let below = if is_fraction { least / 2.0 } else { least - 1.0 };
        for (value, fits) in [(least, true), (most, true), (below, false), (most + 1.0, false)] {
            assert_eq!(is_taken(&row, value), fits, "{} = {value}", row.path());
        }
        checked += 1;
    }
    assert!(
        checked > 40,
        "only {checked} bounds: the page has another form now"
    );
}

/// Whether this key takes this value, whatever else is wrong then.
fn is_taken(row: &Row, value: f64) -> bool {
    let kind = row.kinds.first().map(String::as_str);
    let besides = match row.path().as_str() {
        "timeout" => "\n[limits]\nhandshake = 1\n",
        "discovery.backoff.initial_secs" => "\nmax_secs = 60\n",
        "discovery.backoff.max_secs" => "\ninitial_secs = 0.05\n",
        "discovery.ejection.pause" => "\npause_max = 86400\n",
        _ => "\n",
    };
    let text = text_with(&row.table, kind, &format!("{} = {value}{besides}", row.key));
    let ends = format!(".{}", row.key);
    match load(&text, &[]) {
        Ok(_) => true,
        Err(problems) => problems
            .all()
            .iter()
            .all(|problem| problem.key != row.key && !problem.key.ends_with(&ends)),
    }
}
