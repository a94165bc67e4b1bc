//! What the tests share: questions to ask, systems to ask them of, and a classifier whose every step is known.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use classifier_core::config::Layers;
use classifier_core::dataset::{self, Row};
use classifier_core::{
    Alternative, BiomedicalSignals, Classification, ClassificationSystem, Classifier, Config, DegradedReason,
    EmbeddedClassifier, EmbeddedOptions, Request, Result, Source, Taxonomy, TemporalSignals, TrainOptions,
    Verdict, train,
};
use hp_base::{ManualClock, Priority};

/// Ordinary questions of each kind.
pub(crate) const QUESTIONS: [&str; 6] = [
    "How does excess fructose raise uric acid?",
    "Which transporter carries carnitine into muscle cells?",
    "What are the latest clinical trials of metabolomics in sepsis?",
    "Newest studies on bile acids and FXR since 2023",
    "What is a metabolome?",
    "how do I normalise my LC-MS data",
];

/// The built-in classifier, to which years from 2024 on are recent whatever the day.
pub(crate) fn built_in() -> &'static Arc<EmbeddedClassifier> {
    static BUILT_IN: LazyLock<Arc<EmbeddedClassifier>> = LazyLock::new(|| Arc::new(recent_from(2024)));
    &BUILT_IN
}

/// The built-in classifier with a cut-off of its own.
pub(crate) fn recent_from(year: u16) -> EmbeddedClassifier {
    let options = EmbeddedOptions { recent_from_year: Some(year), ..EmbeddedOptions::default() };
    EmbeddedClassifier::built_in().with_options(options)
}

/// A file or folder of the built-in model's data.
pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/clinical-metabolomics").join(name)
}

/// The first questions of the held-out rows.
pub(crate) fn held_out(n: usize) -> Vec<String> {
    let rows = dataset::read_path(&data("heldout")).unwrap();
    rows.into_iter().take(n).map(|row| row.query).collect()
}

/// The configuration that these flags make, with nothing on disk unless they say where.
pub(crate) fn config(flags: &[(&str, &str)]) -> Config {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags: Vec<_> = [("l2_cache_enabled", "false")].iter().chain(flags).map(owned).collect();
    Layers { flags, ..Layers::default() }.resolve().unwrap().config
}

/// A system that these flags make, with a clock that stands still.
pub(crate) fn system(flags: &[(&str, &str)]) -> (ClassificationSystem, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let system = ClassificationSystem::builder(&config(flags)).with_clock(clock.clone()).build().unwrap();
    (system, clock)
}

/// A system with an empty cache around the one built-in classifier, which takes longer to load than to ask.
pub(crate) fn quick_system(flags: &[(&str, &str)]) -> (ClassificationSystem, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new());
    let config = config(flags);
    let builder = ClassificationSystem::builder(&config).with_clock(clock.clone());
    (builder.with_classifier(built_in().clone()).build().unwrap(), clock)
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Waits until something is so, for half a minute at most.
pub(crate) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(std::time::Instant::now() < deadline, "in vain waited until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Whether the system had the answer to a plain question in its cache.
pub(crate) async fn is_hit(system: &ClassificationSystem, query: &str) -> bool {
    system.classify(&Request::new(query)).await.unwrap().metadata.cache_hit
}

/// Two categories that have nothing to do with metabolomics.
pub(crate) const HELP_DESK: &str = r#"
revision = "help-desk-1"

[[categories]]
id = "BILLING"
description = "Invoices and payments."
route = "finance"
examples = ["where is my invoice", "the card was charged twice", "I need a refund"]

[[categories.cue_groups]]
name = "invoice"
evidence = "names an invoice or a payment"
patterns = ["invoice*", "(charged|paid) twice", "refund*"]

[[categories]]
id = "TECHNICAL"
description = "Faults of the product."
route = "support"
examples = ["the app does not start", "it crashes with an error"]

[[categories.cue_groups]]
name = "fault"
evidence = "describes a fault"
patterns = ["crash*", "error*", "(does not|wont) (start|open|load)"]
"#;

/// Twenty questions of each category of the help desk.
pub(crate) fn help_desk_rows() -> Vec<Row> {
    let things =
        ["order", "account", "plan", "team", "shop", "phone", "tablet", "office", "trial", "licence"];
    let forms = [
        ("BILLING", "where is the invoice for my "),
        ("BILLING", "I want a refund, I paid twice for the "),
        ("TECHNICAL", "error message when I open the "),
        ("TECHNICAL", "it crashes and wont start on the "),
    ];
    let mut lines = String::new();
    for (label, form) in forms {
        for thing in things {
            lines.push_str(&format!("{{\"query\": \"{form}{thing}\", \"label\": \"{label}\"}}\n"));
        }
    }
    dataset::read_rows("help desk", lines.as_bytes()).unwrap()
}

/// A model of the help desk.
pub(crate) fn help_desk_model() -> Vec<u8> {
    let taxonomy = Taxonomy::parse(HELP_DESK).unwrap();
    train(&taxonomy, &help_desk_rows(), &TrainOptions::default()).unwrap().bytes
}

/// A classifier that takes a known time, counts how often it is asked, and always answers the same.
#[derive(Debug)]
pub(crate) struct Stepping {
    pub(crate) taxonomy: Taxonomy,
    pub(crate) revision: [u8; 16],
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) takes: Duration,
    /// What it says of all its answers.
    pub(crate) degraded: Option<DegradedReason>,
    /// Whether it lets others have a turn before it answers.
    pub(crate) waits: bool,
    n_asked: AtomicU64,
    n_at_once: AtomicU64,
    most_at_once: AtomicU64,
}

impl Stepping {
    pub(crate) fn new(clock: Arc<ManualClock>, takes: Duration) -> Self {
        let taxonomy = Taxonomy::parse(HELP_DESK).unwrap();
        Self {
            taxonomy,
            revision: [7; 16],
            clock,
            takes,
            degraded: None,
            waits: false,
            n_asked: AtomicU64::new(0),
            n_at_once: AtomicU64::new(0),
            most_at_once: AtomicU64::new(0),
        }
    }

    pub(crate) fn most_at_once(&self) -> u64 {
        self.most_at_once.load(Ordering::Relaxed)
    }

    pub(crate) fn n_asked(&self) -> u64 {
        self.n_asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Classifier for Stepping {
    async fn classify(&self, request: &Request<'_>) -> Result<Verdict> {
        self.n_asked.fetch_add(1, Ordering::Relaxed);
        let n_at_once = self.n_at_once.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_at_once.fetch_max(n_at_once, Ordering::Relaxed);
        if self.waits {
            // So often that whoever is about to ask does.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        self.n_at_once.fetch_sub(1, Ordering::Relaxed);
        self.clock.advance(self.takes);
        let [first, second] = [0, 1].map(|at| &self.taxonomy.categories()[at]);
        let urgent = request.priority == Priority::High;
        let classification = Classification {
            category: first.id.clone(),
            confidence: 0.75,
            reasoning: if urgent { "asked urgently" } else { "asked" }.to_owned(),
            alternative_categories: vec![Alternative { category: second.id.clone(), confidence: 0.25 }],
            uncertainty_indicators: Vec::new(),
            biomedical_signals: BiomedicalSignals::default(),
            temporal_signals: TemporalSignals::default(),
            hybrid: false,
            route: first.route.clone(),
            degraded: self.degraded,
        };
        Ok(Verdict::new(classification, Source::Embedded))
    }

    fn taxonomy(&self) -> &Taxonomy {
        &self.taxonomy
    }

    fn revision(&self) -> [u8; 16] {
        self.revision
    }
}
