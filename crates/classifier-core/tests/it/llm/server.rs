//! A provider on a socket of this machine, which does what a test has it do, and remembers what it was asked.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::scripted::saying;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// By their names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

/// What becomes of a request.
pub(crate) enum Does {
    /// It gets this reply of the model.
    Says(String),
    /// It gets the first part of a reply, and the second once somebody opens the gate.
    SaysInTwo(&'static str, &'static str, Arc<Gate>),
    /// It gets an error.
    Fails(u16),
    /// It gets nothing.
    Hangs,
}

/// Holds threads back until it is opened, for each as often as that was done.
#[derive(Default)]
pub(crate) struct Gate {
    n_open: Mutex<usize>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn open(&self, n: usize) {
        *self.n_open.lock().unwrap() += n;
        self.opened.notify_all();
    }

    pub(crate) fn pass(&self) {
        let mut n_open = self.opened.wait_while(self.n_open.lock().unwrap(), |n| *n == 0).unwrap();
        *n_open -= 1;
    }
}

type Script = dyn Fn(usize, &Asked) -> Does + Send + Sync;

pub(crate) struct Server {
    pub(crate) url: String,
    state: Arc<State>,
}

struct State {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
    n_at_once: AtomicUsize,
    most_at_once: AtomicUsize,
}

impl Server {
    pub(crate) fn new(script: impl Fn(usize, &Asked) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            script: Box::new(script),
            asked: Mutex::default(),
            n_at_once: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        });
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = shared.clone();
                // A client that hangs up ends the thread.
                thread::spawn(move || stream.and_then(|stream| serve(&stream, &state)));
            }
        });
        Self { url, state }
    }

    /// One that always replies the same.
    pub(crate) fn saying(category: &'static str) -> Self {
        Self::new(move |_, _| Does::Says(saying(category, 0.9)))
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    pub(crate) fn n_asked(&self) -> usize {
        self.state.asked.lock().unwrap().len()
    }

    /// Requests under way now.
    pub(crate) fn n_at_once(&self) -> usize {
        self.state.n_at_once.load(Ordering::SeqCst)
    }

    /// Requests that were ever under way at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.state.most_at_once.load(Ordering::SeqCst)
    }
}

fn serve(stream: &TcpStream, state: &State) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some(asked) = read_request(&mut reader)? {
        if asked.body.is_null() {
            respond(stream, 200, "application/json", "{\"data\":[]}")?;
            continue;
        }
        let n = state.n_at_once.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_at_once.fetch_max(n, Ordering::SeqCst);
        let number = {
            let mut all = state.asked.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        let does = (state.script)(number, &asked);
        // Whoever has its reply may ask anew before this thread goes on.
        state.n_at_once.fetch_sub(1, Ordering::SeqCst);
        match does {
            Does::Says(text) => say(stream, &asked, &text)?,
            Does::SaysInTwo(first, second, gate) => say_in_two(stream, first, second, &gate)?,
            Does::Fails(status) => {
                respond(stream, status, "application/json", r#"{"error":{"message":"on purpose"}}"#)?;
            }
            Does::Hangs => {
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
        }
    }
    Ok(())
}

fn read_request(reader: &mut BufReader<&TcpStream>) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = HashMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let n = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; n];
    reader.read_exact(&mut body)?;
    Ok(Some(Asked { path, headers, body: serde_json::from_slice(&body).unwrap_or_default() }))
}

fn respond(mut stream: &TcpStream, status: u16, kind: &str, body: &str) -> std::io::Result<()> {
    let n = body.len();
    stream.write_all(
        format!("HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {n}\r\n\r\n{body}")
            .as_bytes(),
    )
}

fn say(stream: &TcpStream, asked: &Asked, text: &str) -> std::io::Result<()> {
    if asked.path.ends_with("/messages") {
        let body = json!({
            "content": [{"type": "text", "text": text}], "stop_reason": "end_turn",
            "usage": {"input_tokens": 100, "output_tokens": 20},
        });
        return respond(stream, 200, "application/json", &body.to_string());
    }
    let usage = json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120});
    if asked.body["stream"] == true {
        let end = json!({"choices": [], "usage": usage});
        let events =
            format!("{}{}data: {end}\n\ndata: [DONE]\n\n", piece(text, None), piece("", Some("stop")));
        return respond(stream, 200, "text/event-stream", &events);
    }
    let by_tool = asked.body.get("tools").is_some();
    let message = if by_tool {
        let function = json!({"name": "classification", "arguments": text});
        json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": function}]})
    } else {
        json!({"role": "assistant", "content": text})
    };
    let body =
        json!({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage});
    respond(stream, 200, "application/json", &body.to_string())
}

fn piece(text: &str, finish: Option<&str>) -> String {
    format!(
        "data: {}\n\n",
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]})
    )
}

/// A stream in chunks, the second of which waits at the gate; an error if the client has gone meanwhile.
fn say_in_two(mut stream: &TcpStream, first: &str, second: &str, gate: &Gate) -> std::io::Result<()> {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let head = "HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{}", chunk(&piece(first, None))).as_bytes())?;
    gate.pass();
    let end = format!("{}{}data: [DONE]\n\n", piece(second, None), piece("", Some("stop")));
    stream.write_all(format!("{}0\r\n\r\n", chunk(&end)).as_bytes())
}
