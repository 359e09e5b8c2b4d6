//! A status from a web server, in the form in which servers themselves answer pings.

use std::sync::Arc;

use passage_proto::question::{AskError, ClientInfo};
use passage_proto::status::StatusReply;
use passage_shards::metrics::AdapterName;
use serde_json::Value;

use super::{Resource, ResourceError};
use crate::adapters::listing::Listing;
use crate::adapters::{Answer, Call, FreshStatus, StatusService};
use crate::config::Service;
use crate::tls::Trust;

/// Longest page that is read. Clients accept 32 767 characters, each of three bytes at most.
const PAGE_BYTES_MAX: u64 = 128 * 1024;
/// The name of the version where the page has none: clients that can join do not show it.
const VERSION_NAME: &str = "Passage";

/// A web server that gives a status.
pub struct HttpStatus(Resource<Arc<StatusReply>>);

impl HttpStatus {
    /// Asks this service, whose certificate these authorities have issued.
    ///
    /// # Errors
    ///
    /// If its address or its token cannot be used.
    pub fn new(service: &Service, trust: &Trust) -> Result<Self, ResourceError> {
        Resource::new(AdapterName::Status, service, PAGE_BYTES_MAX, trust).map(Self)
    }
}

impl StatusService for HttpStatus {
    fn status<'a>(&'a self, _: &'a ClientInfo, call: Call) -> Answer<'a, Result<FreshStatus, AskError>> {
        Box::pin(async move {
            let fresh = self.0.fetch(call, |page| self.read(page)).await?;
            Ok(FreshStatus {
                reply: fresh.value,
                valid_for: fresh.valid_for,
            })
        })
    }

    fn threads(&self) -> usize {
        self.0.threads()
    }
}

impl HttpStatus {
    /// Reads a page, and says what of it cannot be shown. A page that is confirmed later is not read again,
    /// so that the log is told once.
    fn read(&self, page: &[u8]) -> Result<Arc<StatusReply>, String> {
        let (reply, dropped) = read(page)?;
        for (key, reason) in dropped {
            let address = self.0.uri.to_string();
            tracing::warn!(
                address,
                key,
                reason,
                "a part of the status cannot be shown, and is left out"
            );
        }
        Ok(Arc::new(reply))
    }
}

/// Keys that were left out, and why.
pub(in crate::adapters) type Dropped = Vec<(&'static str, &'static str)>;

pub(in crate::adapters) fn read(page: &[u8]) -> Result<(StatusReply, Dropped), String> {
    let json = std::str::from_utf8(page).map_err(|error| format!("the status is no UTF-8: {error}"))?;
    let mut listing = Listing::read(json)?;
    if has_no_version(json) {
        // A page made for a website knows of no versions: whoever asks is taken to fit.
        let document = &mut listing.document;
        (document.minimum, document.maximum) = (0, 0);
        document.version_name = VERSION_NAME.into();
        listing
            .dropped
            .retain(|dropped| dropped.key != "version.protocol");
    }
    let (reply, dropped) = listing.encode().map_err(|error| error.to_string())?;
    let dropped = dropped.into_iter().map(|dropped| (dropped.key, dropped.reason));
    Ok((reply, dropped.collect()))
}

fn has_no_version(json: &str) -> bool {
    serde_json::from_str::<Value>(json).is_ok_and(|status| status["version"].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client of this version is shown.
    fn shown(page: &str, protocol: i32) -> Value {
        let (reply, _) = read(page.as_bytes()).unwrap();
        let mut frame = Vec::new();
        reply.encode(protocol, &mut frame);
        let begin = frame.iter().position(|byte| *byte == b'{').unwrap();
        serde_json::from_slice(&frame[begin..]).unwrap()
    }

    #[test]
    fn shows_descriptions_of_both_kinds_and_does_without_players() {
        let text = shown(
            r#"{"version":{"name":"1.21","protocol":767},"description":"§aHello"}"#,
            767,
        );
        assert_eq!(text["version"]["protocol"], 767);
        assert!(text["description"].to_string().contains("Hello"), "{text}");
        assert_eq!(text.get("players"), None);
        let object = shown(
            r#"{"description":{"text":"Hi","color":"gold"},"players":{"max":20,"online":3,"sample":[]}}"#,
            5,
        );
        assert_eq!(object["description"]["color"], "gold");
        assert_eq!(object["players"]["online"], 3);
    }

    #[test]
    fn without_a_version_everybody_fits_and_with_one_only_that_does() {
        let page = r#"{"description":"Hello"}"#;
        for protocol in [5, 47, 767] {
            assert_eq!(shown(page, protocol)["version"]["protocol"], protocol);
        }
        assert_eq!(read(page.as_bytes()).unwrap().1, [], "nothing was left out");
        let page = r#"{"version":{"name":"1.21","protocol":767}}"#;
        assert_eq!(shown(page, 47)["version"]["protocol"], 767);
    }

    #[test]
    fn leaves_out_what_cannot_be_shown_and_says_what() {
        let page =
            r#"{"description":"Hello","favicon":"https://example.net/icon.png","modinfo":{"type":"FML"}}"#;
        let (_, dropped) = read(page.as_bytes()).unwrap();
        assert_eq!(dropped.len(), 1);
        assert_eq!(dropped[0].0, "favicon");
    }

    #[test]
    fn what_is_no_status_is_refused() {
        for page in [&b""[..], b"[]", b"\"hello\"", b"<html>", b"\xFF"] {
            assert!(read(page).is_err(), "{page:?}");
        }
    }
}
