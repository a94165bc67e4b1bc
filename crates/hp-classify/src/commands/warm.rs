//! `hp-classify warm`: fills the caches on disk and on Redis before anybody asks.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cache_tiers::{CacheLevel, TierState, WarmReport};
use classifier_core::dataset::MAX_LINE_BYTES;
use classifier_core::lines::{LineError, LineReader};
use classifier_core::{ClassificationSystem, Config};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::cache::{LOWER, state_in_words, without_lower_tiers};
use crate::cli::WarmArgs;
use crate::terminal;
use crate::{AlreadyTold, UsageError};

/// How long a disk and a Redis that are being opened are waited for.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// The flags that are another way to set parameters.
pub(super) fn flags(args: &WarmArgs) -> Vec<(String, String)> {
    let flags = [
        ("predictive_cache_depth", &args.depth),
        ("warm_concurrency", &args.concurrency),
        ("warm_per_second", &args.per_second),
    ];
    let given = |(name, value): (&str, &Option<String>)| Some((name.to_owned(), value.clone()?));
    flags.into_iter().filter_map(given).collect()
}

pub(super) fn run(args: &WarmArgs, config: &Config, json: bool) -> anyhow::Result<()> {
    let system = ClassificationSystem::new(config)?;
    super::runtime()?.block_on(async {
        let warmed = warm(&system, args, config, json).await;
        system.close().await;
        warmed
    })
}

async fn warm(
    system: &ClassificationSystem,
    args: &WarmArgs,
    config: &Config,
    json: bool,
) -> anyhow::Result<()> {
    let levels = usable(system).await?;
    let (queries, all_read) = queries(system, args, config).await?;
    if queries.is_empty() && all_read {
        let message = "there is nothing to warm: name questions, --file or --top, or set cache_warm_queries";
        return Err(UsageError(message.to_owned()).into());
    }
    let bar = Bar::start();
    let cancelled = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let report = system.warm(queries, &config.warming, |report| bar.show(report), cancelled).await;
    bar.clear();
    if json {
        let text = serde_json::to_string(&report)?;
        writeln!(io::stdout(), "{text}").context("cannot print the report")?;
    } else {
        writeln!(terminal::stdout(), "{}", line(&report, &levels))?;
    }
    if report.cancelled {
        bail!("cancelled after {} of {}", report.warmed + report.skipped + report.failed, report.total);
    }
    if report.failed == 0 && all_read { Ok(()) } else { Err(AlreadyTold.into()) }
}

/// The caches that outlive this process and are at work; warming needs one.
async fn usable(system: &ClassificationSystem) -> anyhow::Result<Vec<CacheLevel>> {
    let present: Vec<_> = LOWER.into_iter().filter(|&level| system.cache().tier(level).is_some()).collect();
    if present.is_empty() {
        return Err(UsageError(format!(
            "what is warmed in memory alone ends with this process, and {}",
            without_lower_tiers(system)
        ))
        .into());
    }
    system.caches_ready(OPEN_WITHIN).await;
    let state = |level| system.cache().tier(level).map_or(TierState::Disabled, |tier| tier.stats().state);
    let ready: Vec<_> = present.iter().copied().filter(|&level| state(level) == TierState::Ready).collect();
    if ready.is_empty() {
        let states: Vec<_> =
            present.iter().map(|&level| format!("{level} {}", state_in_words(level, state(level)))).collect();
        bail!("no cache can be warmed: {}", states.join("; "));
    }
    Ok(ready)
}

/// The questions to warm, and whether all of the file could be read.
async fn queries(
    system: &ClassificationSystem,
    args: &WarmArgs,
    config: &Config,
) -> anyhow::Result<(Vec<String>, bool)> {
    let mut queries = args.queries.clone();
    let mut all_read = true;
    if let Some(file) = &args.file {
        all_read = read_file(file, &mut queries)?;
    }
    let is_told_nothing = args.queries.is_empty() && args.file.is_none() && args.top.is_none();
    if is_told_nothing {
        queries.extend(config.warming.queries.iter().cloned());
    }
    let n_top = if is_told_nothing { usize::MAX } else { args.top.unwrap_or(0) };
    if n_top > 0 {
        queries.extend(system.most_asked().await.into_iter().take(n_top).map(|(query, _)| query));
    }
    Ok((queries, all_read))
}

fn read_file(path: &Path, queries: &mut Vec<String>) -> anyhow::Result<bool> {
    let reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        let open = File::open(path);
        Box::new(open.map_err(|error| UsageError(format!("cannot read {}: {error}", path.display())))?)
    };
    let mut reader = LineReader::new(io::BufReader::new(reader), MAX_LINE_BYTES);
    let mut all_read = true;
    loop {
        match reader.read() {
            Ok(None) => return Ok(all_read),
            Ok(Some(line)) if line.text.trim().is_empty() => {}
            Ok(Some(line)) => queries.push(line.text.to_owned()),
            Err(LineError::Line { number, problem }) => {
                all_read = false;
                writeln!(terminal::stderr(), "{}, line {number}: the line {problem}", path.display())?;
            }
            Err(LineError::Io(error)) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        }
    }
}

fn line(report: &WarmReport, levels: &[CacheLevel]) -> String {
    let levels: Vec<_> = levels.iter().map(ToString::to_string).collect();
    let WarmReport { total, warmed, skipped, failed, .. } = report;
    format!(
        "{warmed} of {total} warmed in {}, {skipped} skipped because they were there, {failed} failed",
        levels.join(" and ")
    )
}

/// Shows on a terminal how far it has come.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn start() -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len}  {msg}, {eta} to go") {
            bar.set_style(style);
        }
        bar.set_draw_target(ProgressDrawTarget::stderr());
        Self(Some(bar))
    }

    fn show(&self, report: &WarmReport) {
        if let Some(bar) = &self.0 {
            bar.set_length(report.total);
            bar.set_position(report.warmed + report.skipped + report.failed);
            bar.set_message(format!(
                "{} warmed, {} skipped, {} failed",
                report.warmed, report.skipped, report.failed
            ));
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
