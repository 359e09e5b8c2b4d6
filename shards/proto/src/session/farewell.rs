//! The last words: a disconnect message, in the player's language if somebody knows it.

use std::borrow::Cow;

use crate::limits::LOCALIZE_GRACE;
use crate::packet::{configuration, login};
use crate::question::{LocalizeQuery, Message, Question};
use crate::text::Text;

use super::End;
use super::context::{Context, Listening};
use super::phase::{Ending, Next, Phase};

/// Waiting for the words. Nothing that the client sends matters any more.
#[derive(Debug)]
pub(super) struct Farewell {
    end: End,
    key: Cow<'static, str>,
}

impl Farewell {
    /// Asks for the words, whatever else was being asked. The wait for them has its own bound in place of the
    /// conversation's, which may have come already.
    pub(super) fn begin(message: Message, end: End, context: &mut Context) -> Phase {
        let key = message.key.clone();
        let locale = context.locale.as_deref().map(str::to_owned);
        context.ask(Question::Localize(Box::new(LocalizeQuery { locale, message })));
        context.alarm = context.after(LOCALIZE_GRACE);
        context.total = None;
        context.inbox.discard();
        Phase::Farewell(Box::new(Self { end, key }))
    }

    pub(super) fn end(&self) -> End {
        self.end
    }

    pub(super) fn ignore_input(self: Box<Self>, context: &mut Context) -> Next {
        context.inbox.discard();
        Next::Wait(Phase::Farewell(self))
    }

    pub(super) fn say(self, text: &str, context: &mut Context) -> Ending {
        disconnect(&Text::parse(text), context);
        Ending::Close(self.end)
    }

    /// No words came in time: better the bare key than a bare close.
    pub(super) fn give_up(self, context: &mut Context) -> Ending {
        disconnect(&Text::literal(&self.key), context);
        Ending::Close(self.end)
    }
}

/// Sends the disconnect message, if the client would read one now.
pub(super) fn disconnect(text: &Text, context: &mut Context) {
    let version = context.version();
    match context.listening {
        Listening::Deaf => {}
        Listening::Login => {
            context.send(|out| login::Clientbound::Disconnect(text).encode(version, out));
        }
        Listening::Configuration => {
            context.send(|out| configuration::Clientbound::Disconnect(text).encode(version, out));
        }
    }
}
