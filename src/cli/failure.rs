//! How a command ends when it does not end well: the exit code, what went wrong, and what to do.

use std::{fmt, process::ExitCode};

use super::output::{Mark, Output};

/// The exit codes (B227).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, which includes "it was so already".
    Done = 0,
    /// The daemon refuses, or the system. A name or a port that the daemon would refuse is refused here with the same code, so
    /// that it does not matter who of the two looks first.
    Refused = 1,
    /// The words make no command: too few of them, too many, an unknown option; nothing was sent.
    Usage = 2,
    /// The daemon was not reached.
    NotReachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What went wrong, and what to do about it.
#[derive(Debug)]
pub(super) struct Failure {
    exit: Exit,
    /// One thing each, worst first. Without: all has been said already.
    wrongs: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, wrong: impl fmt::Display) -> Self {
        Self { exit, wrongs: vec![wrong.to_string()], hints: Vec::new() }
    }

    /// The command line is wrong.
    pub(super) fn usage(wrong: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, wrong)
    }

    /// The system or the daemon refuses.
    pub(super) fn refused(wrong: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, wrong)
    }

    /// The user has been told already.
    pub(super) fn told(exit: Exit) -> Self {
        Self { exit, wrongs: Vec::new(), hints: Vec::new() }
    }

    /// Several things are refused.
    pub(super) fn all_refused(wrongs: impl IntoIterator<Item = String>) -> Self {
        Self { exit: Exit::Refused, wrongs: wrongs.into_iter().collect(), hints: Vec::new() }
    }

    /// How the program will end.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// A line that says what to do.
    pub(super) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// What went wrong, in one line.
    pub(super) fn summary(&self) -> String {
        self.wrongs.join("; ")
    }

    /// Tells the user; gives the exit code.
    pub(super) fn report(&self, output: &mut Output) -> Exit {
        for wrong in &self.wrongs {
            output.talk_marked(Mark::Bad, "error:", wrong);
        }
        for hint in &self.hints {
            output.talk(format_args!("  {hint}"));
        }
        self.exit
    }
}
