//! Messages with holes: parsed once, filled in for every player.
//!
//! Values are put into the *parsed* text component, never into its JSON text, so that no value can change
//! what a component is; and a value is not looked through for holes again.

use serde_json::Value;

/// Longest part of a parameter's value that is shown, in characters.
const PARAM_CHARS_MAX: usize = 256;

/// A text component whose strings may name parameters in braces.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template(Value);

impl Template {
    /// Reads a message: a JSON text component, or else plain text.
    pub(super) fn parse(message: &str) -> Self {
        match serde_json::from_str(message) {
            Ok(component @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => Self(component),
            _ => Self(serde_json::json!({ "text": message })),
        }
    }

    /// The component's JSON with every known parameter put in. Unknown ones are left as they are.
    pub(super) fn fill(&self, params: &[(&'static str, String)]) -> String {
        let mut component = self.0.clone();
        fill_strings(&mut component, params);
        component.to_string()
    }
}

fn fill_strings(component: &mut Value, params: &[(&'static str, String)]) {
    match component {
        Value::String(text) if text.contains('{') => *text = fill_text(text, params),
        Value::Array(parts) => parts.iter_mut().for_each(|part| fill_strings(part, params)),
        Value::Object(fields) => fields.values_mut().for_each(|field| fill_strings(field, params)),
        _ => {}
    }
}

fn fill_text(text: &str, params: &[(&'static str, String)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let (before, hole) = rest.split_at(open);
        filled.push_str(before);
        let named = params.iter().find(|(name, _)| {
            hole[1..]
                .strip_prefix(name)
                .is_some_and(|after| after.starts_with('}'))
        });
        rest = match named {
            Some((name, value)) => {
                filled.extend(value.chars().filter(|c| is_shown(*c)).take(PARAM_CHARS_MAX));
                &hole[name.len() + 2..]
            }
            None => {
                filled.push('{');
                &hole[1..]
            }
        };
    }
    filled + rest
}

/// Values are words, not formatting: no control characters, no `§` codes.
fn is_shown(c: char) -> bool {
    !c.is_control() && c != '§'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(message: &str, params: &[(&'static str, &str)]) -> Value {
        let params: Vec<_> = params
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        serde_json::from_str(&Template::parse(message).fill(&params)).unwrap()
    }

    #[test]
    fn fills_components_and_plain_text() {
        let json = r#"{"text":"Hi {name}","extra":["{name}",{"text":"{name}!"}]}"#;
        let filled = fill(json, &[("name", "Ann")]);
        assert_eq!(
            filled,
            serde_json::json!({"text": "Hi Ann", "extra": ["Ann", {"text": "Ann!"}]})
        );
        assert_eq!(
            fill("Hi {name}", &[("name", "Ann")]),
            serde_json::json!({"text": "Hi Ann"})
        );
        assert_eq!(fill("\"{name}\"", &[("name", "Ann")]), serde_json::json!("Ann"));
    }

    #[test]
    fn leaves_unknown_holes_and_stray_braces() {
        for text in ["{who}", "{", "}", "{}", "{{name}", "{name", "a { b"] {
            let filled = fill(
                &serde_json::json!({ "text": text }).to_string(),
                &[("name", "Ann")],
            );
            assert_eq!(filled["text"], text.replace("{name}", "Ann"), "{text}");
        }
    }

    #[test]
    fn lets_no_value_out_of_its_string() {
        let evil = r#"","clickEvent":{"action":"run_command","value":"/op me"},"x":""#;
        let filled = fill(r#"{"text":"Bye {name}"}"#, &[("name", evil)]);
        assert_eq!(filled.as_object().unwrap().len(), 1);
        assert_eq!(filled["text"], format!("Bye {evil}"));
    }

    #[test]
    fn neither_fills_values_again_nor_formats_with_them() {
        let params = [("a", "{b}"), ("b", "§c\u{7}red\n")];
        assert_eq!(fill("{a} {b}", &params)["text"], "{b} cred");
        let long = "x".repeat(PARAM_CHARS_MAX * 2);
        assert_eq!(
            fill("{a}", &[("a", &long)])["text"].as_str().unwrap().len(),
            PARAM_CHARS_MAX
        );
    }
}
