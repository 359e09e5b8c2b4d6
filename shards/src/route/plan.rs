//! What a route means for one client.

use std::borrow::Cow;
use std::sync::Arc;

use passage_proto::question::{
    AskError, LoginPlan, Message, Purpose, Refusal, RelayPlan, RoutePlan, RouteQuery,
};
use passage_proto::text::keys::DISCONNECT_VERSION;
use passage_proto::version::{TRANSFER_SINCE, TRANSFER_SINCE_NAME};

use super::{Authentication, Mode, Route};

impl Route {
    /// How this route treats the client (SPEC "Modes of a route"). `public_key` is the one that clients are
    /// shown.
    #[must_use]
    pub fn plan(&self, query: &RouteQuery, public_key: &Arc<[u8]>) -> RoutePlan {
        match query.purpose {
            Purpose::Status => RoutePlan::Status,
            Purpose::Login => self.login_plan(query.protocol, public_key),
        }
    }

    fn login_plan(&self, protocol: i32, public_key: &Arc<[u8]>) -> RoutePlan {
        match self.mode {
            Mode::Relay => self.relay_plan(),
            Mode::Transfer | Mode::Auto if protocol >= TRANSFER_SINCE => {
                RoutePlan::Transfer(self.transfer_plan(public_key))
            }
            Mode::Auto => self.relay_plan(),
            Mode::Transfer => RoutePlan::Refuse(too_old()),
        }
    }

    fn transfer_plan(&self, public_key: &Arc<[u8]>) -> LoginPlan {
        let client_must_authenticate = matches!(
            self.authentication,
            Authentication::Remote {
                client_must_authenticate: true,
                ..
            }
        );
        let remote = matches!(self.authentication, Authentication::Remote { .. });
        LoginPlan {
            encrypt: remote || self.cookies.is_some(),
            client_must_authenticate,
            cookies: self.cookies.clone(),
            public_key: Arc::clone(public_key),
        }
    }

    fn relay_plan(&self) -> RoutePlan {
        RoutePlan::Relay(RelayPlan {
            rewrite_host: self.relay.rewrite_host.clone(),
        })
    }
}

fn too_old() -> Refusal {
    let params = vec![("version", TRANSFER_SINCE_NAME.to_owned())];
    Refusal {
        message: Message {
            key: Cow::Borrowed(DISCONNECT_VERSION),
            params,
        },
        cause: AskError::Denied,
    }
}
