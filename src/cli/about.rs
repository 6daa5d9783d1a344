//! The commands about the program: `version`, `license`, `credits`, `help`. All but one work without asking anybody, and
//! `version` does not mind if nobody answers.

use clap::Parser;
use serde_json::{Value, json};

use super::{
    arguments::Arguments,
    failure::{Exit, Failure},
    output::Output,
    unanswered::{self, VERSION},
};
use crate::control::client::Client;

/// The model that this program follows.
const MODEL: &str =
    "hotcore follows the model of HoTCo:RE by Judi Systems (zlib licence): https://judi.systems/hotcore";
/// Made by the build: name, version and licence, parted by tabs.
const LIBRARIES: &str = include_str!(concat!(env!("OUT_DIR"), "/credits.txt"));

/// Prints the version of this program, and says so if the daemon's is another (B233).
pub(super) fn version(client: Client, json: bool, output: &mut Output) -> Result<(), Failure> {
    if !json {
        output.data(VERSION);
    }
    let daemon = client.ask("version").ok().filter(|reply| unanswered::is_version(reply));
    if json {
        output.json(&json!({"version": VERSION, "daemon": daemon}));
    }
    if let Some(difference) = daemon.as_deref().and_then(unanswered::difference) {
        output.talk(difference);
    }
    Ok(())
}

/// Prints the licence.
pub(super) fn license(output: &mut Output) -> Result<(), Failure> {
    output.data_as_it_is(include_str!("../../LICENSE"));
    Ok(())
}

/// Lists what this program is made of.
pub(super) fn credits(json: bool, output: &mut Output) -> Result<(), Failure> {
    let libraries: Vec<Library> = LIBRARIES.lines().filter_map(Library::read).collect();
    if libraries.is_empty() {
        return Err(Failure::refused(
            "this build does not know its libraries: Cargo could not list them when it was built",
        )
        .hint("build it again in its own folder, after: cargo fetch --locked"));
    }
    if json {
        let libraries: Vec<Value> = libraries
            .iter()
            .map(|library| json!({"name": library.name, "version": library.version, "licence": library.licence}))
            .collect();
        output.json(&json!({"model": MODEL, "libraries": libraries}));
        return Ok(());
    }
    output.data(format_args!("{MODEL}\n\nThe libraries in this program, and their licences:\n"));
    let width = |column: fn(&Library) -> usize| libraries.iter().map(column).max().unwrap_or_default();
    let (names, versions) = (width(|library| library.name.len()), width(|library| library.version.len()));
    for Library { name, version, licence } in &libraries {
        output.data(format_args!("{name:names$}  {version:versions$}  {licence}"));
    }
    Ok(())
}

/// Prints the help of the program, or of one command.
pub(super) fn help(command: Option<&str>, output: &mut Output) -> Result<(), Failure> {
    let line = ["hotcore"].into_iter().chain(command).chain(["--help"]);
    match Arguments::try_parse_from(line) {
        Ok(_) => Err(Failure::usage("there is no such help").hint("type: hotcore help")),
        Err(answer) => answer_of_the_parser(&answer, output),
    }
}

/// Shows what the parser says: help asked for is data, an error is talk.
pub(super) fn answer_of_the_parser(answer: &clap::Error, output: &mut Output) -> Result<(), Failure> {
    output.answer(answer.use_stderr(), &answer.render());
    if answer.use_stderr() { Err(Failure::told(Exit::Usage)) } else { Ok(()) }
}

struct Library {
    name: &'static str,
    version: &'static str,
    licence: &'static str,
}

impl Library {
    fn read(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t');
        Some(Self { name: columns.next()?, version: columns.next()?, licence: columns.next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program without them must not be shipped.
    #[test]
    fn every_library_has_a_version_and_a_licence() {
        let libraries: Vec<Library> = LIBRARIES.lines().filter_map(Library::read).collect();
        assert_eq!(libraries.len(), LIBRARIES.lines().count());
        for Library { name, version, licence } in &libraries {
            assert!(
                !name.is_empty() && unanswered::is_version(version) && !licence.is_empty(),
                "{name} {version} {licence}"
            );
        }
        let has = |name: &str| libraries.iter().any(|library| library.name == name);
        assert!(has("hyper") && has("tokio") && has("clap") && has("libc"));
        assert!(!has("hotcore"), "the program itself");
        assert!(!has("tempfile"), "a library of the tests");
        assert!(!has("syn") && !has("clap_derive"), "libraries that run while building only");
    }

    #[test]
    fn credits_name_the_model() {
        let (mut output, streams) = Output::captured(false);
        credits(false, &mut output).unwrap();
        output.finish().unwrap();
        assert!(streams.data().contains("HoTCo:RE by Judi Systems"));
    }
}
