//! `cargo xtask e2e-llm`: a real server with a small real model, and what our program makes of it.
//!
//! A simulated provider says what we think providers say. This one says what it wants: it is slow, it rambles, and much of
//! what it says is wrong.

mod answers;
mod cancel;
mod http;
mod install;
mod program;
mod questions;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use self::http::Host;
use self::program::Program;
use self::server::Server;
use crate::binary::{self, Set};
use crate::checkout::Checkout;
use crate::prepare;

/// What no call takes, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// Arguments of `cargo xtask e2e-llm`.
#[derive(Debug, clap::Args)]
pub(crate) struct E2eLlm {
    /// Leave the server running at the end, and say where it is.
    #[arg(long, conflicts_with = "server")]
    keep: bool,
    /// Ask the model of a server that is there already, such as `http://127.0.0.1:8080/v1`, and install nothing.
    #[arg(long, value_name = "URL", requires = "model")]
    server: Option<String>,
    /// The name of the model there; its key is taken from the variable HP_LLM_API_KEY.
    #[arg(long, value_name = "NAME", requires = "server")]
    model: Option<String>,
}

/// What every check needs.
#[derive(Debug)]
struct Scene {
    program: Program,
    host: Host,
}

/// A check: what it is about, and how it is made.
type Check = (&'static str, fn(&Scene) -> anyhow::Result<()>);

/// In this order, since the first call is the one that pays for a cold model.
const CHECKS: &[Check] = &[
    ("a reply by the JSON schema, in one piece and streamed", two_calls),
    ("a call that is given up frees the model", cancel::by_hand),
    ("an answer that is enough cuts its call short", cancel::by_program),
    ("every question is answered within the default limit", answers::in_time),
    (
        "with a generous limit, and replies cut once they have answered, it is the model that answers",
        answers::with_time_enough,
    ),
];

impl E2eLlm {
    /// Prepares, starts the server and makes the checks; fails when one of them does.
    pub(crate) fn execute(&self, checkout: &Checkout) -> anyhow::Result<()> {
        match (&self.server, &self.model) {
            (Some(url), Some(model)) => {
                prepare::machine(prepare::QUICK)?;
                check_all(&Scene::of(checkout, url, model)?)
            }
            _ => self.with_own_server(checkout),
        }
    }

    fn with_own_server(&self, checkout: &Checkout) -> anyhow::Result<()> {
        prepare::machine(prepare::MODEL)?;
        let tools = install::tools()?;
        // Built before the server is started, which would only be in the way.
        let program = program(checkout)?;
        let server = Server::start(&tools)?;
        println!("{server}");
        let checked = Scene::with(program, &server.url(), server::MODEL).and_then(|scene| check_all(&scene));
        if self.keep {
            println!("\nthe server is left running: {} (process {})", server.url(), server.keep());
        }
        checked
    }
}

impl Scene {
    fn of(checkout: &Checkout, url: &str, model: &str) -> anyhow::Result<Self> {
        Self::with(program(checkout)?, url, model)
    }

    fn with(program: PathBuf, url: &str, model: &str) -> anyhow::Result<Self> {
        Ok(Self { host: Host::of(url)?, program: Program::new(program, url, model)? })
    }
}

/// `hp-classify` with what asks a model, and without waiting for RocksDB.
fn program(checkout: &Checkout) -> anyhow::Result<PathBuf> {
    match Set::without_waiting(checkout)? {
        Set::Full => binary::hp_classify(checkout, Set::Full),
        Set::Quick => {
            eprintln!("building without the caches on disk and on Redis, which are of no use here");
            binary::hp_classify_with(checkout, "llm")
        }
    }
}

fn check_all(scene: &Scene) -> anyhow::Result<()> {
    let mut failed = Vec::new();
    for (number, (title, check)) in CHECKS.iter().enumerate() {
        println!("\n{}. {title}", number + 1);
        match check(scene) {
            Ok(()) => println!("   ok"),
            Err(error) => {
                println!("   FAILED: {error:#}");
                failed.push(*title);
            }
        }
    }
    println!();
    if failed.is_empty() {
        println!("all {} checks hold", CHECKS.len());
        return Ok(());
    }
    bail!("{} of {} checks failed: {}", failed.len(), CHECKS.len(), failed.join("; "))
}

/// The reply is held to a schema by the server, and judged by our own reader, which takes nothing else.
fn two_calls(scene: &Scene) -> anyhow::Result<()> {
    for (how, streaming) in [("in one piece", "false"), ("streamed", "true")] {
        let checked = scene.program.check(
            "Which genes cause phenylketonuria?",
            &[("streaming_enabled", streaming), ("early_acceptance", "off")],
        )?;
        println!("   {how:<13} {checked}");
        let form = checked.llm.reply_form.as_deref();
        ensure!(form == Some("json_schema"), "the reply was asked for {form:?}, not by a JSON schema");
        ensure!(checked.llm.output_tokens > Some(0), "the server has not said how many tokens it wrote");
    }
    Ok(())
}

/// Where everything is kept that is worth keeping: outside of the tree and of cargo's target directory.
fn cache_folder() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    folder_in(variable("XDG_CACHE_HOME").as_deref(), variable("HOME").as_deref())
        .context("neither XDG_CACHE_HOME nor HOME is set; set one of them")
}

fn folder_in(cache: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    // As the specification of these folders has it, a path that is not absolute counts for nothing.
    let cache = cache.filter(|path| path.is_absolute()).map(Path::to_owned);
    let home = || home.filter(|home| home.is_absolute()).map(|home| home.join(".cache"));
    Some(cache.or_else(home)?.join("hp-e2e-llm"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        command: E2eLlm,
    }

    #[test]
    fn a_server_comes_with_the_name_of_its_model() {
        let parse = |words: &[&str]| Line::try_parse_from(["e2e-llm"].iter().chain(words));
        assert!(parse(&[]).is_ok() && parse(&["--keep"]).is_ok());
        assert!(parse(&["--server", "http://[::1]:1/v1", "--model", "m"]).is_ok());
        for wrong in [&["--server", "http://h/v1"][..], &["--model", "m"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse(&["--keep", "--server", "http://h/v1", "--model", "m"]).is_err());
    }

    #[test]
    fn the_folder_is_the_users_cache() {
        let folder =
            |cache: Option<&str>, home: Option<&str>| folder_in(cache.map(Path::new), home.map(Path::new));
        assert_eq!(folder(Some("/c"), Some("/h")), Some("/c/hp-e2e-llm".into()));
        assert_eq!(folder(Some("c"), Some("/h")), Some("/h/.cache/hp-e2e-llm".into()));
        assert_eq!(folder(None, None), None);
    }
}
