//! Holds `docs/configuration.md` against the program: the same keys, defaults and bounds on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use passage::config::{Loaded, Problems, load_from};

/// A row of a table of keys.
struct Row {
    /// Path of the key, such as `rate_limiter.limit`.
    path: String,
    /// The default as TOML; `None` for none.
    default: Option<String>,
    allowed: String,
}

/// Tables whose keys depend on `type`, and what has to stand there besides for all of them to be known.
const KINDS: [(&str, &str); 4] = [
    ("status", ""),
    ("authentication", "type = \"mojang\"\n"),
    ("discovery", ""),
    ("localization", ""),
];

fn document() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of all tables; those under a heading such as "## `[rate_limiter]`" belong to that table.
fn rows() -> Vec<Row> {
    let mut table = String::new();
    let mut rows = Vec::new();
    for line in document().lines() {
        if let Some(heading) = line.strip_prefix("##") {
            let name = heading
                .split_once("`[")
                .and_then(|(_, rest)| rest.split_once(']'));
            table = name.map_or(String::new(), |(name, _)| name.trim_start_matches('[').to_owned());
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
            let path = if table.is_empty() {
                key.to_owned()
            } else {
                format!("{table}.{key}")
            };
            rows.push(Row {
                path,
                default: default.map(str::to_owned),
                allowed: (*allowed).to_owned(),
            });
        }
    }
    assert!(
        rows.len() > 60,
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

/// The keys that the program knows in `table`: it names them when it meets one that it does not know.
fn known_keys(table: &str) -> BTreeSet<String> {
    let besides = KINDS
        .iter()
        .find(|(name, _)| *name == table)
        .map_or("", |(_, text)| text);
    let text = match table {
        "" => "no_such_key = 1\n".to_owned(),
        "routes" => "[[routes]]\nhostname = \"a\"\nno_such_key = 1\n".to_owned(),
        "discovery.targets" => {
            "[[discovery.targets]]\nidentifier = \"a\"\naddress = \"b\"\nno_such_key = 1\n".to_owned()
        }
        "authentication.profile" => {
            let profile =
                "id = \"11111111-2222-4333-8444-555555555555\"\nname = \"Alice\"\nno_such_key = 1\n";
            format!("[authentication]\ntype = \"fixed\"\n[authentication.profile]\n{profile}")
        }
        table => format!("[{table}]\n{besides}no_such_key = 1\n"),
    };
    let Err(problems) = load(&text, &[]) else {
        panic!("[{table}] takes a key that there is not")
    };
    let unknown = problems
        .all()
        .iter()
        .find(|problem| problem.key.ends_with("no_such_key"));
    let unknown = unknown.unwrap_or_else(|| panic!("[{table}]: {problems}"));
    unknown.allowed.split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_known() {
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows() {
        let (table, key) = row.path.rsplit_once('.').unwrap_or(("", &row.path));
        documented
            .entry(table.to_owned())
            .or_default()
            .insert(key.to_owned());
    }
    // Tables of their own sections on the page, and the other name of a key.
    let sections: BTreeSet<String> = documented
        .keys()
        .filter(|table| !table.is_empty())
        .cloned()
        .collect();
    let elsewhere = |table: &str, key: &str| {
        let path = if table.is_empty() {
            key.to_owned()
        } else {
            format!("{table}.{key}")
        };
        sections.contains(&path) || path == "unknown_host" || path == "rate_limiter.size"
    };
    for (table, keys) in &documented {
        let known = known_keys(table);
        let missing: Vec<_> = known
            .difference(keys)
            .filter(|key| !elsewhere(table, key))
            .collect();
        assert!(missing.is_empty(), "[{table}] {missing:?} are not documented");
        let unknown: Vec<_> = keys.difference(&known).collect();
        assert!(
            unknown.is_empty(),
            "[{table}] {unknown:?} are documented, and the program does not know them"
        );
    }
}

#[test]
fn the_documented_defaults_are_those_of_an_empty_file() {
    let settings = |text: &str| {
        let loaded = load(text, &[]).unwrap_or_else(|problems| panic!("{text}\n{problems}"));
        format!("{:#?}", loaded.config)
    };
    let empty = settings("");
    for row in rows() {
        let own_place =
            row.path.starts_with("discovery.targets.") || row.path.starts_with("authentication.profile");
        if let Some(default) = row.default.filter(|_| !own_place) {
            // Some tables are enabled by being there at all.
            let (table, key) = row.path.rsplit_once('.').unwrap_or(("", &row.path));
            let by_presence = ["rate_limiter", "proxy_protocol", "sentry", "discovery.health"];
            let off = if by_presence.contains(&table) {
                "enabled = false\n"
            } else {
                ""
            };
            let table = if table.is_empty() {
                String::new()
            } else {
                format!("[{table}]\n{off}")
            };
            assert_eq!(
                settings(&format!("{table}{key} = {default}\n")),
                empty,
                "{} = {default}",
                row.path
            );
        }
    }
}

#[test]
fn the_documented_bounds_are_kept() {
    let mut checked = 0;
    for row in rows()
        .iter()
        .filter(|row| !row.path.starts_with("discovery.targets."))
    {
        let Some((least, most)) = row.allowed.split_once(" – ") else {
            continue;
        };
        let [least, most] = [least, most].map(|bound| bound.parse::<i64>());
        let (Ok(least), Ok(most)) = (least, most) else {
            continue;
        };
        for (value, fits) in [(least, true), (most, true), (least - 1, false), (most + 1, false)] {
            assert_eq!(is_taken(&row.path, value), fits, "{} = {value}", row.path);
        }
        checked += 1;
    }
    assert!(
        checked > 20,
        "only {checked} bounds: the page has another form now"
    );
}

/// Whether the variable of this key takes this value, whatever else is wrong then.
fn is_taken(path: &str, value: i64) -> bool {
    let name = format!("PASSAGE_{}", path.replace('.', "_").to_uppercase());
    let besides = "[limits]\nhandshake = 1\n[discovery.ejection]\npause_max = 86400\n";
    match load(besides, &[(name, value.to_string())]) {
        Ok(_) => true,
        Err(problems) => problems.all().iter().all(|problem| problem.key != path),
    }
}
