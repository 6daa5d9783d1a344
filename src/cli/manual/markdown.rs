//! Markdown as roff for man(7): the part of it that the pages use. What is not known here ends the test that makes a page.
//!
//! Tables become lists, since terminals are narrow: the first column is what is explained by the others.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

/// A blank at which no line is broken and that is not left out at an end; no page has one of its own.
const HARD_BLANK: char = '\u{a0}';

/// What stands in the place of `<!-- words -->`, in roff.
pub(super) type Insertion<'a> = &'a dyn Fn(&str) -> String;

/// A page or a part of one. A heading of the first level, `# name - what it is`, is the section NAME.
pub(super) fn roff(markdown: &str, insertion: Insertion<'_>) -> String {
    Writer::new(insertion, true).write(markdown)
}

/// The same without the heading of the first level; what stands before the second heading is the section DESCRIPTION.
pub(super) fn roff_without_title(markdown: &str, insertion: Insertion<'_>) -> String {
    Writer::new(insertion, false).write(markdown)
}

/// Letters that groff shows as others, and those beyond ASCII, by their names: groff_char(7).
pub(super) fn portable(roff: &str) -> String {
    let mut text = String::with_capacity(roff.len());
    for line in roff.replace("\\\\", "\\(rs").replace("\\*(Aq", "\\(aq").lines() {
        for letter in line.trim_end_matches(' ').chars() {
            match letter {
                '~' => text.push_str("\\(ti"),
                '^' => text.push_str("\\(ha"),
                '`' => text.push_str("\\(ga"),
                HARD_BLANK => text.push_str("\\ "),
                letter if letter.is_ascii() => text.push(letter),
                letter => text.push_str(&format!("\\[u{:04X}]", u32::from(letter))),
            }
        }
        text.push('\n');
    }
    text
}

/// What is left for a reader: no fonts, no names of letters.
pub(super) fn plain(roff: &str) -> String {
    let names = [
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\&", ""),
        ("\\(aq", "'"),
        ("\\(ti", "~"),
        ("\\(ha", "^"),
        ("\\(ga", "`"),
        ("\\(rs", "\\"),
        ("\\ ", " "),
        ("\\-", "-"),
    ];
    names.iter().fold(roff.to_owned(), |text, (name, letter)| text.replace(name, letter))
}

struct Writer<'a> {
    insertion: Insertion<'a>,
    has_title: bool,
    done: String,
    /// The line that is being gathered.
    line: Vec<Inline>,
    style: fn(String) -> Inline,
    /// The next paragraph needs no macro before it: the one that is there has begun it.
    begun: bool,
    /// In a list, a further paragraph is indented as the first.
    in_list: bool,
    /// The number of the next item of a list that has numbers.
    number: Option<u64>,
    code: Option<String>,
    link: Option<String>,
    table: Option<Table>,
}

#[derive(Default)]
struct Table {
    head: Vec<Vec<Inline>>,
    row: Vec<Vec<Inline>>,
}

impl<'a> Writer<'a> {
    fn new(insertion: Insertion<'a>, has_title: bool) -> Self {
        Writer {
            insertion,
            has_title,
            done: String::new(),
            line: Vec::new(),
            style: roman,
            begun: true,
            in_list: false,
            number: None,
            code: None,
            link: None,
            table: None,
        }
    }

    fn write(mut self, markdown: &str) -> String {
        for event in Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_DEFINITION_LIST) {
            match event {
                Event::Start(tag) => self.start(tag),
                Event::End(tag) => self.end(tag),
                Event::Text(text) if self.code.is_some() => self.code.get_or_insert_default().push_str(&text),
                Event::Text(text) | Event::InlineHtml(text) => self.text(&text),
                Event::SoftBreak => self.text("\n"),
                Event::Code(text) => self.line.push(bold(code(&text))),
                Event::Html(text) => self.insert(&text),
                event => panic!("a manual page has no {event:?}"),
            }
        }
        self.done
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } | Tag::HtmlBlock | Tag::DefinitionList => {}
            Tag::Paragraph => self.paragraph(),
            Tag::List(number) => {
                assert!(!self.in_list, "no list in a list");
                (self.number, self.in_list) = (number, true);
            }
            Tag::Item => {
                match self.number {
                    Some(number) => self.control("IP", &[&format!("{number}."), "4"]),
                    None => self.control("IP", &["\\(bu", "2"]),
                }
                self.number = self.number.map(|number| number + 1);
                self.begun = true;
            }
            Tag::DefinitionListTitle => self.control("TP", &[]),
            Tag::DefinitionListDefinition => (self.begun, self.in_list) = (true, true),
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.flush();
                self.code = Some(String::new());
            }
            Tag::Table(_) => self.table = Some(Table::default()),
            Tag::TableHead | Tag::TableRow | Tag::TableCell => {}
            Tag::Strong => self.style = bold,
            Tag::Emphasis => self.style = italic,
            Tag::Link { dest_url, .. } => self.link = Some(dest_url.into_string()),
            tag => panic!("a manual page has no {tag:?}"),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(HeadingLevel::H1) if self.has_title => self.heading("SH", |_| "NAME".to_owned(), true),
            TagEnd::Heading(HeadingLevel::H1) => self.heading("SH", |_| "DESCRIPTION".to_owned(), false),
            TagEnd::Heading(HeadingLevel::H2) => self.heading("SH", |words| words.to_uppercase(), false),
            TagEnd::Heading(_) => self.heading("SS", str::to_owned, false),
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::DefinitionListTitle => self.flush(),
            TagEnd::DefinitionListDefinition => {
                self.flush();
                self.in_list = false;
            }
            TagEnd::List(_) => self.in_list = false,
            TagEnd::CodeBlock => self.code_block(),
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.line);
                self.table.get_or_insert_default().row.push(cell);
            }
            TagEnd::TableHead => self.table_head(),
            TagEnd::TableRow => self.table_row(),
            TagEnd::Table => self.table = None,
            TagEnd::Strong | TagEnd::Emphasis => self.style = roman,
            TagEnd::Link => {
                let address = self.link.take().unwrap();
                if address.contains("://") {
                    self.text(&format!(" <{address}>"));
                }
            }
            TagEnd::DefinitionList | TagEnd::HtmlBlock => {}
            tag => panic!("a manual page has no end of {tag:?}"),
        }
    }

    /// Text that touches text is one piece, so that a point at the beginning of a line is seen and escaped.
    fn text(&mut self, text: &str) {
        match (self.line.last_mut(), (self.style)(text.to_owned())) {
            (Some(Inline::Roman(before)), Inline::Roman(text)) => before.push_str(&text),
            (_, inline) => self.line.push(inline),
        }
    }

    fn control(&mut self, name: &str, words: &[&str]) {
        self.flush();
        self.push(Roff::new().control(name, words.iter().copied()));
    }

    fn paragraph(&mut self) {
        if !self.begun {
            self.control(if self.in_list { "IP" } else { "PP" }, &[]);
        }
        self.begun = false;
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.push(Roff::new().text(line));
            self.begun = false;
        }
    }

    fn push(&mut self, roff: &Roff) {
        let text = roff.render();
        self.done.push_str(&portable(text.strip_prefix(&Roff::new().render()).unwrap()));
    }

    fn heading(&mut self, name: &str, shown: impl Fn(&str) -> String, is_kept: bool) {
        let line = std::mem::take(&mut self.line);
        let words: String = line.iter().map(words).collect();
        self.control(name, &[&shown(&words).replace('-', "\\-")]);
        if is_kept {
            self.push(Roff::new().text(line));
        }
        self.begun = true;
    }

    fn code_block(&mut self) {
        let code = self.code.take().unwrap();
        self.control("IP", &[]);
        self.control("EX", &[]);
        for line in code.lines() {
            self.push(Roff::new().text([roman(line)]));
        }
        self.control("EE", &[]);
        self.begun = false;
    }

    /// With two columns the head is a row like others; with more, it tells them apart in each row.
    fn table_head(&mut self) {
        let table = self.table.get_or_insert_default();
        table.head = std::mem::take(&mut table.row);
        if let [first, second] = &table.head[..] {
            table.row = [first, second].map(|cell| vec![italic(cell.iter().map(words).collect::<String>())]).into();
            self.table_row();
        }
    }

    fn table_row(&mut self) {
        let table = self.table.get_or_insert_default();
        let heads: Vec<String> = table.head.iter().map(|cell| cell.iter().map(words).collect()).collect();
        let mut cells = std::mem::take(&mut table.row).into_iter();
        self.control("TP", &[]);
        self.line = cells.next().unwrap();
        self.flush();
        for (at, (cell, head)) in cells.zip(heads.iter().skip(1)).enumerate() {
            if at > 0 {
                self.control("br", &[]);
            }
            if heads.len() > 2 {
                self.line = vec![italic(head.as_str()), roman(": ")];
            }
            self.line.extend(cell);
            self.flush();
        }
    }

    fn insert(&mut self, html: &str) {
        let place = html.trim().strip_prefix("<!-- ").and_then(|html| html.strip_suffix(" -->"));
        let part = (self.insertion)(place.unwrap_or_else(|| panic!("no comment of one line: {html}")));
        self.flush();
        // A paragraph before it has ended, and none may touch the first line of the part.
        if !self.begun && !part.starts_with('.') {
            self.control("PP", &[]);
        }
        self.done.push_str(&part);
        self.begun = false;
    }
}

fn words(inline: &Inline) -> &str {
    match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text,
        Inline::LineBreak => " ",
    }
}

/// Code within a line. Blanks at its ends would not be seen.
fn code(text: &str) -> String {
    if text.trim() == text {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace(' ', &HARD_BLANK.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(markdown: &str) -> String {
        roff(markdown, &|place| format!("({place})\n"))
    }

    #[test]
    fn headings_paragraphs_and_fonts() {
        assert_eq!(
            made("# a - b\n\n## See also\n\nfirst *i* `code-x`\n\nsecond **b**\n\n### Sub-part\n\nthird\n"),
            ".SH NAME\na \\- b\n.SH \"SEE ALSO\"\nfirst \\fIi\\fR \\fBcode\\-x\\fR\n.PP\nsecond \\fBb\\fR\n\
             .SS Sub\\-part\nthird\n"
        );
    }

    #[test]
    fn nothing_is_taken_for_a_request_of_roff() {
        assert_eq!(made("a\n.SH b\n'c"), "a\n\\&.SH b\n\\(aqc\n");
        assert_eq!(made("`.SH` `\\fB`"), "\\fB.SH\\fR \\fB\\(rsfB\\fR\n");
        assert_eq!(made("\\~^\\`ü…"), "\\(ti\\(ha\\(ga\\[u00FC]\\[u2026]\n");
        assert_eq!(made("```\n.x\n\n  y\n```"), ".IP\n.EX\n\\&.x\n\n  y\n.EE\n");
    }

    #[test]
    fn lists_keep_their_paragraphs_together() {
        assert_eq!(made("* a\n* b"), ".IP \\(bu 2\na\n.IP \\(bu 2\nb\n");
        assert_eq!(made("1. a\n\n   b\n2. c\n\nd"), ".IP 1. 4\na\n.IP\nb\n.IP 2. 4\nc\n.PP\nd\n");
        assert_eq!(made("`0`\n: done\n\n`1`\n: not\n\nend"), ".TP\n\\fB0\\fR\ndone\n.TP\n\\fB1\\fR\nnot\n.PP\nend\n");
    }

    #[test]
    fn tables_become_lists() {
        let two = "| a | b |\n|---|---|\n| `c` | d |\n";
        assert_eq!(made(two), ".TP\n\\fIa\\fR\n\\fIb\\fR\n.TP\n\\fBc\\fR\nd\n");
        let three = "| a | b | c |\n|---|---|---|\n| d | e | f |\n";
        assert_eq!(made(three), ".TP\nd\n\\fIb\\fR: e\n.br\n\\fIc\\fR: f\n");
    }

    #[test]
    fn blanks_at_the_ends_of_code_are_seen() {
        assert_eq!(
            made("a ` b ` c `   `"),
            "a \\fBb\\fR c \\fB\"\\ \\ \\ \"\\fR\n",
            "Markdown takes one off at either end"
        );
    }

    #[test]
    fn a_comment_is_replaced_and_a_link_shows_where_it_goes() {
        assert_eq!(made("## A\n\n<!-- here -->\n\nb"), ".SH A\n(here)\n.PP\nb\n");
        assert_eq!(made("[a](https://b/) [c](d.md)"), "a <https://b/> c\n");
    }

    #[test]
    fn a_page_within_a_page_begins_with_its_description() {
        assert_eq!(roff_without_title("# T\n\na\n", &|_| String::new()), ".SH DESCRIPTION\na\n");
    }

    #[test]
    fn plain_text_is_what_was_written() {
        assert_eq!(plain(&made("`--a` \\~/b's")), "--a ~/b's\n");
    }
}
