//! Rust source with its comments and literals blanked, so that words in them are not taken for code.

/// Replaces each character of a comment, string or character literal by a space; line breaks stay.
///
/// The delimiting quotes are blanked as well, so that what remains is code and nothing else.
pub(crate) fn code_only(source: &str) -> String {
    let mut lexer = Lexer { rest: source, code: String::with_capacity(source.len()), previous: ' ' };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.code
}

struct Lexer<'s> {
    rest: &'s str,
    code: String,
    previous: char,
}

impl Lexer<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.blank(rest.find('\n').unwrap_or(rest.len()));
        } else if rest.starts_with("/*") {
            self.blank(block_comment(rest));
        } else if let Some(length) = self.literal() {
            self.blank(length);
        } else if let Some(character) = rest.chars().next() {
            self.code.push(character);
            self.previous = character;
            self.rest = &rest[character.len_utf8()..];
        }
    }

    fn blank(&mut self, length: usize) {
        let (blanked, rest) = self.rest.split_at(length);
        self.code.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.previous = ' ';
        self.rest = rest;
    }

    /// The length of the literal that begins here, if one does.
    fn literal(&self) -> Option<usize> {
        let is_inside_word = self.previous.is_alphanumeric() || self.previous == '_';
        let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
            let after = self.rest.strip_prefix(prefix).unwrap_or_default();
            !is_inside_word && after.starts_with(['"', '#', '\''])
        });
        let prefix = prefix.unwrap_or_default();
        let rest = &self.rest[prefix.len()..];
        let length = if prefix.ends_with('r') {
            raw_string(rest)?
        } else if rest.starts_with('"') {
            quoted(rest, '"')
        } else if rest.starts_with('\'') && is_character(rest) {
            quoted(rest, '\'')
        } else {
            return None;
        };
        Some(prefix.len() + length)
    }
}

/// Rust's block comments nest.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// `None` for `r#name`, which is a word and no string.
fn raw_string(text: &str) -> Option<usize> {
    let n_hashes = text.len() - text.trim_start_matches('#').len();
    let body = text[n_hashes..].strip_prefix('"')?;
    let end = format!("\"{}", &text[..n_hashes]);
    let opening = n_hashes + 1;
    Some(body.find(&end).map_or(text.len(), |at| opening + at + end.len()))
}

fn quoted(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime.
fn is_character(text: &str) -> bool {
    let mut characters = text.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &str) {
        assert_eq!(code_only(source).split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn comments_are_blanked() {
        check("a // todo\nb /* x /* y */ z */ c", "a b c");
        check("a /* never closed", "a");
    }

    #[test]
    fn strings_are_blanked() {
        check(r#"f("a \" // b", 'x', '"', b"c", b'\'')"#, "f( , , , , )");
        check("f(r\"a\\\", r#\"b \" c\"#, br##\"d \"# e\"##) g", "f( , , ) g");
        check("a \"never closed", "a");
    }

    #[test]
    fn words_and_lifetimes_are_kept() {
        check("fn f<'a>(x: &'a str, r#type: u8, number: u8)", "fn f<'a>(x: &'a str, r#type: u8, number: u8)");
        check("bar\"x\"", "bar");
    }

    #[test]
    fn lines_stay_where_they_are() {
        let source = "a\n/* b\nc */ d\n\"e\nf\" g\n";
        let lines: Vec<_> = code_only(source).lines().map(|line| line.trim().to_owned()).collect();
        assert_eq!(lines, ["a", "", "d", "", "g"]);
    }
}
