//! The rule for every text file: no home of anyone's, no tabs, nothing after the end of a line.

use crate::workspace::{Violation, Workspace};

/// Text files that may hold tabs, by how their names end: there a tab means something.
const MAY_HOLD_TABS: &[&str] = &[".tsv", ".patch"];

/// Text files that may hold paths to homes: rows of questions quote whatever people type.
const MAY_HOLD_HOMES: &[&str] = &[".jsonl"];

/// Folders whose files are input for fuzzing: odd white space is what some of them are about.
const FUZZ_SEEDS: &str = "/fuzz/seeds/";

/// How a path to someone's home begins; a name follows.
const HOMES: &[&str] = &["/home/", "/Users/", "/root/", "C:\\Users\\"];

/// Lines hold no absolute home path, no tab and no space at their end.
pub(crate) fn lines_are_clean(workspace: &Workspace) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in workspace.texts() {
        if path.contains(FUZZ_SEEDS) {
            continue;
        }
        let is_among = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
        let (may_hold_tabs, may_hold_homes) = (is_among(MAY_HOLD_TABS), is_among(MAY_HOLD_HOMES));
        for (index, line) in text.split('\n').enumerate() {
            let mut complain = |sentence: String| violations.push(Violation::new(path, index + 1, sentence));
            if let Some(home) = HOMES.iter().find(|home| !may_hold_homes && holds_home(line, home)) {
                complain(format!("a path beginning `{home}` is good on one machine only; make it relative"));
            }
            if line.contains('\t') && !may_hold_tabs {
                complain("the line holds a tab; use spaces, or an escape in a string".to_owned());
            }
            if line.ends_with([' ', '\t', '\r']) {
                complain("the line ends in white space; remove it".to_owned());
            }
        }
    }
    violations
}

/// Whether an absolute path to a home stands in the line: a path, not the middle of one or of an address.
fn holds_home(line: &str, home: &str) -> bool {
    let is_path = |c: char| c.is_alphanumeric() || "._-~}/)>".contains(c);
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + home.len()..].chars().next();
        !before.is_some_and(is_path) && after.is_some_and(|c| c.is_alphanumeric() || "._-".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::workspace::spell;

    #[track_caller]
    fn check(path: &str, text: &str, expected: Expect) {
        expected.assert_eq(&spell(&lines_are_clean(&Workspace::of_files(&[(path, text)]))));
    }

    #[test]
    fn clean_lines_are_fine() {
        check("a.md", "one\n\n  two\n", expect![[""]]);
        check("a.tsv", "one\ttwo\n", expect![[""]]);
    }

    #[test]
    fn seeds_of_fuzzing_may_be_odd() {
        check("crates/a/fuzz/seeds/target/odd", "one \r\n\ttwo", expect![[""]]);
    }

    #[test]
    fn white_space_is_seen() {
        check(
            "a.md",
            "one \ntwo\tthree\nfour\r\n",
            expect![[r#"
            a.md:1: the line ends in white space; remove it
            a.md:2: the line holds a tab; use spaces, or an escape in a string
            a.md:3: the line ends in white space; remove it
        "#]],
        );
        check(
            "a.tsv",
            "one\ttwo\t\n",
            expect![[r#"
            a.tsv:1: the line ends in white space; remove it
        "#]],
        );
    }

    #[test]
    fn homes_are_seen() {
        check(
            "a.md",
            concat!("see /ho", "me/anna/x\nsee \"/Us", "ers/ben\"\n`/ro", "ot/.cargo`\n"),
            expect![[r#"
            a.md:1: a path beginning `/home/` is good on one machine only; make it relative
            a.md:2: a path beginning `/Users/` is good on one machine only; make it relative
            a.md:3: a path beginning `/root/` is good on one machine only; make it relative
        "#]],
        );
    }

    #[test]
    fn what_only_looks_like_a_home_is_fine() {
        check("a.jsonl", concat!("{\"query\": \"what is /ho", "me/anna/x?\"}\n"), expect![[""]]);
        check("a.md", "https://example.org/home/page $X/root/y ~/home/z the /home/ folder\n", expect![[""]]);
    }
}
