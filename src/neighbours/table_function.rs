//! Nearest neighbours in SQL.
//!
//! ```sql
//! SELECT * FROM nearest('vectors.dinov2', 'val/000000000139.jpg', 17, 20);
//! SELECT * FROM nearest('image_vectors.photos', '3f2a91', NULL, 20);
//! SELECT * FROM nearest_vector('masks', make_array(0.1, ...), 20, 'exact');
//! SELECT * FROM nearest_text('clip_b32', 'a rusty bolt', 20, 'nprobes=40 refine=10');
//! ```
//!
//! Each yields extractor_id, image_id, mask_index, similarity and distance. Arguments are literals. A `WHERE` applies
//! to the rows that were found, and can leave fewer than were asked for.

use std::sync::Arc;

use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;

use super::literals::{is_null, numbers, text, whole};
use super::plan::{Asked, Call, NearestTable};
use super::request::{Search, SearchedTable};
use super::texts::TextVectors;
use crate::sql::Sql;
use crate::store::Snapshot;

/// Registers `nearest`, `nearest_vector` and `nearest_text` in a session. The latter needs `texts`; without it, a call
/// is an error.
pub fn register_neighbours(sql: &Sql, snapshot: &Snapshot, texts: Option<Arc<dyn TextVectors>>) {
    for kind in [Kind::Mask, Kind::Vector, Kind::Text] {
        let function = NearestFunction {
            kind,
            snapshot: snapshot.clone(),
            texts: texts.clone(),
        };
        sql.register_table_function(kind.name(), Arc::new(function));
    }
}

#[derive(Debug)]
struct NearestFunction {
    kind: Kind,
    snapshot: Snapshot,
    texts: Option<Arc<dyn TextVectors>>,
}

impl TableFunctionImpl for NearestFunction {
    fn call_with_args(
        &self,
        args: TableFunctionArgs<'_, '_>,
    ) -> Result<Arc<dyn TableProvider>, DataFusionError> {
        Ok(Arc::new(NearestTable {
            snapshot: self.snapshot.clone(),
            texts: self.texts.clone(),
            call: self.kind.read(args.exprs())?,
        }))
    }
}

/// The functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mask,
    Vector,
    Text,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Mask => "nearest",
            Self::Vector => "nearest_vector",
            Self::Text => "nearest_text",
        }
    }

    fn usage(self) -> &'static str {
        match self {
            Self::Mask => {
                "nearest('TABLE', 'IMAGE', MASK, COUNT[, 'OPTIONS']), with NULL in place of MASK for a table of images"
            }
            Self::Vector => "nearest_vector('TABLE', make_array(NUMBER, ...), COUNT[, 'OPTIONS'])",
            Self::Text => "nearest_text('EMBEDDER', 'TEXT', COUNT[, 'OPTIONS'])",
        }
    }

    /// Reads the arguments of a call.
    fn read(self, arguments: &[Expr]) -> Result<Call, DataFusionError> {
        let wrong = || DataFusionError::Plan(format!("expected {} of literals", self.usage()));
        let (asked, rest) = match (self, arguments) {
            (Self::Mask, [table, image, mask, rest @ ..]) => {
                let mask_index = if is_null(mask) {
                    None
                } else {
                    let index = whole(mask).and_then(|index| i32::try_from(index).ok());
                    Some(index.ok_or_else(wrong)?)
                };
                let asked = Asked::Mask {
                    table: read_table(table, wrong)?,
                    image: text(image).ok_or_else(wrong)?,
                    mask_index,
                };
                (asked, rest)
            }
            (Self::Vector, [table, vector, rest @ ..]) => {
                let asked = Asked::Vector {
                    table: read_table(table, wrong)?,
                    numbers: numbers(vector).ok_or_else(wrong)?,
                };
                (asked, rest)
            }
            (Self::Text, [name, words, rest @ ..]) => {
                let asked = Asked::Text {
                    name: text(name).ok_or_else(wrong)?,
                    text: text(words).ok_or_else(wrong)?,
                };
                (asked, rest)
            }
            _ => return Err(wrong()),
        };
        let (count, options) = match rest {
            [count] => (count, None),
            [count, options] => (count, Some(options)),
            _ => return Err(wrong()),
        };
        let count = whole(count).and_then(|count| usize::try_from(count).ok());
        let search = match options {
            None => Search::Auto,
            Some(options) => {
                let words = text(options).ok_or_else(wrong)?;
                words.parse::<Search>().map_err(in_plan)?
            }
        };
        Ok(Call {
            asked,
            count: count.ok_or_else(wrong)?,
            search,
        })
    }
}

fn read_table(
    argument: &Expr,
    wrong: impl FnOnce() -> DataFusionError,
) -> Result<SearchedTable, DataFusionError> {
    let name = text(argument).ok_or_else(wrong)?;
    name.parse::<SearchedTable>().map_err(in_plan)
}

fn in_plan(err: crate::Error) -> DataFusionError {
    DataFusionError::Plan(err.to_string())
}

#[cfg(test)]
mod tests {
    use arrow::array::ListArray;
    use arrow::datatypes::Float64Type;
    use datafusion::common::ScalarValue;
    use datafusion::prelude::{col, lit};

    use super::*;

    fn null() -> Expr {
        Expr::Literal(ScalarValue::Null, None)
    }

    fn vector() -> Expr {
        let list =
            ListArray::from_iter_primitive::<Float64Type, _, _>([Some([Some(1.0), Some(0.5)])]);
        Expr::Literal(ScalarValue::List(Arc::new(list)), None)
    }

    #[test]
    fn calls_are_read() {
        let of_mask = Kind::Mask
            .read(&[lit("masks"), lit("a.jpg"), lit(3_i64), lit(20_i64)])
            .unwrap();
        let expected = Call {
            asked: Asked::Mask {
                table: SearchedTable::Masks,
                image: "a.jpg".to_owned(),
                mask_index: Some(3),
            },
            count: 20,
            search: Search::Auto,
        };
        assert_eq!(of_mask, expected);

        let table = lit("image_vectors.photos");
        let of_image = Kind::Mask.read(&[table, lit("a.jpg"), null(), lit(1_i64), lit("exact")]);
        let of_image = of_image.unwrap();
        assert_eq!(of_image.search, Search::Exact);
        assert!(matches!(
            of_image.asked,
            Asked::Mask {
                mask_index: None,
                ..
            }
        ));

        let of_vector = Kind::Vector
            .read(&[lit("vectors.x"), vector(), lit(2_i64)])
            .unwrap();
        let expected = Asked::Vector {
            table: SearchedTable::Vectors("x".to_owned()),
            numbers: vec![1.0, 0.5],
        };
        assert_eq!(of_vector.asked, expected);

        let options = lit("nprobes=4");
        let of_text = Kind::Text.read(&[lit("clip"), lit("a bolt"), lit(2_i64), options]);
        let of_text = of_text.unwrap();
        assert!(matches!(of_text.search, Search::Index { nprobes: 4, .. }));
    }

    #[test]
    fn other_arguments_are_refused_with_what_is_expected() {
        let one = || lit(1_i64);
        for (kind, arguments, part) in [
            (Kind::Mask, vec![], "'TABLE', 'IMAGE', MASK, COUNT"),
            (
                Kind::Mask,
                vec![lit("masks"), lit("a"), one()],
                "MASK, COUNT",
            ),
            (
                Kind::Mask,
                vec![lit("mask"), lit("a"), one(), one()],
                "'vectors.NAME'",
            ),
            (
                Kind::Mask,
                vec![lit("masks"), col("a"), one(), one()],
                "literals",
            ),
            (
                Kind::Mask,
                vec![lit("masks"), lit("a"), lit(1.5), one()],
                "literals",
            ),
            (
                Kind::Mask,
                vec![lit("masks"), lit("a"), one(), lit(-1_i64)],
                "literals",
            ),
            (
                Kind::Vector,
                vec![lit("masks"), lit("a"), one()],
                "make_array",
            ),
            (
                Kind::Text,
                vec![lit("clip"), lit("a"), one(), lit("quick")],
                "nprobes=N",
            ),
            (
                Kind::Text,
                vec![lit("clip"), lit("a"), one(), one()],
                "nearest_text(",
            ),
        ] {
            let message = kind.read(&arguments).unwrap_err().to_string();
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }
}
