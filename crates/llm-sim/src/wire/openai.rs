//! OpenAI's chat completions, and Azure's way of offering them.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Call, Event, Form, Part, Rejection, Reply, Usage, parts, to_json};
use crate::json::Json;

/// Tokens around each message, its role included, as OpenAI's guide to counting has them.
const PER_MESSAGE: u32 = 4;

/// Tokens that open the reply.
pub(crate) const PER_PROMPT: u32 = 3;

#[derive(Deserialize)]
struct Request {
    model: Option<String>,
    messages: Vec<Message>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    temperature: Option<f64>,
    n: Option<u32>,
    #[serde(default)]
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    response_format: Option<ResponseFormat>,
    tools: Option<Vec<Tool>>,
    tool_choice: Option<Json>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default = "no_content")]
    content: Json,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct ResponseFormat {
    r#type: String,
    json_schema: Option<NamedSchema>,
}

#[derive(Deserialize)]
struct NamedSchema {
    name: String,
    schema: Option<Json>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct Tool {
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    parameters: Option<Json>,
}

fn no_content() -> Json {
    Json::Null
}

/// The deployment that an address of Azure's names.
pub(crate) fn deployment(path: &str) -> Option<&str> {
    path.split_once("/deployments/").and_then(|(_, rest)| rest.split('/').next())
}

pub(crate) fn parse(body: &[u8], deployment: Option<&str>) -> Result<Call, Rejection> {
    let request: Request = serde_json::from_slice(body)
        .map_err(|error| Rejection::invalid(format!("the body is not a chat completion request: {error}")))?;
    check(&request)?;
    let model = deployment.map(ToOwned::to_owned).or(request.model);
    let model = model.ok_or_else(|| Rejection::invalid("you must name a model"))?;
    let text_of =
        |message: &Message| parts(&message.content).into_iter().map(|(text, _)| text).collect::<String>();
    let asked = request.messages.iter().rev().find(|message| message.role == "user").map(text_of);
    let mut prompt: Vec<Part> = request
        .messages
        .iter()
        .map(|message| Part { text: text_of(message).into(), is_marked: false, overhead: PER_MESSAGE })
        .collect();
    if let Some(last) = prompt.last_mut() {
        last.overhead += PER_PROMPT;
    }
    let form = match forced_tool(request.tools.unwrap_or_default(), request.tool_choice.as_ref())? {
        Some(tool) => tool,
        None => form_of(request.response_format, &prompt)?,
    };
    Ok(Call {
        model,
        prompt,
        asked: asked.unwrap_or_default(),
        form,
        max_tokens: request.max_completion_tokens.or(request.max_tokens),
        is_streamed: request.stream.unwrap_or(false),
        reports_usage: request.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
    })
}

fn check(request: &Request) -> Result<(), Rejection> {
    if request.messages.is_empty() {
        return Err(Rejection::invalid("messages is empty, it must have one at least"));
    }
    if request.n.is_some_and(|n| n != 1) {
        return Err(Rejection::invalid("n must be 1"));
    }
    if request.temperature.is_some_and(|temperature| !(0.0..=2.0).contains(&temperature)) {
        return Err(Rejection::invalid("temperature must be between 0 and 2"));
    }
    if request.max_tokens == Some(0) || request.max_completion_tokens == Some(0) {
        return Err(Rejection::invalid("the token limit must be 1 or more"));
    }
    if request.stream_options.is_some() && !request.stream.unwrap_or(false) {
        return Err(Rejection::invalid("stream_options is only allowed with stream"));
    }
    Ok(())
}

fn form_of(format: Option<ResponseFormat>, prompt: &[Part]) -> Result<Form, Rejection> {
    let Some(format) = format else { return Ok(Form::Text) };
    match (format.r#type.as_str(), format.json_schema) {
        ("text", _) => Ok(Form::Text),
        ("json_object", _) if prompt.iter().any(|part| part.text.to_lowercase().contains("json")) => {
            Ok(Form::Text)
        }
        ("json_object", _) => {
            Err(Rejection::invalid("with response_format json_object, messages must contain the word json"))
        }
        ("json_schema", Some(named)) => {
            let is_named = !named.name.is_empty()
                && named.name.len() <= 64
                && named.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if !is_named {
                return Err(Rejection::invalid(
                    "response_format.json_schema.name must match ^[a-zA-Z0-9_-]{1,64}$",
                ));
            }
            let schema = named.schema.unwrap_or(Json::Object(Vec::new()));
            if named.strict.unwrap_or(false) {
                check_strict(&schema)?;
            }
            Ok(Form::Schema(schema))
        }
        ("json_schema", None) => Err(Rejection::invalid("response_format.json_schema is missing")),
        (other, _) => Err(Rejection::invalid(format!("response_format.type {other:.40} is not supported"))),
    }
}

/// Strict schemas require every property of every object, and allow no other.
fn check_strict(schema: &Json) -> Result<(), Rejection> {
    if let Some(Json::Object(properties)) = schema.get("properties") {
        if schema.get("additionalProperties") != Some(&Json::Bool(false)) {
            return Err(Rejection::invalid(
                "invalid schema for response_format: additionalProperties must be false in every object",
            ));
        }
        let required = schema.get("required").map(Json::elements).unwrap_or_default();
        if properties.iter().any(|(name, _)| !required.iter().any(|required| required.as_str() == Some(name)))
        {
            return Err(Rejection::invalid(
                "invalid schema for response_format: required must name every property",
            ));
        }
    }
    let mut inner = schema.members().iter().map(|(_, value)| value).chain(schema.elements());
    inner.try_for_each(check_strict)
}

fn forced_tool(tools: Vec<Tool>, choice: Option<&Json>) -> Result<Option<Form>, Rejection> {
    let named = choice.and_then(|choice| choice.get("function")?.get("name")?.as_str());
    let is_forced = named.is_some() || choice.and_then(Json::as_str) == Some("required");
    if !is_forced {
        return Ok(None);
    }
    let tool = tools.into_iter().find(|tool| named.is_none_or(|name| tool.function.name == name));
    let Some(Tool { function }) = tool else {
        return Err(Rejection::invalid("tool_choice asks for a tool that tools does not have"));
    };
    let schema = function.parameters.unwrap_or(Json::Object(Vec::new()));
    Ok(Some(Form::Tool { name: function.name, schema }))
}

pub(crate) fn whole(call: &Call, reply: &Reply) -> Vec<u8> {
    let text = reply.text();
    let message = match call.form.tool() {
        Some(name) => json!({
            "role": "assistant",
            "content": null,
            "tool_calls": [{
                "id": format!("call_{:08}", reply.seq),
                "type": "function",
                "function": {"name": name, "arguments": text},
            }],
        }),
        None => json!({"role": "assistant", "content": text, "refusal": null}),
    };
    let mut body = json!({
        "id": id(reply),
        "object": "chat.completion",
        "created": now(),
        "model": call.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish(reply)}],
        "system_fingerprint": "fp_simulated",
    });
    if let (Some(members), false) = (body.as_object_mut(), reply.hides_usage) {
        members.insert("usage".to_owned(), usage(reply.usage));
    }
    to_json(&body)
}

pub(crate) fn events(call: &Call, reply: &Reply) -> Vec<Event> {
    let (id, created) = (id(reply), now());
    // Written by hand as far as it is the same in each of a thousand events a second.
    let head = format!(
        "data: {{\"id\":\"{id}\",\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":{},\
         \"system_fingerprint\":\"fp_simulated\",",
        serde_json::Value::from(call.model.as_str())
    );
    // With usage asked for, every chunk has the member, which is null but in the last.
    let no_usage = if call.reports_usage && !reply.hides_usage { ",\"usage\":null" } else { "" };
    let chunk = |delta: &str, finish: &str, n_tokens| Event {
        bytes: Bytes::from(format!(
            "{head}\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]{no_usage}}}\n\n"
        )),
        n_tokens,
    };
    let first = match call.form.tool() {
        Some(name) => json!({"role": "assistant", "content": null, "tool_calls": [{
            "index": 0,
            "id": format!("call_{:08}", reply.seq),
            "type": "function",
            "function": {"name": name, "arguments": ""},
        }]}),
        None => json!({"role": "assistant", "content": "", "refusal": null}),
    };
    let mut events = vec![chunk(&first.to_string(), "null", 0)];
    for piece in &reply.pieces {
        let text = serde_json::Value::from(piece.text.as_str());
        let delta = match call.form.tool() {
            Some(_) => format!("{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"arguments\":{text}}}}}]}}"),
            None => format!("{{\"content\":{text}}}"),
        };
        events.push(chunk(&delta, "null", piece.n_tokens));
    }
    events.push(chunk("{}", &format!("\"{}\"", finish(reply)), 0));
    if call.reports_usage && !reply.hides_usage {
        let bytes = Bytes::from(format!("{head}\"choices\":[],\"usage\":{}}}\n\n", usage(reply.usage)));
        events.push(Event { bytes, n_tokens: 0 });
    }
    events.push(Event { bytes: Bytes::from_static(b"data: [DONE]\n\n"), n_tokens: 0 });
    events
}

/// A reply cut at its limit says so; a tool that was named ends in stop as a text does.
fn finish(reply: &Reply) -> &'static str {
    if reply.is_cut { "length" } else { "stop" }
}

fn usage(usage: Usage) -> serde_json::Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    })
}

pub(crate) fn error(rejection: &Rejection) -> Vec<u8> {
    let kind = match rejection.status {
        StatusCode::TOO_MANY_REQUESTS => "requests",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    let code = match rejection.code {
        "invalid_request" => serde_json::Value::Null,
        "unauthorized" => "invalid_api_key".into(),
        "model" => "model_not_found".into(),
        "rate_limited" => "rate_limit_exceeded".into(),
        code => code.into(),
    };
    to_json(&json!({"error": {"message": rejection.message, "type": kind, "param": null, "code": code}}))
}

/// Azure's gateway answers in its own way where no model is involved.
pub(crate) fn azure_error(rejection: &Rejection) -> Vec<u8> {
    match rejection.code {
        "unauthorized" | "rate_limited" | "not_found" | "model" => {
            let code = if rejection.code == "model" {
                "DeploymentNotFound".to_owned()
            } else {
                rejection.status.as_u16().to_string()
            };
            to_json(&json!({"error": {"code": code, "message": rejection.message}}))
        }
        _ => error(rejection),
    }
}

/// The models there are.
pub(crate) fn models(names: &[String]) -> Vec<u8> {
    let model = |name: &String| json!({"id": name, "object": "model", "created": 0, "owned_by": "llm-sim"});
    to_json(&json!({"object": "list", "data": names.iter().map(model).collect::<Vec<_>>()}))
}

fn id(reply: &Reply) -> String {
    format!("chatcmpl-sim{:08}", reply.seq)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
