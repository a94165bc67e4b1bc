//! The program: serves a simulated provider until it is interrupted, and lists the faults.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use llm_sim::{Brain, Config, FAULTS, Fault, Faults, Latency, Limits, Simulator};

/// A simulated LLM provider: OpenAI's and Anthropic's wire formats, with latency, limits and faults on command.
#[derive(Parser)]
#[command(name = "llm-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until interrupted
    Serve(Box<Serve>),
    /// List the faults and what each does
    Faults,
}

#[derive(Args)]
struct Serve {
    /// Address to listen on; 127.0.0.1 is seen by this machine alone
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port of the providers; 0 for a free one
    #[arg(long, default_value_t = 8089)]
    port: u16,
    /// Port to steer it by, even while connections are refused; 0 for a free one
    #[arg(long, default_value_t = 0)]
    control_port: u16,
    /// Labelled questions, JSON Lines with `query` and `label`; may be given several times
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// Rules for the other questions, TOML with `default` and `[[rules]]` of `contains` and `category`
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Share of answers that are wrong, from 0 to 1
    #[arg(long, default_value_t = 0.0)]
    error_rate: f64,
    /// Time to the first token: MS, lognormal:MEDIAN_MS,P99_MS or replay:FILE
    #[arg(long, default_value = "0")]
    latency: Latency,
    /// Time for each further token, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0.0)]
    per_token_ms: f64,
    /// What goes wrong and how often, as server_error=0.02; may be given several times
    #[arg(long, value_name = "FAULT=PROBABILITY", value_parser = fault)]
    fault: Vec<(Fault, f64)>,
    /// What chance begins with
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Requests served at a time
    #[arg(long, value_name = "N")]
    max_concurrent: Option<usize>,
    /// Let requests beyond --max-concurrent wait instead of refusing them
    #[arg(long, requires = "max_concurrent")]
    queue: bool,
    /// Requests served a minute
    #[arg(long, value_name = "N")]
    rpm: Option<u32>,
    /// Tokens of prompts served a minute
    #[arg(long, value_name = "N")]
    tpm: Option<u32>,
    /// Key that is let in, in place of everybody; may be given several times
    #[arg(long, value_name = "KEY")]
    api_key: Vec<String>,
    /// Model that exists, in place of any; may be given several times
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
}

/// Bad usage, as clap has it.
const BAD_USAGE: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(arguments) => serve(*arguments),
        Command::Faults => list_faults(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // OK to ignore: nowhere is left to say so.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::from(BAD_USAGE)
        }
    }
}

fn serve(arguments: Serve) -> anyhow::Result<()> {
    let config = config(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let simulator = Simulator::start(config).await?;
        writeln!(std::io::stdout(), "{} (steered at {}/sim)", simulator.url(), simulator.control_url())?;
        tokio::signal::ctrl_c().await.context("interrupts cannot be waited for")
    })
}

fn config(arguments: Serve) -> anyhow::Result<Config> {
    let mut brain = Brain::default();
    for file in &arguments.labels {
        brain = brain.with_labels(file)?;
    }
    if let Some(file) = &arguments.rules {
        brain = brain.with_rules(file)?;
    }
    let mut faults = Faults::none();
    for (fault, probability) in arguments.fault {
        faults = faults.with(fault, probability)?;
    }
    let per_token = Duration::try_from_secs_f64(arguments.per_token_ms / 1e3)
        .context("--per-token-ms is no time, write milliseconds from 0 on")?;
    Ok(Config {
        address: SocketAddr::new(arguments.host, arguments.port),
        control_address: SocketAddr::new(arguments.host, arguments.control_port),
        seed: arguments.seed,
        brain,
        error_rate: arguments.error_rate,
        latency: arguments.latency,
        per_token,
        limits: Limits {
            max_concurrent: arguments.max_concurrent,
            queue: arguments.queue,
            requests_per_minute: arguments.rpm,
            tokens_per_minute: arguments.tpm,
        },
        faults,
        api_keys: arguments.api_key.into_iter().collect(),
        models: arguments.model,
        ..Config::default()
    })
}

fn fault(text: &str) -> anyhow::Result<(Fault, f64)> {
    let (name, probability) = text.split_once('=').unwrap_or((text, "1"));
    let probability = probability.parse().with_context(|| format!("{probability} is no probability"))?;
    Ok((name.parse()?, probability))
}

fn list_faults() -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for (_, name, what) in FAULTS {
        writeln!(stdout, "{name:<24} {what}")?;
    }
    Ok(())
}
