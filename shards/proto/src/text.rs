//! Text components: what players read, as JSON, network NBT or plain text.

pub mod keys;
mod nbt;
mod plain;

use serde_json::Value;

use crate::limits::{TEXT_BYTES_MAX, TEXT_DEPTH_MAX};

/// A text component, bounded in size and depth, ready for every form in which a client may want it.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    component: Value,
}

impl Text {
    /// Takes a JSON text component. What is no valid JSON, not a string, an object or an array, nested deeper
    /// than [`TEXT_DEPTH_MAX`] or longer than [`TEXT_BYTES_MAX`] is shown literally, cut at that length.
    #[must_use]
    pub fn parse(json: &str) -> Self {
        if json.len() <= TEXT_BYTES_MAX
            && let Ok(component) = serde_json::from_str::<Value>(json)
            && is_component(&component, TEXT_DEPTH_MAX)
        {
            return Self { component };
        }
        Self::literal(json)
    }

    /// Takes plain text, cut at [`TEXT_BYTES_MAX`].
    #[must_use]
    pub fn literal(text: &str) -> Self {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        Self {
            component: Value::String(text.get(..end).unwrap_or_default().to_owned()),
        }
    }

    /// The component as JSON, which login disconnects and statuses carry.
    #[must_use]
    pub fn to_json(&self) -> String {
        self.component.to_string()
    }

    /// Appends the component as network NBT (a tag without a name), which the configuration phase carries.
    pub fn write_nbt(&self, out: &mut Vec<u8>) {
        nbt::write(&self.component, out);
    }

    /// The text alone, without styles, for clients and logs that know no components.
    #[must_use]
    pub fn to_plain(&self) -> String {
        plain::flatten(&self.component)
    }
}

fn is_component(value: &Value, depth: usize) -> bool {
    matches!(value, Value::String(_) | Value::Object(_) | Value::Array(_)) && is_shallow(value, depth)
}

fn is_shallow(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(items) => depth > 0 && items.iter().all(|item| is_shallow(item, depth - 1)),
        Value::Object(fields) => depth > 0 && fields.values().all(|field| is_shallow(field, depth - 1)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shows_what_is_no_component_literally() {
        for shown in ["Hello", "{\"text\":", "12", "true", "null", ""] {
            let text = Text::parse(shown);
            assert_eq!(text.to_plain(), shown);
            assert_eq!(text, Text::literal(shown));
        }
    }

    #[test]
    fn cuts_long_text_at_a_character() {
        let text = Text::literal(&"ä".repeat(TEXT_BYTES_MAX)).to_plain();
        assert_eq!(text.len(), TEXT_BYTES_MAX);
        let text = Text::parse(&format!("\"{}\"", "x".repeat(TEXT_BYTES_MAX)));
        assert!(
            text.to_plain().starts_with("\"xxx"),
            "a component that is too long is no longer one"
        );
        assert_eq!(text.to_plain().len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn refuses_to_follow_deep_nesting() {
        let nested = |depth: usize| format!("{}\"x\"{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(Text::parse(&nested(TEXT_DEPTH_MAX)).to_plain(), "x");
        assert_eq!(
            Text::parse(&nested(TEXT_DEPTH_MAX + 1)),
            Text::literal(&nested(TEXT_DEPTH_MAX + 1))
        );
        assert_eq!(Text::parse(&nested(5000)), Text::literal(&nested(5000)));
    }

    proptest! {
        #[test]
        fn any_text_survives_as_json(text in ".{0,200}") {
            let json = Text::literal(&text).to_json();
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text.clone());
            prop_assert_eq!(Text::parse(&json).to_plain(), text);
        }

        #[test]
        fn any_component_becomes_bounded_nbt(json in ".{0,300}") {
            let mut out = Vec::new();
            Text::parse(&json).write_nbt(&mut out);
            prop_assert!(out.len() <= 16 * json.len() + 16);
        }
    }
}
