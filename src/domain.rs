//! The one way to make a host name.
//!
//! Messages, `Host` fields, file names and certificate names all pass through here, and only [`Domain`]s are compared
//! (invariant 4, B1). A name in any other form has left this house by mistake: normalising on one side only is how a
//! proxy comes to serve a site that nobody mapped.
//!
//! Never here: input, output, the clock, another room.

mod authority;
mod error;
mod quote;

use std::{borrow::Cow, fmt, net::Ipv4Addr, sync::Arc};

use idna::{
    punycode,
    uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46},
};

use crate::limits::{DOMAIN_BYTES_MAX, LABEL_BYTES_MAX};

pub use authority::{Authority, AuthorityError};
pub use error::{DomainError, Fault};
pub use quote::Quote;

/// The first words of hotcore's own replies: no domain may be called so, or a line of a list could be taken for another
/// reply (B13), and no datagram that begins with one is answered (B188).
pub const REPLY_WORDS: [&str; 4] = ["ok", "error", "more", "kcehc"];

/// Longest text that is looked at: four bytes for each byte of the longest name, since no character takes more in UTF-8.
const TEXT_BYTES_MAX: usize = 4 * DOMAIN_BYTES_MAX;

/// The full stops that UTS 46 maps to a dot; people with an input method type them.
const DOTS: [char; 4] = ['.', '\u{3002}', '\u{FF0E}', '\u{FF61}'];

/// A normalised domain name: lower-case ASCII labels joined by dots, without a final dot.
///
/// It has 1 to 253 bytes of `[a-z0-9.-]`, labels of 1 to 63 bytes without a hyphen at either end, and a last label that
/// no browser takes for a number. So it is safe as a file name and as an argument (B3), and parsing it again gives the
/// same name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Normalises `text` as a person or a program wrote it (B2): blanks off both ends, one final dot off, IDNA to ASCII
    /// (UTS 46), lower case, and then the rules for labels.
    ///
    /// The error names the text and the remedy: it is shown to people and sent in replies as it stands.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        Self::normalise(text.trim()).map_err(|fault| DomainError::new(text.trim(), fault))
    }

    /// The normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that `bytes` are already, as nearly all names from clients are; `None` says nothing: take the long way. Each
    /// request's `Host` comes by here, so it is one look at each byte.
    fn recognise(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > DOMAIN_BYTES_MAX {
            return None;
        }
        let (mut label, mut before) = (0, b'.');
        for (index, &byte) in bytes.iter().enumerate() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' => {}
                // With two hyphens it may be an encoded label.
                b'-' if before != b'.' && before != b'-' => {}
                b'.' if before != b'.' && before != b'-' && index - label <= LABEL_BYTES_MAX => label = index + 1,
                _ => return None,
            }
            before = byte;
        }
        // A last label that begins with a letter is no number; a single label may be a reserved word.
        let last = bytes.get(label..)?;
        let is_name =
            label > 0 && last.first()?.is_ascii_lowercase() && before != b'-' && last.len() <= LABEL_BYTES_MAX;
        is_name.then(|| str::from_utf8(bytes).ok()).flatten().map(|name| Self(name.into()))
    }

    fn normalise(text: &str) -> Result<Self, Fault> {
        Self::recognise(text.as_bytes()).map_or_else(|| Self::judge(text), Ok)
    }

    /// The steps behind the blanks. Allocates nothing but the name, if `text` is plain lower-case ASCII or refused.
    fn judge(text: &str) -> Result<Self, Fault> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Fault::TooLong);
        }
        let text = text.strip_suffix(DOTS).unwrap_or(text);
        let name = to_ascii(text)?;
        match fault(&name) {
            Some(fault) => Err(fault),
            None => Ok(Self(name.as_ref().into())),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The text in lower-case ASCII: borrowed if it is that already.
fn to_ascii(text: &str) -> Result<Cow<'_, str>, Fault> {
    let encoded = || text.split('.').any(is_encoded);
    if text.is_ascii() && !encoded() {
        return Ok(match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            false => Cow::Borrowed(text),
            true => Cow::Owned(text.to_ascii_lowercase()),
        });
    }
    // Lengths and characters are judged afterwards, by the same rules as for names that need no IDNA.
    let name = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map_err(|_| Fault::Encoding)?;
    match name.split('.').all(|label| !is_encoded(label) || comes_back(label)) {
        true => Ok(name),
        false => Err(Fault::Encoding),
    }
}

fn is_encoded(label: &str) -> bool {
    label.as_bytes().first_chunk::<4>().is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"xn--"))
}

/// Whether an `xn--` label stands for a name with characters beyond ASCII, and is the only form of it (B7,
/// RUSTSEC-2024-0421).
fn comes_back(label: &str) -> bool {
    let Some(code) = label.get(4..) else { return false };
    let Some(decoded) = punycode::decode_to_string(code) else { return false };
    !decoded.is_ascii() && punycode::encode_str(&decoded).is_some_and(|again| again == code)
}

/// The first rule that `name`, ASCII in lower case, breaks.
fn fault(name: &str) -> Option<Fault> {
    if name.is_empty() {
        return Some(Fault::Empty);
    }
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' => {}
            b'*' => return Some(Fault::Wildcard),
            b'_' => return Some(Fault::Underscore),
            other => return Some(Fault::Character(other.into())),
        }
    }
    for label in name.split('.') {
        let edges = (label.as_bytes().first(), label.as_bytes().last());
        match edges {
            (None, _) | (_, None) => return Some(Fault::EmptyLabel),
            (Some(b'-'), _) | (_, Some(b'-')) => return Some(Fault::Hyphen),
            _ if label.len() > LABEL_BYTES_MAX => return Some(Fault::LabelTooLong),
            _ => {}
        }
    }
    if name.len() > DOMAIN_BYTES_MAX {
        return Some(Fault::TooLong);
    }
    if name.rsplit('.').next().is_some_and(is_number) {
        return Some(if name.parse::<Ipv4Addr>().is_ok() { Fault::Address } else { Fault::Number });
    }
    REPLY_WORDS.contains(&name).then_some(Fault::Reserved)
}

/// Whether browsers take a last label for a part of an IPv4 address: `80`, `0x7f`, `0x` (WHATWG URL, "ends in a number").
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        Domain::parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).as_str().to_owned()
    }

    fn refused(text: &str) -> Fault {
        match Domain::parse(text) {
            Err(DomainError::Name { fault, .. }) => fault,
            other => panic!("{text:?} gave {other:?}"),
        }
    }

    #[test]
    fn names_are_normalised() {
        // B2, B8.
        for (text, wanted) in [
            ("a.com", "a.com"),
            ("A.Com", "a.com"),
            (" \ta.com\r\n", "a.com"),
            ("a.com.", "a.com"),
            ("localhost", "localhost"),
            ("a-app.localhost", "a-app.localhost"),
            ("1.2.3.4.a", "1.2.3.4.a"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("例え。テスト。", "xn--r8jz45g.xn--zckzah"),
            ("ａ.com", "a.com"),
            ("ab--cd.com", "ab--cd.com"),
            ("0xg.com", "0xg.com"),
            ("a.0xg", "a.0xg"),
        ] {
            assert_eq!(name(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn what_can_be_no_name_is_refused_for_its_reason() {
        // B3, B4, B5, B6, B7, B13.
        for (text, wanted) in [
            ("a..b", Fault::EmptyLabel),
            (".a.com", Fault::EmptyLabel),
            ("a.com..", Fault::EmptyLabel),
            ("8080", Fault::Number),
            ("a.8080", Fault::Number),
            ("a.0x7f", Fault::Number),
            ("a.0x", Fault::Number),
            ("0x7f.1", Fault::Number),
            ("1.2.3.4", Fault::Address),
            ("１.２.３.４", Fault::Address),
            ("::1", Fault::Address),
            ("[2001:db8::1]", Fault::Address),
            ("*.a.com", Fault::Wildcard),
            ("a_b.com", Fault::Underscore),
            ("-a.com", Fault::Hyphen),
            ("a-.com", Fault::Hyphen),
            ("a b.com", Fault::Character(' ')),
            ("a\0.com", Fault::Character('\0')),
            ("xn--a", Fault::Encoding),
            ("xn--", Fault::Encoding),
            ("xn--a.com", Fault::Encoding),
            // Decodes to plain ASCII: RUSTSEC-2024-0421.
            ("xn--example-.com", Fault::Encoding),
            ("a\u{202e}.com", Fault::Encoding),
            ("ok", Fault::Reserved),
            ("KCEHC", Fault::Reserved),
            ("more.", Fault::Reserved),
            ("error", Fault::Reserved),
        ] {
            assert_eq!(refused(text), wanted, "{text:?}");
        }
        assert_eq!(name("ok.com"), "ok.com");
    }

    #[test]
    fn nothing_is_no_name() {
        for text in ["", " ", ".", "。", " . "] {
            assert_eq!(Domain::parse(text), Err(DomainError::Empty), "{text:?}");
        }
    }

    #[test]
    fn a_label_has_at_most_63_bytes() {
        assert_eq!(name(&"a".repeat(63)).len(), 63);
        assert_eq!(refused(&"a".repeat(64)), Fault::LabelTooLong);
    }

    #[test]
    fn a_name_has_at_most_253_bytes() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(longest.len(), 253);
        assert_eq!(name(&longest), longest);
        assert_eq!(name(&format!("{longest}.")), longest);
        assert_eq!(refused(&format!("{longest}b")), Fault::TooLong);
        assert_eq!(refused(&"a.".repeat(1_000_000)), Fault::TooLong);
        assert_eq!(refused(&"ü.".repeat(1_000_000)), Fault::TooLong);
    }

    #[test]
    fn a_name_wrapped_in_something_is_found_for_the_error() {
        // B231.
        for text in
            ["https://a.com/x", "a.com/", "a.com:8080", "user@a.com", "http://u:p@A.com:1/x?y#z", "//a.com", "a.com?x"]
        {
            let Err(error) = Domain::parse(text) else { panic!("{text:?} is taken for a name") };
            assert!(error.to_string().ends_with("is no domain name: give the name alone: a.com"), "{error}");
        }
        let error = Domain::parse("https://").unwrap_err();
        assert_eq!(error.to_string(), r#""https://" is no domain name: give the name alone, like a.com"#);
    }

    /// A text out of pieces that meet the rules, nearly meet them, or do not.
    fn text(random: &mut fastrand::Rng) -> String {
        const PIECES: [&str; 40] = [
            "a",
            "b",
            "Z",
            "0",
            "9",
            "-",
            ".",
            ".",
            ".",
            "xn--",
            "XN--",
            "bcher-kva",
            "ü",
            "ß",
            "。",
            "\u{FF0E}",
            "例",
            "א",
            "1",
            "0x",
            "_",
            "*",
            "/",
            ":",
            "@",
            " ",
            "\t",
            "\u{200d}",
            "\u{ad}",
            "\u{fffd}",
            "\u{0}",
            "com",
            "ok",
            "more",
            "İ",
            "ſ",
            "K",
            "℀",
            "𝐚",
            "\u{301}",
        ];
        (0..random.usize(0..12)).map(|_| PIECES[random.usize(0..PIECES.len())]).collect()
    }

    /// Invariant 4: one name has one form, and only that is compared.
    #[test]
    fn a_name_parsed_again_is_the_same_and_has_only_the_allowed_bytes() {
        let seed = crate::testing::seed();
        let mut random = fastrand::Rng::with_seed(seed);
        let mut names = 0;
        for _ in 0..60_000 {
            let text = text(&mut random);
            let Ok(domain) = Domain::parse(&text) else { continue };
            names += 1;
            let name = domain.as_str();
            assert_eq!(Domain::parse(name).as_ref(), Ok(&domain), "{text:?}, seed {seed}");
            assert!((1..=DOMAIN_BYTES_MAX).contains(&name.len()), "{text:?}, seed {seed}");
            assert!(
                name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')),
                "{text:?}, seed {seed}"
            );
            assert!(
                name.split('.').all(|l| (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-')),
                "{text:?}, seed {seed}"
            );
        }
        assert!(names > 1_000, "only {names} texts were names: the test tests nothing");
    }

    /// What is recognised at a glance is what the long way makes of it, letter by letter.
    #[test]
    fn the_short_way_agrees_with_the_long_way() {
        let mut random = fastrand::Rng::with_seed(crate::testing::seed());
        let letters = [
            "a",
            "z",
            "0",
            "9",
            "-",
            ".",
            "xn--",
            "0x",
            "com",
            ".com",
            "A",
            "_",
            "ok",
            "é",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ];
        let mut recognised = 0;
        for _ in 0..50_000 {
            let text: String = (0..random.usize(0..12)).map(|_| *random.choice(&letters).unwrap()).collect();
            if let Some(name) = Domain::recognise(text.as_bytes()) {
                assert_eq!(Domain::judge(&text), Ok(name), "{text:?}");
                recognised += 1;
            }
        }
        assert!(recognised > 1_000, "{recognised}");
        for text in ["a.com", "www.a-b.example", "a1.b2.c3"] {
            assert!(Domain::recognise(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn random_characters_never_panic() {
        let seed = crate::testing::seed();
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..60_000 {
            let text: String = (0..random.usize(0..20)).map(|_| random.char(..)).collect();
            if let Err(error) = Domain::parse(&text) {
                assert!(error.to_string().len() < 1024, "{text:?}, seed {seed}");
            }
        }
    }
}
