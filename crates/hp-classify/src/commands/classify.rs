//! `hp-classify classify`: questions from the command line or, one a line, from standard input.

use std::io::Write;

use anyhow::Context as _;
use classifier_core::dataset::MAX_LINE_BYTES;
use classifier_core::lines::{LineError, LineReader};
use classifier_core::{ClassificationSystem, Config, Context, ErrorKind, Outcome, Request};
use serde::Serialize;

use crate::AlreadyTold;
use crate::cli::ClassifyArgs;
use crate::terminal::{self, BOLD, DIM};

/// One line of `--json`.
#[derive(Serialize)]
struct Json<'a> {
    query: &'a str,
    #[serde(flatten)]
    classification: &'a classifier_core::Classification,
    metadata: &'a classifier_core::Metadata,
}

/// A line of standard input that got no answer.
#[derive(Serialize)]
struct JsonError<'a> {
    line: u64,
    error: &'a str,
}

pub(crate) fn run(args: &ClassifyArgs, config: &Config, json: bool) -> anyhow::Result<()> {
    let context = super::context_of(&args.context)?;
    let system = ClassificationSystem::new(config)?;
    super::runtime()?.block_on(async {
        let asker = Asker { system: &system, args, context, json };
        let answered = asker.all().await;
        system.close().await;
        answered
    })
}

struct Asker<'a> {
    system: &'a ClassificationSystem,
    args: &'a ClassifyArgs,
    context: Context,
    json: bool,
}

impl Asker<'_> {
    async fn all(&self) -> anyhow::Result<()> {
        if let [query] = self.args.queries.as_slice()
            && query == "-"
        {
            self.system.start().await;
            return self.lines().await;
        }
        for (number, query) in self.args.queries.iter().enumerate() {
            if number > 0 && !self.json {
                writeln!(terminal::stdout())?;
            }
            self.ask(query).await?;
        }
        Ok(())
    }

    async fn ask(&self, query: &str) -> anyhow::Result<()> {
        let request = Request {
            query,
            context: self.context.clone(),
            priority: self.args.priority,
            force_llm: self.args.force_llm,
            ..Request::default()
        };
        let answer = self.system.classify(&request).await?;
        self.write(query, &answer)
    }

    /// Answers each line as it comes; a line that cannot be answered does not keep the others from theirs.
    async fn lines(&self) -> anyhow::Result<()> {
        let mut reader = LineReader::new(std::io::stdin().lock(), MAX_LINE_BYTES);
        let mut all_answered = true;
        loop {
            let problem = match reader.read() {
                Ok(None) => break,
                Ok(Some(line)) if line.text.trim().is_empty() => continue,
                Ok(Some(line)) => match self.ask(line.text).await {
                    Ok(()) => continue,
                    Err(error) if is_refusal(&error) => (line.number, error.to_string()),
                    Err(error) => return Err(error),
                },
                Err(LineError::Line { number, problem }) => (number, format!("the line {problem}")),
                Err(LineError::Io(error)) => return Err(error).context("cannot read standard input"),
            };
            all_answered = false;
            self.refuse(problem.0, &problem.1)?;
        }
        if all_answered { Ok(()) } else { Err(AlreadyTold.into()) }
    }

    fn refuse(&self, line: u64, error: &str) -> anyhow::Result<()> {
        if self.json {
            let mut out = std::io::stdout().lock();
            serde_json::to_writer(&mut out, &JsonError { line, error })?;
            writeln!(out)?;
        }
        writeln!(terminal::stderr(), "line {line}: {error}")?;
        Ok(())
    }

    fn write(&self, query: &str, answer: &Outcome) -> anyhow::Result<()> {
        let Outcome { classification, metadata } = answer;
        if self.json {
            let mut out = std::io::stdout().lock();
            serde_json::to_writer(&mut out, &Json { query, classification, metadata })
                .map_err(std::io::Error::from)?;
            writeln!(out)?;
            return Ok(());
        }
        let mut out = terminal::stdout();
        let sure = terminal::confidence_style(classification.confidence);
        writeln!(
            out,
            "{BOLD}{}{BOLD:#}  {sure}{:.1} %{sure:#}  → {}{}",
            classification.category,
            100.0 * classification.confidence,
            classification.route,
            if classification.hybrid { "  (hybrid)" } else { "" }
        )?;
        writeln!(out, "  {DIM}question{DIM:#}   {}", printable(query))?;
        writeln!(out, "  {DIM}because{DIM:#}    {}", printable(&classification.reasoning))?;
        let others: Vec<_> = classification
            .alternative_categories
            .iter()
            .map(|other| format!("{} {:.1} %", other.category, 100.0 * other.confidence))
            .collect();
        writeln!(out, "  {DIM}otherwise{DIM:#}  {}", others.join(", "))?;
        for (name, found) in [
            ("entities", &classification.biomedical_signals.entities),
            ("relations", &classification.biomedical_signals.relationships),
            ("techniques", &classification.biomedical_signals.techniques),
            ("in time", &time_words(classification)),
        ] {
            if !found.is_empty() {
                writeln!(out, "  {DIM}{name:<10}{DIM:#} {}", printable(&found.join(", ")))?;
            }
        }
        if !classification.uncertainty_indicators.is_empty() {
            let names: Vec<String> = classification
                .uncertainty_indicators
                .iter()
                .map(|indicator| Ok(serde_json::to_string(indicator)?.trim_matches('"').replace('_', " ")))
                .collect::<anyhow::Result<_>>()?;
            writeln!(out, "  {DIM}careful{DIM:#}    {}", names.join(", "))?;
        }
        let source = serde_json::to_string(&metadata.source)?;
        let model = metadata.llm.as_ref().and_then(|llm| llm.model.as_deref());
        let model = model.map(|model| format!(" ({})", printable(model)));
        writeln!(
            out,
            "  {DIM}answered{DIM:#}   in {} by {}{}",
            terminal::time(metadata.response_time),
            source.trim_matches('"'),
            model.unwrap_or_default()
        )?;
        if let Some(reason) = metadata.degraded_reason {
            let reason = serde_json::to_string(&reason)?;
            writeln!(
                out,
                "  {DIM}degraded{DIM:#}   {}; the embedded classifier answers in its place{}",
                reason.trim_matches('"').replace('_', " "),
                metadata
                    .retry_after
                    .map(|time| format!(" (ask again in {})", terminal::time(time)))
                    .unwrap_or_default()
            )?;
        }
        Ok(())
    }
}

fn time_words(classification: &classifier_core::Classification) -> Vec<String> {
    let signals = &classification.temporal_signals;
    let years = signals.years.iter().map(ToString::to_string);
    signals.keywords.iter().chain(&signals.patterns).cloned().chain(years).collect()
}

/// Whether an error speaks of one question only.
fn is_refusal(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<classifier_core::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::InvalidQuery)
}

/// A stranger's text without the control characters that could speak to the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(super::printable("a\u{1b}[31mb\nc"), "a [31mb c");
    }
}
