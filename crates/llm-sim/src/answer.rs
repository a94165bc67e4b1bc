//! From what is asked to what the model says.

use std::sync::Arc;

use crate::brain::Answer;
use crate::journal::LogEntry;
use crate::json::Json;
use crate::prompt::{self, Asked, Item};
use crate::schema::{self, Answered};
use crate::state::{Settings, State};
use crate::tokens::{self, MIN_CACHED_TOKENS, Piece};
use crate::wire::{Call, Reply, Usage};
use crate::{Fault, Provider};

/// A category that nobody offers.
const UNKNOWN: &str = "UNHEARD_OF";

/// Stands in a text for a byte that is no UTF-8; nobody else uses this character.
pub(crate) const BAD_BYTE: char = '\u{f8ff}';

/// What is asked, and which categories may be the answer.
#[derive(Debug)]
pub(crate) struct Question {
    asked: Asked,
    offered: Vec<String>,
}

impl Question {
    pub(crate) fn queries(&self) -> Vec<String> {
        self.asked.items.iter().map(|item| item.query.clone()).collect()
    }

    pub(crate) fn is_batch(&self) -> bool {
        self.asked.is_batch
    }
}

/// The tokens of a prompt, part by part.
#[derive(Debug)]
pub(crate) struct Prompt {
    texts: Vec<Arc<[u32]>>,
    counts: Vec<u32>,
}

/// What is asked.
pub(crate) fn question(state: &State, call: &Call) -> Question {
    Question { asked: prompt::find(&call.asked, &state.brain), offered: schema::offered(call.form.schema()) }
}

impl Prompt {
    pub(crate) fn new(state: &State, call: &Call) -> Self {
        let texts: Vec<Arc<[u32]>> = call.prompt.iter().map(|part| state.tokens.of(&part.text)).collect();
        let counts = call.prompt.iter().zip(&texts).map(|(part, text)| part.overhead + tokens::count(text));
        Self { counts: counts.collect(), texts }
    }

    pub(crate) fn n_tokens(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// What of it the provider knows; from now on it knows all that it keeps.
    pub(crate) fn usage(&self, state: &State, provider: Provider, call: &Call) -> Usage {
        let mut usage = Usage { prompt: self.n_tokens(), ..Usage::default() };
        if provider != Provider::Anthropic {
            usage.cached = state.tokens.known_prefix(&self.texts);
            return usage;
        }
        let (mut n_so_far, mut n_marked) = (0, 0);
        for (index, (part, n_tokens)) in call.prompt.iter().zip(&self.counts).enumerate() {
            n_so_far += n_tokens;
            if part.is_marked && n_so_far >= MIN_CACHED_TOKENS {
                n_marked = n_so_far;
                if state.tokens.knows_marked(&self.texts[..=index]) {
                    usage.cached = n_so_far;
                }
            }
        }
        usage.written = n_marked - usage.cached;
        usage
    }
}

/// What the model says, and the categories it means.
pub(crate) fn reply(
    state: &State,
    settings: &Settings,
    call: &Call,
    question: &Question,
    prompt: Usage,
    entry: &LogEntry,
) -> (Reply, Vec<String>) {
    let answer = |item: &Item| Answered {
        item: item.clone(),
        answer: state.brain.answer(&item.query, &question.offered, state.seed, settings.error_rate),
    };
    let mut answered: Vec<Answered> = question.asked.items.iter().map(answer).collect();
    if let Some(fault) = entry.fault {
        spoil_answers(fault, &mut answered);
    }
    let categories = answered.iter().map(|answered| answered.answer.category.clone()).collect();
    let mut text = schema::reply(call.form.schema(), &answered, question.asked.is_batch);
    if let Some(fault) = entry.fault {
        spoil_text(fault, &mut text);
    }
    let mut all = state.tokens.of(&text).to_vec();
    let max_tokens = call.max_tokens.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let is_cut = all.len() > max_tokens;
    all.truncate(max_tokens);
    let mut pieces = state.tokens.pieces(&all);
    if let Some(fault) = entry.fault {
        spoil_pieces(fault, settings, state, &mut pieces);
    }
    let completion = pieces.iter().map(|piece| piece.n_tokens).sum();
    let reply = Reply {
        seq: entry.seq,
        pieces,
        is_cut,
        usage: Usage { completion, ..prompt },
        hides_usage: entry.fault == Some(Fault::UsageMissing),
    };
    (reply, categories)
}

fn spoil_answers(fault: Fault, answered: &mut Vec<Answered>) {
    match fault {
        Fault::UnknownCategory => {
            for Answered { answer, .. } in answered {
                *answer =
                    Answer { category: UNKNOWN.to_owned(), alternative: None, confidence: answer.confidence };
            }
        }
        Fault::ConfidenceOutOfRange => {
            for Answered { answer, .. } in answered {
                answer.confidence = 1e15;
            }
        }
        Fault::WrongItems => {
            let mut unknown = answered.remove(0);
            unknown.item.id = match unknown.item.id {
                Json::Number(_) => Json::Number(999_999.into()),
                _ => Json::String("unknown".to_owned()),
            };
            answered.push(unknown);
            answered.insert(0, answered[0].clone());
        }
        _ => {}
    }
}

fn spoil_text(fault: Fault, text: &mut String) {
    match fault {
        Fault::MalformedJson => *text = text.replacen(':', " ", 1),
        Fault::WrongShape => *text = r#"{"answer":{"text":"It depends."},"status":"ok"}"#.to_owned(),
        Fault::EmptyReply => text.clear(),
        _ => {}
    }
}

fn spoil_pieces(fault: Fault, settings: &Settings, state: &State, pieces: &mut Vec<Piece>) {
    match fault {
        Fault::TruncatedStreamDone => pieces.truncate(pieces.len() / 2),
        Fault::InvalidUtf8 => {
            let middle = pieces.len() / 2;
            if let Some(piece) = pieces.get_mut(middle) {
                piece.text.push(BAD_BYTE);
            }
        }
        Fault::EnormousReply => {
            let text = "and so on ".repeat(1024);
            let n_tokens = tokens::count(&state.tokens.of(&text));
            let n_pieces = settings.enormous_reply_bytes.div_ceil(text.len());
            *pieces = vec![Piece { text, n_tokens }; n_pieces];
        }
        _ => {}
    }
}
