//! How many tokens a text has: at the most, and, with a vocabulary, as OpenAI's models count them.

use crate::{ChatRequest, ReplyFormat};

#[cfg(feature = "tokens")]
mod counter;

#[cfg(feature = "tokens")]
pub use counter::TokenCounter;

/// Tokens around each message: one for who speaks, three that set it apart.
const PER_MESSAGE: u32 = 4;

/// Tokens that open the reply.
const PER_REQUEST: u32 = 3;

/// A number no tokens of a text exceed: that of its bytes, since a token of the vocabularies in use is at least one byte.
/// English has some four bytes a token.
#[must_use]
pub fn most_tokens(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// A number no tokens of a prompt exceed, what the provider puts around messages and the schema included.
#[must_use]
pub fn most_prompt_tokens(request: &ChatRequest) -> u32 {
    sum(request, most_tokens)
}

/// `3 + Σ (3 + 1 + tokens of the message)`, as OpenAI's cookbook has it, and the tokens of the schema as it is written.
fn sum(request: &ChatRequest, count: impl Fn(&str) -> u32) -> u32 {
    let messages = request.messages.iter().map(|message| PER_MESSAGE.saturating_add(count(&message.text)));
    let mut sum = messages.fold(PER_REQUEST, u32::saturating_add);
    if let ReplyFormat::Schema(schema) = &request.format {
        for part in [&schema.name, &schema.description, &schema.schema] {
            sum = sum.saturating_add(count(part));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Message, ReplySchema, Role};

    #[test]
    fn everything_that_is_sent_is_in_the_sum() {
        let messages = vec![Message::new(Role::System, "four"), Message::new(Role::User, "ä")];
        let mut request = ChatRequest::new(messages);
        assert_eq!(most_prompt_tokens(&request), 3 + 4 + 4 + 4 + 2);
        let schema = ReplySchema { name: "a".into(), description: "bc".into(), schema: "{}".into() };
        request.format = ReplyFormat::Schema(Arc::new(schema));
        assert_eq!(most_prompt_tokens(&request), 17 + 5);
    }
}
