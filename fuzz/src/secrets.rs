//! Secrets of a configuration, which nothing may show.

use toml::{Table, Value};

use crate::config::Input;

/// What a secret has in it, so that it is told from everything else.
const MARK: &str = "hunter2";

/// Tables whose `token` is a secret, at the top level and in routes.
const SERVICES: [&str; 5] = [
    "status",
    "authentication",
    "discovery",
    "strategy",
    "localization",
];

/// Secrets by variable.
const VARIABLES: [&str; 11] = [
    "PASSAGE_AUTH_SECRET",
    "PASSAGE_AUTH_SECRET_PREVIOUS",
    "PASSAGE_OTEL_METRICS_TOKEN",
    "PASSAGE_OTEL_TRACES_TOKEN",
    "PASSAGE_OTEL_LOGS_TOKEN",
    "PASSAGE_SENTRY_ADDRESS",
    "PASSAGE_STATUS_TOKEN",
    "PASSAGE_AUTHENTICATION_TOKEN",
    "PASSAGE_DISCOVERY_TOKEN",
    "PASSAGE_STRATEGY_TOKEN",
    "PASSAGE_LOCALIZATION_TOKEN",
];

/// Whether nothing of what is said has a secret in it. The mark is looked for only where it stands in secrets
/// alone.
pub(crate) fn are_hidden(input: &Input<'_>, said: &str) -> bool {
    if !said.contains(MARK) {
        return true;
    }
    let Ok(mut document) = input.text.parse::<Table>() else {
        // Of a document that is no TOML, nothing is quoted but its keys.
        return is_a_key(input.text);
    };
    take_secrets(&mut document);
    let variable = |(name, value): &(&str, &str)| {
        name.contains(MARK) || value.contains(MARK) && !VARIABLES.contains(name)
    };
    document.to_string().contains(MARK) || input.variables.iter().any(variable)
}

fn is_a_key(text: &str) -> bool {
    text.lines()
        .any(|line| line.split_once('=').map_or(line, |(key, _)| key).contains(MARK))
}

/// Leaves a document without its secrets.
fn take_secrets(document: &mut Table) {
    take(document, &["auth_secret", "auth_secret_previous"]);
    if let Some(Value::Table(otel)) = document.get_mut("otel") {
        take(otel, &["metrics_token", "traces_token", "logs_token"]);
    }
    if let Some(Value::Table(sentry)) = document.get_mut("sentry") {
        take(sentry, &["address"]);
    }
    take_tokens(document);
    if let Some(Value::Array(routes)) = document.get_mut("routes") {
        routes
            .iter_mut()
            .filter_map(Value::as_table_mut)
            .for_each(take_tokens);
    }
}

/// Leaves services without their tokens.
fn take_tokens(route: &mut Table) {
    for name in SERVICES {
        let Some(Value::Table(service)) = route.get_mut(name) else {
            continue;
        };
        take(service, &["token"]);
        if let Some(Value::Array(actions)) = service.get_mut("actions") {
            let actions = actions.iter_mut().filter_map(Value::as_table_mut);
            actions.for_each(|action| take(action, &["token"]));
        }
    }
}

fn take(table: &mut Table, keys: &[&str]) {
    for key in keys {
        table.remove(*key);
    }
}
