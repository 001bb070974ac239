//! `bootstrap_weight(seed, replicate, ordinal) -> BIGINT`: how often an item is drawn into a bootstrap sample.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::rle_function::wrong_arguments;

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "bootstrap_weight";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "How often an item is drawn into a bootstrap sample: a number of a Poisson distribution of mean 1, the same for the \
         same three numbers.",
        "bootstrap_weight(seed, replicate, ordinal)",
    )
    .with_argument("seed", "BIGINT: of all samples.")
    .with_argument("replicate", "BIGINT: which sample.")
    .with_argument("ordinal", "BIGINT: which item.")
    .build()
});

pub(super) fn function() -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    BootstrapWeight { signature }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BootstrapWeight {
    signature: Signature,
}

impl ScalarUDFImpl for BootstrapWeight {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        if given.len() == 3 && given.iter().all(|t| t.is_integer() || t == &DataType::Null) {
            Ok(vec![DataType::Int64; 3])
        } else {
            Err(wrong_arguments(NAME, &DOCUMENTATION, given))
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut columns = Vec::with_capacity(3);
        for value in &args.args {
            let column = cast(&value.to_array(args.number_rows)?, &DataType::Int64)?;
            columns.push(column.as_primitive::<Int64Type>().clone());
        }
        let [seeds, replicates, ordinals] = &columns[..] else {
            return Err(DataFusionError::Execution(format!(
                "{NAME}: expected three numbers"
            )));
        };
        let weights: Int64Array = (0..args.number_rows)
            .map(|row| {
                let valid = columns.iter().all(|column| column.is_valid(row));
                let numbers = [seeds.value(row), replicates.value(row), ordinals.value(row)];
                valid.then(|| poisson(uniform(numbers)))
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(weights) as ArrayRef))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// A pseudorandom number in [0, 1) that three others determine (splitmix64 over each in turn).
fn uniform(numbers: [i64; 3]) -> f64 {
    let mut state = 0u64;
    for number in numbers {
        state = (state ^ number as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        state ^= state >> 31;
    }
    (state >> 11) as f64 / (1u64 << 53) as f64
}

/// The quantile of a Poisson distribution of mean 1 at `share`, at most 20.
fn poisson(share: f64) -> i64 {
    let (mut count, mut chance) = (0, (-1f64).exp());
    let mut below = chance;
    while share >= below && count < 20 {
        count += 1;
        chance /= count as f64;
        below += chance;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_mean_and_variance_one() {
        let drawn: Vec<f64> = (0..200)
            .flat_map(|replicate| (0..500).map(move |item| poisson(uniform([7, replicate, item]))))
            .map(|weight| weight as f64)
            .collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let variance = drawn.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / drawn.len() as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert!((variance - 1.0).abs() < 0.03, "{variance}");
        assert_eq!(poisson(0.0), 0);
        assert_eq!(poisson(1.0), 20);
        assert_ne!(uniform([0, 1, 2]), uniform([0, 2, 1]));
    }
}
