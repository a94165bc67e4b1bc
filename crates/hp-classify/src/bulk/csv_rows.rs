//! Rows that are CSV: the columns of the input, and those of the answer.

use std::io::{Cursor, Read, SeekFrom};

use classifier_core::{Classification, Uncertainty, nearest};
use csv::{ReaderBuilder, StringRecord, Writer};

use super::answer::Asker;
use super::csv_records::RecordReader;
use crate::UsageError;

/// The columns of the answer; columns of these names that the input has are replaced.
pub(super) const ANSWER_COLUMNS: [&str; 7] = [
    "category",
    "confidence",
    "hybrid",
    "route",
    "alternative_category",
    "alternative_confidence",
    "uncertainty",
];

/// Messages name no more columns than this.
const MAX_NAMES: usize = 20;

/// What the header says of the rows.
#[derive(Debug, Default)]
pub(super) struct CsvLayout {
    /// The header of the output; empty when there is no input.
    pub(super) header: Vec<u8>,
    n_fields: usize,
    question: usize,
    /// The columns that are copied to the output.
    copied: Vec<usize>,
}

impl CsvLayout {
    /// Reads the header from `records` and finds the question in the column named `column`.
    pub(super) fn read<R: Read>(
        records: &mut RecordReader<R>,
        input: &str,
        column: &str,
    ) -> anyhow::Result<Self> {
        let unusable = |problem: &str| UsageError(format!("cannot use the header of {input}: {problem}"));
        let Some(record) = records.read().map_err(|error| unusable(&error.to_string()))? else {
            return Ok(Self::default());
        };
        let mut parser = RowParser::new();
        let header = record.text.and_then(|text| parser.parse(text)).map_err(|problem| unusable(&problem))?;
        let question = header.iter().position(|name| name == column).ok_or_else(|| {
            let names: Vec<_> = header.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
            let more = if header.len() > MAX_NAMES { ", …" } else { "" };
            let advice = match nearest(column, header) {
                Some(name) => format!("did you mean --column {name}?"),
                None => "name the question's column with --column".to_owned(),
            };
            UsageError(format!("{input} has no column `{column}`, only {}{more}; {advice}", names.join(", ")))
        })?;
        let is_copied = |name: &str| !ANSWER_COLUMNS.contains(&name);
        let copied: Vec<_> = (0..header.len()).filter(|&index| is_copied(&header[index])).collect();
        let mut text = Vec::new();
        write(copied.iter().map(|&index| &header[index]).chain(ANSWER_COLUMNS), &mut text)
            .map_err(|problem| unusable(&problem))?;
        Ok(Self { header: text, n_fields: header.len(), question, copied })
    }

    /// Appends `row` with its answer to `output`, or says why it has none.
    pub(super) fn answer(
        &self,
        row: &StringRecord,
        asker: &Asker,
        output: &mut Vec<u8>,
    ) -> Result<(), String> {
        if row.len() != self.n_fields {
            return Err(format!("the row has {} fields where the header has {}", row.len(), self.n_fields));
        }
        let classification = asker.ask(&row[self.question])?;
        let answer = answer_fields(&classification);
        write(self.copied.iter().map(|&index| &row[index]).chain(answer.iter().map(String::as_str)), output)
    }
}

/// Takes rows apart; making one costs as much as hundreds of rows.
pub(super) struct RowParser<'a> {
    reader: csv::Reader<Cursor<&'a [u8]>>,
    fields: StringRecord,
}

impl<'a> RowParser<'a> {
    pub(super) fn new() -> Self {
        let mut settings = ReaderBuilder::new();
        settings.has_headers(false).flexible(true);
        Self { reader: settings.from_reader(Cursor::default()), fields: StringRecord::new() }
    }

    /// The fields of the row `text`.
    pub(super) fn parse(&mut self, text: &'a str) -> Result<&StringRecord, String> {
        *self.reader.get_mut() = Cursor::new(text.as_bytes());
        // Seeking makes the reader forget that it has seen the end of the row before.
        let read = self.reader.seek_raw(SeekFrom::Start(0), csv::Position::new());
        match read.and_then(|()| self.reader.read_record(&mut self.fields)) {
            Ok(true) => Ok(&self.fields),
            Ok(false) => Err("the row is empty".to_owned()),
            Err(error) => Err(format!("not CSV: {error}")),
        }
    }
}

fn write<'a>(fields: impl Iterator<Item = &'a str>, output: &mut Vec<u8>) -> Result<(), String> {
    let problem = |error: &dyn std::fmt::Display| format!("the answer cannot be written: {error}");
    let mut writer = Writer::from_writer(output);
    writer.write_record(fields).map_err(|error| problem(&error))?;
    writer.flush().map_err(|error| problem(&error))
}

fn answer_fields(classification: &Classification) -> [String; ANSWER_COLUMNS.len()] {
    let alternative = classification.alternative_categories.first();
    [
        classification.category.to_string(),
        classification.confidence.to_string(),
        classification.hybrid.to_string(),
        classification.route.clone(),
        alternative.map_or_else(String::new, |alternative| alternative.category.to_string()),
        alternative.map_or_else(String::new, |alternative| alternative.confidence.to_string()),
        uncertainty(&classification.uncertainty_indicators),
    ]
}

/// The names the indicators have in JSON, with semicolons between them.
fn uncertainty(indicators: &[Uncertainty]) -> String {
    let names = indicators.iter().filter_map(|indicator| serde_json::to_value(indicator).ok());
    let names: Vec<_> = names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    names.join(";")
}

#[cfg(test)]
mod tests {
    use super::{CsvLayout, RecordReader, RowParser, Uncertainty, UsageError, uncertainty, write};
    use crate::bulk::source::Position;

    fn layout(text: &str, column: &str) -> anyhow::Result<CsvLayout> {
        CsvLayout::read(&mut RecordReader::new(text.as_bytes(), 1000, Position::default()), "in.csv", column)
    }

    #[test]
    fn the_header_gets_the_answers_columns() {
        let found = layout("\u{feff}id,\"the, question\"\n", "the, question").unwrap();
        assert_eq!(
            String::from_utf8(found.header).unwrap(),
            "id,\"the, question\",category,confidence,hybrid,route,alternative_category,alternative_confidence,\
             uncertainty\n"
        );
        assert_eq!((found.n_fields, found.question), (2, 1));
    }

    #[test]
    fn columns_of_an_earlier_answer_are_replaced() {
        let found = layout("route,query,category,x", "query").unwrap();
        assert_eq!(found.copied, [1, 3]);
        assert!(found.header.starts_with(b"query,x,category,confidence,"));
    }

    #[test]
    fn a_missing_column_is_told_with_those_there_are() {
        for (header, message) in [
            ("id,qeury", "in.csv has no column `query`, only `id`, `qeury`; did you mean --column qeury?"),
            ("id;a", "in.csv has no column `query`, only `id;a`; name the question's column with --column"),
        ] {
            let error = layout(header, "query").unwrap_err();
            assert_eq!(error.downcast_ref::<UsageError>().unwrap().0, message);
        }
        assert!(layout("", "query").unwrap().header.is_empty());
    }

    #[test]
    fn fields_are_written_as_they_were_read() {
        let mut parser = RowParser::new();
        for (text, fields) in [
            ("a,\"b \"\"c\"\"\nd\",,\" e\"", &["a", "b \"c\"\nd", "", " e"][..]),
            ("\"\"", &[""]),
            ("a,", &["a", ""]),
            (&"long ".repeat(10_000), &[&"long ".repeat(10_000)]),
        ] {
            let read = parser.parse(text).unwrap().clone();
            assert_eq!(read.iter().collect::<Vec<_>>(), fields);
            let mut written = Vec::new();
            write(read.iter(), &mut written).unwrap();
            let written = String::from_utf8(written).unwrap();
            assert_eq!(RowParser::new().parse(written.trim_end_matches('\n')).unwrap(), &read);
        }
    }

    #[test]
    fn indicators_have_the_names_of_the_json() {
        assert_eq!(uncertainty(&[]), "");
        assert_eq!(
            uncertainty(&[Uncertainty::LowConfidence, Uncertainty::OutOfDomain]),
            "low_confidence;out_of_domain"
        );
    }
}
