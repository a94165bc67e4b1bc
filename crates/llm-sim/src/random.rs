//! Chance that is the same every time: numbers from a seed, a count and a purpose.

/// What a number is for, so that two draws of one request have nothing to do with each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Latency = 1,
    SecondLatency,
    Fault,
    Refusal,
    Mistake,
    Confidence,
    Category,
}

/// 64 random bits; the finalizer is that of SplitMix64 (Steele, Lea and Flood, 2014).
pub(crate) fn bits(seed: u64, n: u64, purpose: Purpose) -> u64 {
    finalize(finalize(seed ^ finalize(n)).wrapping_add(purpose as u64))
}

/// A number in [0, 1).
pub(crate) fn unit(seed: u64, n: u64, purpose: Purpose) -> f64 {
    // OK to cast: 53 bits are what a double holds.
    (bits(seed, n, purpose) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A number that stands for a text: FNV-1a, finalized.
pub(crate) fn of_text(text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    finalize(text.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

fn finalize(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
