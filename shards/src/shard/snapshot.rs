//! The routes as one shard's connections hold them.

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use crate::route::{Route, Routes};

/// A shard's hold on the routes that all shards share. Connections clone this one, whose count is the shard's
/// own: the shards would otherwise fight over one counter with every connection.
#[derive(Clone)]
pub(crate) struct Snapshot(Rc<Hold>);

struct Hold(Arc<Routes>);

impl Snapshot {
    pub(crate) fn new(routes: Arc<Routes>) -> Self {
        Self(Rc::new(Hold(routes)))
    }

    /// The route for a normalised host name.
    pub(crate) fn find_route(&self, hostname: &str) -> Option<RouteRef> {
        self.find(hostname).map(|at| RouteRef {
            snapshot: self.clone(),
            at,
        })
    }
}

impl Deref for Snapshot {
    type Target = Routes;

    fn deref(&self) -> &Routes {
        &self.0.0
    }
}

/// A route of the snapshot that a connection began with.
#[derive(Clone)]
pub(crate) struct RouteRef {
    snapshot: Snapshot,
    at: usize,
}

impl RouteRef {
    pub(crate) fn route(&self) -> Option<&Route> {
        self.snapshot.route(self.at)
    }

    /// The position of the route in its snapshot.
    pub(crate) fn position(&self) -> usize {
        self.at
    }
}
