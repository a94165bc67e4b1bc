//! A small pattern language over folded text, compiled into one automaton and one table of phrases.
//!
//! | written | matches |
//! | --- | --- |
//! | `most recent` | these words, next to each other |
//! | `regulat*` `*emia` | a word that starts or ends so |
//! | `(a\|the)` `(a\|the)?` | one of these, or none |
//! | `_` | exactly one word, any |
//! | `...` | any number of words, none included |
//! | `#` | a number that is no year |
//! | `yearrecent` `yearpast` | a year from the cut-off on, an earlier one |
//! | `^what` `this year$` | only at the start, only at the end |

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::prepare::{END, NUMBER, Prepared, START};

/// How many literals one pattern may expand to.
const MAX_EXPANSIONS: usize = 512;

/// A pattern that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PatternError {
    pattern: String,
    problem: &'static str,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pattern {:?} {}", self.pattern, self.problem)
    }
}

/// What stands between a segment and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Exactly this many words.
    Words(u32),
    /// Any number of words.
    Any,
}

/// A literal of the folded text; `open_end` when a word goes on behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Segment {
    gap: Gap,
    literal: String,
    open_end: bool,
}

/// Collects patterns under numbers of the caller's choosing.
#[derive(Debug, Default)]
pub(crate) struct PatternSetBuilder {
    chains: Vec<(u32, Vec<Segment>)>,
}

impl PatternSetBuilder {
    /// Adds `pattern`; its matches are reported as `id`.
    pub(crate) fn add(&mut self, id: u32, pattern: &str) -> Result<(), PatternError> {
        for words in expand(pattern)? {
            self.chains.push((id, segments(pattern, &words)?));
        }
        Ok(())
    }

    /// Adds words, with `*` at an end and no other sign of the language.
    pub(crate) fn add_words(&mut self, id: u32, phrase: &str) -> Result<(), PatternError> {
        let words = words(phrase).map_err(|problem| PatternError { pattern: phrase.to_owned(), problem })?;
        self.chains.push((id, segments(phrase, &words)?));
        Ok(())
    }

    /// Adds a term of a lexicon: [words](Self::add_words), of which a plural `s` is accepted too.
    pub(crate) fn add_term(&mut self, id: u32, term: &str) -> Result<(), PatternError> {
        self.add_words(id, term)?;
        if !term.ends_with(['s', '*']) && term.is_ascii() {
            self.add_words(id, &format!("{term}s"))?;
        }
        Ok(())
    }

    pub(crate) fn build(self) -> Result<PatternSet, PatternError> {
        let mut literals: Vec<&str> = Vec::new();
        let mut places = Vec::new();
        let mut chains = Vec::new();
        let mut phrases = Phrases::default();
        let mut n_states = 0_u32;
        for (id, segments) in &self.chains {
            if let [only] = segments.as_slice()
                && let Some(phrase) = only.whole_words()
            {
                phrases.add(phrase, *id);
                continue;
            }
            for (at, segment) in segments.iter().enumerate() {
                literals.push(&segment.literal);
                places.push(Place {
                    chain: chains.len() as u32,
                    segment: at as u32,
                    open_end: segment.open_end,
                });
            }
            chains.push(Chain { id: *id, state: n_states, gaps: segments.iter().map(|s| s.gap).collect() });
            n_states += segments.len() as u32;
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .match_kind(MatchKind::Standard)
            .build(&literals)
            .map_err(|_| PatternError {
                pattern: format!("{} literals", literals.len()),
                problem: "are too many for one automaton",
            })?;
        Ok(PatternSet { automaton, places, chains, phrases, n_states: n_states as usize })
    }
}

/// Phrases of whole words, found by look-up: most patterns are, and they are built ten times faster than an automaton.
#[derive(Debug, Default)]
struct Phrases {
    /// The patterns of each phrase.
    ids: HashMap<Box<str>, Vec<u32>>,
    /// How many words the longest phrase has that starts with a word.
    longest: HashMap<Box<str>, u32>,
}

impl Phrases {
    fn add(&mut self, phrase: &str, id: u32) {
        let n_words = 1 + phrase.matches(' ').count() as u32;
        let first = phrase.split(' ').next().unwrap_or(phrase);
        let ids = self.ids.entry(phrase.into()).or_default();
        if !ids.contains(&id) {
            ids.push(id);
        }
        let longest = self.longest.entry(first.into()).or_default();
        *longest = n_words.max(*longest);
    }

    /// Adds all occurrences.
    fn scan(&self, prepared: &Prepared, matches: &mut Vec<Match>) {
        let tokens = prepared.tokens();
        for (at, &first) in tokens.iter().enumerate() {
            let Some(&longest) = self.longest.get(prepared.word(first)) else { continue };
            for last in tokens[at..].iter().take(longest as usize) {
                let phrase = &prepared.text()[first.start as usize..last.end as usize];
                for &id in self.ids.get(phrase).into_iter().flatten() {
                    matches.push(Match { id, bytes: first.start..last.end });
                }
            }
        }
    }
}

impl Segment {
    /// The words, if it is whole words only, not tied to an end of the text.
    fn whole_words(&self) -> Option<&str> {
        let words = self.literal.strip_prefix(' ')?.strip_suffix(' ')?;
        (!self.open_end && !words.contains([START, END])).then_some(words)
    }
}

/// One occurrence of a pattern, as a byte range of the folded text without the spaces around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) id: u32,
    pub(crate) bytes: Range<u32>,
}

#[derive(Debug)]
struct Chain {
    id: u32,
    /// Index of the first segment's state in [`Scan::states`].
    state: u32,
    gaps: Box<[Gap]>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    chain: u32,
    segment: u32,
    open_end: bool,
}

/// Patterns, ready to be matched together in one pass.
#[derive(Debug)]
pub(crate) struct PatternSet {
    automaton: AhoCorasick,
    places: Vec<Place>,
    chains: Vec<Chain>,
    phrases: Phrases,
    n_states: usize,
}

/// Where a segment of a chain has been seen: the start of the whole chain and the end of the segment.
#[derive(Debug, Clone, Copy)]
struct Seen {
    start: u32,
    end: u32,
}

/// The buffers of a scan, reused between texts.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    matches: Vec<Match>,
    /// Per segment: its first and its latest occurrence.
    states: Vec<Option<(Seen, Seen)>>,
    touched: Vec<u32>,
}

impl Scan {
    /// What the last scan found, by start.
    pub(crate) fn matches(&self) -> &[Match] {
        &self.matches
    }
}

impl PatternSet {
    /// Finds all occurrences of all patterns, overlapping ones included, in the order they start.
    pub(crate) fn scan(&self, prepared: &Prepared, scan: &mut Scan) {
        let text = prepared.text();
        scan.matches.clear();
        for state in scan.touched.drain(..) {
            scan.states[state as usize] = None;
        }
        // Only now: the last text may have been another set's, with more states.
        scan.states.resize(self.n_states, None);
        for found in self.automaton.find_overlapping_iter(text) {
            let place = self.places[found.pattern().as_usize()];
            let chain = &self.chains[place.chain as usize];
            let bytes = trimmed(text, found.start(), found.end(), place.open_end);
            let Some(start) = chain.advance(place.segment, &bytes, text, &scan.states) else { continue };
            let seen = Seen { start, end: bytes.end };
            if place.segment as usize + 1 == chain.gaps.len() {
                scan.matches.push(Match { id: chain.id, bytes: start..bytes.end });
            } else {
                let state = chain.state + place.segment;
                let slot = &mut scan.states[state as usize];
                if slot.is_none() {
                    scan.touched.push(state);
                }
                *slot = Some((slot.map_or(seen, |(first, _)| first), seen));
            }
        }
        self.phrases.scan(prepared, &mut scan.matches);
        scan.matches.sort_unstable_by_key(|found| (found.bytes.start, found.bytes.end, found.id));
    }
}

impl Chain {
    /// Where the chain started if `segment` at `bytes` goes on from what was seen before it.
    fn advance(
        &self,
        segment: u32,
        bytes: &Range<u32>,
        text: &str,
        states: &[Option<(Seen, Seen)>],
    ) -> Option<u32> {
        let Some(before) = segment.checked_sub(1) else { return Some(bytes.start) };
        let (first, latest) = states[(self.state + before) as usize]?;
        match self.gaps[segment as usize] {
            Gap::Any => (first.end <= bytes.start).then_some(first.start),
            Gap::Words(n) => {
                let between = text.get(latest.end as usize..bytes.start as usize)?;
                // No further than the answer takes, or a long text of such matches would cost its square.
                let wanted = n as usize + 1;
                let n_spaces = between.bytes().filter(|&b| b == b' ').take(wanted + 1).count();
                (n_spaces == wanted).then_some(latest.start)
            }
        }
    }
}

/// A literal's byte range without its boundary spaces.
fn trimmed(text: &str, start: usize, end: usize, open_end: bool) -> Range<u32> {
    let bytes = text.as_bytes();
    let start = if bytes[start] == b' ' { start + 1 } else { start };
    let end = if !open_end && bytes[end - 1] == b' ' { end - 1 } else { end };
    start as u32..end as u32
}

/// One step of a pattern after expansion.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Start,
    End,
    AnyOne,
    AnyNumber,
    Literal { text: String, open_start: bool, open_end: bool },
}

/// Expands the alternatives of a pattern into sequences of words.
fn expand(pattern: &str) -> Result<Vec<Vec<Word>>, PatternError> {
    let error = |problem| PatternError { pattern: pattern.to_owned(), problem };
    let mut sequences: Vec<Vec<Word>> = vec![Vec::new()];
    let mut rest = pattern.trim();
    if let Some(after) = rest.strip_prefix('^') {
        sequences[0].push(Word::Start);
        rest = after.trim_start();
    }
    let at_end = rest.strip_suffix('$');
    rest = at_end.unwrap_or(rest).trim_end();
    if rest.is_empty() {
        return Err(error("has no word"));
    }
    while !rest.is_empty() {
        let (alternatives, after) = if let Some(group) = rest.strip_prefix('(') {
            let (inside, after) = group.split_once(')').ok_or_else(|| error("has an open parenthesis"))?;
            let optional = after.starts_with('?');
            let mut alternatives: Vec<Vec<Word>> =
                inside.split('|').map(|phrase| words(phrase).map_err(error)).collect::<Result<_, _>>()?;
            if optional {
                alternatives.push(Vec::new());
            }
            (alternatives, if optional { &after[1..] } else { after })
        } else {
            let end = rest.find([' ', '(']).unwrap_or(rest.len());
            (vec![words(&rest[..end]).map_err(error)?], &rest[end..])
        };
        rest = after.trim_start();
        if sequences.len() * alternatives.len() > MAX_EXPANSIONS {
            return Err(error("has too many alternatives; split it into several patterns"));
        }
        sequences = sequences
            .iter()
            .flat_map(|head| alternatives.iter().map(move |tail| [head.as_slice(), tail].concat()))
            .collect();
    }
    if at_end.is_some() {
        sequences.iter_mut().for_each(|sequence| sequence.push(Word::End));
    }
    Ok(sequences)
}

fn words(phrase: &str) -> Result<Vec<Word>, &'static str> {
    let mut words = Vec::new();
    for written in phrase.split_whitespace() {
        match written {
            "_" => words.push(Word::AnyOne),
            "..." => words.push(Word::AnyNumber),
            NUMBER => {
                words.push(Word::Literal { text: NUMBER.to_owned(), open_start: false, open_end: false });
            }
            _ => {
                let (open_start, core) =
                    written.strip_prefix('*').map_or((false, written), |core| (true, core));
                let (open_end, core) = core.strip_suffix('*').map_or((false, core), |core| (true, core));
                let mut folded = Prepared::default();
                folded.fold(core, u16::MAX);
                let tokens = folded.tokens();
                if tokens.is_empty() || core.contains(['*', '?', '^', '$', '|']) {
                    return Err("has a word that no text can match");
                }
                for (at, &token) in tokens.iter().enumerate() {
                    words.push(Word::Literal {
                        text: folded.word(token).to_owned(),
                        open_start: open_start && at == 0,
                        open_end: open_end && at + 1 == tokens.len(),
                    });
                }
            }
        }
    }
    if words.is_empty() {
        Err("has an empty alternative; write (a|b)? for an optional word")
    } else {
        Ok(words)
    }
}

/// Joins words into literals, cutting where a word is open or a gap stands.
fn segments(pattern: &str, words: &[Word]) -> Result<Vec<Segment>, PatternError> {
    let error = |problem| Err(PatternError { pattern: pattern.to_owned(), problem });
    let mut segments: Vec<Segment> = Vec::new();
    let mut pending: Option<Gap> = None;
    let marker = |c: char| Word::Literal { text: c.to_string(), open_start: false, open_end: false };
    for word in words {
        let literal = match word {
            Word::AnyOne => {
                pending = Some(match pending {
                    Some(Gap::Any) => Gap::Any,
                    Some(Gap::Words(n)) => Gap::Words(n + 1),
                    None => Gap::Words(1),
                });
                continue;
            }
            Word::AnyNumber => {
                pending = Some(Gap::Any);
                continue;
            }
            Word::Start => marker(START),
            Word::End => marker(END),
            literal @ Word::Literal { .. } => literal.clone(),
        };
        let Word::Literal { text, open_start, open_end } = literal else { continue };
        let glue = segments.last().is_some_and(|last| !last.open_end) && !open_start && pending.is_none();
        match segments.last_mut() {
            Some(last) if glue => {
                last.literal.push_str(&text);
                last.open_end = open_end;
            }
            _ => segments.push(Segment {
                gap: pending.take().unwrap_or(Gap::Words(0)),
                literal: if open_start { text } else { format!(" {text}") },
                open_end,
            }),
        }
        if let Some(last) = segments.last_mut().filter(|last| !last.open_end) {
            last.literal.push(' ');
        }
    }
    if segments.is_empty() {
        return error("has no word");
    }
    if pending.is_some() || words.first().is_some_and(|word| matches!(word, Word::AnyOne | Word::AnyNumber)) {
        return error("starts or ends with a gap");
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::{PatternSetBuilder, Prepared, Scan};

    #[track_caller]
    fn check(pattern: &str, question: &str, expected: Expect) {
        let mut builder = PatternSetBuilder::default();
        let found = builder.add(7, pattern).and_then(|()| builder.build()).map(|set| {
            let mut prepared = Prepared::default();
            prepared.fold(question, 2024);
            let mut scan = Scan::default();
            set.scan(&prepared, &mut scan);
            scan.matches()
                .iter()
                .map(|found| {
                    assert_eq!(found.id, 7);
                    let tokens = prepared.tokens_in(&found.bytes);
                    question[prepared.source(tokens)].to_owned()
                })
                .collect::<Vec<_>>()
        });
        expected.assert_eq(&found.map_or_else(|error| error.to_string(), |found| found.join(" / ")));
    }

    #[test]
    fn literals_respect_word_boundaries() {
        check("current", "recurrent current, currents", expect!["current"]);
        check("regulat*", "Deregulated genes regulate; regulation", expect!["regulate / regulation"]);
        check("*emia", "Anaemia, leukemia and emianate", expect!["Anaemia / leukemia"]);
        check("lc-ms", "LC/MS or lc ms or LCMS", expect!["LC/MS / lc ms"]);
    }

    #[test]
    fn alternatives_gaps_and_anchors() {
        check(
            "new (stud*|paper*)",
            "new studies, newer studies, new paper",
            expect!["new studies / new paper"],
        );
        check("new* stud*", "newer studies", expect!["newer studies"]);
        check("new _ stud*", "new lipid studies; new studies", expect!["new lipid studies"]);
        check(
            "explain how ... regulat*",
            "Explain how miR-33 up-regulates x",
            expect!["Explain how miR-33 up-regulates"],
        );
        check("^what (is|are) (the|a)? role", "what is role? what is the role", expect!["what is role"]);
        check("this year$", "this year or this year?", expect!["this year"]);
        check("in <recent>", "in 2025", expect![""]);
        check("in yearrecent", "in 2025, in 1999", expect!["in 2025"]);
    }

    #[test]
    fn bad_patterns_say_why() {
        check("(a|b", "x", expect![[r#"pattern "(a|b" has an open parenthesis"#]]);
        check(
            "(a|)",
            "x",
            expect![[r#"pattern "(a|)" has an empty alternative; write (a|b)? for an optional word"#]],
        );
        check("... a", "x", expect![[r#"pattern "... a" starts or ends with a gap"#]]);
        check("a*b", "x", expect![[r#"pattern "a*b" has a word that no text can match"#]]);
        check("", "x", expect![[r#"pattern "" has no word"#]]);
    }
}
