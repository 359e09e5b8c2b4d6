//! Resets at every stage of a connection.

use std::net::Ipv4Addr;
use std::time::Duration;

use uuid::Uuid;

use super::floods::hello;
use super::logins::{put_ciphertexts, put_cookie};
use super::{Attack, Ground, Move, Plan, Strike, said};
use crate::cookie;
use crate::flow::status;
use crate::random::Random;
use crate::wire::{Intent, put_handshake, put_login_start};

/// Stages that there are.
const STAGES: u64 = 8;

/// Connections that are reset: at once, amid the handshake, amid a ping, amid a login, when the server has a
/// private key at work, and amid a relay in both directions.
pub(super) struct Resets(Ground);

impl Resets {
    pub(super) fn new(ground: &Ground) -> Self {
        Self(ground.clone())
    }

    fn greet(&self, host: &str, intent: Intent, output: &mut Vec<u8>) {
        let hello = hello(&self.0, host);
        put_handshake(output, hello.protocol, &hello.host, hello.port, intent);
        if intent == Intent::Login {
            put_login_start(output, "Resetter", Uuid::from_u128(11));
        }
    }
}

impl Attack for Resets {
    fn plan(&self) -> Plan {
        Plan {
            pulse: Some(Duration::from_millis(20)),
            ..Plan::flood(1_600.0)
        }
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        let ground = &self.0;
        match number % STAGES {
            0 => return (said().0, Move::Reset),
            1 => {
                self.greet(&ground.relay_host, Intent::Status, output);
                output.truncate(output.len() / 2);
                return (Box::new(Later), Move::Stay);
            }
            // Reset while the answer is on its way, and when it has come.
            2 => {
                output.extend_from_slice(&status::opening(&hello(ground, &ground.relay_host)));
                return (said().0, Move::Reset);
            }
            3 => output.extend_from_slice(&status::opening(&hello(ground, &ground.relay_host))),
            4 => self.greet(&ground.login_host, Intent::Login, output),
            5 => {
                self.greet(&ground.login_host, Intent::Login, output);
                put_cookie(output, cookie::SESSION.as_bytes(), None);
                put_ciphertexts(random, output);
            }
            6 => self.greet(&ground.relay_host, Intent::Login, output),
            _ => self.greet(&ground.faucet_host, Intent::Login, output),
        }
        (Box::new(OnAnswer), Move::Stay)
    }
}

/// Resets a moment after it has begun.
struct Later;

impl Strike for Later {
    fn pulse(&mut self, _: &mut Vec<u8>) -> Move {
        Move::Reset
    }
}

/// Resets at the first byte of an answer.
struct OnAnswer;

impl Strike for OnAnswer {
    fn receive(&mut self, _: &[u8], _: &mut Vec<u8>) -> Move {
        Move::Reset
    }
}
