//! What a client says it wants to reach: the `Host` field and its kin.

use std::net::Ipv6Addr;

use super::Domain;

/// What a `Host` field, an absolute target or an `:authority` says (RFC 9110, 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The name, where it can be one; `None` for an IP address and for any other name of valid syntax that can never be
    /// mapped (B5, B9).
    pub domain: Option<Domain>,
    /// The port, where one is given.
    pub port: Option<u16>,
}

/// The bytes are no `host [ ":" port ]` (RFC 3986, 3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityError;

impl Authority {
    /// Reads the bytes of a `Host` field value. `Err` is invalid syntax, which is answered with 400 (B8, B9, B64, B65):
    /// nothing, userinfo, a byte that no host has, a port that is no number up to 65535.
    ///
    /// Blanks around the value belong to the field, not to the value (RFC 9110, 5.5). Allocates nothing but the name if
    /// that is plain lower-case ASCII.
    pub fn parse(bytes: &[u8]) -> Result<Self, AuthorityError> {
        if let Some(domain) = Domain::recognise(bytes) {
            return Ok(Self { domain: Some(domain), port: None });
        }
        // Valid syntax is ASCII, and so UTF-8.
        let text = std::str::from_utf8(bytes).map_err(|_| AuthorityError)?;
        let text = text.trim_matches([' ', '\t']);
        if let Some(literal) = text.strip_prefix('[') {
            let (address, rest) = literal.split_once(']').ok_or(AuthorityError)?;
            let port = rest.strip_prefix(':');
            if !is_address(address) || (port.is_none() && !rest.is_empty()) {
                return Err(AuthorityError);
            }
            return Ok(Self { domain: None, port: port.map_or(Ok(None), parse_port)? });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, parse_port(port)?),
            None => (text, None),
        };
        if !is_registered_name(name) {
            return Err(AuthorityError);
        }
        Ok(Self { domain: Domain::normalise(name).ok(), port })
    }
}

/// `port = *DIGIT` (RFC 3986, 3.2.3): it may be empty, which is none.
fn parse_port(text: &str) -> Result<Option<u16>, AuthorityError> {
    match text {
        "" => Ok(None),
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => Err(AuthorityError),
        _ => text.parse().map(Some).map_err(|_| AuthorityError),
    }
}

/// `reg-name` (RFC 3986, 3.2.2), but not the empty one: http forbids that (RFC 9110, 4.2.1). Also IPv4 addresses.
fn is_registered_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let valid = match byte {
            b'%' => {
                bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
                    && bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
            }
            other => is_unreserved(other) || is_sub_delimiter(other),
        };
        if !valid {
            return false;
        }
    }
    !text.is_empty()
}

/// What stands between the brackets: `IPv6address / IPvFuture` (RFC 3986, 3.2.2).
fn is_address(text: &str) -> bool {
    let future = || {
        let (version, address) = text.strip_prefix(['v', 'V'])?.split_once('.')?;
        let valid = |byte: u8| is_unreserved(byte) || is_sub_delimiter(byte) || byte == b':';
        Some(
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(valid),
        )
    };
    text.parse::<Ipv6Addr>().is_ok() || future() == Some(true)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn is_sub_delimiter(byte: u8) -> bool {
    matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (Option<String>, Option<u16>) {
        let authority = Authority::parse(text.as_bytes()).unwrap_or_else(|_| panic!("{text:?} is invalid"));
        (authority.domain.map(|domain| domain.as_str().to_owned()), authority.port)
    }

    #[test]
    fn a_host_gives_its_name_and_its_port() {
        // B2, B11.
        for (text, name, port) in [
            ("a.com", "a.com", None),
            ("A.Com", "a.com", None),
            ("a.com.", "a.com", None),
            ("a.com:8443", "a.com", Some(8443)),
            ("A.com.:8443", "a.com", Some(8443)),
            ("a.com:", "a.com", None),
            ("a.com:0080", "a.com", Some(80)),
            ("a.com:65535", "a.com", Some(65535)),
            (" a.com\t", "a.com", None),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
            ("localhost:8080", "localhost", Some(8080)),
        ] {
            assert_eq!(parts(text), (Some(name.to_owned()), port), "{text:?}");
        }
    }

    #[test]
    fn a_valid_host_that_can_never_be_mapped_has_no_domain() {
        // B5, B9: answered with 404.
        let label = "a".repeat(64);
        for text in [
            "203.0.113.5",
            "[2001:db8::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]",
            "[v1.a:b]",
            "a_b.com",
            "a..b",
            ".a",
            "a.com..",
            "*.a.com",
            "%61.com",
            "-a.com",
            "8080",
            "a~b",
            "!$&'()*+,;=",
            "ok",
            "xn--a",
            &label,
        ] {
            assert_eq!(parts(text).0, None, "{text:?}");
        }
        assert_eq!(parts("203.0.113.5:81").1, Some(81));
        assert_eq!(parts("[::1]:80").1, Some(80));
        assert_eq!(parts("[::1]:").1, None);
    }

    #[test]
    fn a_host_of_invalid_syntax_is_an_error() {
        // B8, B9, B64, B65: answered with 400.
        for text in [
            "",
            " ",
            ":80",
            "user@a.com",
            "a.com/",
            "a b.com",
            "a.com:65536",
            "a.com:8x",
            "a.com:+80",
            "a.com:-1",
            "a.com:80:80",
            "a.com:8443.",
            "bücher.example",
            "[::1",
            "[::1]x",
            "[]",
            "[1.2.3.4]",
            "[fe80::1%25eth0]",
            "[v.a]",
            "[v1.]",
            "::1",
            "a]",
            "%6",
            "%zz",
            "a.com\0",
            "a\n.com",
            "a\"b",
            "a<b",
            "a\\b",
            "a|b",
            "a^b",
            "a`b",
            "a{b",
            "a?b",
            "a#b",
            "a\x7f",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), Err(AuthorityError), "{text:?}");
        }
        assert_eq!(Authority::parse(b"a\xff.com"), Err(AuthorityError));
    }

    #[test]
    fn random_bytes_never_panic_and_names_are_stable() {
        let seed = crate::testing::seed();
        let mut random = fastrand::Rng::with_seed(seed);
        let alphabet = b"abzA09-._:[]%@/xn--\xc3\xbc \t,v1~";
        let mut names = 0;
        for _ in 0..100_000 {
            let bytes: Vec<u8> = (0..random.usize(0..14))
                .map(|_| if random.u8(..) == 0 { random.u8(..) } else { alphabet[random.usize(0..alphabet.len())] })
                .collect();
            let Ok(Authority { domain: Some(domain), .. }) = Authority::parse(&bytes) else { continue };
            names += 1;
            let again = Authority::parse(domain.as_str().as_bytes());
            assert_eq!(again, Ok(Authority { domain: Some(domain.clone()), port: None }), "{bytes:?}, seed {seed}");
            assert_eq!(Domain::parse(domain.as_str()), Ok(domain), "{bytes:?}, seed {seed}");
        }
        assert!(names > 1_000, "only {names} were names: the test tests nothing");
    }
}
