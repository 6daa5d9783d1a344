//! What the definitions say about commands and options, as parts of a manual page.

use clap::{Arg, Command};
use clap_mangen::{Man, roff::Roff};

use super::markdown;

/// A part for each command. Those in `elsewhere` are only named.
pub(super) fn for_who_types_them(program: &Command, elsewhere: &[&str]) -> String {
    let part = |command: &Command| {
        if elsewhere.contains(&command.get_name()) {
            markdown::roff(&format!("{}. See hotcore(8).", about(command)), &nothing)
        } else {
            described(command)
        }
    };
    visible(program).map(|command| headed(command, &part(command))).collect()
}

/// A part for each of the commands in `names` that there is.
pub(super) fn of_the_service(program: &Command, names: &[&str]) -> String {
    let chosen = visible(program).filter(|command| names.contains(&command.get_name()));
    chosen.map(|command| headed(command, &described(command))).collect()
}

/// The options that stand before a command, most of them behind it too.
pub(super) fn options_of_all(program: &Command) -> String {
    options(program)
}

/// Options that every command has: told once.
pub(super) fn is_of_all(arg: &Arg) -> bool {
    arg.is_global_set() || ["help", "version"].contains(&arg.get_id().as_str())
}

/// How a word without an option is called.
pub(super) fn placeholder(arg: &Arg) -> String {
    arg.get_value_names().map_or_else(|| arg.get_id().to_string(), |names| names.join(" "))
}

fn visible(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|command| !command.is_hide_set())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn headed(command: &Command, part: &str) -> String {
    format!(".SS \"hotcore {}\"\n{part}", command.get_name())
}

/// How it is typed, what it does, and its options.
fn described(command: &Command) -> String {
    // Before it is built, a command has none of the options of all.
    let command = command.clone().bin_name(format!("hotcore {}", command.get_name())).disable_help_flag(true);
    let synopsis = written(|text| Man::new(command.clone()).render_synopsis_section(text), "SYNOPSIS");
    let about = command.get_long_about().map_or_else(|| about(&command), ToString::to_string);
    format!("{synopsis}.PP\n{}{}", markdown::roff(&about, &nothing), options(&command))
}

fn options(command: &Command) -> String {
    if command.get_arguments().all(|arg| arg.is_hide_set()) {
        return String::new();
    }
    let text = written(|text| Man::new(command.clone()).render_options_section(text), "OPTIONS");
    // Our parser takes each word as one that may be missing, to say by itself what is: the synopsis knows which.
    text.replace(".TP\n[\\fI", ".TP\n\\fI").replace("\\fR]\n", "\\fR\n")
}

/// A section, without the heading that it has when it stands alone.
fn written(render: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>, heading: &str) -> String {
    let mut text = Vec::new();
    render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let start = format!("{}.SH {heading}\n", Roff::new().render());
    markdown::portable(text.strip_prefix(&start).unwrap_or_else(|| panic!("does not begin with {start:?}: {text}")))
}

fn nothing(place: &str) -> String {
    panic!("a definition names <!-- {place} -->")
}
