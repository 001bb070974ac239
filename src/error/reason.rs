//! Texts of other libraries' errors, without what only interests their authors.

use datafusion::sql::sqlparser::parser::ParserError;

/// The reason of a DataFusion error, without the place in DataFusion at which it occurred.
pub(crate) fn sql_reason(err: &datafusion::error::DataFusionError) -> String {
    use datafusion::error::DataFusionError;
    match err {
        DataFusionError::SQL(err, _) => match err.as_ref() {
            ParserError::ParserError(reason) | ParserError::TokenizerError(reason) => {
                format!("cannot read the query: {reason}")
            }
            ParserError::RecursionLimitExceeded => "the query is nested too deep".to_owned(),
        },
        DataFusionError::Diagnostic(_, err) | DataFusionError::Context(_, err) => sql_reason(err),
        DataFusionError::Shared(err) => sql_reason(err),
        // Tables are known by their own names, not by those of DataFusion's catalogue and schema.
        err => without_code_places(&err.message().replace("datafusion.public.", "")),
    }
}

/// The text of an error of Lance, without places in its source code such as `, /.../local.rs:273:40`.
pub(super) fn without_code_places(text: &str) -> String {
    let is_place = |part: &str| {
        let mut ends = part.rsplitn(3, ':');
        let number = |end: Option<&str>| end.is_some_and(|end| end.parse::<u32>().is_ok());
        number(ends.next())
            && number(ends.next())
            && ends.next().is_some_and(|file| file.ends_with(".rs"))
    };
    let parts = text.split(", ").filter(|part| !is_place(part.trim_end()));
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_the_code_of_others_are_left_out() {
        assert_eq!(
            without_code_places("Not found: a/b, c.lance, /root/lance-io/src/local.rs:273:40"),
            "Not found: a/b, c.lance"
        );
        assert_eq!(without_code_places("no, at x.rs:1"), "no, at x.rs:1");
    }
}
