//! The manual pages in docs/man, by the programs that show them: mandoc and groff.

use std::process::Command;

use super::cli::run;

const PAGES: [&str; 3] = ["hotcore.1", "hotcore.8", "hotcore-protocol.7"];

fn path(page: &str) -> String {
    format!("{}/docs/man/{page}", env!("CARGO_MANIFEST_DIR"))
}

/// mandoc wants a date. One that is right would change with each build, and then the committed page would not be that of the
/// program.
#[test]
fn mandoc_finds_nothing_but_that_there_is_no_date() {
    for page in PAGES {
        let outcome = run(Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(path(page)));
        let found: Vec<_> = [outcome.stdout.lines(), outcome.stderr.lines()].into_iter().flatten().collect();
        assert!(found.len() == 1 && found[0].contains("WARNING: missing date, using \"\": TH"), "{page}: {found:#?}");
    }
}

#[test]
fn groff_shows_each_page_whole_and_without_a_warning() {
    for page in PAGES {
        for columns in [60, 80, 132] {
            let mut groff = Command::new("groff");
            groff.args(["-ww", "-man", "-Tutf8", "-P-cbou", &format!("-rLL={columns}n")]).arg(path(page));
            let outcome = run(&mut groff);
            assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{page} in {columns} columns");
            for text in ["\nNAME\n", "\nSEE ALSO\n", "hotcore"] {
                assert!(outcome.stdout.contains(text), "{page}: no {text:?} in {}", outcome.stdout);
            }
            // A hyphen of the program's own: a name that is parted cannot be typed.
            assert!(!outcome.stdout.contains('\u{2010}'), "{page} in {columns} columns: {}", outcome.stdout);
        }
    }
}

#[test]
fn letters_that_roff_has_a_mind_of_its_own_about_arrive_as_they_are() {
    let outcome = run(Command::new("groff").args(["-man", "-Tutf8", "-P-cbou"]).arg(path("hotcore.8")));
    for text in ["~/.local/state/hotcore", "--acme-directory <URL>", "Let's Encrypt"] {
        assert!(outcome.stdout.contains(text), "{text}: {}", outcome.stdout);
    }
    let outcome = run(Command::new("groff").args(["-man", "-Tutf8", "-P-cbou"]).arg(path("hotcore-protocol.7")));
    for text in ["add bücher.example 8080", "printf 'add a.com 8080' | nc", "\\x00 stand for"] {
        assert!(outcome.stdout.contains(text), "{text}: {}", outcome.stdout);
    }
}
