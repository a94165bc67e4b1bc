//! What calls cost, and what may be spent.

use classifier_core::{DegradedReason, Request};
use llm_optimizer::MicroDollars;

use super::{QUERY, built, try_built};
use crate::llm::server::Server;

/// A dollar per million tokens of the prompt, and ten of the reply.
const PRICES: &str = "[models.model-1]\ninput = 1.0\noutput = 10.0\n";
/// What the server's 100 and 20 tokens cost at that.
const COST: u64 = 300;

/// A file of prices, in a folder that must outlive its use.
fn prices() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prices.toml");
    std::fs::write(&path, PRICES).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[tokio::test]
async fn llm_prices_are_what_a_call_costs() {
    let server = Server::saying("REAL_TIME");
    let (_folder, path) = prices();
    for (flags, cost) in [(&[][..], 0), (&[("llm_prices", &*path)], COST)] {
        let built = built(&server, flags);
        let answer = built.ask(QUERY).await;
        let llm = answer.metadata.llm.unwrap();
        if !llm.accepted_early {
            assert_eq!(llm.cost_micros, Some(cost));
        }
        let path = built.system.llm().unwrap();
        let settled = async || path.budget().await.unwrap().day.settled == MicroDollars(cost);
        crate::support::until("the call is booked", settled).await;
        let preview = path.cascade().llm().preview(&Request::new(QUERY));
        let estimate = path.estimate(&preview.request);
        assert_eq!(Some(estimate.prompt_tokens), preview.request.n_prompt_tokens);
        assert_eq!(estimate.max_output_tokens, preview.request.max_output_tokens);
        let most = u64::from(estimate.prompt_tokens) + 10 * u64::from(estimate.max_output_tokens);
        assert_eq!(estimate.most_cost_micros, Some(if cost > 0 { most } else { 0 }));
    }
    let folder = tempfile::tempdir().unwrap();
    let error = try_built(&server, &folder, &[("llm_prices", "/no/such/prices.toml")]).unwrap_err();
    assert!(error.to_string().contains("/no/such/prices.toml"), "{error}");
}

#[tokio::test]
async fn daily_budget_and_hourly_budget_are_what_may_be_spent() {
    let (_folder, path) = prices();
    let prices = ("llm_prices", &*path);
    let limits = async |flags: &[(&str, &str)]| {
        let built = built(&Server::saying("GENERAL"), flags);
        let state = built.system.llm().unwrap().budget().await.unwrap();
        (state.day.limit, state.hour.limit)
    };
    assert_eq!(limits(&[]).await, (Some(MicroDollars(10_000_000)), Some(MicroDollars(2_000_000))));
    let other = [("daily_budget", "0.5"), ("hourly_budget", "0")];
    assert_eq!(limits(&other).await, (Some(MicroDollars(500_000)), None));

    for (name, other) in [("daily_budget", "hourly_budget"), ("hourly_budget", "daily_budget")] {
        // Enough for one call at its dearest, and not for a second after it.
        let server = Server::saying("REAL_TIME");
        let built = built(&server, &[prices, (name, "0.0025"), (other, "100"), ("early_acceptance", "off")]);
        let mut n_answered = 0;
        for number in 0..20 {
            let answer = built.ask(&format!("question {number}")).await;
            match answer.metadata.degraded_reason {
                None => n_answered += 1,
                reason => assert_eq!(reason, Some(DegradedReason::OverBudget)),
            }
        }
        assert!((1..20).contains(&n_answered), "{n_answered}");
        let state = built.system.llm().unwrap().budget().await.unwrap();
        assert_eq!(state.day.settled.0, n_answered * COST);
        assert!(state.day.settled.0 <= 2500 && server.n_asked() as u64 == n_answered);
    }
}

#[tokio::test]
async fn with_no_budget_nothing_is_spent() {
    let server = Server::saying("REAL_TIME");
    let (_folder, path) = prices();
    let built = built(&server, &[("llm_prices", &path), ("daily_budget", "0")]);
    assert_eq!(built.ask(QUERY).await.metadata.degraded_reason, Some(DegradedReason::OverBudget));
    assert_eq!(server.n_asked(), 0);
}

#[tokio::test]
async fn budget_path_is_where_it_is_remembered() {
    let server = Server::saying("REAL_TIME");
    let (folder, path) = prices();
    let file = folder.path().join("spent");
    let flags =
        [("llm_prices", &*path), ("budget_path", file.to_str().unwrap()), ("early_acceptance", "off")];
    let first = built(&server, &flags);
    first.ask(QUERY).await;
    first.system.close().await;
    assert!(file.exists());
    drop(first);
    let again = built(&server, &flags);
    assert_eq!(again.system.llm().unwrap().budget().await.unwrap().day.settled, MicroDollars(COST));
    let elsewhere = built(&server, &flags[..1]);
    assert_eq!(elsewhere.system.llm().unwrap().budget().await.unwrap().day.settled, MicroDollars(0));
    assert!(elsewhere.folder.path().join("budget").exists());
}
