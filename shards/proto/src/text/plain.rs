//! Plain text of a component.
use serde_json::Value;

pub(super) fn flatten(_component: &Value) -> String {
    String::new()
}
