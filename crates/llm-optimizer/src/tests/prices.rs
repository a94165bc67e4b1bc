//! Prices: rounding, looking up by name, and reading files strictly.

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

#[test]
fn the_built_in_table_is_read_whole() {
    let table = PriceTable::parse("prices.toml", BUILT_IN).unwrap();
    assert_eq!(table.prices.len(), BUILT_IN.matches("\n[models.").count());
    assert_eq!(PriceTable::built_in(), table);
    assert!(
        table.prices.values().all(|price| price.cached_input <= price.input && price.output > price.input)
    );
}

#[test]
fn dated_versions_have_the_price_of_the_longest_name_that_fits() {
    let table = PriceTable::built_in();
    let same = |model: &str, name: &str| assert_eq!(table.price(model), Some(table.prices[name]), "{model}");
    same("gpt-4o", "gpt-4o");
    same("gpt-4o-2024-08-06", "gpt-4o");
    same("gpt-4o-2024-05-13", "gpt-4o-2024-05-13");
    same("gpt-4o-mini-2024-07-18", "gpt-4o-mini");
    same("claude-3-5-haiku-latest", "claude-3-5-haiku");
    same("claude-opus-4-20250514", "claude-opus-4");
    same("claude-opus-4-5@20251101", "claude-opus-4-5");
    same("gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash");
    same("gemini-2.0-flash-001", "gemini-2.0-flash");
    for other in
        ["gpt-4o-audio-preview", "gpt-4", "gpt-4omni", "claude-opus-4-7", "o3-pro", "gpt-5-", "", "-01"]
    {
        assert_eq!(table.price(other), None, "{other}");
    }
    let message = table.require("my-model").unwrap_err().to_string();
    expect![[r#"the model "my-model" has no price, add [models."my-model"] with input and output in dollars per million tokens to the file of prices; 0 for a model that costs nothing"#]]
    .assert_eq(&message);
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&PriceTable::parse("mine.toml", text).unwrap_err().to_string());
}

#[test]
fn what_cannot_be_meant_is_refused_with_its_line_and_key() {
    check(
        "as_of = \"2025-01-01\"\n[models.a]\ninput = -1\noutput = 2\n",
        expect![[
            r#"mine.toml, line 2, models."a": input is -1, write dollars per million tokens, from 0 to 1000000"#
        ]],
    );
    check(
        "[models.a]\ninput = 1\noutput = nan\n",
        expect![[
            r#"mine.toml, line 1, models."a": output is NaN, write dollars per million tokens, from 0 to 1000000"#
        ]],
    );
    check(
        "[models.a]\ninput = 1\noutput = 1\ncached = 1\n",
        expect![
            "mine.toml is no table of prices: line 4: unknown field `cached`, expected one of `input`, `cached_input`, `cache_write`, `output`"
        ],
    );
    check(
        "[models.a]\n\ninput = 1\n",
        expect!["mine.toml is no table of prices: line 1: missing field `output`"],
    );
    check(
        "[models.a]\ninput = '1'\noutput = 1\n",
        expect![[r#"mine.toml is no table of prices: line 2: invalid type: string "1", expected f64"#]],
    );
    check(
        "models = 3\n",
        expect!["mine.toml is no table of prices: line 1: invalid type: integer `3`, expected a map"],
    );
}

#[test]
fn a_file_overrides_and_adds() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("prices.toml");
    std::fs::write(&path, "[models.gpt-4o]\ninput = 1\noutput = 2\n[models.mine]\ninput = 0\noutput = 0\n")
        .unwrap();
    let table = PriceTable::built_in().with_file(&path).unwrap();
    assert_eq!(table.price("gpt-4o"), Some(Price::per_million(1.0, 2.0).unwrap()));
    assert_eq!(table.price("mine"), Some(Price::FREE));
    assert!(table.price("gpt-4o-mini").is_some());
    let error = table.with_file(&folder.path().join("none.toml")).unwrap_err();
    assert_eq!(error.kind(), LlmErrorKind::InvalidConfig);
}

#[test]
fn costs_are_rounded_up_once_and_the_cache_is_told_apart() {
    let price = Price::per_million(0.15, 0.6).unwrap().with_cache(0.075, 0.2).unwrap();
    let usage = |input, cached, written, output| Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        cache_write_tokens: written,
        output_tokens: output,
    };
    assert_eq!(price.cost(&usage(1, 0, 0, 0)), MicroDollars(1));
    assert_eq!(price.cost(&usage(1, 0, 0, 1)), MicroDollars(1));
    assert_eq!(price.cost(&usage(1_000, 0, 0, 0)), MicroDollars(150));
    assert_eq!(price.cost(&usage(1_000, 400, 100, 10)), MicroDollars(75 + 30 + 20 + 6));
    assert_eq!(price.saved_by_cache(&usage(1_000, 400, 100, 10)), 30 - 5);
    assert_eq!(price.saved_by_cache(&usage(1_000, 0, 1_000, 10)), -50);
    assert_eq!(price.most(1_000, 10), MicroDollars(206));
    assert_eq!(Price::FREE.cost(&usage(u32::MAX, 0, 0, u32::MAX)), MicroDollars(0));
    let dearest = Price::per_million(DEAREST, DEAREST).unwrap();
    assert!(dearest.most(u32::MAX, u32::MAX) > MicroDollars(1 << 50));
}

proptest! {
    #[test]
    fn what_is_reserved_always_covers_the_cost(
        prices in prop::array::uniform4(0.0..100.0_f64), input in 0..200_000_u32, shares in prop::array::uniform2(0.0..1.0_f64),
        output in 0..10_000_u32,
    ) {
        let price = Price::per_million(prices[0], prices[1]).unwrap().with_cache(prices[2], prices[3]).unwrap();
        let cached = (f64::from(input) * shares[0]) as u32;
        let written = (f64::from(input - cached) * shares[1]) as u32;
        let usage = Usage {
            input_tokens: input,
            cached_input_tokens: cached,
            cache_write_tokens: written,
            output_tokens: output,
        };
        prop_assert!(price.cost(&usage) <= price.most(input, output));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(\\[models\\.[a-z]{1,3}\\]\n|input = -?[0-9.]{1,5}\n|output = [a-z0-9\"]{1,4}\n|.{0,8}\n){0,6}") {
        let _ = PriceTable::parse("any", &text);
    }
}
