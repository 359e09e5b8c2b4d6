//! Services that are slow, broken, gone, or answer nonsense.

use passage_proto::question::{AskError, Refusal};
use tonic::Status;

use super::answers::answered;
use super::*;
use crate::adapters::grpc::contract::{
    self, ApplyResponse, AuthenticationResponse, Profile, ProfileProperty, ProtocolVersion, SelectResponse,
    StatusData, StatusResponse, TargetsResponse, apply_response, authentication_response,
};
use crate::adapters::{
    ActionService as _, AuthenticationService as _, DiscoveryService as _, StatusService as _,
    StrategyService as _,
};

fn cause<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> AskError {
    answer.unwrap_err().cause
}

#[tokio::test]
async fn a_slow_service_is_given_up_at_the_deadline() {
    let server = Server::start();
    *server.double.delay.lock().unwrap() = Duration::from_secs(3_600);
    let service = service(&server, AdapterName::Discovery);
    let answer = service
        .discover(&choose(), call_for(Duration::from_millis(200)))
        .await;
    assert_eq!(cause(answer), AskError::TimedOut);
    // It holds up nobody else.
    *server.double.delay.lock().unwrap() = Duration::ZERO;
    *server.double.discovery.lock().unwrap() = Box::new(|_| Ok(TargetsResponse::default()));
    assert_eq!(service.discover(&choose(), call()).await, Ok(Vec::new()));
    assert_eq!(server.double.connections(), 1);
}

#[tokio::test]
async fn a_service_that_refuses_passage_has_failed_and_one_that_is_busy_is_busy() {
    let server = Server::start();
    let service = service(&server, AdapterName::Discovery);
    for (status, expected) in [
        (Status::permission_denied("who are you?"), AskError::Failed),
        (Status::unauthenticated("token?"), AskError::Failed),
        (Status::internal("bug"), AskError::Failed),
        (Status::resource_exhausted("quota"), AskError::RateLimited),
        (Status::unavailable("starting"), AskError::Unreachable),
        (Status::deadline_exceeded("late"), AskError::TimedOut),
    ] {
        *server.double.discovery.lock().unwrap() = Box::new(move |_| Err(status.clone()));
        assert_eq!(cause(service.discover(&choose(), call()).await), expected);
    }
}

#[tokio::test]
async fn questions_that_only_ask_are_repeated_and_logins_are_not() {
    let server = Server::start();
    *server.double.discovery.lock().unwrap() = {
        let mut failures = 1;
        let failures = std::sync::Mutex::new(move || {
            failures -= 1;
            failures >= 0
        });
        Box::new(move |_| match failures.lock().unwrap()() {
            true => Err(Status::unavailable("restarting")),
            false => Ok(TargetsResponse::default()),
        })
    };
    *server.double.authentication.lock().unwrap() = Box::new(|_| Err(Status::unavailable("restarting")));
    let policy = Policy {
        retries: 2,
        ..policy()
    };
    let connection = connect(&settings(server.address()));
    let discovery = Service::new(AdapterName::Discovery, Arc::clone(&connection), policy);
    assert_eq!(discovery.discover(&choose(), call()).await, Ok(Vec::new()));
    assert_eq!(server.double.asked(), 2);
    let authentication = Service::new(AdapterName::Authentication, connection, policy);
    let refusal = authentication
        .authenticate(&authenticate(), call())
        .await
        .unwrap_err();
    assert_eq!(refusal.cause, AskError::Unreachable);
    assert_eq!(refusal.message.key, "disconnect_authentication_unavailable");
    assert_eq!(server.double.asked(), 3);
}

#[tokio::test]
async fn one_connection_serves_all_adapters_and_is_made_again_when_it_is_lost() {
    let server = Server::start();
    *server.double.discovery.lock().unwrap() = Box::new(|_| Ok(TargetsResponse::default()));
    *server.double.strategy.lock().unwrap() = Box::new(|_| Ok(SelectResponse { target: None }));
    let settings = settings(server.address());
    let other_bounds = config::Service {
        remote: config::Remote {
            retries: 7,
            ..settings.remote
        },
        ..settings.clone()
    };
    let mut connections = Connections::default();
    let trust = Trust::default();
    let one = connections.to(&settings, &trust).unwrap();
    let same = connections.to(&other_bounds, &trust).unwrap();
    assert!(Arc::ptr_eq(&one, &same));
    let discovery = Service::new(AdapterName::Discovery, one, policy());
    let strategy = Service::new(AdapterName::Strategy, same, policy());
    let _none = strategy.select(&choose(), &[target("a")], call()).await;
    for _ in 0..20 {
        let (choose, other) = (choose(), choose());
        let (one, other) = tokio::join!(
            discovery.discover(&choose, call()),
            discovery.discover(&other, call())
        );
        assert_eq!((one, other), (Ok(Vec::new()), Ok(Vec::new())));
    }
    assert_eq!((server.double.asked(), server.double.connections()), (41, 1));

    let (double, at) = (Arc::clone(&server.double), server.listener());
    drop(server);
    assert_eq!(
        cause(discovery.discover(&choose(), call()).await),
        AskError::Unreachable
    );
    let _server = Server::restart(double, at);
    let deadline = Instant::now() + PATIENCE;
    while discovery.discover(&choose(), call()).await.is_err() {
        assert!(Instant::now() < deadline, "it never came back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_not_asked_too_often() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let attempts = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    // Takes connections, and drops them.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let service = Service::new(AdapterName::Discovery, connect(&settings(address)), policy());
    for _ in 0..200 {
        assert_eq!(
            cause(service.discover(&choose(), call()).await),
            AskError::Unreachable
        );
    }
    let attempts = attempts.load(std::sync::atomic::Ordering::SeqCst);
    assert!(
        (1..100).contains(&attempts),
        "{attempts} connections for 200 questions"
    );
}

#[tokio::test]
async fn what_is_no_grpc_server_is_told_from_one() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _request = stream.read(&mut [0; 1024]);
            let _gone = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let service = Service::new(AdapterName::Discovery, connect(&settings(address)), policy());
    assert_eq!(
        cause(service.discover(&choose(), call()).await),
        AskError::Unreachable
    );
}

#[tokio::test]
async fn answers_that_are_too_large_are_not_taken() {
    let server = Server::start();
    *server.double.discovery.lock().unwrap() = Box::new(|_| {
        let mut huge = answered("a");
        huge.meta = vec![contract::MetaEntry {
            key: "k".into(),
            value: "x".repeat(5 * 1024 * 1024),
        }];
        Ok(TargetsResponse { targets: vec![huge] })
    });
    *server.double.strategy.lock().unwrap() = Box::new(|_| {
        let mut huge = answered("a");
        huge.identifier = "x".repeat(300 * 1024);
        Ok(SelectResponse { target: Some(huge) })
    });
    let discovery = service(&server, AdapterName::Discovery);
    assert_eq!(
        cause(discovery.discover(&choose(), call()).await),
        AskError::Failed
    );
    let strategy = service(&server, AdapterName::Strategy);
    let answer = strategy.select(&choose(), &[target("a")], call()).await;
    assert_eq!(cause(answer), AskError::Failed);
    // A question that no server would take is not even sent.
    let asked = server.double.asked();
    let many: Vec<_> = (0..600)
        .map(|n| {
            let meta = [("k".to_owned(), "x".repeat(8 * 1024))].into();
            Arc::new(Target {
                meta,
                ..(*target(&n.to_string())).clone()
            })
        })
        .collect();
    assert_eq!(
        cause(strategy.select(&choose(), &many, call()).await),
        AskError::Failed
    );
    assert_eq!(server.double.asked(), asked);
}

#[tokio::test]
async fn targets_that_cannot_be_are_not_taken() {
    let server = Server::start();
    let discovery = service(&server, AdapterName::Discovery);
    let with_port = |port: u32| {
        let mut target = answered("a");
        target.address.as_mut().unwrap().port = port;
        target
    };
    let homeless = contract::Target {
        address: None,
        ..answered("a")
    };
    let many = (0..4_097).map(|n| answered(&n.to_string())).collect();
    for targets in [
        vec![answered("a"), answered("a")],
        vec![answered("")],
        vec![with_port(0)],
        vec![with_port(65_536)],
        vec![homeless],
        many,
    ] {
        *server.double.discovery.lock().unwrap() = Box::new(move |_| {
            Ok(TargetsResponse {
                targets: targets.clone(),
            })
        });
        assert_eq!(
            cause(discovery.discover(&choose(), call()).await),
            AskError::Failed
        );
    }
}

#[tokio::test]
async fn an_action_that_says_nothing_or_no_key_has_failed() {
    let server = Server::start();
    let action = service(&server, AdapterName::Action);
    let key = |key: &str| Some(apply_response::Reason::Key(key.into()));
    for reason in [None, key(""), key("a\nb"), key(&"x".repeat(257))] {
        *server.double.action.lock().unwrap() = Box::new(move |_| {
            Ok(ApplyResponse {
                reason: reason.clone(),
            })
        });
        let answer = action.apply(&choose(), &[target("a")], call()).await;
        assert_eq!(cause(answer), AskError::Failed);
    }
}

#[tokio::test]
async fn profiles_that_cannot_be_are_not_taken() {
    let server = Server::start();
    let authentication = service(&server, AdapterName::Authentication);
    let good = Profile {
        id: PLAYER.to_string(),
        name: "Alice".into(),
        ..Default::default()
    };
    let property = |value: usize| ProfileProperty {
        name: "textures".into(),
        value: "x".repeat(value),
        signature: None,
    };
    let bad = [
        Profile {
            id: String::new(),
            ..good.clone()
        },
        Profile {
            id: "Alice".into(),
            ..good.clone()
        },
        Profile {
            name: String::new(),
            ..good.clone()
        },
        Profile {
            name: "x".repeat(17),
            ..good.clone()
        },
        Profile {
            name: "a\nb".into(),
            ..good.clone()
        },
        Profile {
            properties: vec![property(1); 17],
            ..good.clone()
        },
        Profile {
            properties: vec![property(32_768)],
            ..good.clone()
        },
    ];
    let answers = bad.map(authentication_response::Reason::Profile).map(Some);
    for reason in answers.into_iter().chain([None]) {
        *server.double.authentication.lock().unwrap() = Box::new(move |_| {
            Ok(AuthenticationResponse {
                reason: reason.clone(),
            })
        });
        let refusal = authentication
            .authenticate(&authenticate(), call())
            .await
            .unwrap_err();
        assert_eq!(refusal.cause, AskError::Failed);
        assert_eq!(refusal.message.key, "disconnect_authentication_unavailable");
    }
    let most = Profile {
        properties: vec![property(32_767); 16],
        ..good
    };
    *server.double.authentication.lock().unwrap() = Box::new(move |_| {
        Ok(AuthenticationResponse {
            reason: Some(authentication_response::Reason::Profile(most.clone())),
        })
    });
    let profile = authentication
        .authenticate(&authenticate(), call())
        .await
        .unwrap();
    assert_eq!(profile.properties.len(), 16);
}

#[tokio::test]
async fn statuses_that_cannot_be_shown_are_not_taken() {
    let server = Server::start();
    let status = service(&server, AdapterName::Status);
    let good = StatusData {
        version: Some(ProtocolVersion::default()),
        ..Default::default()
    };
    let sample = |count: usize, id: &str| {
        let entry = contract::PlayerEntry {
            name: "x".into(),
            id: id.into(),
        };
        Some(contract::Players {
            samples: vec![entry; count],
            ..Default::default()
        })
    };
    for bad in [
        StatusData {
            version: None,
            ..good.clone()
        },
        StatusData {
            favicon: Some(b"GIF89a".into()),
            ..good.clone()
        },
        StatusData {
            favicon: Some(b"data:image/png;base64,\xFF".into()),
            ..good.clone()
        },
        StatusData {
            description: Some("x".repeat(40_000)),
            ..good.clone()
        },
        StatusData {
            players: sample(101, ""),
            ..good.clone()
        },
        StatusData {
            players: sample(1, "Alice"),
            ..good.clone()
        },
    ] {
        let answer = StatusResponse {
            status: Some(bad.clone()),
        };
        *server.double.status.lock().unwrap() = Box::new(move |_| Ok(answer.clone()));
        let answer = status.status(&client(), call()).await;
        // Long text is cut instead.
        let expected = if bad.description.is_some() {
            Ok(())
        } else {
            Err(AskError::Failed)
        };
        assert_eq!(answer.map(drop), expected, "{bad:?}");
    }
}
