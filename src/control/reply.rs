//! The replies: text of at most 1,024 bytes, since clients read that many and no more. Pure; `docs/PROTOCOL.md` is the
//! contract.
//!
//! No reply ends in a line break; lines are parted by one `\n` (B185). All of it is printable ASCII.

use std::sync::Arc;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Certificates, Standing, page::Page, protocol::Refusal};
use crate::{
    domain::Domain,
    limits::{CERTIFICATE_REASON_BYTES_MAX, REPLY_BYTES_MAX},
    routes::{Port, Rule},
};

/// To `check`.
pub const CHECK: &str = "kcehc";

/// To `version`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// To `help`: the messages, one a line.
pub const HELP: &str = "\
add <domain> <port>    route the domain to that port of this machine
remove <domain>        take the rule away
list                   the rules, one a line: <domain> <port>
list after <domain>    the next rules, where a list ends in: more <domain>
certs                  the certificates, one a line: <domain> <state> <until> <next> <reason>
certs after <domain>   the next certificates, where they end in: more <domain>
retry <domain>         try now to get its certificate
check                  answers kcehc
version                the version of hotcore
status                 what hotcore does at the moment, one fact a line
help                   this text";

const _: () = assert!(HELP.len() <= REPLY_BYTES_MAX);

/// To `add`: the rule is on disk and routing (B181).
pub fn mapped(domain: &Domain, port: Port) -> String {
    format!("ok {domain} {port}")
}

/// To `remove`: the rule is gone from disk and from routing.
pub fn removed(domain: &Domain) -> String {
    format!("ok {domain} removed")
}

/// To `remove` of a name without a rule, which is as good (B179).
pub fn not_mapped(domain: &Domain) -> String {
    format!("ok {domain} was not mapped")
}

/// To everything that was not done.
pub fn refused(refusal: &Refusal) -> String {
    let mut reply = one_line(&format!("error {refusal}"));
    reply.truncate(REPLY_BYTES_MAX);
    reply
}

/// To `list`: as many of `rules`, which come sorted, as fit, and `more <the last of them>` if others follow (B184).
pub fn list<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> String {
    let mut page = Page::default();
    for rule in rules {
        if !page.push(&rule.domain, rule.port) {
            break;
        }
    }
    page.finish()
}

/// To `certs`: the same with `<domain> <state> <until> <next> <reason>`.
pub fn certificates(certificates: &dyn Certificates, after: Option<&Domain>) -> String {
    let mut page = Page::default();
    certificates.page_after(after, &mut |domain, standing| {
        let Standing { state, until, next, reason } = standing;
        let (until, next) = (moment(until), moment(next));
        let reason = short(one_line(reason.trim()));
        page.push(domain, format_args!("{state} {until} {next}{}{reason}", if reason.is_empty() { "" } else { " " }))
    });
    page.finish()
}

/// To `retry`: whoever keeps certificates was told. What comes of it, `certs` shows.
pub fn tried(domain: &Domain) -> String {
    format!("ok {domain} is tried now")
}

/// To `status`: lines `<key> <value>`; what does not fit is left out by whole lines.
pub fn status<'a>(facts: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut reply = String::new();
    for (key, value) in facts {
        let line = one_line(&format!("{key} {value}"));
        let parted = usize::from(!reply.is_empty());
        // What is too long, a path for instance, does not cost the facts behind it.
        if reply.len() + parted + line.len() > REPLY_BYTES_MAX {
            continue;
        }
        if parted == 1 {
            reply.push('\n');
        }
        reply.push_str(&line);
    }
    reply
}

/// A time as RFC 3339 in UTC; `-` for none.
fn moment(seconds: Option<u64>) -> String {
    /// The last second of the year 9999: RFC 3339 has four digits.
    const LAST: i64 = 253_402_300_799;
    let at = seconds.map(|seconds| i64::try_from(seconds).map_or(LAST, |seconds| seconds.min(LAST)));
    let time = at.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}

/// ASCII text, cut so that its line and a `more` fit into a reply.
fn short(mut text: String) -> String {
    const CUT: &str = "...";
    if text.len() > CERTIFICATE_REASON_BYTES_MAX {
        text.truncate(CERTIFICATE_REASON_BYTES_MAX - CUT.len());
        text.push_str(CUT);
    }
    text
}

/// The text in printable ASCII on one line: paths and messages of the system may hold anything.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            ' '..='~' => line.push(character),
            _ if character.is_whitespace() => line.push(' '),
            _ => line.extend(character.escape_default()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DOMAIN_BYTES_MAX;

    fn rules(names: impl IntoIterator<Item = String>) -> Vec<Arc<Rule>> {
        names
            .into_iter()
            .map(|name| Arc::new(Rule::new(Domain::parse(&name).unwrap(), Port::new(65535).unwrap(), true)))
            .collect()
    }

    #[test]
    fn a_list_that_fits_to_the_last_byte_has_no_more_line() {
        // Lines of `<name> 65535` and their breaks: 16 × 64 = 1,024 with the break that the last line does not have.
        let names =
            |last: usize| rules((0..16).map(|i| format!("n{i:02}{}.com", "x".repeat(if i == 15 { last } else { 50 }))));
        let full = list(names(51).iter());
        assert_eq!(full.len(), REPLY_BYTES_MAX);
        assert_eq!(full.lines().count(), 16);
        let one_past = list(names(52).iter());
        assert!(one_past.len() <= REPLY_BYTES_MAX);
        let (before, more) = one_past.rsplit_once('\n').unwrap();
        let last = before.lines().last().unwrap();
        assert_eq!(more.strip_prefix("more "), last.strip_suffix(" 65535"), "{one_past}");
    }

    #[test]
    fn two_of_the_longest_names_and_more_fit() {
        // B184.
        let label = "a".repeat(63);
        let longest = (0..4).map(|i| format!("{label}.{label}.{label}.{}{i}", "b".repeat(60)));
        let rules = rules(longest);
        assert_eq!(rules[0].domain.as_str().len(), DOMAIN_BYTES_MAX);
        let reply = list(rules.iter());
        assert_eq!(reply.lines().count(), 3);
        assert_eq!(reply.lines().last(), Some(format!("more {}", rules[1].domain).as_str()));
    }

    #[test]
    fn nothing_mapped_is_an_empty_reply() {
        assert_eq!(list([].iter()), "");
    }

    /// Names of the longest kind, each with the same standing.
    struct Kept(Vec<Domain>, Option<u64>, String);

    impl Certificates for Kept {
        fn page_after(&self, after: Option<&Domain>, see: &mut dyn FnMut(&Domain, Standing<'_>) -> bool) {
            let behind = |domain: &&Domain| after.is_none_or(|after| *domain > after);
            for domain in self.0.iter().filter(behind) {
                let standing = Standing { state: "ordering", until: self.1, next: self.1, reason: &self.2 };
                if !see(domain, standing) {
                    break;
                }
            }
        }

        fn retry(&self, _: &Domain) -> bool {
            true
        }
    }

    /// B184, B216: the longest line there is, and `more`.
    #[test]
    fn a_certificates_line_and_more_always_fit() {
        let label = "a".repeat(63);
        let names = (0..3).map(|i| Domain::parse(&format!("{label}.{label}.{label}.{}{i}", "b".repeat(60))).unwrap());
        let names: Vec<_> = names.collect();
        let limit = CERTIFICATE_REASON_BYTES_MAX;
        for (reason, shown) in [
            ("r".repeat(limit), "r".repeat(limit)),
            ("r".repeat(limit + 1), format!("{}...", "r".repeat(limit - 3))),
            (format!("ü\n{}", "r".repeat(limit)), format!("\\u{{fc}} {}...", "r".repeat(limit - 10))),
        ] {
            let kept = Kept(names.clone(), Some(u64::MAX), reason);
            let mut seen = Vec::new();
            let mut after = None;
            loop {
                let reply = certificates(&kept, after.as_ref());
                assert!(reply.len() <= REPLY_BYTES_MAX && reply.is_ascii());
                let mut lines = reply.lines();
                let line = lines.next().unwrap().to_owned();
                assert!(
                    line.ends_with(&format!(" ordering 9999-12-31T23:59:59Z 9999-12-31T23:59:59Z {shown}")),
                    "{line}"
                );
                seen.push(line.split(' ').next().unwrap().to_owned());
                match lines.next() {
                    Some(more) => assert_eq!(more, format!("more {}", seen.last().unwrap())),
                    None => break,
                }
                after = Domain::parse(seen.last().unwrap()).ok();
            }
            assert_eq!(seen, names.iter().map(ToString::to_string).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_a_certificate_has_not_is_a_hyphen_or_nothing() {
        let name = vec![Domain::parse("a.com").unwrap()];
        assert_eq!(certificates(&Kept(name.clone(), None, String::new()), None), "a.com ordering - -");
        let moment = "1970-01-01T00:00:01Z";
        assert_eq!(
            certificates(&Kept(name, Some(1), " x y ".into()), None),
            format!("a.com ordering {moment} {moment} x y")
        );
    }

    #[test]
    fn a_status_is_cut_by_whole_lines() {
        let fact = |bytes: usize| ("k", "v".repeat(bytes - 2));
        assert_eq!(status([fact(512), fact(511)]).len(), REPLY_BYTES_MAX);
        assert_eq!(status([fact(512), fact(512)]).len(), 512);
        assert_eq!(status([fact(512), fact(512), ("log", "journal".to_owned())]).lines().last(), Some("log journal"));
        assert_eq!(status([("log", "a\nb\u{1b}ü".to_owned())]), "log a b\\u{1b}\\u{fc}");
    }

    #[test]
    fn a_refusal_is_one_line_and_fits() {
        let reply = refused(&Refusal::Save("ü\n".repeat(1000)));
        assert_eq!(reply.len(), REPLY_BYTES_MAX);
        assert!(reply.bytes().all(|byte| matches!(byte, b' '..=b'~')));
    }
}
