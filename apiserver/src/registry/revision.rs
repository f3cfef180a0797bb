//! Revisions as clients write them, and what upstream says of what is none.

use std::num::IntErrorKind;

use crate::auth::lookup::Answer;
use crate::status::Status;

/// The number that a text is, or what Go says of it.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let parsed = if text.starts_with('+') { Err("invalid syntax") } else { parse(text) };
    parsed.map_err(|why| format!("strconv.ParseUint: parsing \"{text}\": {why}"))
}

fn parse(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => "value out of range",
        _ => "invalid syntax",
    })
}

/// The revision of an option; nothing is 0.
fn of(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    number(text).map_err(|why| format!("resourceVersion: Invalid value: \"{text}\": {why}"))
}

/// The revision that a list names.
pub(crate) fn of_list(text: &str) -> Answer<u64> {
    of(text)
        .map_err(|why| Box::new(Status::bad_request(format!("invalid resource version: {why}"))))
}

/// The revision that a get or a watch names; upstream makes no code for what is none.
pub(crate) fn of_read(text: &str) -> Answer<u64> {
    of(text).map_err(|why| Box::new(Status::new(500, "", why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_revision_is_refused_in_the_words_of_go() {
        let invalid = |text: &str| number(text).unwrap_err();
        assert_eq!(invalid("abc"), "strconv.ParseUint: parsing \"abc\": invalid syntax");
        assert_eq!(invalid("-1"), "strconv.ParseUint: parsing \"-1\": invalid syntax");
        assert_eq!(invalid("+1"), "strconv.ParseUint: parsing \"+1\": invalid syntax");
        let far = "99999999999999999999";
        assert_eq!(
            invalid(far),
            format!("strconv.ParseUint: parsing \"{far}\": value out of range")
        );
        assert_eq!(of_list("").unwrap(), 0);
        let status = of_list("x").unwrap_err();
        assert_eq!(
            (status.code, status.message.as_str()),
            (
                400,
                "invalid resource version: resourceVersion: Invalid value: \"x\": \
                 strconv.ParseUint: parsing \"x\": invalid syntax"
            )
        );
        assert_eq!(of_read("x").unwrap_err().code, 500);
    }
}
