//! `hp-classify llm check`, `prompt show` and `budget`: the language model before it is relied on, and what it costs.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use classifier_core::config::{Mode, Provider};
use classifier_core::{
    ClassificationSystem, Config, Estimate, LlmPath, LlmUse, PromptPreview, Request, Verdict, ledger,
};
use hp_base::SystemClock;
use llm_optimizer::{BudgetState, BudgetWindow, ChatRequest, MicroDollars, ReplyFormat, Role};
use serde_json::{Value, json};

use super::classify::printable;
use crate::UsageError;
use crate::cli::{LlmAction, PromptAction};
use crate::terminal::{self, BOLD, DIM};

/// How long a Redis that is being connected to is waited for.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Makes one call, of which all that counts is said; fails where it fails.
pub(super) fn check(action: &LlmAction, config: &Config, json: bool) -> anyhow::Result<()> {
    let LlmAction::Check { query } = action;
    with_system(config, async |system, path| {
        let mut out = terminal::stdout();
        let request = Request { force_llm: true, ..Request::new(query) };
        let began = Instant::now();
        let verdict = system.inside(path.ask(&request)).await;
        let took = began.elapsed();
        let Verdict { classification, llm, .. } = verdict?;
        let llm = llm.context("the answer is not a language model's")?;
        if json {
            let told = json!({
                "ok": true,
                "model": llm.model,
                "category": classification.category,
                "confidence": classification.confidence,
                "response_time_ms": took.as_secs_f64() * 1e3,
                "within_limit": took <= config.max_response_time,
                "llm": &*llm,
            });
            writeln!(out, "{told}")?;
            return Ok(());
        }
        let model = printable(llm.model.as_deref().unwrap_or_default());
        writeln!(out, "{BOLD}{model}{BOLD:#} answers: {}", classification.category)?;
        for (name, value) in told(&llm, took, config.max_response_time) {
            writeln!(out, "  {DIM}{name:<14}{DIM:#} {value}")?;
        }
        Ok(())
    })
}

/// What a call says of the model, a line each.
fn told(llm: &LlmUse, took: Duration, limit: Duration) -> Vec<(&'static str, String)> {
    let verdict = if took <= limit { "within" } else { "longer than" };
    let limit = terminal::time(limit);
    let tokens = match (llm.input_tokens, llm.output_tokens) {
        (Some(input), Some(output)) => {
            let cached = llm.cached_input_tokens.filter(|&n| n > 0);
            let cached = cached.map_or_else(String::new, |n| format!(" ({n} of them cached)"));
            format!("{input} in{cached}, {output} out")
        }
        _ => "not told by the provider; the budget books the most the call can have cost".to_owned(),
    };
    let form = match llm.reply_form {
        Some("json_schema") => "by a JSON schema",
        Some("tool") => "as the arguments of a tool",
        Some("json_object") => "as any JSON object; the schema stands in the prompt",
        _ => "by the prompt alone",
    };
    let cost = llm.cost_micros.map_or("not known".to_owned(), |micros| MicroDollars(micros).to_string());
    let calls = match (llm.n_calls, llm.repaired) {
        (None, _) => "not known".to_owned(),
        (Some(1), false) => "1".to_owned(),
        (Some(n), false) => format!("{n}; what the server refused is not tried again"),
        (Some(n), true) => format!("{n}; the first reply was no answer"),
    };
    vec![
        ("time", format!("{}, {verdict} max_response_time_ms ({limit})", terminal::time(took))),
        ("first token", format!("after {}", terminal::time(llm.time_to_first_token))),
        ("reply form", form.to_owned()),
        ("prompt", llm.prompt.clone()),
        ("tokens", tokens),
        ("cost", cost),
        ("requests", calls),
    ]
}

/// Prints what would be sent, and sends nothing.
pub(super) fn prompt(action: &PromptAction, config: &Config, json: bool) -> anyhow::Result<()> {
    let PromptAction::Show { query, context } = action;
    let context = super::context_of(context)?;
    with_system(config, async |system, path| {
        let request = Request { context, ..Request::new(query) };
        // Refused here as it would be when asked.
        system.key(&request)?;
        let PromptPreview { prompt, request } = path.cascade().llm().preview(&request);
        let estimate = path.estimate(&request);
        let mut out = terminal::stdout();
        if json {
            let messages: Vec<Value> = request
                .messages
                .iter()
                .map(|message| json!({"role": role(message.role), "text": &*message.text}))
                .collect();
            let told = json!({"prompt": prompt, "messages": messages, "schema": schema(&request), "estimate": estimate});
            writeln!(out, "{told}")?;
            return Ok(());
        }
        for message in &request.messages {
            writeln!(out, "{DIM}{}{DIM:#}", role(message.role))?;
            for line in message.text.lines() {
                writeln!(out, "  {}", printable(line))?;
            }
        }
        if let Some(schema) = schema(&request) {
            writeln!(out, "{DIM}schema of the reply{DIM:#}\n  {schema}")?;
        }
        let Estimate { prompt_tokens, is_exact, max_output_tokens, most_cost_micros } = estimate;
        let counted = if is_exact { "counted" } else { "estimated" };
        let cost = match most_cost_micros {
            Some(micros) => format!("{} at the most", MicroDollars(micros)),
            None => "not known; see llm_prices".to_owned(),
        };
        writeln!(out, "{DIM}prompt{DIM:#}  {prompt}")?;
        writeln!(
            out,
            "{DIM}tokens{DIM:#}  {prompt_tokens} {counted}, and {max_output_tokens} of the reply at the most"
        )?;
        writeln!(out, "{DIM}cost{DIM:#}    {cost}")?;
        Ok(())
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    }
}

fn schema(request: &ChatRequest) -> Option<&str> {
    match &request.format {
        ReplyFormat::Schema(schema) => Some(&schema.schema),
        ReplyFormat::Text => None,
    }
}

/// Shows what was spent and what is left.
pub(super) fn budget(config: &Config, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let state = runtime.block_on(async {
        let clock: Arc<dyn hp_base::Clock> = Arc::new(SystemClock);
        let ledger = ledger(config, &clock)?;
        let began = Instant::now();
        loop {
            match ledger.state().await {
                Ok(state) => return anyhow::Ok(state),
                // A Redis may still be being connected to.
                Err(_) if config.l3.is_asked_for() && began.elapsed() < CONNECT_WITHIN => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    })?;
    let mut out = terminal::stdout();
    let BudgetState { day, hour } = state;
    if json {
        writeln!(out, "{}", json!({"day": window_json(&day), "hour": window_json(&hour)}))?;
        return Ok(());
    }
    writeln!(
        out,
        "{DIM}{:<6}{:>14}{:>14}{:>14}{:>14}  until it begins anew{DIM:#}",
        "", "limit", "spent", "put aside", "left"
    )?;
    for (name, window) in [("day", day), ("hour", hour)] {
        let amount =
            |amount: Option<MicroDollars>| amount.map_or("none".to_owned(), |amount| amount.to_string());
        writeln!(
            out,
            "{name:<6}{:>14}{:>14}{:>14}{:>14}  {}{}",
            amount(window.limit),
            window.settled.to_string(),
            window.reserved.to_string(),
            amount(window.left()),
            in_words(window.rolls_in),
            if window.is_warned { "  (80 % are gone)" } else { "" }
        )?;
    }
    Ok(())
}

fn window_json(window: &BudgetWindow) -> Value {
    json!({
        "limit_micros": window.limit.map(|limit| limit.0),
        "settled_micros": window.settled.0,
        "reserved_micros": window.reserved.0,
        "left_micros": window.left().map(|left| left.0),
        "rolls_in_seconds": window.rolls_in.as_secs(),
        "warned": window.is_warned,
    })
}

fn in_words(time: Duration) -> String {
    let minutes = time.as_secs().div_ceil(60);
    if minutes < 60 { format!("{minutes} min") } else { format!("{} h {} min", minutes / 60, minutes % 60) }
}

/// Does something with a system that has a language model and keeps nothing.
fn with_system(
    config: &Config,
    act: impl AsyncFnOnce(&ClassificationSystem, &LlmPath) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if config.llm.endpoint.provider == Provider::None {
        let message = "there is no language model; set llm_provider and llm_model, see docs/llm.md";
        return Err(UsageError(message.to_owned()).into());
    }
    let mut config = config.clone();
    config.l2.enabled = false;
    if config.llm.mode == Mode::Embedded {
        config.llm.mode = Mode::Cascade;
    }
    let system = ClassificationSystem::new(&config)?;
    let path = system.llm().context("the system has no language model")?;
    super::runtime()?.block_on(async {
        let done = act(&system, path).await;
        system.close().await;
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_hours_and_minutes() {
        let told = [0, 59, 60, 3540, 3541, 86_399].map(|seconds| in_words(Duration::from_secs(seconds)));
        assert_eq!(told, ["0 min", "1 min", "1 min", "59 min", "1 h 0 min", "24 h 0 min"]);
    }
}
