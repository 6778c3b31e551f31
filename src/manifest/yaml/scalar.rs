//! What a plain word of YAML is: the core schema of YAML 1.2.
//!
//! `yes`, `no`, `on` and `off` are texts, as are `1:30` and dates: that is what Compose takes them
//! for too, and what people mean by `restart: no`.

use super::super::tree::{Data, TOO_LARGE};

/// The value of a plain word.
pub(super) fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Bool(true),
        "false" | "False" | "FALSE" => Data::Bool(false),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Data::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Data::Float(f64::NEG_INFINITY),
        ".nan" | ".NaN" | ".NAN" => Data::Float(f64::NAN),
        _ => integer(text)
            .or_else(|| float(text))
            .unwrap_or_else(|| Data::Text(text.to_owned())),
    }
}

/// `[-+]?[0-9]+`, `0o[0-7]+` or `0x[0-9a-fA-F]+`.
fn integer(text: &str) -> Option<Data> {
    let (digits, radix) = match (text.strip_prefix("0o"), text.strip_prefix("0x")) {
        (Some(digits), _) => (digits, 8),
        (_, Some(digits)) => (digits, 16),
        _ => (text.strip_prefix(['-', '+']).unwrap_or(text), 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = if radix == 10 {
        text.parse()
    } else {
        i64::from_str_radix(digits, radix)
    };
    Some(number.map_or(Data::Other(TOO_LARGE), Data::Integer))
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn float(text: &str) -> Option<Data> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = match mantissa.split_once('.') {
        Some(("", after)) => digits(after),
        Some((before, after)) => digits(before) && (after.is_empty() || digits(after)),
        None => digits(mantissa),
    };
    let exponent_fits = exponent
        .is_none_or(|exponent| digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent)));
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    text.parse().ok().map(Data::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_words() {
        for (text, data) in [
            ("", Data::Null),
            ("~", Data::Null),
            ("true", Data::Bool(true)),
            ("FALSE", Data::Bool(false)),
            ("0", Data::Integer(0)),
            ("-12", Data::Integer(-12)),
            ("+3", Data::Integer(3)),
            ("007", Data::Integer(7)),
            ("0o17", Data::Integer(15)),
            ("0xfF", Data::Integer(255)),
            ("9223372036854775808", Data::Other(TOO_LARGE)),
            ("0xffffffffffffffffff", Data::Other(TOO_LARGE)),
            ("1.5", Data::Float(1.5)),
            ("1.", Data::Float(1.0)),
            ("-.5", Data::Float(-0.5)),
            ("2e3", Data::Float(2_000.0)),
            ("1.5E-1", Data::Float(0.15)),
            ("-.inf", Data::Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve(text), data, "{text}");
        }
        for text in [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "22:22",
            "2020-01-01",
            "1_000",
            "0x",
            "0o8",
            "-0x1",
            "+",
            ".",
            "-",
            "1e",
            "e1",
            "1.2.3",
            "0b1",
            "inf",
            "nan",
            "tRUE",
            "1 2",
            "1.5MiB",
        ] {
            assert_eq!(resolve(text), Data::Text(text.to_owned()), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[-+.0-9eExo~a-fnull]{0,12}|\\PC{0,8}") {
            let _ = resolve(&text);
        }
    }
}
