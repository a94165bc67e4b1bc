//! As much Markdown as finding links and anchors takes: code is skipped, headings become GitHub's anchors.

use std::collections::{BTreeMap, BTreeSet};

/// A link or image as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The line it stands on, from 1.
    pub(crate) line: usize,
    /// Where it leads, without a title.
    pub(crate) target: String,
}

/// Every inline link, image, link definition, and `href` or `src` of inline HTML.
pub(crate) fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, prose) in prose(text) {
        let mut found = |target: &str| {
            if !target.is_empty() {
                links.push(Link { line, target: target.to_owned() });
            }
        };
        if let Some(target) = definition(&prose) {
            found(target);
        }
        for (at, opening) in prose.match_indices("](") {
            found(inline_target(&prose[at + opening.len()..]));
        }
        for attribute in ["href=\"", "src=\""] {
            for (at, _) in prose.match_indices(attribute) {
                found(prose[at + attribute.len()..].split('"').next().unwrap_or_default());
            }
        }
    }
    links
}

/// Every anchor of the document: its headings as GitHub spells them, and `id` or `name` of inline HTML.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let mut n_uses = BTreeMap::<String, usize>::new();
    // Headings keep the code in them, so they are read from the text itself.
    let lines: Vec<&str> = text.lines().collect();
    for (line, prose) in prose(text) {
        if let Some(heading) = heading(&lines, line - 1) {
            let anchor = slug(heading);
            let n_before = n_uses.entry(anchor.clone()).or_default();
            anchors.insert(if *n_before == 0 { anchor } else { format!("{anchor}-{n_before}") });
            *n_before += 1;
        }
        for attribute in [" id=\"", " name=\""] {
            for (at, _) in prose.match_indices(attribute) {
                anchors.extend(prose[at + attribute.len()..].split('"').next().map(str::to_owned));
            }
        }
    }
    anchors
}

/// The lines outside fenced code, with their numbers, and with inline code blanked.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut fence = None::<&str>;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let trimmed = line.trim_start();
        match fence {
            Some(open) => {
                let is_end =
                    trimmed.starts_with(open) && trimmed.trim_start_matches(&open[..1]).trim().is_empty();
                if is_end {
                    fence = None;
                }
                None
            }
            None if trimmed.starts_with("```") || trimmed.starts_with("~~~") => {
                let mark = trimmed.chars().next().unwrap_or('`');
                fence = Some(&trimmed[..trimmed.len() - trimmed.trim_start_matches(mark).len()]);
                None
            }
            None => Some((index + 1, without_code(line))),
        }
    })
}

/// Replaces what stands between two equally long runs of backticks by spaces.
fn without_code(line: &str) -> String {
    let mut prose = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        let (before, from) = rest.split_at(at);
        let n_ticks = from.len() - from.trim_start_matches('`').len();
        let (ticks, after) = from.split_at(n_ticks);
        prose.push_str(before);
        match closing(after, n_ticks) {
            Some(end) => {
                prose.extend(std::iter::repeat_n(' ', end + 2 * n_ticks));
                rest = &after[end + n_ticks..];
            }
            None => {
                prose.push_str(ticks);
                rest = after;
            }
        }
    }
    prose + rest
}

/// Where a run of exactly so many backticks begins.
fn closing(text: &str, n_ticks: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find('`') {
        let start = at + found;
        let run = text[start..].len() - text[start..].trim_start_matches('`').len();
        if run == n_ticks {
            return Some(start);
        }
        at = start + run;
    }
    None
}

/// The target of `[name]: target "title"`; footnotes are none.
fn definition(line: &str) -> Option<&str> {
    let (name, rest) = line.trim_start().strip_prefix('[')?.split_once("]:")?;
    let is_definition = !name.starts_with('^') && !name.contains(['[', ']']);
    is_definition.then(|| bare(rest.split_whitespace().next().unwrap_or_default()))
}

/// The target at the start of what follows `](`, up to its title or the parenthesis that closes it.
fn inline_target(text: &str) -> &str {
    let text = text.trim_start();
    if let Some(inside) = text.strip_prefix('<') {
        return inside.split('>').next().unwrap_or_default();
    }
    let mut depth = 0;
    let end = text.find(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth < 0 || c.is_whitespace()
    });
    &text[..end.unwrap_or(text.len())]
}

fn bare(target: &str) -> &str {
    target.strip_prefix('<').and_then(|inside| inside.strip_suffix('>')).unwrap_or(target)
}

/// The heading on this line, marked by `#` or by the line below it.
fn heading<'t>(lines: &[&'t str], index: usize) -> Option<&'t str> {
    let line = lines[index].trim();
    let text = line.trim_start_matches('#');
    let level = line.len() - text.len();
    if (1..=6).contains(&level) && (text.is_empty() || text.starts_with(' ')) {
        return Some(text.trim().trim_end_matches('#').trim_end());
    }
    let below = lines.get(index + 1)?.trim();
    let is_underline = |mark: char| !below.is_empty() && below.chars().all(|c| c == mark);
    let is_paragraph = level == 0 && !line.is_empty() && !line.starts_with(['|', '-', '>', '*']);
    (is_paragraph && (is_underline('=') || is_underline('-'))).then_some(line)
}

/// GitHub's anchor: lower case, spaces to hyphens, letters, digits, `-` and `_` kept, links by their text.
fn slug(heading: &str) -> String {
    let mut text = heading.to_owned();
    while let Some(open) = text.find("](") {
        let length = inline_target(&text[open + 2..]).len();
        let end = text[open + 2 + length..].find(')').map_or(text.len(), |at| open + 2 + length + at + 1);
        text.replace_range(open..end, "");
    }
    let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_links(text: &str, expected: &[(usize, &str)]) {
        let found: Vec<_> = links(text).into_iter().map(|link| (link.line, link.target)).collect();
        let expected: Vec<_> = expected.iter().map(|(line, target)| (*line, (*target).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn check_anchors(text: &str, expected: &[&str]) {
        assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn inline_links_images_and_badges() {
        check_links(
            "[a](b.md) ![c](d.png \"title\")\n[![e](f.svg)](g_(h).md)",
            &[(1, "b.md"), (1, "d.png"), (2, "f.svg"), (2, "g_(h).md")],
        );
        check_links("[`code`](x.md) [spaced](<a b.md>)", &[(1, "x.md"), (1, "a b.md")]);
    }

    #[test]
    fn definitions_and_html() {
        check_links(
            "[name]: docs/x.md \"title\"\n[^1]: a footnote\n<a href=\"y.md\"><img src=\"z.png\"></a>",
            &[(1, "docs/x.md"), (3, "y.md"), (3, "z.png")],
        );
    }

    #[test]
    fn code_holds_no_links() {
        check_links(
            "`[a](b)` ``x ` [c](d)``\n```text\n[e](f)\n```\n~~~\n```\n[g](h)\n~~~\n[i](j)",
            &[(9, "j")],
        );
        check_links("a lone ` tick [a](b)", &[(1, "b")]);
    }

    #[test]
    fn headings_become_anchors_as_on_github() {
        check_anchors("# Why not *tower*?\n## `L1`: memory & disk\n", &["l1-memory--disk", "why-not-tower"]);
        check_anchors("# Same\n## Same\n### Same\n", &["same", "same-1", "same-2"]);
        check_anchors("Über uns\n========\n\n## [Link](x.md) text ##\n", &["link-text", "über-uns"]);
    }

    #[test]
    fn what_is_no_heading_is_no_anchor() {
        check_anchors("```sh\n# comment\n```\n#hash\n| a |\n|---|\n- item\n---\n", &[]);
    }

    #[test]
    fn html_anchors_count() {
        check_anchors("<a id=\"here\"></a> <a name=\"there\"></a>\n", &["here", "there"]);
    }
}
