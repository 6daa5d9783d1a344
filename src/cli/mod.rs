//! The commands that a person types, on top of the control protocol.
//!
//! Here alone the environment is read, text goes to the terminal, and an outcome becomes an exit code (B227). Never here: a
//! change of a rule except by a message to the daemon, a privilege that is kept, a panic on a closed pipe.

mod about;
mod arguments;
mod cert;
mod certificates;
mod daemon;
mod failure;
mod install;
#[cfg(test)]
mod manual;
mod output;
mod ports;
mod rules;
mod serve;
mod typed;
mod unanswered;

use std::{ffi::OsString, process::ExitCode};

use self::{
    arguments::{Arguments, Command},
    failure::{Exit, Failure},
    output::Output,
};
use crate::service;

/// Runs the program.
pub fn main() -> ExitCode {
    let mut output = Output::of_this_process();
    let exit = match run(std::env::args_os(), &mut output) {
        Ok(()) => Exit::Done,
        Err(failure) => failure.report(&mut output),
    };
    // A full disk behind stdout is no success; a closed pipe is one (B230).
    match output.finish() {
        Err(failure) if exit == Exit::Done => failure.report(&mut output).into(),
        _ => exit.into(),
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>, output: &mut Output) -> Result<(), Failure> {
    let arguments = match Arguments::read(arguments) {
        Ok(arguments) => arguments,
        Err(answer) => return about::answer_of_the_parser(&answer, output),
    };
    drop_what_the_file_gives(arguments.command.as_ref())?;
    let Some(command) = arguments.command else {
        return daemon::status(arguments.control.client()?, arguments.json, output);
    };
    if arguments.json {
        return Err(Failure::usage("--json belongs to a command").hint("write it at the end: hotcore list --json"));
    }
    let client = || arguments.control.client();
    match command {
        Command::Add(add) => rules::add(&add, client()?, output),
        Command::Remove(remove) => rules::remove(&remove, client()?, output),
        Command::Cert(typed) => cert::cert(&typed, client()?, output),
        Command::List(form) => rules::list(client()?, form.json, output),
        Command::Msg(words) => daemon::msg(&words, client()?, output),
        Command::Log => daemon::log(client()?),
        Command::Status(form) => daemon::status(client()?, form.json, output),
        Command::Retry(name) => certificates::retry(&name, client()?, output),
        Command::Check(check) if check.certs => certificates::check(client()?, check.json, output),
        Command::Check(check) if check.ports => ports::check(check.json, output),
        Command::Check(check) => daemon::check(client()?, check.json, output),
        Command::Version(form) => about::version(client()?, form.json, output),
        Command::License => about::license(output),
        Command::Credits(form) => about::credits(form.json, output),
        Command::Help { command } => about::help(command.as_deref(), output),
        Command::Install(typed) => install::install(&typed, output),
        Command::Serve(serve) => serve::serve(serve, arguments.control.addresses),
    }
}

/// An installed program's file may listen on ports below 1024, for a start by hand. Any other command of an ordinary user needs
/// nothing of that.
fn drop_what_the_file_gives(command: Option<&Command>) -> Result<(), Failure> {
    if matches!(command, Some(Command::Serve(_))) || nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    service::privileges::drop_capabilities().map_err(Failure::refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exit code and both streams of a command line.
    fn typed(line: &str) -> (Exit, String, String) {
        let (mut output, streams) = Output::captured(false);
        let words = line.split(' ').filter(|word| !word.is_empty()).map(OsString::from);
        let exit = run(words, &mut output).map_or_else(|failure| failure.report(&mut output), |()| Exit::Done);
        output.finish().unwrap();
        (exit, streams.data(), streams.talk())
    }

    #[test]
    fn json_before_a_command_is_explained() {
        let (exit, data, talk) = typed("hotcore --json list");
        assert_eq!((exit, data.as_str()), (Exit::Usage, ""));
        assert!(talk.contains("hotcore list --json"), "{talk}");
    }

    #[test]
    fn an_unknown_command_is_usage_and_a_similar_one_is_named() {
        let (exit, data, talk) = typed("hotcore lst");
        assert_eq!((exit, data.as_str()), (Exit::Usage, ""));
        assert!(talk.contains("'list'"), "{talk}");
    }

    #[test]
    fn help_is_data_and_shows_commands_and_messages() {
        for line in ["hotcore help", "hotcore --help", "hotcore -h"] {
            let (exit, data, talk) = typed(line);
            assert_eq!((exit, talk.as_str()), (Exit::Done, ""), "{line}");
            for text in [
                "add",
                "credits",
                "UDP port 40608",
                "add <domain> <port>",
                "list after <domain>",
                "retry <domain>",
                "kcehc",
            ] {
                assert!(data.contains(text), "{line}: no {text:?} in {data}");
            }
        }
    }

    #[test]
    fn help_of_a_command_is_that_commands_help() {
        for line in ["hotcore help serve", "hotcore serve --help"] {
            let (exit, data, _) = typed(line);
            assert_eq!(exit, Exit::Done);
            assert!(data.contains("--access-log") && data.contains("HOTCORE_STATE"), "{line}: {data}");
        }
        assert_eq!(typed("hotcore help nothing").0, Exit::Usage);
    }

    #[test]
    fn the_licence_is_printed_whole() {
        let (exit, data, _) = typed("hotcore license");
        assert_eq!((exit, data.as_str()), (Exit::Done, include_str!("../../LICENSE")));
    }
}
