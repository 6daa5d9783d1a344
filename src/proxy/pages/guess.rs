//! What a backend speaks that does not answer in HTTP (B103).

/// A guess from the first bytes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// A TLS record: the port wants TLS.
    Tls,
    /// A SETTINGS frame: the port speaks HTTP/2 only, as gRPC servers do.
    Http2,
    /// A line of text that is no HTTP: SSH, mail, a database's greeting.
    Banner,
    /// Something else.
    Unknown,
}

/// Guesses from the first bytes of an answer; a dozen is enough.
pub fn guess(first: &[u8]) -> Guess {
    match first {
        // Alert or handshake, then the version's first byte (RFC 8446, 5.1).
        [0x15 | 0x16, 0x03, ..] => Guess::Tls,
        // Length, type 4 (SETTINGS), flags, stream 0 (RFC 9113, 4.1 and 6.5).
        [0, _, _, 4, 0 | 1, 0, 0, 0, 0, ..] => Guess::Http2,
        [] => Guess::Unknown,
        text if text.iter().take(16).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => Guess::Banner,
        _ => Guess::Unknown,
    }
}

impl Guess {
    /// The end of a sentence that begins with the program.
    pub(super) fn finding(self) -> &'static str {
        match self {
            Self::Tls => "speaks TLS, not plain HTTP",
            Self::Http2 => "speaks HTTP/2 only, as gRPC servers do",
            Self::Banner | Self::Unknown => "does not speak HTTP",
        }
    }

    /// The beginning of a sentence that ends in a command.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Tls => {
                "TLS ends at hotcore: let the app listen for plain HTTP on 127.0.0.1, and point the name to that port"
            }
            Self::Http2 => "Let the app answer HTTP/1.1 as well, or point the name to a port that does",
            Self::Banner | Self::Unknown => "Another service has this port: point the name to the app's port",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B103.
    #[test]
    fn the_first_bytes_tell_what_a_backend_speaks() {
        assert_eq!(guess(b"\x15\x03\x01\x00\x02\x02\x16"), Guess::Tls);
        assert_eq!(guess(b"\x16\x03\x03"), Guess::Tls);
        assert_eq!(guess(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03"), Guess::Http2);
        assert_eq!(guess(b"SSH-2.0-OpenSSH_9.2\r\n"), Guess::Banner);
        assert_eq!(guess(b"220 mail ESMTP\r\n"), Guess::Banner);
        assert_eq!(guess(b"-ERR"), Guess::Banner);
        assert_eq!(guess(b""), Guess::Unknown);
        assert_eq!(guess(b"\x4a\x00\x00\x00\x0a8.0.32\x00"), Guess::Unknown);
    }
}
