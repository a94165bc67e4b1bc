//! One file a command; this one finds the configuration and calls them.

mod cache;
mod classify;
mod config;
mod eval;
#[cfg(feature = "llm")]
mod llm;
#[cfg(not(feature = "llm"))]
#[path = "no_llm.rs"]
mod llm;
mod train;
mod warm;

use std::sync::Arc;

use anyhow::Context as _;
use clap::CommandFactory;
use classifier_core::config::{Layers, Resolved};
use classifier_core::{Config, Context, EmbeddedClassifier, embedded_classifier};

use crate::UsageError;
use crate::bulk;
use crate::cli::{Cli, Command, Global};

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    init_log()?;
    let Cli { global, command } = cli;
    match command {
        Command::Classify(args) => classify::run(&args, &resolve(&global)?.config, global.json),
        Command::Bulk(args) => {
            let config = resolve(&global)?.config;
            bulk::run(
                &args,
                Arc::new(classifier(&config)?.with_fixed_year()),
                config.max_query_chars,
                global.json,
            )
        }
        Command::Eval(args) => eval::run(&args, &classifier(&resolve(&global)?.config)?, global.json),
        Command::Train(args) => train::run(&args, &resolve(&global)?.config, global.json),
        Command::Warm(args) => {
            warm::run(&args, &resolve_with(&global, warm::flags(&args))?.config, global.json)
        }
        Command::Cache { action } => cache::run(&action, &resolve(&global)?.config, global.json),
        Command::Llm { action } => llm::check(&action, &resolve(&global)?.config, global.json),
        Command::Prompt { action } => llm::prompt(&action, &resolve(&global)?.config, global.json),
        Command::Budget => llm::budget(&resolve(&global)?.config, global.json),
        Command::Config { action } => config::run(&action, &layers(&global)?, global.json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "hp-classify", &mut script);
            std::io::Write::write_all(&mut std::io::stdout().lock(), &script)
                .context("cannot write the completions")
        }
    }
}

fn layers(global: &Global) -> anyhow::Result<Layers> {
    let mut layers = Layers { environment: environment()?, flags: global.set.clone(), ..Layers::default() };
    for (name, file) in [("taxonomy", &global.taxonomy), ("model", &global.model)] {
        if let Some(file) = file {
            let file = file.to_str().with_context(|| format!("--{name} is not UTF-8; rename the file"))?;
            layers.flags.push((name.to_owned(), file.to_owned()));
        }
    }
    match &global.config {
        Some(file) => Ok(layers.with_file(file)?),
        None => Ok(layers),
    }
}

fn environment() -> anyhow::Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("HP_")) else { continue };
        match value.into_string() {
            Ok(value) => variables.push((name.to_owned(), value)),
            Err(_) => return Err(UsageError(format!("the value of {name} is not UTF-8")).into()),
        }
    }
    variables.sort();
    Ok(variables)
}

fn resolve(global: &Global) -> anyhow::Result<Resolved> {
    resolve_with(global, Vec::new())
}

/// As [`resolve`], with further flags that are another way to set parameters.
fn resolve_with(global: &Global, flags: Vec<(String, String)>) -> anyhow::Result<Resolved> {
    let mut layers = layers(global)?;
    layers.flags.extend(flags);
    Ok(layers.resolve()?)
}

/// A runtime of this thread alone; what the caches do in the background is done elsewhere.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// What went before a question, from `--context`.
fn context_of(parts: &[(String, String)]) -> anyhow::Result<Context> {
    let mut context = Context::default();
    for (key, value) in parts {
        context.set(key, value)?;
    }
    Ok(context)
}

fn classifier(config: &Config) -> anyhow::Result<EmbeddedClassifier> {
    Ok(embedded_classifier(config)?)
}

/// Logs to standard error what `HP_LOG` asks for, as in `HP_LOG=debug`; nothing by default.
fn init_log() -> anyhow::Result<()> {
    let Ok(filter) = std::env::var("HP_LOG") else { return Ok(()) };
    let filter = tracing_subscriber::EnvFilter::try_new(&filter)
        .map_err(|error| UsageError(format!("HP_LOG: {error}; write a level such as debug")))?;
    tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter).with_writer(std::io::stderr).init();
    Ok(())
}
