//! Anthropic's messages.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Event, Form, Part, Rejection, Reply, parts, to_json};
use crate::json::Json;
use crate::wire::openai::PER_PROMPT;

/// Tokens around each block; nobody has published how many they are, so they are counted as OpenAI's.
const PER_BLOCK: u32 = 4;

#[derive(Deserialize)]
struct Request {
    model: String,
    max_tokens: u32,
    messages: Vec<Message>,
    system: Option<Json>,
    temperature: Option<f64>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    tools: Vec<Json>,
    tool_choice: Option<Json>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Json,
}

pub(crate) fn parse(body: &[u8]) -> Result<Call, Rejection> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| Rejection::invalid(format!("the body is not a messages request: {error}")))?;
    if request.messages.is_empty() {
        return Err(Rejection::invalid("messages: at least one message is required"));
    }
    if let Some(message) =
        request.messages.iter().find(|message| !["user", "assistant"].contains(&&*message.role))
    {
        let role = &message.role;
        return Err(Rejection::invalid(format!(
            "messages: unexpected role {role:.20}, use the system member for instructions"
        )));
    }
    if request.temperature.is_some_and(|temperature| !(0.0..=1.0).contains(&temperature)) {
        return Err(Rejection::invalid("temperature: must be between 0 and 1"));
    }
    if request.max_tokens == 0 {
        return Err(Rejection::invalid("max_tokens: must be 1 or more"));
    }
    let is_user = |message: &&Message| message.role == "user";
    let asked = request.messages.iter().rev().find(is_user).map(|message| &message.content);
    let asked = asked.map(|content| parts(content).into_iter().map(|(text, _)| text).collect::<String>());
    // Tools are read first, then the system's text, then the messages.
    let mut prompt: Vec<Part> = request
        .tools
        .iter()
        .map(|tool| {
            let is_marked = tool.get("cache_control").is_some_and(|mark| *mark != Json::Null);
            Part { text: tool.write().into(), is_marked, overhead: PER_BLOCK }
        })
        .collect();
    let contents = request.system.iter().chain(request.messages.iter().map(|message| &message.content));
    let blocks = contents.flat_map(parts);
    prompt.extend(blocks.map(|(text, is_marked)| Part { text: text.into(), is_marked, overhead: PER_BLOCK }));
    if prompt.iter().filter(|part| part.is_marked).count() > 4 {
        return Err(Rejection::invalid("at most 4 blocks may have cache_control"));
    }
    if let Some(last) = prompt.last_mut() {
        last.overhead += PER_PROMPT;
    }
    Ok(Call {
        model: request.model,
        prompt,
        asked: asked.unwrap_or_default(),
        form: form(&request.tools, request.tool_choice.as_ref())?,
        max_tokens: Some(request.max_tokens),
        is_streamed: request.stream,
        reports_usage: true,
    })
}

fn form(tools: &[Json], choice: Option<&Json>) -> Result<Form, Rejection> {
    let Some(choice) = choice else { return Ok(Form::Text) };
    let name = choice.get("name").and_then(Json::as_str);
    let is_forced = matches!(choice.get("type").and_then(Json::as_str), Some("tool" | "any"));
    if !is_forced {
        return Ok(Form::Text);
    }
    let name_of = |tool: &&Json| {
        tool.get("name").and_then(Json::as_str).is_some_and(|of| name.is_none_or(|name| of == name))
    };
    let Some(tool) = tools.iter().find(name_of) else {
        return Err(Rejection::invalid("tool_choice: asks for a tool that tools does not have"));
    };
    let Some(schema @ Json::Object(_)) = tool.get("input_schema") else {
        return Err(Rejection::invalid("tools: input_schema is missing"));
    };
    let name = tool.get("name").and_then(Json::as_str).unwrap_or_default();
    Ok(Form::Tool { name: name.to_owned(), schema: schema.clone() })
}

pub(crate) fn whole(call: &Call, reply: &Reply) -> Vec<u8> {
    let text = reply.text();
    let content = match call.form.tool() {
        Some(name) => {
            // The input is a value, so one that is no JSON cannot be sent; it goes out empty, as one that is cut does.
            let input: Json = serde_json::from_str(&text).unwrap_or(Json::Object(Vec::new()));
            json!([{"type": "tool_use", "id": tool_id(reply), "name": name, "input": to_value(&input)}])
        }
        None => json!([{"type": "text", "text": text}]),
    };
    let mut body = message(call, reply);
    if let Some(members) = body.as_object_mut() {
        members.insert("content".to_owned(), content);
        members.insert("stop_reason".to_owned(), finish(call, reply).into());
        if !reply.hides_usage {
            members.insert("usage".to_owned(), usage(reply, reply.usage.completion));
        }
    }
    to_json(&body)
}

pub(crate) fn events(call: &Call, reply: &Reply) -> Vec<Event> {
    let event = |name: &str, data: Value, n_tokens| Event {
        bytes: Bytes::from(format!("event: {name}\ndata: {data}\n\n")),
        n_tokens,
    };
    let mut begun = message(call, reply);
    if let (Some(members), false) = (begun.as_object_mut(), reply.hides_usage) {
        members.insert("usage".to_owned(), usage(reply, 1));
    }
    let (block, kind, member) = match call.form.tool() {
        Some(name) => (
            json!({"type": "tool_use", "id": tool_id(reply), "name": name, "input": {}}),
            "input_json_delta",
            "partial_json",
        ),
        None => (json!({"type": "text", "text": ""}), "text_delta", "text"),
    };
    let mut events = vec![
        event("message_start", json!({"type": "message_start", "message": begun}), 0),
        event(
            "content_block_start",
            json!({"type": "content_block_start", "index": 0, "content_block": block}),
            0,
        ),
        event("ping", json!({"type": "ping"}), 0),
    ];
    for piece in &reply.pieces {
        let text = Value::from(piece.text.as_str());
        let bytes = Bytes::from(format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
             \"delta\":{{\"type\":\"{kind}\",\"{member}\":{text}}}}}\n\n"
        ));
        events.push(Event { bytes, n_tokens: piece.n_tokens });
    }
    events.push(event("content_block_stop", json!({"type": "content_block_stop", "index": 0}), 0));
    let mut delta = json!({
        "type": "message_delta",
        "delta": {"stop_reason": finish(call, reply), "stop_sequence": null},
    });
    if let (Some(members), false) = (delta.as_object_mut(), reply.hides_usage) {
        members.insert("usage".to_owned(), json!({"output_tokens": reply.usage.completion}));
    }
    events.push(event("message_delta", delta, 0));
    events.push(event("message_stop", json!({"type": "message_stop"}), 0));
    events
}

fn message(call: &Call, reply: &Reply) -> Value {
    json!({
        "id": format!("msg_sim{:08}", reply.seq),
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
    })
}

/// What was read and written of the cache is not among the input tokens.
fn usage(reply: &Reply, n_output: u32) -> Value {
    let usage = reply.usage;
    json!({
        "input_tokens": usage.prompt.saturating_sub(usage.cached).saturating_sub(usage.written),
        "cache_creation_input_tokens": usage.written,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": n_output,
    })
}

fn finish(call: &Call, reply: &Reply) -> &'static str {
    match call.form {
        _ if reply.is_cut => "max_tokens",
        Form::Tool { .. } => "tool_use",
        _ => "end_turn",
    }
}

fn tool_id(reply: &Reply) -> String {
    format!("toolu_sim{:08}", reply.seq)
}

/// The order of members does not matter in an input that has been read to its end.
fn to_value(json: &Json) -> Value {
    serde_json::to_value(json).unwrap_or_default()
}

pub(crate) fn error(rejection: &Rejection, seq: u64) -> Vec<u8> {
    let kind = match (rejection.code, rejection.status) {
        ("unauthorized", _) => "authentication_error",
        ("not_found" | "model", _) => "not_found_error",
        (_, StatusCode::TOO_MANY_REQUESTS) => "rate_limit_error",
        (_, StatusCode::PAYLOAD_TOO_LARGE) => "request_too_large",
        (_, status) if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    };
    to_json(&json!({
        "type": "error",
        "error": {"type": kind, "message": rejection.message},
        "request_id": format!("req_sim{seq:08}"),
    }))
}

/// The models there are.
pub(crate) fn models(names: &[String]) -> Vec<u8> {
    let model = |name: &String| json!({"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"});
    to_json(&json!({"data": names.iter().map(model).collect::<Vec<_>>(), "has_more": false}))
}
