//! Errors for whoever collects them: `tracing` events of one target, named by their kind. They are not meant
//! for log lines, and without a collector they cost what a disabled log level costs.

use std::net::SocketAddr;
use std::sync::Arc;

use passage_proto::question::{AskError, Target};
use passage_proto::session::{Facts, Stage};
use uuid::Uuid;

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
        target_address = facts.target.as_ref().map(|target| address(target)),
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
        target_address = address(target),
        route = record.route_name(),
        trace_id = context.as_ref().map(TraceParent::trace_id),
        span_id = context.as_ref().map(TraceParent::span_id),
        error_type = error.kind(),
        %error,
        "A target cannot be reached"
    );
}

/// What is known of a connection that panics. Its parts tell it while they are dropped, because nothing else
/// is left of them when the panic is caught.
#[derive(Debug)]
pub(crate) struct Panicked {
    client: SocketAddr,
    stage: Stage,
    route: Option<Box<str>>,
    context: Option<TraceParent>,
    username: Option<String>,
    user_id: Option<Uuid>,
    target: Option<Arc<Target>>,
}

impl Panicked {
    /// A connection of this client, and nothing more.
    pub(crate) fn new(client: SocketAddr) -> Self {
        Self {
            client,
            stage: Stage::Handshake,
            route: None,
            context: None,
            username: None,
            user_id: None,
            target: None,
        }
    }

    /// Its record knows how far it had come, on which route and in which trace.
    pub(crate) fn locate(&mut self, stage: Stage, route: Option<&str>, context: Option<TraceParent>) {
        self.stage = stage;
        (self.route, self.context) = (route.map(Box::from), context);
    }

    /// Its session knows who plays and where to.
    pub(crate) fn identify(&mut self, facts: &Facts) {
        self.username.clone_from(&facts.username);
        (self.user_id, self.target) = (facts.user_id, facts.target.clone());
    }

    /// Tells who collects errors that the panic which was just caught was this connection's.
    pub(crate) fn report(&self) {
        tracing::error!(
            name: PANIC,
            target: TARGET,
            client_ip = %self.client.ip(),
            username = self.username.as_deref(),
            user_id = self.user_id.map(tracing::field::display),
            target_identifier = self.target.as_ref().map(|target| target.identifier.as_str()),
            target_address = self.target.as_ref().map(|target| address(target)),
            route = self.route.as_deref(),
            trace_id = self.context.as_ref().map(TraceParent::trace_id),
            span_id = self.context.as_ref().map(TraceParent::span_id),
            stage = ?self.stage,
            "A connection panicked"
        );
    }

    /// Tells the log, with the words of the panic.
    pub(crate) fn log(&self, words: &str) {
        tracing::error!(
            target: "passage::connection",
            client_ip = %self.client.ip(),
            username = self.username.as_deref(),
            user_id = self.user_id.map(tracing::field::display),
            target_identifier = self.target.as_ref().map(|target| target.identifier.as_str()),
            target_address = self.target.as_ref().map(|target| address(target)),
            server_address = self.route.as_deref(),
            trace_id = self.context.as_ref().map(TraceParent::trace_id),
            span_id = self.context.as_ref().map(TraceParent::span_id),
            stage = ?self.stage,
            panic = words,
            "Connection panicked"
        );
    }
}

fn address(target: &Target) -> String {
    format!("{}:{}", target.host, target.port)
}
