//! The contract of [`ChatModel`] as a suite that any model can be run against (feature `contract`).
//!
//! ```
//! use llm_optimizer::{NoModel, contract};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! contract::check_failing(&NoModel).await;
//! # }
//! ```

#![expect(clippy::panic, reason = "a panic is how a suite reports a failure")]

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Instant;

use hp_base::Deadline;

use crate::{
    ChatModel, ChatReply, ChatRequest, Finish, Flow, LlmErrorKind, Message, ReplyReader, ReplyReaders, Role,
};

/// What a model under examination is to reply to everything, in two pieces or more if it is streamed.
pub const REPLY: &str = r#"{"category":"GENERAL","confidence":0.5,"why":"süß"}"#;
/// What a model under examination is to hold as its secret, if it holds any.
pub const SECRET: &str = "sk-of-the-contract";
/// What a model under examination is asked.
pub const PROMPT: &str = "What would the contract ask?";

/// Runs every clause of the contract, each against a new model from `make`, which is to reply [`REPLY`] to everything,
/// to stream it if it is asked to, and to tell the time by the machine's clock.
///
/// The future is not `Send`: await it in a test of any runtime, without spawning it.
///
/// # Panics
///
/// On the first clause that does not hold, with its name.
pub async fn check(make: impl AsyncFn() -> Arc<dyn ChatModel>) {
    it_names_itself_and_no_secret(&*make().await);
    a_reply_says_what_it_is(&*make().await).await;
    the_pieces_are_the_reply(&*make().await).await;
    without_a_stream_the_reply_is_read_all_the_same(&*make().await).await;
    a_reader_that_has_enough_gets_no_more(&*make().await).await;
    each_call_has_a_reader_of_its_own(&*make().await).await;
    after_the_deadline_nothing_is_asked(&*make().await).await;
    a_dropped_call_does_no_harm(&*make().await).await;
    calls_at_once_do_not_mix(make().await).await;
}

/// Runs the clauses that hold for a model of which every call fails.
///
/// # Panics
///
/// On the first clause that does not hold, with its name.
pub async fn check_failing(model: &dyn ChatModel) {
    it_names_itself_and_no_secret(model);
    let (readers, pieces) = Recording::starting(usize::MAX);
    let error = match model.chat(&request(Some(readers))).await {
        Ok(_) => panic!("a model that fails has replied"),
        Err(error) => error,
    };
    assert!(!error.to_string().is_empty(), "an error says nothing");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains(PROMPT), "an error repeats the prompt: {text}");
        assert!(!text.contains(SECRET), "an error shows a secret");
    }
    assert!(pieces.take().len() <= 1, "one call had several readers");
    after_the_deadline_nothing_is_read(model).await;
}

fn it_names_itself_and_no_secret(model: &dyn ChatModel) {
    assert!(!model.to_string().is_empty(), "a model has no name");
    for text in [model.to_string(), format!("{model:?}"), format!("{model:#?}")] {
        assert!(!text.contains(SECRET), "a model shows its secret");
    }
}

async fn a_reply_says_what_it_is(model: &dyn ChatModel) {
    let reply = ask(model, &request(None)).await;
    assert_eq!(reply.text, REPLY, "the reply is another one");
    assert_eq!(reply.finish, Finish::Stop, "a reply that is all there does not say so");
    assert!(!reply.report.model.is_empty(), "a reply does not name its model");
    assert!(reply.report.n_attempts >= 1, "a reply took no attempt");
}

async fn the_pieces_are_the_reply(model: &dyn ChatModel) {
    let (readers, pieces) = Recording::starting(usize::MAX);
    let reply = ask(model, &request(Some(readers))).await;
    let read = pieces.take();
    assert_eq!(read.len(), 1, "one call has {} readers", read.len());
    assert!(read[0].len() > 1, "a streamed reply came in one piece");
    assert_eq!(read.concat().concat(), reply.text, "the pieces put together are not the reply");
}

async fn without_a_stream_the_reply_is_read_all_the_same(model: &dyn ChatModel) {
    let (readers, pieces) = Recording::starting(usize::MAX);
    let mut request = request(Some(readers));
    request.stream = false;
    let reply = ask(model, &request).await;
    assert_eq!(
        pieces.take().concat().concat(),
        reply.text,
        "a reply that is not streamed passes its reader by"
    );
}

async fn a_reader_that_has_enough_gets_no_more(model: &dyn ChatModel) {
    let (readers, pieces) = Recording::starting(1);
    let reply = ask(model, &request(Some(readers))).await;
    let read = pieces.take().concat();
    assert_eq!(read.len(), 1, "a reader that has enough got {} pieces", read.len());
    assert_eq!(reply.text, read[0], "the reply is not what was read");
    assert_eq!(reply.finish, Finish::Enough, "a reply that was cut does not say so");
    assert_eq!(reply.usage, None, "a reply that was cut knows what it took");
}

async fn each_call_has_a_reader_of_its_own(model: &dyn ChatModel) {
    let (readers, pieces) = Recording::starting(usize::MAX);
    let request = request(Some(readers));
    for _ in 0..2 {
        ask(model, &request).await;
    }
    let read: Vec<String> = pieces.take().iter().map(|pieces| pieces.concat()).collect();
    assert_eq!(read, [REPLY, REPLY], "two calls do not have a reader each");
}

async fn after_the_deadline_nothing_is_asked(model: &dyn ChatModel) {
    let mut late = request(None);
    late.deadline = Deadline::at(Instant::now());
    let kind = model.chat(&late).await.map_err(|error| error.kind());
    assert_eq!(kind.err(), Some(LlmErrorKind::OutOfTime), "a call after its deadline is not out of time");
    after_the_deadline_nothing_is_read(model).await;
}

async fn after_the_deadline_nothing_is_read(model: &dyn ChatModel) {
    let (readers, pieces) = Recording::starting(usize::MAX);
    let mut late = request(Some(readers));
    late.deadline = Deadline::at(Instant::now());
    assert!(model.chat(&late).await.is_err(), "a call after its deadline has a reply");
    assert!(pieces.take().is_empty(), "a call after its deadline has a reader");
}

async fn a_dropped_call_does_no_harm(model: &dyn ChatModel) {
    for n_polls in 0..8 {
        let request = request(None);
        let mut call = model.chat(&request);
        for _ in 0..n_polls {
            let is_over = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
            if is_over {
                break;
            }
        }
    }
    assert_eq!(ask(model, &request(None)).await.text, REPLY, "after dropped calls there is no reply");
}

async fn calls_at_once_do_not_mix(model: Arc<dyn ChatModel>) {
    let mut calls = Vec::new();
    for _ in 0..16 {
        let (readers, pieces) = Recording::starting(usize::MAX);
        let (model, request) = (Arc::clone(&model), request(Some(readers)));
        calls.push((tokio::spawn(async move { model.chat(&request).await }), pieces));
    }
    for (call, pieces) in calls {
        let text = match call.await {
            Ok(Ok(reply)) => reply.text,
            Ok(Err(error)) => panic!("of calls at once one fails: {error}"),
            Err(error) => panic!("of calls at once one panics: {error}"),
        };
        assert_eq!((&*text, pieces.take().concat().concat().as_str()), (REPLY, REPLY), "calls at once mix");
    }
}

async fn ask(model: &dyn ChatModel, request: &ChatRequest) -> ChatReply {
    match model.chat(request).await {
        Ok(reply) => reply,
        Err(error) => panic!("{model} does not reply: {error}"),
    }
}

fn request(readers: Option<Arc<dyn ReplyReaders>>) -> ChatRequest {
    let messages = vec![Message::new(Role::System, "Reply."), Message::new(Role::User, PROMPT)];
    ChatRequest { readers, ..ChatRequest::new(messages) }
}

/// What all readers have read, each for itself.
#[derive(Debug, Clone, Default)]
struct Pieces(Arc<Mutex<Vec<Vec<String>>>>);

impl Pieces {
    fn take(&self) -> Vec<Vec<String>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Readers that write down what they read, and have enough after some pieces.
#[derive(Debug)]
struct Recording {
    enough_after: usize,
    pieces: Pieces,
}

struct Recorder {
    index: usize,
    n_left: usize,
    pieces: Pieces,
}

impl Recording {
    fn starting(enough_after: usize) -> (Arc<dyn ReplyReaders>, Pieces) {
        let pieces = Pieces::default();
        (Arc::new(Self { enough_after, pieces: pieces.clone() }), pieces)
    }
}

impl ReplyReaders for Recording {
    fn reader(&self) -> Box<dyn ReplyReader> {
        let mut pieces = self.pieces.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces.push(Vec::new());
        Box::new(Recorder { index: pieces.len() - 1, n_left: self.enough_after, pieces: self.pieces.clone() })
    }
}

impl ReplyReader for Recorder {
    fn read(&mut self, piece: &str) -> Flow {
        let mut pieces = self.pieces.0.lock().unwrap_or_else(PoisonError::into_inner);
        pieces[self.index].push(piece.to_owned());
        self.n_left = self.n_left.saturating_sub(1);
        if self.n_left == 0 { Flow::Enough } else { Flow::Continue }
    }
}
