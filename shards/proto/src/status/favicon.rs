//! The icon of a status: a PNG of 64 by 64 pixels in a data URI.

use super::StatusError;

const PREFIX: &str = "data:image/png;base64,";
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR";
const SIDE_PIXELS: u32 = 64;

/// Checks what makes clients ignore an icon: the URI's form, the Base64 alphabet, the PNG signature, the
/// size.
pub(super) fn check(uri: &str) -> Result<(), StatusError> {
    let base64 = uri.strip_prefix(PREFIX).ok_or(StatusError::FaviconInvalid)?;
    let digits = base64.trim_end_matches('=');
    let padded = base64.len() % 4 == 0 && base64.len() - digits.len() <= 2;
    let sextets: Option<Vec<u8>> = digits.bytes().map(sextet).collect();
    let Some(sextets) = sextets.filter(|_| padded) else {
        return Err(StatusError::FaviconInvalid);
    };
    let (quads, _) = sextets.as_chunks::<4>();
    let start: Vec<u8> = quads.iter().take(8).flat_map(decode_quad).collect();
    let (width, height) = start
        .strip_prefix(SIGNATURE)
        .and_then(size)
        .ok_or(StatusError::FaviconInvalid)?;
    if (width, height) == (SIDE_PIXELS, SIDE_PIXELS) {
        Ok(())
    } else {
        Err(StatusError::FaviconSize(width, height))
    }
}

fn size(header: &[u8]) -> Option<(u32, u32)> {
    let (width, rest) = header.split_first_chunk()?;
    Some((
        u32::from_be_bytes(*width),
        u32::from_be_bytes(*rest.first_chunk()?),
    ))
}

fn decode_quad(&[a, b, c, d]: &[u8; 4]) -> [u8; 3] {
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first 24 bytes of a PNG of 64 by 64 and of 32 by 64 pixels.
    const START: &str = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABA";
    const START_32: &str = "iVBORw0KGgoAAAANSUhEUgAAACAAAABA";

    #[test]
    fn takes_a_png_of_64_by_64_pixels() {
        for rest in ["", "CAYA", "CAY=", "CA=="] {
            assert_eq!(check(&format!("{PREFIX}{START}{rest}")), Ok(()), "{rest}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        assert_eq!(
            check(&format!("{PREFIX}{START_32}")),
            Err(StatusError::FaviconSize(32, 64))
        );
        for uri in [
            String::new(),
            START.to_owned(),
            PREFIX.to_owned(),
            format!("data:image/jpeg;base64,{START}"),
            format!("{PREFIX}{START}A"),
            format!("{PREFIX}{START}\n"),
            format!("{PREFIX}{START}===="),
            format!("{PREFIX}{}", &START[..28]),
            format!("{PREFIX}{}", START.replace("iVBO", "R0lG")),
        ] {
            assert_eq!(check(&uri), Err(StatusError::FaviconInvalid), "{uri}");
        }
    }
}
