//! The figures we promise: which there are, which benchmark measures them, and whether they are reached.
//!
//! Every figure is the median over rounds, so that a disturbed moment does not count. What is compared is measured in
//! turns within one process, so that a machine that gets slower meanwhile makes both slower.

mod cache;
mod embedded;
mod l1;
mod llm;
mod model;
mod process;
mod system;
mod timer;
mod traffic;

mod figure;
mod rounds;
mod table;

pub use figure::{Figure, Goal};
pub use table::table;

use crate::Questions;

/// Something that can be asked for by name.
#[derive(Debug)]
pub struct Benchmark {
    /// What it is asked for by.
    pub name: &'static str,
    /// What it measures, in a few words.
    pub description: &'static str,
    parts: &'static [Part],
}

/// What is measured at one go. Benchmarks may share one; it is measured once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Timer,
    Embedded,
    System,
    L1,
    Process,
    Model,
    Entry,
    L2,
    L3,
    Tiered,
    LlmEarly,
    LlmTokens,
    LlmOverhead,
    Batching,
    Overload,
    Tasks,
    Memory,
}

/// All there are.
pub const BENCHMARKS: &[Benchmark] = &[
    Benchmark {
        name: "classify",
        description: "the main job: all of the following",
        parts: &[Part::Timer, Part::Embedded, Part::System, Part::L1, Part::Process, Part::Model],
    },
    Benchmark {
        name: "embedded",
        description: "the embedded classifier alone: latency, throughput, and its model",
        parts: &[Part::Timer, Part::Embedded, Part::Model],
    },
    Benchmark {
        name: "system",
        description: "the whole pipeline within a process, answers cached and not",
        parts: &[Part::Timer, Part::System],
    },
    Benchmark {
        name: "l1",
        description: "a get from the memory tier beside one from a bare quick_cache",
        parts: &[Part::L1],
    },
    Benchmark {
        name: "process",
        description: "the program hp-classify: time to its first answer, resident memory",
        parts: &[Part::Process],
    },
    Benchmark {
        name: "cache",
        description: "the tiers beside quick_cache, RocksDB and Redis, and the cache over them; fills 10 million entries",
        parts: &[Part::Entry, Part::L1, Part::L2, Part::L3, Part::Tiered],
    },
    Benchmark {
        name: "llm",
        description: "the path to a language model, against a simulated provider: tokens, early answers, overhead",
        parts: &[Part::LlmTokens, Part::LlmEarly, Part::LlmOverhead],
    },
    Benchmark { name: "tasks", description: "cached answers to one task and to 64", parts: &[Part::Tasks] },
    Benchmark {
        name: "traffic",
        description: "many who ask at once: batching, 64 tasks, a million requests, and two minutes of overload",
        parts: &[Part::Batching, Part::Tasks, Part::Memory, Part::Overload],
    },
];

/// Measures the benchmarks with these names, or all of them without any; `progress` is told what comes next.
///
/// # Errors
/// When a name is not that of a benchmark, or when something that is measured does not do what it should.
pub fn measure(
    names: &[String],
    questions: &Questions,
    mut progress: impl FnMut(&str),
) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for part in parts(names)? {
        progress(part.doing());
        figures.extend(part.measure(questions)?);
    }
    Ok(figures)
}

/// The parts of the benchmarks with these names, each once.
fn parts(names: &[String]) -> anyhow::Result<Vec<Part>> {
    if let Some(name) = names.iter().find(|name| !BENCHMARKS.iter().any(|known| known.name == **name)) {
        anyhow::bail!("no benchmark is called `{name}`; --list names those there are");
    }
    let mut parts = Vec::new();
    for benchmark in BENCHMARKS {
        if names.is_empty() || names.iter().any(|name| name == benchmark.name) {
            let new: Vec<Part> =
                benchmark.parts.iter().copied().filter(|part| !parts.contains(part)).collect();
            parts.extend(new);
        }
    }
    Ok(parts)
}

impl Part {
    fn doing(self) -> &'static str {
        match self {
            Self::Timer => "reading the clock",
            Self::Embedded => "classifying on one core",
            Self::System => "asking the whole pipeline, cached and not",
            Self::L1 => "reading from the memory tier and from a bare quick_cache, in turns",
            Self::Process => "starting hp-classify and asking it",
            Self::Model => "loading the model",
            Self::Entry => "filling memory",
            Self::L2 => {
                "filling disks, and reading from the tier and from a bare RocksDB, in turns; this takes minutes"
            }
            Self::L3 => {
                "starting redis-server, and reading through the tier and through a bare client, in turns"
            }
            Self::LlmTokens => "counting the tokens of questions to a language model, single and in batches",
            Self::LlmEarly => "accepting answers early and late, in turns, while tokens drip",
            Self::LlmOverhead => {
                "asking a language model through the whole path and through a bare client, 1,000 times a second"
            }
            Self::Batching => "asking a slow language model by a hundred users, with and without batching",
            Self::Overload => {
                "asking up to twenty times what a language model can take; this takes two minutes"
            }
            Self::Tasks => "asking for cached answers by one task and by 64",
            Self::Memory => "asking a million times, and looking at memory",
            Self::Tiered => "writing to and reading from all three tiers",
        }
    }

    fn measure(self, questions: &Questions) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::Timer => Ok(timer::measure()),
            Self::Embedded => embedded::measure(questions),
            Self::System => system::measure(questions),
            Self::L1 => l1::measure(questions),
            Self::Process => process::measure(questions),
            Self::Model => model::measure(),
            Self::Entry => cache::entry::measure(),
            Self::L2 => cache::l2::measure(),
            Self::L3 => cache::l3::measure(),
            Self::Tiered => cache::tiered::measure(),
            Self::LlmTokens => llm::tokens(questions),
            Self::LlmEarly => llm::early(questions),
            Self::LlmOverhead => llm::overhead(questions),
            Self::Batching => traffic::batching(),
            Self::Overload => traffic::overload(),
            Self::Tasks => traffic::tasks(questions),
            Self::Memory => traffic::memory(questions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expected: &[Part]) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(parts(&names).unwrap(), expected);
    }

    #[test]
    fn no_part_is_measured_twice() {
        use Part::{
            Batching, Embedded, Entry, L1, L2, L3, LlmEarly, LlmOverhead, LlmTokens, Memory, Model, Overload,
            Process, System, Tasks, Tiered, Timer,
        };
        let llm = [LlmTokens, LlmEarly, LlmOverhead];
        let all = [Timer, Embedded, System, L1, Process, Model, Entry, L2, L3, Tiered];
        let traffic = [Tasks, Batching, Memory, Overload];
        check(&[], &[&all[..], &llm, &traffic].concat());
        check(&["llm"], &llm);
        check(&["classify", "l1"], &[Timer, Embedded, System, L1, Process, Model]);
        check(&["l1", "system"], &[Timer, System, L1]);
        check(&["process"], &[Process]);
    }

    #[test]
    fn an_unknown_name_is_refused() {
        let error = parts(&["l2".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "no benchmark is called `l2`; --list names those there are");
    }
}
