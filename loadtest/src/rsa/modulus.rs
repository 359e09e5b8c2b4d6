//! Powers modulo an odd number, by Montgomery's multiplication (Montgomery 1985; the interleaved form is CIOS
//! of Koç, Acar and Kaliski, "Analyzing and Comparing Montgomery Multiplication Algorithms", 1996).

/// An odd modulus, prepared for multiplication. Numbers are little-endian limbs.
#[derive(Clone, Debug)]
pub struct Modulus {
    limbs: Vec<u64>,
    /// −1/modulus modulo 2⁶⁴.
    inverse: u64,
    /// R² modulo the modulus, where R = 2^(64 · limbs).
    square: Vec<u64>,
    bytes: usize,
}

impl Modulus {
    /// Takes a modulus in big-endian bytes; `None` if it is even or does not begin with a set byte.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let limbs = to_limbs(bytes, bytes.len().div_ceil(8));
        let low = *limbs.first()?;
        if low % 2 == 0 || *bytes.first()? == 0 {
            return None;
        }
        // Newton's iteration: every step doubles the number of right bits, and one bit is right at first.
        let mut inverse = 1u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(low.wrapping_mul(inverse)));
        }
        let mut modulus = Self {
            square: Vec::new(),
            inverse: inverse.wrapping_neg(),
            bytes: bytes.len(),
            limbs,
        };
        modulus.square = modulus.power_of_two(128 * modulus.limbs.len());
        Some(modulus)
    }

    /// Length in bytes, also that of every power.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// `base` to the power of `exponent`, all in big-endian bytes. `base` must be below the modulus.
    #[must_use]
    pub fn power(&self, base: &[u8], exponent: &[u8]) -> Vec<u8> {
        let count = self.limbs.len();
        let mut one = vec![0; count];
        one[0] = 1;
        let base = self.multiply(&to_limbs(base, count), &self.square);
        let mut result = self.multiply(&one, &self.square);
        let bits = exponent
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        for bit in bits.skip_while(|bit| *bit == 0) {
            result = self.multiply(&result, &result);
            if bit == 1 {
                result = self.multiply(&result, &base);
            }
        }
        to_bytes(&self.multiply(&result, &one), self.bytes)
    }

    /// a · b / R modulo the modulus.
    fn multiply(&self, a: &[u64], b: &[u64]) -> Vec<u64> {
        let count = self.limbs.len();
        let mut sum = vec![0u64; count + 2];
        for &digit in a {
            add_product(&mut sum, digit, b);
            let factor = sum[0].wrapping_mul(self.inverse);
            add_product(&mut sum, factor, &self.limbs);
            // The lowest limb is 0 now: this is what `factor` is for.
            sum.rotate_left(1);
        }
        let overflow = sum[count] != 0;
        sum.truncate(count);
        self.reduce(&mut sum, overflow);
        sum
    }

    /// 2^`exponent` modulo the modulus, by doubling.
    fn power_of_two(&self, exponent: usize) -> Vec<u64> {
        let mut number = vec![0u64; self.limbs.len()];
        number[0] = 1;
        for _ in 0..exponent {
            let mut carry = 0;
            for limb in &mut number {
                (*limb, carry) = (*limb << 1 | carry, *limb >> 63);
            }
            self.reduce(&mut number, carry == 1);
        }
        number
    }

    /// Subtracts the modulus once if the number, with its overflow, is not below it.
    fn reduce(&self, number: &mut [u64], overflow: bool) {
        let below = number.iter().rev().lt(self.limbs.iter().rev());
        if below && !overflow {
            return;
        }
        let mut borrow = false;
        for (limb, subtrahend) in number.iter_mut().zip(&self.limbs) {
            (*limb, borrow) = subtract(*limb, *subtrahend, borrow);
        }
    }
}

/// Adds `digit · number` to `sum`, which is longer than `number` by two limbs.
fn add_product(sum: &mut [u64], digit: u64, number: &[u64]) {
    let mut carry = 0;
    for (limb, factor) in sum.iter_mut().zip(number) {
        let wide = u128::from(*limb) + u128::from(digit) * u128::from(*factor) + u128::from(carry);
        (*limb, carry) = (low(wide), high(wide));
    }
    for limb in sum.iter_mut().skip(number.len()) {
        let (added, overflow) = limb.overflowing_add(carry);
        (*limb, carry) = (added, u64::from(overflow));
    }
}

/// Subtraction with a borrow in and out.
fn subtract(limb: u64, subtrahend: u64, borrow: bool) -> (u64, bool) {
    let (less, first) = limb.overflowing_sub(subtrahend);
    let (less, second) = less.overflowing_sub(u64::from(borrow));
    (less, first || second)
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is meant")]
fn low(wide: u128) -> u64 {
    wide as u64
}

fn high(wide: u128) -> u64 {
    low(wide >> 64)
}

fn to_limbs(bytes: &[u8], count: usize) -> Vec<u64> {
    let chunks = bytes.rchunks(8);
    let mut limbs: Vec<u64> = chunks
        .map(|chunk| chunk.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte)))
        .collect();
    limbs.resize(count.max(1), 0);
    limbs
}

fn to_bytes(limbs: &[u64], length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = limbs.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    bytes.resize(length, 0);
    bytes.reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use super::Modulus;

    /// Base, modulus, and base^65537 modulo modulus, from Python's `pow`.
    const POWERS: [(u128, u128, u128); 2] = [
        (
            0x2de4_7dde_bde5_c099,
            0xc164_d839_9f76_7c45,
            0x050b_63cf_6402_739c,
        ),
        (
            0x43d8_5892_ec1d_7da0_a6eb_8c9e_bd69_fe29,
            0xd76d_4330_f144_6bea_b0c1_1fde_cb91_ce37,
            0xca9c_4f98_673d_cb46_68a9_e1ff_6e98_6a3a,
        ),
    ];

    #[test]
    fn powers_match_pythons() {
        for (base, modulus, power) in POWERS {
            let digits = |number: u128| {
                let bytes = number.to_be_bytes();
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                bytes[zeros..].to_vec()
            };
            let prepared = Modulus::new(&digits(modulus)).expect("odd");
            assert_eq!(
                digits_to_number(&prepared.power(&digits(base), &[1, 0, 1])),
                power
            );
        }
    }

    #[test]
    fn small_powers_match_repeated_multiplication() {
        for modulus in (257u64..2000).step_by(14) {
            let prepared = Modulus::new(&digits(modulus)).expect("odd");
            let mut expected = 1;
            for exponent in 0..40u8 {
                let power = digits_to_number(&prepared.power(&[0, 231], &[exponent]));
                assert_eq!(power, expected, "231^{exponent} mod {modulus}");
                expected = expected * 231 % u128::from(modulus);
            }
        }
    }

    #[test]
    fn refuses_even_numbers_and_leading_zeros() {
        assert!(
            Modulus::new(&[2]).is_none() && Modulus::new(&[0, 3]).is_none() && Modulus::new(&[]).is_none()
        );
    }

    fn digits(number: u64) -> Vec<u8> {
        number
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect()
    }

    fn digits_to_number(bytes: &[u8]) -> u128 {
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u128::from(*byte))
    }
}
