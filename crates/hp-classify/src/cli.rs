//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hp_base::Priority;

use crate::bulk::BulkArgs;

/// Decides where a question goes: KNOWLEDGE_GRAPH, REAL_TIME or GENERAL.
#[derive(Debug, Parser)]
#[command(name = "hp-classify", version, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 fine, 2 bad usage or input, 3 anything else.
Every parameter of the configuration can be set by --set NAME=VALUE, by the variable HP_NAME or in the file; \
`hp-classify config show` lists them.";

/// Flags of all commands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// A configuration file (TOML).
    #[arg(long, global = true, value_name = "FILE", env = "HP_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Sets a parameter of the configuration; may be repeated.
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) set: Vec<(String, String)>,
    /// A taxonomy file instead of the built-in one; the same as --set taxonomy=FILE.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) taxonomy: Option<PathBuf>,
    /// A model file instead of the built-in one; the same as --set model=FILE.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Classifies questions.
    Classify(ClassifyArgs),
    /// Classifies a file of any size, row by row.
    Bulk(BulkArgs),
    /// Measures the classifier on labelled rows.
    Eval(EvalArgs),
    /// Trains a classifier from labelled rows.
    Train(TrainArgs),
    /// Fills the caches on disk and on Redis before anybody asks.
    Warm(WarmArgs),
    /// Looks into the caches on disk and on Redis, and drops what is wrong in them.
    Cache {
        #[command(subcommand)]
        action: CacheAction,
    },
    /// Asks the language model one question, to see whether it can be used.
    Llm {
        #[command(subcommand)]
        action: LlmAction,
    },
    /// Shows what a language model would be sent.
    Prompt {
        #[command(subcommand)]
        action: PromptAction,
    },
    /// Shows what was spent on language models, and what is left.
    Budget,
    /// Shows, checks or describes the configuration.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
    /// Writes the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ClassifyArgs {
    /// The questions, each in quotes; `-` reads one a line from standard input.
    #[arg(required = true, value_name = "QUERY")]
    pub(crate) queries: Vec<String>,
    /// How urgent they are: low, normal or high.
    #[arg(long, default_value_t)]
    pub(crate) priority: Priority,
    /// What went before (previous_query, topic); may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = name_and_value)]
    pub(crate) context: Vec<(String, String)>,
    /// Asks the language model whatever the caches hold and however sure the embedded classifier is.
    #[arg(long)]
    pub(crate) force_llm: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Labelled rows: JSON Lines with `query` and `label`.
    pub(crate) file: PathBuf,
    /// Only rows whose field has this value, written as JSON or as plain text; may be repeated. A missing field is null.
    #[arg(long = "where", value_name = "FIELD=VALUE", value_parser = name_and_value)]
    pub(crate) filter: Vec<(String, String)>,
    /// Also writes each row with its prediction, as JSON Lines.
    #[arg(long, value_name = "FILE")]
    pub(crate) predictions: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// Labelled rows: a JSON Lines file, or a folder of them.
    #[arg(long, value_name = "PATH", required = true)]
    pub(crate) data: Vec<PathBuf>,
    /// Where the model goes.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Where the report goes, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct WarmArgs {
    /// The questions, each in quotes; without any, --file and --top: cache_warm_queries, and what was asked most.
    #[arg(value_name = "QUERY")]
    pub(crate) queries: Vec<String>,
    /// A file with one question a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// So many of the questions asked most before; the disk cache remembers up to 256.
    #[arg(long, value_name = "N")]
    pub(crate) top: Option<usize>,
    /// Variations of each question besides; the same as --set predictive_cache_depth=N.
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<String>,
    /// Questions at a time; the same as --set warm_concurrency=N.
    #[arg(long, value_name = "N")]
    pub(crate) concurrency: Option<String>,
    /// Questions a second at the most; the same as --set warm_per_second=N.
    #[arg(long, value_name = "N")]
    pub(crate) per_second: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LlmAction {
    /// Makes one real call, and says what works, how long it took, what it cost, and how replies are held to their form.
    Check {
        /// The question to ask.
        #[arg(default_value = "How does leptin regulate appetite?")]
        query: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PromptAction {
    /// Prints what would be sent for a question, with its tokens and what it would cost. Nothing is sent.
    Show {
        /// The question.
        query: String,
        /// What went before (previous_query, topic); may be repeated.
        #[arg(long, value_name = "KEY=VALUE", value_parser = name_and_value)]
        context: Vec<(String, String)>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Shows what each cache holds and whether it is at work.
    Stats,
    /// Drops the answers to questions from the disk and from Redis, and so from all replicas that share it.
    Forget {
        /// The questions, each in quotes.
        #[arg(required = true, value_name = "QUERY")]
        queries: Vec<String>,
        /// What went before them (previous_query, topic); may be repeated.
        #[arg(long, value_name = "KEY=VALUE", value_parser = name_and_value)]
        context: Vec<(String, String)>,
    },
    /// Drops all answers from the disk and from Redis, and so from all replicas that share it.
    Flush,
    /// Shows what each cache holds under a key, or as the answer to a question.
    Inspect {
        /// A question in quotes, or a key of 32 hexadecimal digits.
        #[arg(value_name = "KEY-OR-QUERY")]
        what: String,
        /// What went before it (previous_query, topic); may be repeated.
        #[arg(long, value_name = "KEY=VALUE", value_parser = name_and_value)]
        context: Vec<(String, String)>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Shows every parameter with its value and where that came from.
    Show,
    /// Checks the configuration and the files it names.
    Check,
    /// Prints the JSON Schema of a configuration file.
    Schema,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
