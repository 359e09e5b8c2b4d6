//! Strikes secrets out of the words of others: a service that refuses a question may well quote it.

use std::borrow::Cow;

/// What stands in the place of a secret.
const REDACTED: &str = "(redacted)";

/// The text without the secret. To be called before the text is cut, or the beginning of a secret that was
/// cut in two would stay.
pub(crate) fn strike<'a>(secret: &str, text: &'a str) -> Cow<'a, str> {
    if secret.is_empty() || !text.contains(secret) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(secret, REDACTED))
}

/// The text without what follows the scheme of an `Authorization` header, where the secret itself is not at
/// hand.
pub(crate) fn strike_credentials(text: &str) -> Cow<'_, str> {
    const SCHEME: &str = "bearer ";
    // As long as the text, byte for byte.
    let lower = text.to_ascii_lowercase();
    let mut struck = String::new();
    let mut from = 0;
    while let Some(at) = lower[from..].find(SCHEME) {
        let credentials = from + at + SCHEME.len();
        struck.push_str(&text[from..credentials]);
        struck.push_str(REDACTED);
        let is_end = |c: char| c.is_whitespace() || c == '"' || c == ',';
        from = text[credentials..]
            .find(is_end)
            .map_or(text.len(), |end| credentials + end);
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    struck.push_str(&text[from..]);
    Cow::Owned(struck)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_struck_out_by_their_scheme() {
        let quoted = "no: authorization: Bearer hunter2 | accept: *; \"bearer hunter2\" bearer hunter2";
        assert_eq!(
            strike_credentials(quoted),
            "no: authorization: Bearer (redacted) | accept: *; \"bearer (redacted)\" bearer (redacted)"
        );
        assert_eq!(strike_credentials("the bear has a token"), "the bear has a token");
    }

    #[test]
    fn a_secret_is_struck_out_wherever_it_stands() {
        assert_eq!(
            strike("hunter2", "hunter2? no: hunter2!"),
            "(redacted)? no: (redacted)!"
        );
        assert_eq!(strike("hunter2", "hunter3"), "hunter3");
        assert_eq!(strike("", "hunter2"), "hunter2");
    }
}
