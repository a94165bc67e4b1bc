//! The commands about language models, in a build that cannot ask any.

use classifier_core::Config;

use crate::UsageError;
use crate::cli::{LlmAction, PromptAction};

pub(super) fn check(_action: &LlmAction, _config: &Config, _json: bool) -> anyhow::Result<()> {
    refuse()
}

pub(super) fn prompt(_action: &PromptAction, _config: &Config, _json: bool) -> anyhow::Result<()> {
    refuse()
}

pub(super) fn budget(_config: &Config, _json: bool) -> anyhow::Result<()> {
    refuse()
}

fn refuse() -> anyhow::Result<()> {
    Err(UsageError("this build cannot ask a language model; build with the feature `llm`".to_owned()).into())
}
