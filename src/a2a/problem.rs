//! What a JSON parser has to say, without the input that it quotes.

/// The problem in words that repeat nothing of the input: what was expected, or which member is missing or double.
pub fn of(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    if text.starts_with("missing field") || text.starts_with("duplicate field") {
        return text.to_owned();
    }
    match text.split_once("expected ") {
        Some((_, expected)) if error.is_data() => format!("expected {expected}"),
        _ if text.starts_with("number out of range") => "has a number out of range".to_owned(),
        _ if error.is_data() => "has a wrong value".to_owned(),
        _ => "is not valid JSON".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_was_expected_and_never_repeats_the_input() {
        let problem =
            |json: &str| of(&serde_json::from_str::<std::collections::BTreeMap<String, i32>>(json).unwrap_err());
        assert!(!problem(r#"{"a":"secret, expected nothing"}"#).contains("secret"));
        assert_eq!(problem("{"), "is not valid JSON");
        assert_eq!(problem("[1]"), "expected a map");
    }
}
