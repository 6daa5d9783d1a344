//! The commands about rules: `add`, `remove`, `list`.

use std::{collections::HashMap, net::ToSocketAddrs, sync::mpsc, thread};

use serde_json::json;

use super::{
    arguments::{Add, Name},
    certificates::{self, Need},
    failure::Failure,
    output::{Escaped, Mark, Output},
    typed::{self, Wrong},
    unanswered,
};
use crate::{
    certs::local,
    control::client::{Client, Mapping, Standing},
    domain::Domain,
    limits::NAME_LOOK_UP_WAIT,
};

/// What to type on a machine where nothing is mapped yet.
pub(super) const FIRST_STEP: &str = "nothing is mapped yet; a first rule: hotcore add app.localhost 3000";

/// Maps a name to a port. Prints the daemon's reply, which says what holds now.
pub(super) fn add(typed: &Add, client: Client, output: &mut Output) -> Result<(), Failure> {
    let (domain, port) = domain_and_port(typed)?;
    change(&format!("add {domain} {port}"), client, output)?;
    // Printed, never written (B226).
    if let Some(line) = local::hosts_line(&domain)
        && !resolves(&domain)
    {
        output.talk(format_args!("{domain} is not known here; for this machine alone, a line for /etc/hosts: {line}"));
    }
    Ok(())
}

/// Takes a name out of the rules. One that is not mapped is no error (B227): the reply says so.
pub(super) fn remove(typed: &Name, client: Client, output: &mut Output) -> Result<(), Failure> {
    let name = typed::one_name("remove", typed)?;
    change(&format!("remove {name}"), client, output)
}

/// Shows all rules (B229): aligned and with their certificates for a person, or as JSON. In a pipe it is name and port with one
/// blank between them and nothing else, whatever there is to say of certificates: scripts read these lines.
pub(super) fn list(client: Client, json: bool, output: &mut Output) -> Result<(), Failure> {
    let mut rules = Vec::new();
    let mut count = 0;
    for page in client.list() {
        let page = page.map_err(|cause| unanswered::explain(cause, client))?;
        count += page.len();
        if json || output.is_terminal() {
            rules.extend(page);
            continue;
        }
        for Mapping { domain, port } in page {
            output.data(format_args!("{} {port}", Escaped(&domain)));
        }
        if output.is_closed() {
            return Ok(());
        }
    }
    if count == 0 {
        if json {
            output.json(&json!([]));
        }
        output.talk(FIRST_STEP);
        return Ok(());
    }
    if rules.is_empty() {
        return Ok(());
    }
    let standings = client.certificates().collect::<Result<Vec<_>, _>>();
    let missing = standings.as_ref().err().map(ToString::to_string);
    let standings = standings.unwrap_or_default().into_iter().flatten();
    let standings: HashMap<_, _> = standings.map(|standing| (standing.domain.clone(), standing)).collect();
    if json {
        let rules = rules.iter().map(|Mapping { domain, port }| {
            let mut rule = certificates::to_json(standings.get(domain));
            rule["domain"] = domain.as_str().into();
            rule["port"] = (*port).into();
            rule
        });
        output.json(&rules.collect());
    } else {
        show(&rules, &standings, output);
    }
    // An older daemon (B233), or one that has just ended: the rules are told all the same.
    if let Some(cause) = missing {
        output.talk(format_args!("certificates are not shown: {}", Escaped(&cause)));
        if let Some(difference) = unanswered::difference_to(client) {
            output.talk(difference);
        }
    }
    Ok(())
}

/// A column each for name, port and certificate; a name that needs attention is marked.
fn show(rules: &[Mapping], standings: &HashMap<String, Standing>, output: &mut Output) {
    let now = certificates::now();
    let names: Vec<_> = rules.iter().map(|rule| Escaped(&rule.domain).to_string()).collect();
    let width = names.iter().map(String::len).max().unwrap_or_default();
    for (name, Mapping { domain, port }) in names.iter().zip(rules) {
        let name = format!("{name:width$}");
        let rest = match standings.get(domain) {
            Some(standing) => format!("  {port:>5}  {}", certificates::in_a_column(standing, now)),
            None => format!("  {port:>5}"),
        };
        match standings.get(domain).and_then(|standing| Need::of(standing, now)) {
            Some(_) => output.data_marked(Mark::Bad, name, rest),
            None => output.data(format_args!("{name}{rest}")),
        }
    }
}

/// Whether this machine knows an address of the name. One that cannot be told in time is taken for known.
fn resolves(domain: &Domain) -> bool {
    let (answer, answers) = mpsc::channel();
    let name = domain.to_string();
    let look = move || _ = answer.send((name.as_str(), 0).to_socket_addrs().is_ok_and(|mut all| all.next().is_some()));
    // It is not waited for: a resolver may take its time, and ends with the program.
    let started = thread::Builder::new().name("resolver".to_owned()).spawn(look);
    started.is_err() || answers.recv_timeout(NAME_LOOK_UP_WAIT).unwrap_or(true)
}

fn change(message: &str, client: Client, output: &mut Output) -> Result<(), Failure> {
    let reply = client.ask(message).map_err(|cause| unanswered::explain_change(cause, client))?;
    if reply.split(' ').next() != Some("ok") {
        return Err(unanswered::explain_change(client.unexpected(&reply), client));
    }
    output.data(Escaped(reply.trim_end()));
    Ok(())
}

fn domain_and_port(typed: &Add) -> Result<(Domain, u16), Failure> {
    let (Some(name), Some(port)) = (typed.domain.as_deref(), typed.port.as_deref()) else {
        return Err(incomplete_add(typed.domain.as_deref()));
    };
    if !typed.surplus.is_empty() {
        let surplus = typed.surplus.join(" ");
        let wrong = format!("add takes one name and one port: {} is too much", typed::Quoted(&surplus));
        return Err(Failure::usage(wrong).hint(line_to_type(&typed::name(name), &typed::port(port))));
    }
    match (typed::name(name), typed::port(port)) {
        (Ok(name), Ok(port)) => Ok((name, port)),
        // A number first and no number second: the words are exchanged.
        (_, Err(_)) if typed::port(name).is_ok() && meant(&typed::name(port)).is_some() => {
            Err(Failure::refused("the name comes first, then the port")
                .hint(line_to_type(&typed::name(port), &typed::port(name))))
        }
        (name, port) => {
            let hint = line_to_type(&name, &port);
            let wrongs = [name.err(), port.err()].into_iter().flatten().map(|wrong| wrong.reason);
            Err(Failure::all_refused(wrongs).hint(hint))
        }
    }
}

/// `add` without a port; perhaps the port is part of the name.
fn incomplete_add(name: Option<&str>) -> Failure {
    let Some(name) = name else {
        return Failure::usage("add needs a name and the port of your app")
            .hint("type: hotcore add app.localhost 3000");
    };
    let port = typed::port_within(name).ok_or(Wrong { reason: String::new(), instead: None });
    let hint = line_to_type(&typed::name(name), &port);
    Failure::usage(format_args!("add needs a port after the name {}", typed::Quoted(name))).hint(hint)
}

/// The whole line as it was probably meant, with a placeholder for what cannot be guessed.
fn line_to_type(name: &Result<impl ToString, Wrong>, port: &Result<impl ToString, Wrong>) -> String {
    let name = meant(name).unwrap_or_else(|| "<domain>".to_owned());
    let port = meant(port).unwrap_or_else(|| "<port>".to_owned());
    format!("type: hotcore add {name} {port}")
}

fn meant(word: &Result<impl ToString, Wrong>) -> Option<String> {
    match word {
        Ok(word) => Some(word.to_string()),
        Err(wrong) => wrong.instead.clone(),
    }
}
