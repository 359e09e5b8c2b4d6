//! Golden bytes: every packet, and text as NBT, as another implementation serialises it.
//!
//! `tests/counterparts/golden.mjs` writes `golden/golden.json` with npm `minecraft-protocol`,
//! `minecraft-data` and `prismarine-nbt`; the same values stand here. Encoding must give the same bytes and
//! decoding the same values, in every version.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail a test by panicking")]

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use passage_proto::cookie::{CookieCheck, CookieKeys};
use passage_proto::identity::{Profile, VerifiedProfile};
use passage_proto::packet::configuration::{self, ClientInformation, StoreCookie, Transfer};
use passage_proto::packet::handshake::{Handshake, Intent};
use passage_proto::packet::login::{
    self, ChatKey, EncryptionRequest, EncryptionResponse, LoginStart, LoginSuccessSeen, PluginResponse,
    TokenProof,
};
use passage_proto::packet::{CookieRequest, CookieResponse, status};
use passage_proto::status::{Players, SamplePlayer, StatusDocument, StatusReply};
use passage_proto::text::Text;
use passage_proto::version::{LoginSuccessForm, Version};
use passage_proto::wire::split_frame;
use serde::Deserialize;
use sha2::Sha256;
use uuid::Uuid;

const ALICE: Uuid = Uuid::from_u128(0xA11CE);
const SESSION: Uuid = Uuid::from_u128(0x0f0e_0d0c_0b0a_4908_8706_0504_0302_0100);
const LONG: i64 = (1 << 32) | 2;
const PING: i64 = -0x0102_0304 * (1 << 32) + 0x0506_0708;

#[derive(Deserialize)]
struct Golden {
    packets: Vec<Entry>,
    text: Vec<Component>,
}

#[derive(Deserialize)]
struct Entry {
    phase: String,
    direction: String,
    case: String,
    hex: String,
    protocols: Vec<i32>,
}

#[derive(Deserialize)]
struct Component {
    json: String,
    hex: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/golden.json")).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "{hex}");
    pairs
        .iter()
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn packets_are_those_of_the_other_implementation() {
    let mut checked = 0;
    for entry in golden().packets {
        let frame = unhex(&entry.hex);
        let range = split_frame(&frame, frame.len()).unwrap().unwrap();
        assert_eq!(range.end, frame.len());
        for protocol in entry.protocols {
            let mut out = Vec::new();
            check(
                &entry.phase,
                &entry.direction,
                &entry.case,
                protocol,
                &frame[range.clone()],
                &mut out,
            );
            let named = (&entry.phase, &entry.direction, &entry.case, protocol);
            assert_eq!(hex(&out), entry.hex, "{named:?}");
            checked += 1;
        }
    }
    assert!(checked > 500, "{checked}");
}

#[test]
fn every_row_of_the_version_table_is_covered() {
    let covered: BTreeSet<_> = golden()
        .packets
        .iter()
        .flat_map(|entry| &entry.protocols)
        .map(|protocol| Version::of(*protocol).since)
        .collect();
    // Of 1.7.2 to 1.7.5 (4) nothing is at hand.
    assert_eq!(
        covered,
        BTreeSet::from([5, 47, 735, 759, 760, 761, 764, 766, 768, 776, 777])
    );
}

#[test]
fn text_is_that_of_the_other_implementation() {
    let components = golden().text;
    assert!(components.len() > 8);
    for Component { json, hex: expected } in components {
        let mut out = Vec::new();
        Text::parse(&json).write_nbt(&mut out);
        assert_eq!(hex(&out), expected, "{json}");
    }
}

/// Checks that the packet decodes to the case's values, and appends the case as we encode it.
fn check(phase: &str, direction: &str, case: &str, protocol: i32, packet: &[u8], out: &mut Vec<u8>) {
    let version = Version::of(protocol);
    match (phase, direction) {
        ("handshaking", "toServer") => check_handshake(case, protocol, packet, out),
        ("status", "toServer") => check_status_request(case, packet, out),
        ("status", "toClient") => check_status_response(case, protocol, packet, out),
        ("login", "toServer") => check_login_serverbound(case, version, packet, out),
        ("login", "toClient") => check_login_clientbound(case, version, packet, out),
        ("configuration", "toServer") => check_configuration_serverbound(case, version, packet, out),
        ("configuration", "toClient") => check_configuration_clientbound(case, version, packet, out),
        other => panic!("no such phase: {other:?}"),
    }
}

fn check_handshake(case: &str, protocol: i32, packet: &[u8], out: &mut Vec<u8>) {
    let intent = match case {
        "status" => Intent::Status,
        "login" => Intent::Login,
        "transfer" => Intent::Transfer,
        other => panic!("no such case: {other}"),
    };
    let handshake = Handshake {
        protocol,
        address: "play.example.net\0FML2\0",
        port: 25565,
        intent,
    };
    assert_eq!(Handshake::decode(packet), Ok(handshake));
    handshake.encode(out);
}

fn check_status_request(case: &str, packet: &[u8], out: &mut Vec<u8>) {
    let expected = match case {
        "request" => status::Serverbound::Request,
        "ping" => status::Serverbound::Ping(PING),
        other => panic!("no such case: {other}"),
    };
    assert_eq!(status::Serverbound::decode(packet), Ok(expected));
    expected.encode(out);
}

fn check_status_response(case: &str, protocol: i32, packet: &[u8], out: &mut Vec<u8>) {
    if case == "pong" {
        assert_eq!(
            status::Clientbound::decode(packet),
            Ok(status::Clientbound::Pong(PING))
        );
        return status::Clientbound::Pong(PING).encode(out);
    }
    assert_eq!(case, "response");
    let document = StatusDocument {
        version_name: "Passage".to_owned(),
        players: Some(Players {
            max: 200,
            online: 42,
            sample: vec![SamplePlayer {
                name: "Alice".to_owned(),
                id: ALICE,
            }],
        }),
        description: Some("{\"text\":\"Grüße 😀\"}".to_owned()),
        enforces_secure_chat: Some(true),
        ..StatusDocument::default()
    };
    StatusReply::new(&document).unwrap().encode(protocol, out);
    assert!(matches!(
        status::Clientbound::decode(packet),
        Ok(status::Clientbound::Response(_))
    ));
}

fn check_login_serverbound(case: &str, version: &Version, packet: &[u8], out: &mut Vec<u8>) {
    let key = ChatKey {
        expires: LONG,
        public_key: &[8; 294],
        signature: &[9; 256],
    };
    let start = |chat_key, id| {
        login::Serverbound::Start(LoginStart {
            name: "Alice",
            chat_key,
            id,
        })
    };
    let encryption = |proof| {
        login::Serverbound::EncryptionResponse(EncryptionResponse {
            shared_secret: &[1; 128],
            proof,
        })
    };
    let expected = match case {
        "start bare" => start(None, None),
        "start key" => start(Some(key), None),
        "start id" => start(None, Some(ALICE)),
        "start key and id" => start(Some(key), Some(ALICE)),
        "encryption" => encryption(TokenProof::Encrypted(&[2; 128])),
        "encryption signed" => encryption(TokenProof::Signed {
            salt: LONG,
            signature: &[3; 256],
        }),
        "plugin" => login::Serverbound::PluginResponse(PluginResponse {
            message_id: 300,
            data: Some(&[4; 3]),
        }),
        "acknowledged" => login::Serverbound::Acknowledged,
        other => login::Serverbound::CookieResponse(cookie_response(other)),
    };
    assert_eq!(login::Serverbound::decode(packet, version), Ok(expected));
    expected.encode(version, out);
}

fn check_login_clientbound(case: &str, version: &Version, packet: &[u8], out: &mut Vec<u8>) {
    let request = |should_authenticate| EncryptionRequest {
        server_id: "",
        public_key: &[6; 162],
        verify_token: &[7; 4],
        should_authenticate,
    };
    let profile = profile();
    let text = Text::parse("{\"text\":\"Bye\"}");
    let (seen, sent) = match case {
        "disconnect" => (
            login::Seen::Disconnect("{\"text\":\"Bye\"}"),
            Some(login::Clientbound::Disconnect(&text)),
        ),
        "encryption true" | "encryption false" => {
            let request = request(case == "encryption true");
            (
                login::Seen::EncryptionRequest(request),
                Some(login::Clientbound::EncryptionRequest(request)),
            )
        }
        "success" => (
            login::Seen::Success(success_seen(version, profile.profile())),
            Some(login::Clientbound::Success {
                profile: &profile,
                session: SESSION,
            }),
        ),
        "cookie" => {
            let request = CookieRequest {
                key: "passage:session",
            };
            (
                login::Seen::CookieRequest(request),
                Some(login::Clientbound::CookieRequest(request)),
            )
        }
        // Passage sends neither of these; it only meets them as a client of its targets.
        "compression" => (login::Seen::SetCompression(256), None),
        "plugin" => (
            login::Seen::PluginRequest {
                message_id: 300,
                channel: "velocity:player_info",
                data: &[4; 3],
            },
            None,
        ),
        other => panic!("no such case: {other}"),
    };
    assert_eq!(login::Seen::decode(packet, version), Ok(seen));
    match sent {
        Some(sent) => sent.encode(version, out),
        None => passage_proto::wire::write_frame(out, |out| out.extend_from_slice(packet)),
    }
}

fn check_configuration_serverbound(case: &str, version: &Version, packet: &[u8], out: &mut Vec<u8>) {
    use configuration::Serverbound;
    let expected = match case {
        "settings" => Serverbound::ClientInformation(ClientInformation::vanilla("de_de", version)),
        "brand" => Serverbound::PluginMessage {
            channel: "minecraft:brand",
            data: b"\x07vanilla",
        },
        "keep alive" => Serverbound::KeepAlive(LONG),
        "pong" => Serverbound::Pong(-2),
        "resource pack" => Serverbound::ResourcePackResponse { id: ALICE, result: 3 },
        other => Serverbound::CookieResponse(cookie_response(other)),
    };
    assert_eq!(Serverbound::decode(packet), Ok(expected));
    expected.encode(out);
}

fn check_configuration_clientbound(case: &str, version: &Version, packet: &[u8], out: &mut Vec<u8>) {
    use configuration::{Clientbound, Seen};
    let (compound, string) = (Text::parse("{\"text\":\"Bye\"}"), Text::literal("Bye"));
    let (seen, sent) = match case {
        "cookie" => {
            let request = CookieRequest {
                key: "passage:session",
            };
            (Seen::CookieRequest(request), Clientbound::CookieRequest(request))
        }
        "disconnect" => (Seen::Disconnect(&packet[1..]), Clientbound::Disconnect(&compound)),
        "disconnect string" => (Seen::Disconnect(&packet[1..]), Clientbound::Disconnect(&string)),
        "keep alive" => (Seen::KeepAlive(LONG), Clientbound::KeepAlive(LONG)),
        "store cookie" => {
            let cookie = StoreCookie {
                key: "passage:session",
                payload: &[5; 3],
            };
            (Seen::StoreCookie(cookie), Clientbound::StoreCookie(cookie))
        }
        "transfer" => {
            let transfer = Transfer {
                host: "lobby.example.net",
                port: u16::MAX,
            };
            (Seen::Transfer(transfer), Clientbound::Transfer(transfer))
        }
        other => panic!("no such case: {other}"),
    };
    assert_eq!(Seen::decode(packet, version), Ok(seen));
    sent.encode(version, out);
}

fn cookie_response(case: &str) -> CookieResponse<'static> {
    let payload = match case {
        "cookie" => Some(&[5; 3][..]),
        "no cookie" => None,
        other => panic!("no such case: {other}"),
    };
    CookieResponse {
        key: "passage:session",
        payload,
    }
}

/// What a client of the version reads of the profile.
fn success_seen(version: &Version, profile: &Profile) -> LoginSuccessSeen {
    let form = version.login_success;
    let short = matches!(
        form,
        LoginSuccessForm::SimpleText | LoginSuccessForm::HyphenatedText | LoginSuccessForm::Binary
    );
    LoginSuccessSeen {
        profile: Profile {
            properties: if short {
                Vec::new()
            } else {
                profile.properties.clone()
            },
            ..profile.clone()
        },
        strict_error_handling: (form == LoginSuccessForm::PropertiesStrict).then_some(false),
        session: (form == LoginSuccessForm::PropertiesSession).then_some(SESSION),
    }
}

/// Alice, verified the way that is open to everyone who holds the keys: by a cookie, signed here by hand.
fn profile() -> VerifiedProfile {
    const SECRET: &[u8] = b"0123456789abcdef";
    let json = "{\"timestamp\":1,\"client_addr\":\"127.0.0.1:1\",\"user_name\":\"Alice\",\
                \"user_id\":\"00000000-0000-0000-0000-0000000a11ce\",\"profile_properties\":[\
                {\"name\":\"textures\",\"value\":\"dmFsdWU=\",\"signature\":\"c2ln\"},\
                {\"name\":\"plain\",\"value\":\"v\"}]}";
    let signature = Hmac::<Sha256>::new_from_slice(SECRET)
        .unwrap()
        .chain_update(json)
        .finalize()
        .into_bytes();
    let payload = [signature.as_slice(), json.as_bytes()].concat();
    let check = CookieCheck {
        client: "127.0.0.1".parse().unwrap(),
        unix_seconds: 1,
        expiry_seconds: 1,
    };
    let verified = CookieKeys::new(SECRET, None)
        .unwrap()
        .verify(&payload, &check)
        .unwrap();
    let [textures, plain] = verified.profile.profile().properties.as_slice() else {
        panic!("two properties")
    };
    assert_eq!(
        (textures.signature.as_deref(), plain.signature.as_deref()),
        (Some("c2ln"), None)
    );
    verified.profile
}
