//! A language model that says what a test has it say, and remembers what it was asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use classifier_core::{Cascade, ClassificationSystem, LlmClassifier, LlmOptions, Thresholds};
use hp_base::{Clock, SystemClock};
use llm_optimizer::{
    CallReport, ChatModel, ChatReply, ChatRequest, Finish, Flow, LlmError, LlmErrorKind, MicroDollars,
    ReplyReader, Usage,
};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

use crate::support::{built_in, config};

/// What the model does when it is asked.
pub(crate) enum Step {
    /// It replies.
    Reply(String),
    /// Its reply ends for a reason of its own.
    Ends(String, Finish),
    /// It fails.
    Fails(LlmErrorKind),
    /// It waits for a permit, and then does something.
    Waits(Arc<Semaphore>, Box<Step>),
    /// It writes the beginning of a reply, and then does something.
    Writes(String, Box<Step>),
}

type Script = dyn Fn(usize, &ChatRequest) -> Step + Send + Sync;

pub(crate) struct Scripted {
    script: Box<Script>,
    asked: watch::Sender<Vec<ChatRequest>>,
}

impl Scripted {
    /// One that does what `script` says of the number of the call, from 0, and the request.
    pub(crate) fn new(script: impl Fn(usize, &ChatRequest) -> Step + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { script: Box::new(script), asked: watch::Sender::new(Vec::new()) })
    }

    /// One that always replies the same.
    pub(crate) fn saying(reply: &str) -> Arc<Self> {
        let reply = reply.to_owned();
        Self::new(move |_, _| Step::Reply(reply.clone()))
    }

    /// One that always fails in the same way.
    pub(crate) fn failing(kind: LlmErrorKind) -> Arc<Self> {
        Self::new(move |_, _| Step::Fails(kind))
    }

    pub(crate) fn asked(&self) -> Vec<ChatRequest> {
        self.asked.borrow().clone()
    }

    pub(crate) fn n_asked(&self) -> usize {
        self.asked.borrow().len()
    }
}

#[async_trait]
impl ChatModel for Scripted {
    async fn chat(&self, request: &ChatRequest) -> Result<ChatReply, LlmError> {
        let mut number = 0;
        self.asked.send_modify(|asked| {
            number = asked.len();
            asked.push(request.clone());
        });
        let mut reader = request.readers.as_ref().map(|readers| readers.reader());
        let mut text = String::new();
        let mut step = (self.script)(number, request);
        loop {
            match step {
                Step::Reply(rest) => {
                    let flow = read(&mut reader, &rest);
                    text.push_str(&rest);
                    let finish = if flow == Flow::Enough { Finish::Enough } else { Finish::Stop };
                    return Ok(reply(text, finish));
                }
                Step::Ends(rest, finish) => {
                    text.push_str(&rest);
                    return Ok(reply(text, finish));
                }
                Step::Fails(kind) => return Err(LlmError::new(kind, "it was told to fail")),
                Step::Waits(gate, then) => {
                    gate.acquire().await.unwrap().forget();
                    step = *then;
                }
                Step::Writes(beginning, then) => {
                    let flow = read(&mut reader, &beginning);
                    text.push_str(&beginning);
                    if flow == Flow::Enough {
                        return Ok(reply(text, Finish::Enough));
                    }
                    step = *then;
                }
            }
        }
    }

    async fn warm(&self) -> Result<(), LlmError> {
        Ok(())
    }
}

fn read(reader: &mut Option<Box<dyn ReplyReader>>, piece: &str) -> Flow {
    reader.as_mut().map_or(Flow::Continue, |reader| reader.read(piece))
}

fn reply(text: String, finish: Finish) -> ChatReply {
    let whole = finish != Finish::Enough;
    let usage =
        Usage { input_tokens: 201, cached_input_tokens: 100, cache_write_tokens: 0, output_tokens: 21 };
    let report = CallReport {
        model: "scripted-1".into(),
        n_attempts: 1,
        time_to_first_token: Duration::from_millis(7),
        cost: whole.then_some(MicroDollars(31)),
        ..CallReport::default()
    };
    ChatReply { text, finish, usage: whole.then_some(usage), report }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

impl fmt::Display for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("scripted-1")
    }
}

/// A reply of the form that is asked for.
pub(crate) fn saying(category: &str, confidence: f64) -> String {
    format!(r#"{{"category":"{category}","confidence":{confidence},"also":null,"reason":"it asks so"}}"#)
}

/// The JSON object of the user's turn.
pub(crate) fn user_turn(request: &ChatRequest) -> Value {
    serde_json::from_str(&request.messages[1].text).unwrap()
}

/// What asks a model, with a clock that goes.
pub(crate) fn classifier(model: &Arc<Scripted>, options: LlmOptions) -> LlmClassifier {
    classifier_by(model, options, Arc::new(SystemClock))
}

pub(crate) fn classifier_by(
    model: &Arc<Scripted>,
    options: LlmOptions,
    clock: Arc<dyn Clock>,
) -> LlmClassifier {
    LlmClassifier::new(model.clone(), "scripted-1", built_in().clone(), clock).unwrap().with_options(options)
}

/// A cascade with one threshold, or none.
pub(crate) fn cascade(model: &Arc<Scripted>, threshold: Option<f64>) -> Arc<Cascade> {
    let thresholds = threshold.map(|general| Thresholds { general, by_category: Vec::new() });
    Arc::new(Cascade::new(Arc::new(classifier(model, LlmOptions::default())), thresholds))
}

/// A system in which the model is asked always, and the embedded classifier stands by.
pub(crate) fn system(model: &Arc<Scripted>, flags: &[(&str, &str)]) -> ClassificationSystem {
    let config = config(flags);
    let builder = ClassificationSystem::builder(&config).with_classifier(cascade(model, None));
    builder.with_fallback(built_in().clone()).build().unwrap()
}
