//! What an operator has said that holds for every connection.

use std::net::IpAddr;

use passage_proto::session::{Bounds, ProxyExpectation};

use crate::pool::{Blueprint, Limits, ProxyProtocol, Untrusted};

/// The operator's terms for every connection.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) limits: Limits,
    pub(crate) bounds: Bounds,
    proxy_protocol: Option<ProxyProtocol>,
}

impl Terms {
    pub(crate) fn of(blueprint: &Blueprint) -> Self {
        let limits = blueprint.limits;
        let bounds = Bounds {
            frame_bytes: blueprint.max_packet_length,
            handshake: limits.handshake,
            step: limits.step,
            total: blueprint.timeout,
            cookie_expiry_seconds: blueprint.auth_cookie_expiry.as_secs(),
        };
        Self {
            limits,
            bounds,
            proxy_protocol: blueprint.proxy_protocol.clone(),
        }
    }

    /// Whether this peer has to send a PROXY header first; `None` if it is not served at all.
    pub(crate) fn proxy_expectation(&self, peer: IpAddr) -> Option<ProxyExpectation> {
        let Some(proxy) = &self.proxy_protocol else {
            return Some(ProxyExpectation::Direct);
        };
        let peer = peer.to_canonical();
        if proxy.trusted.iter().any(|network| network.contains(&peer)) {
            return Some(ProxyExpectation::Required {
                v1: proxy.allow_v1,
                v2: proxy.allow_v2,
            });
        }
        match proxy.untrusted {
            Untrusted::Reject => None,
            Untrusted::Direct => Some(ProxyExpectation::Direct),
        }
    }
}
