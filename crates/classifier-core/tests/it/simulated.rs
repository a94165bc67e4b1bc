//! The whole system against a simulated provider: real sockets, real time, real faults.

mod faults;
mod load;
mod traffic;

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use cache_tiers::normalize;
use classifier_core::dataset::{self, Row};
use classifier_core::{ClassificationSystem, Outcome, Request, Source};
use llm_sim::{Brain, Config, Simulator};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::{config, data};

/// No answer may take longer.
const LIMIT: Duration = Duration::from_secs(2);

/// Labelled questions, no two of which share a cache key.
static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let rows = dataset::read_path(&data("heldout")).unwrap();
    let mut seen = HashSet::new();
    rows.into_iter().filter(|row| seen.insert(normalize(&row.query).into_owned())).collect()
});

/// A system that asks a simulated provider whose model knows the labels.
struct World {
    simulator: Simulator,
    system: ClassificationSystem,
    /// Holds what was spent.
    _folder: TempDir,
}

impl World {
    async fn new(simulation: Config, flags: &[(&str, &str)]) -> Self {
        let labelled = ROWS.iter().map(|row| (row.query.as_str(), row.label.as_str()));
        let brain = Brain::default().with_labelled(labelled).unwrap();
        let simulator = Simulator::start(Config { brain, ..simulation }).await.unwrap();
        let (system, folder) = Self::system(&simulator, flags);
        Self { simulator, system, _folder: folder }
    }

    /// A system with everything as by default but where the model is.
    fn system(simulator: &Simulator, flags: &[(&str, &str)]) -> (ClassificationSystem, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let budget = folder.path().join("budget");
        let url = simulator.url();
        let own = [
            ("llm_provider", "openai"),
            ("llm_model", "simulated"),
            ("llm_base_url", url.as_str()),
            ("budget_path", budget.to_str().unwrap()),
        ];
        let system = ClassificationSystem::new(&config(&[&own[..], flags].concat())).unwrap();
        (system, folder)
    }
}

/// An answer, how long it took the one who asked, and when that was.
#[derive(Debug)]
struct Given {
    query: String,
    answer: Outcome,
    took: Duration,
}

/// Asks all questions, so many users at a time, each of whom asks again as soon as the answer is there.
async fn ask_all(
    system: &std::sync::Arc<ClassificationSystem>,
    queries: impl Iterator<Item = String>,
    n_users: usize,
) -> Vec<Given> {
    let mut waiting = queries;
    let mut users = JoinSet::new();
    let mut given = Vec::new();
    loop {
        while users.len() < n_users
            && let Some(query) = waiting.next()
        {
            let system = system.clone();
            users.spawn(async move {
                let asked = Instant::now();
                let answer = system.classify(&Request::new(&query)).await.unwrap();
                Given { query, answer, took: asked.elapsed() }
            });
        }
        match users.join_next().await {
            Some(answered) => given.push(answered.unwrap()),
            None => return given,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_asks_for_two_categories_is_a_hybrid() {
    let flags = [("classifier_mode", "llm"), ("early_acceptance", "off")];
    let world = World::new(Config::default(), &flags).await;
    for (label, is_hybrid) in [("HYBRID", true), ("GENERAL", false)] {
        let row = ROWS.iter().find(|row| row.label == label).unwrap();
        let answer = world.system.classify(&Request::new(&row.query)).await.unwrap();
        assert_eq!((answer.metadata.source, answer.classification.hybrid), (Source::Llm, is_hybrid));
        let second = &answer.classification.alternative_categories[0];
        assert!(!is_hybrid || second.category.as_str() == "REAL_TIME", "{answer:?}");
    }
}

fn slowest(given: &[Given]) -> Duration {
    given.iter().map(|given| given.took).max().unwrap_or_default()
}
