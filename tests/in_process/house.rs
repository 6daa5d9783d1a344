//! The rules of the house, read off the source: which room may know which, who may change the rules, and what a file looks
//! like. The map is in the documentation of the crate.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod source;

use std::collections::BTreeSet;

use source::{Source, sources, tests_and_sources};

/// What each room may use, besides itself. Arrows point downward only: a new one is a decision, made here first.
const ARROWS: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("domain", &["limits"]),
    ("routes", &["domain", "limits"]),
    ("proxy", &["tls", "routes", "domain", "limits"]),
    ("tls", &["routes", "domain", "limits"]),
    ("control", &["routes", "domain", "limits"]),
    ("certs", &["tls", "routes", "domain", "limits"]),
    ("service", &["proxy", "tls", "control", "certs", "routes", "domain", "limits"]),
    ("install", &["service", "control::client", "domain", "limits"]),
    (
        "cli",
        &[
            "install",
            "service",
            "control::client",
            "control::protocol",
            "certs::own",
            "certs::local",
            "domain",
            "limits",
        ],
    ),
    ("main", &["cli"]),
];

/// Files of more than [`LINES_MAX`] lines, each with the reason why it is one file.
const LONG_FILES: &[(&str, &str)] = &[("src/limits.rs", "one list, so that no limit hides")];
const LINES_MAX: usize = 500;

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "manager", "misc"];

/// Calls of `.insert(` or `.remove(` in files that know the writer of the table, but on something else: file and receiver.
const OTHER_COLLECTIONS: &[(&str, &str)] = &[];

#[test]
fn arrows_between_rooms_point_downward() {
    let wrong: Vec<_> = sources().iter().flat_map(forbidden_arrows).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Invariant 1: only `control::server` changes routes.
#[test]
fn only_the_control_server_changes_the_table() {
    let wrong: Vec<_> = sources().iter().flat_map(strange_writers).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Invariant 8: environment, clock and process exit are read only at the edges. The lints forbid it everywhere; this looks at who
/// has been let off.
#[test]
fn only_the_edges_touch_environment_clock_and_exit() {
    let is_edge = |source: &Source| source.modules.first().is_some_and(|room| ["cli", "service"].contains(&&**room));
    let is_let_off = |source: &Source| source.text.contains("clippy::disallowed_methods");
    let (edges, others): (Vec<_>, Vec<_>) = sources().into_iter().filter(is_let_off).partition(is_edge);
    assert!(edges.len() > 2, "the edges are let off in some other way: this test looks for the wrong words");
    let wrong: Vec<_> = others.into_iter().filter(|source| !source.is_test()).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "no edge, but let off: {wrong:?}");
}

/// B265: what strangers send in a handshake is never printed by the library that reads it, whatever the log's filter says.
#[test]
fn the_library_of_tls_writes_no_log() {
    let packages = include_str!("../../Cargo.lock").split("[[package]]");
    let rustls: Vec<_> = packages.filter(|package| package.contains("\nname = \"rustls\"\n")).collect();
    assert!(!rustls.is_empty());
    assert!(
        rustls.iter().all(|package| !package.contains("\"log\"")),
        "a dependency switched its logging on: {rustls:?}"
    );
}

/// The architecture promises that each of its invariants has a test that names it.
#[test]
fn each_invariant_is_named_by_a_test() {
    let page = include_str!("../../docs/ARCHITECTURE.md");
    let (_, list) = page.split_once("\n## Invariants\n").unwrap();
    let list = list.split("\n## ").next().unwrap();
    let numbers: Vec<u32> =
        list.lines().filter_map(|line| line.split_once(". ").and_then(|(number, _)| number.parse().ok())).collect();
    assert_eq!(numbers, (1..=numbers.last().copied().unwrap()).collect::<Vec<_>>());
    let texts: Vec<String> = tests_and_sources().into_iter().filter(|text| text.contains("#[test]")).collect();
    let named = |number: &u32| {
        let words = [":", ",", "."].map(|mark| format!("/// Invariant {number}{mark}"));
        texts.iter().any(|text| words.iter().any(|word| text.contains(word)))
    };
    let unnamed: Vec<_> = numbers.iter().filter(|number| !named(number)).collect();
    assert!(numbers.len() > 5 && unnamed.is_empty(), "no test names the invariants {unnamed:?}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let is_silent = |source: &Source| !source.text.starts_with("//! ");
    let wrong: Vec<_> = sources().into_iter().filter(is_silent).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "without documentation in the first line: {wrong:?}");
}

#[test]
fn no_file_is_too_long_without_a_reason() {
    let is_long = |source: &Source| source.text.lines().count() > LINES_MAX;
    let long: BTreeSet<_> = sources().into_iter().filter(is_long).map(|source| source.path).collect();
    let listed: BTreeSet<_> = LONG_FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(long, listed, "left: files of more than {LINES_MAX} lines (each two files?), right: those listed");
}

#[test]
fn every_name_is_a_noun() {
    let is_empty = |source: &Source| source.modules.iter().any(|name| EMPTY_NAMES.contains(&name.as_str()));
    let wrong: Vec<_> = sources().into_iter().filter(is_empty).map(|source| source.path).collect();
    assert!(wrong.is_empty(), "there is always a noun for what it does: {wrong:?}");
}

/// The checks above can fail.
#[test]
fn a_forbidden_arrow_is_found_however_it_is_written() {
    for (path, text) in [
        ("src/proxy/hold.rs", "use crate::control::client;"),
        ("src/proxy/hold.rs", "use crate::{\n    domain::Domain,\n    routes::{Port, Rule}, service,\n};"),
        ("src/proxy/hold.rs", "fn f() { let x = crate::certs::Store::new(); }"),
        ("src/proxy/mod.rs", "use super::service;"),
        ("src/proxy/hold.rs", "pub(crate) use super::super::service::Settings;"),
        ("src/proxy/hold.rs", "mod inner { use super::super::super::service; }"),
        ("src/proxy/hold.rs", "use super::{super::control, pool};"),
        ("src/proxy/hold.rs", "const A: char = '\"'; use crate::control; const B: char = '\"';"),
        ("src/proxy/hold.rs", "fn f<'a>(x: &'a str) { crate::control::f(x) } // it's"),
        ("src/domain.rs", "use super::routes;"),
        ("src/limits.rs", "use crate::domain::Domain;"),
        ("src/cli/rules.rs", "use crate::control::server::Server;"),
        ("src/cli/rules.rs", "use crate::control::{client, server};"),
        ("src/cli/rules.rs", "use crate::control::*;"),
        ("src/cli/cert.rs", "use crate::certs::{own::Own, store::Store};"),
        ("src/cli/rules.rs", "use crate::control;"),
        ("src/cli/rules.rs", "use crate::routes::Port;"),
        ("src/routes/table.rs", "pub use crate::*;"),
        ("src/main.rs", "fn main() { hotcore::service::run() }"),
        ("src/kitchen/mod.rs", "use crate::limits;"),
    ] {
        assert_eq!(forbidden_arrows(&Source::new(path, text)).len(), 1, "{path}: {text}");
    }
}

#[test]
fn an_allowed_arrow_is_no_fault() {
    for (path, text) in [
        ("src/proxy/hold.rs", "use crate::{domain::Domain, limits, routes::{self, Rule}, proxy::pool};"),
        ("src/proxy/hold.rs", "use super::pool; mod inner { use super::super::pool; }"),
        ("src/domain.rs", "pub(super) fn f() {} pub(crate) fn g() {}"),
        (
            "src/proxy/hold.rs",
            "// crate::control\n/* crate::certs /* crate::tls */ */ const A: &str = \"crate::cli \\\" crate::tls\";",
        ),
        ("src/proxy/hold.rs", "const A: &str = r#\"crate::cli \" crate::tls\"#;"),
        (
            "src/proxy/hold.rs",
            "#[cfg(test)]\nmod tests { use crate::{control, testing}; fn f() { super::super::cli::x() } }",
        ),
        ("src/cli/rules.rs", "use crate::{control::client::{Client, Mapping}, control::{protocol, client::Pages}};"),
        ("src/lib.rs", "pub mod cli;"),
        ("src/main.rs", "fn main() { hotcore::cli::main() }"),
        ("src/proxy/tests.rs", "use crate::control;"),
        ("src/testing.rs", "use crate::control;"),
    ] {
        assert_eq!(forbidden_arrows(&Source::new(path, text)), BTreeSet::new(), "{path}: {text}");
    }
}

#[test]
fn a_strange_writer_is_found() {
    let text = "use crate::routes::TableWriter; fn f(writer: &mut TableWriter) { writer.insert(domain, port) }";
    assert_eq!(strange_writers(&Source::new("src/service/run.rs", text)).len(), 1);
    let text = "fn f() { let mut writer = open(); self.writer.remove(&domain); routes::TableWriter::insert(w, d, p) }";
    assert_eq!(strange_writers(&Source::new("src/proxy/hold.rs", text)).len(), 2);
    for path in ["src/control/server.rs", "src/control/server/batch.rs", "src/routes/table.rs", "src/service/tests.rs"]
    {
        assert_eq!(strange_writers(&Source::new(path, text)), [""; 0], "{path}");
    }
    let text = "fn f() { headers.insert(a, b); self.pool.remove(&key) }";
    assert_eq!(strange_writers(&Source::new("src/proxy/hold.rs", text)), [""; 0]);
}

/// A line for each room that this file uses and may not.
fn forbidden_arrows(source: &Source) -> BTreeSet<String> {
    // What tests alone use may know every room.
    let Some(room) = source.modules.first().filter(|_| !source.is_test()) else { return BTreeSet::new() };
    let Some((_, allowed)) = ARROWS.iter().find(|row| row.0 == room) else {
        return BTreeSet::from([format!("{}: the room {room} is not on the map", source.path)]);
    };
    let is_allowed = |path: &Vec<String>| {
        let is_below = |arrow: &str| {
            arrow.split("::").zip(path.iter().map(Some).chain([None; 2])).all(|(a, b)| b.is_some_and(|b| a == b))
        };
        path.first().is_none_or(|first| first == room) || allowed.iter().any(|arrow| is_below(arrow))
    };
    let used = uses(source).into_iter().filter(|path| !is_allowed(path));
    used.map(|path| format!("{}: {room} must not know {}", source.path, path.join("::"))).collect()
}

/// The paths from the root of the crate that a file names, two steps deep.
fn uses(source: &Source) -> BTreeSet<Vec<String>> {
    let tokens = source.tokens();
    let (mut found, mut place) = (BTreeSet::new(), Vec::new());
    // The names of the modules around a token; other braces have none.
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" => {
                let is_module = at >= 2 && tokens[at - 2] == "mod";
                place.push(is_module.then(|| tokens[at - 1].clone()));
            }
            "}" => _ = place.pop(),
            _ if tokens.get(at + 1).is_none_or(|next| next != "::") => {}
            "crate" | "hotcore" => {
                paths(&tokens, at + 2, &[], &mut found);
            }
            "super" if at == 0 || tokens[at - 1] != "::" => {
                let here = source.modules.iter().cloned().chain(place.iter().flatten().cloned());
                let mut here: Vec<_> = here.collect();
                here.pop();
                paths(&tokens, at + 2, &here, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Follows the path, or the group of paths, that begins at `at`, from the module `base`; gives the place behind it.
fn paths(tokens: &[String], mut at: usize, base: &[String], found: &mut BTreeSet<Vec<String>>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut here = base.to_vec();
    loop {
        match token(at) {
            "{" => {
                at += 1;
                while !["}", ""].contains(&token(at)) {
                    at = paths(tokens, at, &here, found);
                    // Behind `as name`, too.
                    while ![",", "}", ""].contains(&token(at)) {
                        at += 1;
                    }
                    at += usize::from(token(at) == ",");
                }
                return at + 1;
            }
            "super" => _ = here.pop(),
            "self" => {}
            "*" => here.push("*".to_owned()),
            name => here.push(name.to_owned()),
        }
        if token(at + 1) != "::" {
            here.truncate(2);
            found.insert(here);
            return at + 1;
        }
        at += 2;
    }
}

/// A line for each call, outside of the rooms that may, that changes the table.
fn strange_writers(source: &Source) -> Vec<String> {
    let at = |path: &[&str]| source.modules.iter().map(String::as_str).take(path.len()).eq(path.iter().copied());
    if at(&["routes"]) || at(&["control", "server"]) {
        return Vec::new();
    }
    let tokens = source.tokens();
    let knows_the_writer = tokens.iter().any(|token| token == "TableWriter");
    let mut wrong = Vec::new();
    for window in tokens.windows(4) {
        let [receiver, mark, method, open] = window else { continue };
        if !["insert", "remove"].contains(&method.as_str()) || open != "(" {
            continue;
        }
        let is_writer = match mark.as_str() {
            "::" => receiver == "TableWriter",
            "." if OTHER_COLLECTIONS.contains(&(source.path.as_str(), receiver.as_str())) => false,
            // Types are not known here: in a file that knows the writer each call needs a look.
            "." => knows_the_writer || receiver.contains("writer") || receiver.contains("table"),
            _ => false,
        };
        if is_writer {
            wrong.push(format!("{}: {receiver}{mark}{method}(…) changes the rules, or is to be listed", source.path));
        }
    }
    wrong
}
