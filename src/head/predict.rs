//! `predict('HEAD', embedding) -> STRUCT<class, score, entropy, disagreement>` and
//! `predict_scores('HEAD', embedding) -> FLOAT[]`: heads in SQL.
//!
//! A head over vectors takes its inputs in its own order. One more argument, the column `extractor_id`, makes them reject
//! masks of extractors that the head was not trained on.

#[cfg(feature = "cluster")]
mod bytes;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, ListArray, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use serde::{Deserialize, Serialize};

#[cfg(feature = "cluster")]
pub(crate) use bytes::{predict_from_bytes, predict_to_bytes};

use super::predictor::{MaskPredictor, PredictedMasks};
use super::weights::load_head;
use crate::Result;
use crate::catalogue::with_prompted;
use crate::ids::ExtractorId;
use crate::schema::{EMBEDDER_KEY, list_item};
use crate::sql::Sql;
use crate::store::Snapshot;

/// Registers `predict` and `predict_scores` in a session, with the heads that an SQL text names.
///
/// # Errors
/// [`crate::error::CatalogueError`] for a head that is not in the store; [`crate::error::HeadError::Unusable`] for one
/// without usable weights.
pub async fn register_predict(sql: &Sql, snapshot: &Snapshot, text: &str) -> Result<()> {
    let mut heads = HashMap::new();
    for name in heads_named(text) {
        let head = load_head(snapshot, &name).await?;
        let extractors = with_prompted(snapshot, &head.row.extractor_id).await?;
        let predictor = MaskPredictor::new(head)?;
        let ready = Ready {
            predictor,
            extractors,
        };
        heads.insert(name, ready);
    }
    let heads = Arc::new(Heads(heads));
    for kind in [Kind::Best, Kind::Scores] {
        sql.register_function(ScalarUDF::from(Predict::new(kind, heads.clone())));
    }
    Ok(())
}

/// Names of the heads in an SQL text's calls of `predict` and `predict_scores`.
fn heads_named(text: &str) -> BTreeSet<String> {
    let tokens = Tokenizer::new(&GenericDialect {}, text).tokenize();
    // A text that cannot be tokenised cannot be planned either, and planning reports that.
    let tokens: Vec<Token> = tokens
        .unwrap_or_default()
        .into_iter()
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    let named = tokens.windows(3).filter_map(|three| match three {
        [
            Token::Word(word),
            Token::LParen,
            Token::SingleQuotedString(name),
        ] if ["predict", "predict_scores"].contains(&word.value.to_lowercase().as_str()) => {
            Some(name.clone())
        }
        _ => None,
    });
    named.collect()
}

#[derive(Debug)]
struct Heads(HashMap<String, Ready>);

#[derive(Debug)]
struct Ready {
    predictor: MaskPredictor,
    /// The extractors whose masks it predicts.
    extractors: Vec<ExtractorId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Kind {
    Best,
    Scores,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Best => "predict",
            Self::Scores => "predict_scores",
        }
    }

    fn return_type(self) -> DataType {
        match self {
            Self::Best => DataType::Struct(best_fields()),
            Self::Scores => DataType::List(score_item()),
        }
    }

    fn documentation(self) -> Documentation {
        let about = match self {
            Self::Best => {
                "The class a head gives a mask, its probability, the entropy of all probabilities in nats, and how far the head's members disagree (mutual information in nats; 0 for one member)."
            }
            Self::Scores => {
                "The probability that a head gives each class, in the class set's order."
            }
        };
        let call = format!("{}('head', embedding[, ...][, extractor_id])", self.name());
        Documentation::builder(DocSection::default(), about, call)
            .with_argument("head", "Name or id of a head, in quotes.")
            .with_argument(
                "embedding",
                "masks.embedding or, for a head over vectors, its inputs in their order: vectors.NAME's vector, mask_shape(...).",
            )
            .with_argument(
                "extractor_id",
                "masks.extractor_id: masks of another extractor are an error.",
            )
            .build()
    }
}

fn best_fields() -> Fields {
    Fields::from(vec![
        Field::new("class", DataType::Utf8, false),
        Field::new("score", DataType::Float32, false),
        Field::new("entropy", DataType::Float32, false),
        Field::new("disagreement", DataType::Float32, false),
    ])
}

fn score_item() -> Arc<Field> {
    list_item(DataType::Float32)
}

#[derive(Debug)]
struct Predict {
    kind: Kind,
    heads: Arc<Heads>,
    signature: Signature,
    documentation: Documentation,
}

impl Predict {
    fn new(kind: Kind, heads: Arc<Heads>) -> Self {
        Self {
            kind,
            heads,
            signature: Signature::variadic_any(Volatility::Stable),
            documentation: kind.documentation(),
        }
    }
}

impl PartialEq for Predict {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.heads, &other.heads)
    }
}

impl Eq for Predict {}

impl std::hash::Hash for Predict {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

impl ScalarUDFImpl for Predict {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(self.kind.return_type())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let rows = args.number_rows;
        let bad =
            |reason: String| DataFusionError::Execution(format!("{}: {reason}", self.kind.name()));
        let (head, rest) = args
            .args
            .split_first()
            .ok_or_else(|| bad("expected a head and an embedding".to_owned()))?;
        let name = match head {
            ColumnarValue::Scalar(
                ScalarValue::Utf8(Some(name))
                | ScalarValue::LargeUtf8(Some(name))
                | ScalarValue::Utf8View(Some(name)),
            ) => name,
            _ => {
                return Err(bad(
                    "the first argument must be a head's name in quotes".to_owned()
                ));
            }
        };
        let Ready {
            predictor: ready,
            extractors: known,
        } = self.heads.0.get(name).ok_or_else(|| {
            bad(format!(
                "head '{name}' is not loaded; write its name in quotes"
            ))
        })?;
        let mut columns = Vec::new();
        for value in rest {
            columns.push(value.to_array(rows)?);
        }
        let inputs = ready.head().spec.head.input_dims().len();
        let is_text = |column: &ArrayRef| {
            use DataType::{LargeUtf8, Utf8, Utf8View};
            matches!(column.data_type(), Utf8 | LargeUtf8 | Utf8View)
        };
        if columns.len() == inputs + 1
            && let Some(extractors) = columns.pop_if(|last| is_text(last))
        {
            let extractors = arrow::compute::cast(&extractors, &DataType::Utf8)?;
            for extractor in extractors.as_string::<i32>().iter().flatten() {
                if known.iter().any(|id| id.as_str() == extractor) {
                    continue;
                }
                let checked = ready.head().check_extractor(extractor);
                checked.map_err(|err| DataFusionError::External(Box::new(err)))?;
            }
        }
        let stored = serde_json::from_str::<Vec<String>>(&ready.head().row.inputs);
        let stored = stored.map_err(|err| bad(err.to_string()))?;
        for (at, input) in stored.iter().enumerate() {
            // The columns of vectors say whose they are; what is computed from them does not.
            let given = args.arg_fields.get(at + 1);
            let given = given.and_then(|field| field.metadata().get(EMBEDDER_KEY));
            if let Some(given) = given.filter(|given| *given != input) {
                return Err(bad(format!(
                    "argument {} of head '{name}' is '{input}', found vectors of embedder '{given}'",
                    at + 2
                )));
            }
        }
        let predicted = ready.predict(&columns).map_err(bad)?;
        Ok(ColumnarValue::Array(match self.kind {
            Kind::Best => best(predicted, &ready.head().spec.head.classes),
            Kind::Scores => scores(predicted),
        }))
    }
}

fn best(predicted: PredictedMasks, names: &[String]) -> ArrayRef {
    let (mut classes, mut scores) = (Vec::new(), Vec::new());
    for (class, score) in predicted.best() {
        classes.push(names.get(class).map_or("", String::as_str));
        scores.push(score);
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(classes)),
        Arc::new(Float32Array::from(scores)),
        Arc::new(Float32Array::from(predicted.entropy)),
        Arc::new(Float32Array::from(predicted.disagreement)),
    ];
    Arc::new(StructArray::new(best_fields(), columns, predicted.nulls))
}

fn scores(predicted: PredictedMasks) -> ArrayRef {
    let masks = predicted.entropy.len();
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(predicted.classes, masks));
    let values = Arc::new(Float32Array::from(predicted.scores));
    Arc::new(ListArray::new(
        score_item(),
        offsets,
        values,
        predicted.nulls,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_in_calls_alone() {
        let sql = "SELECT predict('a', embedding).class, PREDICT_SCORES ( 'b' , e), 'predict(''c'')' \
            -- predict('d', x)\nFROM masks WHERE predict.x = 'e'";
        let names: Vec<String> = heads_named(sql).into_iter().collect();
        assert_eq!(names, ["a", "b"]);
    }
}
