//! The text of the journal's files: one line, one fact, each with its own checksum.
//!
//! ```text
//! routes.snapshot.7                               routes.log.7
//! a647d5ee hotcore routes 1 snapshot through 41   52e38e1c hotcore routes 1 log after 41
//! b7e44eab a.example 8080                         9e3b0386 42 add b.example 9000
//! 30fb96b9 end of 1 rules                         7b70a3f4 43 remove a.example
//! ```
//!
//! The first eight digits are the CRC-32 of what follows them and their blank, without the line break. The numbers count
//! changes, so that reading one twice does nothing (B197). The first three words of a file and the checksum before them are
//! the same in every future format: by them an older program knows that it must leave the file alone.

use std::io::Write;

use super::Change;
use crate::{domain::Domain, limits::DOMAIN_BYTES_MAX, routes::Port};

/// The format this program writes, and the newest it reads.
pub(super) const FORMAT: u64 = 1;

/// Bytes of the longest line, without its line break: checksum, number, verb, name, port, and the blanks between.
pub(super) const LINE_BYTES_MAX: usize = CHECKSUM_BYTES + 20 + " remove ".len() + DOMAIN_BYTES_MAX + " 65535".len();

/// Change numbers end here; more than a disk can take, and far from an overflow.
const SEQUENCE_MAX: u64 = 1 << 62;

/// Eight digits and a blank.
const CHECKSUM_BYTES: usize = 9;

/// The first line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// A log of the changes after this number.
    Log { after: u64 },
    /// The rules as they were after this change, perhaps with some later ones.
    Snapshot { through: u64 },
    /// A file that a newer program wrote.
    Newer { format: u64 },
}

impl Header {
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let mut words = checked(line)?.strip_prefix("hotcore routes ")?.split(' ');
        let format = number(words.next()?)?;
        if format > FORMAT {
            return Some(Self::Newer { format });
        }
        if format != FORMAT {
            return None;
        }
        let header = match (words.next()?, words.next()?) {
            ("log", "after") => Self::Log { after: sequence(words.next()?)? },
            ("snapshot", "through") => Self::Snapshot { through: sequence(words.next()?)? },
            _ => return None,
        };
        words.next().is_none().then_some(header)
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        write_line(out, |out| match self {
            Self::Log { after } => write!(out, "hotcore routes {FORMAT} log after {after}"),
            Self::Snapshot { through } => write!(out, "hotcore routes {FORMAT} snapshot through {through}"),
            Self::Newer { format } => write!(out, "hotcore routes {format}"),
        });
    }
}

/// A line of a log: a change and its number.
pub(super) fn parse_change(line: &[u8]) -> Option<(u64, Change)> {
    let mut words = checked(line)?.split(' ');
    let sequence = sequence(words.next()?)?;
    let verb = words.next()?;
    let domain = Domain::parse(words.next()?).ok()?;
    let change = match verb {
        "add" => Change::Map(domain, port(words.next()?)?),
        "remove" => Change::Unmap(domain),
        _ => return None,
    };
    words.next().is_none().then_some((sequence, change))
}

pub(super) fn write_change(out: &mut Vec<u8>, sequence: u64, change: &Change) {
    write_line(out, |out| match change {
        Change::Map(domain, port) => write!(out, "{sequence} add {domain} {port}"),
        Change::Unmap(domain) => write!(out, "{sequence} remove {domain}"),
    });
}

/// A line of a snapshot: a rule.
pub(super) fn parse_rule(line: &[u8]) -> Option<(Domain, Port)> {
    let (name, number) = checked(line)?.split_once(' ')?;
    Some((Domain::parse(name).ok()?, port(number)?))
}

pub(super) fn write_rule(out: &mut Vec<u8>, domain: &Domain, port: Port) {
    write_line(out, |out| write!(out, "{domain} {port}"));
}

/// The last line of a snapshot: without it, the file was cut.
pub(super) fn parse_end(line: &[u8]) -> Option<u64> {
    number(checked(line)?.strip_prefix("end of ")?.strip_suffix(" rules")?)
}

pub(super) fn write_end(out: &mut Vec<u8>, rules: u64) {
    write_line(out, |out| write!(out, "end of {rules} rules"));
}

/// Looks for a sound line in a damaged one: at its beginning and at its end. A line break that turned into another byte, or
/// a torn line that was continued, thus cost nothing but themselves. The bytes that the line takes come with it.
pub(super) fn salvage<T>(damaged: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Vec<(usize, T)> {
    let mut found = Vec::new();
    let longest = damaged.len().min(LINE_BYTES_MAX);
    if let Some(at) = prefix_with_own_checksum(damaged)
        && let Some(fact) = damaged.get(..at).and_then(&parse)
    {
        found.push((at, fact));
    }
    let taken = found.first().map_or(0, |(bytes, _)| bytes + 1);
    let last = (taken.max(damaged.len() - longest)..damaged.len()).find_map(|start| {
        let line = damaged.get(start..)?;
        Some((line.len(), parse(line)?))
    });
    found.extend(last);
    found
}

/// How many of the first bytes make up what the checksum in front of them covers.
fn prefix_with_own_checksum(bytes: &[u8]) -> Option<usize> {
    let wanted = stated_checksum(bytes)?;
    let mut hasher = crc32fast::Hasher::new();
    let covered = bytes.get(CHECKSUM_BYTES..bytes.len().min(LINE_BYTES_MAX))?;
    covered
        .iter()
        .position(|&byte| {
            hasher.update(&[byte]);
            hasher.clone().finalize() == wanted
        })?
        .checked_add(CHECKSUM_BYTES + 1)
}

/// The text of a line whose checksum is right.
fn checked(line: &[u8]) -> Option<&str> {
    if line.len() > LINE_BYTES_MAX {
        return None;
    }
    let text = line.get(CHECKSUM_BYTES..)?;
    (stated_checksum(line)? == crc32fast::hash(text)).then(|| std::str::from_utf8(text).ok())?
}

/// Exactly eight lower-case digits and a blank.
fn stated_checksum(line: &[u8]) -> Option<u32> {
    let (digits, b" ") = line.get(..CHECKSUM_BYTES)?.split_at_checked(CHECKSUM_BYTES - 1)? else { return None };
    digits.iter().try_fold(0_u32, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(sum << 4 | u32::from(value))
    })
}

fn write_line(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
    let start = out.len();
    out.extend_from_slice(b"00000000 ");
    // Writing to memory cannot fail.
    _ = text(out);
    let sum = out.get(start + CHECKSUM_BYTES..).map_or(0, crc32fast::hash);
    if let Some(digits) = out.get_mut(start..start + 8) {
        for (digit, shift) in digits.iter_mut().zip((0..8).rev()) {
            *digit = b"0123456789abcdef"[(sum >> (shift * 4) & 15) as usize];
        }
    }
    out.push(b'\n');
}

fn port(word: &str) -> Option<Port> {
    Port::new(number(word)?.try_into().ok()?)
}

fn sequence(word: &str) -> Option<u64> {
    number(word).filter(|&number| number <= SEQUENCE_MAX)
}

/// Digits and nothing else: `parse` alone would take a sign.
fn number(word: &str) -> Option<u64> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, number: u16) -> Change {
        Change::Map(Domain::parse(name).unwrap(), Port::new(number).unwrap())
    }

    fn line(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    fn sealed(text: &str) -> Vec<u8> {
        format!("{:08x} {text}", crc32fast::hash(text.as_bytes())).into_bytes()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for header in
            [Header::Log { after: 41 }, Header::Snapshot { through: SEQUENCE_MAX }, Header::Newer { format: 2 }]
        {
            assert_eq!(Header::parse(&line(|out| header.write(out))), Some(header));
        }
        for change in [map("a.example", 1), map("b.example", 65535), Change::Unmap(Domain::parse("c.example").unwrap())]
        {
            assert_eq!(parse_change(&line(|out| write_change(out, 7, &change))), Some((7, change)));
        }
        let rule = (Domain::parse("end").unwrap(), Port::new(1).unwrap());
        let text = line(|out| write_rule(out, &rule.0, rule.1));
        assert_eq!((parse_rule(&text), parse_end(&text)), (Some(rule), None));
        let text = line(|out| write_end(out, 1));
        assert_eq!((parse_end(&text), parse_rule(&text)), (Some(1), None));
    }

    #[test]
    fn the_text_is_as_documented() {
        let mut out = Vec::new();
        Header::Snapshot { through: 41 }.write(&mut out);
        write_rule(&mut out, &Domain::parse("a.example").unwrap(), Port::new(8080).unwrap());
        write_end(&mut out, 1);
        Header::Log { after: 41 }.write(&mut out);
        write_change(&mut out, 42, &map("b.example", 9000));
        write_change(&mut out, 43, &Change::Unmap(Domain::parse("a.example").unwrap()));
        let text = String::from_utf8(out).unwrap();
        let documented: Vec<_> = include_str!("line.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! "))
            .skip_while(|line| !line.starts_with("routes.snapshot.7"))
            .skip(1)
            .take_while(|line| !line.starts_with("```"))
            .map(|line| line.split_at(48.min(line.len())))
            .collect();
        let left = documented.iter().map(|(left, _)| left.trim());
        let right = documented.iter().map(|(_, right)| right.trim());
        assert_eq!(text.lines().collect::<Vec<_>>(), left.chain(right).collect::<Vec<_>>());
    }

    #[test]
    fn the_longest_line_is_within_its_limit_and_one_byte_more_is_not_read() {
        let name = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        assert_eq!(name.len(), DOMAIN_BYTES_MAX);
        let text = line(|out| write_change(out, SEQUENCE_MAX, &map(&name, 65535)));
        assert!(text.len() <= LINE_BYTES_MAX && parse_change(&text).is_some());
        let zeros = "0".repeat(LINE_BYTES_MAX - CHECKSUM_BYTES - " add a.b 1".len());
        assert!(parse_change(&sealed(&format!("{zeros} add a.b 1"))).is_some());
        assert!(parse_change(&sealed(&format!("0{zeros} add a.b 1"))).is_none());
    }

    #[test]
    fn numbers_end_where_they_must() {
        assert!(parse_change(&sealed(&format!("{SEQUENCE_MAX} remove a.b"))).is_some());
        for text in [
            format!("{} remove a.b", SEQUENCE_MAX + 1),
            format!("{} remove a.b", u64::MAX),
            "18446744073709551616 remove a.b".into(),
            "+1 remove a.b".into(),
            "1 add a.b 0".into(),
            "1 add a.b 65536".into(),
            "1 add a.b +80".into(),
            "1 add a.b".into(),
            "1 remove a.b 80".into(),
            "1 move a.b 80".into(),
            " remove a.b".into(),
        ] {
            assert!(parse_change(&sealed(&text)).is_none(), "{text}");
        }
    }

    #[test]
    fn a_wrong_digit_anywhere_is_noticed() {
        let sound = line(|out| write_change(out, 12, &map("a.example", 8080)));
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut damaged = sound.clone();
                damaged[at] ^= 1 << bit;
                assert!(parse_change(&damaged).is_none(), "bit {bit} of byte {at}");
            }
        }
        assert!(parse_change(&sound.to_ascii_uppercase()).is_none());
    }

    #[test]
    fn two_lines_that_lost_their_line_break_are_both_found() {
        let (first, second) = (map("a.example", 1), map("b.example", 2));
        let mut joined = line(|out| write_change(out, 1, &first));
        let length = joined.len();
        joined.push(b'J');
        joined.extend(line(|out| write_change(out, 2, &second)));
        let found = salvage(&joined, parse_change);
        assert_eq!(found[0], (length, (1, first)));
        assert_eq!(found[1].1, (2, second.clone()));
        assert_eq!(salvage(&joined[length / 2..], parse_change)[0].1, (2, second));
        assert!(salvage(&[b'0'; 5_000], parse_change).is_empty() && salvage(b"", parse_change).is_empty());
    }
}
