//! Long lists, asked for page by page: the rules, and the certificates (B184, B229).

use std::marker::PhantomData;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{AskError, Client};

/// The pages of a list, in order. Ends after the last page or the first error.
#[derive(Debug)]
pub struct Pages<L> {
    client: Client,
    next: Next,
    line: PhantomData<L>,
}

/// A line of a list.
pub trait Line: Sized {
    /// The message that lists such lines.
    const MESSAGE: &'static str;

    /// `domain` is the first word of a line, `rest` what follows it. `None`: it is no such line.
    fn read(domain: &str, rest: &str) -> Option<Self>;
}

/// One line of `list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The name, as the daemon wrote it: outside text.
    pub domain: String,
    /// The port of the backend.
    pub port: u16,
}

impl Line for Mapping {
    const MESSAGE: &'static str = "list";

    fn read(domain: &str, rest: &str) -> Option<Self> {
        Some(Self { domain: domain.to_owned(), port: rest.parse().ok()? })
    }
}

/// One line of `certs`. The texts are the daemon's, and a newer one has words of its own (B233).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The name.
    pub domain: String,
    /// Where it stands, in one word.
    pub state: String,
    /// When the certificate that serves ends.
    pub until: Option<OffsetDateTime>,
    /// When something will be done.
    pub next: Option<OffsetDateTime>,
    /// Why; may be empty.
    pub reason: String,
}

impl Line for Standing {
    const MESSAGE: &'static str = "certs";

    fn read(domain: &str, rest: &str) -> Option<Self> {
        let mut words = rest.splitn(4, ' ');
        let state = words.next().filter(|state| !state.is_empty())?;
        let (until, next) = (moment(words.next()?)?, moment(words.next()?)?);
        let reason = words.next().unwrap_or_default().to_owned();
        Some(Self { domain: domain.to_owned(), state: state.to_owned(), until, next, reason })
    }
}

/// A time, or `-` for none; the outer `None`: neither.
fn moment(word: &str) -> Option<Option<OffsetDateTime>> {
    match word {
        "-" => Some(None),
        _ => OffsetDateTime::parse(word, &Rfc3339).ok().map(Some),
    }
}

#[derive(Debug)]
enum Next {
    First,
    After(String),
    Nothing,
}

impl<L: Line> Pages<L> {
    pub(super) fn new(client: Client) -> Self {
        Self { client, next: Next::First, line: PhantomData }
    }

    fn page(&mut self, after: Option<String>) -> Result<Vec<L>, AskError> {
        let message = match &after {
            None => L::MESSAGE.to_owned(),
            Some(name) => format!("{} after {name}", L::MESSAGE),
        };
        let reply = self.client.ask(&message)?;
        let (page, more) = read_page(&reply).ok_or_else(|| self.client.unexpected(&reply))?;
        if let Some(more) = more {
            // Names are sorted by bytes (B184): a page that does not lead further would be asked for without end.
            if after.is_some_and(|after| more <= after) {
                return Err(self.client.unexpected(&reply));
            }
            self.next = Next::After(more);
        }
        Ok(page)
    }
}

impl<L: Line> Iterator for Pages<L> {
    type Item = Result<Vec<L>, AskError>;

    fn next(&mut self) -> Option<Self::Item> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::First => Some(self.page(None)),
            Next::After(name) => Some(self.page(Some(name))),
            Next::Nothing => None,
        }
    }
}

/// The lines of one reply, and the name to go on after. `None`: this is no such list.
fn read_page<L: Line>(reply: &str) -> Option<(Vec<L>, Option<String>)> {
    let mut page = Vec::new();
    let mut lines = reply.lines();
    while let Some(line) = lines.next() {
        let (first, rest) = line.split_once(' ')?;
        // `more <domain>` is the last line; a name cannot be `more`, nor end in a label of digits only (B4, B13).
        if first == "more" {
            return (lines.next().is_none() && !rest.is_empty()).then(|| (page, Some(rest.to_owned())));
        }
        page.push(L::read(first, rest)?);
    }
    Some((page, None))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::{
        super::tests::{pair, receive},
        *,
    };

    #[test]
    fn a_list_is_read_to_its_end() {
        let (socket, client) = pair();
        let script = [
            ("list", "a.com 1\nb.com 2\nmore b.com"),
            ("list after b.com", "c.com 3\nmore c.com"),
            ("list after c.com", ""),
        ];
        thread::scope(|scope| {
            let asking = scope.spawn(|| client.list().collect::<Result<Vec<_>, _>>().unwrap());
            for (expected, reply) in script {
                let (message, peer) = receive(&socket);
                assert_eq!(message, expected);
                socket.send_to(reply.as_bytes(), peer).unwrap();
            }
            let pages = asking.join().unwrap();
            let ports: Vec<_> = pages.iter().flatten().map(|mapping| mapping.port).collect();
            assert_eq!(ports, [1, 2, 3]);
        });
    }

    /// A daemon that repeats itself must not keep the client for ever.
    #[test]
    fn a_list_without_progress_is_an_error() {
        let (socket, client) = pair();
        thread::scope(|scope| {
            let asking = scope.spawn(|| client.list().collect::<Vec<_>>());
            for _ in 0..2 {
                let (_, peer) = receive(&socket);
                socket.send_to(b"a.com 1\nmore a.com", peer).unwrap();
            }
            let pages = asking.join().unwrap();
            assert_eq!(pages.len(), 2);
            assert!(matches!(pages[1], Err(AskError::Unexpected { .. })), "{pages:?}");
        });
    }

    #[test]
    fn pages_are_read_strictly() {
        let mapping = |domain: &str, port| Mapping { domain: domain.to_owned(), port };
        assert_eq!(read_page::<Mapping>(""), Some((vec![], None)));
        assert_eq!(read_page::<Mapping>("a.com 80"), Some((vec![mapping("a.com", 80)], None)));
        assert_eq!(
            read_page::<Mapping>("a.com 80\nmore a.com"),
            Some((vec![mapping("a.com", 80)], Some("a.com".to_owned())))
        );
        for not_a_list in
            ["kcehc", "a.com", "a.com x", "a.com 80 90", "a.com 65536", "more a.com\na.com 80", "more ", "\n"]
        {
            assert_eq!(read_page::<Mapping>(not_a_list), None, "{not_a_list:?}");
        }
    }

    #[test]
    fn a_line_about_a_certificate_is_read_strictly_but_for_its_words() {
        let read = |line: &str| read_page::<Standing>(line).map(|(mut page, _)| page.pop());
        let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
        let standing = |state: &str, until, next, reason: &str| {
            let (domain, state, reason) = ("a.com".to_owned(), state.to_owned(), reason.to_owned());
            Some(Some(Standing { domain, state, until, next, reason }))
        };
        let day = "2027-01-15T08:00:00Z";
        assert_eq!(read(&format!("a.com valid {day} {day}")), standing("valid", at(day), at(day), ""));
        assert_eq!(read("a.com off - -"), standing("off", None, None, ""));
        assert_eq!(
            read(&format!("a.com sings - {day} two  words - and more")),
            standing("sings", None, at(day), "two  words - and more")
        );
        for line in ["kcehc", "a.com 80", "a.com valid", "a.com valid -", "a.com  - -", "a.com valid tomorrow -"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
