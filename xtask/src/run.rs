//! `cargo xtask run`: the main job, from a bare machine to a classified question.

use std::process::Command;

use crate::binary::{self, Set};
use crate::checkout::Checkout;
use crate::full_set;
use crate::prepare;
use crate::process;

/// What to classify when nobody asks: one question for each category, and one that is two of them.
const QUESTIONS: [&str; 4] = [
    "How does tryptophan metabolism relate to depression through the kynurenine pathway?",
    "What are the latest FDA approvals for metabolomics-based diagnostics this year?",
    "What is metabolomics?",
    "How do bile acids regulate FXR signalling, and what did the newest clinical trials report?",
];

/// Arguments of `cargo xtask run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// Build everything, with the cache on disk: 20 to 25 minutes on two slow cores, once per machine. From then on it is
    /// in use without this flag too.
    #[arg(long)]
    full: bool,
    /// The question, and any flags of `hp-classify classify`, after `--`; without a question, four of our own.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "QUERY")]
    words: Vec<String>,
}

impl Run {
    /// Prepares the machine, builds `hp-classify` and spawns it.
    pub(crate) fn execute(&self, checkout: &Checkout) -> anyhow::Result<()> {
        let set = if self.full { Set::Full } else { Set::without_waiting(checkout)? };
        match set {
            Set::Full => {
                prepare::machine(prepare::FULL)?;
                full_set::announce(checkout)?;
            }
            Set::Quick => {
                prepare::machine(prepare::QUICK)?;
                eprintln!(
                    "building without the cache on disk: about 4 minutes on two slow cores the first time, then \
                     seconds; `cargo xtask run --full` builds everything, 20 to 25 minutes once"
                );
            }
        }
        let program = binary::hp_classify(checkout, set)?;
        for words in invocations(&self.words) {
            eprintln!();
            let mut classify = Command::new(&program);
            process::announce_and_run(classify.arg("classify").args(words))?;
        }
        Ok(())
    }
}

/// The arguments of each `classify` to run: the given ones as they are when they hold a question, else the
/// given flags with each question of our own.
fn invocations(words: &[String]) -> Vec<Vec<&str>> {
    let given = words.iter().map(String::as_str);
    if words.iter().any(|word| !word.starts_with("--")) {
        return vec![given.collect()];
    }
    QUESTIONS.iter().map(|question| given.clone().chain([*question]).collect()).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        run: Run,
    }

    #[track_caller]
    fn check(line: &[&str], expected: &[&[&str]]) {
        let line = Line::try_parse_from(["run"].iter().chain(line)).unwrap();
        assert_eq!(invocations(&line.run.words), expected);
    }

    #[test]
    fn a_question_is_passed_on_as_it_is() {
        check(&["--", "What is metabolomics?"], &[&["What is metabolomics?"]]);
        check(&["What is metabolomics?"], &[&["What is metabolomics?"]]);
    }

    #[test]
    fn flags_are_passed_on_with_the_question() {
        check(&["--", "--priority", "high", "Why?", "--json"], &[&["--priority", "high", "Why?", "--json"]]);
    }

    #[test]
    fn full_is_ours_before_the_question_and_a_word_behind_it() {
        let run = |line: &[&str]| Line::try_parse_from(["run"].iter().chain(line)).unwrap().run;
        for line in [&["--full", "Why?"][..], &["--full", "--", "Why?"]] {
            let Run { full, words } = run(line);
            assert!(full && words == ["Why?"], "{line:?} became {words:?}");
        }
        let Run { full, words } = run(&["--", "Why?", "--full"]);
        assert!(!full && words == ["Why?", "--full"], "{words:?}");
        assert!(!run(&[]).full);
    }

    #[test]
    fn without_a_question_there_are_four() {
        let [a, b, c, d] = QUESTIONS;
        check(&[], &[&[a], &[b], &[c], &[d]]);
        check(&["--", "--json"], &[&["--json", a], &["--json", b], &["--json", c], &["--json", d]]);
    }
}
