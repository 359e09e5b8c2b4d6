//! Text with variables in it, such as `protocol-{{ .Client.ProtocolVersion }}`, which each player's
//! allocation fills in.

use std::fmt;

/// Text with variables in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    Literal(String),
    Variable(Variable),
}

/// What a template may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `.Client.ProtocolVersion`: the client's protocol version, in digits.
    ProtocolVersion,
    /// `.Client.ServerAddress`: the host name that the client connected to.
    ServerAddress,
    /// `.Client.ServerPort`: the port that the client connected to.
    ServerPort,
    /// `.Client.Address`: the client's IP address.
    ClientAddress,
    /// `.Player.Name`: the player's name.
    PlayerName,
    /// `.Player.Id`: the player's UUID, hyphenated.
    PlayerId,
    /// `.Request.TraceId`: the connection's trace in 32 hex digits, or nothing if it is not traced.
    TraceId,
}

const VARIABLES: [(&str, Variable); 7] = [
    (".Client.ProtocolVersion", Variable::ProtocolVersion),
    (".Client.ServerAddress", Variable::ServerAddress),
    (".Client.ServerPort", Variable::ServerPort),
    (".Client.Address", Variable::ClientAddress),
    (".Player.Name", Variable::PlayerName),
    (".Player.Id", Variable::PlayerId),
    (".Request.TraceId", Variable::TraceId),
];

impl Template {
    /// Reads `{{ .Client.Address }}` and the like; the spaces may be left out.
    ///
    /// # Errors
    ///
    /// A variable that there is not, or braces that do not end.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, opened)) = rest.split_once("{{") {
            let (name, after) = opened.split_once("}}").ok_or(TemplateError::Open)?;
            let known = VARIABLES.iter().find(|(known, _)| *known == name.trim());
            let (_, variable) = known.ok_or_else(|| TemplateError::Unknown(name.trim().to_owned()))?;
            parts.extend((!literal.is_empty()).then(|| Part::Literal(literal.to_owned())));
            parts.push(Part::Variable(*variable));
            rest = after;
        }
        parts.extend((!rest.is_empty()).then(|| Part::Literal(rest.to_owned())));
        Ok(Self(parts))
    }

    /// The text with every variable's value in its place.
    #[must_use]
    pub fn render(&self, value: impl Fn(Variable) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Variable(variable) => value(*variable),
        };
        self.0.iter().map(part).collect()
    }

    /// The text itself if there is no variable in it.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Literal(text)] => Some(text),
            _ => None,
        }
    }
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// Braces are opened and not closed.
    Open,
    /// There is no such variable.
    Unknown(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("{{ without }}"),
            Self::Unknown(name) => write!(f, "the variable {name:?}, which there is not"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl TemplateError {
    /// What may be written instead.
    #[must_use]
    pub fn allowed() -> String {
        let names = VARIABLES.map(|(name, _)| format!("{{{{ {name} }}}}"));
        format!("text with the variables {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> String {
        Template::parse(text)
            .unwrap()
            .render(|variable| format!("<{variable:?}>"))
    }

    #[test]
    fn fills_in_every_variable_that_is_documented() {
        for (name, variable) in VARIABLES {
            assert_eq!(render(&format!("{{{{ {name} }}}}")), format!("<{variable:?}>"));
        }
    }

    #[test]
    fn keeps_the_text_around_variables() {
        assert_eq!(
            render("a{{.Client.Address}}b{{  .Player.Name }}{{ .Player.Id}}c}}"),
            "a<ClientAddress>b<PlayerName><PlayerId>c}}"
        );
        assert_eq!(render(""), "");
        assert_eq!(Template::parse("lobby").unwrap().literal(), Some("lobby"));
        assert_eq!(Template::parse("{{ .Player.Id }}").unwrap().literal(), None);
    }

    #[test]
    fn refuses_what_it_cannot_fill_in() {
        for (text, error) in [
            (
                "{{ .Client.Adress }}",
                TemplateError::Unknown(".Client.Adress".into()),
            ),
            ("{{ }}", TemplateError::Unknown(String::new())),
            (
                "{{ .client.address }}",
                TemplateError::Unknown(".client.address".into()),
            ),
            ("{{ .Client.Address", TemplateError::Open),
            ("x {{", TemplateError::Open),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
    }
}
