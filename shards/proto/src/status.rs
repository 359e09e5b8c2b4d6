//! A status answer that is encoded once and served many times.

/// An encoded status; only the protocol number differs between clients.
#[derive(Debug)]
pub struct StatusReply {}
