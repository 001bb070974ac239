//! Single JSON values: reading them as numbers, flags or texts, and describing them in errors.

use serde_json::{Map, Value};

use crate::error::CocoError;

/// Number of characters of a text that an error shows.
const SHOWN: usize = 40;
/// Words that Python writes for values that are not finite numbers. [`super::text`] has put them in quotes.
pub(super) const NO_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
/// 2^53: up to here, f64 can represent every whole number.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

/// Describes a value for an error.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => describe_text(text),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(items) => match items.len() {
            1 => "a list of 1 item".to_owned(),
            many => format!("a list of {many} items"),
        },
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Describes a text for an error.
pub(super) fn describe_text(text: &str) -> String {
    if NO_NUMBERS.contains(&text) {
        return text.to_owned();
    }
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("the text '{}...'", text.get(..end).unwrap_or_default()),
        None => format!("the text '{text}'"),
    }
}

/// Reads a whole number, whether it is written as an integer or as a float.
pub(super) fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let number = value.as_f64()?;
        let is_whole = number.fract() == 0.0 && number.abs() <= MAX_WHOLE;
        is_whole.then_some(number as i64)
    })
}

/// Whether a value is missing: null, or NaN, which data frames write instead.
pub(super) fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("NaN")
}

pub(super) fn unfit(key: impl Into<String>, found: &Value, expected: &'static str) -> CocoError {
    CocoError::Value {
        place: String::new(),
        key: key.into(),
        found: describe(found),
        expected,
    }
}

/// Reads the whole number of a key that may be missing.
pub(super) fn optional_whole(key: &str, value: Option<&Value>) -> Result<Option<i64>, CocoError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match whole(value) {
            Some(number) => Ok(Some(number)),
            None => Err(unfit(key, value, "a whole number")),
        },
    }
}

/// Reads the whole number of a required key.
pub(super) fn required_whole(key: &'static str, value: Option<&Value>) -> Result<i64, CocoError> {
    let found = optional_whole(key, value)?;
    found.ok_or(CocoError::Missing {
        place: String::new(),
        key,
        expected: "a whole number",
    })
}

/// Takes the text of a key out of an object.
pub(super) fn take_text(
    map: &mut Map<String, Value>,
    key: &str,
) -> Result<Option<String>, CocoError> {
    match map.remove(key) {
        None => Ok(None),
        Some(value) if is_nothing(&value) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(unfit(key, &other, "a text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        for (value, expected) in [
            (json!(7), Some(7)),
            (json!(7.0), Some(7)),
            (json!(-0.0), Some(0)),
            (json!(1e3), Some(1000)),
            (json!(7.5), None),
            (json!(1e300), None),
            (json!(u64::MAX), None),
            (json!("7"), None),
            (json!(true), None),
            (json!(null), None),
        ] {
            assert_eq!(whole(&value), expected, "{value}");
        }
    }

    #[test]
    fn values_are_named_in_words() {
        for (value, words) in [
            (json!(null), "null"),
            (json!(1.5), "1.5"),
            (json!("NaN"), "NaN"),
            (json!("all"), "the text 'all'"),
            (json!([]), "an empty list"),
            (json!([1]), "a list of 1 item"),
            (json!({"a": 1}), "an object"),
        ] {
            assert_eq!(describe(&value), words);
        }
        let long = describe(&json!("é".repeat(100)));
        assert_eq!(long.chars().count(), "the text '...'".len() + SHOWN);
    }
}
