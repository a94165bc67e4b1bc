//! `bulk`: classifies the rows of a file, millions of them, in bounded memory and in their order.
//!
//! One thread reads [chunks](source) of rows, several [answer] them, and the first [writes](sink) the answers in
//! order and notes in a [journal] how far they are on disk. What an input gets depends on the input, the
//! options and the model alone, so a run that was interrupted at any moment and resumed writes what an uninterrupted
//! one would have written.

mod format;
mod input;
mod output;

mod csv_records;
mod source;

mod answer;
mod csv_rows;
mod json_rows;

mod pool;
mod sink;

mod identity;
mod journal;
mod meter;
mod summary;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use classifier_core::dataset::MAX_LINE_BYTES;
use classifier_core::{Classifier as _, EmbeddedClassifier};
use hp_base::{Clock, SystemClock};

use self::answer::{Desk, Layout};
use self::csv_records::RecordReader;
use self::csv_rows::{ANSWER_COLUMNS, CsvLayout};
use self::format::Format;
use self::identity::Identity;
use self::input::Input;
use self::journal::Progress;
use self::json_rows::ANSWER_FIELD;
use self::meter::Meter;
use self::output::{Files, Start};
use self::pool::Limits;
use self::sink::Sink;
use self::source::{Chunks, Position, Source};
use self::summary::Summary;
use crate::UsageError;

/// All chunks that are read and not yet written take about this many bytes at the most.
const BUDGET_BYTES: u64 = 24 << 20;

/// What `bulk` is asked to do.
#[derive(Debug, clap::Args)]
pub(crate) struct BulkArgs {
    /// Rows to classify; `-` is standard input
    #[arg(long, value_name = "FILE")]
    input: PathBuf,

    /// Where the classified rows go; `-` is standard output
    ///
    /// Rows that cannot be classified go to FILE.errors.jsonl with their line and the reason, or to standard error when
    /// the output is no file. FILE.progress notes how far the run has come.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// How the rows are written [default: as the input's extension says]
    #[arg(long)]
    format: Option<Format>,

    /// The field or column with the question
    #[arg(long, value_name = "NAME", default_value = "query")]
    column: String,

    /// Threads that classify, from 1 to 256 [default: as many as the machine runs at once]
    ///
    /// Each takes about half a megabyte of memory; more than the machine runs at once make nothing faster.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    concurrency: Option<u16>,

    /// Go on where an interrupted run stopped
    #[arg(long)]
    resume: bool,
}

/// Classifies the rows of the input; prints a summary as JSON on standard output, or for people on standard error.
///
/// # Errors
/// [`UsageError`] when what is asked for cannot be done as asked; any other error when reading or writing failed.
pub(crate) fn run(
    args: &BulkArgs,
    classifier: Arc<EmbeddedClassifier>,
    max_query_chars: usize,
    json: bool,
) -> anyhow::Result<()> {
    let format = format(args)?;
    check_column(&args.column, format)?;
    let files = Files::of(&args.output);
    if files.is_none() && json {
        return Err(usage(
            "--json prints a summary where `--output -` prints the rows; name a file as --output",
        ));
    }
    let mut input = Input::open(&args.input)?;
    let identity = input.identity.clone().map(|input| Identity {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        input,
        format,
        column: args.column.clone(),
        classifier: classifier.revision().iter().map(|byte| format!("{byte:02x}")).collect(),
        max_query_chars,
    });

    let start = start(args, files.as_ref(), identity.as_ref())?;
    let mut summary = Summary::new(args, files.as_ref(), &start);
    let from = match start {
        Start::Finished(_) => return summary.print(json),
        Start::Resumed(progress) => progress,
        Start::Fresh => Progress::default(),
    };

    let (source, layout, header) = open_rows(&mut input, format, &args.column, from.input)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut sink = match &files {
        Some(files) => Sink::files(files, from, identity, clock.clone())?,
        None => open_stream(args)?,
    };
    if from.input == Position::default() {
        sink.write_header(&header)?;
    }
    let desk = Desk::new(classifier, max_query_chars, layout);
    let limits = Limits { n_threads: n_threads(args), budget: BUDGET_BYTES };
    let meter = Meter::start(clock, from, input.n_bytes);
    let done = pool::in_order(
        limits,
        Chunks::new(source, from.input, input.name),
        answer::cost,
        |chunk| desk.answer(&chunk),
        |answered| {
            sink.write(&answered)?;
            meter.show(sink.progress());
            Ok(())
        },
    );
    let done = done.and_then(|()| sink.finish());
    meter.clear();
    done?;
    summary.measure(&meter, sink.progress());
    summary.print(json)
}

fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

fn format(args: &BulkArgs) -> anyhow::Result<Format> {
    args.format.or_else(|| Format::of(&args.input)).ok_or_else(|| {
        let input = args.input.display();
        usage(format!(
            "the name {input} does not say how the rows are written; add --format jsonl or --format csv"
        ))
    })
}

/// The question must not stand where the answer goes.
fn check_column(column: &str, format: Format) -> anyhow::Result<()> {
    let is_taken = match format {
        Format::Jsonl => column == ANSWER_FIELD,
        Format::Csv => ANSWER_COLUMNS.contains(&column),
    };
    if is_taken {
        return Err(usage(format!(
            "the answer goes to `{column}`; the question has to stand in another --column"
        )));
    }
    Ok(())
}

fn start(args: &BulkArgs, files: Option<&Files>, identity: Option<&Identity>) -> anyhow::Result<Start> {
    if let Some(files) = files {
        files.check(&args.input)?;
    }
    match (files, identity) {
        (Some(files), Some(identity)) if args.resume => files.resume(identity),
        _ if args.resume => Err(usage("--resume needs files; streams cannot be read or written again")),
        (Some(files), _) => files.start_fresh(),
        (None, _) => Ok(Start::Fresh),
    }
}

/// The rows from `from` on, how to answer them, and what stands before the answers.
fn open_rows(
    input: &mut Input,
    format: Format,
    column: &str,
    from: Position,
) -> anyhow::Result<(Source, Layout, Vec<u8>)> {
    if format == Format::Jsonl {
        let source = Source::lines(input.reader_at(from.offset)?, from);
        return Ok((source, Layout::Json { column: column.to_owned() }, Vec::new()));
    }
    let mut records = RecordReader::new(input.reader_at(0)?, MAX_LINE_BYTES, Position::default());
    let mut layout = CsvLayout::read(&mut records, &input.name, column)?;
    let header = std::mem::take(&mut layout.header);
    if from.offset > 0 {
        records = RecordReader::new(input.reader_at(from.offset)?, MAX_LINE_BYTES, from);
    }
    Ok((Source::Csv(records), Layout::Csv(layout), header))
}

fn open_stream(args: &BulkArgs) -> anyhow::Result<Sink> {
    if args.output.as_os_str() == "-" {
        return Ok(Sink::streams("standard output".to_owned(), Box::new(io::stdout())));
    }
    let name = args.output.display().to_string();
    let open = OpenOptions::new().write(true).open(&args.output);
    let stream: Box<dyn Write> = Box::new(open.with_context(|| format!("cannot write {name}"))?);
    Ok(Sink::streams(name, stream))
}

fn n_threads(args: &BulkArgs) -> usize {
    let available = || thread::available_parallelism().map_or(1, NonZero::get).min(256);
    args.concurrency.map_or_else(available, usize::from)
}
