//! Keys are the same everywhere, and differ whenever anything differs.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Key, KeySpace};

fn space(tenant: &str, revision: &str) -> KeySpace {
    KeySpace::builder("cache-tiers test")
        .part("tenant", tenant.as_bytes())
        .part("revision", revision.as_bytes())
        .build()
}

fn key(space: &KeySpace, parts: &[&[u8]]) -> Key {
    space.key(parts.iter().copied())
}

/// What `KeySpace` promises to compute, written down a second time in the plainest way.
fn by_the_book(context: &str, named: &[(&str, &[u8])], parts: &[Vec<u8>]) -> String {
    let mut material = Vec::new();
    for (name, value) in named {
        for field in [name.as_bytes(), value] {
            material.extend((field.len() as u64).to_le_bytes());
            material.extend(field);
        }
    }
    let mut message = Vec::new();
    for part in parts {
        let mut length = part.len();
        while length >= 128 {
            message.push((length % 128 + 128) as u8);
            length /= 128;
        }
        message.push(length as u8);
        message.extend(part);
    }
    let hash = blake3::keyed_hash(&blake3::derive_key(context, &material), &message);
    hash.to_hex()[..32].to_owned()
}

#[test]
fn keys_are_the_same_in_every_process() {
    let key = key(&space("acme", "17"), &[b"what is glucose", b""]);
    assert_eq!(key.to_string(), "63fd883ff37bf948d96f1aeac65426f2");
    assert_eq!(format!("{key:?}"), "Key(63fd883ff37bf948d96f1aeac65426f2)");
}

#[test]
fn every_part_counts() {
    let query: &[u8] = b"what is glucose";
    let keys = [
        key(&space("acme", "17"), &[query]),
        key(&space("acme", "18"), &[query]),
        key(&space("acm", "e17"), &[query]),
        key(&space("17", "acme"), &[query]),
        key(&space("acme", "17"), &[b"what is glucosf"]),
        key(&space("acme", "17"), &[query, b""]),
        key(&space("acme", "17"), &[b"", query]),
        key(&space("acme", "17"), &[]),
        key(&KeySpace::builder("cache-tiers test").part("tenant", b"acme").build(), &[query]),
        key(
            &KeySpace::builder("cache-tiers test").part("revision", b"17").part("tenant", b"acme").build(),
            &[query],
        ),
        key(
            &KeySpace::builder("cache-tiers test").part("tenan", b"tacme").part("revision", b"17").build(),
            &[query],
        ),
        key(
            &KeySpace::builder("another test").part("tenant", b"acme").part("revision", b"17").build(),
            &[query],
        ),
    ];
    for (i, one) in keys.iter().enumerate() {
        for other in &keys[..i] {
            assert_ne!(one, other);
        }
    }
}

#[test]
fn a_space_shows_no_key_bytes() {
    assert_eq!(format!("{:?}", space("acme", "17")), "KeySpace { .. }");
    assert_eq!(format!("{:?}", KeySpace::builder("x")), "KeySpaceBuilder { .. }");
}

#[test]
fn digits_are_in_the_order_of_the_bytes() {
    let key = Key::from_bytes(*b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\xff");
    assert_eq!(key.to_string(), "000102030405060708090a0b0c0d0eff");
}

#[test]
fn wrong_digits_are_named() {
    let check = |text: &str, message: &str| {
        assert_eq!(text.parse::<Key>().map_err(|error| error.to_string()), Err(message.to_owned()));
    };
    check("", "a key has 32 hexadecimal digits, this has 0 characters");
    check("00000000000000000000000000000000f", "a key has 32 hexadecimal digits, this has 33 characters");
    check("+0000000000000000000000000000000", "a key has hexadecimal digits only, not '+'");
    check("0000000000000000000000000000000é", "a key has hexadecimal digits only, not 'é'");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_key_is_what_the_documentation_says(parts in vec(vec(any::<u8>(), 0..400), 0..5)) {
        let named: [(&str, &[u8]); 2] = [("tenant", b"acme"), ("revision", b"17")];
        let key = space("acme", "17").key(parts.iter().map(Vec::as_slice));
        prop_assert_eq!(key.to_string(), by_the_book("cache-tiers test", &named, &parts));
    }

    #[test]
    fn no_boundary_can_be_moved(bytes in vec(any::<u8>(), 0..700), mut cuts in vec(any::<prop::sample::Index>(), 1..4), other in any::<prop::sample::Index>()) {
        // The same bytes, cut at different places, as parts of a key and as named parts of a space.
        let cut = |cuts: &[prop::sample::Index]| {
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            at.sort_unstable();
            at.insert(0, 0);
            at.push(bytes.len());
            at.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect::<Vec<_>>()
        };
        let named = |parts: &[Vec<u8>]| {
            parts.iter().fold(KeySpace::builder("t"), |space, part| space.part("n", part)).build().key([])
        };
        let first = cut(&cuts);
        cuts[0] = other;
        let second = cut(&cuts);
        let whole = vec![bytes.clone()];
        let space = space("acme", "17");
        for (one, two) in [(&first, &second), (&first, &whole)] {
            let equal = one == two;
            let keys = [one, two].map(|parts| space.key(parts.iter().map(Vec::as_slice)));
            prop_assert_eq!(keys[0] == keys[1], equal);
            prop_assert_eq!(named(one) == named(two), equal);
        }
    }

    #[test]
    fn digits_read_back(bytes in any::<[u8; 16]>(), others in any::<[u8; 16]>()) {
        let key = Key::from_bytes(bytes);
        prop_assert_eq!(key.as_bytes(), &bytes);
        prop_assert_eq!(key.to_string().parse(), Ok(key));
        prop_assert_eq!(key.to_string().to_uppercase().parse(), Ok(key));
        let other = Key::from_bytes(others);
        prop_assert_eq!(key.cmp(&other), key.to_string().cmp(&other.to_string()));
    }
}
