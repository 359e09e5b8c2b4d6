//! Turning a candidate into a verified profile, and telling the client.

use std::sync::Arc;

use crate::fault::Fault;
use crate::identity::{Profile, SharedSecret, VerifiedProfile};
use crate::packet::login::{Clientbound, Serverbound};
use crate::question::{AskError, AuthenticateQuery, Question, Refusal};
use crate::text::keys;

use super::configuration::Configuration;
use super::context::{Context, Listening};
use super::login::{Candidate, Login};
use super::phase::{Ending, Next, Phase, Step};
use super::{End, Stage};

/// Waiting for the authenticator. The claim went out with the question and is not known here any more.
#[derive(Debug)]
pub(super) struct Authentication {
    login: Login,
}

impl Authentication {
    /// Asks the authenticator, unless a cookie has answered already.
    pub(super) fn begin(
        login: Login,
        candidate: Candidate,
        shared_secret: Option<SharedSecret>,
        context: &mut Context,
    ) -> Next {
        let claim = match candidate {
            Candidate::Verified(profile) => return Acknowledgement::begin(login, profile, context),
            Candidate::Claimed(claim) => claim,
        };
        context.ask(Question::Authenticate(Box::new(AuthenticateQuery {
            claim,
            client: login.client.clone(),
            shared_secret,
            public_key: Arc::clone(&login.plan.public_key),
        })));
        Next::Wait(Phase::Authentication(Box::new(Self { login })))
    }

    pub(super) fn conclude(self, answer: Result<Profile, Refusal>, context: &mut Context) -> Step {
        // A profile that does not fit the client's packets is an authenticator's fault, not the player's.
        let profile = VerifiedProfile::from_answer(answer?).map_err(|_| {
            Ending::refuse(
                keys::DISCONNECT_AUTHENTICATION_UNAVAILABLE,
                End::Refused(AskError::Failed),
            )
        })?;
        context.learn_player(&profile.profile().name, profile.profile().id);
        Ok(Acknowledgement::begin(self.login, profile, context))
    }
}

/// Waiting for the client to follow into the configuration phase.
#[derive(Debug)]
pub(super) struct Acknowledgement {
    login: Login,
    profile: VerifiedProfile,
}

impl Acknowledgement {
    fn begin(login: Login, profile: VerifiedProfile, context: &mut Context) -> Next {
        let success = Clientbound::Success {
            profile: &profile,
            session: login.visit.id,
        };
        context.send(|out| success.encode(login.version, out));
        // Whatever we send next the client reads after it has changed its phase.
        context.listening = Listening::Configuration;
        context.expect_step();
        Next::Read(Phase::Acknowledgement(Box::new(Self { login, profile })))
    }

    pub(super) fn receive(self: Box<Self>, context: &mut Context) -> Step {
        let version = self.login.version;
        let acknowledged = context.packet(|packet| match Serverbound::decode(packet, version)? {
            Serverbound::Acknowledged => Ok(()),
            _ => Err(Fault::PacketUnexpected),
        })?;
        if acknowledged.is_none() {
            return Ok(Next::Wait(Phase::Acknowledgement(self)));
        }
        context.stage = Stage::Configuration;
        Ok(Configuration::begin(self.login, self.profile, context))
    }
}
