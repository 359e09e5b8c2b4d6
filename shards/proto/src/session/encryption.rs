//! The exchange that encrypts a login, on routes that want it.

use std::sync::Arc;

use crate::fault::Fault;
use crate::identity::SharedSecret;
use crate::packet::login::{Clientbound, EncryptionRequest, Serverbound, TokenProof};
use crate::question::{EncryptedSecret, Question};

use super::authentication::Authentication;
use super::context::{Context, Listening};
use super::login::{Candidate, Login};
use super::phase::{Next, Phase, Step};

/// Waiting for the client's secret.
#[derive(Debug)]
pub(super) struct Encryption {
    login: Login,
    candidate: Candidate,
}

impl Encryption {
    /// Asks for encryption if the route wants it, else goes on in clear.
    pub(super) fn begin(login: Login, candidate: Candidate, context: &mut Context) -> Next {
        if !login.plan.encrypt {
            return Authentication::begin(login, candidate, None, context);
        }
        let public_key = Arc::clone(&login.plan.public_key);
        let request = Clientbound::EncryptionRequest(EncryptionRequest {
            server_id: "",
            public_key: &public_key,
            verify_token: &context.verify_token(),
            // Whoever is proven by a cookie need not be announced at a session server again.
            should_authenticate: login.plan.client_must_authenticate
                && matches!(candidate, Candidate::Claimed(_)),
        });
        context.send(|out| request.encode(login.version, out));
        context.expect_step();
        Next::Read(Phase::Encryption(Box::new(Self { login, candidate })))
    }

    pub(super) fn receive(self: Box<Self>, context: &mut Context) -> Step {
        let (version, expected_token) = (self.login.version, context.verify_token());
        let encrypted = context.packet(|packet| match Serverbound::decode(packet, version)? {
            Serverbound::EncryptionResponse(response) => match response.proof {
                TokenProof::Encrypted(token) => Ok(Box::new(EncryptedSecret {
                    shared_secret: response.shared_secret.to_vec(),
                    verify_token: token.to_vec(),
                    expected_token,
                })),
                TokenProof::Signed { .. } => Err(Fault::EncryptionInvalid),
            },
            _ => Err(Fault::PacketUnexpected),
        })?;
        let Some(encrypted) = encrypted else {
            return Ok(Next::Wait(Phase::Encryption(self)));
        };
        // From here on the client reads nothing that is not enciphered with a secret that we do not know yet.
        context.listening = Listening::Deaf;
        context.ask(Question::Decrypt(encrypted));
        let Self { login, candidate } = *self;
        Ok(Next::Wait(Phase::Decryption(Box::new(Decryption {
            login,
            candidate,
        }))))
    }
}

/// Waiting for the private key's owner to decrypt the secret.
#[derive(Debug)]
pub(super) struct Decryption {
    login: Login,
    candidate: Candidate,
}

impl Decryption {
    pub(super) fn encrypt(self, secret: Option<SharedSecret>, context: &mut Context) -> Step {
        let secret = secret.ok_or(Fault::EncryptionInvalid)?;
        context.encrypt(&secret);
        context.listening = Listening::Login;
        Ok(Authentication::begin(
            self.login,
            self.candidate,
            Some(secret),
            context,
        ))
    }
}
