//! `accumulate_matches(score, image_order, rank, matched, ignored, objects)`: aggregate; COCO's average precision and
//! recall.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int64Array, ListArray, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::{missing_columns, named};
use crate::geometry::{IOU_THRESHOLDS, Matched, accumulate_matches};
use crate::schema::list_item;

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "accumulate_matches";

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Average precision and recall of the detections of one class in one area range, as COCO accumulates what \
         match_detections found: a list with an item for IoU 0.5, 0.55, ..., 0.95, LIST<STRUCT<iou, ap, recall_1, \
         recall_10, recall_100>>; null if there is no object to find. Rows with a null are left out.",
        "accumulate_matches(score, image_order, rank, matched, ignored, objects)",
    )
    .with_argument("score", "DOUBLE: the detection's score.")
    .with_argument("image_order", "BIGINT: of equal scores, the one of the first image goes first.")
    .with_argument("rank", "BIGINT: its place among those of its image and class by falling score, from 0; from 100 on it does not count.")
    .with_argument("matched", "INT: bit t says that it found an object at IoU 0.5 + 0.05 t.")
    .with_argument("ignored", "INT: bit t says that it counts neither way there.")
    .with_argument("objects", "BIGINT: the number of objects to find, the same in all rows of a group.")
    .build();
    Aggregate {
        name: NAME,
        result,
        accumulator: |_| Box::new(Matches::default()),
        groups: None,
        state: |_| {
            let column = |(name, kind)| -> FieldRef {
                Arc::new(Field::new(name, DataType::List(list_item(kind)), true))
            };
            COLUMNS.map(column).to_vec()
        },
        documentation,
    }
    .into()
}

/// The arguments, as the accumulator reads them.
const COLUMNS: [(&str, DataType); 6] = [
    ("score", DataType::Float64),
    ("image_order", DataType::Int64),
    ("rank", DataType::Int64),
    ("matched", DataType::Int64),
    ("ignored", DataType::Int64),
    ("objects", DataType::Int64),
];

fn result(given: &[DataType]) -> Option<DataType> {
    let [score, whole @ ..] = given else {
        return None;
    };
    // A parameter has no type until it has a value.
    let is_null = |kind: &DataType| *kind == DataType::Null;
    let fits = (score.is_numeric() || is_null(score))
        && whole.iter().all(|kind| kind.is_integer() || is_null(kind));
    (fits && given.len() == COLUMNS.len()).then(|| DataType::List(item()))
}

fn fields() -> Fields {
    let names = ["iou", "ap", "recall_1", "recall_10", "recall_100"];
    let fields = names.map(|name| Field::new(name, DataType::Float64, true));
    Fields::from(fields.to_vec())
}

fn item() -> FieldRef {
    list_item(DataType::Struct(fields()))
}

/// The detections of a group, in the order in which they came.
#[derive(Debug, Default)]
struct Matches {
    detections: Vec<Matched>,
    objects: Option<i64>,
}

impl Matches {
    fn add(&mut self, given: &[ArrayRef]) -> Result<()> {
        // A number that does not fit must not become a null, which is left out.
        let strictly = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let columns = given.iter().zip(COLUMNS);
        let columns = columns.map(|(column, (name, kind))| {
            let cast = cast_with_options(column, &kind, &strictly);
            cast.map_err(|err| DataFusionError::Execution(format!("{name}: {err}")))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let [score, whole @ ..] = &columns[..] else {
            return Err(missing_columns());
        };
        let score = score.as_primitive::<Float64Type>();
        let whole: Vec<&Int64Array> = whole.iter().map(|it| it.as_primitive()).collect();
        let [image, rank, matched, ignored, objects] = whole[..] else {
            return Err(missing_columns());
        };
        self.detections.reserve(score.len());
        for row in 0..score.len() {
            if columns.iter().any(|column| column.is_null(row)) {
                continue;
            }
            let wanted = objects.value(row);
            match self.objects {
                Some(other) if other != wanted => {
                    return Err(DataFusionError::Execution(format!(
                        "objects is {other} and {wanted} in one group"
                    )));
                }
                _ => self.objects = Some(wanted),
            }
            self.detections.push(Matched {
                score: score.value(row),
                image: image.value(row),
                rank: rank.value(row),
                matched: bits(matched.value(row))?,
                ignored: bits(ignored.value(row))?,
            });
        }
        Ok(())
    }

    fn columns(&self) -> [ArrayRef; 6] {
        let score = self.detections.iter().map(|it| it.score);
        let whole = |of: fn(&Matched) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(self.detections.iter().map(of)))
        };
        let objects = self.objects.unwrap_or_default();
        [
            Arc::new(Float64Array::from_iter_values(score)),
            whole(|it| it.image),
            whole(|it| it.rank),
            whole(|it| it.matched.into()),
            whole(|it| it.ignored.into()),
            Arc::new(Int64Array::from_value(objects, self.detections.len())),
        ]
    }

    fn summary(&mut self) -> Result<ScalarValue> {
        let objects = self.objects.and_then(|it| u64::try_from(it).ok());
        let Some(objects) = objects.filter(|objects| *objects > 0) else {
            return ScalarValue::try_from(DataType::List(item()));
        };
        let mut columns: [Float64Builder; 5] = std::array::from_fn(|_| Float64Builder::new());
        let found = accumulate_matches(&mut self.detections, objects);
        for (step, it) in found.iter().enumerate() {
            let iou = (50 + 5 * step) as f64 / 100.0;
            let [recall_1, recall_10, recall_100] = it.recall;
            let values = [iou, it.average, recall_1, recall_10, recall_100];
            for (column, value) in columns.iter_mut().zip(values) {
                column.append_value(value);
            }
        }
        let columns = columns.map(|mut it| Arc::new(it.finish()) as ArrayRef);
        let items = StructArray::try_new(fields(), columns.to_vec(), None)?;
        let offsets = OffsetBuffer::from_lengths([found.len()]);
        let list = ListArray::try_new(item(), offsets, Arc::new(items), None)?;
        Ok(ScalarValue::List(Arc::new(list)))
    }
}

/// A bit set with a bit for each threshold.
fn bits(value: i64) -> Result<u16> {
    let bits = u16::try_from(value).ok();
    let bits = bits.filter(|bits| *bits < 1 << IOU_THRESHOLDS.len());
    bits.ok_or_else(|| {
        DataFusionError::Execution(format!(
            "{value} has other bits than those of the ten IoU thresholds, 0 to 9"
        ))
    })
}

impl Accumulator for Matches {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values).map_err(|err| named(NAME, err))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |column| column.len());
        for row in 0..rows {
            let columns = states.iter().map(|lists| lists.as_list::<i32>().value(row));
            let columns: Vec<ArrayRef> = columns.collect();
            self.add(&columns).map_err(|err| named(NAME, err))?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let columns = self.columns().into_iter();
        let lists = columns.map(|column| {
            let offsets = OffsetBuffer::from_lengths([column.len()]);
            let item = list_item(column.data_type().clone());
            let list = ListArray::try_new(item, offsets, column, None)?;
            Ok(ScalarValue::List(Arc::new(list)))
        });
        lists.collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.summary()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.detections.capacity() * size_of::<Matched>()
    }
}
