//! Dice. Everything random is a hash of the seed and of what it is for, so that any record can be made again alone.
//!
//! Only integer operations and exact ones on `f64` are used: the same options give the same bytes on every machine.

/// Spreads a number over all 64 bits.
pub(super) const fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// One number out of several, in this order.
pub(super) fn hash<const N: usize>(parts: [u64; N]) -> u64 {
    parts.into_iter().fold(0x5851_F42D_4C95_7F2D, |hash, part| mix(hash ^ part))
}

/// Whether a hash falls within this share of all hashes.
pub(super) fn within(hash: u64, share: f64) -> bool {
    unit(hash) < share
}

/// A hash as a number from 0 to below 1.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// Quantiles of a log-normal distribution: records, like towns, are mostly small and sometimes vast.
const WEIGHTS: [f64; 17] = [0.10, 0.20, 0.29, 0.37, 0.44, 0.51, 0.58, 0.66, 0.75, 0.85, 0.97, 1.12, 1.32, 1.62, 2.10, 3.00, 8.00];

/// A sequence of throws.
pub(super) struct Rng(u64);

impl Rng {
    /// The sequence for a hash.
    pub fn new(hash: u64) -> Rng {
        Rng(hash)
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0xA076_1D64_78BD_642F);
        let product = u128::from(self.0) * u128::from(self.0 ^ 0xE703_7ED1_A0B4_28DB);
        (product >> 64) as u64 ^ product as u64
    }

    /// 0 to `end` - 1; 0 where `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// `from` to `to`, both included.
    pub fn range(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        unit(self.next())
    }

    /// True in this share of throws.
    pub fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// One of these, the earlier ones far more often.
    pub fn favour<T: Copy>(&mut self, from: &[T]) -> T {
        let x = self.unit();
        from[(x * x * x * from.len() as f64) as usize]
    }

    /// How large something is against the common: 0.1 to 8, 0.75 in the middle, about 1.1 on average.
    pub fn weight(&mut self) -> f64 {
        let x = self.unit() * (WEIGHTS.len() - 1) as f64;
        let (at, rest) = (x as usize, x - (x as usize) as f64);
        // Steeper towards the end, where the largest of all are rare.
        let rest = if at == WEIGHTS.len() - 2 { rest * rest * rest } else { rest };
        WEIGHTS[at] + (WEIGHTS[at + 1] - WEIGHTS[at]) * rest
    }

    /// A whole number, on average `mean`: the part after the point is a chance of one more.
    pub fn round(&mut self, mean: f64) -> u64 {
        mean as u64 + u64::from(self.chance(mean - (mean as u64) as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_stay_in_their_bounds_and_average_as_told() {
        let mut rng = Rng::new(hash([1, 2]));
        let n = 100_000;
        let (mut weights, mut rounds) = (0.0, 0);
        for _ in 0..n {
            assert!(rng.below(7) < 7);
            assert!((3..=5).contains(&rng.range(3, 5)));
            let weight = rng.weight();
            assert!((0.1..=8.0).contains(&weight));
            weights += weight;
            rounds += rng.round(2.3);
        }
        assert!((1.05..1.15).contains(&(weights / f64::from(n))), "{}", weights / f64::from(n));
        assert!((2.25..2.35).contains(&(rounds as f64 / f64::from(n))));
    }
}
