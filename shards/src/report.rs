//! Errors for whoever collects them: `tracing` events of one target, named by their kind. They are not meant
//! for log lines, and without a collector they cost what a disabled log level costs.

use std::net::SocketAddr;

use passage_proto::question::{AskError, Target};
use passage_proto::session::{Facts, Stage};

use crate::dial::DialError;
use crate::metrics::{AdapterName, AdapterType, error_type};
use crate::outcome::Record;
use crate::trace::TraceParent;

/// The target of all reports.
pub const TARGET: &str = "passage::report";

/// Something that serves a connection panicked; follows the panic on the same thread.
pub const PANIC: &str = "panic";
/// An adapter failed to answer.
pub const ADAPTER_ERROR: &str = "adapter_error";
/// A target could not be reached.
pub const TARGET_FAILURE: &str = "target_failure";
/// The configuration is wrong.
pub const CONFIGURATION: &str = "configuration_error";

/// An adapter did not answer a question of this connection. That it says no is an answer.
pub(crate) fn adapter_error(
    facts: &Facts,
    record: &Record,
    name: AdapterName,
    kind: AdapterType,
    cause: AskError,
) {
    if cause == AskError::Denied {
        return;
    }
    let context = record.context();
    tracing::error!(
        name: ADAPTER_ERROR,
        target: TARGET,
        client_ip = %facts.client.ip(),
        username = facts.username.as_deref(),
        user_id = facts.user_id.map(tracing::field::display),
        target_identifier = facts.target.as_ref().map(|target| target.identifier.as_str()),
        route = record.route_name(),
        trace_id = context.as_ref().map(TraceParent::trace_id),
        span_id = context.as_ref().map(TraceParent::span_id),
        adapter_name = name.label(),
        adapter_type = kind.label(),
        error_type = error_type(cause),
        "An adapter failed"
    );
}

/// The target that was chosen for this connection could not be dialled.
pub(crate) fn target_failure(facts: &Facts, record: &Record, target: &Target, error: &DialError) {
    let context = record.context();
    tracing::error!(
        name: TARGET_FAILURE,
        target: TARGET,
        client_ip = %facts.client.ip(),
        username = facts.username.as_deref(),
        user_id = facts.user_id.map(tracing::field::display),
        target_identifier = target.identifier,
        target_address = %format_args!("{}:{}", target.host, target.port),
        route = record.route_name(),
        trace_id = context.as_ref().map(TraceParent::trace_id),
        span_id = context.as_ref().map(TraceParent::span_id),
        error_type = error.kind(),
        %error,
        "A target cannot be reached"
    );
}

/// The panic that was just caught was that of this client's connection.
pub(crate) fn panicked(client: SocketAddr, stage: Stage) {
    tracing::error!(
        name: PANIC,
        target: TARGET,
        client_ip = %client.ip(),
        stage = ?stage,
        "A connection panicked"
    );
}
