//! Folds a question into tokens on which patterns and n-grams are matched.
//!
//! The folded text is one string, `" \u{2} how does lc ms work \u{3} "`: lower case, accents dropped, Greek letters
//! spelled out, every token between single spaces, the ends marked. A pattern that must start at a word's start is
//! then simply a literal that starts with a space, so one substring automaton does all the matching.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Stands before the first token.
pub(super) const START: char = '\u{2}';
/// Stands behind the last token.
pub(super) const END: char = '\u{3}';
/// Replaces a year at or after the cut-off.
pub(crate) const RECENT_YEAR: &str = "yearrecent";
/// Replaces an earlier year.
const PAST_YEAR: &str = "yearpast";
/// Replaces any other number.
pub(super) const NUMBER: &str = "#";

/// Sentences that start with one of these ask for something.
const OPENERS: &[&str] = &[
    "any",
    "are",
    "can",
    "compare",
    "could",
    "define",
    "describe",
    "did",
    "do",
    "does",
    "explain",
    "find",
    "give",
    "has",
    "have",
    "how",
    "identify",
    "is",
    "list",
    "outline",
    "please",
    "question",
    "should",
    "show",
    "suggest",
    "summarise",
    "summarize",
    "tell",
    "was",
    "were",
    "what",
    "whats",
    "when",
    "where",
    "which",
    "who",
    "why",
    "will",
    "would",
];

const QUESTION_WORDS: &[&str] = &["how", "what", "when", "where", "which", "who", "whose", "why"];

/// A full stop behind one of these does not end a sentence.
const ABBREVIATIONS: &[&str] =
    &["al", "approx", "ca", "cf", "dr", "eg", "etc", "fig", "ie", "mr", "mrs", "vs"];

/// One word of the folded text and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    /// First byte in the folded text.
    pub(crate) start: u32,
    /// One past the last byte in the folded text.
    pub(crate) end: u32,
    /// First byte in the question.
    pub(crate) source_start: u32,
    /// One past the last byte in the question.
    pub(crate) source_end: u32,
}

/// A year that stands in a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Year {
    pub(crate) value: u16,
    pub(crate) recent: bool,
}

/// A folded question. Keep one and [`fold`](Prepared::fold) into it again: the buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    text: String,
    tokens: Vec<Token>,
    years: Vec<Year>,
    /// Token index one past each sentence's end, and whether it ended with a question mark.
    sentences: Vec<(u32, bool)>,
}

impl Prepared {
    /// Folds `question`; years from `recent_from` on count as recent.
    pub(crate) fn fold(&mut self, question: &str, recent_from: u16) {
        self.text.clear();
        self.tokens.clear();
        self.years.clear();
        self.sentences.clear();
        self.text.push(' ');
        self.text.push(START);
        self.text.push(' ');
        // What a cache key drops from the end must not change the answer either.
        let mut chars = question[..end_of_words(question)].char_indices().peekable();
        let mut open: Option<Token> = None;
        while let Some((at, c)) = chars.next() {
            let after = at + c.len_utf8();
            if c.is_ascii_alphanumeric() {
                self.extend(&mut open, at, after, |text| text.push(c.to_ascii_lowercase()));
            } else if is_apostrophe(c) && open.is_some() && is_contraction(&question[after..]) {
                // "what's" and "whats", "Alzheimer's" and "Alzheimers" are one token each.
            } else if c == '.' && open.is_some() && joins_digits(question, at, after) {
                self.extend(&mut open, at, after, |text| text.push('.'));
            } else if c.is_ascii() {
                self.close(&mut open, question, recent_from);
                let next = chars.peek().map(|&(_, next)| next);
                self.punctuation(c, next);
            } else {
                self.fold_wide(c, at, after, &mut open, question, recent_from);
            }
        }
        self.close(&mut open, question, recent_from);
        self.end_sentence(false);
        self.text.push(END);
        self.text.push(' ');
    }

    /// The folded text, marked ends included.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(crate) fn years(&self) -> &[Year] {
        &self.years
    }

    /// The folded word of `token`.
    pub(crate) fn word(&self, token: Token) -> &str {
        &self.text[token.start as usize..token.end as usize]
    }

    /// The tokens that overlap a byte range of the folded text.
    pub(crate) fn tokens_in(&self, bytes: &Range<u32>) -> Range<usize> {
        let first = self.tokens.partition_point(|token| token.end <= bytes.start);
        let last = self.tokens.partition_point(|token| token.start < bytes.end);
        first..last.max(first)
    }

    /// The byte range of the question that `tokens` came from.
    pub(crate) fn source(&self, tokens: Range<usize>) -> Range<usize> {
        match (self.tokens.get(tokens.start), self.tokens[..tokens.end].last()) {
            (Some(first), Some(last)) if first.source_start <= last.source_end => {
                first.source_start as usize..last.source_end as usize
            }
            _ => 0..0,
        }
    }

    /// The tokens of the sentence that asks: with several sentences, the last one that ends with a question mark or
    /// opens like a request; all tokens when no sentence stands out. The sign that closes the whole text does not count,
    /// since people leave it out as often as not; in the last sentence any question word does instead.
    pub(crate) fn ask(&self) -> Range<usize> {
        let mut best: Option<(u8, Range<usize>)> = None;
        let mut start = 0;
        for (at, &(end, question_mark)) in self.sentences.iter().enumerate() {
            let tokens = start..end as usize;
            start = tokens.end;
            let is_last = at + 1 == self.sentences.len();
            let mut words = self.tokens[tokens.clone()].iter().map(|&token| self.word(token));
            let opens = words.clone().take(2).any(|word| OPENERS.binary_search(&word).is_ok());
            let asks = words.any(|word| QUESTION_WORDS.contains(&word));
            let score = match (is_last, opens, question_mark) {
                (true, true, _) => 3,
                (true, false, _) => u8::from(asks),
                (false, _, _) => 2 * u8::from(question_mark) + u8::from(opens),
            };
            if score > 0 && tokens.len() >= 3 && best.as_ref().is_none_or(|(other, _)| score >= *other) {
                best = Some((score, tokens));
            }
        }
        best.map_or(0..self.tokens.len(), |(_, tokens)| tokens)
    }

    /// How many sentences there are; 0 for a text without a token.
    pub(crate) fn n_sentences(&self) -> usize {
        self.sentences.len()
    }

    fn extend(&mut self, open: &mut Option<Token>, at: usize, after: usize, push: impl FnOnce(&mut String)) {
        let start = self.text.len() as u32;
        let token = open.get_or_insert(Token { start, end: start, source_start: at as u32, source_end: 0 });
        push(&mut self.text);
        token.source_end = after as u32;
    }

    fn close(&mut self, open: &mut Option<Token>, question: &str, recent_from: u16) {
        let Some(mut token) = open.take() else { return };
        let word = &self.text[token.start as usize..];
        if word.as_bytes()[0].is_ascii_digit() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            let year = parse_year(word).filter(|_| !follows_mass(question, token.source_start as usize));
            let shape = match year {
                Some(value) => {
                    let recent = value >= recent_from;
                    self.years.push(Year { value, recent });
                    if recent { RECENT_YEAR } else { PAST_YEAR }
                }
                None => NUMBER,
            };
            self.text.truncate(token.start as usize);
            self.text.push_str(shape);
        }
        token.end = self.text.len() as u32;
        self.tokens.push(token);
        self.text.push(' ');
    }

    fn punctuation(&mut self, c: char, next: Option<char>) {
        let ends_word = next.is_none_or(|next| next.is_whitespace() || is_closing(next));
        match c {
            '?' => self.end_sentence(true),
            '!' | ';' if ends_word => self.end_sentence(false),
            '.' if ends_word => {
                let abbreviated = self.tokens.last().is_some_and(|&token| {
                    token.end - token.start < 2 || ABBREVIATIONS.contains(&self.word(token))
                });
                if !abbreviated {
                    self.end_sentence(false);
                }
            }
            _ => {}
        }
    }

    fn end_sentence(&mut self, question_mark: bool) {
        let end = self.tokens.len() as u32;
        match self.sentences.last_mut() {
            Some((previous, mark)) if *previous == end => *mark |= question_mark,
            _ if end > 0 => self.sentences.push((end, question_mark)),
            _ => {}
        }
    }

    fn fold_wide(
        &mut self,
        c: char,
        at: usize,
        after: usize,
        open: &mut Option<Token>,
        question: &str,
        recent_from: u16,
    ) {
        if matches!(c, '？' | '！' | '。') {
            self.close(open, question, recent_from);
            self.end_sentence(c == '？');
        } else if let Some(name) = greek_name(c) {
            self.extend(open, at, after, |text| text.push_str(name));
        } else if is_unspaced(c) {
            // Scripts that do not separate words by spaces: each sign is a token, and word n-grams do the rest.
            self.close(open, question, recent_from);
            self.extend(open, at, after, |text| text.extend(std::iter::once(c).nfkc()));
            self.close(open, question, recent_from);
        } else if is_hangul(c) {
            self.extend(open, at, after, |text| text.push(c));
        } else if is_combining_mark(c) || is_invisible(c) {
            // A mark that follows its letter is dropped as the one inside a composed letter is. What cannot be seen is
            // passed over as it is in a cache key: else hidden signs would change the answer of a plain question.
        } else {
            let mut any = false;
            for part in std::iter::once(c).nfkd().filter(|&part| !is_combining_mark(part)) {
                for lower in part.to_lowercase().filter(|lower| lower.is_alphanumeric()) {
                    any = true;
                    self.extend(open, at, after, |text| text.push(lower));
                }
            }
            if !any {
                self.close(open, question, recent_from);
            }
        }
    }
}

/// Where a question ends without the punctuation and white space that may close it.
fn end_of_words(question: &str) -> usize {
    let closes = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || is_invisible(c)
            || std::iter::once(c).nfkc().all(|c| matches!(c, '?' | '!' | '.' | '。'))
    };
    question.trim_end_matches(closes).len()
}

/// Years are four digits from 1900 to 2049; other numbers are quantities.
fn parse_year(word: &str) -> Option<u16> {
    if word.len() != 4 {
        return None;
    }
    word.parse().ok().filter(|year| (1900..2050).contains(year))
}

/// Whether the number at `at` stands behind "m/z", which makes it a mass and no year.
fn follows_mass(question: &str, at: usize) -> bool {
    let before = question[..at].trim_end_matches([' ', '=', ':']);
    before.len() >= 3
        && before.is_char_boundary(before.len() - 3)
        && before[before.len() - 3..].eq_ignore_ascii_case("m/z")
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}' | '\u{2bc}' | '`')
}

/// Whether what follows an apostrophe is an English contraction or possessive rather than an elided article's noun.
fn is_contraction(rest: &str) -> bool {
    let letters = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
    let tail = &rest[..letters];
    ["s", "t", "re", "ve", "ll", "d", "m"].iter().any(|known| tail.eq_ignore_ascii_case(known))
}

fn joins_digits(question: &str, at: usize, after: usize) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    digit(question.as_bytes()[..at].last()) && digit(question.as_bytes().get(after))
}

/// Soft hyphen, zero-width signs, controls of the writing direction.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(u32::from(c), 0xad | 0x61c | 0x180e | 0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0xfeff)
}

fn is_closing(c: char) -> bool {
    matches!(c, ')' | ']' | '"' | '\'' | '\u{201d}' | '\u{2019}')
}

fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0e00..=0x0eff      // Thai, Lao
        | 0x3040..=0x30ff    // Hiragana, Katakana
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff) // Han
        && c.is_alphanumeric()
}

fn is_hangul(c: char) -> bool {
    matches!(u32::from(c), 0xac00..=0xd7a3)
}

/// Greek letters are names of isomers, subunits and effects here; the micro sign is written `u` as on labels.
fn greek_name(c: char) -> Option<&'static str> {
    Some(match c {
        'α' | 'Α' => "alpha",
        'β' | 'Β' => "beta",
        'γ' | 'Γ' => "gamma",
        'δ' | 'Δ' | '∆' => "delta",
        'ε' | 'Ε' => "epsilon",
        'κ' | 'Κ' => "kappa",
        'λ' | 'Λ' => "lambda",
        'ω' | 'Ω' => "omega",
        'µ' | 'μ' => "u",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::Prepared;

    #[track_caller]
    fn check(question: &str, expected: Expect) {
        let mut prepared = Prepared::default();
        prepared.fold(question, 2024);
        let text = prepared.text().replace('\u{2}', "^").replace('\u{3}', "$");
        let ask: Vec<_> =
            prepared.tokens()[prepared.ask()].iter().map(|&token| prepared.word(token)).collect();
        expected.assert_eq(&format!("{} | {}", text.trim(), ask.join(" ")));
    }

    #[test]
    fn words_numbers_and_years() {
        check("How does LC-MS work?", expect!["^ how does lc ms work $ | how does lc ms work"]);
        check(
            "What's β-Oxidation's rate at 37.5 °C in 2025",
            expect![
                "^ whats beta oxidations rate at # c in yearrecent $ | whats beta oxidations rate at # c in yearrecent"
            ],
        );
        check(
            "Krebs 1937, m/z 2024, C6H12O6",
            expect!["^ krebs yearpast m z # c6h12o6 $ | krebs yearpast m z # c6h12o6"],
        );
        check("l'effet de l’acide", expect!["^ l effet de l acide $ | l effet de l acide"]);
        check("métabolomique Größe", expect!["^ metabolomique große $ | metabolomique große"]);
        check("代谢组学?", expect!["^ 代 谢 组 学 $ | 代 谢 组 学"]);
        check(" \t", expect!["^ $ | "]);
    }

    #[test]
    fn the_sentence_that_asks() {
        check(
            "A 5-year-old has high ammonia. Which enzyme is deficient? Thanks a lot!",
            expect![
                "^ a # year old has high ammonia which enzyme is deficient thanks a lot $ | which enzyme is deficient"
            ],
        );
        check(
            "Explain the pathway. The patient is 60. His glucose is low.",
            expect!["^ explain the pathway the patient is # his glucose is low $ | explain the pathway"],
        );
        check("Lipids. Proteins. Sugars.", expect!["^ lipids proteins sugars $ | lipids proteins sugars"]);
    }

    #[test]
    fn source_ranges_point_into_the_question() {
        let mut prepared = Prepared::default();
        let question = "Is γ-aminobutyric acid (GABA) made?";
        prepared.fold(question, 2024);
        assert_eq!(&question[prepared.source(1..4)], "γ-aminobutyric acid");
        assert_eq!(&question[prepared.source(4..5)], "GABA");
        assert_eq!(prepared.source(0..0), 0..0);
    }
}
