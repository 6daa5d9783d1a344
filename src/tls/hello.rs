//! What a ClientHello asks for: pure, decided before a certificate, a ticket or a key is touched (B169, B170).

use std::fmt;

use crate::domain::Domain;

/// The protocol of a certificate authority's challenge (RFC 8737, 6.2).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";
/// What is spoken behind the handshake, the preferred one first (RFC 7301, 3.2).
pub(super) const SPOKEN: [&[u8]; 2] = [HTTP_2, HTTP_11];
pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_11: &[u8] = b"http/1.1";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// A client of this site.
    Site(Domain),
    /// A certificate authority that checks whether this name ends here (B168).
    Challenge(Domain),
}

/// Why a handshake is refused, with an alert and without a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No name, an address, none that can be mapped, or none that is served here (B169).
    UnrecognizedName,
    /// None of the offered protocols is spoken here (B169).
    NoApplicationProtocol,
}

impl Refusal {
    /// The fatal alert as a record in clear, as it goes out before any key is agreed on (RFC 8446, 5.1, 6).
    pub(super) fn alert(self) -> [u8; 7] {
        let description = match self {
            // RFC 6066, 3.
            Self::UnrecognizedName => 112,
            // RFC 7301, 3.2.
            Self::NoApplicationProtocol => 120,
        };
        [21, 3, 3, 0, 2, 2, description]
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnrecognizedName => "no name that is served here",
            Self::NoApplicationProtocol => "no protocol that is spoken here",
        })
    }
}

/// The name in a ClientHello, if it is one that can be mapped. What is no name by its bytes does not come here: the library has
/// refused it with `illegal_parameter`.
pub(super) fn name(server_name: Option<&str>) -> Option<Domain> {
    Domain::parse(server_name?).ok()
}

/// What is asked for; `protocols`: `None` where the client does not speak of them, which means HTTP/1.1 (B169).
pub(super) fn read<'a>(
    server_name: Option<&str>,
    protocols: Option<impl Iterator<Item = &'a [u8]>>,
) -> Result<Wish, Refusal> {
    let domain = name(server_name).ok_or(Refusal::UnrecognizedName)?;
    let Some(mut protocols) = protocols else { return Ok(Wish::Site(domain)) };
    let first = protocols.next().ok_or(Refusal::NoApplicationProtocol)?;
    let mut others = protocols.peekable();
    if first == ACME_TLS && others.peek().is_none() {
        return Ok(Wish::Challenge(domain));
    }
    let is_spoken = |protocol: &[u8]| SPOKEN.contains(&protocol);
    if is_spoken(first) || others.any(is_spoken) { Ok(Wish::Site(domain)) } else { Err(Refusal::NoApplicationProtocol) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: Option<&str>, protocols: Option<&[&str]>) -> Result<Wish, Refusal> {
        read(name, protocols.map(|list| list.iter().map(|protocol| protocol.as_bytes())))
    }

    fn site(name: &str) -> Result<Wish, Refusal> {
        Ok(Wish::Site(Domain::parse(name).unwrap()))
    }

    /// B1, B5, B169.
    #[test]
    fn only_a_name_that_can_be_mapped_is_one() {
        assert_eq!(ask(Some("a.test"), None), site("a.test"));
        assert_eq!(ask(Some("A.Test."), None), site("a.test"));
        for name in ["", "192.0.2.1", "::1", "a_b.test", "*.test", "a..b", "8080", "error"] {
            assert_eq!(ask(Some(name), None), Err(Refusal::UnrecognizedName), "{name:?}");
        }
        assert_eq!(ask(None, Some(&["http/1.1"])), Err(Refusal::UnrecognizedName));
    }

    /// B168, B169.
    #[test]
    fn the_protocol_decides_who_asks() {
        for (protocols, wanted) in [
            (&["http/1.1"][..], site("a.test")),
            (&["h2", "http/1.1"], site("a.test")),
            (&["acme-tls/1", "http/1.1"], site("a.test")),
            (&["acme-tls/1"], Ok(Wish::Challenge(Domain::parse("a.test").unwrap()))),
            (&["acme-tls/1", "acme-tls/1"], Err(Refusal::NoApplicationProtocol)),
            (&["acme-tls/1", "h3"], Err(Refusal::NoApplicationProtocol)),
            (&["ftp"], Err(Refusal::NoApplicationProtocol)),
            (&["HTTP/1.1"], Err(Refusal::NoApplicationProtocol)),
            (&[], Err(Refusal::NoApplicationProtocol)),
        ] {
            assert_eq!(ask(Some("a.test"), Some(protocols)), wanted, "{protocols:?}");
        }
    }

    #[test]
    fn an_alert_is_a_whole_record() {
        assert_eq!(Refusal::UnrecognizedName.alert(), [0x15, 3, 3, 0, 2, 2, 0x70]);
        assert_eq!(Refusal::NoApplicationProtocol.alert(), [0x15, 3, 3, 0, 2, 2, 0x78]);
    }
}
