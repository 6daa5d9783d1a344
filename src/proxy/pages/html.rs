//! The HTML form of a page: small, readable on a phone, in light and dark.

use std::fmt::Write;

use http::StatusCode;

use super::Remedy;

/// A whole document. Every text is escaped here.
pub(super) fn page(title: &str, status: StatusCode, reason: &str, remedy: &Remedy) -> String {
    let mut page = String::with_capacity(2048);
    let title = Escaped(title);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{} {title}</title>\n<style>{STYLE}</style>\n<main>\n<p class=\"status\">{}</p>\n<h1>{title}</h1>\n",
        status.as_str(),
        status.as_str(),
    );
    let _ = writeln!(page, "<p>{}.</p>", Escaped(&capitalised(reason)));
    if !remedy.sentence.is_empty() {
        let end = if remedy.command.is_some() { ":" } else { "" };
        let _ = writeln!(page, "<p class=\"remedy\">{}{end}</p>", Escaped(&remedy.sentence));
    }
    if let Some(command) = &remedy.command {
        let _ = writeln!(page, "<pre><code>{}</code></pre>", Escaped(command));
    }
    page.push_str("</main>\n<footer>hotcore</footer>\n</html>\n");
    page
}

const STYLE: &str = "\
:root{--ground:#faf9f7;--text:#23211f;--quiet:#6f6a64;--mark:#b4411f;--box:#efece7}\
@media(prefers-color-scheme:dark){:root{--ground:#1a1917;--text:#e9e5df;--quiet:#9b958c;--mark:#ee8a63;--box:#272522}}\
*{box-sizing:border-box}\
html{font:1.05rem/1.55 system-ui,sans-serif;background:var(--ground);color:var(--text)}\
body{min-height:100vh;min-height:100dvh;margin:0;padding:1.5rem;display:flex;flex-direction:column}\
main{width:100%;max-width:36rem;margin:auto;padding:2rem 0;overflow-wrap:anywhere}\
.status{margin:0;color:var(--mark);font-weight:600;letter-spacing:.08em}\
h1{margin:.1em 0 .6em;font-size:clamp(1.6rem,6vw,2.2rem);line-height:1.2}\
.remedy{color:var(--quiet)}\
pre{margin:0;padding:.8rem 1rem;border-radius:.5rem;background:var(--box);white-space:pre-wrap}\
code{font:.95em/1.5 ui-monospace,monospace}\
footer{max-width:36rem;width:100%;margin:0 auto;color:var(--quiet);font-size:.85rem}";

/// Reasons are written as the middle of a sentence; on a page they are one. A domain name stays as it is.
fn capitalised(reason: &str) -> String {
    let first_word = reason.split(' ').next().unwrap_or_default();
    if first_word.contains('.') {
        return reason.to_owned();
    }
    let mut characters = reason.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

/// Text within HTML, in an element or a quoted attribute.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}
