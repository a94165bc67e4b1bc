//! What models cost: prices per token, and the table they are looked up in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::{LlmError, LlmErrorKind, MicroDollars, Usage};

const BUILT_IN: &str = include_str!("../data/prices.toml");

/// What a model's tokens cost.
///
/// ```
/// use llm_optimizer::{MicroDollars, PriceTable, Usage};
///
/// let price = PriceTable::built_in().price("gpt-4o-mini-2024-07-18").expect("its family is in the table");
/// let usage = Usage { input_tokens: 1_000, cached_input_tokens: 400, output_tokens: 20, ..Usage::default() };
/// // 600 × $0.15 + 400 × $0.075 + 20 × $0.60, each by the million.
/// assert_eq!(price.cost(&usage), MicroDollars(132));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    input: PerToken,
    cached_input: PerToken,
    cache_write: PerToken,
    output: PerToken,
}

/// Millionths of a micro-dollar per token, which is to say of a dollar per million tokens.
type PerToken = u64;

const PER_MICRO: u128 = 1_000_000;

/// The dearest price that is taken for one, in dollars per million tokens.
const DEAREST: f64 = 1e6;

impl Price {
    /// Nothing: a model of one's own.
    pub const FREE: Self = Self { input: 0, cached_input: 0, cache_write: 0, output: 0 };

    /// A price in dollars per million tokens of the prompt and of the reply. Reading and writing the provider's cache
    /// costs as much as the rest of the prompt.
    ///
    /// # Errors
    /// `InvalidConfig` for what is negative, no number, or more than a million.
    pub fn per_million(input: f64, output: f64) -> Result<Self, LlmError> {
        let (input, output) = (per_token("input", input)?, per_token("output", output)?);
        Ok(Self { input, cached_input: input, cache_write: input, output })
    }

    /// With prices of what is read from the provider's cache, and written to it, in dollars per million tokens.
    ///
    /// # Errors
    /// Those of [`per_million`](Self::per_million).
    pub fn with_cache(mut self, cached_input: f64, cache_write: f64) -> Result<Self, LlmError> {
        self.cached_input = per_token("cached_input", cached_input)?;
        self.cache_write = per_token("cache_write", cache_write)?;
        Ok(self)
    }

    /// What a call has cost, rounded up. The parts of the prompt never count for more tokens than the prompt has,
    /// unless the provider says so.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> MicroDollars {
        let Usage { input_tokens, cached_input_tokens, cache_write_tokens, output_tokens } = *usage;
        let plain = input_tokens.saturating_sub(cached_input_tokens).saturating_sub(cache_write_tokens);
        rounded_up(&[
            (plain, self.input),
            (cached_input_tokens, self.cached_input),
            (cache_write_tokens, self.cache_write),
            (output_tokens, self.output),
        ])
    }

    /// The most a call can cost: the prompt at its dearest, and a reply of full length.
    #[must_use]
    pub fn most(&self, n_prompt_tokens: u32, max_output_tokens: u32) -> MicroDollars {
        let input = self.input.max(self.cached_input).max(self.cache_write);
        rounded_up(&[(n_prompt_tokens, input), (max_output_tokens, self.output)])
    }

    /// What the provider's cache has saved in a call, in micro-dollars; less than nothing where writing to it has cost
    /// more than reading from it saved.
    #[must_use]
    pub fn saved_by_cache(&self, usage: &Usage) -> i64 {
        let saved = |n: u32, price| i128::from(n) * (i128::from(self.input) - i128::from(price));
        let sum = saved(usage.cached_input_tokens, self.cached_input)
            + saved(usage.cache_write_tokens, self.cache_write);
        // OK to cast: 2³² tokens at the dearest price are less than 2⁶³ micro-dollars.
        (sum / PER_MICRO as i128) as i64
    }
}

fn rounded_up(parts: &[(u32, PerToken)]) -> MicroDollars {
    let sum: u128 = parts.iter().map(|&(n, price)| u128::from(n) * u128::from(price)).sum();
    MicroDollars(u64::try_from(sum.div_ceil(PER_MICRO)).unwrap_or(u64::MAX))
}

fn per_token(key: &str, dollars: f64) -> Result<PerToken, LlmError> {
    if !(0.0..=DEAREST).contains(&dollars) {
        let message = format!("{key} is {dollars}, write dollars per million tokens, from 0 to {DEAREST}");
        return Err(invalid(message));
    }
    // OK to cast: it is between 0 and 10¹². What is not free never becomes so.
    let price = (dollars * 1e6).round() as u64;
    Ok(if dollars > 0.0 { price.max(1) } else { price })
}

/// Prices by the names of models.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PriceTable {
    prices: BTreeMap<String, Price>,
}

impl PriceTable {
    /// A table without prices.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The prices that come with this crate, as published by the end of November 2025: models of OpenAI, Anthropic and
    /// Google. Prices change; what matters to somebody is written into a file of their own.
    #[must_use]
    pub fn built_in() -> Self {
        // OK to fall back to none: a test reads it.
        Self::parse("prices.toml", BUILT_IN).unwrap_or_default()
    }

    /// The table with a file's prices in place of those it has for the same names.
    ///
    /// # Errors
    /// `InvalidConfig`, naming line and key.
    pub fn with_file(self, path: &Path) -> Result<Self, LlmError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| invalid(format!("the prices in {name} cannot be read")).with_source(error))?;
        Ok(self.merged(Self::parse(&name, &text)?))
    }

    /// The table with another one's prices in place of those it has for the same names.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        self.prices.extend(other.prices);
        self
    }

    /// The table with the price of one model.
    #[must_use]
    pub fn with_price(mut self, model: impl Into<String>, price: Price) -> Self {
        self.prices.insert(model.into(), price);
        self
    }

    /// Reads a table of the form of `data/prices.toml`; `name` is what errors call it.
    ///
    /// # Errors
    /// `InvalidConfig`, naming line and key.
    pub fn parse(name: &str, text: &str) -> Result<Self, LlmError> {
        let raw: RawTable = toml::from_str(text)
            .map_err(|error| invalid(format!("{name} is no table of prices: {}", one_line(&error, text))))?;
        let mut prices = BTreeMap::new();
        for (model, raw) in raw.models {
            let line = line_of(text, raw.span().start);
            let price = raw.into_inner().price().map_err(|error| {
                invalid(format!("{name}, line {line}, models.{}: {error}", toml::Value::from(&*model)))
            })?;
            prices.insert(model, price);
        }
        Ok(Self { prices })
    }

    /// The price of a model by its name, or by the longest name in the table of which it is a dated version. None if
    /// there is none; a model that costs nothing is in the table with prices of 0.
    #[must_use]
    pub fn price(&self, model: &str) -> Option<Price> {
        let fits = |name: &str| model.strip_prefix(name).is_some_and(is_version);
        let found = self.prices.get(model).or_else(|| {
            let fitting = self.prices.iter().filter(|(name, _)| fits(name));
            fitting.max_by_key(|(name, _)| name.len()).map(|(_, price)| price)
        });
        found.copied()
    }

    /// The price of a model that must have one.
    ///
    /// # Errors
    /// `InvalidConfig` if the table has none.
    pub fn require(&self, model: &str) -> Result<Price, LlmError> {
        self.price(model).ok_or_else(|| {
            let name = toml::Value::from(model);
            invalid(format!(
                "the model {name} has no price, add [models.{name}] with input and output in dollars per million \
                 tokens to the file of prices; 0 for a model that costs nothing"
            ))
        })
    }
}

/// Whether what follows a model's name dates it: `-2024-07-18`, `@20250929`, `-latest`, `-preview-09-2025`, `-001`. A
/// single digit is another model (`-4-1`), and so is a word (`-pro`).
fn is_version(rest: &str) -> bool {
    let mut parts = rest.split(['-', '@']);
    parts.next() == Some("")
        && parts.all(|part| match part {
            "latest" | "preview" | "exp" => true,
            _ => part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_digit()),
        })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    /// For those who read the file.
    #[serde(rename = "as_of")]
    _as_of: Option<String>,
    #[serde(default)]
    models: BTreeMap<String, Spanned<RawPrice>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPrice {
    input: f64,
    cached_input: Option<f64>,
    cache_write: Option<f64>,
    output: f64,
}

impl RawPrice {
    fn price(&self) -> Result<Price, LlmError> {
        let Self { input, cached_input, cache_write, output } = *self;
        Price::per_million(input, output)?
            .with_cache(cached_input.unwrap_or(input), cache_write.unwrap_or(input))
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error.span().map(|span| line_of(text, span.start));
    let message = error.message().replace('\n', ", ");
    line.map_or(message.clone(), |line| format!("line {line}: {message}"))
}

fn invalid(message: impl Into<String>) -> LlmError {
    LlmError::new(LlmErrorKind::InvalidConfig, message)
}

#[cfg(test)]
#[path = "tests/prices.rs"]
mod tests;
