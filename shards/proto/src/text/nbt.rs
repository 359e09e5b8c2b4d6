//! Network NBT.
use serde_json::Value;

pub(super) fn write(_component: &Value, _out: &mut Vec<u8>) {}
