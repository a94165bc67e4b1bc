//! OpenAI's chat completions.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::dialect::{Terms, in_words};
use super::protocol::{EventReader, ProviderError, broken_off, invalid_reply, n_tokens, parse};
use super::sse::SseEvent;
use super::transcript::{End, Transcript};
use super::{SchemaSupport, raw_schema};
use crate::{ChatRequest, Finish, LlmError, ReplyFormat, ReplySchema, Role, Usage};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tool<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<String>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ResponseFormat<'a> {
    JsonObject,
    JsonSchema { json_schema: NamedSchema<'a> },
}

#[derive(Serialize)]
struct NamedSchema<'a> {
    name: &'a str,
    description: &'a str,
    strict: bool,
    schema: &'a RawValue,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    strict: bool,
    parameters: &'a RawValue,
}

#[derive(Serialize)]
struct ToolChoice<'a> {
    r#type: &'static str,
    function: FunctionName<'a>,
}

#[derive(Serialize)]
struct FunctionName<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

pub(super) fn body(model: &str, request: &ChatRequest, terms: &Terms) -> Result<Vec<u8>, LlmError> {
    let limit = Some(request.max_output_tokens);
    let mut body = Body {
        model,
        messages: messages(request, terms),
        max_tokens: limit.filter(|_| !terms.is_limit_completion),
        max_completion_tokens: limit.filter(|_| terms.is_limit_completion),
        temperature: terms.has_temperature.then_some(request.temperature),
        response_format: None,
        tools: None,
        tool_choice: None,
        parallel_tool_calls: None,
        prompt_cache_key: if terms.has_cache_marks { prefix_key(request) } else { None },
        stream: request.stream,
        stream_options: (request.stream && terms.has_stream_options)
            .then_some(StreamOptions { include_usage: true }),
    };
    if let ReplyFormat::Schema(schema) = &request.format {
        ask_for(schema, terms, &mut body)?;
    }
    super::serialize(&body)
}

fn ask_for<'a>(schema: &'a ReplySchema, terms: &Terms, body: &mut Body<'a>) -> Result<(), LlmError> {
    let ReplySchema { name, description, .. } = schema;
    match terms.schema {
        SchemaSupport::Auto | SchemaSupport::JsonSchema => {
            let json_schema = NamedSchema { name, description, strict: true, schema: raw_schema(schema)? };
            body.response_format = Some(ResponseFormat::JsonSchema { json_schema });
        }
        SchemaSupport::Tool => {
            let function = Function { name, description, strict: true, parameters: raw_schema(schema)? };
            body.tools = Some([Tool { r#type: "function", function }]);
            body.tool_choice = Some(ToolChoice { r#type: "function", function: FunctionName { name } });
            body.parallel_tool_calls = terms.is_genuine_openai.then_some(false);
        }
        SchemaSupport::JsonObject => body.response_format = Some(ResponseFormat::JsonObject),
        SchemaSupport::PromptOnly => {}
    }
    Ok(())
}

fn messages<'a>(request: &'a ChatRequest, terms: &Terms) -> Vec<Message<'a>> {
    let role = |role| match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let each = request.messages.iter();
    let mut messages: Vec<Message<'_>> =
        each.map(|message| Message { role: role(message.role), content: (&*message.text).into() }).collect();
    if let Some(schema) = terms.schema_in_words(request) {
        // Into an instruction there is: some models take one only.
        match messages.iter_mut().take_while(|message| message.role == "system").last() {
            Some(last) => last.content.to_mut().push_str(&format!("\n\n{}", in_words(schema))),
            None => messages.insert(0, Message { role: "system", content: in_words(schema).into() }),
        }
    }
    messages
}

/// A name for what recurs, by which requests with the same beginning are sent where it is kept.
fn prefix_key(request: &ChatRequest) -> Option<String> {
    let n_recurring = request.messages.iter().rposition(|message| message.ends_cacheable_prefix)? + 1;
    let mut hasher = blake3::Hasher::new();
    for message in &request.messages[..n_recurring] {
        hasher.update(&(message.text.len() as u64).to_le_bytes()).update(message.text.as_bytes());
    }
    Some(hasher.finalize().to_hex()[..32].to_owned())
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<RawUsage>,
    #[serde(default)]
    error: Option<ProviderError>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    index: u32,
    #[serde(default)]
    function: Option<CalledFunction>,
}

#[derive(Deserialize)]
struct CalledFunction {
    #[serde(default)]
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct RawUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// Reads the events of a stream, and a whole reply as if it were one event.
pub(super) struct Events {
    is_by_tool: bool,
    id: Option<String>,
    finish: Option<Finish>,
    usage: Option<Usage>,
    is_refused: bool,
}

impl Events {
    pub(super) fn new(is_by_tool: bool) -> Self {
        Self { is_by_tool, id: None, finish: None, usage: None, is_refused: false }
    }

    fn chunk(&mut self, chunk: Chunk, to: &mut Transcript) -> Result<(), LlmError> {
        if let Some(error) = chunk.error {
            return Err(error.within_reply());
        }
        if let Some(id) = chunk.id.filter(|id| !id.is_empty()) {
            match &self.id {
                Some(first) if *first != id => return Err(invalid_reply("the stream mixes two replies")),
                Some(_) => {}
                None => self.id = Some(id),
            }
        }
        self.usage = chunk.usage.map(Usage::from).or(self.usage);
        for choice in chunk.choices {
            if choice.index != 0 {
                return Err(invalid_reply("there are several replies, and one was asked for"));
            }
            self.delta(choice.delta.unwrap_or_default(), to)?;
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finish = Some(finish(&reason)?);
            }
        }
        Ok(())
    }

    fn delta(&mut self, delta: Delta, to: &mut Transcript) -> Result<(), LlmError> {
        self.is_refused |= delta.refusal.is_some_and(|refusal| !refusal.is_empty());
        let content = delta.content.unwrap_or_default();
        let mut arguments = String::new();
        for call in delta.tool_calls.unwrap_or_default() {
            let text = call.function.and_then(|function| function.arguments).unwrap_or_default();
            if call.index != 0 && !text.is_empty() {
                return Err(invalid_reply("there are several calls of the tool, and one was asked for"));
            }
            arguments.push_str(&text);
        }
        if self.finish.is_some() && !(content.is_empty() && arguments.is_empty()) {
            return Err(invalid_reply("there is text after the end of the reply"));
        }
        if !self.is_by_tool {
            return to.push(&content);
        }
        to.push_aside(&content);
        to.push(&arguments)
    }
}

impl EventReader for Events {
    fn read(&mut self, event: &SseEvent, to: &mut Transcript) -> Result<bool, LlmError> {
        if event.data.trim() == "[DONE]" {
            return Ok(true);
        }
        self.chunk(parse(event.data.as_bytes())?, to)?;
        Ok(false)
    }

    fn end(&mut self, to: &mut Transcript) -> Result<End, LlmError> {
        let finish = self.finish.ok_or_else(broken_off)?;
        to.settle()?;
        let finish = if self.is_refused { Finish::Filtered } else { finish };
        Ok(End { finish, usage: self.usage })
    }
}

pub(super) fn whole(body: &[u8], is_by_tool: bool, to: &mut Transcript) -> Result<End, LlmError> {
    let mut events = Events::new(is_by_tool);
    let chunk: Chunk = parse(body)?;
    if chunk.error.is_none() && chunk.choices.is_empty() {
        return Err(invalid_reply("the reply holds no choice"));
    }
    events.chunk(chunk, to)?;
    events.end(to)
}

fn finish(reason: &str) -> Result<Finish, LlmError> {
    match reason {
        "stop" | "tool_calls" | "function_call" | "eos" => Ok(Finish::Stop),
        "length" | "model_length" => Ok(Finish::Length),
        _ if reason.starts_with("content_filter") => Ok(Finish::Filtered),
        _ => Err(invalid_reply("the reply ends for a reason that is not known")),
    }
}

impl From<RawUsage> for Usage {
    fn from(raw: RawUsage) -> Self {
        let input_tokens = n_tokens(raw.prompt_tokens);
        let cached = raw.prompt_tokens_details.and_then(|details| details.cached_tokens);
        Self {
            input_tokens,
            cached_input_tokens: n_tokens(cached.unwrap_or(0)).min(input_tokens),
            cache_write_tokens: 0,
            output_tokens: n_tokens(raw.completion_tokens),
        }
    }
}
