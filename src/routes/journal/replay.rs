//! From bytes to rules: reads a snapshot and the logs after it, whatever state they are in. Pure: no file, no clock.
//!
//! A later line wins over an earlier one with the same name, and a change whose number is known already is skipped, so reading
//! a log again, or one that the snapshot covers, does no harm (B197). Damage costs the lines that it hit and no other (B194).
//! Nothing that the bytes hold may panic here; `fuzz/` sees to it.

use std::{collections::HashMap, fmt, ops::Range, sync::Arc, thread};

use super::{
    Change, files,
    line::{self, Header},
};
use crate::{
    domain::Domain,
    routes::{
        Port, Rule,
        table::{in_parallel, one_for_each_name},
    },
};

/// Below so many bytes one thread is done before a second one has started.
const PARALLEL_FROM_BYTES: usize = 512 * 1024;

/// Messages kept of one recovery; more would not be read.
const PROBLEMS_MAX: usize = 32;

/// What the bytes said.
#[derive(Debug)]
pub struct Recovered {
    /// The rules, proven, sorted by name; one for each.
    pub rules: Vec<Arc<Rule>>,
    /// What was wrong, for a person; a bounded number of sentences.
    pub problems: Vec<String>,
}

/// Reads the bytes of a snapshot and of the logs after it.
pub fn recover(snapshot: Option<&[u8]>, logs: &[&[u8]]) -> Result<Recovered, NewerFormat> {
    let mut replay = Replay::default();
    if let Some(bytes) = snapshot {
        replay.snapshot("snapshot", bytes)?;
    }
    for (number, bytes) in (1..).zip(logs) {
        replay.log(&format!("log {number}"), bytes)?;
    }
    let Outcome { mut rules, problems, .. } = replay.finish();
    one_for_each_name(&mut rules);
    Ok(Recovered { rules, problems })
}

/// A file that a newer hotcore wrote. It is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerFormat {
    /// The file.
    pub file: String,
    /// Its format.
    pub format: u64,
}

impl fmt::Display for NewerFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} was written by a newer hotcore (format {}, this one reads up to {}): install that version again; the file was not touched",
            self.file,
            self.format,
            line::FORMAT
        )
    }
}

impl std::error::Error for NewerFormat {}

/// The files read so far.
#[derive(Debug)]
pub(super) struct Replay {
    /// The snapshot's rules.
    rules: Vec<Arc<Rule>>,
    /// The number of the last change in them. `None` while it cannot be known: the snapshot's first line is damaged.
    last: Option<u64>,
    logs: Vec<LogLines>,
    report: Report,
}

/// What a log said.
#[derive(Debug)]
struct LogLines {
    file: String,
    /// The number that its first line states.
    after: Option<u64>,
    changes: Vec<(u64, Change)>,
    /// Bytes of an unfinished line at its end; harmless unless further changes follow in another log.
    unfinished: usize,
    /// What is wrong with it.
    found: Vec<String>,
}

/// Which files hold bytes that are no sound line, or lack lines; and that in words.
#[derive(Debug, Default)]
struct Report {
    damaged: Vec<String>,
    problems: Vec<String>,
}

impl Report {
    fn add(&mut self, file: &str, found: &[String]) {
        if found.is_empty() {
            return;
        }
        self.damaged.push(file.to_owned());
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(format!("{file} is damaged: {}; every readable line is in force", found.join(", ")));
        }
    }
}

/// What all files said together.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The rules; quickly made where the snapshot was sorted and the logs are short.
    pub(super) rules: Vec<Arc<Rule>>,
    /// What the logs changed, the last word on each name. Empty where it went into the rules.
    pub(super) changes: Vec<Change>,
    /// The number of the last change.
    pub(super) last: u64,
    /// A log takes back what was known before.
    pub(super) rewound: bool,
    pub(super) damaged: Vec<String>,
    pub(super) problems: Vec<String>,
}

impl Default for Replay {
    fn default() -> Self {
        Self::after(0)
    }
}

impl Replay {
    /// Goes on after the change of this number.
    pub(super) fn after(last: u64) -> Self {
        Self { rules: Vec::new(), last: Some(last), logs: Vec::new(), report: Report::default() }
    }

    /// Looks at one file by itself: is it damaged?
    pub(super) fn of_one(file: &str, bytes: &[u8]) -> Self {
        let mut replay = Self { last: None, ..Self::default() };
        if files::is_log(file) {
            _ = replay.log(file, bytes);
        } else if !files::is_unfinished(file) {
            // An unfinished one has never counted, so nothing is missing in it.
            _ = replay.snapshot(file, bytes);
        }
        replay
    }

    /// The rules after everything that was read.
    pub(super) fn finish(self) -> Outcome {
        let (mut rules, last, mut report) = (self.rules, self.last, self.report);
        let (changed, last, rewound) = in_order(self.logs, last, &mut report);
        if !changed.is_empty() {
            rules.retain(|rule| !changed.contains_key(&rule.domain));
            let start = rules.len();
            let mapped = changed.into_iter().filter_map(|(domain, port)| Some((domain, port?)));
            rules.extend(mapped.map(|(domain, port)| Arc::new(Rule::new(domain, port, true))));
            if let Some(mapped) = rules.get_mut(start..) {
                mapped.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
            }
        }
        let Report { damaged, problems } = report;
        Outcome { rules, changes: Vec::new(), last, rewound, damaged, problems }
    }

    /// The changes in what was read, for somebody who has the rules from before.
    pub(super) fn finish_changes(mut self) -> Outcome {
        let (changed, last, rewound) = in_order(self.logs, self.last, &mut self.report);
        let changes = changed.into_iter().map(|(domain, port)| match port {
            Some(port) => Change::Map(domain, port),
            None => Change::Unmap(domain),
        });
        let Report { damaged, problems } = self.report;
        Outcome { rules: Vec::new(), changes: changes.collect(), last, rewound, damaged, problems }
    }

    /// Reads the snapshot: before any log.
    pub(super) fn snapshot(&mut self, file: &str, bytes: &[u8]) -> Result<(), NewerFormat> {
        let head = Head::split(file, bytes)?;
        self.last = match head.header {
            Some(Header::Snapshot { through }) => Some(through),
            _ => None,
        };
        let end = split_end(head.body);
        let body = end.map_or(head.body, |(_, start)| head.body.get(..start).unwrap_or_default());
        let scan = scan(body, |text| {
            let (domain, port) = line::parse_rule(text)?;
            Some(Arc::new(Rule::new(domain, port, true)))
        });
        let mut found = head.damage();
        found.extend(scan.damage(head.first_line));
        let lines = scan.facts.len() as u64;
        match end {
            None => found.push("its end is missing".into()),
            Some((stated, _)) if stated != lines => found.push(format!("{lines} of {stated} rules are readable")),
            Some(_) => {}
        }
        self.rules = scan.facts;
        self.report.add(file, &found);
        Ok(())
    }

    /// Reads a log: after the snapshot, in the order of their numbers. Returns the number of bytes up to the end of its last
    /// whole line: less than the log has if its end is unfinished, nothing if not even its first line is whole.
    pub(super) fn log(&mut self, file: &str, bytes: &[u8]) -> Result<usize, NewerFormat> {
        let head = Head::split(file, bytes)?;
        if !bytes.contains(&b'\n') {
            // A crash while the file was made leaves nothing, or part of the first line.
            return Ok(0);
        }
        let whole = self.lines_of(file, &head);
        Ok(bytes.len() - head.body.len() + whole)
    }

    /// Reads what a log got since an earlier reading, which ended at a whole line. Returns the bytes of whole lines.
    pub(super) fn rest_of_log(&mut self, file: &str, bytes: &[u8]) -> usize {
        self.lines_of(file, &Head { header: None, body: bytes, first_line: 1, sound: true })
    }

    fn lines_of(&mut self, file: &str, head: &Head<'_>) -> usize {
        let scan = scan(head.body, line::parse_change);
        let mut found = head.damage();
        found.extend(scan.damage(head.first_line));
        let after = match head.header {
            Some(Header::Log { after }) => Some(after),
            _ => None,
        };
        let unfinished = scan.unfinished;
        self.logs.push(LogLines { file: file.to_owned(), after, changes: scan.facts, unfinished, found });
        head.body.len() - unfinished
    }
}

/// What the logs say of each name last, the number of the last change, and whether a log takes back what was known before.
///
/// A log begins with the number after the last change that was in force. An earlier log that has that number, too, holds
/// changes that were refused and cut off, which a crash has brought back: they do not count (B195).
fn in_order(
    logs: Vec<LogLines>,
    mut last: Option<u64>,
    report: &mut Report,
) -> (HashMap<Domain, Option<Port>>, u64, bool) {
    let mut ends = vec![u64::MAX; logs.len()];
    let mut end = u64::MAX;
    for (log, its_end) in logs.iter().zip(&mut ends).rev() {
        *its_end = end;
        end = log.changes.first().map_or(end, |&(first, _)| end.min(first));
    }
    // The first log may well begin within the snapshot, but nothing begins within what was read from logs before.
    let rewound = logs.iter().skip(1).any(|log| log.changes.first().is_some_and(|&(first, _)| Some(first) <= last));
    let (mut changed, mut unfinished) = (HashMap::new(), None::<String>);
    for (log, end) in logs.into_iter().zip(ends) {
        let LogLines { file, after, changes, mut found, .. } = log;
        if let Some(after) = after {
            let known = *last.get_or_insert(after);
            if after > known {
                found.push(missing(known, after));
                last = Some(after);
            }
        }
        if !changes.is_empty()
            && let Some(earlier) = unfinished.take()
        {
            report.add(&earlier, &["its end is missing".into()]);
        }
        for (sequence, change) in changes {
            let known = *last.get_or_insert_with(|| sequence.saturating_sub(1));
            if sequence <= known || sequence >= end {
                continue;
            }
            // Where lines are damaged, their numbers are missing of course.
            if sequence - known > 1 && found.is_empty() {
                found.push(missing(known, sequence - 1));
            }
            last = Some(sequence);
            match change {
                Change::Map(domain, port) => changed.insert(domain, Some(port)),
                Change::Unmap(domain) => changed.insert(domain, None),
            };
        }
        if log.unfinished > 0 {
            unfinished = Some(file.clone());
        }
        report.add(&file, &found);
    }
    (changed, last.unwrap_or(0), rewound)
}

fn missing(last: u64, through: u64) -> String {
    match through.saturating_sub(last) {
        1 => format!("change {through} is missing"),
        _ => format!("changes {} to {through} are missing", last.saturating_add(1)),
    }
}

/// A file, its first line parted from the rest.
struct Head<'a> {
    header: Option<Header>,
    /// What follows the first line; all, where that is no header, since there may be something else in it.
    body: &'a [u8],
    /// The number of the body's first line.
    first_line: usize,
    sound: bool,
}

impl<'a> Head<'a> {
    fn split(file: &str, bytes: &'a [u8]) -> Result<Self, NewerFormat> {
        let first = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        // A header that lost nothing but its line break is a header still.
        let salvaged = || line::salvage(first, Header::parse).first().map_or(0, |&(length, _)| length);
        let length = if Header::parse(first).is_some() { first.len() } else { salvaged() };
        match bytes.get(..length).and_then(Header::parse) {
            Some(Header::Newer { format }) => Err(NewerFormat { file: file.to_owned(), format }),
            Some(header) => {
                let body = bytes.get(length + 1..).unwrap_or_default();
                Ok(Self { header: Some(header), body, first_line: 2, sound: bytes.get(length) == Some(&b'\n') })
            }
            None => Ok(Self { header: None, body: bytes, first_line: 1, sound: false }),
        }
    }

    fn damage(&self) -> Vec<String> {
        if self.sound { Vec::new() } else { vec!["its first line is damaged".into()] }
    }
}

/// The number of rules that a snapshot's last line states, and where that line starts.
fn split_end(body: &[u8]) -> Option<(u64, usize)> {
    let lines = body.strip_suffix(b"\n")?;
    let start = lines.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    Some((line::parse_end(lines.get(start..)?)?, start))
}

/// What the lines of some bytes said.
struct Scan<T> {
    facts: Vec<T>,
    /// Number of damaged lines.
    bad: usize,
    /// The first of them, counted from the first line of these bytes.
    first_bad: Option<usize>,
    lines: usize,
    /// Bytes after the last line break that look like a line whose writing was interrupted.
    unfinished: usize,
}

impl<T> Scan<T> {
    /// What is wrong, where these bytes begin with the line of this number.
    fn damage(&self, first_line: usize) -> Option<String> {
        let first = first_line + self.first_bad?;
        Some(match self.bad {
            1 => format!("line {first} cannot be read"),
            bad => format!("{bad} lines cannot be read, the first is line {first}"),
        })
    }
}

/// Reads all lines, on all cores where it pays.
fn scan<T: Send>(bytes: &[u8], parse: impl Fn(&[u8]) -> Option<T> + Sync) -> Scan<T> {
    let cores = match bytes.len() {
        ..PARALLEL_FROM_BYTES => 1,
        _ => thread::available_parallelism().map_or(1, usize::from),
    };
    let parts = in_parallel(bytes.len(), cores, |range| vec![scan_part(bytes, range, &parse)]);
    let mut whole = Scan { facts: Vec::new(), bad: 0, first_bad: None, lines: 0, unfinished: 0 };
    for mut part in parts {
        if whole.facts.is_empty() {
            whole.facts = part.facts;
        } else {
            whole.facts.append(&mut part.facts);
        }
        whole.first_bad = whole.first_bad.or_else(|| part.first_bad.map(|line| line + whole.lines));
        whole.bad += part.bad;
        whole.lines += part.lines;
        whole.unfinished += part.unfinished;
    }
    whole
}

/// Reads the lines that begin within `range`.
fn scan_part<T>(bytes: &[u8], range: Range<usize>, parse: &impl Fn(&[u8]) -> Option<T>) -> Scan<T> {
    let mut part = Scan { facts: Vec::new(), bad: 0, first_bad: None, lines: 0, unfinished: 0 };
    let line_break = |from: usize| bytes.get(from..)?.iter().position(|&byte| byte == b'\n').map(|at| from + at);
    let mut start = match range.start {
        0 => 0,
        // The line that began before belongs to the part before.
        start => line_break(start - 1).map_or(bytes.len(), |at| at + 1),
    };
    while start < range.end {
        let end = line_break(start);
        let text = bytes.get(start..end.unwrap_or(bytes.len())).unwrap_or_default();
        match parse(text).filter(|_| end.is_some()) {
            Some(fact) => part.facts.push(fact),
            None => {
                let found = line::salvage(text, parse);
                // An interrupted write leaves the beginning of a line, at most all of it without its line break. It was
                // never acknowledged, and is cut. Anything else is damage.
                if end.is_none() && found.iter().all(|&(bytes, _)| bytes == text.len()) {
                    part.unfinished = text.len();
                } else {
                    part.bad += 1;
                    part.first_bad.get_or_insert(part.lines);
                    part.facts.extend(found.into_iter().map(|(_, fact)| fact));
                }
            }
        }
        part.lines += 1;
        start = end.map_or(bytes.len(), |at| at + 1);
    }
    part
}
