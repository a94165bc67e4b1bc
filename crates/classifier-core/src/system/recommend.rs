//! What could be better, and what to do about it: from what the system has seen of itself.

use serde::Serialize;

use super::ClassificationSystem;
use super::stats::{SystemStats, WaitingCounts};

/// With fewer requests nothing is said of shares.
const MIN_REQUESTS: u64 = 200;
/// The compliance that is promised.
const COMPLIANCE: f64 = 0.95;
/// What degrades or turns away more than this share is worth a word.
const WORTH_A_WORD: f64 = 0.01;
/// Below this hit rate a full memory is too small.
const LOW_HIT_RATE: f64 = 0.6;
/// From this share of its open files on a process will soon have none left.
const MANY_FILES: f64 = 0.8;
/// Tasks that wait so many milliseconds for their turn make answers late.
const LAGGING_MS: f64 = 50.0;

/// Something that could be better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recommendation {
    /// How much it matters.
    pub priority: RecommendationPriority,
    /// What it is about: `cache`, `response_time`, `traffic`, `llm`, `resources` or `scaling`.
    pub category: &'static str,
    /// What was seen, with the numbers.
    pub issue: String,
    /// What can be done, the likeliest to help first.
    pub suggestions: Vec<String>,
}

/// How much a recommendation matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecommendationPriority {
    /// Answers are late, missing or worse than they need be.
    High,
    /// Something is dearer or slower than it need be.
    Medium,
    /// Something to know.
    Low,
}

impl ClassificationSystem {
    /// What could be better, and what to do about it; what matters most comes first. Empty when nothing is to be said.
    #[must_use]
    pub fn recommendations(&self) -> Vec<Recommendation> {
        let mut all = of_stats(&self.stats(), self.config.resources.target_throughput);
        all.extend(self.missing.iter().map(|missing| Recommendation {
            priority: RecommendationPriority::Medium,
            category: "cache",
            issue: format!("{} is missing: {}", missing.level, missing.reason),
            suggestions: vec!["do what the reason says, or turn the cache off".to_owned()],
        }));
        all.sort_by_key(|recommendation| recommendation.priority);
        all
    }
}

fn of_stats(stats: &SystemStats, target_throughput: f64) -> Vec<Recommendation> {
    let parts =
        [of_times(stats), of_caches(stats), of_traffic(stats, target_throughput), of_resources(stats)];
    parts.into_iter().flatten().collect()
}

fn say(
    priority: RecommendationPriority,
    category: &'static str,
    issue: String,
    suggestions: &[&str],
) -> Recommendation {
    let suggestions = suggestions.iter().map(|&suggestion| suggestion.to_owned()).collect();
    Recommendation { priority, category, issue, suggestions }
}

fn percent(share: f64) -> f64 {
    100.0 * share
}

fn of_times(stats: &SystemStats) -> Vec<Recommendation> {
    let mut all = Vec::new();
    let compliance = stats.response_times.target_compliance_rate;
    if stats.requests.total >= MIN_REQUESTS && compliance < COMPLIANCE {
        all.push(say(
            RecommendationPriority::High,
            "response_time",
            format!(
                "{:.1} % of the answers were within target_response_time_ms, of {:.0} % that are promised",
                percent(compliance),
                percent(COMPLIANCE)
            ),
            &[
                "lower confidence_threshold, so that fewer questions go to a language model",
                "warm the caches with what is asked most (cache_warm_queries)",
                "name a faster model (llm_model)",
            ],
        ));
    }
    if stats.requests.failed > 0 {
        all.push(say(
            RecommendationPriority::High,
            "response_time",
            format!("{} questions had no answer", stats.requests.failed),
            &["give the system a classifier to fall back on (SystemBuilder::with_fallback)"],
        ));
    }
    all
}

fn of_caches(stats: &SystemStats) -> Vec<Recommendation> {
    let (overall, l1) = (&stats.cache.overall, &stats.cache.l1_cache);
    let is_full = l1.enabled && l1.evicted > 0;
    if overall.total_requests < MIN_REQUESTS || overall.hit_rate >= LOW_HIT_RATE || !is_full {
        return Vec::new();
    }
    vec![say(
        RecommendationPriority::Medium,
        "cache",
        format!("the hit rate is {:.1} %, and memory has no room left", percent(overall.hit_rate)),
        &["raise l1_cache_size and l1_cache_size_mb", "keep answers on disk as well (l2_cache_enabled)"],
    )]
}

fn of_traffic(stats: &SystemStats, target_throughput: f64) -> Vec<Recommendation> {
    let mut all = Vec::new();
    let (requests, gate) = (&stats.requests, &stats.gate);
    let share = |n: u64| n as f64 / requests.total.max(1) as f64;
    if requests.total >= MIN_REQUESTS && share(requests.shed) > WORTH_A_WORD {
        all.push(say(
            RecommendationPriority::High,
            "traffic",
            format!("there was no room for {:.1} % of the questions", percent(share(requests.shed))),
            &[
                "raise parallel_llm_calls, if the provider allows it",
                "raise max_batch_size",
                "run more replicas, with quotas of their own at the provider",
            ],
        ));
    }
    let otherwise = requests.degraded.saturating_sub(requests.shed);
    if requests.total >= MIN_REQUESTS && share(otherwise) > WORTH_A_WORD {
        all.push(say(
            RecommendationPriority::High,
            "llm",
            format!(
                "{:.1} % of the answers are degraded: a language model should have given them and did not",
                percent(share(otherwise))
            ),
            &[
                "see by which reason (degraded, in the statistics of the language model)",
                "name a second model (llm_fallback_models) or provider (llm_fallback_provider)",
            ],
        ));
    }
    if gate.limit < gate.ceiling {
        all.push(say(
            RecommendationPriority::Low,
            "traffic",
            format!(
                "{} calls at once are good for the provider now, of {} that are allowed",
                gate.limit, gate.ceiling
            ),
            &["lower parallel_llm_calls if it stays so", "ask the provider for a larger quota"],
        ));
    }
    all.extend(capacity(stats, target_throughput));
    #[cfg(feature = "llm")]
    if let Some(category) = stats.llm.as_ref().and_then(|llm| llm.always_says.as_ref()) {
        all.push(say(
            RecommendationPriority::High,
            "llm",
            format!("the language model says {category} of nearly everything, and is not to be believed"),
            &["name a larger model (llm_model)", "set classifier_mode = \"embedded\""],
        ));
    }
    all
}

/// Whether the way to the classifier carries what `target_throughput_rps` would send there.
fn capacity(stats: &SystemStats, target_throughput: f64) -> Option<Recommendation> {
    let gate = &stats.gate;
    let answered = stats.requests.total.saturating_sub(stats.requests.refused);
    if answered < MIN_REQUESTS || gate.n_calls == 0 {
        return None;
    }
    let per_call = gate.n_questions as f64 / gate.n_calls as f64;
    let carried = gate.limit as f64 * per_call.max(1.0) / (gate.call_p75_ms? / 1e3);
    let sent = target_throughput * gate.n_questions as f64 / answered as f64;
    (sent > carried).then(|| {
        say(
            RecommendationPriority::Medium,
            "traffic",
            format!(
                "at target_throughput_rps = {target_throughput}, {sent:.1} questions a second would go to the classifier, \
                 which takes {carried:.1}"
            ),
            &["raise parallel_llm_calls", "raise max_batch_size", "lower confidence_threshold"],
        )
    })
}

fn of_resources(stats: &SystemStats) -> Vec<Recommendation> {
    let resources = &stats.resources;
    let mut all = Vec::new();
    if resources.memory_pressure {
        all.push(say(
            RecommendationPriority::High,
            "resources",
            format!("{:.0} % of the memory is in use", percent(resources.memory_share.unwrap_or(1.0))),
            &["give the process more memory", "lower l1_cache_size_mb and memory_pool_size_mb"],
        ));
    }
    if resources.cpu_pressure {
        all.push(say(
            RecommendationPriority::High,
            "resources",
            format!("{:.0} % of the processors' time is in use", percent(resources.cpu_share.unwrap_or(1.0))),
            &["give the process more processors", "run more replicas"],
        ));
    }
    if let Some(share) = resources.throttled_share.filter(|&share| share > WORTH_A_WORD) {
        all.push(say(
            RecommendationPriority::High,
            "resources",
            format!("the control group holds the process back for {:.0} % of the time", percent(share)),
            &["raise the processor limit of the container"],
        ));
    }
    if let (Some(n), Some(limit)) = (resources.n_open_files, resources.open_files_limit)
        && n as f64 > limit as f64 * MANY_FILES
    {
        all.push(say(
            RecommendationPriority::High,
            "resources",
            format!("{n} of {limit} files are open"),
            &["raise the limit of open files (ulimit -n)", "lower max_connections"],
        ));
    }
    if let Some(lag) = resources.loop_lag_ms.filter(|&lag| lag > LAGGING_MS) {
        let WaitingCounts { high, normal, low } = stats.gate.n_waiting;
        all.push(say(
            RecommendationPriority::High,
            "resources",
            format!("a task waits {lag:.0} ms for its turn, with {} questions waiting", high + normal + low),
            &["give the process more processors", "keep long work off the async threads"],
        ));
    }
    if let Some(scaling) = resources.scaling.as_ref().filter(|scaling| scaling.action != "steady") {
        all.push(say(
            RecommendationPriority::Medium,
            "scaling",
            format!(
                "{} to {:.2} times the replicas: {}",
                scaling.action.replace('_', " "),
                scaling.factor,
                scaling.reason
            ),
            &["tell the orchestrator of the replicas"],
        ));
    }
    all
}
