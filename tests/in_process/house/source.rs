//! The source as the rules of the house look at it: words and marks, without comments, texts and tests.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// One file.
pub(super) struct Source {
    /// From the root of the package.
    pub(super) path: String,
    pub(super) text: String,
    /// Its place in the tree of modules; empty for `lib.rs`.
    pub(super) modules: Vec<String>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let inside = path.strip_prefix("src/").unwrap().strip_suffix(".rs").unwrap();
        let mut modules: Vec<_> = inside.split('/').map(str::to_owned).collect();
        if ["lib", "mod"].contains(&modules.last().unwrap().as_str()) {
            modules.pop();
        }
        Self { path: path.to_owned(), text: text.to_owned(), modules }
    }

    /// A file of tests alone.
    pub(super) fn is_test(&self) -> bool {
        self.modules.iter().any(|name| ["tests", "testing"].contains(&name.as_str()))
    }

    /// What the compiler sees of the program: without comments, texts and tests.
    pub(super) fn tokens(&self) -> Vec<String> {
        if self.is_test() { Vec::new() } else { without_tests(tokens(&self.text)) }
    }
}

/// All files of the program, sorted.
pub(super) fn sources() -> Vec<Source> {
    let files = files_below("src");
    assert!(files.len() > 10, "the sources are elsewhere");
    files.iter().map(|(path, text)| Source::new(path, text)).collect()
}

/// The texts of all tests and of the program, where further tests are.
pub(super) fn tests_and_sources() -> Vec<String> {
    files_below("tests").into_iter().chain(files_below("src")).map(|(_, text)| text).collect()
}

/// Path from the root of the package, and text, of all Rust below a folder, sorted.
fn files_below(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut files) = (vec![root.join(folder)], Vec::<PathBuf>::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    let relative = |path: &PathBuf| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

/// Words and marks of Rust text; `::` is one mark. Comments, texts and characters are left out.
fn tokens(text: &str) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let letter = |at: usize| letters.get(at).copied().unwrap_or('\0');
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let (mut found, mut at) = (Vec::new(), 0);
    while at < letters.len() {
        match (letter(at), letter(at + 1)) {
            ('/', '/') => {
                while at < letters.len() && letter(at) != '\n' {
                    at += 1;
                }
            }
            ('/', '*') => {
                let mut depth = 0;
                loop {
                    match (letter(at), letter(at + 1)) {
                        ('/', '*') => (depth, at) = (depth + 1, at + 2),
                        ('*', '/') => (depth, at) = (depth - 1, at + 2),
                        _ => at += 1,
                    }
                    if depth == 0 || at >= letters.len() {
                        break;
                    }
                }
            }
            ('"', _) => at = behind_text(&letters, at + 1),
            ('r', '"' | '#') if raw_text(&letters, at).is_some() => at = raw_text(&letters, at).unwrap(),
            // A character, or else a lifetime, whose name is a word like others.
            ('\'', '\\') => {
                at += 3;
                while at < letters.len() && letter(at) != '\'' {
                    at += 1;
                }
                at += 1;
            }
            ('\'', _) if letter(at + 2) == '\'' => at += 3,
            (first, _) if is_word(first) => {
                let start = at;
                while is_word(letter(at)) {
                    at += 1;
                }
                // `br"…"` and its kin: the prefix is a word, what follows is found as a text.
                if letter(at) == '"' && letters[start..at].contains(&'r') && at - start <= 2 {
                    at = raw_text(&letters, at - 1).unwrap_or(at);
                }
                found.push(letters[start..at].iter().collect());
            }
            (':', ':') => {
                found.push("::".to_owned());
                at += 2;
            }
            (mark, _) => {
                if !mark.is_whitespace() {
                    found.push(mark.to_string());
                }
                at += 1;
            }
        }
    }
    found
}

/// The place behind the text whose opening quote stands before `at`.
fn behind_text(letters: &[char], mut at: usize) -> usize {
    while let Some(letter) = letters.get(at) {
        match letter {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// The place behind the raw text that begins with the `r` at `at`; `None` if there is none.
fn raw_text(letters: &[char], at: usize) -> Option<usize> {
    let marks = letters.get(at + 1..)?.iter().take_while(|letter| **letter == '#').count();
    let open = at + 1 + marks;
    if letters.get(open) != Some(&'"') {
        return None;
    }
    let is_end = |place: &usize| {
        letters[*place] == '"' && letters[place + 1..].iter().take(marks).filter(|l| **l == '#').count() == marks
    };
    (open + 1..letters.len()).find(is_end).map(|end| end + 1 + marks)
}

/// Leaves out each item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<String>) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at..].iter().map(String::as_str).take(MARK.len()).eq(MARK) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends with its block, or with a semicolon outside of all brackets.
        let mut depth = 0_usize;
        at += MARK.len();
        while at < tokens.len() {
            let token = tokens[at].as_str();
            at += 1;
            match token {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && ["}", ";"].contains(&token) {
                break;
            }
        }
    }
    kept
}
