//! HTTP/1.1 as far as doubles need it: where a request ends, and what its first line is.

/// A request head longer than this is not one that a Minecraft network sends.
const HEAD_BYTES_MAX: usize = 8 * 1024;

const NO_LENGTH: &[u8] = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The requests of one connection, and where in the last one it is.
#[derive(Debug, Default)]
pub struct Requests {
    head: Vec<u8>,
    /// The first line of the request whose body comes, and how many bytes of it are left.
    body: Option<(String, usize)>,
}

impl Requests {
    /// Takes received bytes; `answer` gets the first line of each request that is whole, and gives what is to
    /// be sent. Bodies are passed over. `false` if the connection cannot go on.
    pub(super) fn receive(
        &mut self,
        mut bytes: &[u8],
        output: &mut Vec<u8>,
        mut answer: impl FnMut(&str) -> String,
    ) -> bool {
        loop {
            if let Some((line, left)) = &mut self.body {
                let step = bytes.len().min(*left);
                bytes = bytes.get(step..).unwrap_or_default();
                *left -= step;
                if *left > 0 {
                    return true;
                }
                output.extend_from_slice(answer(line).as_bytes());
                self.body = None;
            }
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = self.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                return self.head.len() <= HEAD_BYTES_MAX;
            };
            bytes = bytes.get(end + 4 - before..).unwrap_or_default();
            let head = String::from_utf8_lossy(self.head.get(..end).unwrap_or_default()).into_owned();
            self.head.clear();
            let Some(length) = body_length(&head) else {
                output.extend_from_slice(NO_LENGTH);
                return false;
            };
            self.body = Some((head.lines().next().unwrap_or_default().to_owned(), length));
        }
    }
}

/// A response with a JSON body.
pub(super) fn respond(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// How many bytes follow the head; `None` if that cannot be told.
fn body_length(head: &str) -> Option<usize> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim())
    });
    match length {
        Some(length) => length.parse().ok(),
        None => head.starts_with("GET ").then_some(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: &str = "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde\
                            GET /b HTTP/1.1\r\nHost: x\r\n\r\n\
                            POST /c HTTP/1.1\r\ncontent-length:0\r\n\r\n\
                            POST /d HTTP/1.1\r\nX: y\r\nContent-length: 3\r\n\r\n\r\n\r";

    #[test]
    fn finds_every_request_however_it_is_cut() {
        for size in 1..=REQUESTS.len() {
            let (mut requests, mut output) = (Requests::default(), Vec::new());
            for piece in REQUESTS.as_bytes().chunks(size) {
                assert!(requests.receive(piece, &mut output, |line| format!("<{line}>")));
            }
            let lines = ["POST /a", "GET /b", "POST /c", "POST /d"].map(|line| format!("<{line} HTTP/1.1>"));
            assert_eq!(String::from_utf8(output).unwrap(), lines.concat(), "{size}");
        }
    }

    #[test]
    fn refuses_what_has_no_length_or_no_end() {
        let refused = |request: &[u8]| {
            let answer = |_: &str| unreachable!("there is no whole request");
            !Requests::default().receive(request, &mut Vec::new(), answer)
        };
        assert!(refused(
            b"POST /v1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        assert!(refused(b"POST /v1 HTTP/1.1\r\nContent-Length: -1\r\n\r\n"));
        assert!(refused(&[b'x'; HEAD_BYTES_MAX + 1]));
    }
}
