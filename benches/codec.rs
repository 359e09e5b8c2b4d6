//! What the codecs cost: frames, packets, names, cookies and the cipher.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use passage_proto::cipher::{Decryptor, Encryptor};
use passage_proto::hostname;
use passage_proto::identity::SharedSecret;
use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::proxy_header::{self, Addresses, Allowed, ProxyVersion};
use passage_proto::wire;

use harness::Case;

#[path = "support/harness.rs"]
mod harness;

fn main() -> ExitCode {
    let frame = handshake();
    let header = proxy_header();
    let secret = SharedSecret::new([9; 16]);
    let (mut outward, mut inward) = (Encryptor::new(&secret), Decryptor::new(&secret));
    let (mut sealed, mut opened) = ([1_u8; 100], [2_u8; 100]);
    let allowed = Allowed { v1: true, v2: true };
    harness::main(vec![
        Case::new("handshake: split and decode", move || {
            let range = wire::split_frame(&frame, 10_000)
                .ok()
                .flatten()
                .unwrap_or_default();
            Handshake::decode(&frame[range]).map(|handshake| handshake.port)
        }),
        Case::new("host name: normalise", || {
            hostname::normalise(std::hint::black_box("Play.Example.NET.\0FML3\0"))
        }),
        Case::new("PROXY v2 header: parse", move || {
            proxy_header::parse(&header, allowed).map(|header| header.map(|header| header.length))
        }),
        Case::new("cipher: encrypt 100 bytes", move || {
            outward.encrypt(&mut sealed);
            sealed[99]
        }),
        Case::new("cipher: decrypt 100 bytes", move || {
            inward.decrypt(&mut opened);
            opened[99]
        }),
    ])
}

fn handshake() -> Vec<u8> {
    let mut bytes = Vec::new();
    Handshake {
        protocol: 775,
        address: "play.example.net",
        port: 25565,
        intent: Intent::Login,
    }
    .encode(&mut bytes);
    bytes
}

fn proxy_header() -> Vec<u8> {
    let addresses = Addresses {
        source: SocketAddr::from((Ipv4Addr::new(203, 0, 113, 7), 40_000)),
        destination: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 25565)),
    };
    let mut bytes = Vec::new();
    proxy_header::write(ProxyVersion::V2, addresses, &mut bytes);
    bytes
}
