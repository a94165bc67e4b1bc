//! Every parameter of the path to a language model does something that can be seen: here on a system built of a
//! configuration alone, and at a provider on a socket.

mod calls;
mod deciding;
mod endpoints;
mod money;
mod replies;
mod secrets;

use classifier_core::{ClassificationSystem, Error, Outcome, Request};
use tempfile::TempDir;

use super::server::Server;
use crate::support::config;

const QUERY: &str = "What is a metabolome?";
const UNAVAILABLE: Option<classifier_core::DegradedReason> =
    Some(classifier_core::DegradedReason::Unavailable);

/// A system and the folder in which it writes down what it has spent.
struct Built {
    system: ClassificationSystem,
    folder: TempDir,
}

/// A system that asks the server whatever the question, one a call, with as much time as it takes, no retries and no hedging,
/// except as the flags say.
fn built(server: &Server, flags: &[(&str, &str)]) -> Built {
    let folder = tempfile::tempdir().unwrap();
    let system = try_built(server, &folder, flags).unwrap();
    Built { system, folder }
}

fn try_built(
    server: &Server,
    folder: &TempDir,
    flags: &[(&str, &str)],
) -> Result<ClassificationSystem, Error> {
    let path = folder.path().join("budget");
    let usual = [
        ("llm_provider", "openai"),
        ("llm_model", "model-1"),
        ("llm_base_url", &*server.url),
        ("budget_path", path.to_str().unwrap()),
        ("classifier_mode", "llm"),
        ("max_response_time_ms", "60000"),
        ("llm_call_timeout", "60"),
        ("llm_retries", "0"),
        ("hedge_share", "0"),
        ("enable_request_batching", "false"),
    ];
    let usual = usual.into_iter().filter(|(name, _)| flags.iter().all(|(other, _)| other != name));
    let all: Vec<(&str, &str)> = usual.chain(flags.iter().copied()).collect();
    ClassificationSystem::builder(&config(&all)).build()
}

impl Built {
    async fn ask(&self, query: &str) -> Outcome {
        self.system.classify(&Request::new(query)).await.unwrap()
    }
}
