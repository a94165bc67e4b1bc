//! `cargo xtask tidy`: the rules of the house, each a function from the workspace to what breaks it.

mod edges;
mod lexer;
mod manifests;
mod places;
mod sources;
mod texts;

use anyhow::bail;

use crate::checkout::Checkout;
use crate::workspace::{Violation, Workspace};

/// Every rule.
const RULES: &[fn(&Workspace) -> Vec<Violation>] = &[
    edges::only_those_in_the_table,
    manifests::versions_come_from_the_workspace,
    manifests::settings_are_inherited,
    manifests::every_crate_is_described,
    sources::files_open_with_a_sentence,
    sources::files_are_short,
    sources::nothing_is_unfinished_or_silenced,
    places::the_top_level_is_small,
    texts::lines_are_clean,
];

/// Prints every violation and a count of what was read; fails when there is one.
pub(crate) fn execute(checkout: &Checkout) -> anyhow::Result<()> {
    let workspace = Workspace::read(checkout)?;
    let mut violations: Vec<Violation> = RULES.iter().flat_map(|rule| rule(&workspace)).collect();
    violations.sort();
    for violation in &violations {
        println!("{violation}");
    }
    println!("{}", count(&workspace));
    match violations.len() {
        0 => Ok(()),
        1 => bail!("1 violation"),
        n_violations => bail!("{n_violations} violations"),
    }
}

fn count(workspace: &Workspace) -> String {
    let n_edges: usize = workspace.members.iter().map(|member| member.dependencies.len()).sum();
    let n_lines: usize = workspace.texts().map(|(_, text)| text.lines().count()).sum();
    format!(
        "checked {} rules over {} packages, {n_edges} dependencies, {} files ({} Rust sources), {n_lines} lines",
        RULES.len(),
        workspace.members.len(),
        workspace.files.len(),
        workspace.sources().count(),
    )
}
