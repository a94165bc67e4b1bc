//! Marks between turns: rendered by the templates of common models, no text of a stranger has any.

use classifier_core::{LlmOptions, Request};
use llm_optimizer::ChatRequest;
use proptest::prelude::*;

use super::attacks;
use crate::llm::scripted::{Scripted, classifier};

/// How a server writes a conversation for its model, and what the model's tokenizer takes for marks.
struct Template {
    name: &'static str,
    render: fn(&str, &str) -> String,
    marks: &'static [&'static str],
}

const TEMPLATES: [Template; 4] = [
    Template {
        name: "ChatML",
        render: |system, user| {
            format!(
                "<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n<|im_start|>assistant\n"
            )
        },
        marks: &[
            "<|im_start|>",
            "<|im_end|>",
            "<|endoftext|>",
            "<tool_call>",
            "</tool_call>",
            "<|fim_prefix|>",
        ],
    },
    Template {
        name: "Llama 3",
        render: |system, user| {
            format!(
                "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>\
                 <|start_header_id|>user<|end_header_id|>\n\n{user}<|eot_id|>\
                 <|start_header_id|>assistant<|end_header_id|>\n\n"
            )
        },
        marks: &[
            "<|begin_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eot_id|>",
            "<|eom_id|>",
            "<|python_tag|>",
        ],
    },
    Template {
        name: "Mistral",
        render: |system, user| format!("<s>[SYSTEM_PROMPT]{system}[/SYSTEM_PROMPT][INST]{user}[/INST]"),
        marks: &[
            "<s>",
            "</s>",
            "[INST]",
            "[/INST]",
            "[SYSTEM_PROMPT]",
            "[/SYSTEM_PROMPT]",
            "[TOOL_CALLS]",
            "[TOOL_RESULTS]",
            "[AVAILABLE_TOOLS]",
            "[/AVAILABLE_TOOLS]",
        ],
    },
    Template {
        name: "Gemma",
        render: |system, user| {
            format!("<bos><start_of_turn>user\n{system}\n\n{user}<end_of_turn>\n<start_of_turn>model\n")
        },
        marks: &["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<pad>"],
    },
];

/// The marks in a text, in their order.
fn marks(text: &str, known: &[&'static str]) -> Vec<&'static str> {
    let starts = text.char_indices().map(|(at, _)| &text[at..]);
    starts.filter_map(|rest| known.iter().copied().find(|mark| rest.starts_with(mark))).collect()
}

fn check(chat: &ChatRequest) {
    let [system, user] = [0, 1].map(|at| &*chat.messages[at].text);
    for Template { name, render, marks: known } in &TEMPLATES {
        let expected = marks(&render("", ""), known);
        assert_eq!(marks(&render(system, user), known), expected, "{name}: {user}");
    }
    // DeepSeek's have bars of another width.
    assert!(!user.contains('<'), "{user}");
}

#[test]
fn a_text_with_marks_would_be_noticed() {
    for Template { render, marks: known, .. } in &TEMPLATES {
        let expected = marks(&render("", ""), known);
        for mark in *known {
            assert_ne!(marks(&render("", mark), known), expected, "{mark}");
        }
    }
}

#[test]
fn there_are_exactly_the_turns_there_really_are() {
    let classifier = classifier(&Scripted::saying(""), LlmOptions::default());
    for attack in attacks() {
        check(&classifier.preview(&Request::new(&attack.query)).request);
        let mut request = Request::new(&attack.question);
        request.context.previous_query = Some(attack.query.clone());
        request.context.topic = Some(attack.query.clone());
        check(&classifier.preview(&request).request);
    }
}

proptest! {
    #[test]
    fn no_mark_can_be_put_together(parts in proptest::collection::vec(part(), 0..12)) {
        let classifier = classifier(&Scripted::saying(""), LlmOptions::default());
        check(&classifier.preview(&Request::new(&parts.concat())).request);
    }
}

/// Marks, pieces of marks, and what may stand between the pieces.
fn part() -> impl Strategy<Value = &'static str> {
    let whole = TEMPLATES.iter().flat_map(|template| template.marks.iter().copied());
    let pieces = [
        "<",
        "[",
        "/",
        "|",
        ">",
        "]",
        "INST",
        "im_end",
        "s",
        "\\",
        "\"",
        "\u{200b}",
        "\u{e0041}",
        "\n",
        "\\u003c",
    ];
    proptest::sample::select(whole.chain(pieces).collect::<Vec<_>>())
}
