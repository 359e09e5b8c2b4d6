//! The two cookies that a client carries between transfers.

/// The keys that sign and verify `passage:authentication`.
#[derive(Debug)]
pub struct CookieKeys {}
