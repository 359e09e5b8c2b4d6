//! Every message, both ways.

use passage_proto::identity::Profile;
use passage_proto::question::{AskError, Refusal};
use tonic::Status;

use super::*;
use crate::adapters::grpc::contract::{
    self, Address, ApplyResponse, AuthenticationResponse, LocalizationResponse, MetaEntry, ProfileProperty,
    ProtocolVersion, SelectResponse, StatusData, StatusResponse, Targets, TargetsResponse, apply_response,
    authentication_response,
};
use crate::adapters::{
    ActionService as _, AuthenticationService as _, DiscoveryService as _, LocalizationService as _,
    StatusService as _, StrategyService as _,
};

/// The beginning of a PNG of 64 by 64 pixels, which is all that is looked at.
const PNG: &[u8] = b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR\0\0\0\x40\0\0\0\x40\x08\x06\0\0\0";
const PNG_URI: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAYAAAA=";

pub(super) fn answered(identifier: &str) -> contract::Target {
    contract::Target {
        identifier: identifier.into(),
        address: Some(Address {
            hostname: "10.0.0.1".into(),
            port: 25_566,
        }),
        meta: vec![MetaEntry {
            key: "players".into(),
            value: "12".into(),
        }],
        priority: 3,
    }
}

fn asked_client() -> contract::ClientInfo {
    contract::ClientInfo {
        client_address: Some(Address {
            hostname: "203.0.113.7".into(),
            port: 50_000,
        }),
        server_address: Some(Address {
            hostname: "play.example.net".into(),
            port: 25_565,
        }),
        protocol_version: 774,
    }
}

fn asked_player() -> contract::PlayerInfo {
    contract::PlayerInfo {
        name: "Alice".into(),
        id: "11111111-2222-4333-8444-555555555555".into(),
    }
}

/// A value for every wrong answer of a table, each with a word about it.
fn message_and_cause(refusal: Refusal) -> (String, AskError) {
    (refusal.message.key.into_owned(), refusal.cause)
}

#[tokio::test]
async fn discovery_tells_the_client_and_takes_targets() {
    let server = Server::start();
    *server.double.discovery.lock().unwrap() = Box::new(|question| {
        assert_eq!(question.client, Some(asked_client()));
        let mut renamed = answered("b");
        renamed.address.as_mut().unwrap().hostname = "lobby.internal.".into();
        Ok(TargetsResponse {
            targets: vec![answered("a"), renamed],
        })
    });
    let service = service(&server, AdapterName::Discovery);
    let targets = service.discover(&choose(), call()).await.unwrap();
    assert_eq!(targets[0], target("a"));
    assert_eq!(
        (&*targets[1].identifier, &*targets[1].host),
        ("b", "lobby.internal")
    );
    *server.double.discovery.lock().unwrap() = Box::new(|_| Ok(TargetsResponse::default()));
    assert_eq!(
        service.discover(&choose(), call()).await,
        Ok(Vec::new()),
        "none is an answer, too"
    );
}

#[tokio::test]
async fn an_action_is_told_everything_and_leaves_or_changes_targets_or_refuses() {
    let server = Server::start();
    let offered = [target("a"), target("b"), target("c")];
    *server.double.action.lock().unwrap() = Box::new(|question| {
        assert_eq!(question.client, Some(asked_client()));
        assert_eq!(question.player, Some(asked_player()));
        assert_eq!(question.targets, ["a", "b", "c"].map(answered));
        let mut changed = answered("b");
        changed.priority = 0;
        let targets = vec![changed, answered("a")];
        Ok(ApplyResponse {
            reason: Some(apply_response::Reason::Targets(Targets { targets })),
        })
    });
    let service = service(&server, AdapterName::Action);
    let left = service.apply(&choose(), &offered, call()).await.unwrap();
    assert_eq!((left[0].identifier.as_str(), left[0].priority), ("b", 0));
    assert!(
        Arc::ptr_eq(&left[1], &offered[0]),
        "what has not changed is not copied"
    );

    *server.double.action.lock().unwrap() = Box::new(|question| {
        assert_eq!(question.player, None);
        Ok(ApplyResponse {
            reason: Some(apply_response::Reason::Key("banned_here".into())),
        })
    });
    let ping = ChooseQuery {
        player: None,
        ..choose()
    };
    let refusal = service.apply(&ping, &offered, call()).await.unwrap_err();
    assert_eq!(
        message_and_cause(refusal),
        ("banned_here".into(), AskError::Denied)
    );
}

#[tokio::test]
async fn a_strategy_is_told_everything_and_chooses_one_target_or_none() {
    let server = Server::start();
    let offered = [target("a"), target("b")];
    *server.double.strategy.lock().unwrap() = Box::new(|question| {
        assert_eq!(question.client_address, asked_client().client_address);
        assert_eq!(question.server_address, asked_client().server_address);
        assert_eq!((question.protocol, &*question.username), (774, "Alice"));
        assert_eq!(question.user_id, asked_player().id);
        assert_eq!(question.targets, ["a", "b"].map(answered));
        // The identifier is enough.
        let target = Some(contract::Target {
            identifier: "b".into(),
            ..Default::default()
        });
        Ok(SelectResponse { target })
    });
    let service = service(&server, AdapterName::Strategy);
    let chosen = service.select(&choose(), &offered, call()).await.unwrap();
    assert!(Arc::ptr_eq(&chosen, &offered[1]));

    *server.double.strategy.lock().unwrap() = Box::new(|_| {
        let mut started = answered("b");
        started.address.as_mut().unwrap().port = 7;
        Ok(SelectResponse {
            target: Some(started),
        })
    });
    let chosen = service.select(&choose(), &offered, call()).await.unwrap();
    assert_eq!(
        (&*chosen.identifier, chosen.port),
        ("b", 7),
        "a target of its own"
    );

    *server.double.strategy.lock().unwrap() = Box::new(|_| Ok(SelectResponse { target: None }));
    let refusal = service.select(&choose(), &offered, call()).await.unwrap_err();
    assert_eq!(
        message_and_cause(refusal),
        ("disconnect_no_target".into(), AskError::Denied)
    );
}

#[tokio::test]
async fn an_authentication_is_told_everything_and_gives_a_profile_or_refuses() {
    let server = Server::start();
    *server.double.authentication.lock().unwrap() = Box::new(|question| {
        assert_eq!(question.client, Some(asked_client()));
        assert_eq!(question.player, Some(asked_player()));
        assert_eq!(question.shared_secret, [7; 16]);
        assert_eq!(question.encoded_public, [1, 2, 3]);
        let textures = ProfileProperty {
            name: "textures".into(),
            value: "e30=".into(),
            signature: Some("c2ln".into()),
        };
        let profile = contract::Profile {
            id: PLAYER.simple().to_string(),
            name: "Alice".into(),
            properties: vec![textures],
            profile_actions: vec!["FORCED_NAME_CHANGE".into()],
        };
        Ok(AuthenticationResponse {
            reason: Some(authentication_response::Reason::Profile(profile)),
        })
    });
    let service = service(&server, AdapterName::Authentication);
    let profile: Profile = service.authenticate(&authenticate(), call()).await.unwrap();
    assert_eq!((profile.id, &*profile.name), (PLAYER, "Alice"));
    assert_eq!(profile.properties[0].signature.as_deref(), Some("c2ln"));

    *server.double.authentication.lock().unwrap() = Box::new(|question| {
        assert!(question.shared_secret.is_empty());
        Ok(AuthenticationResponse {
            reason: Some(authentication_response::Reason::Key("disconnect_banned".into())),
        })
    });
    let unencrypted = AuthenticateQuery {
        shared_secret: None,
        ..authenticate()
    };
    let refusal = service.authenticate(&unencrypted, call()).await.unwrap_err();
    assert_eq!(
        message_and_cause(refusal),
        ("disconnect_banned".into(), AskError::Denied)
    );
}

#[test]
fn the_secret_of_a_connection_is_never_shown() {
    let question = contract::AuthenticationRequest {
        shared_secret: vec![0xAB; 16],
        ..Default::default()
    };
    let shown = format!("{question:?}");
    assert!(
        !shown.contains("171") && !shown.contains("shared_secret"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_status_is_asked_for_a_version_and_shown_as_it_is_answered() {
    let server = Server::start();
    *server.double.status.lock().unwrap() = Box::new(|question| {
        assert_eq!(question.client_address, asked_client().client_address);
        assert_eq!(question.server_address, asked_client().server_address);
        let status = StatusData {
            version: Some(ProtocolVersion {
                name: "Ours".into(),
                protocol: i32::try_from(question.protocol).unwrap() - 1,
            }),
            players: Some(contract::Players {
                online: 7,
                max: u32::MAX,
                samples: vec![contract::PlayerEntry {
                    name: "Alice".into(),
                    id: String::new(),
                }],
            }),
            description: Some("{\"text\":\"Welcome\"}".into()),
            favicon: Some(PNG.into()),
            enforces_secure_chat: Some(false),
        };
        Ok(StatusResponse { status: Some(status) })
    });
    let service = service(&server, AdapterName::Status);
    let status = service.status(&client(), call()).await.unwrap();
    assert_eq!(status.valid_for, None);
    assert_eq!(status.reply.shown_protocol(774), 773);
    let mut frame = Vec::new();
    status.reply.encode(774, &mut frame);
    let shown = String::from_utf8_lossy(&frame);
    let json = shown.find('{').map(|begin| shown.split_at(begin).1).unwrap();
    let nil = Uuid::nil();
    let expected = format!(
        "{{\"version\":{{\"name\":\"Ours\",\"protocol\":773}},\
         \"players\":{{\"max\":2147483647,\"online\":7,\
         \"sample\":[{{\"name\":\"Alice\",\"id\":\"{nil}\"}}]}},\
         \"description\":{{\"text\":\"Welcome\"}},\"favicon\":\"{PNG_URI}\",\"enforcesSecureChat\":false}}"
    );
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(json).unwrap(),
        serde_json::from_str::<serde_json::Value>(&expected).unwrap()
    );

    *server.double.status.lock().unwrap() = Box::new(|_| Ok(StatusResponse { status: None }));
    let none = service.status(&client(), call()).await;
    assert_eq!(none.map(drop), Err(AskError::Denied));
}

#[tokio::test]
async fn a_version_of_zero_is_shown_as_zero_and_a_data_uri_as_it_is() {
    let server = Server::start();
    *server.double.status.lock().unwrap() = Box::new(|_| {
        let status = StatusData {
            version: Some(ProtocolVersion::default()),
            favicon: Some(PNG_URI.into()),
            ..Default::default()
        };
        Ok(StatusResponse { status: Some(status) })
    });
    let service = service(&server, AdapterName::Status);
    let status = service.status(&client(), call()).await.unwrap();
    assert_eq!(status.reply.shown_protocol(774), 0);
    let mut frame = Vec::new();
    status.reply.encode(774, &mut frame);
    assert!(String::from_utf8_lossy(&frame).contains(PNG_URI));
}

#[tokio::test]
async fn a_message_is_asked_for_once_in_every_locale() {
    let server = Server::start();
    *server.double.localization.lock().unwrap() = Box::new(|question| {
        let params: Vec<_> = question.params.iter().collect();
        assert_eq!(params, [(&"version".to_owned(), &"1.20.5".to_owned())]);
        let locale = question.locale.unwrap_or_else(|| "none".into());
        match question.key.as_str() {
            "unknown" => Err(Status::not_found("no such message")),
            key => Ok(LocalizationResponse {
                message: format!("{{\"text\":\"{key} in {locale}\"}}"),
            }),
        }
    });
    let localization = Localization::new(service(&server, AdapterName::Localization));
    let (hello, missing) = (localize("hello"), localize("unknown"));
    let ask = || localization.localize(&hello, call());
    let (one, other) = tokio::join!(ask(), ask());
    assert_eq!(one.unwrap(), "{\"text\":\"hello in de_de\"}");
    assert_eq!(other.unwrap(), "{\"text\":\"hello in de_de\"}");
    assert_eq!(server.double.asked(), 1);

    let nobody = LocalizeQuery {
        locale: Some("🦀".into()),
        ..localize("hello")
    };
    let text = localization.localize(&nobody, call()).await.unwrap();
    assert_eq!(text, "{\"text\":\"hello in none\"}");
    for _ in 0..2 {
        let failed = localization.localize(&missing, call()).await;
        assert_eq!(failed, Err(AskError::Failed), "failures are not remembered");
    }
    assert_eq!(server.double.asked(), 4);
}

#[tokio::test]
async fn every_question_says_how_long_it_waits_and_brings_its_token() {
    let server = Server::start();
    *server.double.discovery.lock().unwrap() = Box::new(|_| Ok(TargetsResponse::default()));
    let settings = config::Service {
        token: Some(config::Secret::new("s3cret".into())),
        ..settings(server.address())
    };
    let connection = connect(&settings);
    assert!(!format!("{connection:?}").contains("s3cret"));
    let service = Service::new(AdapterName::Discovery, connection, policy());
    service.discover(&choose(), call()).await.unwrap();
    assert_eq!(
        server.double.metadata("authorization").as_deref(),
        Some("Bearer s3cret")
    );
    let timeout = server.double.metadata("grpc-timeout").unwrap();
    let microseconds: u64 = timeout.trim_end_matches('u').parse().unwrap();
    assert!((1..=60_000_000).contains(&microseconds), "{timeout}");
    assert_eq!(server.double.metadata("traceparent"), None);
    let agent = server.double.metadata("user-agent").unwrap();
    assert!(agent.starts_with("passage/"), "{agent}");
}

#[tokio::test]
async fn a_traced_question_tells_its_trace() {
    let server = Server::start();
    *server.double.discovery.lock().unwrap() = Box::new(|_| Ok(TargetsResponse::default()));
    let service = service(&server, AdapterName::Discovery);
    let text = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let traced = Call {
        trace: passage_shards::trace::TraceParent::parse(text),
        ..call()
    };
    service.discover(&choose(), traced).await.unwrap();
    let told = server.double.metadata("traceparent").unwrap();
    assert!(told.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{told}");
}
