//! Rendezvous hashing: each player draws a number for each target, always the same one, and goes to the
//! highest. A target that goes takes only its own players along, one that comes takes an even share of
//! everybody's.
//!
//! Nothing here is seeded: all shards, all processes and all versions of Passage have to agree.

use std::net::IpAddr;

use passage_proto::question::ChooseQuery;

/// The number that stands for a player: its UUID; where a relayed login carries none, its name; for a ping,
/// which has no player, the client's IP address.
pub(super) fn key(query: &ChooseQuery) -> u64 {
    match &query.player {
        Some(player) if !player.id.is_nil() => hash(player.id.as_bytes()),
        Some(player) => hash(player.name.as_bytes()),
        None => match query.client.address.ip() {
            IpAddr::V4(ip) => hash(&ip.octets()),
            IpAddr::V6(ip) => hash(&ip.octets()),
        },
    }
}

/// How much a player wants a target; the highest score wins.
pub(super) type Score = (f64, u64);

/// The score of a target among others without weights.
pub(super) fn score(key: u64, identifier: &str) -> Score {
    (0.0, mix(key ^ hash(identifier.as_bytes())))
}

/// The score of a target with a weight: it wins as often as its share of the weights says. With the weight 0
/// it only wins over others with the weight 0.
#[expect(clippy::cast_precision_loss, reason = "52 bits fit")]
pub(super) fn weighted_score(key: u64, identifier: &str, weight: u32) -> Score {
    let (_, bits) = score(key, identifier);
    // In (0, 1), both ends excluded, so that the logarithm is finite and negative.
    let uniform = ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    // Of exponential variables with the weights as rates each is the smallest with the probability weight ÷
    // sum.
    (uniform.ln() / f64::from(weight), bits)
}

/// FNV-1a with 64 bits (RFC 9923), finished so that every bit of the input changes half of the output's.
fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    mix(bytes.iter().fold(0xCBF2_9CE4_8422_2325, fold))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
