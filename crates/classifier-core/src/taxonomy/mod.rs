//! What a question can be: categories, their cues, and which pairs of them can be asked for at once.

mod parse;
mod variations;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use self::variations::Variation;
use crate::dataset::Row;
use crate::error::{Error, Result};
use crate::text::PatternSetBuilder;

/// The categories a classifier chooses from; read from TOML, see [`Taxonomy::parse`].
///
/// ```
/// use classifier_core::Taxonomy;
///
/// let taxonomy = Taxonomy::clinical_metabolomics();
/// let routes: Vec<_> = taxonomy.categories().iter().map(|category| category.route.as_str()).collect();
/// assert_eq!(routes, ["lightrag", "perplexity", "either"]);
/// ```
#[derive(Clone, PartialEq)]
pub struct Taxonomy {
    revision: String,
    categories: Vec<Category>,
    hybrids: Vec<Hybrid>,
    variations: Vec<Variation>,
    source: Arc<str>,
}

/// One category.
#[derive(Debug, Clone, PartialEq)]
pub struct Category {
    /// The name that answers carry; unique.
    pub id: CategoryId,
    /// What belongs here, in a sentence.
    pub description: String,
    /// Where questions of this category go.
    pub route: String,
    /// How long answers of this category may be cached, if shorter than the caches' own times; the key
    /// `cache_ttl_seconds`.
    pub cache_ttl: Option<Duration>,
    /// Patterns that speak for this category.
    pub cue_groups: Vec<CueGroup>,
    /// Questions that belong here.
    pub examples: Vec<String>,
}

/// Patterns that say the same thing about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CueGroup {
    /// Unique in the taxonomy.
    pub name: String,
    /// The clause that stands in an answer's reasoning, as in "asks for the newest information".
    pub evidence: String,
    /// In the pattern language described in `docs/embedded-classifier.md`.
    pub patterns: Vec<String>,
}

/// Two categories that one question can ask for at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hybrid {
    /// The label of such questions in training and evaluation data.
    pub label: String,
    /// Indices into [`Taxonomy::categories`], the smaller first.
    pub categories: [usize; 2],
}

/// The name of a category; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CategoryId(Arc<str>);

impl Taxonomy {
    /// The built-in taxonomy of the clinical-metabolomics assistant.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the file is compiled in, and a test parses it")]
    pub fn clinical_metabolomics() -> Self {
        Self::parse(include_str!("../../data/clinical-metabolomics/taxonomy.toml"))
            .expect("the built-in taxonomy is valid")
    }

    /// Reads a taxonomy from TOML.
    ///
    /// ```
    /// let taxonomy = classifier_core::Taxonomy::parse(r#"
    /// revision = "1"
    ///
    /// [[categories]]
    /// id = "BILLING"
    /// description = "Invoices and payments."
    /// route = "finance"
    /// examples = ["where is my invoice", "the card was charged twice"]
    ///
    /// [[categories.cue_groups]]
    /// name = "invoice"
    /// evidence = "names an invoice or a payment"
    /// patterns = ["invoice*", "(charged|paid) twice"]
    ///
    /// [[categories]]
    /// id = "OTHER"
    /// description = "Everything else."
    /// route = "desk"
    /// examples = ["hello", "how do I log in"]
    /// "#)?;
    /// assert_eq!(taxonomy.categories().len(), 2);
    /// # Ok::<(), classifier_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidTaxonomy`](crate::ErrorKind::InvalidTaxonomy), with the line, the key and, where one is near, the name
    /// that was probably meant.
    pub fn parse(toml: &str) -> Result<Self> {
        parse::parse(toml)
    }

    /// Reads a taxonomy file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), with the file's name; [`Io`](crate::ErrorKind::Io) when it cannot be read.
    pub fn load(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::io("read the taxonomy", path, source))?;
        Self::parse(&text).map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
    }

    /// The revision its author gave it; part of every cache key.
    #[must_use]
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The categories, in the labels' order.
    #[must_use]
    pub fn categories(&self) -> &[Category] {
        &self.categories
    }

    /// The pairs that one question can ask for at once.
    #[must_use]
    pub fn hybrids(&self) -> &[Hybrid] {
        &self.hybrids
    }

    /// What is asked about as `query` is, by the templates under the key `variations`, in their order.
    ///
    /// A query that is of one of the templates' forms is varied by what it is about: with the templates "what is
    /// {query}" and "explain {query}", the variations of "What is gout?" are "what is gout" and "explain gout".
    pub fn variations<'q>(&'q self, query: &'q str) -> impl Iterator<Item = String> + 'q {
        let subject = variations::subject(&self.variations, query);
        self.variations.iter().map(move |variation| variation.of(&subject))
    }

    /// The TOML it was read from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The index of the category `id`.
    #[must_use]
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.categories.iter().position(|category| category.id.as_str() == id)
    }

    /// All labels that a row of data may carry: the categories, then the hybrids.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let categories = self.categories.iter().map(|category| category.id.as_str());
        categories.chain(self.hybrids.iter().map(|hybrid| hybrid.label.as_str()))
    }

    /// The categories' examples as labelled rows.
    pub(crate) fn example_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for category in &self.categories {
            for example in category.examples.iter().filter(|example| !example.trim().is_empty()) {
                rows.push(Row::example(example, category.id.as_str(), rows.len() as u64 + 1));
            }
        }
        rows
    }

    /// All cue groups with the index of their category.
    pub(crate) fn cue_groups(&self) -> impl Iterator<Item = (usize, &CueGroup)> {
        let numbered = self.categories.iter().enumerate();
        numbered.flat_map(|(index, category)| category.cue_groups.iter().map(move |group| (index, group)))
    }

    /// Adds the cue groups' patterns under the numbers 0, 1, ….
    pub(crate) fn add_patterns(&self, builder: &mut PatternSetBuilder) -> Result<()> {
        for (number, (_, group)) in self.cue_groups().enumerate() {
            for pattern in &group.patterns {
                builder.add(number as u32, pattern).map_err(|error| parse::invalid(error.to_string()))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Taxonomy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taxonomy")
            .field("revision", &self.revision)
            .field("labels", &self.labels().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl CategoryId {
    pub(crate) fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CategoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for CategoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for CategoryId {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl<'de> serde::Deserialize<'de> for CategoryId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(|id| Self(id.into()))
    }
}

impl serde::Serialize for CategoryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
