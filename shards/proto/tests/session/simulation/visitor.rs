//! A client of the simulation: mostly well-behaved, at its own pace, cut into pieces by the network.

use std::time::Duration;

use passage_proto::packet::handshake::Intent;
use passage_proto::packet::login::{self, PluginResponse};

use crate::client::{Client, Event, KEEP_ALIVE_ID};
use crate::cookies::{cookie_of, forged_cookie};
use crate::recordings::VISIT;
use crate::world::{ALICE, BIRTH, setup};

use super::choices::Choices;
use super::model::{Model, Packet, Time};

/// Packets of one client at most.
const PACKETS_MAX: usize = 40;

/// The client.
pub(crate) struct Visitor {
    pub(crate) protocol: i32,
    pub(crate) intent: Intent,
    pub(crate) behind_a_proxy: bool,
    /// Seconds by which the wall clock is off.
    pub(crate) wall: i64,
    elsewhere: bool,
    client: Option<Client>,
    /// What the client believes to come next, in its order.
    plan: std::vec::IntoIter<Packet>,
    configured: bool,
    packets: usize,
    /// Everything that was written, and where its packets end.
    pub(crate) written: Vec<u8>,
    ends: Vec<(usize, Packet)>,
    /// How much of it has arrived, in bytes and packets.
    pub(crate) arrived: usize,
    arrived_packets: usize,
    /// When the next piece arrives.
    pub(crate) next: Option<Time>,
    /// When the client goes away; the session hears of it.
    pub(crate) leaves: Option<Time>,
}

impl Visitor {
    pub(crate) fn new(choices: &mut Choices) -> Self {
        let intent = choices.one_of(&[
            Intent::Transfer,
            Intent::Login,
            Intent::Status,
            Intent::Login,
            Intent::Transfer,
        ]);
        let protocol = choices.one_of(&[770, 766, 767, 775, 776, 777, 900, 47, 340, 761]);
        let behind_a_proxy = choices.once_in(4);
        let (elsewhere, wall) = (
            behind_a_proxy && choices.once_in(2),
            choices.one_of(&[0, 0, 1_000, 30_000, -100_000]),
        );
        let mut plan = Vec::new();
        if behind_a_proxy {
            plan.push(Packet::Proxy { elsewhere });
        }
        plan.push(Packet::Handshake(intent));
        plan.extend(match intent {
            Intent::Status => [Packet::Request, Packet::Ping].to_vec(),
            Intent::Login | Intent::Transfer => login_plan(intent, choices),
        });
        Self {
            protocol,
            intent,
            behind_a_proxy,
            wall,
            elsewhere,
            client: Some(Client::new(protocol)),
            plan: plan.into_iter(),
            configured: false,
            packets: 0,
            written: Vec::new(),
            ends: Vec::new(),
            arrived: 0,
            arrived_packets: 0,
            next: Some(Time::ZERO),
            leaves: choices.once_in(4).then(|| pause(choices)),
        }
    }

    /// Lets the next piece arrive, and says which packets it completes. Decides when the one after it does.
    pub(crate) fn arrive(
        &mut self,
        model: &Model,
        now: Time,
        choices: &mut Choices,
    ) -> (Vec<u8>, Vec<Packet>) {
        while self.arrived == self.written.len() || choices.once_in(3) {
            if !self.write(model, choices) {
                break;
            }
        }
        let left = self.written.len() - self.arrived;
        let size = match choices.below(4) {
            0 | 1 => left,
            2 => left.min(1 + usize::try_from(choices.below(3)).unwrap_or(0)),
            _ => left.min(1 + usize::try_from(choices.below(200)).unwrap_or(0)),
        };
        let piece = self.written[self.arrived..self.arrived + size].to_vec();
        self.arrived += size;
        let complete: Vec<Packet> = self.ends[self.arrived_packets..]
            .iter()
            .take_while(|(end, _)| *end <= self.arrived)
            .map(|(_, packet)| *packet)
            .collect();
        self.arrived_packets += complete.len();
        let silent = self.arrived == self.written.len() && self.packets >= PACKETS_MAX;
        self.next = (!silent && !piece.is_empty()).then(|| now + pause(choices));
        (piece, complete)
    }

    /// Whether the cookie that the client brings proves who it is.
    fn proof(&self, choices: &mut Choices) -> (Vec<u8>, bool) {
        let peer = setup().peer;
        let fresh = !self.elsewhere && self.wall <= 20_000;
        match choices.below(6) {
            0..=2 => (cookie_of(BIRTH - 60, peer), fresh),
            3 => (cookie_of(BIRTH - 22_000, peer), !self.elsewhere && self.wall < 0),
            4 => (forged_cookie(), false),
            _ => (cookie_of(BIRTH - 60, ([198, 51, 100, 7], 1).into()), false),
        }
    }

    /// Writes one more packet, if the client has more to say.
    fn write(&mut self, model: &Model, choices: &mut Choices) -> bool {
        if self.packets >= PACKETS_MAX {
            return false;
        }
        self.packets += 1;
        let packet = match (choices.once_in(40), self.plan.next()) {
            (true, _) => Packet::Nonsense,
            (false, Some(packet)) => packet,
            (false, None) if self.intent == Intent::Status => return false,
            (false, None) => configured_packet(model, choices),
        };
        self.configured |= packet == Packet::Acknowledged;
        self.encode(packet, choices);
        true
    }

    fn encode(&mut self, packet: Packet, choices: &mut Choices) {
        let Some(client) = self.client.take() else { return };
        let mut packet = packet;
        let mut client = match packet {
            Packet::Proxy { elsewhere: true } => {
                client.raw(b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 25565\r\n")
            }
            Packet::Proxy { elsewhere: false } => client.raw(b"PROXY UNKNOWN\r\n"),
            Packet::Handshake(intent) => client.handshake("play.example.net", intent),
            Packet::Request => client.status_request(),
            Packet::Ping => client.ping(42),
            Packet::Start => client.login_start("Alice", ALICE),
            Packet::SessionCookie => {
                let visit = choices.one_of(&[None, Some(VISIT), Some(b"no visit".as_slice())]);
                client.session_cookie(visit)
            }
            Packet::AuthCookie { .. } => {
                let (payload, proves) = self.proof(choices);
                packet = Packet::AuthCookie { proves };
                client.authentication_cookie(Some(&payload))
            }
            Packet::Secret { right: true } => client.encryption_response(),
            Packet::Secret { right: false } => client.encryption_response_with(b"none"),
            Packet::Acknowledged => client.acknowledged(),
            Packet::Information => client.client_information("de_de"),
            Packet::KeepAlive(nth) => client.keep_alive(KEEP_ALIVE_ID.wrapping_add(i64::from(nth))),
            Packet::Chatter => client.brand(),
            Packet::Nonsense => client.raw(&[0]),
            Packet::Foreign => client.login(login::Serverbound::PluginResponse(PluginResponse {
                message_id: 7,
                data: Some(&[7; 1500]),
            })),
        };
        for event in client.take_events() {
            if let Event::Bytes(bytes) = event {
                self.written.extend(bytes);
            }
        }
        self.ends.push((self.written.len(), packet));
        self.client = Some(client);
    }
}

/// What a client expects of its login, with or without encryption and cookies.
fn login_plan(intent: Intent, choices: &mut Choices) -> Vec<Packet> {
    let mut plan = vec![Packet::Start];
    if choices.once_in(4) {
        // It believes in a relay.
        plan.extend([Packet::Foreign; 12]);
        return plan;
    }
    plan.push(Packet::SessionCookie);
    if intent == Intent::Transfer && !choices.once_in(3) {
        plan.push(Packet::AuthCookie { proves: false });
    }
    if !choices.once_in(3) {
        plan.push(Packet::Secret {
            right: !choices.once_in(8),
        });
    }
    plan.push(Packet::Acknowledged);
    if choices.once_in(6) {
        let place = usize::try_from(choices.below(plan.len() as u64)).unwrap_or(0);
        plan.remove(place);
    }
    plan
}

fn configured_packet(model: &Model, choices: &mut Choices) -> Packet {
    match (choices.below(6), model.unanswered) {
        (0..=2, Some(nth)) => Packet::KeepAlive(nth),
        (0 | 3, _) => Packet::Information,
        (4, _) if choices.once_in(8) => Packet::KeepAlive(9),
        _ => Packet::Chatter,
    }
}

/// How long something takes: nothing, a moment, or far too long.
pub(super) fn pause(choices: &mut Choices) -> Duration {
    Duration::from_millis(match choices.below(8) {
        0..=2 => 0,
        3 | 4 => choices.below(300),
        5 | 6 => 250 * choices.below(80),
        _ => 1_000 * choices.below(140),
    })
}
