//! Turns an analysed question into the numbers the model weighs.
//!
//! Dense cues, and five blocks of hashed presence features: pairs of cues; word 1–3-grams; the same of words cut to
//! their stems; character 3–5-grams; and 2–4-grams of the question's frame, in which only the words that ask remain.
//! Each hashed block has the same length whatever the question's, so that long questions weigh no more than short ones.

use std::ops::RangeInclusive;

use super::analysis::{Analysis, Analyzer};
use crate::lexicon::Kind;
use crate::taxonomy::Taxonomy;
use crate::text::RECENT_YEAR;

/// A change here makes models of before unreadable.
pub(crate) const FEATURE_VERSION: u32 = 1;

/// How many hashed blocks there are.
pub(crate) const N_BLOCKS: usize = 5;

/// The hashed blocks, in the order of their weights in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    Pairs,
    Words,
    Stems,
    Frame,
    Chars,
}

impl Block {
    pub(crate) const ALL: [Self; N_BLOCKS] =
        [Self::Pairs, Self::Words, Self::Stems, Self::Frame, Self::Chars];

    /// log2 of the number of buckets.
    pub(crate) const fn bits(self) -> u32 {
        match self {
            Self::Pairs => 12,
            Self::Words | Self::Chars => 16,
            Self::Stems | Self::Frame => 15,
        }
    }

    pub(crate) const fn n_buckets(self) -> usize {
        1 << self.bits()
    }

    /// How loud the block is against the others: the length of its feature vector. Found by grouped
    /// cross-validation on the training rows.
    pub(crate) const fn loudness(self) -> f32 {
        match self {
            Self::Pairs => 0.5,
            Self::Words | Self::Stems | Self::Frame => 1.0,
            Self::Chars => 1.5,
        }
    }
}

/// A cue counts for this much beside n-gram blocks of about length one; found by the same cross-validation.
const CUE_VALUE: f32 = 0.1;

/// Dense features that do not depend on the taxonomy.
const N_FORMS: usize = 24;

/// The features of one question.
#[derive(Debug, Default)]
pub(crate) struct Features {
    /// Index and value of each dense feature that is not zero.
    pub(crate) dense: Vec<(u32, f32)>,
    /// Distinct buckets per block.
    pub(crate) buckets: [Vec<u32>; N_BLOCKS],
    seen: [Vec<u64>; N_BLOCKS],
    hashes: Vec<u64>,
    letters: Vec<u32>,
}

impl Features {
    /// The value each bucket of a block has: the block's loudness over the square root of their number.
    pub(crate) fn bucket_value(&self, block: Block) -> f32 {
        let n = self.buckets[block as usize].len();
        if n == 0 { 0.0 } else { block.loudness() / (n as f32).sqrt() }
    }
}

/// The number of dense features for a taxonomy.
pub(crate) fn n_dense(taxonomy: &Taxonomy) -> usize {
    let n = taxonomy.categories().len();
    2 * taxonomy.cue_groups().count() + 2 * n + n * (n - 1) / 2 + N_FORMS
}

/// Fills `features` from an analysed question.
pub(crate) fn extract(analyzer: &Analyzer, analysis: &Analysis, features: &mut Features) {
    features.dense.clear();
    for block in Block::ALL {
        features.buckets[block as usize].clear();
        features.seen[block as usize].resize(block.n_buckets() / 64, 0);
    }
    dense(analyzer, analysis, &mut features.dense);
    pairs(analysis, features);
    word_grams(analysis, features);
    frame_grams(analysis, features);
    char_grams(analysis, features);
    for block in Block::ALL {
        let seen = &mut features.seen[block as usize];
        for &bucket in &features.buckets[block as usize] {
            seen[bucket as usize / 64] = 0;
        }
    }
}

fn dense(analyzer: &Analyzer, analysis: &Analysis, dense: &mut Vec<(u32, f32)>) {
    let n_groups = analyzer.n_groups() as u32;
    for (group, fired) in analysis.cues.iter().enumerate() {
        if fired.is_some() {
            dense.push((group as u32, CUE_VALUE));
        }
    }
    for (group, &fired) in analysis.ask_cues.iter().enumerate() {
        if fired {
            dense.push((n_groups + group as u32, CUE_VALUE));
        }
    }
    let mut at = 2 * n_groups;
    let mut push = |value: f32| {
        if value != 0.0 {
            dense.push((at, value * CUE_VALUE));
        }
        at += 1;
    };
    let fired = &analysis.n_fired;
    for &n in fired {
        push(n.min(3) as f32 / 3.0);
        push(f32::from(n == 0));
    }
    for (index, &first) in fired.iter().enumerate() {
        for &second in &fired[index + 1..] {
            push(f32::from(first > 0 && second > 0));
        }
    }
    let count = |kind: Kind| analysis.named.iter().filter(|name| name.kind == kind).count();
    let n_entities = analysis.named.iter().filter(|name| name.kind.is_entity()).count();
    let n_tokens = analysis.prepared.tokens().len();
    let n_ask = analysis.ask.len();
    let forms: [bool; N_FORMS] = [
        true,
        n_tokens <= 1,
        n_tokens <= 2,
        n_tokens <= 4,
        n_tokens >= 10,
        n_tokens >= 15,
        n_tokens >= 30,
        n_ask < n_tokens,
        analysis.prepared.n_sentences() > 2,
        n_entities == 0,
        n_entities == 1,
        n_entities == 2,
        n_entities > 2,
        count(Kind::Metabolite) > 0,
        count(Kind::Gene) > 0,
        count(Kind::Disease) > 0,
        count(Kind::Drug) > 0,
        count(Kind::Pathway) > 0,
        count(Kind::Technique) > 0,
        count(Kind::Relation) > 0,
        count(Kind::Temporal) > 0,
        count(Kind::Domain) > 0,
        analysis.language.is_some(),
        n_entities >= 2 && n_tokens <= 6,
    ];
    for form in forms {
        push(f32::from(form));
    }
}

fn pairs(analysis: &Analysis, features: &mut Features) {
    for (first, _) in analysis.ask_cues.iter().enumerate().filter(|(_, fired)| **fired) {
        for (second, _) in analysis.ask_cues.iter().enumerate().skip(first + 1).filter(|(_, fired)| **fired) {
            let hash = mix((first as u64) << 32 | second as u64);
            add(features, Block::Pairs, hash);
        }
    }
}

fn word_grams(analysis: &Analysis, features: &mut Features) {
    let prepared = &analysis.prepared;
    let words = prepared.tokens()[analysis.ask.clone()].iter().map(|&token| prepared.word(token));
    let mut hashes = std::mem::take(&mut features.hashes);
    for (block, cut) in [(Block::Words, usize::MAX), (Block::Stems, STEM_CHARS)] {
        hashes.clear();
        hashes.push(START);
        hashes.extend(words.clone().map(|word| {
            let end = word.char_indices().nth(cut).map_or(word.len(), |(end, _)| end);
            hash(&word.as_bytes()[..end])
        }));
        hashes.push(END);
        grams(&hashes, 1..=3, features, block);
    }
    features.hashes = hashes;
}

/// The frame of "Which enzyme reduced kynurenine?" is "which enzyme (a word in -ed) (a name)": words that ask stay
/// (those of other languages as the English word that asks the same), names become one placeholder, and of other words
/// only the ending is left.
fn frame_grams(analysis: &Analysis, features: &mut Features) {
    let prepared = &analysis.prepared;
    let mut hashes = std::mem::take(&mut features.hashes);
    hashes.clear();
    hashes.push(START);
    let mut names = analysis.names.as_slice();
    let mut frames = analysis.frames.as_slice();
    let mut at = analysis.ask.start;
    while at < analysis.ask.end {
        names = &names[names.partition_point(|name| name.start < at)..];
        frames = &frames[frames.partition_point(|frame| frame.tokens.start < at)..];
        let name = names.first().filter(|name| name.start == at).map_or(at, |name| name.end);
        let frame = frames.first().filter(|frame| frame.tokens.start == at);
        match frame {
            Some(frame) if frame.tokens.end >= name => {
                hashes.push(mix(u64::from(frame.word)));
                at = frame.tokens.end;
            }
            _ if name > at => {
                hashes.push(NAME);
                at = name;
            }
            _ => {
                let word = prepared.word(prepared.tokens()[at]);
                let stays = analysis.function_words[at];
                hashes.push(if stays { hash(word.as_bytes()) } else { hash(ending(word).as_bytes()) });
                at += 1;
            }
        }
    }
    hashes.push(END);
    grams(&hashes, 2..=4, features, Block::Frame);
    features.hashes = hashes;
}

/// What is left of a word in a frame: an ending that tells what kind of word it is.
fn ending(word: &str) -> &'static str {
    let fits = |ending: &&&str| word.len() > ending.len() + 2 && word.ends_with(**ending);
    ENDINGS.iter().find(fits).copied().unwrap_or("-")
}

/// All grams of some lengths of a sequence whose first and last element mark its ends; a mark alone is no gram.
fn grams(hashes: &[u64], lengths: RangeInclusive<usize>, features: &mut Features, block: Block) {
    for start in 0..hashes.len() {
        let mut gram = 0;
        for (n, &next) in (1..=*lengths.end()).zip(&hashes[start..]) {
            gram = mix(gram ^ next);
            if n >= *lengths.start() && (n > 1 || (next != START && next != END)) {
                add(features, block, gram);
            }
        }
    }
}

fn char_grams(analysis: &Analysis, features: &mut Features) {
    let prepared = &analysis.prepared;
    let mut letters = std::mem::take(&mut features.letters);
    for &token in prepared.tokens() {
        let word = prepared.word(token);
        if word == RECENT_YEAR {
            continue;
        }
        letters.clear();
        letters.push(u32::from(' '));
        letters.extend(word.chars().map(u32::from));
        letters.push(u32::from(' '));
        for start in 0..letters.len() {
            let mut gram = FNV_OFFSET;
            for (n, &letter) in letters[start..].iter().take(5).enumerate() {
                gram = (gram ^ u64::from(letter)).wrapping_mul(FNV_PRIME);
                if n >= 2 {
                    add(features, Block::Chars, mix(gram));
                }
            }
        }
    }
    features.letters = letters;
}

#[inline]
fn add(features: &mut Features, block: Block, hash: u64) {
    let bucket = (hash >> (64 - block.bits())) as u32;
    let word = &mut features.seen[block as usize][bucket as usize / 64];
    let bit = 1 << (bucket % 64);
    if *word & bit == 0 {
        *word |= bit;
        features.buckets[block as usize].push(bucket);
    }
}

/// A stem is this many characters: shorter merges unlike words, longer parts inflected forms.
const STEM_CHARS: usize = 5;
const ENDINGS: [&str; 11] = ["ing", "ed", "tion", "ly", "ity", "ics", "ism", "ase", "ine", "ate", "s"];

const START: u64 = 1;
const END: u64 = 2;
const NAME: u64 = 3;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;

/// FNV-1a (Fowler, Noll, Vo): short inputs, the same on every machine.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_OFFSET, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// The finaliser of splitmix64 (Steele, Lea, Flood 2014): spreads every input bit over the high bits.
#[inline]
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
