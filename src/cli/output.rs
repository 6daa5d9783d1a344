//! What goes to the terminal: data to stdout, talk to stderr, both through one writer.
//!
//! A closed pipe is a success and never a panic (B230). Colour only on a terminal and never with `NO_COLOR`; text from
//! outside is escaped, so that a name cannot paint the screen (B232).

use std::{
    fmt,
    io::{self, BufWriter, IsTerminal, Write},
};

use super::failure::Failure;

/// Both streams of the program.
pub(super) struct Output {
    data: Stream,
    talk: Stream,
}

impl Output {
    /// The real ones.
    #[expect(clippy::disallowed_methods, reason = "the edge where the environment is read")]
    pub(super) fn of_this_process() -> Self {
        // no-color.org: set and not empty.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let (data_terminal, talk_terminal) = (stdout.is_terminal(), stderr.is_terminal());
        Self {
            data: Stream::new(Box::new(BufWriter::new(stdout)), data_terminal, plain),
            talk: Stream::new(Box::new(stderr), talk_terminal, plain),
        }
    }

    /// Whether a person looks at the data.
    pub(super) fn is_terminal(&self) -> bool {
        self.data.terminal
    }

    /// Whether the reader of the data has gone: there is no use in making more.
    pub(super) fn is_closed(&self) -> bool {
        self.data.closed
    }

    /// A line of data.
    pub(super) fn data(&mut self, line: impl fmt::Display) {
        self.data.write(format_args!("{line}\n"));
    }

    /// A line of data whose first part is marked.
    pub(super) fn data_marked(&mut self, mark: Mark, first: impl fmt::Display, rest: impl fmt::Display) {
        let first = self.data.marked(mark, first);
        self.data(format_args!("{first}{rest}"));
    }

    /// A line, or more, of data for programs.
    pub(super) fn json(&mut self, value: &serde_json::Value) {
        self.data(format_args!("{value:#}"));
    }

    /// Data that has its own line breaks.
    pub(super) fn data_as_it_is(&mut self, text: impl fmt::Display) {
        self.data.write(format_args!("{text}"));
    }

    /// What the argument parser says, to be shown as data or as talk.
    pub(super) fn answer(&mut self, is_talk: bool, text: &clap::builder::StyledStr) {
        let stream = if is_talk { &mut self.talk } else { &mut self.data };
        if stream.coloured {
            stream.write(format_args!("{}", text.ansi()));
        } else {
            stream.write(format_args!("{text}"));
        }
    }

    /// A line of talk. The data so far comes first where both go to the same place.
    pub(super) fn talk(&mut self, line: impl fmt::Display) {
        self.data.flush();
        self.talk.write(format_args!("{line}\n"));
    }

    /// A line of talk whose first word is marked.
    pub(super) fn talk_marked(&mut self, mark: Mark, first: impl fmt::Display, rest: impl fmt::Display) {
        let first = self.talk.marked(mark, first);
        self.talk(format_args!("{first} {rest}"));
    }

    /// Shows the data so far, where the next line takes its time.
    pub(super) fn flush(&mut self) {
        self.data.flush();
    }

    /// Everything is written, or the reason why not.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.data.flush();
        match self.data.failed.take() {
            None => Ok(()),
            Some(cause) => Err(Failure::refused(format_args!("cannot write the output: {cause}"))),
        }
    }
}

/// What a piece of text means; the terminal shows it as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
}

impl Mark {
    /// Select Graphic Rendition, ECMA-48 8.3.117: bold, and green or red.
    fn start(self) -> &'static str {
        match self {
            Self::Good => "\u{1b}[1;32m",
            Self::Bad => "\u{1b}[1;31m",
        }
    }
}

/// Text from outside, made harmless: everything that does not print itself is escaped, quotes are left alone.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' | '\'' => write!(f, "{character}")?,
                _ => write!(f, "{}", character.escape_debug())?,
            }
        }
        Ok(())
    }
}

struct Stream {
    to: Box<dyn Write>,
    terminal: bool,
    coloured: bool,
    closed: bool,
    failed: Option<io::Error>,
}

impl Stream {
    fn new(to: Box<dyn Write>, terminal: bool, plain: bool) -> Self {
        Self { to, terminal, coloured: terminal && !plain, closed: false, failed: None }
    }

    fn marked(&self, mark: Mark, text: impl fmt::Display) -> String {
        if self.coloured { format!("{}{text}\u{1b}[0m", mark.start()) } else { text.to_string() }
    }

    fn write(&mut self, text: fmt::Arguments<'_>) {
        if !self.closed {
            let written = self.to.write_fmt(text);
            self.note(written);
        }
    }

    fn flush(&mut self) {
        if !self.closed {
            let flushed = self.to.flush();
            self.note(flushed);
        }
    }

    fn note(&mut self, outcome: io::Result<()>) {
        if let Err(cause) = outcome {
            self.closed = true;
            if cause.kind() != io::ErrorKind::BrokenPipe {
                self.failed = Some(cause);
            }
        }
    }
}

#[cfg(test)]
mod captured {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    /// What was written to both streams.
    #[derive(Default, Clone)]
    pub(in crate::cli) struct Streams {
        data: Sink,
        talk: Sink,
    }

    impl Streams {
        pub(in crate::cli) fn data(&self) -> String {
            String::from_utf8(self.data.0.borrow().clone()).unwrap()
        }

        pub(in crate::cli) fn talk(&self) -> String {
            String::from_utf8(self.talk.0.borrow().clone()).unwrap()
        }
    }

    #[derive(Default, Clone)]
    struct Sink(Rc<RefCell<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        /// Both streams in memory, as a terminal or not.
        pub(in crate::cli) fn captured(terminal: bool) -> (Self, Streams) {
            let streams = Streams::default();
            let stream = |sink: &Sink| Stream::new(Box::new(sink.clone()), terminal, false);
            (Self { data: stream(&streams.data), talk: stream(&streams.talk) }, streams)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Broken(io::ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn output_to(kind: io::ErrorKind) -> Output {
        let stream = || Stream::new(Box::new(Broken(kind)), false, false);
        Output { data: stream(), talk: stream() }
    }

    /// B230.
    #[test]
    fn a_closed_pipe_is_a_success() {
        let mut output = output_to(io::ErrorKind::BrokenPipe);
        output.data("a.com 80");
        assert!(output.is_closed());
        output.data("b.com 80");
        output.talk("nobody reads this");
        assert!(output.finish().is_ok());
    }

    #[test]
    fn a_full_disk_is_a_failure() {
        let mut output = output_to(io::ErrorKind::StorageFull);
        output.data("a.com 80");
        assert!(output.finish().is_err());
    }

    /// B232.
    #[test]
    fn colour_is_for_terminals() {
        for (terminal, expected) in [(false, "error: x\n"), (true, "\u{1b}[1;31merror:\u{1b}[0m x\n")] {
            let (mut output, streams) = Output::captured(terminal);
            output.talk_marked(Mark::Bad, "error:", "x");
            assert_eq!(streams.talk(), expected);
        }
        assert!(!Stream::new(Box::new(io::sink()), true, true).coloured, "NO_COLOR");
    }

    /// B232.
    #[test]
    fn text_from_outside_cannot_paint_the_screen() {
        let text = Escaped("\u{1b}[31mred\n\u{7}\u{9b}2J\u{202e}\u{200b}").to_string();
        assert!(text.chars().all(|character| character.is_ascii_graphic()), "{text}");
        assert_eq!(Escaped("bücher.example \"it's\"").to_string(), "bücher.example \"it's\"");
    }
}
