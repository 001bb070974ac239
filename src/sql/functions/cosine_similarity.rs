//! `cosine_similarity(embedding, embedding) -> FLOAT`.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::arguments::named;
use super::rle_function::wrong_arguments;
use crate::store::columns::{EmbeddingColumn, WideEmbeddings, is_embedding};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "cosine_similarity";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "How alike the directions of two embeddings are, from -1 to 1; null if one of them is null or all zeros.",
        "cosine_similarity(embedding, embedding)",
    )
    .with_argument("first", "An embedding: masks.embedding, or a mean of some.")
    .with_argument("second", "An embedding of as many numbers.")
    .build()
});

pub(super) fn function() -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    CosineSimilarity { signature }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CosineSimilarity {
    signature: Signature,
}

impl ScalarUDFImpl for CosineSimilarity {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        match given {
            [first, second] if is_embedding(first) && is_embedding(second) => Ok(DataType::Float32),
            _ => Err(wrong_arguments(NAME, &DOCUMENTATION, given)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let column = |at: usize| -> Result<WideEmbeddings> {
            let value = args.args.get(at);
            let value =
                value.ok_or_else(|| DataFusionError::Execution("expected two".to_owned()))?;
            Ok(EmbeddingColumn::new(&value.to_array(rows)?)?.widen())
        };
        let run = || -> Result<Float32Array> {
            let (first, second) = (column(0)?, column(1)?);
            if first.dim() != second.dim() {
                return Err(DataFusionError::Execution(format!(
                    "embeddings of {} and {} numbers",
                    first.dim(),
                    second.dim()
                )));
            }
            Ok((0..rows)
                .map(|row| similarity(first.get(row)?, second.get(row)?))
                .collect())
        };
        let found = run().map_err(|err| named(NAME, err))?;
        Ok(ColumnarValue::Array(Arc::new(found) as ArrayRef))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

#[allow(
    clippy::indexing_slicing,
    reason = "eight sums, and chunks of eight numbers at most"
)]
fn similarity(a: &[f32], b: &[f32]) -> Option<f32> {
    // Eight sums side by side, so that the compiler can vectorise them.
    let mut sums = [[0f32; 8]; 3];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for (at, (a, b)) in a.iter().zip(b).enumerate() {
            sums[0][at] += a * b;
            sums[1][at] += a * a;
            sums[2][at] += b * b;
        }
    }
    let [both, first, second] = sums.map(|sums| sums.iter().sum::<f32>());
    let length = (first * second).sqrt();
    (length > 0.0).then(|| both / length)
}
