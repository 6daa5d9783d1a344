//! Chance that can be repeated: the same seed and the same words give the same figure.

/// A figure below `range`; 0 if that is 0.
pub(super) fn jitter(seed: u64, name: &str, salt: u64, range: u64) -> u64 {
    // FNV-1a, then the finaliser of SplitMix64: good enough to spread names, and the same on each machine.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed;
    for byte in name.bytes().chain(salt.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)).checked_rem(range).unwrap_or(0)
}

/// `seconds`, longer or shorter by up to one part in `part`.
pub(super) fn around(seconds: u64, part: u64, seed: u64, name: &str, salt: u64) -> u64 {
    let most = seconds.checked_div(part).unwrap_or(0);
    (seconds - most) + jitter(seed, name, salt, 2 * most + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_fill_their_range_and_stay_in_it() {
        let found: Vec<_> = (0..1_000).map(|i| around(1_000, 10, 7, &format!("n{i}.example"), i)).collect();
        assert!(found.iter().all(|figure| (900..=1_100).contains(figure)));
        assert!(found.iter().any(|&figure| figure < 920) && found.iter().any(|&figure| figure > 1_080));
        assert_eq!(around(5, 10, 7, "a", 1), 5);
        assert_eq!((jitter(1, "a", 2, 0), jitter(1, "a", 2, 1)), (0, 0));
    }

    #[test]
    fn the_same_words_give_the_same_figure_and_others_another() {
        assert_eq!(jitter(1, "a.example", 2, 1 << 40), jitter(1, "a.example", 2, 1 << 40));
        assert_ne!(jitter(1, "a.example", 2, 1 << 40), jitter(2, "a.example", 2, 1 << 40));
        assert_ne!(jitter(1, "a.example", 2, 1 << 40), jitter(1, "a.example", 3, 1 << 40));
    }
}
