//! The words of a last message, from a service if the route has one, else from what is at hand.

use futures_lite::future;
use passage_proto::question::{Answer, AskError, LocalizeQuery, Message};
use passage_proto::session::End;

use super::Connection;
use super::errand::{Call, Detail, Errand};
use crate::ask::{RemoteAnswer, RemoteQuestion};
use crate::engine::Event;
use crate::limits::{LINGER, WORDS_PATIENCE};
use crate::metrics::{AdapterName, AdapterType};
use crate::outcome::Outcome;
use crate::route::Localization;
use crate::shard::{Gate, RouteRef};

impl Connection {
    /// The words for the session; `None` if a service is asked.
    pub(super) fn localize(&mut self, query: Box<LocalizeQuery>) -> Option<Answer> {
        match self.ask_for_words(&query) {
            Some(call) => {
                self.errand = Some(Errand::Words(call, query));
                None
            }
            None => Some(Answer::Text(self.words(&query))),
        }
    }

    /// The words for a connection whose session is over.
    pub(super) async fn find_words(&mut self, query: &LocalizeQuery) -> String {
        let Some(call) = self.ask_for_words(query) else {
            return self.words(query);
        };
        loop {
            if let Some(outcome) = call.outcome(self.shard.engine.now()) {
                return self.worded(&call, outcome, query);
            }
            match self.socket.next(false, Some(call.deadline())).await {
                Event::Notified if self.shard.gate() == Gate::Shut => break,
                Event::Ended | Event::Failed(_) => break,
                Event::Notified | Event::Deadline | Event::Received(_) => {}
            }
        }
        self.words(query)
    }

    /// Asks the localization service, if there is one that can be asked.
    fn ask_for_words(&mut self, query: &LocalizeQuery) -> Option<Call> {
        let service = self.localization().remote?;
        let question = RemoteQuestion::Localize {
            adapter: service.adapter,
            query: Box::new(query.clone()),
        };
        let patience = service.timeout.min(WORDS_PATIENCE);
        self.call(AdapterName::Localization, service, patience, question)
            .ok()
    }

    /// What the service said; the words at hand if it said nothing.
    pub(super) fn worded(
        &mut self,
        call: &Call,
        outcome: Result<RemoteAnswer, AskError>,
        query: &LocalizeQuery,
    ) -> String {
        let text = match outcome {
            Ok(RemoteAnswer::Text(text)) => text,
            Ok(_) => Err(AskError::Failed),
            Err(cause) => Err(cause),
        };
        self.concluded(call, Detail::Nothing, text.as_ref().err().copied());
        text.unwrap_or_else(|_| self.words(query))
    }

    /// Sends the client away at once: with the words at hand where it would read some. Nobody is asked for
    /// them and nothing waits, not even for room in the socket: who does not read them has lost them.
    pub(super) async fn dismiss(mut self, key: &'static str, outcome: Outcome) {
        let mut output = Vec::new();
        if self.session.reads_words() && self.shard.has_room_to_linger() {
            let query = LocalizeQuery {
                locale: self.session.locale().map(str::to_owned),
                message: Message {
                    key: key.into(),
                    params: Vec::new(),
                },
            };
            let words = self.words(&query);
            self.session.dismiss(&words, End::Refused(AskError::Overloaded));
            output = self.socket.take_buffer();
            let _over = self.session.poll(&mut output);
        }
        let Self {
            record,
            session,
            mut socket,
            ..
        } = self;
        record.ended(outcome, session.facts());
        if !output.is_empty() {
            // From here on the engine has the bytes, whether or not the kernel takes them at once.
            let _under_way = future::poll_once(socket.send(output, None)).await;
            socket.finish(LINGER);
        }
    }

    /// The words at hand.
    fn words(&mut self, query: &LocalizeQuery) -> String {
        let began = std::time::Instant::now();
        let text = self.localization().words.localize(query);
        self.used(
            AdapterName::Localization,
            AdapterType::Fixed,
            began,
            Detail::Nothing,
            None,
        );
        text
    }

    fn localization(&self) -> Localization {
        match self.route.as_ref().and_then(RouteRef::route) {
            Some(route) => route.localization.clone(),
            None => self.shard.routes().localization.clone(),
        }
    }
}
