//! When a certificate ends: read out of its DER, and nothing else of it.

use crate::model::UnixMs;
use rustls::pki_types::{CertificateDer, pem::PemObject};

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When the certificate ends; `None` where that cannot be read.
pub fn not_after_ms(certificate: &[u8]) -> Option<UnixMs> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, after)) = element(rest, VERSION) {
        rest = after;
    }
    // Serial number, signature algorithm, issuer.
    for _ in 0..3 {
        rest = any_element(rest)?.2;
    }
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, after) = any_element(validity)?;
    let (tag, time, _) = any_element(after)?;
    unix_ms(tag, time)
}

/// When the first of the certificates in a PEM text ends.
pub fn first_end_ms(pem: &str) -> Option<UnixMs> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes()).flatten();
    all.filter_map(|c| not_after_ms(&c)).min()
}

/// The content of the element at the beginning, which has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any_element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag, content, and what follows.
fn any_element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        length = digits.iter().fold(0, |n, d| (n << 8) | usize::from(*d));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn unix_ms(tag: u8, time: &[u8]) -> Option<UnixMs> {
    let digits = time.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        std::str::from_utf8(digits.get(from..to)?)
            .ok()?
            .parse()
            .ok()
    };
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => match number(0, 2)? {
            year @ 50.. => (1900 + year, 2),
            year => (2000 + year, 2),
        },
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |n: usize| number(at + 2 * n, at + 2 * n + 2);
    let (month, day) = (part(0)?, part(1)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days of the proleptic Gregorian calendar, with years that begin in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let leap_days = shifted / 4 - shifted / 100 + shifted / 400;
    let days = 365 * shifted + leap_days + day_of_year - 719_468;
    let seconds = days * 86_400 + part(2)? * 3_600 + part(3)? * 60 + part(4)?;
    u64::try_from(seconds).ok()?.checked_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999_000)),
            (GENERALIZED_TIME, "20000229120000Z", Some(951_825_600_000)),
            (GENERALIZED_TIME, "21260101000000Z", Some(4_922_899_200_000)),
            (
                GENERALIZED_TIME,
                "99991231235959Z",
                Some(253_402_300_799_000),
            ),
            // A year before 1970.
            (UTC_TIME, "690101000000Z", None),
            (GENERALIZED_TIME, "20001301000000Z", None),
            (GENERALIZED_TIME, "200012010000Z", None),
            (UTC_TIME, "70010100000é", None),
        ] {
            assert_eq!(unix_ms(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_rcgen_makes_is_read_and_what_is_cut_off_is_not() {
        for (year, expected) in [(2031, 1_924_992_000_000), (2126, 4_922_899_200_000)] {
            let mut params = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let made = params.self_signed(&key).unwrap();
            assert_eq!(not_after_ms(made.der()), Some(expected));
            assert_eq!(first_end_ms(&made.pem()), Some(expected));
            let der = made.der();
            for end in 0..der.len() {
                assert_eq!(not_after_ms(&der[..end]), None, "{end}");
            }
        }
        assert_eq!(first_end_ms("nothing"), None);
    }
}
