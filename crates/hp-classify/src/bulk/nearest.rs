//! Finds the name that was meant.

/// The known name nearest to `written`, if one is near enough to have been meant.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&written, &name.trim().to_lowercase()), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        for (known, expected) in [
            (&["id", "Query"][..], Some("Query")),
            (&["queries", "quer"], Some("quer")),
            (&[" query"], Some(" query")),
            (&["id", "text"], None),
            (&[], None),
        ] {
            assert_eq!(nearest("query", known.iter().copied()), expected);
        }
    }
}
