//! Numbers as messages write them, without the machinery of `fmt`.

/// A length in bytes as `Content-Length` has it: digits only, below 2^63 (nginx's `off_t`).
#[inline]
#[must_use]
pub fn parse_length(digits: &[u8]) -> Option<u64> {
    const LARGEST: u64 = i64::MAX as u64;
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    (number <= LARGEST).then_some(number)
}

/// Appends a number in decimal.
#[inline]
pub fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a number in lower-case hexadecimal.
#[inline]
pub fn push_hex(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 16];
    let at = write_hex(&mut digits, number);
    out.extend_from_slice(&digits[at..]);
}

/// Writes a number in lower-case hexadecimal to the end of `digits`; returns where it starts.
pub(crate) fn write_hex(digits: &mut [u8; 16], mut number: u64) -> usize {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
        if number == 0 {
            return at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths() {
        assert_eq!(parse_length(b"00001"), Some(1));
        assert_eq!(parse_length(b"9223372036854775807"), Some(i64::MAX as u64));
        for bad in [
            "",
            "+1",
            "-1",
            "1 ",
            " 1",
            "0x1",
            "1.0",
            "1,1",
            "1\t",
            "9223372036854775808",
            "99999999999999999999",
        ] {
            assert_eq!(parse_length(bad.as_bytes()), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn numbers_as_fmt_writes_them(number in prop_oneof![any::<u64>(), 0..100u64]) {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            prop_assert_eq!(&out, &number.to_string().into_bytes());
            out.clear();
            push_hex(&mut out, number);
            prop_assert_eq!(&out, &format!("{number:x}").into_bytes());
        }
    }
}
