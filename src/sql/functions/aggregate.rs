//! How the aggregate functions are declared to DataFusion.

use std::hash::{Hash, Hasher};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, Signature,
    Volatility,
};

use super::kept_rows::{KeptRows, OfRows, OneGroup, state};
use super::rle_function::wrong_arguments;

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// An aggregate function.
pub(super) struct Aggregate {
    pub name: &'static str,
    /// The result's type for the types of the arguments; `None` if these do not fit.
    pub result: fn(&[DataType]) -> Option<DataType>,
    /// Makes an accumulator for a result of the given type.
    pub accumulator: fn(&DataType) -> Box<dyn Accumulator>,
    /// Makes an accumulator for many groups at once, for a function that has one.
    pub groups: Option<fn() -> Box<dyn GroupsAccumulator>>,
    /// The fields of the state that accumulators exchange, for a result of the given type.
    pub state: fn(&DataType) -> Vec<FieldRef>,
    pub documentation: Documentation,
}

impl Aggregate {
    /// A function of all rows of a group.
    pub fn of_rows<F: OfRows>(
        result: fn(&[DataType]) -> Option<DataType>,
        documentation: Documentation,
    ) -> Self {
        Self {
            name: F::NAME,
            result,
            accumulator: |_| Box::new(OneGroup::<F>::default()),
            groups: Some(|| Box::new(KeptRows::<F>::default())),
            state: |_| state::<F>(),
            documentation,
        }
    }
}

impl From<Aggregate> for AggregateUDF {
    fn from(function: Aggregate) -> Self {
        Declared {
            function,
            signature: Signature::user_defined(Volatility::Immutable),
        }
        .into()
    }
}

struct Declared {
    function: Aggregate,
    signature: Signature,
}

impl std::fmt::Debug for Declared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.function.name)
    }
}

impl PartialEq for Declared {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name
    }
}

impl Eq for Declared {}

impl Hash for Declared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.name.hash(state);
    }
}

impl AggregateUDFImpl for Declared {
    fn name(&self) -> &str {
        self.function.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Accepts all types; `return_type` checks them, because DataFusion keeps the text of its errors.
    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let Aggregate {
            name,
            documentation,
            ..
        } = &self.function;
        (self.function.result)(given).ok_or_else(|| wrong_arguments(name, documentation, given))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok((self.function.accumulator)(args.return_field.data_type()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok((self.function.state)(args.return_field.data_type()))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        self.function.groups.is_some()
    }

    fn create_groups_accumulator(
        &self,
        _args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let groups = self.function.groups.ok_or_else(|| {
            DataFusionError::Internal(format!("{} has one group at a time", self.function.name))
        })?;
        Ok(groups())
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.function.documentation)
    }
}
