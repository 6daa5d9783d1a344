//! The grammar of the control protocol: a datagram in, a command or a refusal out. Pure; `docs/PROTOCOL.md` is the contract.
//!
//! Strict from the first byte to the last: whatever is sent to the port by mistake (DNS, STUN, QUIC) is no command (B189).

use std::fmt;

use crate::{
    domain::{Domain, DomainError, Quote, REPLY_WORDS},
    limits::COMMAND_BYTES_MAX,
    routes::Port,
};

/// What a datagram is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One command.
    Command(Command),
    /// No command; the sender is told why.
    Refused(Refusal),
    /// Nothing that may be answered.
    Ignored(Ignored),
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `add <domain> <port>`
    Add(Domain, Port),
    /// `remove <domain>`
    Remove(Domain),
    /// `list`, and `list after <domain>`
    List(Option<Domain>),
    /// `certs`, and `certs after <domain>`
    Certificates(Option<Domain>),
    /// `retry <domain>`
    Retry(Domain),
    /// `check`
    Check,
    /// `version`
    Version,
    /// `status`
    Status,
    /// `help`
    Help,
}

/// Why a datagram is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It has no byte (B177).
    Empty,
    /// It begins with one of hotcore's own reply words: an answer to it could go round for ever (B188).
    ReplyWord,
}

/// Why a message is no command, or was not carried out. `Display` is the reply after the word `error`: it names the thing
/// and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// More than 512 bytes (B177).
    TooLong,
    /// A byte that is not printable ASCII (B177).
    Byte(u8),
    /// A name with characters beyond ASCII, which would be this one (B8).
    NotAscii(Domain),
    /// A line break inside (B176).
    SeveralLines,
    /// Blanks only (B177).
    Blank,
    /// No such verb.
    Unknown(Quote),
    /// The domain is missing; the form of the message.
    NoDomain(&'static str),
    /// The port is missing.
    NoPort,
    /// There is more than the message takes; its form.
    Surplus(&'static str),
    /// `add` with the port before the domain.
    Swapped(Domain, Port),
    /// The domain cannot be mapped.
    Domain(DomainError),
    /// Not 1 to 65535 in plain digits (B178).
    Port(Quote),
    /// hotcore itself listens on this port (B178).
    OwnPort(Port),
    /// There is no rule for this name, so there is nothing to get a certificate for.
    NotMapped(Domain),
    /// Too many names wait to be tried.
    TooManyRetries,
    /// The change could not be made durable, and was not made; the cause.
    Save(String),
}

const ADD: &str = "add <domain> <port>";
const REMOVE: &str = "remove <domain>";
const LIST: &str = "list, or list after <domain>";
const LIST_AFTER: &str = "list after <domain>";
const CERTS: &str = "certs, or certs after <domain>";
const CERTS_AFTER: &str = "certs after <domain>";
const RETRY: &str = "retry <domain>";

impl Message {
    /// Reads a datagram. `own_ports` are those that hotcore listens on: no rule may point there.
    ///
    /// To see that a datagram is too long, [`COMMAND_BYTES_MAX`] + 1 bytes of it suffice.
    pub fn parse(datagram: &[u8], own_ports: &[u16]) -> Self {
        if datagram.is_empty() {
            return Self::Ignored(Ignored::Empty);
        }
        if begins_with_reply_word(datagram) {
            return Self::Ignored(Ignored::ReplyWord);
        }
        match text(datagram).and_then(|text| command(text, own_ports)) {
            Ok(command) => Self::Command(command),
            Err(refusal) => Self::Refused(refusal),
        }
    }
}

fn begins_with_reply_word(datagram: &[u8]) -> bool {
    let mut words = datagram.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    words.next().is_some_and(|first| REPLY_WORDS.iter().any(|word| first.eq_ignore_ascii_case(word.as_bytes())))
}

/// The line that a datagram consists of.
fn text(datagram: &[u8]) -> Result<&str, Refusal> {
    if datagram.len() > COMMAND_BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    let line = datagram.strip_suffix(b"\n").map_or(datagram, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let strange = |byte: &&u8| !matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    let text = std::str::from_utf8(line);
    if let Some(byte) = line.iter().find(strange) {
        let name = text.ok().and_then(name_beyond_ascii);
        return Err(name.map_or(Refusal::Byte(*byte), Refusal::NotAscii));
    }
    match text {
        Ok(text) if !text.contains(['\r', '\n']) => Ok(text),
        _ => Err(Refusal::SeveralLines),
    }
}

/// The ASCII form of the first word beyond ASCII, so that the refusal can show how to write it (B8).
fn name_beyond_ascii(text: &str) -> Option<Domain> {
    Domain::parse(text.split([' ', '\t']).find(|word| !word.is_ascii())?).ok()
}

fn command(text: &str, own_ports: &[u16]) -> Result<Command, Refusal> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let verb = words.next().ok_or(Refusal::Blank)?;
    let (first, second, surplus) = (words.next(), words.next(), words.next().is_some());
    let alone = |command, form| if first.is_none() { Ok(command) } else { Err(Refusal::Surplus(form)) };
    match verb.to_ascii_lowercase().as_str() {
        "add" if surplus => Err(Refusal::Surplus(ADD)),
        "add" => add(first.ok_or(Refusal::NoDomain(ADD))?, second, own_ports),
        "remove" if second.is_some() => Err(Refusal::Surplus(REMOVE)),
        "remove" => Ok(Command::Remove(domain(first.ok_or(Refusal::NoDomain(REMOVE))?)?)),
        "list" => Ok(Command::List(after(first, second, surplus, LIST, LIST_AFTER)?)),
        "certs" => Ok(Command::Certificates(after(first, second, surplus, CERTS, CERTS_AFTER)?)),
        "retry" if second.is_some() => Err(Refusal::Surplus(RETRY)),
        "retry" => Ok(Command::Retry(domain(first.ok_or(Refusal::NoDomain(RETRY))?)?)),
        "check" => alone(Command::Check, "check"),
        "version" => alone(Command::Version, "version"),
        "status" => alone(Command::Status, "status"),
        "help" => alone(Command::Help, "help"),
        _ => Err(Refusal::Unknown(Quote::new(verb))),
    }
}

fn add(name: &str, number: Option<&str>, own_ports: &[u16]) -> Result<Command, Refusal> {
    if let (Some(port), Some(domain)) = (port(name), number.and_then(|text| Domain::parse(text).ok())) {
        return Err(Refusal::Swapped(domain, port));
    }
    let domain = domain(name)?;
    let number = number.ok_or(Refusal::NoPort)?;
    let port = port(number).ok_or_else(|| Refusal::Port(Quote::new(number)))?;
    if own_ports.contains(&port.number()) {
        return Err(Refusal::OwnPort(port));
    }
    Ok(Command::Add(domain, port))
}

/// The name behind `after`, if there is the word.
fn after(
    word: Option<&str>,
    name: Option<&str>,
    surplus: bool,
    form: &'static str,
    form_after: &'static str,
) -> Result<Option<Domain>, Refusal> {
    match word {
        None => Ok(None),
        Some(word) if surplus || !word.eq_ignore_ascii_case("after") => Err(Refusal::Surplus(form)),
        Some(_) => domain(name.ok_or(Refusal::NoDomain(form_after))?).map(Some),
    }
}

fn domain(text: &str) -> Result<Domain, Refusal> {
    Domain::parse(text).map_err(Refusal::Domain)
}

/// 1 to 65535 in plain digits: no sign, no zero in front (B178).
fn port(text: &str) -> Option<Port> {
    match text.as_bytes() {
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => Port::new(text.parse().ok()?),
        _ => None,
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "the message has more than {COMMAND_BYTES_MAX} bytes: send one command a datagram")
            }
            Self::Byte(byte) => {
                write!(
                    f,
                    "the message holds the byte 0x{byte:02x}, and only printable ASCII counts: send help for the messages"
                )
            }
            Self::NotAscii(name) => write!(f, "only ASCII counts here: write the name as {name}"),
            Self::SeveralLines => f.write_str("the message has several lines: send each in a datagram of its own"),
            Self::Blank => f.write_str("the message is blank: send help for the messages"),
            Self::Unknown(verb) => write!(f, "there is no message {verb}: send help for the messages"),
            Self::NoDomain(form) => write!(f, "no domain name given: {form}"),
            Self::NoPort => write!(f, "no port given: {ADD}"),
            Self::Surplus(form) => write!(f, "too many words: {form}"),
            Self::Swapped(domain, port) => write!(f, "the domain comes first: add {domain} {port}"),
            Self::Domain(error) => error.fmt(f),
            Self::Port(text) => write!(f, "{text} is no port: give a number from 1 to 65535"),
            Self::OwnPort(port) => write!(f, "port {port} is hotcore's own: give the port that your app listens on"),
            Self::NotMapped(domain) => write!(f, "{domain} is not mapped: first add {domain} <port>"),
            Self::TooManyRetries => f.write_str("too many names wait to be tried: send this again later"),
            Self::Save(cause) => write!(f, "cannot save the rule, nothing was changed: {cause}"),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{limits::REPLY_BYTES_MAX, testing};

    fn parse(datagram: impl AsRef<[u8]>) -> Message {
        Message::parse(datagram.as_ref(), &[80, 443, 40608])
    }

    fn refusal(datagram: impl AsRef<[u8]>) -> String {
        match parse(datagram.as_ref()) {
            Message::Refused(refusal) => refusal.to_string(),
            other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(datagram.as_ref())),
        }
    }

    fn add_a_com() -> Message {
        Message::Command(Command::Add(Domain::parse("a.com").unwrap(), Port::new(8080).unwrap()))
    }

    #[test]
    fn verbs_are_taken_in_any_case_and_with_any_blanks() {
        // B176.
        for text in
            ["add a.com 8080", "ADD A.COM. 8080", "\t add\t\ta.com  8080 \t", "add a.com 8080\n", "Add a.com 8080\r\n"]
        {
            assert_eq!(parse(text), add_a_com(), "{text:?}");
        }
        let a_com = || Domain::parse("a.com").unwrap();
        for text in ["list after a.com", "LIST  After\tA.com\n"] {
            assert_eq!(parse(text), Message::Command(Command::List(Some(a_com()))), "{text:?}");
        }
        for text in ["certs after a.com", " Certs\tAFTER A.COM.\r\n"] {
            assert_eq!(parse(text), Message::Command(Command::Certificates(Some(a_com()))), "{text:?}");
        }
        assert_eq!(parse("CERTS\n"), Message::Command(Command::Certificates(None)));
        assert_eq!(parse("Retry  A.com "), Message::Command(Command::Retry(a_com())));
    }

    #[test]
    fn only_one_final_line_break_is_allowed() {
        for text in ["check\n\n", "check\r", "check\r\r\n", "\ncheck", "add a.com\n8080", "check\ncheck"] {
            assert_eq!(parse(text), Message::Refused(Refusal::SeveralLines), "{text:?}");
        }
    }

    #[test]
    fn a_message_has_at_most_512_bytes() {
        // B177: the limit counts the datagram, its final line break included.
        let at = format!("{:<1$}\n", "check", COMMAND_BYTES_MAX - 1);
        assert_eq!(at.len(), 512);
        assert_eq!(parse(&at), Message::Command(Command::Check));
        assert_eq!(parse(format!(" {at}")), Message::Refused(Refusal::TooLong));
    }

    #[test]
    fn a_port_is_1_to_65535_in_plain_digits() {
        // B178.
        for text in ["1", "65535", "8080", "79", "81"] {
            assert!(matches!(parse(format!("add a.com {text}")), Message::Command(Command::Add(..))), "{text}");
        }
        for text in ["0", "080", "+80", "-1", "65536", "99999999999", "8080x", "0x50", "8_0", "8.0"] {
            let wanted = format!("\"{text}\" is no port: give a number from 1 to 65535");
            assert_eq!(refusal(format!("add a.com {text}")), wanted);
        }
        for text in ["80", "443", "40608"] {
            assert!(refusal(format!("add a.com {text}")).starts_with(&format!("port {text} is hotcore's own")));
        }
    }

    #[test]
    fn nothing_that_begins_with_a_reply_word_is_answered() {
        // B188.
        for text in ["ok a.com 8080", "error x", "more a.com", "kcehc", " \tOK", "error\nadd a.com 80"] {
            assert_eq!(parse(text), Message::Ignored(Ignored::ReplyWord), "{text:?}");
        }
        assert_eq!(parse(format!("error {}", "x".repeat(600))), Message::Ignored(Ignored::ReplyWord));
        assert_eq!(parse(b"error \xff"), Message::Ignored(Ignored::ReplyWord));
        assert_eq!(parse(""), Message::Ignored(Ignored::Empty));
        assert!(refusal("okay").starts_with("there is no message \"okay\""));
    }

    #[test]
    fn a_line_of_a_list_of_certificates_or_of_the_help_echoed_back_is_no_command() {
        // B4, B13, B188: even for domains that are called like a verb.
        for verb in ["add", "remove", "list", "certs", "retry", "check", "version", "status", "help", "after", "a.com"]
        {
            for rest in ["8080", "off - -", "valid 2027-01-01T00:00:00Z - for a reason"] {
                assert!(matches!(parse(format!("{verb} {rest}")), Message::Refused(_)), "{verb} {rest}");
            }
        }
        for line in crate::control::reply::HELP.lines() {
            assert!(matches!(parse(line), Message::Refused(_)), "{line}");
        }
    }

    #[test]
    fn packets_of_other_protocols_are_refused() {
        // B189: STUN, DNS, QUIC, TFTP, and a C string with its final zero byte.
        for packet in [
            &b"\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"[..],
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x03com\x00\x00\x01\x00\x01",
            b"\xc3\x00\x00\x00\x01\x08",
            b"\x00\x01file\x00octet\x00",
            b"add a.com 8080\0",
        ] {
            assert!(matches!(parse(packet), Message::Refused(Refusal::Byte(_))), "{packet:?}");
        }
    }

    #[test]
    fn a_name_beyond_ascii_is_refused_with_its_ascii_form() {
        // B8.
        let wanted = "only ASCII counts here: write the name as xn--bcher-kva.example";
        for text in ["add bücher.example 8080", "remove BÜCHER.example\n", "list after bücher.example"] {
            assert_eq!(refusal(text), wanted);
        }
        assert_eq!(parse("add ü..x 80"), Message::Refused(Refusal::Byte(0xc3)));
    }

    #[test]
    fn random_datagrams_never_panic_and_refusals_fit_into_a_reply() {
        let seed = testing::seed();
        let mut random = fastrand::Rng::with_seed(seed);
        let pieces: [&[u8]; 22] = [
            b"add",
            b"remove",
            b"list",
            b"certs",
            b"retry",
            b"after",
            b"check",
            b"ok",
            b"error",
            b" ",
            b" ",
            b"\t",
            b"\n",
            b"\r\n",
            b"a.com",
            b"8080",
            b"\"",
            b"\\",
            b"\x00",
            b"\xc3\xbc",
            b"\xff",
            b"https://",
        ];
        for _ in 0..50_000 {
            let datagram: Vec<u8> = (0..random.usize(0..12))
                .flat_map(|_| pieces[random.usize(0..pieces.len())].repeat(random.usize(1..4)))
                .collect();
            if let Message::Refused(refusal) = parse(&datagram) {
                let text = refusal.to_string();
                assert!(text.len() <= REPLY_BYTES_MAX - "error ".len(), "{datagram:?}, seed {seed}");
                assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{datagram:?}: {text:?}, seed {seed}");
            }
        }
    }
}
