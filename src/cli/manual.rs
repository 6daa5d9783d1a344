//! The manual pages and the completions of shells, made from the definitions of the commands and from docs/PROTOCOL.md.
//!
//! They are committed, so that a package needs no step to make them, and the tests here compare them with what would be made
//! now. After a change of a command, an option or the protocol:
//!
//! ```text
//! HOTCORE_RENEW=1 cargo test --lib cli::manual
//! ```
//!
//! Never here: text about a single option, which stands in its definition. What no definition knows (files, signals, examples)
//! is in docs/man/*.md, with comments where the rest goes. None of this is in the program.

mod commands;
mod completions;
mod markdown;

use std::{fs, path::Path};

use clap::CommandFactory as _;

use super::{arguments::Arguments, failure::Exit, unanswered::VERSION};

/// Commands for those who run the service; they are told in section 8 and only named in section 1.
const SERVICE: [&str; 2] = ["serve", "install"];

/// A manual page.
struct Page {
    name: &'static str,
    section: u8,
    /// What the page is a part of, in the middle of its first line.
    manual: &'static str,
}

const PAGES: [Page; 3] = [
    Page { name: "hotcore", section: 1, manual: "User Commands" },
    Page { name: "hotcore", section: 8, manual: "System Administration" },
    Page { name: "hotcore-protocol", section: 7, manual: "Protocols" },
];

impl Page {
    fn path(&self) -> String {
        format!("docs/man/{}.{}", self.name, self.section)
    }

    /// The page in roff, as man(7) has it. Its date is empty: one that is right would change with each build.
    fn render(&self) -> String {
        let source = self.path() + ".md";
        let text = read(&source);
        let head = [
            format!(".\\\" Made of {source} and what it names by HOTCORE_RENEW=1 cargo test --lib cli::manual\n"),
            format!(
                ".TH {} {} \"\" \"hotcore {VERSION}\" \"{}\"\n",
                self.name.to_uppercase(),
                self.section,
                self.manual
            ),
            // Flush left, and no word is parted (some macros of groff switch that on again, unless HY says no): most words here are
            // to be typed as they are.
            ".nr HY 0\n.nh\n.ad l\n".to_owned(),
        ];
        head.concat() + &markdown::roff(&text, &insertion)
    }
}

/// What a comment of a page stands for.
fn insertion(place: &str) -> String {
    let program = Arguments::command();
    match place {
        "the commands" => commands::for_who_types_them(&program, &SERVICE),
        "the options of all commands" => commands::options_of_all(&program),
        "the commands of the service" => commands::of_the_service(&program, &SERVICE),
        "docs/PROTOCOL.md" => markdown::roff_without_title(&read(place), &insertion),
        _ => panic!("no page knows what to put in the place of <!-- {place} -->"),
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|cause| panic!("{path}: {cause}"))
}

/// Compares a committed file with what it should be, or renews it.
fn is_current(path: &str, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "how a person asks for new files")]
    let renew = std::env::var_os("HOTCORE_RENEW").is_some_and(|value| !value.is_empty());
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if renew {
        return fs::write(place, text).unwrap();
    }
    let committed = fs::read_to_string(place).unwrap_or_default();
    let mut lines = committed.lines().zip(text.lines()).enumerate();
    if let Some((at, (old, new))) = lines.find(|(_, (old, new))| old != new) {
        panic!("{path}:{} is not current:\n  {old}\nshould be\n  {new}\n{RENEW}", at + 1);
    }
    assert!(committed == text, "{path} is not current: it has another length. {RENEW}");
}

const RENEW: &str = "Renew it by: HOTCORE_RENEW=1 cargo test --lib cli::manual";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn the_manual_pages_are_current() {
        for page in PAGES {
            is_current(&page.path(), &page.render());
        }
    }

    /// A page as a person reads it: without fonts and escapes.
    fn words(section: u8) -> String {
        let page = PAGES.iter().find(|page| page.section == section).unwrap();
        markdown::plain(&page.render())
    }

    #[test]
    fn each_command_and_each_option_is_in_the_page_for_it() {
        let mut program = Arguments::command();
        program.build();
        let mut seen = 0;
        for command in program.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let page = words(if SERVICE.contains(&name) { 8 } else { 1 });
            let (_, part) =
                page.split_once(&format!("\n.SS \"hotcore {name}\"\n")).unwrap_or_else(|| panic!("no {name}"));
            let part = part.split("\n.S").next().unwrap();
            let is_shown = |arg: &&Arg| !arg.is_hide_set() && !commands::is_of_all(arg);
            for arg in command.get_arguments().filter(is_shown) {
                let head = match arg.get_long() {
                    Some(long) => format!("\n.TP\n--{long}"),
                    None => format!("\n.TP\n{}\n", commands::placeholder(arg)),
                };
                assert!(part.contains(&head), "{name}: no {head:?} in {part}");
                seen += 1;
            }
            assert!(words(1).contains(&format!("\n.SS \"hotcore {name}\"\n")), "{name} is not even named in section 1");
        }
        assert!(seen > 15, "{seen}");
        for option in ["--control <ADDR>", "-h, --help", "-V, --version", "--json"] {
            assert!(words(1).contains(&format!("\n.TP\n{option}\n")), "{option}");
        }
    }

    #[test]
    fn nothing_that_is_hidden_is_in_a_page() {
        let mut hidden = BTreeSet::new();
        each_argument(&Arguments::command(), &mut |arg| {
            if arg.is_hide_set() {
                hidden.insert(arg.get_long().map_or_else(|| format!("[{}]", arg.get_id()), |long| format!("--{long}")));
            }
        });
        assert!(hidden.contains("[surplus]"));
        for (section, hidden) in [1, 8].into_iter().flat_map(|section| hidden.iter().map(move |name| (section, name))) {
            assert!(!words(section).contains(hidden.as_str()), "{hidden} in section {section}");
        }
    }

    /// Those that options have, and those that the source reads besides.
    #[test]
    fn each_variable_of_the_environment_is_in_a_page() {
        let mut variables = BTreeSet::new();
        each_argument(&Arguments::command(), &mut |arg| {
            variables.extend(arg.get_env().map(|name| name.to_str().unwrap().to_owned()));
        });
        let twins = variables.len();
        variables.extend(variables_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")));
        assert!(twins > 9 && variables.len() > twins && variables.contains("HOTCORE_LOG"), "{variables:?}");
        let others = ["NO_COLOR", "STATE_DIRECTORY", "XDG_STATE_HOME", "CAROOT"].map(str::to_owned);
        let pages = [words(1), words(8)].concat();
        for name in variables.into_iter().chain(others) {
            assert!(pages.contains(&name), "{name}");
        }
    }

    /// Our own variables in the texts of the source, but for what is there for tests alone.
    fn variables_in(folder: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            if ["tests", "testing", "manual"].contains(&name) {
            } else if path.is_dir() {
                found.extend(variables_in(&path));
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let program = text.split("#[cfg(test)]\nmod tests").next().unwrap();
                let is_name = |word: &&str| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
                let quoted = program.split('"').filter(|word| word.starts_with("HOTCORE_"));
                found.extend(quoted.filter(is_name).map(str::to_owned));
            }
        }
        found
    }

    #[test]
    fn each_message_and_each_limit_is_in_the_page_of_the_protocol() {
        let page = words(7);
        let help = Arguments::command().get_after_help().unwrap().to_string();
        let messages: Vec<_> =
            help.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' ')).collect();
        assert!(messages.len() > 9, "{messages:?}");
        for message in messages {
            assert!(
                page.contains(&format!("\n.TP\n{message}\n")) || page.contains(&format!("{message}, ")),
                "{message}"
            );
        }
        for constant in ["CONTROL_PORT", "REPLY_BYTES_MAX", "DOMAIN_BYTES_MAX"] {
            assert!(page.contains(&format!("\n.TP\n{constant}\n")), "{constant}");
        }
    }

    #[test]
    fn each_exit_code_is_in_the_pages() {
        for exit in [Exit::Done, Exit::Refused, Exit::Usage, Exit::NotReachable] {
            let pages: &[u8] = match exit {
                Exit::Done | Exit::Refused | Exit::Usage => &[1, 8],
                Exit::NotReachable => &[1],
            };
            for &section in pages {
                let page = words(section);
                let (_, part) = page.split_once("\n.SH \"EXIT STATUS\"\n").unwrap();
                let part = part.split("\n.SH").next().unwrap();
                assert!(part.contains(&format!(".TP\n{}\n", exit as u8)), "{exit:?} in section {section}");
            }
        }
    }

    /// Calls `look` with each argument.
    fn each_argument(program: &Command, look: &mut dyn FnMut(&Arg)) {
        program.get_arguments().for_each(&mut *look);
        program.get_subcommands().for_each(|command| each_argument(command, look));
    }
}
