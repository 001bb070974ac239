//! `CREATE HEAD name USING CLASSES set [OPTIONS (key = value, ...)] AS SELECT ...`

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use serde_json::{Map, Number, Value};

use super::train_options::{Recipe, TrainOptions, parse_widths};
use crate::error::HeadError;
use crate::{Error, Result};

/// A parsed `CREATE HEAD` statement.
#[derive(Debug, Clone, PartialEq)]
pub struct CreateHead {
    /// Name of the head.
    pub name: String,
    /// The class set, with `@VERSION` if one was named.
    pub class_set: String,
    /// What the head reads of a mask, in order, each a column of the SELECT; none for the tokens in `embedding`.
    pub vectors: Vec<String>,
    /// Training options.
    pub options: TrainOptions,
    /// The SELECT after AS.
    pub query: String,
}

impl CreateHead {
    /// Parses the statement; returns `None` if the text does not begin with `CREATE HEAD` or cannot be tokenised.
    ///
    /// Names may be quoted, and must be if they contain `@VERSION` or `-`. The options are the fields of
    /// [`TrainOptions`], `vectors = 'NAME,...'` and `recipe = 'paper'`, whose options the others replace.
    ///
    /// # Errors
    /// [`HeadError::CreateHead`] for a malformed statement or an unknown option; [`Error::InvalidOption`] for an option
    /// out of range.
    pub fn parse(sql: &str) -> Result<Option<Self>> {
        let fail = |err: ParserError| {
            let reason = match err {
                ParserError::ParserError(reason) | ParserError::TokenizerError(reason) => reason,
                ParserError::RecursionLimitExceeded => "it is nested too deep".to_owned(),
            };
            Error::Head(HeadError::CreateHead { reason })
        };
        let dialect = GenericDialect {};
        let Ok(mut parser) = Parser::new(&dialect).try_with_sql(sql) else {
            return Ok(None);
        };
        let is_head = |token: &Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case("head"));
        if !parser.parse_keyword(Keyword::CREATE) || !is_head(&parser.peek_token().token) {
            return Ok(None);
        }
        parser.next_token();
        parse_rest(&mut parser).map_err(fail)?.finish().map(Some)
    }
}

struct Parts {
    name: String,
    class_set: String,
    options: Map<String, Value>,
    query: String,
}

impl Parts {
    fn finish(mut self) -> Result<CreateHead> {
        let vectors = match self.options.remove("vectors") {
            None => Vec::new(),
            Some(Value::String(names)) => names.split(',').map(|it| it.trim().to_owned()).collect(),
            Some(other) => {
                return Err(Error::Head(HeadError::CreateHead {
                    reason: format!("OPTIONS: vectors: expected names in quotes, found {other}"),
                }));
            }
        };
        let bad = |reason: String| {
            Error::Head(HeadError::CreateHead {
                reason: format!("OPTIONS: {reason}"),
            })
        };
        let recipe = match self.options.remove("recipe") {
            None => Recipe::default(),
            Some(Value::String(name)) => name.parse()?,
            Some(other) => return Err(bad(format!("recipe: expected a name, found {other}"))),
        };
        let widths = match self.options.get("hidden") {
            Some(Value::String(widths)) => Some(parse_widths(widths)?),
            // One width is read as a number, in quotes or not.
            Some(Value::Number(width)) => Some(parse_widths(&width.to_string())?),
            _ => None,
        };
        if let Some(widths) = widths {
            self.options.insert("hidden".to_owned(), widths.into());
        }
        let mut options = serde_json::to_value(recipe.options())?;
        if let Value::Object(options) = &mut options {
            options.extend(self.options);
        }
        let options: TrainOptions =
            serde_json::from_value(options).map_err(|err| bad(err.to_string()))?;
        options.validate()?;
        Ok(CreateHead {
            name: self.name,
            class_set: self.class_set,
            vectors,
            options,
            query: self.query,
        })
    }
}

fn parse_rest(parser: &mut Parser<'_>) -> Result<Parts, ParserError> {
    let name = word(parser, "the head's name")?;
    parser.expect_keyword(Keyword::USING)?;
    let classes = word(parser, "CLASSES")?;
    if !classes.eq_ignore_ascii_case("classes") {
        return Err(ParserError::ParserError(format!(
            "expected CLASSES after USING, found {classes}"
        )));
    }
    let class_set = word(parser, "a class set")?;
    let mut options = Map::new();
    if parser.parse_keyword(Keyword::OPTIONS) {
        parser.expect_token(&Token::LParen)?;
        while parser.peek_token().token != Token::RParen {
            let key = word(parser, "an option")?;
            let _ = parser.consume_token(&Token::Eq);
            options.insert(key, value(parser)?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        parser.expect_token(&Token::RParen)?;
    }
    parser.expect_keyword(Keyword::AS)?;
    let query = parser.parse_query()?.to_string();
    let _ = parser.consume_token(&Token::SemiColon);
    parser.expect_token(&Token::EOF)?;
    Ok(Parts {
        name,
        class_set,
        options,
        query,
    })
}

fn word(parser: &mut Parser<'_>, what: &str) -> Result<String, ParserError> {
    match parser.next_token().token {
        Token::Word(word) => Ok(word.value),
        Token::SingleQuotedString(text) => Ok(text),
        other => Err(ParserError::ParserError(format!(
            "expected {what}, found {other}"
        ))),
    }
}

fn value(parser: &mut Parser<'_>) -> Result<Value, ParserError> {
    match parser.next_token().token {
        Token::Word(word) => Ok(Value::String(word.value)),
        Token::SingleQuotedString(text) => Ok(text
            .parse::<Number>()
            .map_or(Value::String(text), Value::Number)),
        Token::Number(text, _) => text
            .parse::<Number>()
            .map(Value::Number)
            .map_err(|_| ParserError::ParserError(format!("expected a number, found {text}"))),
        other => Err(ParserError::ParserError(format!(
            "expected a value, found {other}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::loss::Loss;
    use super::super::train_options::Pick;
    use super::*;

    #[test]
    fn a_statement_is_read() {
        let sql = "create HEAD h USING CLASSES 'pets@2' OPTIONS (loss = 'mil', epochs 3, a = 7.5, \
            vectors = 'dino, shape') AS SELECT * FROM masks;";
        let found = CreateHead::parse(sql).unwrap().unwrap();
        assert_eq!(
            (found.name.as_str(), found.class_set.as_str()),
            ("h", "pets@2")
        );
        assert_eq!(
            (found.options.loss, found.options.epochs, found.options.a),
            (Some(Loss::Mil), Some(3), 7.5)
        );
        assert_eq!(found.vectors, ["dino", "shape"]);
        assert_eq!(found.query, "SELECT * FROM masks");
        let sql = "CREATE HEAD h USING CLASSES c OPTIONS (recipe = 'paper', a = 5, hidden = '64, 32', dropout = 0.5) \
            AS SELECT 1";
        let options = CreateHead::parse(sql).unwrap().unwrap().options;
        assert_eq!(
            (options.loss, options.pick, options.a),
            (Some(Loss::MilDistill), Pick::Noisy, 5.0)
        );
        assert_eq!((options.hidden, options.dropout), (vec![64, 32], 0.5));
        for one in ["64", "'64'"] {
            let sql = format!("CREATE HEAD h USING CLASSES c OPTIONS (hidden = {one}) AS SELECT 1");
            let options = CreateHead::parse(&sql).unwrap().unwrap().options;
            assert_eq!(options.hidden, [64]);
        }
        assert_eq!(CreateHead::parse("SELECT 1").unwrap(), None);
        assert_eq!(CreateHead::parse("CREATE TABLE t (a INT)").unwrap(), None);
    }

    #[test]
    fn mistakes_are_named() {
        for (sql, part) in [
            ("CREATE HEAD h AS SELECT 1", "USING"),
            (
                "CREATE HEAD h USING CLASSES c OPTIONS (epoch = 3) AS SELECT 1",
                "unknown field `epoch`",
            ),
            (
                "CREATE HEAD h USING CLASSES c OPTIONS (epochs = 0) AS SELECT 1",
                "number of epochs",
            ),
            (
                "CREATE HEAD h USING CLASSES c OPTIONS (recipe = 'mine') AS SELECT 1",
                "default or paper",
            ),
            (
                "CREATE HEAD h USING CLASSES c OPTIONS (hidden = '64,x') AS SELECT 1",
                "'x' is not a width of a hidden layer",
            ),
            (
                "CREATE HEAD h USING CLASSES c AS SELECT 1 SELECT 2",
                "SELECT",
            ),
        ] {
            let message = CreateHead::parse(sql).unwrap_err().to_string();
            assert!(message.contains(part), "{sql}: {message}");
        }
    }
}
