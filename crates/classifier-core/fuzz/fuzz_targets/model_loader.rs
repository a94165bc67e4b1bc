//! The model loader: any bytes, and models whose parts were altered before the digest was made, or after.

#![no_main]

use std::sync::LazyLock;

use classifier_core::{EmbeddedClassifier, ErrorKind, Taxonomy};
use classifier_core_fuzz::{assert_sound, train_hastily};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

const MAGIC: &[u8] = b"HPMODEL\0";
const DIGEST_LENGTH: usize = 16;
/// Where the header's length stands, behind the magic and the version.
const LENGTH_AT: usize = 12;

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Bytes(&'a [u8]),
    Model(Alterations<'a>),
}

/// What is done to a valid model; with nothing done it stays valid.
#[derive(Debug, Arbitrary)]
struct Alterations<'a> {
    base: u8,
    fields: Vec<(u8, Field<'a>)>,
    header_text: Option<Splice<'a>>,
    taxonomy_text: Vec<Splice<'a>>,
    /// Weights, over and over; none are those of the base.
    weights: &'a [u8],
    n_weights: Option<i8>,
    version: Option<u32>,
    header_length: Option<u32>,
    cut: Option<u32>,
    flips_before: Vec<(u32, u8)>,
    flips_after: Vec<(u32, u8)>,
    question: &'a str,
}

#[derive(Debug, Arbitrary)]
enum Field<'a> {
    Remove,
    Null,
    Number(f64),
    Integer(i64),
    Text(&'a str),
    Texts(Vec<&'a str>),
    Numbers(Vec<Vec<f32>>),
    /// One number in each list of lists.
    OneNumber(u8, u8, f32),
}

#[derive(Debug, Arbitrary)]
struct Splice<'a> {
    at: u16,
    n_removed: u8,
    inserted: &'a str,
}

/// A valid model in parts.
struct Base {
    header: Value,
    weights: Vec<u8>,
}

/// Two categories; three with hybrids and cues; nine, which take the loader's slow way.
static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let category = |id: &str, more: &str| {
        format!("[[categories]]\nid = \"{id}\"\ndescription = \"\"\nroute = \"r\"\n{more}\n")
    };
    let cues = |name: &str, patterns: &str| {
        format!("[[categories.cue_groups]]\nname = \"{name}\"\nevidence = \"fires\"\npatterns = {patterns}")
    };
    let two = category("A", "") + &category("B", "");
    let three = category("A", &cues("news", "[\"latest\", \"(new|recent) stud*\"]"))
        + &category("B", &cues("how", "[\"^how ... work$\"]"))
        + &category("C", "")
        + "[[hybrids]]\nlabel = \"AB\"\ncategories = [\"A\", \"B\"]\n";
    let nine: String = (0..9).map(|at| category(&format!("C{at}"), "")).collect();
    [two, three, nine].into_iter().map(|toml| base(&format!("revision = \"1\"\n{toml}"))).collect()
});

fn base(toml: &str) -> Base {
    let taxonomy = Taxonomy::parse(toml).expect("the base's taxonomy is valid");
    let bytes = train_hastily(&taxonomy).expect("the base can be trained").bytes;
    let (length, after) = bytes[LENGTH_AT..].split_first_chunk::<4>().expect("a header's length");
    let (header, rest) = after.split_at(u32::from_le_bytes(*length) as usize);
    Base {
        header: serde_json::from_slice(header).expect("a header"),
        weights: rest[..rest.len() - DIGEST_LENGTH].to_vec(),
    }
}

impl Alterations<'_> {
    fn file(&self) -> Vec<u8> {
        let base = &BASES[usize::from(self.base) % BASES.len()];
        let mut header = base.header.clone();
        if let Value::String(taxonomy) = &mut header["taxonomy"] {
            self.taxonomy_text.iter().for_each(|splice| splice.apply(taxonomy));
        }
        let fields = header.as_object_mut().expect("a header is an object");
        for (which, change) in &self.fields {
            let names: Vec<String> = fields.keys().cloned().collect();
            if let Some(name) = names.get(usize::from(*which) % names.len().max(1)) {
                change.apply(name, fields);
            }
        }
        let mut header = header.to_string();
        if let Some(splice) = &self.header_text {
            splice.apply(&mut header);
        }
        let header_length = self.header_length.unwrap_or(header.len() as u32);
        let n_weights = base.weights.len().saturating_add_signed(self.n_weights.unwrap_or(0).into());
        let weights = if self.weights.is_empty() { &base.weights } else { self.weights };
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&self.version.unwrap_or(1).to_le_bytes());
        file.extend_from_slice(&header_length.to_le_bytes());
        file.extend_from_slice(header.as_bytes());
        file.extend(weights.iter().cycle().take(n_weights));
        if let Some(cut) = self.cut {
            file.truncate(cut as usize % (file.len() + 1));
        }
        flip(&mut file, &self.flips_before);
        let mut digest = [0; DIGEST_LENGTH];
        blake3::Hasher::new().update(&file).finalize_xof().fill(&mut digest);
        file.extend_from_slice(&digest);
        file
    }
}

impl Field<'_> {
    fn apply(&self, name: &str, fields: &mut serde_json::Map<String, Value>) {
        let value = match self {
            Self::Remove => {
                fields.remove(name);
                return;
            }
            Self::OneNumber(list, at, number) => {
                let lists = fields.get_mut(name).and_then(Value::as_array_mut);
                let list = lists.and_then(|lists| lists.get_mut(usize::from(*list))?.as_array_mut());
                if let Some(slot) = list.and_then(|list| list.get_mut(usize::from(*at))) {
                    *slot = json!(number);
                }
                return;
            }
            Self::Null => Value::Null,
            Self::Number(number) => json!(number),
            Self::Integer(number) => json!(number),
            Self::Text(text) => json!(text),
            Self::Texts(texts) => json!(texts),
            Self::Numbers(numbers) => json!(numbers),
        };
        fields.insert(name.to_owned(), value);
    }
}

impl Splice<'_> {
    fn apply(&self, text: &mut String) {
        let start = text.floor_char_boundary(usize::from(self.at) % (text.len() + 1));
        let end = text.floor_char_boundary(text.len().min(start + usize::from(self.n_removed)));
        text.replace_range(start..end.max(start), self.inserted);
    }
}

fn flip(file: &mut [u8], flips: &[(u32, u8)]) {
    for &(at, bits) in flips {
        let n = file.len().max(1);
        if let Some(byte) = file.get_mut(at as usize % n) {
            *byte ^= bits;
        }
    }
}

fn load(file: &[u8]) -> Option<EmbeddedClassifier> {
    match EmbeddedClassifier::from_bytes(file) {
        Ok(classifier) => Some(classifier),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidModel, "{error}");
            None
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let alterations = match input {
        Input::Bytes(bytes) => {
            assert!(load(bytes).is_none(), "a model was found by chance, which takes 2^128 trials");
            return;
        }
        Input::Model(alterations) => alterations,
    };
    let mut file = alterations.file();
    let sealed = file.clone();
    flip(&mut file, &alterations.flips_after);
    let Some(classifier) = load(&file) else { return };
    assert_eq!(file, sealed, "altered behind its digest, and yet it loads");
    for question in [alterations.question, "", "what is the latest new study, and how does it work"] {
        assert_sound(&classifier, question);
    }
});
