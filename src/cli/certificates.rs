//! Certificates as a person sees them: which of them need attention, and `retry` and `check --certs`.
//!
//! Never here: a rule about when to order. Each name says itself why it stands where it stands; this says whom to tell.

use std::{
    fmt::{self, Write as _},
    time::{Duration, Instant, SystemTime},
};

use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    arguments::Name,
    failure::{Exit, Failure},
    output::{Escaped, Mark, Output},
    typed, unanswered,
};
use crate::{
    control::client::{Client, Standing},
    limits::{OWN_CERTIFICATE_ENDS_SOON, STATUS_NAMES_SHOWN_MAX, STATUS_NAMES_WAIT},
};

/// What a person has to hear about a name. The worst is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Its certificate has ended: browsers refuse the site.
    Ended,
    /// Nothing will happen by itself.
    Stopped,
    /// An order or a renewal does not go on.
    Waiting,
    /// A person's own certificate ends soon, and nobody else replaces it.
    EndsSoon,
}

impl Need {
    /// `None`: all is well, or just under way.
    pub(super) fn of(standing: &Standing, now: OffsetDateTime) -> Option<Self> {
        let left = standing.until.map(|until| until - now);
        match standing.state.as_str() {
            _ if left.is_some_and(|left| left <= Duration::ZERO) => Some(Self::Ended),
            "stopped" => Some(Self::Stopped),
            "waiting" => Some(Self::Waiting),
            "own" if left.is_some_and(|left| left <= OWN_CERTIFICATE_ENDS_SOON) => Some(Self::EndsSoon),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Stopped => "stopped",
            Self::Waiting => "waiting",
            Self::EndsSoon => "ends soon",
        }
    }
}

/// A name that needs attention.
#[derive(Debug)]
pub(super) struct Needy {
    need: Need,
    standing: Standing,
}

impl Needy {
    fn of(standing: Standing, now: OffsetDateTime) -> Option<Self> {
        Some(Self { need: Need::of(&standing, now)?, standing })
    }

    fn to_json(&self) -> Value {
        let mut value = to_json(Some(&self.standing));
        value["domain"] = self.standing.domain.as_str().into();
        value["need"] = self.need.word().into();
        value
    }
}

impl fmt::Display for Needy {
    /// What is the matter, without the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Standing { domain, until, next, reason, .. } = &self.standing;
        let end = moment(*until);
        match (self.need, until) {
            (Need::Ended, _) => write!(f, "its certificate ended at {end}")?,
            (Need::Stopped | Need::Waiting, Some(_)) => write!(f, "its certificate, until {end}, is not renewed")?,
            (Need::Stopped | Need::Waiting, None) => f.write_str("it has no certificate")?,
            (Need::EndsSoon, _) => {
                let domain = Escaped(domain);
                write!(f, "its own certificate ends at {end}: replace it: hotcore cert {domain} <file.pem>")?;
            }
        }
        if !reason.is_empty() {
            write!(f, ": {}", Escaped(reason))?;
        }
        match next {
            Some(next) => write!(f, "; next try at {}", moment(Some(*next))),
            None => Ok(()),
        }
    }
}

/// What is asked about a certificate beside its rule, for programs; every key is always there.
pub(super) fn to_json(standing: Option<&Standing>) -> Value {
    let time = |time: Option<OffsetDateTime>| time.map(|time| moment(Some(time)));
    json!({
        "certificate": standing.map(|standing| &standing.state),
        "until": time(standing.and_then(|standing| standing.until)),
        "next": time(standing.and_then(|standing| standing.next)),
        "reason": standing.map(|standing| &standing.reason).filter(|reason| !reason.is_empty()),
    })
}

/// The certificate of a name in a column, for a person: `valid until 2027-01-15`.
pub(super) fn in_a_column(standing: &Standing, now: OffsetDateTime) -> String {
    let mut text = Escaped(&standing.state).to_string();
    // Writing to a String cannot fail.
    if let Some(until) = standing.until {
        let word = if until <= now { "ended" } else { "until" };
        let _ = write!(text, " {word} {}", until.date());
    }
    if !standing.reason.is_empty() {
        let _ = write!(text, ": {}", Escaped(&standing.reason));
    }
    text
}

/// Wants a name tried now. The reply comes at once; what became of it shows later.
pub(super) fn retry(typed: &Name, client: Client, output: &mut Output) -> Result<(), Failure> {
    let name = typed::one_name("retry", typed)?;
    let reply = client.ask(&format!("retry {name}")).map_err(|cause| unanswered::explain(cause, client))?;
    if reply.split(' ').next() != Some("ok") {
        return Err(unanswered::explain(client.unexpected(&reply), client));
    }
    output.data(Escaped(reply.trim_end()));
    output.talk("what comes of it: hotcore list");
    Ok(())
}

/// Says whether any certificate needs attention, for scripts and monitors: a line for each that does, and then exit code 1.
pub(super) fn check(client: Client, json: bool, output: &mut Output) -> Result<(), Failure> {
    let (mut count, mut needy, now) = (0_usize, Vec::new(), now());
    for page in client.certificates() {
        match page {
            Ok(page) => {
                count += page.len();
                needy.extend(page.into_iter().filter_map(|standing| Needy::of(standing, now)));
            }
            Err(cause) => {
                if json {
                    output.json(&json!({"ok": false, "control": client.address().to_string()}));
                }
                return Err(unanswered::explain(cause, client));
            }
        }
    }
    needy.sort_by_key(|needy| needy.need);
    if json {
        let attention: Vec<_> = needy.iter().map(Needy::to_json).collect();
        let control = client.address().to_string();
        output.json(&json!({"ok": needy.is_empty(), "control": control, "names": count, "attention": attention}));
    } else if needy.is_empty() {
        output.data("ok");
    } else {
        for needy in &needy {
            output.data_marked(Mark::Bad, Escaped(&needy.standing.domain), format_args!(" {needy}"));
        }
    }
    if needy.is_empty() { Ok(()) } else { Err(Failure::told(Exit::Refused)) }
}

/// The names that need attention, for the status.
#[derive(Debug)]
pub(super) struct Attention {
    needy: Vec<Needy>,
    /// There was no time to look at all names.
    is_part: bool,
}

impl Attention {
    /// Looks through the names for a moment. `None`: the daemon does not say (B233).
    pub(super) fn look(client: Client) -> Option<Self> {
        let (mut needy, start, now) = (Vec::new(), Instant::now(), now());
        let mut is_part = false;
        for page in client.certificates() {
            needy.extend(page.ok()?.into_iter().filter_map(|standing| Needy::of(standing, now)));
            is_part = start.elapsed() >= STATUS_NAMES_WAIT;
            if is_part {
                break;
            }
        }
        needy.sort_by_key(|needy| needy.need);
        Some(Self { needy, is_part })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.needy.is_empty()
    }

    pub(super) fn to_json(&self) -> Value {
        self.needy.iter().map(Needy::to_json).collect()
    }

    /// A line for each of the worst, and how many there are more.
    pub(super) fn show(&self, output: &mut Output) {
        for needy in self.needy.iter().take(STATUS_NAMES_SHOWN_MAX) {
            let name = Escaped(&needy.standing.domain);
            output.data_marked(Mark::Bad, format_args!("  {name}"), format_args!("  {needy}"));
        }
        let more = self.needy.len().saturating_sub(STATUS_NAMES_SHOWN_MAX);
        if more > 0 {
            output.data(format_args!("  and {more} more: hotcore check --certs"));
        }
        if self.is_part {
            output.talk("there are many names, and not all were looked at: hotcore check --certs");
        }
    }
}

/// The time by which certificates are judged.
#[expect(clippy::disallowed_methods, reason = "the edge where the clock is read")]
pub(super) fn now() -> OffsetDateTime {
    SystemTime::now().into()
}

fn moment(time: Option<OffsetDateTime>) -> String {
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    const NOW: &str = "2027-01-01T00:00:00Z";

    fn standing(state: &str, until: Option<&str>, next: Option<&str>, reason: &str) -> Standing {
        let (domain, state, reason) = ("a.com".to_owned(), state.to_owned(), reason.to_owned());
        Standing { domain, state, until: until.map(at), next: next.map(at), reason }
    }

    #[test]
    fn only_what_does_not_go_on_needs_attention() {
        let later = "2027-03-01T00:00:00Z";
        for (state, until, need) in [
            ("valid", Some(later), None),
            ("valid", Some("2027-01-01T00:00:01Z"), None),
            ("valid", Some(NOW), Some(Need::Ended)),
            ("local", None, None),
            ("local", Some("2026-12-31T23:59:59Z"), Some(Need::Ended)),
            ("off", None, None),
            ("ordering", None, None),
            ("queued", Some(later), None),
            ("queued", Some("2026-12-31T23:59:59Z"), Some(Need::Ended)),
            ("waiting", None, Some(Need::Waiting)),
            ("waiting", Some(later), Some(Need::Waiting)),
            ("stopped", None, Some(Need::Stopped)),
            ("stopped", Some(NOW), Some(Need::Ended)),
            // Fourteen days, and one second more.
            ("own", Some("2027-01-15T00:00:00Z"), Some(Need::EndsSoon)),
            ("own", Some("2027-01-15T00:00:01Z"), None),
            ("own", Some(NOW), Some(Need::Ended)),
            // B233: a word of a newer daemon.
            ("sings", Some(later), None),
        ] {
            assert_eq!(Need::of(&standing(state, until, None, ""), at(NOW)), need, "{state} {until:?}");
        }
    }

    #[test]
    fn what_needs_attention_says_what_is_the_matter() {
        let (soon, past) = ("2027-01-05T00:00:00Z", "2026-12-01T00:00:00Z");
        for (standing, text) in [
            (standing("valid", Some(past), None, ""), "its certificate ended at 2026-12-01T00:00:00Z"),
            (standing("stopped", None, None, "forbidden"), "it has no certificate: forbidden"),
            (
                standing("waiting", None, Some(soon), "no address"),
                "it has no certificate: no address; next try at 2027-01-05T00:00:00Z",
            ),
            (
                standing("waiting", Some(soon), None, "the CA is silent"),
                "its certificate, until 2027-01-05T00:00:00Z, is not renewed: the CA is silent",
            ),
            (
                standing("own", Some(soon), None, ""),
                "its own certificate ends at 2027-01-05T00:00:00Z: replace it: hotcore cert a.com <file.pem>",
            ),
            // B232.
            (standing("stopped", None, None, "\u{1b}[2J"), "it has no certificate: \\u{1b}[2J"),
        ] {
            assert_eq!(Needy::of(standing, at(NOW)).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_column_is_short_and_says_why() {
        let text = |standing: Standing| in_a_column(&standing, at(NOW));
        assert_eq!(text(standing("valid", Some("2027-03-01T07:00:00Z"), None, "")), "valid until 2027-03-01");
        assert_eq!(text(standing("own", Some(NOW), None, "")), "own ended 2027-01-01");
        assert_eq!(text(standing("waiting", None, None, "no address")), "waiting: no address");
        assert_eq!(text(standing("off", None, None, "")), "off");
    }

    #[test]
    fn of_many_names_the_worst_are_shown() {
        let shown = |many: usize| {
            let mut needy: Vec<_> = (0..many).map(|_| standing("waiting", None, None, "x")).collect();
            needy.extend((many > 0).then(|| standing("valid", Some(NOW), None, "")));
            let mut needy: Vec<_> = needy.into_iter().filter_map(|standing| Needy::of(standing, at(NOW))).collect();
            needy.sort_by_key(|needy| needy.need);
            let (mut output, streams) = Output::captured(false);
            Attention { needy, is_part: false }.show(&mut output);
            output.finish().unwrap();
            streams.data()
        };
        assert_eq!(shown(0), "");
        let limit = STATUS_NAMES_SHOWN_MAX;
        let at = shown(limit - 1);
        assert!(at.starts_with("  a.com  its certificate ended at ") && at.lines().count() == limit, "{at}");
        let past = shown(limit);
        assert_eq!(past.lines().last(), Some("  and 1 more: hotcore check --certs"));
        assert_eq!(past.lines().count(), limit + 1);
    }
}
