//! Every packet in every version: what is written is read back, and no prefix of it is taken for the whole.

use proptest::prelude::*;
use uuid::Uuid;

use super::handshake::{Handshake, Intent};
use super::login::{ChatKey, EncryptionRequest, EncryptionResponse, LoginStart, PluginResponse, TokenProof};
use super::{CookieRequest, CookieResponse, configuration, login, status};
use crate::fault::Fault;
use crate::identity::{Profile, Property, VerifiedProfile};
use crate::limits::{COOKIE_BYTES_MAX, RSA_BYTES_MAX};
use crate::text::Text;
use crate::version::Version;
use crate::wire::{split_frame, write_frame, write_string, write_var_int};

const PROTOCOLS: [i32; 12] = [4, 5, 47, 735, 759, 760, 761, 764, 766, 768, 776, 777];

/// The one packet that was written.
fn packet(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    let range = split_frame(&out, out.len()).unwrap().unwrap();
    assert_eq!(range.end, out.len(), "exactly one frame");
    out[range].to_vec()
}

/// Checks that decoding gives a fault for every prefix, and for the packet with a byte more.
fn cut<T: std::fmt::Debug>(packet: &[u8], decode: impl Fn(&[u8]) -> Result<T, Fault>) {
    for end in 0..packet.len() {
        assert_eq!(
            decode(&packet[..end]).unwrap_err(),
            Fault::PacketTruncated,
            "{end} of {packet:02X?}"
        );
    }
    let longer = [packet, &[0]].concat();
    assert_eq!(
        decode(&longer).unwrap_err(),
        Fault::PacketTrailing,
        "{longer:02X?}"
    );
}

fn serverbound_login(packet_in: &login::Serverbound<'_>, version: &Version) {
    let bytes = packet(|out| packet_in.encode(version, out));
    assert_eq!(login::Serverbound::decode(&bytes, version), Ok(*packet_in));
    if !matches!(packet_in, login::Serverbound::PluginResponse(_)) {
        cut(&bytes, |bytes| {
            login::Serverbound::decode(bytes, version).map(|_| ())
        });
    }
}

#[test]
fn handshakes_survive_byte_for_byte() {
    for address in [
        "play.example.net",
        "",
        "play.example.net\0FML2\0",
        "a///192.0.2.1:1///17",
        &"x".repeat(255),
    ] {
        for intent in [Intent::Status, Intent::Login, Intent::Transfer] {
            let handshake = Handshake {
                protocol: -1,
                address,
                port: u16::MAX,
                intent,
            };
            let bytes = packet(|out| handshake.encode(out));
            assert_eq!(Handshake::decode(&bytes), Ok(handshake));
            cut(&bytes, |bytes| Handshake::decode(bytes).map(|_| ()));
        }
    }
}

#[test]
fn handshakes_are_refused_for_what_is_wrong_with_them() {
    let handshake = |id, address: &str, intent| {
        let bytes = packet(|out| {
            write_frame(out, |out| {
                write_var_int(out, id);
                write_var_int(out, 767);
                write_string(out, address);
                out.extend([0x63, 0xDD]);
                write_var_int(out, intent);
            });
        });
        Handshake::decode(&bytes).map(|_| ())
    };
    assert_eq!(handshake(0, "x", 1), Ok(()));
    assert_eq!(handshake(1, "x", 1), Err(Fault::PacketUnexpected));
    for intent in [i32::MIN, -1, 0, 4, i32::MAX] {
        assert_eq!(handshake(0, "x", intent), Err(Fault::IntentUnknown));
    }
    assert_eq!(handshake(0, &"x".repeat(256), 1), Err(Fault::StringTooLong));
}

#[test]
fn status_packets_survive() {
    for sent in [status::Serverbound::Request, status::Serverbound::Ping(i64::MIN)] {
        let bytes = packet(|out| sent.encode(out));
        assert_eq!(status::Serverbound::decode(&bytes), Ok(sent));
        cut(&bytes, status::Serverbound::decode);
    }
    for sent in [status::Clientbound::Response("{}"), status::Clientbound::Pong(-2)] {
        let bytes = packet(|out| sent.encode(out));
        assert_eq!(status::Clientbound::decode(&bytes), Ok(sent));
        cut(&bytes, |bytes| status::Clientbound::decode(bytes).map(|_| ()));
    }
    assert_eq!(status::Serverbound::decode(&[2]), Err(Fault::PacketUnexpected));
}

#[test]
fn login_starts_survive_in_every_version() {
    let key = ChatKey {
        expires: 1,
        public_key: &[2; 294],
        signature: &[3; RSA_BYTES_MAX],
    };
    let id = Uuid::from_u128(4);
    for (protocol, keys, ids) in [
        (5, &[None][..], &[None][..]),
        (758, &[None], &[None]),
        (759, &[None, Some(key)], &[None]),
        (760, &[None, Some(key)], &[None, Some(id)]),
        (763, &[None], &[None, Some(id)]),
        (765, &[None], &[Some(id)]),
        (i32::MAX, &[None], &[Some(id)]),
    ] {
        for (chat_key, id) in keys.iter().flat_map(|key| ids.iter().map(|id| (*key, *id))) {
            for name in ["x", "0123456789abcdef", "€€€€€€€€€€€€€€€€"] {
                let start = login::Serverbound::Start(LoginStart { name, chat_key, id });
                serverbound_login(&start, Version::of(protocol));
            }
        }
    }
}

#[test]
fn login_starts_without_or_with_too_long_a_name_are_refused() {
    for (name, fault) in [
        ("", Fault::NameEmpty),
        ("0123456789abcdefg", Fault::StringTooLong),
    ] {
        let start = login::Serverbound::Start(LoginStart {
            name,
            chat_key: None,
            id: Some(Uuid::nil()),
        });
        for version in PROTOCOLS.map(Version::of) {
            let bytes = packet(|out| start.encode(version, out));
            assert_eq!(login::Serverbound::decode(&bytes, version), Err(fault));
        }
    }
}

#[test]
fn encryption_survives_in_every_version() {
    for version in PROTOCOLS.map(Version::of) {
        let mut proofs = vec![TokenProof::Encrypted(&[1; 128])];
        if matches!(version.since, 759 | 760) {
            proofs.push(TokenProof::Signed {
                salt: -1,
                signature: &[2; 256],
            });
        }
        for proof in proofs {
            let response = EncryptionResponse {
                shared_secret: &[3; RSA_BYTES_MAX],
                proof,
            };
            serverbound_login(&login::Serverbound::EncryptionResponse(response), version);
        }
        for should_authenticate in [true, version.since < 766] {
            let request = EncryptionRequest {
                server_id: "",
                public_key: &[4; 162],
                verify_token: &[5; 4],
                should_authenticate,
            };
            let bytes = packet(|out| login::Clientbound::EncryptionRequest(request).encode(version, out));
            assert_eq!(
                login::Seen::decode(&bytes, version),
                Ok(login::Seen::EncryptionRequest(request)),
                "{}",
                version.name
            );
            cut(&bytes, |bytes| login::Seen::decode(bytes, version).map(|_| ()));
        }
    }
}

#[test]
fn a_long_ciphertext_is_refused() {
    let response = EncryptionResponse {
        shared_secret: &[0; RSA_BYTES_MAX + 1],
        proof: TokenProof::Encrypted(&[0; 128]),
    };
    for version in PROTOCOLS.map(Version::of) {
        let bytes = packet(|out| login::Serverbound::EncryptionResponse(response).encode(version, out));
        assert_eq!(
            login::Serverbound::decode(&bytes, version),
            Err(Fault::ArrayTooLong)
        );
    }
}

#[test]
fn login_has_only_the_packets_of_its_version() {
    let cookie = CookieResponse {
        key: "passage:session",
        payload: Some(&[1; COOKIE_BYTES_MAX]),
    };
    for version in PROTOCOLS.map(Version::of) {
        let has = |packet: &login::Serverbound<'_>, exists: bool| {
            let bytes = self::packet(|out| packet.encode(version, out));
            let expected = if exists {
                Ok(*packet)
            } else {
                Err(Fault::PacketUnexpected)
            };
            assert_eq!(
                login::Serverbound::decode(&bytes, version),
                expected,
                "{}",
                version.name
            );
        };
        has(&login::Serverbound::Acknowledged, version.since >= 764);
        has(&login::Serverbound::CookieResponse(cookie), version.since >= 766);
    }
    assert_eq!(
        login::Serverbound::decode(&[9], Version::of(767)),
        Err(Fault::PacketUnexpected)
    );
}

#[test]
fn cookies_survive_and_are_bounded() {
    let version = Version::of(766);
    for payload in [None, Some(&[][..]), Some(&[7; COOKIE_BYTES_MAX])] {
        let response = CookieResponse {
            key: "passage:authentication",
            payload,
        };
        serverbound_login(&login::Serverbound::CookieResponse(response), version);
        let sent = configuration::Serverbound::CookieResponse(response);
        let bytes = packet(|out| sent.encode(out));
        assert_eq!(configuration::Serverbound::decode(&bytes), Ok(sent));
        cut(&bytes, |bytes| {
            configuration::Serverbound::decode(bytes).map(|_| ())
        });
    }
    let long = CookieResponse {
        key: "k",
        payload: Some(&[7; COOKIE_BYTES_MAX + 1]),
    };
    let bytes = packet(|out| login::Serverbound::CookieResponse(long).encode(version, out));
    assert_eq!(
        login::Serverbound::decode(&bytes, version),
        Err(Fault::ArrayTooLong)
    );

    let request = CookieRequest {
        key: "passage:session",
    };
    let bytes = packet(|out| login::Clientbound::CookieRequest(request).encode(version, out));
    assert_eq!(
        login::Seen::decode(&bytes, version),
        Ok(login::Seen::CookieRequest(request))
    );
    let bytes = packet(|out| configuration::Clientbound::CookieRequest(request).encode(version, out));
    assert_eq!(
        configuration::Seen::decode(&bytes, version),
        Ok(configuration::Seen::CookieRequest(request))
    );
}

#[test]
fn login_success_has_the_fields_of_its_version() {
    let signed = Property {
        name: "textures".to_owned(),
        value: "v".to_owned(),
        signature: Some("s".to_owned()),
    };
    let unsigned = Property {
        signature: None,
        ..signed.clone()
    };
    let profile = Profile {
        id: Uuid::from_u128(1 << 127),
        name: "Notch".to_owned(),
        properties: vec![signed, unsigned],
    };
    let verified = VerifiedProfile::from_answer(profile.clone()).unwrap();
    let session = Uuid::from_u128(9);
    for version in PROTOCOLS.map(Version::of) {
        let success = login::Clientbound::Success {
            profile: &verified,
            session,
        };
        let bytes = packet(|out| success.encode(version, out));
        let Ok(login::Seen::Success(seen)) = login::Seen::decode(&bytes, version) else {
            panic!("{}: {bytes:02X?}", version.name);
        };
        cut(&bytes, |bytes| login::Seen::decode(bytes, version).map(|_| ()));
        let properties = if version.since >= 759 {
            profile.properties.clone()
        } else {
            Vec::new()
        };
        assert_eq!(
            seen.profile,
            Profile {
                properties,
                ..profile.clone()
            },
            "{}",
            version.name
        );
        assert_eq!(
            seen.strict_error_handling,
            (version.since == 766).then_some(false),
            "{}",
            version.name
        );
        assert_eq!(
            seen.session,
            (version.since >= 776).then_some(session),
            "{}",
            version.name
        );
    }
}

#[test]
fn configuration_packets_survive() {
    use configuration::{ClientInformation, Serverbound};
    let version = Version::of(i32::MAX);
    for sent in [
        Serverbound::ClientInformation(ClientInformation::vanilla("de_de", version)),
        Serverbound::PluginMessage {
            channel: "minecraft:brand",
            data: b"\x07vanilla",
        },
        Serverbound::KeepAlive(i64::MAX),
        Serverbound::Pong(-1),
        Serverbound::ResourcePackResponse {
            id: Uuid::from_u128(5),
            result: 3,
        },
        Serverbound::Unread { id: 7 },
        Serverbound::Unread { id: i32::MAX },
    ] {
        assert_eq!(Serverbound::decode(&packet(|out| sent.encode(out))), Ok(sent));
    }
    assert_eq!(
        Serverbound::decode(&[7, 1, 2, 3]),
        Ok(Serverbound::Unread { id: 7 })
    );
    assert_eq!(Serverbound::decode(&[3]), Err(Fault::PacketUnexpected));
    assert_eq!(
        Serverbound::decode(&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        Err(Fault::PacketUnexpected)
    );
}

#[test]
fn settings_are_read_leniently() {
    use configuration::{ClientInformation, Serverbound};
    for settings in [&[][..], &[1], &[9; 300]] {
        let sent = Serverbound::ClientInformation(ClientInformation {
            locale: "en_us",
            settings,
        });
        assert_eq!(Serverbound::decode(&packet(|out| sent.encode(out))), Ok(sent));
    }
    let older = ClientInformation::vanilla("en_us", Version::of(767));
    let newer = ClientInformation::vanilla("en_us", Version::of(768));
    assert_eq!(older.settings.len() + 1, newer.settings.len());
}

#[test]
fn store_cookie_and_transfer_have_the_ids_of_their_version() {
    let store = configuration::StoreCookie {
        key: "passage:session",
        payload: &[1, 2, 3],
    };
    let transfer = configuration::Transfer {
        host: "lobby.example.net",
        port: u16::MAX,
    };
    for (protocol, store_id, transfer_id) in [(766, 0x0A, 0x0B), (776, 0x0A, 0x0B), (777, 0x0B, 0x0C)] {
        let version = Version::of(protocol);
        let bytes = packet(|out| configuration::Clientbound::StoreCookie(store).encode(version, out));
        assert_eq!(bytes[0], store_id);
        assert_eq!(
            configuration::Seen::decode(&bytes, version),
            Ok(configuration::Seen::StoreCookie(store))
        );
        let bytes = packet(|out| configuration::Clientbound::Transfer(transfer).encode(version, out));
        assert_eq!(bytes[0], transfer_id);
        assert_eq!(
            configuration::Seen::decode(&bytes, version),
            Ok(configuration::Seen::Transfer(transfer))
        );
    }
}

#[test]
fn disconnects_carry_json_in_login_and_nbt_in_configuration() {
    let version = Version::of(767);
    let text = Text::parse("{\"text\":\"Bye\"}");
    let bytes = packet(|out| login::Clientbound::Disconnect(&text).encode(version, out));
    assert_eq!(
        login::Seen::decode(&bytes, version),
        Ok(login::Seen::Disconnect("{\"text\":\"Bye\"}"))
    );
    let bytes = packet(|out| configuration::Clientbound::Disconnect(&text).encode(version, out));
    let nbt = b"\x0A\x08\x00\x04text\x00\x03Bye\x00";
    assert_eq!(
        configuration::Seen::decode(&bytes, version),
        Ok(configuration::Seen::Disconnect(nbt))
    );
}

#[test]
fn the_longest_disconnect_still_fits_its_field() {
    let version = Version::of(767);
    let text = Text::literal(&"\u{1}".repeat(crate::limits::TEXT_BYTES_MAX));
    let bytes = packet(|out| login::Clientbound::Disconnect(&text).encode(version, out));
    assert!(login::Seen::decode(&bytes, version).is_ok());
}

#[test]
fn plugin_responses_survive() {
    for data in [None, Some(&[][..]), Some(&[1, 2, 3])] {
        let response = login::Serverbound::PluginResponse(PluginResponse { message_id: -7, data });
        serverbound_login(&response, Version::of(767));
    }
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, protocol in prop::sample::select(&PROTOCOLS[..])) {
        let version = Version::of(protocol);
        let _ = Handshake::decode(&bytes);
        let _ = status::Serverbound::decode(&bytes);
        let _ = status::Clientbound::decode(&bytes);
        let _ = login::Serverbound::decode(&bytes, version);
        let _ = login::Seen::decode(&bytes, version);
        let _ = configuration::Serverbound::decode(&bytes);
        let _ = configuration::Seen::decode(&bytes, version);
    }

    #[test]
    fn any_handshake_survives(protocol: i32, address in ".{0,80}", port: u16) {
        let handshake = Handshake { protocol, address: &address, port, intent: Intent::Login };
        let bytes = packet(|out| handshake.encode(out));
        prop_assert_eq!(Handshake::decode(&bytes), Ok(handshake));
    }
}
