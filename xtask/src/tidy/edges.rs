//! The table of edges: which crate of ours may depend on which.

use crate::workspace::{Dependency, Member, Violation, Workspace};

/// What stands in the cellar and may be used by all above it.
const BASE: &[&str] = &["hp-base"];

/// The ground floor and the cellar below it.
const GROUND: &[&str] =
    &["hp-base", "cache-tiers", "request-optimizer", "llm-optimizer", "resource-manager", "perf-monitor"];

/// Each package and the packages of ours it may depend on, bottom to top.
///
/// A new edge is an architecture change: add it here, and say why in the commit.
const EDGES: &[(&str, &[&[&str]])] = &[
    ("hp-base", &[]),
    ("cache-tiers", &[BASE]),
    ("request-optimizer", &[BASE]),
    ("llm-optimizer", &[BASE]),
    ("resource-manager", &[BASE]),
    ("perf-monitor", &[BASE]),
    ("classifier-core", &[GROUND]),
    ("hp-server", &[GROUND, &["classifier-core"]]),
    ("hp-classify", &[GROUND, &["classifier-core", "hp-server"]]),
    ("llm-sim", &[]),
    ("hp-validate", &[GROUND, &["classifier-core", "hp-server", "llm-sim"]]),
    ("benches", &[GROUND, &["classifier-core", "hp-server", "hp-classify", "llm-sim", "hp-validate"]]),
    ("xtask", &[]),
];

/// What anyone's tests may use.
const IN_TESTS: &[&str] = &["hp-base", "llm-sim"];

/// No package of ours depends on another unless the table has the edge.
pub(crate) fn only_those_in_the_table(workspace: &Workspace) -> Vec<Violation> {
    workspace.members.iter().flat_map(|member| check(workspace, member)).collect()
}

fn check(workspace: &Workspace, member: &Member) -> Vec<Violation> {
    let name = &member.name;
    let Some((_, allowed)) = EDGES.iter().find(|(package, _)| package == name) else {
        let sentence = format!(
            "the package {name} is not in the table EDGES of xtask/src/tidy/edges.rs; add a row for it"
        );
        return vec![Violation::new(&member.manifest, 1, sentence)];
    };
    let is_ours = |dependency: &&Dependency| {
        EDGES.iter().any(|(package, _)| *package == dependency.name)
            || workspace.members.iter().any(|member| member.name == dependency.name)
    };
    let is_allowed = |dependency: &Dependency| {
        allowed.iter().any(|group| group.contains(&dependency.name.as_str()))
            || (dependency.is_dev && dependency.name == *name)
            || (dependency.is_dev && name != "xtask" && IN_TESTS.contains(&dependency.name.as_str()))
    };
    let forbidden = member.dependencies.iter().filter(is_ours).filter(|dependency| !is_allowed(dependency));
    let violation = |dependency: &Dependency| {
        let line = line_of(workspace.text(&member.manifest).unwrap_or_default(), &dependency.name);
        let tests = if dependency.is_dev { " in its tests" } else { "" };
        let sentence = format!(
            "{name} depends on {}{tests}, an edge the table EDGES of xtask/src/tidy/edges.rs does not have; \
             drop it, or add it there and say why in the commit",
            dependency.name
        );
        Violation::new(&member.manifest, line, sentence)
    };
    forbidden.map(violation).collect()
}

/// The line that declares the dependency, or the first.
fn line_of(manifest: &str, dependency: &str) -> usize {
    let declares = |line: &str| {
        line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with([' ', '.', '=']))
            || line.contains(&format!("dependencies.{dependency}]"))
            || line.contains(&format!("package = \"{dependency}\""))
    };
    manifest.lines().position(declares).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::workspace::spell;

    #[track_caller]
    fn check(member: &str, dependencies: &[&str], dev_dependencies: &[&str], expected: Expect) {
        let manifest = format!("crates/{member}/Cargo.toml");
        let edge = |is_dev| move |name: &&str| Dependency { name: (*name).to_owned(), is_dev };
        let normal = dependencies.iter().map(edge(false));
        let dependencies = normal.chain(dev_dependencies.iter().map(edge(true))).collect();
        let text =
            "[package]\n\n[dependencies]\nhp-server.workspace = true\nperf-monitor = { workspace = true }\n";
        let mut workspace = Workspace::of_files(&[(&manifest, text)]);
        workspace.members =
            vec![Member { name: member.to_owned(), manifest, description: None, dependencies }];
        expected.assert_eq(&spell(&only_those_in_the_table(&workspace)));
    }

    #[test]
    fn edges_of_the_table_are_fine() {
        check("classifier-core", &["hp-base", "cache-tiers", "serde"], &["tokio"], expect![[""]]);
        check("hp-classify", &["hp-server", "classifier-core"], &[], expect![[""]]);
        check("benches", &["hp-validate", "llm-sim", "cache-tiers"], &[], expect![[""]]);
    }

    #[test]
    fn ground_floor_crates_do_not_know_each_other() {
        check(
            "cache-tiers",
            &["hp-base", "perf-monitor"],
            &[],
            expect![[r#"
            crates/cache-tiers/Cargo.toml:5: cache-tiers depends on perf-monitor, an edge the table EDGES of xtask/src/tidy/edges.rs does not have; drop it, or add it there and say why in the commit
        "#]],
        );
    }

    #[test]
    fn nobody_looks_upwards_not_even_in_tests() {
        check(
            "classifier-core",
            &["hp-server"],
            &["hp-validate"],
            expect![[r#"
            crates/classifier-core/Cargo.toml:4: classifier-core depends on hp-server, an edge the table EDGES of xtask/src/tidy/edges.rs does not have; drop it, or add it there and say why in the commit
            crates/classifier-core/Cargo.toml:1: classifier-core depends on hp-validate in its tests, an edge the table EDGES of xtask/src/tidy/edges.rs does not have; drop it, or add it there and say why in the commit
        "#]],
        );
    }

    #[test]
    fn tests_may_use_the_simulator_the_base_and_the_crate_itself() {
        check("llm-optimizer", &[], &["llm-sim", "hp-base", "llm-optimizer"], expect![[""]]);
        check(
            "llm-optimizer",
            &["llm-sim", "llm-optimizer"],
            &[],
            expect![[r#"
            crates/llm-optimizer/Cargo.toml:1: llm-optimizer depends on llm-sim, an edge the table EDGES of xtask/src/tidy/edges.rs does not have; drop it, or add it there and say why in the commit
            crates/llm-optimizer/Cargo.toml:1: llm-optimizer depends on llm-optimizer, an edge the table EDGES of xtask/src/tidy/edges.rs does not have; drop it, or add it there and say why in the commit
        "#]],
        );
    }

    #[test]
    fn xtask_spawns_and_never_links() {
        check(
            "xtask",
            &["clap"],
            &["hp-base"],
            expect![[r#"
            crates/xtask/Cargo.toml:1: xtask depends on hp-base in its tests, an edge the table EDGES of xtask/src/tidy/edges.rs does not have; drop it, or add it there and say why in the commit
        "#]],
        );
    }

    #[test]
    fn a_new_package_needs_a_row() {
        check(
            "hp-new",
            &["hp-base"],
            &[],
            expect![[r#"
            crates/hp-new/Cargo.toml:1: the package hp-new is not in the table EDGES of xtask/src/tidy/edges.rs; add a row for it
        "#]],
        );
    }
}
