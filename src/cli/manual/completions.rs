//! Completions for bash, zsh and fish: what clap's generator makes of the definitions, and the mapped domains, which it cannot
//! know. `hotcore list` gives them, and nothing if no daemon answers.
//!
//! Never here: a command or an option by its name. What takes a domain is read off the definitions.

use clap::{Arg, Command, ValueHint, builder::PossibleValuesParser};
use clap_complete::Shell;

/// How an argument that is a domain is called in the definitions.
const DOMAIN: &str = "domain";

/// The file for a shell, made of the definition of the program.
pub(super) fn completions(shell: Shell, program: &Command) -> String {
    let mut shown = shown(program);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut shown, "hotcore", &mut text);
    let text = String::from_utf8(text).unwrap();
    match shell {
        Shell::Bash => bash(text, &shown),
        Shell::Zsh => zsh(&text),
        Shell::Fish => fish(text, &shown),
        shell => panic!("nobody asked for {shell}"),
    }
}

/// The program as completions offer it: without what is hidden, and with hints about what an argument is.
fn shown(program: &Command) -> Command {
    let visible = || program.get_subcommands().filter(|command| !command.is_hide_set());
    let names: Vec<&'static str> = visible().map(name).collect();
    // An argument can be hidden from the help, but not be taken away: so there is another command.
    let bare = |command: &Command| {
        let visible = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let bare = Command::new(name(command)).args(visible.map(|arg| hinted(arg.clone(), &names)));
        bare.about(command.get_about().cloned().unwrap_or_default())
    };
    bare(program).version(super::VERSION).disable_help_subcommand(true).subcommands(visible().map(bare))
}

/// The name for as long as a definition wants it.
fn name(command: &Command) -> &'static str {
    command.get_name().to_owned().leak()
}

fn hinted(arg: Arg, commands: &[&'static str]) -> Arg {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match (arg.get_id().as_str(), value.as_deref()) {
        // Our parser lets it be missing, to say so by itself; here it would be offered together with what comes behind it.
        (DOMAIN, _) => arg.required(true).value_hint(ValueHint::Hostname),
        ("command", _) => arg.value_parser(PossibleValuesParser::new(commands.to_vec())),
        (_, Some("DIR")) => arg.value_hint(ValueHint::DirPath),
        (_, Some("FILE")) => arg.value_hint(ValueHint::FilePath),
        // A flag takes no value that could be hinted at.
        _ if !arg.get_action().takes_values() => arg,
        _ => arg.value_hint(ValueHint::Other),
    }
}

/// The commands with a domain for their first word.
fn with_domain(program: &Command) -> Vec<&str> {
    let takes_one = |command: &&Command| command.get_positionals().next().is_some_and(|arg| arg.get_id() == DOMAIN);
    program.get_subcommands().filter(takes_one).map(Command::get_name).collect()
}

/// Those that take files behind their first word.
fn with_files(program: &Command) -> Vec<&str> {
    let is_file = |arg: &Arg| arg.get_value_hint() == ValueHint::FilePath;
    program.get_subcommands().filter(|command| command.get_positionals().any(is_file)).map(Command::get_name).collect()
}

/// The names that `help` takes.
fn help_topics(program: &Command) -> Vec<&str> {
    program.get_subcommands().map(Command::get_name).collect()
}

/// The one place where `mark` stands gets `more` behind it.
fn behind(text: &str, mark: &str, more: &str) -> String {
    assert_eq!(text.matches(mark).count(), 1, "the generator writes something else than {mark:?}:\n{text}");
    text.replace(mark, &format!("{mark}{more}"))
}

/// The generated part offers options for whatever comes behind a command.
fn bash(mut text: String, program: &Command) -> String {
    for name in with_domain(program) {
        let later = if with_files(program).contains(&name) { "_hotcore_files" } else { "_hotcore_words" };
        let more = format!(
            r#"
            if [[ "${{cur}}" != -* && "${{prev}}" == {name} ]] ; then
                _hotcore_words "$(hotcore list 2>/dev/null | cut -d' ' -f1)"
                return 0
            elif [[ "${{cur}}" != -* && "${{prev}}" != -* ]] ; then
                {later}
                return 0
            fi"#
        );
        text = behind_case(&text, name, &more);
    }
    let topics = help_topics(program).join(" ");
    let more = format!(
        r#"
            if [[ "${{cur}}" != -* && "${{prev}}" == help ]] ; then
                _hotcore_words "{topics}"
                return 0
            fi"#
    );
    text = behind_case(&text, "help", &more);
    let words = r#"# Offers these words and nothing else, no files either.
_hotcore_words() {
    compopt +o default +o bashdefault 2>/dev/null
    COMPREPLY=( $(compgen -W "$1" -- "${COMP_WORDS[COMP_CWORD]}") )
}

_hotcore_files() {
    compopt -o filenames 2>/dev/null
    local IFS=$'\n'
    COMPREPLY=( $(compgen -f -- "${COMP_WORDS[COMP_CWORD]}") )
}

"#;
    format!("{words}{text}")
}

/// `more` right behind the opening of the command's case.
fn behind_case(text: &str, name: &str, more: &str) -> String {
    behind(text, &format!("\n        hotcore__subcmd__{name})"), more)
}

/// Where the definition says that a host is wanted, zsh offers the hosts that it knows.
fn zsh(text: &str) -> String {
    assert!(text.contains(":_hosts'"), "the generator writes something else:\n{text}");
    let domains = r#"

_hotcore_domains() {
    local -a domains
    domains=(${(f)"$(hotcore list 2>/dev/null | cut -d' ' -f1)"})
    _wanted domains expl 'mapped domain' compadd -a domains
}"#;
    behind(&text.replace(":_hosts'", ":_hotcore_domains'"), "\nautoload -U is-at-least", domains)
}

/// The generated part knows options only, and files are offered everywhere.
fn fish(text: String, program: &Command) -> String {
    let (domains, files) = (with_domain(program).join(" "), with_files(program).join(" "));
    let topics = help_topics(program).join(" ");
    let more = format!(
        r#"
# The word before is one of these commands.
function __fish_hotcore_behind
    set -l words (commandline -opc)
    __fish_hotcore_using_subcommand $argv
    and contains -- $words[-1] $argv
end

function __fish_hotcore_domains
    hotcore list 2>/dev/null | string split -f 1 ' '
end

complete -c hotcore -n "not __fish_hotcore_using_subcommand {files}" -f
complete -c hotcore -n "__fish_hotcore_behind {domains}" -f -a "(__fish_hotcore_domains)" -d 'mapped domain'
complete -c hotcore -n "__fish_hotcore_behind help" -f -a "{topics}"
"#
    );
    text + &more
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{
        super::{super::arguments::Arguments, is_current},
        *,
    };

    #[test]
    fn the_completions_are_current() {
        for (shell, path) in [
            (Shell::Bash, "docs/completions/hotcore.bash"),
            (Shell::Zsh, "docs/completions/_hotcore"),
            (Shell::Fish, "docs/completions/hotcore.fish"),
        ] {
            is_current(path, &completions(shell, &Arguments::command()));
        }
    }

    #[test]
    fn what_takes_a_domain_or_a_file_is_read_off_the_definitions() {
        let shown = shown(&Arguments::command());
        assert_eq!(with_domain(&shown), ["add", "remove", "cert", "retry"]);
        assert_eq!(with_files(&shown), ["cert"]);
    }

    #[test]
    fn nothing_hidden_is_offered() {
        let program = Arguments::command();
        assert!(program.get_subcommands().flat_map(Command::get_arguments).any(|arg| arg.get_id() == "surplus"));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(!completions(shell, &program).contains("surplus"), "{shell}");
        }
        let hidden = Command::new("hotcore").subcommand(Command::new("help").arg(Arg::new("command")));
        let hidden = hidden
            .subcommand(Command::new("secret").hide(true))
            .subcommand(Command::new("open").arg(Arg::new("mystery").long("mystery").hide(true)))
            .subcommand(Command::new("add").arg(Arg::new(DOMAIN)))
            .subcommand(Command::new("cert").arg(Arg::new("files").value_name("FILE")));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = completions(shell, &hidden);
            assert!(text.contains("open") && !text.contains("secret") && !text.contains("mystery"), "{shell}: {text}");
        }
    }

    #[test]
    #[should_panic(expected = "the generator writes something else")]
    fn a_place_that_is_not_there_is_noticed() {
        behind("one two", "three", "four");
    }
}
