//! The commands about the daemon itself: `status`, `check`, `msg`, `log`.

use std::{fs::File, io, os::unix::process::CommandExt, process::Command};

use serde_json::{Map, Value, json};

use super::{
    arguments::Words,
    certificates::Attention,
    failure::{Exit, Failure},
    output::{Escaped, Mark, Output},
    unanswered,
};
use crate::{
    control::client::{AskError, Client, refusal},
    domain::REPLY_WORDS,
};

/// Keys of `status` whose value is a list of addresses.
const LIST_KEYS: [&str; 3] = ["http", "https", "control"];
/// Keys of `status` whose value is a number.
const NUMBER_KEYS: [&str; 11] = [
    "pid",
    "rules",
    "certificates",
    "ordering",
    "waiting",
    "stopped",
    "workers",
    "connections",
    "tunnels",
    "requests",
    "retries",
];
/// Lines of the past that `log` shows before it follows.
const LOG_LINES: &str = "50";

/// Shows what the daemon says of itself, and first of all the names whose certificates need attention.
pub(super) fn status(client: Client, json: bool, output: &mut Output) -> Result<(), Failure> {
    let report = match report(client) {
        Ok(report) => report,
        Err(cause) => {
            let failure = unanswered::explain(cause, client);
            if json && failure.exit() == Exit::NotReachable {
                output.json(&json!({"running": false}));
            }
            return Err(failure);
        }
    };
    let attention = Attention::look(client);
    if json {
        let mut value = report.to_json();
        if let Some(attention) = &attention {
            value["attention"] = attention.to_json();
        }
        output.json(&value);
    } else {
        report.show(attention.as_ref(), output);
    }
    if let Some(difference) = report.value("version").and_then(unanswered::difference) {
        output.talk(difference);
    }
    Ok(())
}

/// Says whether the daemon answers, for scripts and monitors.
pub(super) fn check(client: Client, json: bool, output: &mut Output) -> Result<(), Failure> {
    let outcome = client.ask("check").and_then(|reply| match reply.trim_end() {
        "kcehc" => Ok(()),
        _ => Err(client.unexpected(&reply)),
    });
    if json {
        output.json(&json!({"ok": outcome.is_ok(), "control": client.address().to_string()}));
    } else if outcome.is_ok() {
        output.data("ok");
    }
    outcome.map_err(|cause| unanswered::explain(cause, client))
}

/// Sends words as they are and shows the reply as it is, but for what would paint the screen. An `error` reply is talk, and
/// the message counts as refused, so that a script sees it like any other refusal.
pub(super) fn msg(words: &Words, client: Client, output: &mut Output) -> Result<(), Failure> {
    let message = words.words.join(" ");
    let first = message.split_ascii_whitespace().next();
    let Some(first) = first else {
        return Err(Failure::usage("there is no message to send").hint("type: hotcore msg help"));
    };
    // The daemon takes it for an echo of its own replies (B188).
    if REPLY_WORDS.iter().any(|word| word.eq_ignore_ascii_case(first)) {
        let wrong = format!("\"{first}\" begins a reply, not a message: the daemon would not answer");
        return Err(Failure::usage(wrong).hint("all messages: hotcore msg help"));
    }
    let reply = client.ask_raw(&message).map_err(|cause| unanswered::explain_change(cause, client))?;
    if refusal(&reply).is_some() {
        reply.lines().for_each(|line| output.talk(Escaped(line)));
        return Err(unanswered::with_versions(Failure::told(Exit::Refused), client));
    }
    if reply.is_empty() {
        output.talk("the reply is empty");
    }
    reply.lines().for_each(|line| output.data(Escaped(line)));
    Ok(())
}

/// Follows the log, by the tool made for it: returns only if that cannot be run.
pub(super) fn log(client: Client) -> Result<(), Failure> {
    let place = match report(client) {
        Ok(report) => report.value("log").unwrap_or_default().to_owned(),
        // The log of a daemon that has ended is what one wants to see.
        Err(_) if unanswered::is_the_service(client) => "journal".to_owned(),
        Err(cause) => return Err(unanswered::explain(cause, client)),
    };
    let mut tool = match place.as_str() {
        "journal" => Command::new("journalctl"),
        path if path.starts_with('/') => {
            may_read(path)?;
            Command::new("tail")
        }
        _ => {
            let wrong = if place.is_empty() {
                "the daemon does not say where its log is".to_owned()
            } else {
                format!("the daemon logs to {}, which cannot be followed", Escaped(&place))
            };
            return Err(Failure::refused(wrong).hint("look at the terminal, or the service, that it was started from"));
        }
    };
    if place == "journal" {
        // Why its ports cannot be opened is said by the unit that opens them (B215).
        tool.args(["--unit", "hotcore", "--unit", "hotcore-web.socket", "--lines", LOG_LINES, "--follow"]);
    } else {
        tool.args(["-n", LOG_LINES, "-F", "--", &place]);
    }
    let cause = tool.exec();
    let name = tool.get_program().display().to_string();
    let failure = Failure::refused(format_args!("cannot run {name} to follow the log: {cause}"));
    Err(match (cause.kind(), name.as_str()) {
        (io::ErrorKind::NotFound, "journalctl") => failure.hint("journalctl belongs to systemd: is it in your PATH?"),
        (io::ErrorKind::NotFound, _) => {
            failure.hint(format_args!("read the file with another tool: {}", Escaped(&place)))
        }
        _ => failure,
    })
}

/// The log belongs to the daemon's user alone, and `tail` would try for ever. A file that is not there may be about to begin.
fn may_read(path: &str) -> Result<(), Failure> {
    let Err(cause) = File::open(path) else { return Ok(()) };
    let failure = Failure::refused(format_args!("cannot read the log {}: {cause}", Escaped(path)));
    match cause.kind() {
        io::ErrorKind::NotFound => Ok(()),
        io::ErrorKind::PermissionDenied => Err(failure.hint("it is another user's: sudo hotcore log")),
        _ => Err(failure),
    }
}

/// Asks for the status.
pub(super) fn report(client: Client) -> Result<Report, AskError> {
    let reply = client.ask("status")?;
    Report::read(&reply).ok_or_else(|| client.unexpected(&reply))
}

/// The reply to `status`: keys and values in the order of the daemon. A newer daemon may have more of them (B233).
pub(super) struct Report {
    lines: Vec<(String, String)>,
}

impl Report {
    /// `None`: this is no such reply.
    fn read(reply: &str) -> Option<Self> {
        let lines = reply.lines().map(|line| line.split_once(' ').unwrap_or((line, "")));
        let report = Self { lines: lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect() };
        report.value("version").is_some().then_some(report)
    }

    /// The first value of `key`.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.lines.iter().find(|line| line.0 == key).map(|line| line.1.as_str())
    }

    fn show(&self, attention: Option<&Attention>, output: &mut Output) {
        let version = Escaped(self.value("version").unwrap_or_default()).to_string();
        if self.value("problem").is_none() && attention.is_none_or(Attention::is_empty) {
            output.data_marked(Mark::Good, format_args!("hotcore {version} is running"), "");
        } else {
            output.data_marked(Mark::Bad, format_args!("hotcore {version} is running, but:"), "");
        }
        let lines = || self.lines.iter().map(|(key, value)| (key.as_str(), Escaped(value)));
        for (_, problem) in lines().filter(|line| line.0 == "problem") {
            output.data_marked(Mark::Bad, "  problem  ", problem);
        }
        if let Some(attention) = attention {
            attention.show(output);
        }
        let width = lines().map(|(key, _)| key.len()).max().unwrap_or_default();
        for (key, value) in lines().filter(|line| !["version", "problem"].contains(&line.0)) {
            output.data(format_args!("  {:width$}  {value}", Escaped(key).to_string()));
        }
        if self.value("rules") == Some("0") {
            output.talk(super::rules::FIRST_STEP);
        }
    }

    /// Known keys have one type each, so that programs can rely on it; others are texts, or lists where they repeat.
    fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("running".to_owned(), true.into());
        object.insert("problem".to_owned(), Value::Array(Vec::new()));
        for (key, value) in &self.lines {
            let known = key.as_str();
            if known == "problem" || LIST_KEYS.contains(&known) {
                let more: Vec<Value> = if known == "problem" {
                    vec![value.as_str().into()]
                } else {
                    value.split_whitespace().map(Value::from).collect()
                };
                match object.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
                    Value::Array(list) => list.extend(more),
                    other => *other = more.into(),
                }
                continue;
            }
            let number = NUMBER_KEYS.contains(&known).then(|| value.parse::<u64>().ok()).flatten();
            let value = number.map_or_else(|| Value::from(value.as_str()), Value::from);
            match object.get_mut(known) {
                None => _ = object.insert(key.clone(), value),
                Some(Value::Array(list)) => list.push(value),
                Some(first) => *first = vec![first.take(), value].into(),
            }
        }
        Value::Object(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "version 9.9.9\npid 42\nsince 2026-01-02T03:04:05Z\nhttp 127.0.0.1:80 [::1]:80\nrules 3\nlog journal\n\
                         problem port 443 is taken\nproblem disk full\nworkers 2\nrequests 5\nsky blue";

    #[test]
    fn a_report_is_read_and_nothing_else_is_one() {
        assert_eq!(Report::read(REPLY).unwrap().value("log"), Some("journal"));
        for reply in ["", "kcehc", "ok a.com 80"] {
            assert!(Report::read(reply).is_none(), "{reply:?}");
        }
    }

    #[test]
    fn known_keys_have_a_type_and_unknown_ones_are_kept() {
        let json = Report::read(REPLY).unwrap().to_json();
        assert_eq!(json["running"], true);
        assert_eq!((&json["pid"], &json["workers"], &json["requests"]), (&json!(42), &json!(2), &json!(5)));
        assert_eq!(json["http"], json!(["127.0.0.1:80", "[::1]:80"]));
        assert_eq!(json["problem"], json!(["port 443 is taken", "disk full"]));
        assert_eq!(json["sky"], "blue");
        let json = Report::read("version 1\nsky blue\nsky grey\nsky red\nrules many").unwrap().to_json();
        assert_eq!((&json["problem"], &json["sky"]), (&json!([]), &json!(["blue", "grey", "red"])));
        assert_eq!(json["rules"], "many");
    }

    #[test]
    fn problems_come_first_and_unknown_keys_are_shown() {
        let (mut output, streams) = Output::captured(false);
        Report::read(REPLY).unwrap().show(None, &mut output);
        output.finish().unwrap();
        let lines: Vec<_> = streams.data().lines().map(str::to_owned).collect();
        assert_eq!(
            lines[..3],
            ["hotcore 9.9.9 is running, but:", "  problem  port 443 is taken", "  problem  disk full"]
        );
        assert!(lines.contains(&"  sky       blue".to_owned()), "{lines:?}");
    }

    #[test]
    fn a_value_cannot_paint_the_screen() {
        let (mut output, streams) = Output::captured(false);
        Report::read("version \u{1b}[1m\nsky \u{1b}[2J").unwrap().show(None, &mut output);
        output.finish().unwrap();
        assert!(!streams.data().contains('\u{1b}'));
    }
}
