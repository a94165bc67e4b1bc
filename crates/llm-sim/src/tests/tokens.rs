//! Counting and cutting into pieces.

use proptest::prelude::*;

use crate::tokens::{Tokens, count};

#[test]
fn tokens_are_those_of_o200k() {
    let tokens = Tokens::load();
    assert_eq!(&*tokens.of("hello world"), [24912, 2375]);
    assert_eq!(&*tokens.of("hello world"), [24912, 2375]);
    assert_eq!(count(&tokens.of("")), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pieces_are_the_text(text in "\\PC{0,60}") {
        let tokens = Tokens::load();
        let all = tokens.of(&text);
        let pieces = tokens.pieces(&all);
        prop_assert_eq!(pieces.iter().map(|piece| piece.text.as_str()).collect::<String>(), text);
        prop_assert_eq!(pieces.iter().map(|piece| piece.n_tokens).sum::<u32>(), count(&all));
    }
}
