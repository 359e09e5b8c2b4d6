//! The plain text of a component.

use serde_json::{Map, Value};

/// Everything that the component shows, one after the other, without styles.
pub(super) fn flatten(component: &Value) -> String {
    let mut out = String::new();
    append(component, &mut out);
    out
}

fn append(component: &Value, out: &mut String) {
    match component {
        Value::Null => {}
        Value::String(text) => out.push_str(text),
        Value::Bool(_) | Value::Number(_) => out.push_str(&component.to_string()),
        Value::Array(parts) => parts.iter().for_each(|part| append(part, out)),
        Value::Object(fields) => append_object(fields, out),
    }
}

fn append_object(fields: &Map<String, Value>, out: &mut String) {
    // A translation is the client's to look up; its fallback is what we can show, else its key.
    let shown = ["text", "fallback", "translate", "keybind", "selector"]
        .iter()
        .find_map(|name| fields.get(*name));
    if let Some(shown) = shown {
        append(shown, out);
    }
    if let Some(extra) = fields.get("extra") {
        append(extra, out);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn shows_text_and_extra_in_order() {
        let component =
            json!({"text": "a", "color": "red", "extra": ["b", {"text": "c", "extra": [1, true]}]});
        assert_eq!(flatten(&component), "abc1true");
    }

    #[test]
    fn shows_the_fallback_of_a_translation_or_its_key() {
        assert_eq!(flatten(&json!({"translate": "a.b", "fallback": "Hi"})), "Hi");
        assert_eq!(flatten(&json!([{"translate": "a.b"}, "!"])), "a.b!");
    }
}
