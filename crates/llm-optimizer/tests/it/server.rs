//! A server that says what it is told to, byte by byte, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hp_base::{Secret, SystemClock};
use llm_optimizer::{ChatModel, ChatRequest, Flow, Message, ProviderConfig, ProviderKind, ReplyReader, Role};
use llm_optimizer::{ReplyFormat, ReplyReaders, ReplySchema};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// One part of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// These bytes.
    Send(Vec<u8>),
    /// Nothing more, until the client has gone.
    Hang,
    /// The connection is closed.
    Close,
}

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The request line and the headers, names in lower case.
    pub(crate) head: String,
    pub(crate) body: serde_json::Value,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Debug, Default)]
struct State {
    answers: Mutex<VecDeque<Vec<Step>>>,
    /// The answer to those who do not want a stream, if it is another one.
    whole: Option<Vec<Step>>,
    asked: watch::Sender<Vec<Asked>>,
    n_connections: AtomicUsize,
}

pub(crate) struct Server {
    pub(crate) address: String,
    state: Arc<State>,
    gone: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
}

impl Server {
    /// One that gives these answers, one to each request, and the last of them to all further ones.
    pub(crate) async fn new(answers: impl IntoIterator<Item = Vec<Step>>) -> Self {
        Self::start(answers, None).await
    }

    /// One that streams to those who want a stream, and replies as a whole to all others.
    pub(crate) async fn streaming_if_asked(stream: Vec<Step>, whole: Vec<Step>) -> Self {
        Self::start([stream], Some(whole)).await
    }

    async fn start(answers: impl IntoIterator<Item = Vec<Step>>, whole: Option<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = Mutex::new(answers.into_iter().collect());
        let state = Arc::new(State { answers, whole, ..State::default() });
        let (sender, gone) = mpsc::unbounded_channel();
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.n_connections.fetch_add(1, Ordering::Relaxed);
                let (state, sender) = (Arc::clone(&shared), sender.clone());
                tokio::spawn(async move {
                    serve(stream, &state).await;
                    let _ = sender.send(());
                });
            }
        });
        Self { address, state, gone: tokio::sync::Mutex::new(gone) }
    }

    /// Waits until a connection has ended.
    pub(crate) async fn until_one_has_gone(&self) {
        self.gone.lock().await.recv().await.unwrap();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.borrow().clone()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn until_asked(&self, n: usize) {
        self.state.asked.subscribe().wait_for(|asked| asked.len() >= n).await.unwrap();
    }

    pub(crate) fn last_asked(&self) -> Asked {
        self.asked().pop().unwrap()
    }

    pub(crate) fn n_connections(&self) -> usize {
        self.state.n_connections.load(Ordering::Relaxed)
    }

    pub(crate) fn config(&self, kind: ProviderKind) -> ProviderConfig {
        let mut config = ProviderConfig::new(kind, "test-model");
        config.base_url = format!("http://{}", self.address);
        config.api_key = Secret::new("sk-hush");
        config
    }

    pub(crate) fn model(&self, kind: ProviderKind) -> Arc<dyn ChatModel> {
        self.config(kind).build(Arc::new(SystemClock)).unwrap()
    }
}

async fn serve(mut stream: TcpStream, state: &State) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(asked) = read_request(&mut stream, &mut buffer).await {
        let is_whole = asked.body["stream"] == false;
        state.asked.send_modify(|all| all.push(asked));
        let answer = if is_whole && let Some(whole) = &state.whole {
            whole.clone()
        } else {
            let mut answers = state.answers.lock().unwrap();
            let answer = answers.pop_front().unwrap_or_default();
            if answers.is_empty() {
                answers.push_back(answer.clone());
            }
            answer
        };
        for step in answer {
            match step {
                Step::Send(bytes) => {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Hang => {
                    while stream.read(&mut [0; 64]).await.is_ok_and(|n| n > 0) {}
                    return;
                }
                Step::Close => return,
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let mut asked = Asked { head, body: serde_json::Value::Null };
            let length: usize = asked.header("content-length").map_or(0, |text| text.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let rest = buffer.split_off(end + 4 + length);
                asked.body = serde_json::from_slice(&buffer[end + 4..]).unwrap_or_default();
                *buffer = rest;
                return Some(asked);
            }
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(n) if n > 0 => buffer.extend_from_slice(&bytes[..n]),
            _ => return None,
        }
    }
}

/// An answer with a body of a known length.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], content_type: &str, body: &str) -> Vec<Step> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\n{headers}content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    vec![Step::Send(format!("{head}{body}").into_bytes())]
}

pub(crate) fn json(status: u16, body: &str) -> Vec<Step> {
    answer(status, &[], "application/json", body)
}

pub(crate) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";

/// A piece of a body that comes in pieces.
pub(crate) fn chunk(bytes: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

/// A stream of these bytes, `size` at a time, and what comes after them.
pub(crate) fn stream(bytes: &[u8], size: usize, then: Vec<Step>) -> Vec<Step> {
    let head = std::iter::once(Step::Send(STREAM_HEAD.as_bytes().to_vec()));
    let chunks = bytes.chunks(size).map(|bytes| Step::Send(chunk(bytes)));
    head.chain(chunks).chain(then).collect()
}

/// The end of a body that comes in pieces.
pub(crate) fn end() -> Vec<Step> {
    vec![Step::Send(b"0\r\n\r\n".to_vec())]
}

/// The stream of an OpenAI-compatible provider that replies with these pieces.
pub(crate) fn openai_events(pieces: &[&str]) -> String {
    let mut text = String::new();
    let mut add = |value: serde_json::Value| text.push_str(&format!("data: {value}\n\n"));
    for piece in pieces {
        let delta = serde_json::json!({ "content": piece });
        add(
            serde_json::json!({"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]}),
        );
    }
    add(serde_json::json!({"id": "c1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    add(serde_json::json!({"id": "c1", "choices": [], "usage": {
        "prompt_tokens": 20, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 16}}}));
    text.push_str("data: [DONE]\n\n");
    text
}

/// The stream of Anthropic's that replies with these pieces, as text or as the arguments of a tool.
pub(crate) fn anthropic_events(pieces: &[&str], is_tool: bool) -> String {
    let mut text = String::new();
    let mut add = |value: serde_json::Value| {
        text.push_str(&format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap()));
    };
    add(serde_json::json!({"type": "message_start", "message": {"id": "m1", "usage": {"input_tokens": 3,
        "cache_creation_input_tokens": 1, "cache_read_input_tokens": 16, "output_tokens": 1}}}));
    let block = match is_tool {
        true => serde_json::json!({"type": "tool_use", "id": "t1", "name": "reply", "input": {}}),
        false => serde_json::json!({"type": "text", "text": ""}),
    };
    add(serde_json::json!({"type": "content_block_start", "index": 0, "content_block": block}));
    add(serde_json::json!({"type": "ping"}));
    for piece in pieces {
        let delta = match is_tool {
            true => serde_json::json!({"type": "input_json_delta", "partial_json": piece}),
            false => serde_json::json!({"type": "text_delta", "text": piece}),
        };
        add(serde_json::json!({"type": "content_block_delta", "index": 0, "delta": delta}));
    }
    add(serde_json::json!({"type": "content_block_stop", "index": 0}));
    let reason = if is_tool { "tool_use" } else { "end_turn" };
    add(serde_json::json!({"type": "message_delta", "delta": {"stop_reason": reason},
        "usage": {"output_tokens": 7}}));
    add(serde_json::json!({"type": "message_stop"}));
    text
}

/// A question with instructions that recur, for text.
pub(crate) fn request() -> ChatRequest {
    ChatRequest::new(vec![
        Message::new(Role::System, "Say it.").ending_cacheable_prefix(),
        Message::new(Role::User, "What is glucose?"),
    ])
}

/// The same, for JSON of a schema whose properties are not in the order of the alphabet.
pub(crate) fn schema_request() -> ChatRequest {
    let mut request = request();
    request.format = ReplyFormat::Schema(Arc::new(ReplySchema {
        name: "reply".to_owned(),
        description: "The reply.".to_owned(),
        schema: r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"number"}}}"#.to_owned(),
    }));
    request
}

/// The pieces of each attempt.
pub(crate) type Pieces = Arc<Mutex<Vec<Vec<String>>>>;

/// Readers that keep the pieces of each attempt, and have enough after some of them.
#[derive(Debug)]
pub(crate) struct Keeping {
    pub(crate) enough_after: usize,
    pub(crate) pieces: Pieces,
}

impl Keeping {
    pub(crate) fn starting(enough_after: usize) -> (Arc<dyn ReplyReaders>, Pieces) {
        let pieces = Arc::new(Mutex::new(Vec::new()));
        (Arc::new(Self { enough_after, pieces: Arc::clone(&pieces) }), pieces)
    }
}

impl ReplyReaders for Keeping {
    fn reader(&self) -> Box<dyn ReplyReader> {
        self.pieces.lock().unwrap().push(Vec::new());
        let index = self.pieces.lock().unwrap().len() - 1;
        Box::new(Keeper { index, enough_after: self.enough_after, pieces: Arc::clone(&self.pieces) })
    }
}

struct Keeper {
    index: usize,
    enough_after: usize,
    pieces: Pieces,
}

impl ReplyReader for Keeper {
    fn read(&mut self, piece: &str) -> Flow {
        let mut pieces = self.pieces.lock().unwrap();
        pieces[self.index].push(piece.to_owned());
        if pieces[self.index].len() >= self.enough_after { Flow::Enough } else { Flow::Continue }
    }
}
