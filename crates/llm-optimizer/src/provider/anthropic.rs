//! Anthropic's messages.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::dialect::{Terms, in_words};
use super::protocol::{EventReader, ProviderError, broken_off, invalid_reply, n_tokens, parse};
use super::sse::SseEvent;
use super::transcript::{End, Transcript};
use super::{SchemaSupport, raw_schema};
use crate::{ChatRequest, Finish, LlmError, ReplyFormat, Role, Usage};

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Text<'a>>,
    messages: Vec<Message<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<[Tool<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    stream: bool,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: [Text<'a>; 1],
}

#[derive(Serialize)]
struct Text<'a> {
    r#type: &'static str,
    text: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct CacheControl {
    r#type: &'static str,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a RawValue,
}

#[derive(Serialize)]
struct ToolChoice<'a> {
    r#type: &'static str,
    name: &'a str,
    disable_parallel_tool_use: bool,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: OutputFormat<'a>,
}

#[derive(Serialize)]
struct OutputFormat<'a> {
    r#type: &'static str,
    schema: &'a RawValue,
}

pub(super) fn body(model: &str, request: &ChatRequest, terms: &Terms) -> Result<Vec<u8>, LlmError> {
    let text = |message| text(message, terms);
    let (instructions, turns): (Vec<_>, Vec<_>) =
        request.messages.iter().partition(|message| message.role == Role::System);
    let mut body = Body {
        model,
        max_tokens: request.max_output_tokens,
        system: instructions.into_iter().map(text).collect(),
        messages: turns
            .into_iter()
            .map(|message| Message {
                role: if message.role == Role::Assistant { "assistant" } else { "user" },
                content: [text(message)],
            })
            .collect(),
        temperature: terms.has_temperature.then_some(request.temperature.min(1.0)),
        tools: None,
        tool_choice: None,
        output_config: None,
        stream: request.stream,
    };
    if let ReplyFormat::Schema(schema) = &request.format {
        match terms.schema {
            SchemaSupport::Tool => {
                let (name, description) = (&*schema.name, &*schema.description);
                body.tools = Some([Tool { name, description, input_schema: raw_schema(schema)? }]);
                body.tool_choice = Some(ToolChoice { r#type: "tool", name, disable_parallel_tool_use: true });
            }
            SchemaSupport::JsonSchema => {
                let format = OutputFormat { r#type: "json_schema", schema: raw_schema(schema)? };
                body.output_config = Some(OutputConfig { format });
            }
            SchemaSupport::Auto | SchemaSupport::JsonObject | SchemaSupport::PromptOnly => {}
        }
    }
    if let Some(schema) = terms.schema_in_words(request) {
        match body.system.last_mut() {
            Some(last) => last.text.to_mut().push_str(&format!("\n\n{}", in_words(schema))),
            None => {
                body.system.push(Text { r#type: "text", text: in_words(schema).into(), cache_control: None });
            }
        }
    }
    super::serialize(&body)
}

fn text<'a>(message: &'a crate::Message, terms: &Terms) -> Text<'a> {
    let is_marked = terms.has_cache_marks && message.ends_cacheable_prefix;
    Text {
        r#type: "text",
        text: (&*message.text).into(),
        cache_control: is_marked.then_some(CacheControl { r#type: "ephemeral" }),
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: u32,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u32,
        delta: Delta,
    },
    ContentBlockStop {
        index: u32,
    },
    MessageDelta {
        delta: Stop,
        #[serde(default)]
        usage: RawUsage,
    },
    MessageStop,
    Error {
        error: ProviderError,
    },
    /// A ping, or what has come into being since.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: RawUsage,
}

#[derive(Deserialize)]
struct Block {
    r#type: String,
    #[serde(default)]
    text: String,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    text: String,
    #[serde(default)]
    partial_json: String,
}

#[derive(Deserialize)]
struct Stop {
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawUsage {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Text,
    Tool,
    Other,
}

/// Reads the events of a stream.
pub(super) struct Events {
    is_by_tool: bool,
    has_begun: bool,
    open: Option<BlockKind>,
    n_closed: u32,
    has_tool: bool,
    finish: Option<Finish>,
    usage: RawUsage,
    is_over: bool,
}

impl Events {
    pub(super) fn new(is_by_tool: bool) -> Self {
        Self {
            is_by_tool,
            has_begun: false,
            open: None,
            n_closed: 0,
            has_tool: false,
            finish: None,
            usage: RawUsage::default(),
            is_over: false,
        }
    }

    fn event(&mut self, event: Event, to: &mut Transcript) -> Result<(), LlmError> {
        let is_in_order = match &event {
            Event::Error { .. } | Event::Other => true,
            Event::MessageStart { .. } => !self.has_begun,
            _ if !self.has_begun => false,
            Event::ContentBlockStart { index, .. } => {
                self.open.is_none() && *index == self.n_closed && self.finish.is_none()
            }
            Event::ContentBlockDelta { index, .. } | Event::ContentBlockStop { index } => {
                self.open.is_some() && *index == self.n_closed
            }
            Event::MessageDelta { .. } => self.open.is_none(),
            Event::MessageStop => self.open.is_none() && self.finish.is_some(),
        };
        if !is_in_order {
            return Err(invalid_reply("the events of the stream are out of order"));
        }
        match event {
            Event::Error { error } => return Err(error.within_reply()),
            Event::Other => {}
            Event::MessageStart { message } => {
                self.has_begun = true;
                self.usage.update(&message.usage);
            }
            Event::ContentBlockStart { content_block, .. } => {
                let kind = self.begin(&content_block.r#type)?;
                self.open = Some(kind);
                self.text(kind, &content_block.text, to)?;
            }
            Event::ContentBlockDelta { delta, .. } => {
                let kind = self.open.unwrap_or(BlockKind::Other);
                let text = if kind == BlockKind::Tool { delta.partial_json } else { delta.text };
                self.text(kind, &text, to)?;
            }
            Event::ContentBlockStop { .. } => {
                self.open = None;
                self.n_closed += 1;
            }
            Event::MessageDelta { delta, usage } => {
                self.usage.update(&usage);
                if let Some(reason) = delta.stop_reason {
                    self.finish = Some(finish(&reason)?);
                }
            }
            Event::MessageStop => self.is_over = true,
        }
        Ok(())
    }

    fn begin(&mut self, kind: &str) -> Result<BlockKind, LlmError> {
        match kind {
            "text" => Ok(BlockKind::Text),
            "tool_use" if std::mem::replace(&mut self.has_tool, true) => {
                Err(invalid_reply("there are several calls of the tool, and one was asked for"))
            }
            "tool_use" => Ok(BlockKind::Tool),
            _ => Ok(BlockKind::Other),
        }
    }

    fn text(&mut self, kind: BlockKind, text: &str, to: &mut Transcript) -> Result<(), LlmError> {
        match (kind, self.is_by_tool) {
            (BlockKind::Text, false) | (BlockKind::Tool, true) => to.push(text),
            (BlockKind::Text, true) => {
                to.push_aside(text);
                Ok(())
            }
            (BlockKind::Tool, false) | (BlockKind::Other, _) => Ok(()),
        }
    }
}

impl EventReader for Events {
    fn read(&mut self, event: &SseEvent, to: &mut Transcript) -> Result<bool, LlmError> {
        self.event(parse(event.data.as_bytes())?, to)?;
        Ok(self.is_over)
    }

    fn end(&mut self, to: &mut Transcript) -> Result<End, LlmError> {
        let finish = self.finish.filter(|_| self.is_over).ok_or_else(broken_off)?;
        to.settle()?;
        Ok(End { finish, usage: self.usage.sum() })
    }
}

pub(super) fn whole(body: &[u8], is_by_tool: bool, to: &mut Transcript) -> Result<End, LlmError> {
    #[derive(Deserialize)]
    struct Whole {
        #[serde(default)]
        content: Vec<WholeBlock>,
        #[serde(default)]
        stop_reason: Option<String>,
        #[serde(default)]
        usage: RawUsage,
        #[serde(default)]
        error: Option<ProviderError>,
    }
    #[derive(Deserialize)]
    struct WholeBlock {
        r#type: String,
        #[serde(default)]
        text: String,
        #[serde(default)]
        input: Option<Box<RawValue>>,
    }
    let whole: Whole = parse(body)?;
    if let Some(error) = whole.error {
        return Err(error.within_reply());
    }
    let mut events = Events::new(is_by_tool);
    let mut text = String::new();
    for block in &whole.content {
        match (events.begin(&block.r#type)?, &block.input) {
            (BlockKind::Tool, Some(input)) if is_by_tool => text.push_str(input.get()),
            (BlockKind::Text, _) if is_by_tool => to.push_aside(&block.text),
            (BlockKind::Text, _) => text.push_str(&block.text),
            _ => {}
        }
    }
    let reason = whole.stop_reason.ok_or_else(broken_off)?;
    events.finish = Some(finish(&reason)?);
    events.is_over = true;
    events.usage = whole.usage;
    to.push(&text)?;
    events.end(to)
}

fn finish(reason: &str) -> Result<Finish, LlmError> {
    match reason {
        "end_turn" | "stop_sequence" | "tool_use" => Ok(Finish::Stop),
        "max_tokens" | "model_context_window_exceeded" => Ok(Finish::Length),
        "refusal" => Ok(Finish::Filtered),
        _ => Err(invalid_reply("the reply ends for a reason that is not known")),
    }
}

impl RawUsage {
    /// Takes what is newer: the counts of a stream add up as it goes on.
    fn update(&mut self, newer: &Self) {
        self.input_tokens = newer.input_tokens.or(self.input_tokens);
        self.cache_creation_input_tokens =
            newer.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
        self.cache_read_input_tokens = newer.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.output_tokens = newer.output_tokens.or(self.output_tokens);
    }

    /// The counts, with those of the prompt added up; none if the prompt or the reply was not counted.
    fn sum(&self) -> Option<Usage> {
        let (written, read) =
            (self.cache_creation_input_tokens.unwrap_or(0), self.cache_read_input_tokens.unwrap_or(0));
        Some(Usage {
            input_tokens: n_tokens(self.input_tokens?.saturating_add(written).saturating_add(read)),
            cached_input_tokens: n_tokens(read),
            cache_write_tokens: n_tokens(written),
            output_tokens: n_tokens(self.output_tokens?),
        })
    }
}
