//! What is no Minecraft: noise, TLS, HTTP.

use std::net::Ipv4Addr;

use super::{Attack, Move, Plan, Strike, said};
use crate::random::Random;

/// Longest burst of noise.
const NOISE_BYTES_MAX: u64 = 2_048;

/// Random bytes.
pub(super) struct Noise;

impl Attack for Noise {
    fn plan(&self) -> Plan {
        Plan::flood(3_000.0)
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        let count = 1 + random.next_u64() % NOISE_BYTES_MAX;
        output.resize(usize::try_from(count).unwrap_or(1), 0);
        random.fill(output);
        said()
    }
}

/// A ClientHello of TLS 1.3 for `play.example.net`, with the extensions that browsers send cut to the
/// necessary.
pub(super) struct Tls;

impl Attack for Tls {
    fn plan(&self) -> Plan {
        Plan::flood(3_000.0)
    }

    fn strike(
        &mut self,
        _: u64,
        _: Option<Ipv4Addr>,
        random: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        client_hello(random, output);
        said()
    }
}

/// RFC 8446, section 4.1.2.
fn client_hello(random: &mut Random, output: &mut Vec<u8>) {
    let mut noise = [0; 96];
    random.fill(&mut noise);
    let (nonce, key_share) = noise.split_at(64);
    let name = b"play.example.net";
    let mut body = vec![0x03, 0x03];
    body.extend_from_slice(&nonce[..32]);
    put_length(&mut body, 1, &nonce[32..]);
    put_length(&mut body, 2, &[0x13, 0x01, 0x13, 0x02, 0x13, 0x03]);
    body.extend_from_slice(&[1, 0]);
    let mut extensions = Vec::new();
    let mut server_name = vec![0];
    put_length(&mut server_name, 2, name);
    let mut list = Vec::new();
    put_length(&mut list, 2, &server_name);
    put_extension(&mut extensions, 0, &list);
    put_extension(&mut extensions, 43, &[2, 0x03, 0x04]);
    let mut share = vec![0, 29];
    put_length(&mut share, 2, key_share);
    let mut shares = Vec::new();
    put_length(&mut shares, 2, &share);
    put_extension(&mut extensions, 51, &shares);
    put_length(&mut body, 2, &extensions);
    let mut message = vec![1];
    put_length(&mut message, 3, &body);
    output.extend_from_slice(&[0x16, 0x03, 0x01]);
    put_length(output, 2, &message);
}

fn put_extension(output: &mut Vec<u8>, kind: u16, content: &[u8]) {
    output.extend_from_slice(&kind.to_be_bytes());
    put_length(output, 2, content);
}

/// Appends bytes with a length of `width` bytes before them.
fn put_length(output: &mut Vec<u8>, width: usize, content: &[u8]) {
    let length = content.len().to_be_bytes();
    output.extend_from_slice(&length[length.len() - width..]);
    output.extend_from_slice(content);
}

/// A request of a browser or a scanner.
pub(super) struct Http;

impl Attack for Http {
    fn plan(&self) -> Plan {
        Plan::flood(3_000.0)
    }

    fn strike(
        &mut self,
        number: u64,
        _: Option<Ipv4Addr>,
        _: &mut Random,
        output: &mut Vec<u8>,
    ) -> (Box<dyn Strike>, Move) {
        let request =
            format!("GET /{number} HTTP/1.1\r\nHost: play.example.net\r\nUser-Agent: scanner\r\n\r\n");
        output.extend_from_slice(request.as_bytes());
        said()
    }
}

#[cfg(test)]
mod tests {
    use super::client_hello;
    use crate::random::Random;

    #[test]
    fn a_client_hello_is_as_long_as_it_says() {
        let mut bytes = Vec::new();
        client_hello(&mut Random::new(1), &mut bytes);
        let record = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        assert_eq!((bytes[0], record), (0x16, bytes.len() - 5));
        assert_eq!(bytes[5], 1, "a ClientHello");
        let message = usize::from(u16::from_be_bytes([bytes[7], bytes[8]]));
        assert_eq!(message, record - 4);
    }
}
