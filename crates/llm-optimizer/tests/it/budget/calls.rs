//! Three processes with five hundred real calls at once each: what is settled is what the provider has charged.

use std::sync::Arc;

use hp_base::SystemClock;
use llm_optimizer::{
    Budgeted, ChatModel, ChatRequest, Ledger, LlmErrorKind, Message, Price, ProviderConfig, ProviderKind,
    Role, Usage,
};
use llm_sim::{Config, Simulator};

use super::processes::{N_CALLS, N_PROCESSES, Processes, open_with};

/// What can be put aside for some two fifths of the calls at once, in millionths of a dollar.
const LIMIT: u64 = 1_300_000;
const MAX_OUTPUT_TOKENS: u32 = 64;

fn price() -> Price {
    Price::per_million(10.0, 40.0).unwrap()
}

pub(super) fn open(place: &str) -> Arc<dyn Ledger> {
    open_with(place, LIMIT)
}

pub(super) fn model(url: &str, ledger: Arc<dyn Ledger>) -> Arc<dyn ChatModel> {
    let provider = ProviderConfig {
        base_url: url.to_owned(),
        max_connections: 50,
        ..ProviderConfig::new(ProviderKind::OpenAi, "simulated")
    };
    Arc::new(Budgeted::new(provider.build(Arc::new(SystemClock)).unwrap(), ledger, price()))
}

/// Makes one call; what it has cost is for the provider to say.
pub(super) async fn call(model: &dyn ChatModel, number: u64) -> u64 {
    let text = format!("What is known of compound {number}?");
    let mut request = ChatRequest::new(vec![Message::new(Role::User, text)]);
    request.max_output_tokens = MAX_OUTPUT_TOKENS;
    request.stream = number.is_multiple_of(2);
    if let Err(error) = model.chat(&request).await {
        assert_eq!(error.kind(), LlmErrorKind::OverBudget, "{error}");
    }
    0
}

fn spend_all(place: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let simulator = Simulator::start(Config::default()).await.unwrap();
        let ledger = open(place);
        let mut processes = Processes::start_with(place, 0, Some(&simulator.url()));
        let (mut n_done, mut n_samples, mut highest) = (0, 0, 0);
        while n_done < N_PROCESSES {
            if let Ok(state) = ledger.state().await {
                let gone = state.day.settled.0 + state.day.reserved.0;
                assert!(gone <= LIMIT, "{gone} are gone of {LIMIT}");
                highest = highest.max(gone);
                n_samples += 1;
            }
            n_done += processes.spent().len();
            tokio::task::yield_now().await;
        }
        let charged: u64 = simulator
            .log()
            .iter()
            .map(|entry| {
                let usage = Usage {
                    input_tokens: entry.prompt_tokens,
                    cached_input_tokens: entry.cached_tokens,
                    cache_write_tokens: entry.cache_write_tokens,
                    output_tokens: entry.completion_tokens,
                };
                price().cost(&usage).0
            })
            .sum();
        let state = ledger.state().await.unwrap().day;
        let n_calls = simulator.stats().requests;
        println!(
            "{n_calls} of {} calls were made, {n_samples} samples, at the most {highest} of {LIMIT} gone; settled {}, charged {charged}",
            N_PROCESSES as u64 * N_CALLS,
            state.settled.0
        );
        assert_eq!((state.settled.0, state.reserved.0), (charged, 0));
        assert!(n_calls < N_PROCESSES as u64 * N_CALLS, "the budget was never tried");
        assert!(highest > LIMIT * 9 / 10, "it was never tried hard");
    });
}

#[test]
fn in_a_file_what_is_settled_is_what_was_charged() {
    let folder = tempfile::TempDir::new().unwrap();
    spend_all(folder.path().join("budget").to_str().unwrap());
}

#[cfg(feature = "remote")]
#[test]
fn on_a_server_what_is_settled_is_what_was_charged() {
    spend_all(&super::server::Server::start().url());
}
