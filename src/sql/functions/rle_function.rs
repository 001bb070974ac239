//! The base of the scalar functions of masks: a name, masks as arguments, and a kernel over columns.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::arguments::{error_in_row, named};
use crate::geometry::Rle;
use crate::store::columns::{RleColumn, is_rle};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// A function of one or two masks, with an optional flag.
#[derive(Debug)]
pub(super) struct RleFunction {
    pub name: &'static str,
    /// Number of masks it takes, 1 or 2.
    pub masks: usize,
    /// Whether a BOOLEAN may follow the masks.
    pub takes_flag: bool,
    pub return_type: DataType,
    pub kernel: fn(&MaskArguments) -> Result<ArrayRef>,
    pub documentation: Documentation,
    pub signature: Signature,
}

impl RleFunction {
    /// The signature of every function here: types are checked in [`ScalarUDFImpl::return_type`].
    pub fn any_masks() -> Signature {
        Signature::user_defined(Volatility::Immutable)
    }
}

impl PartialEq for RleFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for RleFunction {}

impl Hash for RleFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for RleFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Accepts all types; `return_type` checks them, because DataFusion keeps the text of its errors.
    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let counts_fit =
            given.len() == self.masks || self.takes_flag && given.len() == self.masks + 1;
        let mask = |t: &DataType| is_rle(t) || t == &DataType::Null;
        let flag = |t: &DataType| matches!(t, DataType::Boolean | DataType::Null);
        let fits = counts_fit
            && given.iter().take(self.masks).all(mask)
            && given.iter().skip(self.masks).all(flag);
        if fits {
            return Ok(self.return_type.clone());
        }
        Err(wrong_arguments(self.name, &self.documentation, given))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let all_scalar = args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let masks = args.args.iter().take(self.masks);
        let masks = masks.map(|mask| MaskArgument::new(mask, !all_scalar));
        let arguments = MaskArguments {
            masks: masks
                .collect::<Result<_>>()
                .map_err(|err| named(self.name, err))?,
            flag: args
                .args
                .get(self.masks)
                .map(|flag| flag.to_array(args.number_rows))
                .transpose()?,
            rows: if all_scalar { 1 } else { args.number_rows },
        };
        let result = (self.kernel)(&arguments).map_err(|err| named(self.name, err))?;
        Ok(if all_scalar {
            ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&result, 0)?)
        } else {
            ColumnarValue::Array(result)
        })
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&self.documentation)
    }
}

/// The error for arguments of the wrong number or types.
pub(super) fn wrong_arguments(
    function: &str,
    documentation: &Documentation,
    given: &[DataType],
) -> DataFusionError {
    let types: Vec<_> = given.iter().map(ToString::to_string).collect();
    DataFusionError::Plan(format!(
        "{function}: expected {}, found ({})",
        documentation.syntax_example,
        types.join(", ")
    ))
}

/// The arguments of one call.
pub(super) struct MaskArguments {
    masks: Vec<MaskArgument>,
    flag: Option<ArrayRef>,
    rows: usize,
}

enum MaskArgument {
    Column(Box<RleColumn>),
    /// The same mask for every row, parsed once.
    Constant(Option<Rle>),
}

impl MaskArgument {
    fn new(value: &ColumnarValue, others_are_columns: bool) -> Result<Self> {
        match value {
            ColumnarValue::Array(array) => Ok(Self::Column(Box::new(RleColumn::new(array)?))),
            ColumnarValue::Scalar(scalar) if others_are_columns => {
                Ok(Self::Constant(RleColumn::new(&scalar.to_array()?)?.get(0)?))
            }
            ColumnarValue::Scalar(scalar) => {
                Ok(Self::Column(Box::new(RleColumn::new(&scalar.to_array()?)?)))
            }
        }
    }

    fn get(&self, row: usize) -> Result<Option<Cow<'_, Rle>>> {
        match self {
            Self::Column(column) => Ok(column.get(row)?.map(Cow::Owned)),
            Self::Constant(mask) => Ok(mask.as_ref().map(Cow::Borrowed)),
        }
    }
}

impl MaskArguments {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Applies `f` to the only mask of every row.
    pub fn map<T>(&self, mut f: impl FnMut(&Rle) -> T) -> impl Iterator<Item = Result<Option<T>>> {
        let [mask] = &self.masks[..] else {
            unreachable!("return_type lets no call through without its masks")
        };
        (0..self.rows).map(move |row| Ok(mask.get(row)?.map(|mask| f(&mask))))
    }

    /// Whether the only mask of every row can be read; `None` for a null mask.
    pub fn validity(&self) -> impl Iterator<Item = Option<bool>> {
        let [mask] = &self.masks[..] else {
            unreachable!("return_type lets no call through without its masks")
        };
        (0..self.rows).map(move |row| match mask.get(row) {
            Ok(mask) => mask.map(|_| true),
            Err(_) => Some(false),
        })
    }

    /// Applies `f` to the two masks of every row.
    pub fn map_pairs<T>(
        &self,
        mut f: impl FnMut(usize, &Rle, &Rle) -> crate::Result<T>,
    ) -> impl Iterator<Item = Result<Option<T>>> {
        let [left, right] = &self.masks[..] else {
            unreachable!("return_type lets no call through without its masks")
        };
        (0..self.rows).map(move |row| match (left.get(row)?, right.get(row)?) {
            (Some(left), Some(right)) => f(row, &left, &right)
                .map(Some)
                .map_err(|err| error_in_row(row, &err)),
            _ => Ok(None),
        })
    }

    /// The flag of a row; false if it is null or was not given.
    pub fn flag(&self, row: usize) -> bool {
        use arrow::array::AsArray;
        let flags = self.flag.as_ref().and_then(|flags| flags.as_boolean_opt());
        flags.is_some_and(|flags| flags.is_valid(row) && flags.value(row))
    }
}
