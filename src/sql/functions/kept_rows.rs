//! Aggregate functions that look at all rows of a group at once: the rows are kept as they come, for all groups together,
//! and values are computed in the end.
//!
//! An accumulator for each group, as DataFusion makes of other functions, would hold several small arrays for each: with an
//! image a group, these take more memory than the masks.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, StructArray, new_empty_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{concat, filter, interleave};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::arguments::{missing_columns, named};
use crate::schema::list_item;

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

/// Groups that are gathered at once.
const GROUPS: usize = 4096;
/// Rows up to which nothing is folded.
const FEW_ROWS: usize = 65_536;

/// An aggregate function of all rows of a group.
pub(super) trait OfRows: std::fmt::Debug + Send + Sync + 'static {
    /// The function's name.
    const NAME: &'static str;
    /// Whether [`OfRows::folded`] can be called.
    const FOLDS: bool;

    /// The columns that are kept of each row.
    fn fields() -> Fields;

    /// These columns, computed from the arguments.
    ///
    /// # Errors
    /// A description of what is wrong with the arguments.
    fn kept(given: &[ArrayRef]) -> Result<Vec<ArrayRef>>;

    /// The value of each group.
    ///
    /// # Errors
    /// A description of what is wrong with a row.
    fn values(groups: &Groups) -> Result<ArrayRef>;

    /// For each group a row that says as much as all its rows, so that large groups need not be kept.
    ///
    /// # Errors
    /// As [`OfRows::values`].
    fn folded(groups: &Groups) -> Result<Vec<ArrayRef>> {
        Ok(groups.columns.clone())
    }
}

/// The rows of some groups, one group behind the other.
pub(super) struct Groups {
    columns: Vec<ArrayRef>,
    offsets: Vec<usize>,
}

impl Groups {
    /// The rows of each group.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range<usize>> {
        self.offsets.array_windows().map(|[from, to]| *from..*to)
    }

    /// The columns of all rows.
    pub fn columns<const N: usize>(&self) -> Result<&[ArrayRef; N]> {
        let columns = self.columns.as_slice().try_into();
        columns.map_err(|_| missing_columns())
    }
}

/// The field of the state that accumulators exchange: the kept rows.
pub(super) fn state<F: OfRows>() -> Vec<FieldRef> {
    let rows = DataType::List(list_item(DataType::Struct(F::fields())));
    vec![Arc::new(Field::new("rows", rows, true))]
}

/// Where a row is: its batch, and its place there.
type Place = (usize, usize);

/// The kept rows of all groups.
#[derive(Debug)]
pub(super) struct KeptRows<F> {
    batches: Vec<Vec<ArrayRef>>,
    groups: Vec<Vec<Place>>,
    rows: usize,
    /// Memory of the batches, in bytes.
    bytes: usize,
    function: PhantomData<F>,
}

impl<F> Default for KeptRows<F> {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            groups: Vec::new(),
            rows: 0,
            bytes: 0,
            function: PhantomData,
        }
    }
}

impl<F: OfRows> KeptRows<F> {
    /// Keeps a batch, of which each group has some places.
    fn add(
        &mut self,
        columns: Vec<ArrayRef>,
        places: impl Iterator<Item = (usize, Range<usize>)>,
        groups: usize,
    ) -> Result<()> {
        let groups = self.groups.len().max(groups);
        self.groups.resize(groups, Vec::new());
        let batch = self.push(columns)?;
        for (group, rows) in places {
            if let Some(group) = self.groups.get_mut(group) {
                self.rows += rows.len();
                group.extend(rows.map(|row| (batch, row)));
            }
        }
        if self.rows > FEW_ROWS && self.rows > 2 * groups {
            self.fold()?;
        }
        Ok(())
    }

    /// Keeps a batch; its number.
    fn push(&mut self, columns: Vec<ArrayRef>) -> Result<usize> {
        for column in &columns {
            // Not of whole buffers: a batch can be a slice of a large one.
            self.bytes += column.to_data().get_slice_memory_size()?;
        }
        self.batches.push(columns);
        Ok(self.batches.len() - 1)
    }

    /// Copies of the rows of some groups.
    fn gathered(&self, groups: &[Vec<Place>]) -> Result<Groups> {
        let places = groups.concat();
        let fields = F::fields();
        let columns = fields.iter().enumerate().map(|(at, field)| {
            let parts = self.batches.iter().filter_map(|batch| batch.get(at));
            let parts: Vec<&dyn Array> = parts.map(AsRef::as_ref).collect();
            if parts.is_empty() {
                return Ok(new_empty_array(field.data_type()));
            }
            Ok(interleave(&parts, &places)?)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut offsets = vec![0];
        let mut end = 0;
        offsets.extend(groups.iter().map(|rows| {
            end += rows.len();
            end
        }));
        Ok(Groups { columns, offsets })
    }

    /// Makes one row of the rows of each group, if the function can.
    fn fold(&mut self) -> Result<()> {
        if !F::FOLDS {
            return Ok(());
        }
        let mut folded = Self::default();
        for part in self.groups.chunks(GROUPS) {
            let batch = folded.push(F::folded(&self.gathered(part)?)?)?;
            let rows = (0..part.len()).map(|row| vec![(batch, row)]);
            folded.groups.extend(rows);
        }
        folded.rows = folded.groups.len();
        *self = folded;
        Ok(())
    }

    /// Takes groups out of what is kept, and computes something of a part of them at a time.
    fn taken<T>(
        &mut self,
        emit_to: EmitTo,
        at_once: usize,
        mut each: impl FnMut(Groups) -> Result<T>,
    ) -> Result<Vec<T>> {
        let groups = emit_to.take_needed(&mut self.groups);
        let mut found = Vec::new();
        for part in groups.chunks(at_once.max(1)) {
            found.push(each(self.gathered(part)?)?);
        }
        let mut rest = Self::default();
        for part in self.groups.chunks(GROUPS) {
            let rows = self.gathered(part)?;
            let ranges: Vec<Range<usize>> = rows.iter().collect();
            let batch = rest.push(rows.columns)?;
            let places = ranges.into_iter().map(|rows| rows.map(|row| (batch, row)));
            rest.groups.extend(places.map(Iterator::collect::<Vec<_>>));
        }
        rest.rows = rest.groups.iter().map(Vec::len).sum();
        *self = rest;
        Ok(found)
    }

    fn evaluated(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let values = self.taken(emit_to, GROUPS, |groups| F::values(&groups))?;
        if values.is_empty() {
            let none = self.gathered(&[])?;
            return F::values(&none);
        }
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        Ok(concat(&values)?)
    }

    fn rows_of(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        if self.rows > self.groups.len() {
            self.fold()?;
        }
        let mut all = self.taken(emit_to, usize::MAX, as_list::<F>)?;
        match all.pop() {
            Some(list) => Ok(list),
            None => as_list::<F>(self.gathered(&[])?),
        }
    }
}

/// Groups as a column of lists.
fn as_list<F: OfRows>(groups: Groups) -> Result<ArrayRef> {
    let lengths = OffsetBuffer::from_lengths(groups.iter().map(|rows| rows.len()));
    list_of(F::fields(), groups.columns, lengths, None)
}

/// A column of lists of structs, of the columns of all their items.
///
/// # Errors
/// If the columns are not those of the fields.
pub(super) fn list_of(
    fields: Fields,
    columns: Vec<ArrayRef>,
    offsets: OffsetBuffer<i32>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let rows = StructArray::try_new(fields, columns, None)?;
    let item = list_item(rows.data_type().clone());
    let list = ListArray::try_new(item, offsets, Arc::new(rows), nulls)?;
    Ok(Arc::new(list))
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn first(columns: &[ArrayRef]) -> Result<&ArrayRef> {
    columns.first().ok_or_else(missing_columns)
}

impl<F: OfRows> GroupsAccumulator for KeptRows<F> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let mut columns = F::kept(values).map_err(|err| named(F::NAME, err))?;
        if let Some(passing) = opt_filter {
            let passed = columns.iter().map(|column| filter(column, passing));
            columns = passed.collect::<Result<_, _>>()?;
        }
        let places = group_indices.iter().enumerate();
        let places = places.filter(|(row, _)| passes(opt_filter, *row));
        let places = places
            .enumerate()
            .map(|(row, (_, group))| (*group, row..row + 1));
        self.add(columns, places, total_num_groups)
            .map_err(|err| named(F::NAME, err))
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.evaluated(emit_to).map_err(|err| named(F::NAME, err))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let rows = self.rows_of(emit_to);
        Ok(vec![rows.map_err(|err| named(F::NAME, err))?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let lists = first(values)?.as_list::<i32>();
        let offsets = lists.value_offsets();
        // A slice of lists has the items of all.
        let start = offsets.first().map_or(0, |first| *first as usize);
        let end = offsets.last().map_or(0, |last| *last as usize);
        let places = group_indices
            .iter()
            .zip(offsets.array_windows())
            .enumerate();
        let places = places
            .filter(|(row, _)| lists.is_valid(*row) && passes(opt_filter, *row))
            .map(|(_, (group, [from, to]))| (*group, *from as usize - start..*to as usize - start));
        let items = lists.values().slice(start, end - start);
        let columns = items.as_struct().columns().to_vec();
        self.add(columns, places, total_num_groups)
            .map_err(|err| named(F::NAME, err))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let columns = F::kept(values).map_err(|err| named(F::NAME, err))?;
        let rows = first(&columns)?.len();
        let nulls =
            opt_filter.map(|_| NullBuffer::from_iter((0..rows).map(|row| passes(opt_filter, row))));
        let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(1, rows));
        Ok(vec![list_of(F::fields(), columns, offsets, nulls)?])
    }

    fn supports_convert_to_state(&self) -> bool {
        true
    }

    fn size(&self) -> usize {
        // A list of places begins with room for four.
        let lists = self.groups.len() * (size_of::<Vec<Place>>() + 4 * size_of::<Place>());
        size_of_val(self) + self.bytes + lists + self.rows * size_of::<Place>()
    }
}

/// The rows of one group, for a query without groups and for windows, which want a value again and again.
#[derive(Debug)]
pub(super) struct OneGroup<F>(KeptRows<F>);

impl<F: OfRows> Default for OneGroup<F> {
    fn default() -> Self {
        let mut rows = KeptRows::default();
        rows.groups.push(Vec::new());
        Self(rows)
    }
}

impl<F: OfRows> OneGroup<F> {
    fn all(&self) -> Result<Groups> {
        self.0.gathered(&self.0.groups)
    }

    fn value(&self) -> Result<ScalarValue> {
        ScalarValue::try_from_array(&F::values(&self.all()?)?, 0)
    }

    /// Makes one row of what is there: DataFusion sums up how much an accumulator grows, and not by how much it shrinks.
    fn folded(&mut self, updated: Result<()>) -> Result<()> {
        updated?;
        self.0.fold().map_err(|err| named(F::NAME, err))
    }
}

impl<F: OfRows> Accumulator for OneGroup<F> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        let updated = self.0.update_batch(values, &vec![0; rows], None, 1);
        self.folded(updated)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |column| column.len());
        let merged = self.0.merge_batch(states, &vec![0; rows], None, 1);
        self.folded(merged)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = as_list::<F>(self.all()?)?;
        Ok(vec![ScalarValue::try_from_array(&list, 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.value().map_err(|err| named(F::NAME, err))
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::compute::sum;
    use arrow::datatypes::Int64Type;

    use super::*;

    /// A sum, which keeps its numbers.
    #[derive(Debug)]
    struct Sum<const FOLDS: bool>;

    impl<const FOLDS: bool> OfRows for Sum<FOLDS> {
        const NAME: &'static str = "sum_of_rows";
        const FOLDS: bool = FOLDS;

        fn fields() -> Fields {
            Fields::from(vec![Field::new("number", DataType::Int64, true)])
        }

        fn kept(given: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
            Ok(given.to_vec())
        }

        fn values(groups: &Groups) -> Result<ArrayRef> {
            let [numbers] = groups.columns()?;
            let numbers = numbers.as_primitive::<Int64Type>();
            let sums = groups
                .iter()
                .map(|rows| sum(&numbers.slice(rows.start, rows.len())));
            Ok(Arc::new(Int64Array::from_iter(sums)))
        }

        fn folded(groups: &Groups) -> Result<Vec<ArrayRef>> {
            Ok(vec![Self::values(groups)?])
        }
    }

    fn numbers(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(numbers))
    }

    fn read(values: &ArrayRef) -> Vec<Option<i64>> {
        values.as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn groups_are_taken_in_parts_and_merged() {
        let filter = BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]);
        let mut rows = KeptRows::<Sum<false>>::default();
        rows.update_batch(&[numbers([1, 2, 3, 4])], &[0, 1, 1, 2], Some(&filter), 3)
            .unwrap();
        rows.update_batch(&[numbers([10, 20])], &[2, 3], None, 5)
            .unwrap();
        let first = rows.evaluate(EmitTo::First(2)).unwrap();
        assert_eq!(read(&first), [Some(1), None]);
        // What was group 2 is now group 0.
        rows.update_batch(&[numbers([100])], &[0], None, 3).unwrap();
        let state = rows.state(EmitTo::All).unwrap();

        let mut merged = KeptRows::<Sum<false>>::default();
        // Both are slices of the state's rows.
        merged
            .merge_batch(&[state[0].slice(0, 1)], &[1], None, 2)
            .unwrap();
        merged
            .merge_batch(&[state[0].slice(1, 2)], &[0, 1], None, 2)
            .unwrap();
        let converted = merged
            .convert_to_state(
                &[numbers([5, 6])],
                Some(&BooleanArray::from(vec![false, true])),
            )
            .unwrap();
        merged.merge_batch(&converted, &[0, 1], None, 2).unwrap();
        assert!(merged.size() > 0);
        let sums = merged.evaluate(EmitTo::All).unwrap();
        assert_eq!(read(&sums), [Some(20), Some(120)]);
        assert_eq!(merged.evaluate(EmitTo::All).unwrap().len(), 0);
        assert_eq!(merged.state(EmitTo::All).unwrap()[0].len(), 0);
    }

    #[test]
    fn large_groups_are_folded() {
        let count = 3 * FEW_ROWS as i64;
        let mut folding = OneGroup::<Sum<true>>::default();
        let mut groups = KeptRows::<Sum<true>>::default();
        let mut keeping = OneGroup::<Sum<false>>::default();
        for part in 0..3 {
            let part = [numbers((0..count).skip(part * FEW_ROWS).take(FEW_ROWS))];
            folding.update_batch(&part).unwrap();
            let odd: Vec<usize> = (0..FEW_ROWS).map(|row| row % 2).collect();
            groups.update_batch(&part, &odd, None, 2).unwrap();
            keeping.update_batch(&part).unwrap();
        }
        assert_eq!(folding.0.rows, 1);
        assert_eq!(keeping.0.rows, 3 * FEW_ROWS);
        assert!(groups.rows <= FEW_ROWS && groups.size() < keeping.size() / 2);
        let even = (count / 2) * (count / 2 - 1);
        let sums = groups.evaluate(EmitTo::All).unwrap();
        assert_eq!(read(&sums), [Some(even), Some(even + count / 2)]);
        let expected = ScalarValue::Int64(Some(count * (count - 1) / 2));
        for _ in 0..2 {
            assert_eq!(folding.evaluate().unwrap(), expected);
            assert_eq!(keeping.evaluate().unwrap(), expected);
        }
    }
}
