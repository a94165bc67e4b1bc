//! Rules for Rust source files: how they open, how long they are, what they may not hold.

use super::lexer::code_only;
use crate::workspace::{Violation, Workspace};

/// Past this many lines a file has more than one subject.
const MAX_LINES: usize = 500;

/// Longer files that have a reason to be: the path and the reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Code that may not stay, and what to do instead.
const FORBIDDEN: &[(&str, &str)] = &[
    ("todo!", "write it, or leave it out of the API"),
    ("unimplemented!", "write it, or split the trait"),
    ("dbg!", "remove it"),
    ("#[ignore", "let an environment variable choose slow suites and set it in CI"),
    ("#[allow(", "use `#[expect(…, reason = \"…\")]`"),
    ("#![allow(", "use `#![expect(…, reason = \"…\")]`"),
];

/// Every source file opens with a `//!` sentence that ends in a full stop.
pub(crate) fn files_open_with_a_sentence(workspace: &Workspace) -> Vec<Violation> {
    let complaint = |(path, text)| Some(Violation::new(path, 1, opening_fault(text)?));
    workspace.sources().filter_map(complaint).collect()
}

fn opening_fault(text: &str) -> Option<&'static str> {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!").map(str::trim));
    let paragraph = lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    if paragraph.is_empty() {
        Some("the file does not open with `//!` and a sentence that says what it is about")
    } else if paragraph.starts_with('#') {
        Some("the file opens with a heading; open it with a sentence")
    } else if !paragraph.ends_with('.') && !paragraph.contains(". ") {
        Some("the opening sentence does not end in a full stop")
    } else {
        None
    }
}

/// No source file is long unless it is listed with a reason, and none is listed for nothing.
pub(crate) fn files_are_short(workspace: &Workspace) -> Vec<Violation> {
    lengths(workspace, LONG_FILES)
}

fn lengths(workspace: &Workspace, long_files: &[(&str, &str)]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in workspace.sources() {
        let n_lines = text.lines().count();
        if n_lines > MAX_LINES && !long_files.iter().any(|(listed, _)| *listed == path) {
            let sentence = format!(
                "the file has {n_lines} lines, more than {MAX_LINES}; look for the seam, or list it with a reason \
                 in LONG_FILES of xtask/src/tidy/sources.rs"
            );
            violations.push(Violation::new(path, MAX_LINES + 1, sentence));
        }
    }
    for (listed, reason) in long_files {
        let n_lines = workspace.text(listed).map_or(0, |text| text.lines().count());
        if n_lines <= MAX_LINES {
            let sentence = format!(
                "LONG_FILES of xtask/src/tidy/sources.rs excuses this file (\"{reason}\"), which does not need it any \
                 more; remove the entry"
            );
            violations.push(Violation::new(listed, 1, sentence));
        }
    }
    violations
}

/// No source holds an unfinished piece, a test that is never run, or a lint silenced without a reason.
pub(crate) fn nothing_is_unfinished_or_silenced(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in workspace.sources() {
        let code = code_only(text);
        for (index, line) in code.lines().enumerate() {
            for (word, instead) in FORBIDDEN.iter().filter(|(word, _)| holds(line, word)) {
                violations.push(Violation::new(path, index + 1, format!("`{word}` may not stay; {instead}")));
            }
            if line.contains("cfg_attr(") && line.contains(" allow(") {
                violations.push(Violation::new(
                    path,
                    index + 1,
                    "`allow` may not stay; use `expect` with a reason",
                ));
            }
        }
        violations.extend(
            expectations_without_reason(&code).map(|line| {
                Violation::new(path, line, "this `expect` gives no reason; add `reason = \"…\"`")
            }),
        );
    }
    violations
}

/// Whether the line holds the word, and not as the end of a longer one.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !word.starts_with(char::is_alphabetic) || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The lines on which an `expect` attribute begins that names no reason.
fn expectations_without_reason(code: &str) -> impl Iterator<Item = usize> {
    let openings = code.match_indices("[expect(").filter(|(at, _)| code[..*at].ends_with(['#', '!']));
    openings.filter_map(|(at, _)| {
        let attribute = &code[at..];
        let attribute = &attribute[..attribute.find(']').unwrap_or(attribute.len())];
        (!attribute.contains("reason")).then(|| code[..at].matches('\n').count() + 1)
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::workspace::spell;

    #[track_caller]
    fn check(rule: fn(&Workspace) -> Vec<Violation>, source: &str, expected: Expect) {
        expected.assert_eq(&spell(&rule(&Workspace::of_files(&[("src/lib.rs", source)]))));
    }

    #[test]
    fn openings() {
        let rule = files_open_with_a_sentence;
        check(rule, "//! One sentence.\n\nfn f() {}\n", expect![[""]]);
        check(rule, "//! One sentence\n//! on two lines.\n//!\n//! # More\n", expect![[""]]);
        check(rule, "//! One sentence. Then a list:\n//!\n", expect![[""]]);
        check(
            rule,
            "//! No full stop\n//!\n//! Here one.\n",
            expect![[r#"
            src/lib.rs:1: the opening sentence does not end in a full stop
        "#]],
        );
        check(
            rule,
            "//! # Heading.\n",
            expect![[r#"
            src/lib.rs:1: the file opens with a heading; open it with a sentence
        "#]],
        );
        check(
            rule,
            "//!\n",
            expect![[r#"
            src/lib.rs:1: the file does not open with `//!` and a sentence that says what it is about
        "#]],
        );
        check(
            rule,
            "#![no_main]\n//! Late.\n",
            expect![[r#"
            src/lib.rs:1: the file does not open with `//!` and a sentence that says what it is about
        "#]],
        );
        check(
            rule,
            "",
            expect![[r#"
            src/lib.rs:1: the file does not open with `//!` and a sentence that says what it is about
        "#]],
        );
    }

    #[test]
    fn lengths_have_a_bound_with_listed_exceptions() {
        let long = "//! Long.\n".repeat(501);
        let workspace = Workspace::of_files(&[
            ("a.rs", &long),
            ("b.rs", &long),
            ("c.rs", "//! Short.\n"),
            ("d.md", &long),
        ]);
        let listed = [("b.rs", "a table"), ("c.rs", "was long once"), ("gone.rs", "was there once")];
        expect![[r#"
            a.rs:501: the file has 501 lines, more than 500; look for the seam, or list it with a reason in LONG_FILES of xtask/src/tidy/sources.rs
            c.rs:1: LONG_FILES of xtask/src/tidy/sources.rs excuses this file ("was long once"), which does not need it any more; remove the entry
            gone.rs:1: LONG_FILES of xtask/src/tidy/sources.rs excuses this file ("was there once"), which does not need it any more; remove the entry
        "#]].assert_eq(&spell(&lengths(&workspace, &listed)));
    }

    #[test]
    fn unfinished_code_is_found() {
        let rule = nothing_is_unfinished_or_silenced;
        check(
            rule,
            "fn f() {\n    todo!()\n}\nfn g() { std::unimplemented!(); dbg!(1); }\n",
            expect![[r#"
            src/lib.rs:2: `todo!` may not stay; write it, or leave it out of the API
            src/lib.rs:4: `unimplemented!` may not stay; write it, or split the trait
            src/lib.rs:4: `dbg!` may not stay; remove it
        "#]],
        );
        check(
            rule,
            "#[test]\n#[ignore = \"slow\"]\nfn f() {}\n",
            expect![[r#"
            src/lib.rs:2: `#[ignore` may not stay; let an environment variable choose slow suites and set it in CI
        "#]],
        );
    }

    #[test]
    fn words_in_comments_and_strings_are_no_code() {
        let rule = nothing_is_unfinished_or_silenced;
        check(rule, "// todo!()\nlet x = \"#[allow(x)] dbg!\"; my_todo!();\n", expect![[""]]);
    }

    #[test]
    fn lints_are_expected_with_a_reason() {
        let rule = nothing_is_unfinished_or_silenced;
        check(
            rule,
            "#[allow(dead_code)]\n#![allow(x)]\n#[cfg_attr(test, allow(x))]\n",
            expect![[r#"
            src/lib.rs:1: `#[allow(` may not stay; use `#[expect(…, reason = "…")]`
            src/lib.rs:2: `#![allow(` may not stay; use `#![expect(…, reason = "…")]`
            src/lib.rs:3: `allow` may not stay; use `expect` with a reason
        "#]],
        );
        check(
            rule,
            "#[expect(dead_code)]\nfn f() {}\n",
            expect![[r#"
            src/lib.rs:1: this `expect` gives no reason; add `reason = "…"`
        "#]],
        );
        check(
            rule,
            "#![expect(\n    dead_code,\n    reason = \"because\"\n)]\nx.expect(\"y\");\n",
            expect![[""]],
        );
    }
}
