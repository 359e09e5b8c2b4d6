//! Host names as routes compare them.

use std::borrow::Cow;

/// The comparable part of a handshake's address: everything from `\0` (Forge's marks) or `///` (proxies'
/// suffixes) on cut off, then one trailing dot, in ASCII lower case. Most clients send lower case, of which
/// nothing is copied.
#[must_use]
pub fn normalise(address: &str) -> Cow<'_, str> {
    let end = [address.find('\0'), address.find("///")]
        .into_iter()
        .flatten()
        .min();
    let name = end.and_then(|end| address.get(..end)).unwrap_or(address);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The part of a handshake's address that [`normalise`] cuts off, from `\0` or `///` on; empty if there is
/// none.
#[must_use]
pub fn suffix(address: &str) -> &str {
    let start = [address.find('\0'), address.find("///")]
        .into_iter()
        .flatten()
        .min();
    start.and_then(|start| address.get(start..)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cuts_marks_and_suffixes_and_one_dot() {
        for (address, name) in [
            ("play.example.net", "play.example.net"),
            ("Play.Example.NET.", "play.example.net"),
            ("play.example.net\0FML\0", "play.example.net"),
            ("play.example.net.\0FML3\0", "play.example.net"),
            (
                "play.example.net///203.0.113.7:4711///1700000000",
                "play.example.net",
            ),
            ("play.example.net\0FML2\0///x", "play.example.net"),
            ("2001:db8::1", "2001:db8::1"),
            ("a/b//c", "a/b//c"),
            ("..", "."),
            (".", ""),
            ("", ""),
            ("\0FML\0", ""),
            ("BÜCHER.example", "bÜcher.example"),
        ] {
            assert_eq!(normalise(address), name, "{address:?}");
        }
    }

    proptest! {
        #[test]
        fn never_has_a_mark_or_an_upper_case_letter(address in ".{0,64}") {
            let name = normalise(&address);
            prop_assert!(!name.contains('\0') && !name.contains("///"));
            prop_assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()));
            prop_assert!(name.len() <= address.len());
        }

        #[test]
        fn ignores_case_suffix_and_dot(
            name in "[a-z0-9-]{1,20}(\\.[a-z0-9-]{1,20}){0,3}", suffix in "(\0|///).{0,20}",
        ) {
            let typed = format!("{}.{suffix}", name.to_ascii_uppercase());
            prop_assert_eq!(normalise(&typed), name);
            prop_assert_eq!(super::suffix(&typed), suffix);
        }

        #[test]
        fn name_and_suffix_make_up_the_address(address in ".{0,64}") {
            let suffix = suffix(&address);
            prop_assert!(address.ends_with(suffix));
            prop_assert!(suffix.is_empty() || suffix.starts_with('\0') || suffix.starts_with("///"));
        }
    }
}
