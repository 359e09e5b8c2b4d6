//! What clients of a simulated shard say.

use std::net::SocketAddr;
use std::rc::Rc;

use passage_proto::cipher::Encryptor;
use passage_proto::identity::SharedSecret;
use passage_proto::packet::login::{EncryptionRequest, EncryptionResponse, Seen, Serverbound, TokenProof};
use passage_proto::packet::{CookieRequest, CookieResponse};
use passage_proto::proxy_header::{self, Addresses, ProxyVersion};
use passage_proto::version::Version;
use passage_proto::wire::{split_frame, write_frame, write_string, write_var_int};

use super::plan::{HOSTS, SWORN};
use crate::choices::Choices;
use crate::engine::simulation::{Answer, Retort, Visitor};
use crate::rsa;

/// More than anything that clients read.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// The secret of everybody.
const SECRET: [u8; 16] = *b"not much of one.";

/// A client from this address.
pub(super) fn visitor(address: SocketAddr, crowd: Crowd, choices: &mut Choices) -> Visitor {
    let mut speech = Vec::new();
    if crowd.balanced && !choices.once_in(8) {
        let version = choices.one_of(&[ProxyVersion::V1, ProxyVersion::V2]);
        let octet = u8::try_from(choices.below(4)).unwrap();
        let source = SocketAddr::from(([198, 51, 100, octet], 4_000));
        let destination = SocketAddr::from(([203, 0, 113, 1], 25_565));
        proxy_header::write(version, Addresses { source, destination }, &mut speech);
        if choices.once_in(12) {
            speech.truncate(usize::try_from(choices.below(speech.len() as u64)).unwrap());
        }
    }
    let protocol = choices.one_of(&[770, 776, 47, 765]);
    if crowd.rushes {
        log_in(&mut speech, protocol, SWORN);
    } else {
        speech.extend(words(protocol, choices));
    }
    let manner = choices.one_of(&[
        Manner::Honest,
        Manner::Honest,
        Manner::WrongToken,
        Manner::WrongKey,
    ]);
    Visitor {
        address,
        speech,
        retort: Some(retort(protocol, manner)),
    }
}

/// What the clients of a world have in common.
#[derive(Clone, Copy)]
pub(super) struct Crowd {
    /// They come through a balancer, most of them.
    pub(super) balanced: bool,
    /// All of them want to be authenticated.
    pub(super) rushes: bool,
}

/// How a client answers an encryption request.
#[derive(Clone, Copy)]
enum Manner {
    /// And goes on as after a login.
    Honest,
    WrongToken,
    /// With bytes that no key made.
    WrongKey,
}

/// What is said in a login to what the server asks.
fn retort(protocol: u16, manner: Manner) -> Retort {
    let version = Version::of(i32::from(protocol));
    Rc::new(move |heard| {
        let frame = split_frame(heard, FRAME_BYTES_MAX).ok()??;
        let mut words = Vec::new();
        let is_last = match Seen::decode(&heard[frame.clone()], version) {
            Ok(Seen::CookieRequest(CookieRequest { key })) => {
                let response = CookieResponse { key, payload: None };
                Serverbound::CookieResponse(response).encode(version, &mut words);
                false
            }
            Ok(Seen::EncryptionRequest(request)) => {
                agree(&request, version, manner, &mut words);
                true
            }
            _ => true,
        };
        Some(Answer {
            heard: frame.end,
            words,
            is_last,
        })
    })
}

fn agree(request: &EncryptionRequest<'_>, version: &Version, manner: Manner, said: &mut Vec<u8>) {
    let encrypt = |bytes: &[u8]| rsa::encrypt(request.public_key, bytes).unwrap();
    let (secret, token) = match manner {
        Manner::Honest => (encrypt(&SECRET), encrypt(request.verify_token)),
        Manner::WrongToken => (encrypt(&SECRET), encrypt(b"none")),
        Manner::WrongKey => (vec![7; 128], vec![9; 128]),
    };
    let response = EncryptionResponse {
        shared_secret: &secret,
        proof: TokenProof::Encrypted(&token),
    };
    Serverbound::EncryptionResponse(response).encode(version, said);
    let mut acknowledged = Vec::new();
    frame_of(&mut acknowledged, &[3]);
    Encryptor::new(&SharedSecret::new(SECRET)).encrypt(&mut acknowledged);
    said.extend(acknowledged);
}

/// What a client says by itself: a ping, a login, less than that, or nonsense.
fn words(protocol: u16, choices: &mut Choices) -> Vec<u8> {
    let host = choices.one_of(&HOSTS).0;
    let host = if choices.once_in(10) {
        "nowhere.example.net"
    } else {
        host
    };
    let mut said = Vec::new();
    match choices.below(8) {
        0..=2 => {
            handshake(&mut said, protocol, host, 1);
            frame_of(&mut said, &[0]);
            frame_of(&mut said, &[1, 0, 0, 0, 0, 0, 0, 0, 7]);
        }
        3..=6 => {
            log_in(&mut said, protocol, host);
            // Not where there is more to be said first.
            if choices.once_in(2) && host != SWORN {
                frame_of(&mut said, &[3]);
            }
        }
        _ => said.extend((0..choices.below(60)).map(|byte| u8::try_from(byte * 5 % 256).unwrap())),
    }
    said
}

fn log_in(into: &mut Vec<u8>, protocol: u16, host: &str) {
    handshake(into, protocol, host, 2);
    let mut start = vec![0, 5];
    start.extend_from_slice(b"Alice");
    if protocol >= 764 {
        start.extend_from_slice(&[7; 16]);
    }
    frame_of(into, &start);
}

fn handshake(into: &mut Vec<u8>, protocol: u16, host: &str, intent: u8) {
    write_frame(into, |out| {
        write_var_int(out, 0);
        write_var_int(out, i32::from(protocol));
        write_string(out, host);
        out.extend_from_slice(&25_565_u16.to_be_bytes());
        out.push(intent);
    });
}

fn frame_of(into: &mut Vec<u8>, body: &[u8]) {
    write_frame(into, |out| out.extend_from_slice(body));
}
