//! A simulated provider of large language models, to test and measure against: it speaks the real wire formats over real
//! sockets, and can be slow, limited, wrong and broken on command, in the same way every time.
//!
//! ```
//! use llm_sim::{Config, Fault, Faults, Simulator};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let simulator = Simulator::start(Config::default()).await?;
//! // One in a hundred requests is never answered; the next one ends in an error.
//! simulator.set_faults(Faults::none().with(Fault::HangBeforeHeaders, 0.01)?).await;
//! simulator.next([Some(Fault::ServerError)]);
//!
//! // Any client will do, with `simulator.url()` in place of its provider's address.
//! let body = r#"{"model": "any", "messages": [{"role": "user", "content": "latest news on glucose"}]}"#;
//! let mut socket = tokio::net::TcpStream::connect(simulator.address()).await?;
//! let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\ncontent-length: {}\r\n", body.len());
//! socket.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await?;
//! let mut response = String::new();
//! socket.read_to_string(&mut response).await?;
//!
//! assert!(response.starts_with("HTTP/1.1 500"));
//! let log = simulator.log();
//! assert_eq!(log[0].queries, ["latest news on glucose"]);
//! assert_eq!(log[0].fault, Some(Fault::ServerError));
//! # Ok(())
//! # }
//! ```
//!
//! The same as a program: `llm-sim serve --latency lognormal:600,2500 --per-token-ms 20 --fault server_error=0.02`, and
//! `llm-sim faults` for the table below.
//!
//! # Nouns
//!
//! - A [`Simulator`] is a server on a port of its own, started with a [`Config`] and steered while it runs.
//! - Its [`Brain`] classifies questions: by labels, by rules, and wrongly as often as it is told to. It finds them in the
//!   last message of the user: the items of a batch in JSON (objects with an `id` and a `query`, `question` or `text`);
//!   else one question in JSON; else the longest labelled question that stands in the message; else all of it.
//! - [`Latency`] is how long the first token takes; a reply of n tokens takes n times the time per token longer, streamed
//!   or not.
//! - A [`Fault`] is something that goes wrong; [`Faults`] says how often.
//! - A [`LogEntry`] is the truth about a request: when, what was asked and answered, what was charged.
//!
//! # Wire formats
//!
//! - OpenAI's chat completions, under any prefix (`POST …/chat/completions`), streamed and not, with `response_format`,
//!   forced tools, token limits, usage, rate-limit headers and error bodies; Azure's, under
//!   `/openai/deployments/<name>/`. Schemas that are `strict` are held to OpenAI's rules for them.
//! - Anthropic's messages (`POST …/messages`), streamed and not, with forced tools and `cache_control`.
//! - `GET …/models` of both. HTTP/1.1 and, by prior knowledge, HTTP/2; no TLS.
//!
//! A reply has the shape of the schema in the request, its members in the schema's order: a category (one of the schema's
//! `enum`), a confidence, a reasoning, alternatives, the items of a batch with their ids; members it does not know get the
//! empty value of their type. Without a schema it is `{"category": …, "confidence": …, "reasoning": …}`.
//!
//! # Tokens
//!
//! Counted with o200k_base: of a prompt 3, and for each message 4 and the tokens of its content; of a reply those of its
//! text. Schemas in `response_format` and OpenAI's tools are not counted. Of Anthropic's requests each tool and each block
//! counts as a message, since nobody has published how they are counted.
//!
//! A prefix that was sent within five minutes is cached: OpenAI's from 1,024 tokens on in steps of 128, Anthropic's where it
//! is marked, if it has 1,024 tokens or more.
//!
//! What is charged is in the log: the prompt, from when the model begins with it; of the reply the tokens there were when
//! the client was gone. Refusals, errors, resets before the headers and hanging before them charge nothing.
//!
//! # Chance
//!
//! The time and the fault of a request depend on the seed and the [number](LogEntry::seq) of the request, whether an answer
//! is wrong on the seed and the question. What is asked one after the other is answered the same in every run; of what is
//! asked at once, the order of arrival decides which is which.
//!
//! # Faults
//!
//! | name | what happens |
//! | --- | --- |
//! | `server_error` | status 500 with the provider's error body |
//! | `bad_gateway_html` | status 502 with a page of HTML, as from a proxy in between |
//! | `rate_limited` | status 429 without a word on when to come back |
//! | `rate_limited_retry_after` | status 429 with Retry-After, by retry_after_s |
//! | `connection_refused` | at 1 the port is closed and live connections are reset; below 1 a new connection is reset before anything is read, one in so many |
//! | `reset_before_headers` | a TCP reset once the request has been read |
//! | `reset_in_body` | the headers, half of the body, then a TCP reset |
//! | `hang_before_headers` | the request is read and never answered |
//! | `hang_mid_stream` | the headers, half of the body, then nothing for ever |
//! | `slow_drip` | the body comes token by token at the pace of slow_drip_ms |
//! | `truncated_stream` | half of the body, then a proper end of the transfer; a stream has no last event |
//! | `truncated_stream_done` | half of the text, then what ends a good reply: finish reason stop and the last event |
//! | `malformed_json` | what the model says is no JSON |
//! | `malformed_body` | what the provider wraps around it is no JSON; in a stream one event |
//! | `wrong_shape` | what the model says is JSON with other members than those asked for |
//! | `wrong_items` | of a batch one answer is missing, one comes twice, one has an unknown id |
//! | `unknown_category` | the category is one that nobody has offered |
//! | `confidence_out_of_range` | the confidence is 1e15 |
//! | `empty_reply` | the model says nothing |
//! | `enormous_reply` | the model says far too much, by enormous_reply_bytes |
//! | `wrong_content_type` | status 200 with a page of HTML, as from a login |
//! | `invalid_utf8` | the text has a byte in it that is no UTF-8 |
//! | `duplicated_events` | every event with text comes twice; streams only |
//! | `reordered_events` | events with text come in swapped pairs; streams only |
//! | `usage_missing` | tokens are charged and not reported |
//!
//! # Steering over HTTP
//!
//! Under `/sim` on the port of the providers, and on a [port of its own](Simulator::control_url) that is never closed:
//!
//! | request | what it does |
//! | --- | --- |
//! | `GET`, `PUT /sim/faults` | what goes wrong: `{"server_error": 0.02}` replaces what was set |
//! | `POST /sim/next` | what happens to the next requests: `["server_error", null]` |
//! | `GET`, `PUT /sim/config` | `latency`, `per_token_ms`, `error_rate`, `max_concurrent`, `queue`, `requests_per_minute`, `tokens_per_minute`, `retry_after_s`, `slow_drip_ms`, `enormous_reply_bytes`; those named are changed |
//! | `GET`, `DELETE /sim/log` | every request, as an array of [`LogEntry`] |
//! | `GET /sim/stats` | the counters, as [`Stats`] |
//! | `GET /sim/table` | the table of faults |
//!
//! # Features
//!
//! `cli`, on by default: the program.
//!
//! # Errors
//!
//! One, [`SimError`], with a [`kind`](SimError::kind) to branch on.

mod answer;
mod brain;
mod config;
mod error;
mod faults;
mod journal;
mod json;
mod latency;
mod prompt;
mod quota;
mod random;
mod schema;
mod server;
mod simulator;
mod state;
mod tokens;
mod wire;

#[cfg(test)]
mod tests;

pub use brain::Brain;
pub use config::{ApiKeys, Config, Limits};
pub use error::{SimError, SimErrorKind};
pub use faults::{FAULTS, Fault, Faults};
pub use journal::{LogEntry, Stats};
pub use latency::Latency;
pub use simulator::Simulator;
pub use wire::Provider;
