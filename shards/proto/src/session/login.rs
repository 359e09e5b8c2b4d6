//! The first steps of a login that we answer ourselves: who does the client claim to be, and what does it
//! carry?
//!
//! Both cookies are asked for before encryption begins, because the encryption request says whether the
//! client has to announce itself at its session server, and that is only needed without a valid
//! authentication cookie. The price: the cookies that a client *brings* cross the wire in clear. Whoever
//! reads one there can use it from the same IP address until it expires, and whoever can read that wire could
//! take over the unencrypted login start as well. The cookies that we *store* go out encrypted wherever the
//! connection is.

use serde_json::{Map, Value};

use crate::cookie::{AUTHENTICATION_KEY, CookieCheck, SESSION_KEY, SessionCookie};
use crate::fault::Fault;
use crate::identity::{Claim, VerifiedProfile};
use crate::packet::CookieRequest;
use crate::packet::login::{Clientbound, Serverbound};
use crate::question::{ClientInfo, LoginPlan, Message};
use crate::text::keys;
use crate::version::{TRANSFER_SINCE_NAME, Version};

use super::End;
use super::context::Context;
use super::encryption::Encryption;
use super::phase::{Ending, Next, Phase, Step};

/// What every step of a login knows.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) client: ClientInfo,
    pub(super) plan: LoginPlan,
    pub(super) version: &'static Version,
    /// The player's visit to the network: a new one, or the one that the client's cookie tells of.
    pub(super) visit: SessionCookie,
    /// What other services keep in the authentication cookie.
    pub(super) extra: Map<String, Value>,
    transferred: bool,
}

/// Who a login is for, as far as that is known before the authenticator is asked.
#[derive(Debug)]
pub(super) enum Candidate {
    /// By the client's own word.
    Claimed(Claim),
    /// By a verified cookie, whatever the client claims.
    Verified(VerifiedProfile),
}

/// Waiting for login start.
#[derive(Debug)]
pub(super) struct LoginStart {
    login: Login,
}

impl LoginStart {
    pub(super) fn begin(
        client: ClientInfo,
        plan: LoginPlan,
        transferred: bool,
        context: &mut Context,
    ) -> Step {
        let version = Version::of(client.protocol);
        if !version.can_transfer() {
            let params = vec![("version", TRANSFER_SINCE_NAME.to_owned())];
            let message = Message {
                key: keys::DISCONNECT_VERSION.into(),
                params,
            };
            return Err(Ending::Refuse(message, End::Unsupported));
        }
        let visit = SessionCookie::new(context.visit_id(), &client.hostname, client.port);
        let login = Login {
            client,
            plan,
            version,
            visit,
            extra: Map::new(),
            transferred,
        };
        context.expect_step();
        Ok(Next::Read(Phase::LoginStart(Box::new(Self { login }))))
    }

    pub(super) fn receive(self: Box<Self>, context: &mut Context) -> Step {
        let version = self.login.version;
        let claim = context.packet(|packet| match Serverbound::decode(packet, version)? {
            Serverbound::Start(start) => Ok(Claim {
                name: start.name.to_owned(),
                id: start.id.unwrap_or_default(),
            }),
            _ => Err(Fault::PacketUnexpected),
        })?;
        let Some(claim) = claim else {
            return Ok(Next::Wait(Phase::LoginStart(self)));
        };
        context.learn_player(&claim.name, claim.id);
        Ok(Cookies::begin(self.login, claim, context))
    }
}

/// Waiting for the cookies. A client answers requests in their order.
#[derive(Debug)]
pub(super) struct Cookies {
    login: Login,
    claim: Claim,
    awaited: Cookie,
}

/// Which cookie comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cookie {
    Session,
    Authentication,
}

impl Cookie {
    fn key(self) -> &'static str {
        match self {
            Self::Session => SESSION_KEY,
            Self::Authentication => AUTHENTICATION_KEY,
        }
    }

    fn request(self, login: &Login, context: &mut Context) {
        let request = Clientbound::CookieRequest(CookieRequest { key: self.key() });
        context.send(|out| request.encode(login.version, out));
    }
}

impl Cookies {
    fn begin(login: Login, claim: Claim, context: &mut Context) -> Next {
        Cookie::Session.request(&login, context);
        if login.may_carry_proof() {
            Cookie::Authentication.request(&login, context);
        }
        context.expect_step();
        Next::Read(Phase::Cookies(Box::new(Self {
            login,
            claim,
            awaited: Cookie::Session,
        })))
    }

    pub(super) fn receive(self: Box<Self>, context: &mut Context) -> Step {
        let (version, awaited) = (self.login.version, self.awaited);
        let payload = context.packet(|packet| match Serverbound::decode(packet, version)? {
            Serverbound::CookieResponse(response) if response.key == awaited.key() => {
                Ok(response.payload.map(<[u8]>::to_vec).unwrap_or_default())
            }
            Serverbound::CookieResponse(_) => Err(Fault::CookieUnexpected),
            _ => Err(Fault::PacketUnexpected),
        })?;
        match payload {
            None => Ok(Next::Wait(Phase::Cookies(self))),
            Some(payload) if awaited == Cookie::Session => self.session(&payload, context),
            Some(payload) => self.authentication(&payload, context),
        }
    }

    fn session(mut self: Box<Self>, payload: &[u8], context: &mut Context) -> Step {
        if let Some(visit) = SessionCookie::decode(payload) {
            context.facts.traceparent = visit.traceparent().map(Into::into);
            self.login.visit = visit;
        }
        if self.login.may_carry_proof() {
            context.expect_step();
            self.awaited = Cookie::Authentication;
            return Ok(Next::Read(Phase::Cookies(self)));
        }
        Ok(Encryption::begin(
            self.login,
            Candidate::Claimed(self.claim),
            context,
        ))
    }

    fn authentication(self: Box<Self>, payload: &[u8], context: &mut Context) -> Step {
        let Self { mut login, claim, .. } = *self;
        let check = CookieCheck {
            client: login.client.address.ip(),
            unix_seconds: context.now.unix_seconds,
            expiry_seconds: context.bounds.cookie_expiry_seconds,
        };
        let verified = login
            .plan
            .cookies
            .as_ref()
            .and_then(|keys| keys.verify(payload, &check).ok());
        let candidate = match verified {
            Some(verified) => {
                let profile = verified.profile.profile();
                context.learn_player(&profile.name, profile.id);
                login.extra = verified.cookie.extra;
                Candidate::Verified(verified.profile)
            }
            None => Candidate::Claimed(claim),
        };
        Ok(Encryption::begin(login, candidate, context))
    }
}

impl Login {
    /// Whether the client may bring an authentication cookie: it comes from another server, and we have keys.
    fn may_carry_proof(&self) -> bool {
        self.transferred && self.plan.cookies.is_some()
    }
}
