//! Statements of a text: where each ends, and whether the last one does.

use anyhow::Context;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// The statements of a text, without their semicolons.
pub fn split(text: &str) -> anyhow::Result<Vec<String>> {
    let tokens = Tokenizer::new(&GenericDialect {}, text)
        .with_unescape(false)
        .tokenize()
        .context("the statement cannot be read")?;
    let statements = tokens.split(|token| *token == Token::SemiColon);
    let said = statements.filter(|tokens| tokens.iter().any(says_something));
    Ok(said
        .map(|tokens| tokens.iter().map(ToString::to_string).collect())
        .collect())
}

/// Whether a text ends within a quotation or a comment.
pub fn is_within_quotation(text: &str) -> bool {
    Tokenizer::new(&GenericDialect {}, text).tokenize().is_err()
}

/// Whether a text is all of its statements: it has none, or the last ends with a semicolon.
pub fn is_whole(text: &str) -> bool {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, text).tokenize() else {
        return false;
    };
    let last = tokens.iter().rfind(|token| says_something(token));
    last.is_none_or(|token| *token == Token::SemiColon)
}

fn says_something(token: &Token) -> bool {
    !matches!(token, Token::Whitespace(_) | Token::EOF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_with_semicolons_outside_quotations() {
        let text = "SELECT ';' AS \"a;b\", 'it''s' -- not; here\n FROM t; SELECT 2;";
        let found = split(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].trim(), "SELECT 2");
        assert!(found[0].contains("';' AS \"a;b\", 'it''s'"), "{}", found[0]);
        assert_eq!(split(" ;; -- nothing\n").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_text_is_whole_when_its_last_statement_is() {
        for whole in ["", "  -- nothing", "SELECT 1;", "SELECT 1; -- done"] {
            assert!(is_whole(whole), "{whole}");
        }
        for open in ["SELECT", "SELECT 'a;", "SELECT 1; SELECT", "/* ;"] {
            assert!(!is_whole(open), "{open}");
        }
    }
}
