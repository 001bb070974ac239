//! `match_detections(detections, truths, kind)`: COCO's greedy matching within an image and class.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, Float64Array, Float64Builder,
    Int32Builder, Int64Array, Int64Builder, ListArray, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Float64Type, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::arguments::{error_in_row, named};
use super::rle_function::wrong_arguments;
use crate::geometry::{
    AREA_RANGES, BBox, Detection, IouMatrix, Match, Rle, Truth, match_detections, pairwise_box_iou,
    pairwise_iou,
};
use crate::schema::list_item;
use crate::store::columns::RleColumn;

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "match_detections";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "Matches the detections of one class in one image with its annotated objects as COCO does: a row per \
         detection and area range ('all', 'small', 'medium', 'large') in which it counts. Bit t of 'matched' says \
         that it found an object at IoU 0.5 + 0.05 t, bit t of 'ignored' that it counts neither way there; 'truth' \
         is the object found at 0.5; 'rank' counts from 0.",
        "match_detections(detections, truths, 'mask'|'box')",
    )
    .with_argument(
        "detections",
        "List of structs: ordinal BIGINT, score DOUBLE, area DOUBLE, and rle or bbox. Of equal scores the one of \
         the least ordinal goes first.",
    )
    .with_argument(
        "truths",
        "List of structs: ordinal BIGINT, area DOUBLE, iscrowd BOOLEAN, and rle or bbox; or null.",
    )
    .with_argument("kind", "Whose overlap counts: 'mask' (rle) or 'box' (bbox).")
    .build()
});

pub(super) fn function() -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    MatchDetections { signature }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MatchDetections {
    signature: Signature,
}

fn match_fields() -> Fields {
    Fields::from(vec![
        Field::new("area", DataType::Utf8, false),
        Field::new("ordinal", DataType::Int64, false),
        Field::new("score", DataType::Float64, false),
        Field::new("rank", DataType::Int32, false),
        Field::new("matched", DataType::Int32, false),
        Field::new("ignored", DataType::Int32, false),
        Field::new("truth", DataType::Int64, true),
    ])
}

fn match_item() -> Arc<Field> {
    list_item(DataType::Struct(match_fields()))
}

impl ScalarUDFImpl for MatchDetections {
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
        let list = |t: &DataType| {
            matches!(t, DataType::List(item) if matches!(item.data_type(), DataType::Struct(_)))
                || t == &DataType::Null
        };
        // A parameter has no type until it has a value.
        let text = |t: &DataType| {
            matches!(
                t,
                DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Null
            )
        };
        match given {
            [detections, truths, kind] if list(detections) && list(truths) && text(kind) => {
                Ok(DataType::List(match_item()))
            }
            _ => Err(wrong_arguments(NAME, &DOCUMENTATION, given)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let run = || -> Result<ArrayRef> {
            let [detections, truths, kind] = &args.args[..] else {
                return Err(bad("expected three arguments"));
            };
            let kind = match kind {
                ColumnarValue::Scalar(
                    ScalarValue::Utf8(Some(kind))
                    | ScalarValue::Utf8View(Some(kind))
                    | ScalarValue::LargeUtf8(Some(kind)),
                ) => kind.as_str(),
                _ => return Err(bad("the kind must be 'mask' or 'box', in quotes")),
            };
            let is_mask = match kind {
                "mask" => true,
                "box" => false,
                other => return Err(bad(&format!("kind is '{other}', expected 'mask' or 'box'"))),
            };
            let detections = Shapes::new(&detections.to_array(rows)?, is_mask)?;
            let truths = Shapes::new(&truths.to_array(rows)?, is_mask)?;
            match_rows(&detections, &truths, rows)
        };
        run()
            .map(ColumnarValue::Array)
            .map_err(|err| named(NAME, err))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn bad(reason: &str) -> DataFusionError {
    DataFusionError::Execution(reason.to_owned())
}

/// A list column of detections or objects, split into its fields.
struct Shapes {
    lists: Option<ListArray>,
    ordinals: Int64Array,
    areas: Float64Array,
    /// Only for detections.
    scores: Option<Float64Array>,
    /// Only for objects.
    crowds: Option<BooleanArray>,
    outlines: Outlines,
}

enum Outlines {
    Masks(Box<RleColumn>),
    Boxes(Float64Array),
}

/// The shapes of a row.
enum RowShapes {
    Masks(Vec<Rle>),
    Boxes(Vec<BBox>),
}

impl Shapes {
    fn new(array: &ArrayRef, is_mask: bool) -> Result<Self> {
        let Some(lists) = array.as_list_opt::<i32>() else {
            // The column holds only nulls.
            return Ok(Self {
                lists: None,
                ordinals: Int64Array::from(Vec::<i64>::new()),
                areas: Float64Array::from(Vec::<f64>::new()),
                scores: None,
                crowds: None,
                outlines: Outlines::Boxes(Float64Array::from(Vec::<f64>::new())),
            });
        };
        let items = lists.values().as_struct();
        let part = |name: &str, kind: &DataType| -> Result<Option<ArrayRef>> {
            let column = items.column_by_name(name);
            Ok(column.map(|column| cast(column, kind)).transpose()?)
        };
        let needed = |name: &str, kind: &DataType| -> Result<ArrayRef> {
            let column = part(name, kind)?.filter(|column| column.null_count() == 0);
            column.ok_or_else(|| bad(&format!("field '{name}' is missing or null")))
        };
        let outlines = if is_mask {
            let masks = items.column_by_name("rle");
            Outlines::Masks(Box::new(RleColumn::new(
                masks.ok_or_else(|| bad("field 'rle' is missing"))?,
            )?))
        } else {
            Outlines::Boxes(box_numbers(items)?)
        };
        Ok(Self {
            ordinals: needed("ordinal", &DataType::Int64)?
                .as_primitive::<Int64Type>()
                .clone(),
            areas: needed("area", &DataType::Float64)?
                .as_primitive::<Float64Type>()
                .clone(),
            scores: part("score", &DataType::Float64)?
                .map(|column| column.as_primitive::<Float64Type>().clone()),
            crowds: part("iscrowd", &DataType::Boolean)?.map(|column| column.as_boolean().clone()),
            outlines,
            lists: Some(lists.clone()),
        })
    }

    /// Positions of the items of a row, by rising ordinal.
    #[allow(
        clippy::indexing_slicing,
        reason = "a list array has an offset for each row and one more"
    )]
    fn row(&self, row: usize) -> Vec<usize> {
        let Some(lists) = self.lists.as_ref().filter(|lists| lists.is_valid(row)) else {
            return Vec::new();
        };
        let offsets = lists.value_offsets();
        let at = |row: usize| usize::try_from(offsets[row]).unwrap_or(0);
        let mut items: Vec<usize> = (at(row)..at(row + 1)).collect();
        items.sort_by(|a, b| {
            let (area_a, area_b) = (self.areas.value(*a), self.areas.value(*b));
            let by_ordinal = self.ordinals.value(*a).cmp(&self.ordinals.value(*b));
            by_ordinal.then(area_a.total_cmp(&area_b))
        });
        items
    }

    fn shapes(&self, row: usize, items: &[usize]) -> Result<RowShapes> {
        match &self.outlines {
            Outlines::Masks(column) => {
                let mut masks = Vec::with_capacity(items.len());
                for item in items {
                    let mask = column.get(*item)?;
                    masks.push(mask.ok_or_else(|| bad(&format!("row {row}: a mask is null")))?);
                }
                Ok(RowShapes::Masks(masks))
            }
            Outlines::Boxes(numbers) => {
                let side = |item: usize, at: usize| numbers.value(4 * item + at);
                let boxes = items
                    .iter()
                    .map(|item| BBox::from_xywh(std::array::from_fn(|at| side(*item, at))));
                Ok(RowShapes::Boxes(boxes.collect()))
            }
        }
    }
}

fn box_numbers(items: &StructArray) -> Result<Float64Array> {
    let boxes = items.column_by_name("bbox");
    let boxes = boxes.ok_or_else(|| bad("field 'bbox' is missing"))?;
    let four = list_item(DataType::Float64);
    let boxes = cast(boxes, &DataType::FixedSizeList(four, 4))?;
    let boxes: &FixedSizeListArray = boxes.as_fixed_size_list();
    if boxes.null_count() > 0 {
        return Err(bad("a bbox is null"));
    }
    let values = boxes.values().slice(boxes.offset() * 4, boxes.len() * 4);
    Ok(values.as_primitive::<Float64Type>().clone())
}

fn ious(detections: &RowShapes, truths: &RowShapes, crowds: &[bool]) -> crate::Result<IouMatrix> {
    match (detections, truths) {
        (RowShapes::Masks(detections), RowShapes::Masks(truths)) => {
            pairwise_iou(detections, truths, crowds)
        }
        (RowShapes::Boxes(detections), RowShapes::Boxes(truths)) => {
            pairwise_box_iou(detections, truths, crowds)
        }
        // One side is a column of nulls.
        (RowShapes::Masks(detections), RowShapes::Boxes(_)) => pairwise_iou(detections, &[], &[]),
        (RowShapes::Boxes(_), RowShapes::Masks(_)) => pairwise_iou(&[], &[], &[]),
    }
}

fn match_rows(detections: &Shapes, truths: &Shapes, rows: usize) -> Result<ArrayRef> {
    let mut built = Built::default();
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let found = detections.row(row);
        if found.is_empty() {
            lengths.push(0);
            continue;
        }
        let objects = truths.row(row);
        let scores = detections.scores.as_ref();
        let scores = scores.ok_or_else(|| bad("field 'score' of a detection is missing"))?;
        let of_detection = |item: &usize| Detection {
            score: scores.value(*item),
            area: detections.areas.value(*item),
        };
        let of_truth = |item: &usize| Truth {
            area: truths.areas.value(*item),
            iscrowd: truths.crowds.as_ref().is_some_and(|c| c.value(*item)),
        };
        let wanted: Vec<Detection> = found.iter().map(of_detection).collect();
        if wanted.iter().any(|it| it.score.is_nan()) {
            return Err(bad(&format!("row {row}: a score is not a number")));
        }
        let given: Vec<Truth> = objects.iter().map(of_truth).collect();
        let crowds: Vec<bool> = given.iter().map(|it| it.iscrowd).collect();
        let shapes = (
            detections.shapes(row, &found)?,
            truths.shapes(row, &objects)?,
        );
        let ious = ious(&shapes.0, &shapes.1, &crowds).map_err(|err| error_in_row(row, &err))?;
        let matches = match_detections(&ious, &wanted, &given);
        lengths.push(matches.len());
        for it in matches {
            let truth = it.truth.and_then(|at| objects.get(at).copied());
            let (Some(item), Some(detection)) = (found.get(it.detection), wanted.get(it.detection))
            else {
                continue;
            };
            let truth = truth.map(|truth| truths.ordinals.value(truth));
            built.push(
                &it,
                detections.ordinals.value(*item),
                detection.score,
                truth,
            );
        }
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    let list = ListArray::try_new(match_item(), offsets, built.finish()?, None)?;
    Ok(Arc::new(list))
}

#[derive(Default)]
struct Built {
    areas: StringBuilder,
    ordinals: Int64Builder,
    scores: Float64Builder,
    ranks: Int32Builder,
    matched: Int32Builder,
    ignored: Int32Builder,
    truths: Int64Builder,
}

impl Built {
    fn push(&mut self, it: &Match, ordinal: i64, score: f64, truth: Option<i64>) {
        let area = AREA_RANGES.get(it.area_range).map_or("", |range| range.0);
        self.areas.append_value(area);
        self.ordinals.append_value(ordinal);
        self.scores.append_value(score);
        self.ranks
            .append_value(i32::try_from(it.rank).unwrap_or(i32::MAX));
        self.matched.append_value(i32::from(it.matched));
        self.ignored.append_value(i32::from(it.ignored));
        self.truths.append_option(truth);
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.areas.finish()),
            Arc::new(self.ordinals.finish()),
            Arc::new(self.scores.finish()),
            Arc::new(self.ranks.finish()),
            Arc::new(self.matched.finish()),
            Arc::new(self.ignored.finish()),
            Arc::new(self.truths.finish()),
        ];
        Ok(Arc::new(StructArray::try_new(
            match_fields(),
            columns,
            None,
        )?))
    }
}
