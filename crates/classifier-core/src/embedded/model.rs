//! The model: int8 weights of a multinomial logistic regression, and the file they come in.
//!
//! | bytes | what |
//! | --- | --- |
//! | 8 | `HPMODEL\0` |
//! | 4 | format version, little-endian |
//! | 4 | length of the header, little-endian |
//! | … | header: JSON ([`Header`]), the taxonomy among it |
//! | … | weights: for each dense feature and then for each bucket of each block, one int8 an output |
//! | 16 | BLAKE3 of all bytes before, truncated |

use serde::{Deserialize, Serialize};

use super::analysis::Analyzer;
use super::features::{self, Block, FEATURE_VERSION, Features, N_BLOCKS};
use crate::error::{Error, ErrorKind, Result, nearest, suggestion};
use crate::lexicon;
use crate::taxonomy::Taxonomy;

const MAGIC: &[u8; 8] = b"HPMODEL\0";
const FORMAT_VERSION: u32 = 1;
const DIGEST_LENGTH: usize = 16;
/// Longer than any model made by this trainer with the most categories a taxonomy may have.
const MAX_LENGTH: usize = 64 << 20;

/// What a model file says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    feature_version: u32,
    /// Hex digest of the lexicons whose terms are features.
    lexicons: String,
    /// Categories, then hybrids.
    outputs: Vec<String>,
    n_dense: usize,
    /// Logits are divided by this before the softmax (Guo et al. 2017).
    pub(crate) temperature: f64,
    /// What one step of an int8 weight is worth: dense, then each hashed block; one value an output.
    scales: Vec<Vec<f32>>,
    /// Rows the weights were fitted to.
    pub(crate) n_rows: usize,
    /// Hex digest of those rows.
    pub(crate) rows_digest: String,
    /// The taxonomy's own text, so that a model file is all it takes.
    taxonomy: String,
}

/// Weights and the analyser whose features they weigh.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) header: Header,
    pub(crate) taxonomy: Taxonomy,
    pub(crate) analyzer: Analyzer,
    /// Dense rows, then the buckets of each block; a row has one weight an output.
    weights: Vec<i8>,
    /// Index of the first row of dense and of each hashed block.
    first_row: [usize; 1 + N_BLOCKS],
    pub(crate) digest: [u8; DIGEST_LENGTH],
}

/// Weights before they are rounded: one row a feature, one column an output.
#[derive(Debug, Clone)]
pub(crate) struct RawWeights {
    pub(crate) n_outputs: usize,
    pub(crate) rows: Vec<f64>,
}

/// The number of weight rows for a given number of dense features.
pub(crate) fn n_rows(n_dense: usize) -> usize {
    n_dense + Block::ALL.iter().map(|block| block.n_buckets()).sum::<usize>()
}

fn first_rows(n_dense: usize) -> [usize; 1 + N_BLOCKS] {
    let mut first = [0; 1 + N_BLOCKS];
    let mut next = n_dense;
    for block in Block::ALL {
        first[block as usize + 1] = next;
        next += block.n_buckets();
    }
    first
}

/// The row of a hashed feature.
pub(crate) fn bucket_row(n_dense: usize, block: Block, bucket: u32) -> usize {
    first_rows(n_dense)[block as usize + 1] + bucket as usize
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidModel, message)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Model {
    /// Rounds weights to int8 and writes the file's bytes.
    pub(crate) fn encode(
        taxonomy: &Taxonomy,
        weights: &RawWeights,
        temperature: f64,
        n_rows: usize,
        rows_digest: &[u8],
    ) -> Result<Vec<u8>> {
        let n_outputs = weights.n_outputs;
        let n_dense = weights.rows.len() / n_outputs - self::n_rows(0);
        let first = first_rows(n_dense);
        let mut scales = Vec::new();
        let mut rounded = Vec::with_capacity(weights.rows.len());
        for (at, &start) in first.iter().enumerate() {
            let end = first.get(at + 1).copied().unwrap_or(weights.rows.len() / n_outputs);
            let block = &weights.rows[start * n_outputs..end * n_outputs];
            let mut largest = vec![0.0_f64; n_outputs];
            for row in block.chunks_exact(n_outputs) {
                for (largest, weight) in largest.iter_mut().zip(row) {
                    *largest = largest.max(weight.abs());
                }
            }
            let steps: Vec<f32> = largest.iter().map(|&largest| (largest / 127.0) as f32).collect();
            for row in block.chunks_exact(n_outputs) {
                for (&weight, &step) in row.iter().zip(&steps) {
                    rounded.push(if step > 0.0 { (weight / f64::from(step)).round() as i8 as u8 } else { 0 });
                }
            }
            scales.push(steps);
        }
        let header = Header {
            feature_version: FEATURE_VERSION,
            lexicons: hex(&lexicon::digest()),
            outputs: taxonomy.labels().map(str::to_owned).collect(),
            n_dense,
            temperature,
            scales,
            n_rows,
            rows_digest: hex(rows_digest),
            taxonomy: taxonomy.source().to_owned(),
        };
        let header = serde_json::to_vec(&header)
            .map_err(|error| invalid("cannot write the model's header").with_source(error))?;
        let mut file = Vec::with_capacity(header.len() + rounded.len() + 32);
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        file.extend_from_slice(&(header.len() as u32).to_le_bytes());
        file.extend_from_slice(&header);
        file.extend_from_slice(&rounded);
        let digest = digest(&file);
        file.extend_from_slice(&digest);
        Ok(file)
    }

    /// Reads a model file; every byte is checked against the digest before any is believed.
    pub(crate) fn decode(file: &[u8]) -> Result<Self> {
        let rest = file.strip_prefix(MAGIC).ok_or_else(|| {
            invalid(
                "this is no model file (it does not start with HPMODEL); make one with `hp-classify train`",
            )
        })?;
        if file.len() > MAX_LENGTH {
            return Err(invalid(format!("the model file is longer than {MAX_LENGTH} bytes")));
        }
        let version = u32::from_le_bytes(*rest.first_chunk().ok_or_else(truncated)?);
        if version != FORMAT_VERSION {
            return Err(invalid(format!(
                "the model file has format version {version}, this program reads version {FORMAT_VERSION}; \
                 train it again with `hp-classify train`"
            )));
        }
        let (body, stored) = file.split_last_chunk::<DIGEST_LENGTH>().ok_or_else(truncated)?;
        let digest = digest(body);
        if digest != *stored {
            return Err(invalid(
                "the model file is truncated or altered (its digest does not match); copy it again or train it again",
            ));
        }
        let after_version = body.get(MAGIC.len() + 4..).ok_or_else(truncated)?;
        let (length, after) = after_version.split_first_chunk::<4>().ok_or_else(truncated)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, weights) = after.split_at_checked(length).ok_or_else(truncated)?;
        let header: Header = serde_json::from_slice(header).map_err(|error| {
            invalid(format!("the model's header cannot be read: {error}")).with_source(error)
        })?;
        Self::assemble(header, weights, digest)
    }

    fn assemble(header: Header, weights: &[u8], digest: [u8; DIGEST_LENGTH]) -> Result<Self> {
        if header.feature_version != FEATURE_VERSION || header.lexicons != hex(&lexicon::digest()) {
            return Err(invalid(
                "the model was trained with another version of the features or lexicons; train it again with \
                 `hp-classify train`",
            ));
        }
        let taxonomy = Taxonomy::parse(&header.taxonomy).map_err(|error| {
            invalid(format!("the model's taxonomy is invalid: {error}")).with_source(error)
        })?;
        let n_outputs = header.outputs.len();
        let n_dense = features::n_dense(&taxonomy);
        let sound = taxonomy.labels().eq(header.outputs.iter().map(String::as_str))
            && header.n_dense == n_dense
            && weights.len() == n_rows(n_dense) * n_outputs
            && header.scales.len() == 1 + N_BLOCKS
            && header.scales.iter().all(|scales| scales.len() == n_outputs)
            && header.scales.iter().flatten().all(|scale| scale.is_finite())
            && header.temperature.is_finite()
            && header.temperature > 0.0;
        if !sound {
            return Err(invalid(
                "the model's parts do not fit together; train it again with `hp-classify train`",
            ));
        }
        let analyzer = Analyzer::new(&taxonomy).map_err(|error| {
            invalid(format!("the model's taxonomy is invalid: {error}")).with_source(error)
        })?;
        Ok(Self {
            first_row: first_rows(n_dense),
            weights: weights.iter().map(|&byte| byte as i8).collect(),
            header,
            taxonomy,
            analyzer,
            digest,
        })
    }

    /// Whether a label of `taxonomy` is a known one misspelt.
    pub(crate) fn misspelt(&self, taxonomy: &Taxonomy) -> bool {
        let known = || self.header.outputs.iter().map(String::as_str);
        let mut labels = taxonomy.labels();
        labels.any(|label| known().all(|other| other != label) && nearest(label, known()).is_some())
    }

    /// Whether this model answers for `taxonomy`: the same labels and the same cues, whatever else differs.
    pub(crate) fn check_serves(&self, taxonomy: &Taxonomy) -> Result<()> {
        for label in taxonomy.labels() {
            if !self.header.outputs.iter().any(|known| known == label) {
                let hint = suggestion(label, self.header.outputs.iter().map(String::as_str));
                let hint = if hint.is_empty() { ";" } else { hint.as_str() };
                return Err(invalid(format!(
                    "the model does not know the label `{label}`{hint} train one with \
                     `hp-classify train --taxonomy … --data … --out …`"
                )));
            }
        }
        let cues = |taxonomy: &Taxonomy| -> Vec<_> {
            let groups = taxonomy.cue_groups();
            groups.map(|(category, group)| (category, group.name.clone(), group.patterns.clone())).collect()
        };
        if !taxonomy.labels().eq(self.taxonomy.labels())
            || taxonomy.hybrids() != self.taxonomy.hybrids()
            || cues(taxonomy) != cues(&self.taxonomy)
        {
            return Err(invalid(
                "the model was trained with other labels or cue groups than this taxonomy has; train one with \
                 `hp-classify train --taxonomy … --data … --out …`",
            ));
        }
        Ok(())
    }

    pub(crate) fn n_outputs(&self) -> usize {
        self.header.outputs.len()
    }

    /// The logits of all outputs, before the temperature.
    pub(crate) fn logits(&self, features: &Features, logits: &mut Vec<f64>) {
        let n = self.n_outputs();
        logits.clear();
        logits.resize(n, 0.0);
        for &(row, value) in &features.dense {
            for (output, logit) in logits.iter_mut().enumerate() {
                *logit += f64::from(value) * self.dense_weight(row, output);
            }
        }
        // OK to be fixed: more outputs than this take the slower way below.
        let mut sums = [0_i32; 8];
        for block in Block::ALL {
            let value = features.bucket_value(block);
            let scales = &self.header.scales[block as usize + 1];
            let rows = &self.weights[self.first_row[block as usize + 1] * n..];
            let buckets = &features.buckets[block as usize];
            if n <= sums.len() {
                sums.fill(0);
                for &bucket in buckets {
                    let row = &rows[bucket as usize * n..][..n];
                    for (sum, &weight) in sums.iter_mut().zip(row) {
                        *sum = sum.wrapping_add(i32::from(weight));
                    }
                }
                for ((logit, &sum), &scale) in logits.iter_mut().zip(&sums).zip(scales) {
                    *logit += f64::from(value) * f64::from(scale) * f64::from(sum);
                }
            } else {
                for (output, logit) in logits.iter_mut().enumerate() {
                    let sum: i64 =
                        buckets.iter().map(|&bucket| i64::from(rows[bucket as usize * n + output])).sum();
                    *logit += f64::from(value) * f64::from(scales[output]) * sum as f64;
                }
            }
        }
    }

    /// The weight of a dense feature.
    pub(crate) fn dense_weight(&self, row: u32, output: usize) -> f64 {
        let weight = self.weights[row as usize * self.n_outputs() + output];
        f64::from(weight) * f64::from(self.header.scales[0][output])
    }

    /// Turns logits into probabilities that are finite and sum to 1.
    pub(crate) fn softmax(&self, logits: &mut [f64]) {
        softmax(logits, self.header.temperature);
    }
}

/// The softmax of `logits / temperature`, in place.
pub(crate) fn softmax(logits: &mut [f64], temperature: f64) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for logit in logits.iter_mut() {
        *logit = libm::exp((*logit - largest) / temperature);
    }
    let sum: f64 = logits.iter().sum();
    for logit in logits {
        *logit /= sum;
    }
}

fn truncated() -> Error {
    invalid("the model file is truncated; copy it again or train it again")
}

fn digest(bytes: &[u8]) -> [u8; DIGEST_LENGTH] {
    let mut digest = [0; DIGEST_LENGTH];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut digest);
    digest
}
