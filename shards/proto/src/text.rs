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
    /// Takes a JSON text component. What is no valid JSON, not a string, an object or an array, nested deeper than
    /// [`TEXT_DEPTH_MAX`] or longer than [`TEXT_BYTES_MAX`] is shown literally, cut at that length.
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
